"""What each measure of the voice costs, against decoding the sound; what batches of asr save.

::

    python benchmarks/speech.py [CLIPS]      # default: real clips beside the checkout, else samples

Each measure is made of every clip with sound, one after another. Printed are processor milliseconds
per clip and, of the same run, the ratio to decoding: load and machine change the first and hardly
the second. What a measure builds on (voice activity, the pitch track) has a line of its own.

Below that, where the extras ``asr``, ``whisper`` and ``hf`` are installed: the same sounds through
faster-whisper one by one, and joined on one track. The model is as large as Whisper's tiny one, its
weights are random, and its text ends after some ten words; on a GPU batches save more.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from measuring.clips import default_clips

from merr_pipeline.clips.manifest import read_inputs
from merr_pipeline.media import Sound, read_sound
from merr_pipeline.schema import MerrError
from merr_pipeline.settings import AsrSettings, VoiceSettings
from merr_pipeline.speech import egemaps, levels, prosody
from merr_pipeline.speech.asr.contract import LONGEST_S
from merr_pipeline.speech.cycles import measure_steadiness
from merr_pipeline.speech.pitch import HOP_S, PitchTrack, harmonics_to_noise_db, track_pitch
from merr_pipeline.speech.syllables import find_nuclei
from merr_pipeline.speech.vad import RATE_HZ, Span, SpeechDetector
from merr_pipeline.speech.voice import measure_voice
from merr_pipeline.stage import NotOk

SETTINGS = VoiceSettings()
ROUNDS = 3  # the fastest counts
BATCHES = (1, 4, 8)


@dataclass
class Heard:
    """A clip's sound, and what the measures start from."""

    path: Path
    samples: np.ndarray
    spans: list[Span]
    pitch: PitchTrack
    power: np.ndarray
    speech: np.ndarray

    @property
    def voice(self) -> np.ndarray:
        """Voiced speech."""
        return self.speech & self.pitch.voiced


def main() -> None:
    """Measure and print."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else default_clips()
    detector = SpeechDetector()
    clips = [prepared(path, detector) for path in with_sound(root)]
    seconds = sum(len(clip.samples) for clip in clips) / RATE_HZ
    print(f"{len(clips)} clips with sound, {seconds:.1f} s of {root.name}")
    print(f"{'':34}{'ms CPU/clip':>12}{'to decoding':>13}")
    decoding = cpu_s(clips, lambda clip: read_sound(clip.path))
    line("decoding", decoding, decoding, len(clips))
    for name, work in measures(detector).items():
        line(name, cpu_s(clips, work), decoding, len(clips))
    try:
        smile = egemaps.Egemaps()
    except MerrError as error:
        print(f"eGeMAPS (openSMILE) not at hand: {str(error).splitlines()[0]}")
    else:
        cost = cpu_s(clips, lambda clip: smile.measure(clip.samples, RATE_HZ))
        line("eGeMAPS (openSMILE)", cost, decoding, len(clips))
    if all(map(find_spec, ("faster_whisper", "whisper", "transformers"))):
        print_batches([clip.samples[: round(LONGEST_S * RATE_HZ)] for clip in clips])
    else:
        print("asr in batches: not measured, the extras asr, whisper and hf are not installed")


def print_batches(sounds: Sequence[np.ndarray]) -> None:
    """Seconds for all sounds one by one, and their ratio to batches of several."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from made_asr_models import write_ctranslate2, write_whisper

    from merr_pipeline.speech.asr.backends import open_backend
    from merr_pipeline.speech.asr.hf_whisper import be_quiet

    be_quiet()
    with tempfile.TemporaryDirectory() as folder:
        made = write_whisper(Path(folder) / "whisper", width=384, layers=4)
        model = write_ctranslate2(made, Path(folder) / "ctranslate2")
        print(f"{'asr, made model of tiny size':34}{'s/clip':>12}{'times as fast':>15}")
        alone = None
        for size in BATCHES:
            asr = AsrSettings(model=str(model), batch_size=size)
            backend = open_backend(asr)
            seconds = fastest(lambda b=backend: b.hear(sounds, ["en"] * len(sounds)))
            alone = alone or seconds
            print(f"{f'{size} together':34}{seconds / len(sounds):12.3f}{alone / seconds:15.2f}")


def fastest(work: Callable[[], object]) -> float:
    """Seconds of the fastest of some rounds."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        rounds.append(time.perf_counter() - started)
    return min(rounds)


def measures(detector: SpeechDetector) -> dict[str, Callable[[Heard], object]]:
    """Each measure by its name."""
    return {
        "voice activity": lambda clip: detector.probabilities(clip.samples),
        "pitch track": lambda clip: track_pitch(
            clip.samples, RATE_HZ, SETTINGS.pitch_floor_hz, SETTINGS.pitch_ceiling_hz
        ),
        "syllable nuclei": lambda clip: find_nuclei(
            clip.samples, RATE_HZ, clip.speech, clip.pitch.voiced, ~clip.speech
        ),
        "effort (alpha ratio)": lambda clip: prosody.alpha_ratio_db(
            clip.samples, RATE_HZ, clip.voice, ~clip.speech
        ),
        "harmonics to noise": lambda clip: harmonics_to_noise_db(
            clip.pitch.correlation[clip.voice]
        ),
        "jitter and shimmer": lambda clip: measure_steadiness(
            clip.samples, RATE_HZ, clip.pitch, clip.voice
        ),
        "loudness": lambda clip: levels.loudness_lufs(clip.samples, RATE_HZ),
        "envelope": lambda clip: levels.envelope_db(clip.samples, RATE_HZ),
        "signal to noise": lambda clip: levels.signal_to_noise(
            levels.frame_power(clip.samples, RATE_HZ, HOP_S, len(clip.speech)),
            clip.speech,
            ~clip.speech,
            HOP_S,
        ),
        "the whole row of voice": lambda clip: measure_voice(clip.samples, detector, SETTINGS),
    }


def with_sound(root: Path) -> list[Path]:
    """The clips whose sound can be read."""
    return [clip.path for clip in read_inputs(root).clips if readable(clip.path) is not None]


def readable(path: Path) -> Sound | None:
    """The sound of a clip, where it has any."""
    try:
        sound = read_sound(path)
    except NotOk:
        return None
    return sound if len(sound.samples) else None


def prepared(path: Path, detector: SpeechDetector) -> Heard:
    """A clip with what its measures start from."""
    samples = read_sound(path).samples
    row = measure_voice(samples, detector, SETTINGS)
    spans = [Span(segment["start_s"], segment["end_s"]) for segment in row["segments"]]
    pitch = track_pitch(samples, RATE_HZ, SETTINGS.pitch_floor_hz, SETTINGS.pitch_ceiling_hz)
    power = levels.frame_power(samples, RATE_HZ, HOP_S, len(pitch.f0_hz))
    speech = np.zeros(len(power), bool)
    for span in spans:
        speech |= (pitch.time_s >= span.start_s) & (pitch.time_s < span.end_s)
    return Heard(path, samples, spans, pitch, power, speech)


def cpu_s(clips: Iterable[Heard], work: Callable[[Heard], object]) -> float:
    """Processor seconds for all clips, in the fastest of some rounds."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for clip in clips:
            work(clip)
        rounds.append(time.process_time() - started)
    return min(rounds)


def line(name: str, seconds: float, decoding_s: float, clips: int) -> None:
    """One row of the table."""
    print(f"{name:34}{1000 * seconds / clips:12.2f}{seconds / decoding_s:13.2f}")


if __name__ == "__main__":
    main()
