"""Several short sounds on one track, as faster-whisper decodes many at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from merr_pipeline.speech.asr.contract import RATE_HZ

GAP_S = 5.0
"""Silence before each sound, the first one too. What faster-whisper does with a word after a long
pause must be the same for all of them; its rule asks for less than 3.5 s."""


@dataclass(frozen=True)
class Slot:
    """Where a sound lies on the track, in seconds."""

    start_s: float
    end_s: float


def lay_out(sounds: Sequence[np.ndarray]) -> tuple[np.ndarray, list[Slot]]:
    """One track with all sounds in order, and the slot of each.

    Slots begin at full seconds, so that times on the track less the start of the slot are the times
    in the sound to the last bit; they end half a sample late, since faster-whisper rounds times
    down to samples.
    """
    slots, starts, end = [], [], 0
    for sound in sounds:
        start = math.ceil(end / RATE_HZ + GAP_S) * RATE_HZ
        end = start + len(sound)
        starts.append(start)
        slots.append(Slot(start / RATE_HZ, (end + 0.5) / RATE_HZ))
    track = np.zeros(end, np.float32)
    for start, sound in zip(starts, sounds, strict=True):
        track[start : start + len(sound)] = sound
    return track, slots
