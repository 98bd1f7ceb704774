"""The pitch, jitter and shimmer beside Praat's, on real and on synthetic speech.

Praat (the package praat-parselmouth, GPL-3) is a yardstick of the tests; no room imports it.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from made_clips import noise
from made_voices import glottal_cycles, glottal_voice

from merr_pipeline.media import read_sound
from merr_pipeline.speech.cycles import measure_steadiness
from merr_pipeline.speech.pitch import HOP_S, track_pitch

pytestmark = pytest.mark.extras
parselmouth = pytest.importorskip("parselmouth")

RATE_HZ = 16_000
FLOOR_HZ, CEILING_HZ = 75.0, 600.0
GROSS = 0.2
SAMPLES = Path(__file__).parents[1] / "data" / "samples" / "clips"
SENTENCES = [
    ("en", "I never said that you could come with us, but here we are."),
    ("en+f3", "What a lovely day, we have won the first prize!"),
    ("de", "Ich weiß nicht, was soll es bedeuten, dass ich so traurig bin."),
    ("fr+f2", "Je ne veux plus jamais te revoir dans cette maison."),
    ("cmn", "我不知道你为什么要这样做。"),
    ("en+m7", "Stop it right now, do you hear me?"),
]
MANNERS = [("-p", "50", "-s", "175"), ("-p", "80", "-s", "200"), ("-p", "20", "-s", "120")]


@dataclass
class Beside:
    """Frames of both tracks, counted over clips."""

    frames: int = 0
    agree: int = 0  # both voiced or both not
    voiced: int = 0  # by both
    gross: int = 0  # of these more than 20 % apart

    def add(self, sound: np.ndarray) -> None:
        praat = parselmouth.Sound(sound.astype(np.float64), RATE_HZ).to_pitch_ac(
            time_step=HOP_S, pitch_floor=FLOOR_HZ, pitch_ceiling=CEILING_HZ
        )
        theirs = praat.selected_array["frequency"]
        ours = track_pitch(sound, RATE_HZ, FLOOR_HZ, CEILING_HZ).f0_hz
        ours = ours[np.round(praat.xs() / HOP_S).astype(int)]
        both = (theirs > 0) & (ours > 0)
        self.frames += len(theirs)
        self.agree += int(((theirs > 0) == (ours > 0)).sum())
        self.voiced += int(both.sum())
        self.gross += int((np.abs(ours[both] / theirs[both] - 1) > GROSS).sum())

    def keeps_the_promise(self) -> bool:
        print(f"gross {self.gross / self.voiced:.2%}, agreement {self.agree / self.frames:.2%}")
        return self.gross < 0.02 * self.voiced and self.agree > 0.9 * self.frames


@pytest.mark.shared
def test_on_real_clips_gross_errors_are_under_2_percent_and_voicing_agrees_over_90(shared):
    beside = Beside()
    for path in sorted((shared / "clips").glob("sample*.mp4")):
        beside.add(read_sound(path).samples)
    assert beside.voiced > 1000
    assert beside.keeps_the_promise()


def test_on_synthetic_speech_gross_errors_are_under_2_percent_and_voicing_agrees_over_90(tmp_path):
    beside = Beside()
    for path in sorted(SAMPLES.glob("*.mp4")):  # spoken by espeak-ng
        if path.stem != "sadness_silent":
            beside.add(read_sound(path).samples)
    if shutil.which("espeak-ng"):
        for voice, sentence in SENTENCES:
            for manner in MANNERS:
                beside.add(spoken(tmp_path / "said.wav", voice, sentence, manner))
    assert beside.voiced > 400
    assert beside.keeps_the_promise()


def spoken(path: Path, voice: str, sentence: str, manner: tuple[str, ...]) -> np.ndarray:
    command = ["espeak-ng", "-v", voice, *manner, "-w", str(path), sentence]
    subprocess.run(command, check=True)
    return read_sound(path).samples


@pytest.mark.parametrize("vowel", ["a", "i", "u"])
@pytest.mark.parametrize("f0_hz", [110, 160, 230])
@pytest.mark.parametrize("snr_db", [60, 30])
def test_jitter_and_shimmer_of_held_vowels_are_praats(vowel, f0_hz, snr_db):
    voice = glottal_voice(glottal_cycles(f0_hz, 1.2, 0.008, 0.04, seed=3), 1.2, vowel=vowel)
    power = float(np.mean(voice.astype(np.float64) ** 2))
    voice = voice + noise(1.2, np.sqrt(power / 10 ** (snr_db / 10)))
    pitch = track_pitch(voice, RATE_HZ, FLOOR_HZ, CEILING_HZ)
    found = measure_steadiness(voice, RATE_HZ, pitch, pitch.voiced)
    call = parselmouth.praat.call
    sound = parselmouth.Sound(voice.astype(np.float64), RATE_HZ)
    cycles = call(sound, "To PointProcess (periodic, cc)", FLOOR_HZ, CEILING_HZ)
    between = (0, 0, 0.0001, 0.02, 1.3)
    jitter = 100 * call(cycles, "Get jitter (local)", *between)
    shimmer = 100 * call([sound, cycles], "Get shimmer (local)", *between, 1.6)
    assert found.jitter_percent == pytest.approx(jitter, rel=0.1)
    assert found.shimmer_percent == pytest.approx(shimmer, rel=0.15)
