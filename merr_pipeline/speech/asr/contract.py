"""What a speech recogniser gets and gives, whichever program does the work."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from merr_pipeline.schema import MerrError

RATE_HZ = 16_000  # of all sound that goes into a model
LONGEST_S = 30.0  # of one piece of sound: what Whisper looks at in one go
MOST_TOKENS = 224  # that a model may write about one piece; Whisper's own limit


class AsrError(MerrError):
    """Speech recognition cannot start: a package or a model is missing. It says what to do."""


@dataclass(frozen=True)
class Word:
    """One word as the model spells it, with blanks and punctuation; seconds from the start."""

    text: str
    start_s: float
    end_s: float
    probability: float | None = None


@dataclass(frozen=True)
class Heard:
    """What a model made of one piece of sound. None is what this model does not tell."""

    text: str
    words: tuple[Word, ...] = ()
    language: str | None = None
    language_probability: float | None = None
    avg_logprob: float | None = None  # mean log probability of the tokens
    no_speech_prob: float | None = None

    @property
    def compression_ratio(self) -> float | None:
        """Bytes of the text per byte of it compressed, as Whisper counts: loops compress well."""
        content = self.text.strip().encode()
        return len(content) / len(zlib.compress(content)) if content else None


class Backend(Protocol):
    """One program with one model, loaded."""

    def hear(self, sounds: Sequence[np.ndarray], languages: Sequence[str | None]) -> list[Heard]:
        """One answer per piece of sound, in order.

        Args:
            sounds: mono at 16 kHz, float32, none longer than `LONGEST_S`.
            languages: of each the code of its language, or None where it is to be told.
        """
        ...
