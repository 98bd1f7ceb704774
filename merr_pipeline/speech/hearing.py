"""The sound that a model is given: mono WAV at 16 kHz, the stretch of a clip with the speech."""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from merr_pipeline.llm.messages import Sound
from merr_pipeline.media import read_sound
from merr_pipeline.schema import Row

RATE_HZ = 16_000  # that of the audio models
LONGEST_S = 30.0  # what audio models hear at once


def sound_for_model(path: Path, segments: Sequence[Row]) -> Sound:
    """The clip's sound, of a long clip the 30 s with the most speech.

    Raises:
        NotOk: as `media.read_sound`.
    """
    samples = read_sound(path, RATE_HZ).samples
    start_s = busiest_start_s(segments, len(samples) / RATE_HZ)
    first = round(start_s * RATE_HZ)
    heard = samples[first : first + round(LONGEST_S * RATE_HZ)]
    return Sound(wav(heard), len(heard) / RATE_HZ)


def busiest_start_s(segments: Sequence[Row], duration_s: float) -> float:
    """Where the 30 s with the most speech begin: with a segment, the earliest of equals."""
    latest_s = max(0.0, duration_s - LONGEST_S)
    starts_s = [0.0, *(min(float(segment["start_s"]), latest_s) for segment in segments)]
    return max(starts_s, key=lambda start_s: (round(_speech_s(segments, start_s), 3), -start_s))


def _speech_s(segments: Sequence[Row], start_s: float) -> float:
    end_s, speech_s = start_s + LONGEST_S, 0.0
    for segment in segments:
        speech_s += max(0.0, min(segment["end_s"], end_s) - max(segment["start_s"], start_s))
    return speech_s


def wav(samples: np.ndarray) -> bytes:
    """A WAV file of 16 bits a sample; what is beyond full scale is cut."""
    sink = io.BytesIO()
    with wave.open(sink, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        full_scale = np.round(np.clip(samples.astype(np.float64), -1.0, 1.0) * 32767)
        file.writeframes(full_scale.astype("<i2").tobytes())
    return sink.getvalue()
