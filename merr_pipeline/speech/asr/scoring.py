"""How far a transcript is from what was said: word and character error rate.

As usual for both: errors are the fewest words (characters) to put in, leave out or exchange, over
the number of words (characters) that were said; case and punctuation do not count. Scripts without
blanks have no words here: each of their signs counts as one, so there both rates are the same.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from merr_pipeline.speech.asr.gates import UNIT


@dataclass(frozen=True)
class Errors:
    """Errors, and the length of what was said; sums of clips are rates of a corpus."""

    errors: int = 0
    length: int = 0

    def __add__(self, other: Errors) -> Errors:
        return Errors(self.errors + other.errors, self.length + other.length)

    @property
    def rate(self) -> float | None:
        """Errors per word (character); over 1 where more is invented than was said."""
        return self.errors / self.length if self.length else None


def word_errors(said: str, heard: str) -> Errors:
    """Of two texts, by words."""
    return _errors(_words(said), _words(heard))


def character_errors(said: str, heard: str) -> Errors:
    """Of two texts, by characters, blanks left out."""
    return _errors("".join(_words(said)), "".join(_words(heard)))


def distance(one: Sequence[str], other: Sequence[str]) -> int:
    """The fewest items to put in, leave out or exchange (Levenshtein)."""
    row = list(range(len(other) + 1))
    for number, item in enumerate(one, 1):
        before, row[0] = row[0], number
        for place, wanted in enumerate(other, 1):
            exchanged = before + (item != wanted)
            before = row[place]
            row[place] = min(exchanged, row[place] + 1, row[place - 1] + 1)
    return row[-1]


def total(errors: Iterable[Errors]) -> Errors:
    """Of a corpus: long clips count more than short ones."""
    return sum(errors, Errors())


def _errors(said: Sequence[str], heard: Sequence[str]) -> Errors:
    return Errors(distance(said, heard), len(said))


def _words(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", text).casefold().replace("'", "").replace("’", "")
    return UNIT.findall(folded)
