"""What was said and what a model saw, retold in other words.

A word is proven by a transcript or by the description of a scene that holds it, a form of it, or
another of its group in the lexicon's ``synonyms``. This tells whether the words are there, not how
they go together; so it is strict with the words and lenient with the grammar.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from merr_pipeline.grounding.tagging import words_of
from merr_pipeline.schema import Row

_ENDINGS = ("ingly", "ing", "edly", "ed", "ies", "es", "ly", "s", "e")
_SENTENCE_END = re.compile(r"[.;!?…]+\s+|[;]")


class Thesaurus:
    """Word forms and groups of words that mean much the same."""

    def __init__(
        self, groups: Iterable[Sequence[str]], irregular: Mapping[str, Sequence[str]]
    ) -> None:
        self._base = {form: verb for verb, forms in irregular.items() for form in forms}
        self._groups: dict[tuple[str, ...], set[int]] = {}
        for number, group in enumerate(groups):
            for text in group:
                self._groups.setdefault(self.stems(text), set()).add(number)
        self._longest = max(map(len, self._groups), default=1)

    def stems(self, text: str) -> tuple[str, ...]:
        """The words of a text without their endings."""
        return tuple(self.stem(word) for word in words_of(text))

    def stem(self, word: str) -> str:
        """``hiding``, ``hides`` and ``hid`` are one word."""
        return _stem(self._base.get(word, word))

    def groups(self, stems: tuple[str, ...]) -> frozenset[int]:
        """The groups that such words belong to."""
        return frozenset(self._groups.get(stems, ()))

    def all_groups(self, stems: tuple[str, ...]) -> frozenset[int]:
        """The groups of every run of these words."""
        runs = [
            stems[start:end]
            for start in range(len(stems))
            for end in range(start + 1, min(start + self._longest, len(stems)) + 1)
        ]
        runs += zip(stems, stems[2:], strict=False)  # "let me go"
        return frozenset(group for run in runs for group in self._groups.get(run, ()))


@lru_cache(maxsize=4096)
def _stem(word: str) -> str:
    word = word.removesuffix("'s")
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word.removesuffix(ending)
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "sl":
        word = word[:-1]
    return "i".join(word.rsplit("y", 1)) if word.endswith("y") else word


@dataclass(frozen=True)
class Sentence:
    """A sentence of the evidence, ready to be asked for words."""

    row: Row
    stems: frozenset[str]
    groups: frozenset[int]
    denies: bool  # there is a "not" in it

    def tells(self, word: str, thesaurus: Thesaurus) -> bool:
        """Whether the word, or the words, or others for them, are in it."""
        stems = thesaurus.stems(word)
        return bool(stems) and (
            set(stems) <= self.stems or bool(thesaurus.groups(stems) & self.groups)
        )


def sentences_of(text: str, row: Row, thesaurus: Thesaurus) -> list[Sentence]:
    """The sentences of what was said, or of a description."""
    found = []
    for part in _SENTENCE_END.split(text):
        stems = thesaurus.stems(part)
        if stems:
            denies = bool(
                re.search(r"n't\b|n’t\b|\b(?:not|no|never|nobody|nothing)\b", part.lower())
            )
            found.append(Sentence(row, frozenset(stems), thesaurus.all_groups(stems), denies))
    return found
