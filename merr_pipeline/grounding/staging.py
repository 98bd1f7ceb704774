"""Who does what, and where, in a described scene.

`Retelling` proves single words by the scene. Two ways in which true words make a false sentence are
looked for here: a hand that is put on another thing, and a posture that is another one's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from merr_pipeline.grounding.clause import Clause
from merr_pipeline.grounding.lexicon import Lexicon
from merr_pipeline.grounding.tagging import words_of
from merr_pipeline.grounding.told import Sentence, sentences_of
from merr_pipeline.grounding.view import EvidenceView
from merr_pipeline.schema import Row

_PART_END = re.compile(r"[,;.]\s*")
_OF_PERSON = re.compile(r"^scene, (posture|gestures)\b")
_NEAR = 5  # words between a hand and what it is on
_ELSEWHERE = "the scene has it elsewhere"


@dataclass(frozen=True)
class Staging:
    """Judges clauses by the described scenes of one evidence list."""

    view: EvidenceView
    lexicon: Lexicon

    @cached_property
    def _parts(self) -> list[tuple[list[str], Sentence]]:
        """What stands between two commas of a scene: its words, and the same to be asked."""
        thesaurus = self.lexicon.thesaurus
        return [
            ([*_subject(row), *words_of(part)], sentence)
            for row, seen in self.view.scenes
            for part in _PART_END.split(seen)
            for sentence in sentences_of(part, row, thesaurus)
        ]

    def fault(self, clause: Clause) -> str:
        """What is wrong; empty where nothing is, or where no scene is described."""
        if not self._parts:
            return ""
        words = words_of(clause.text)
        wrong = any(
            self._is_elsewhere(words, place) or self._is_of_another(words, place)
            for place in range(len(words))
        )
        return _ELSEWHERE if wrong else self._wrong_number(words)

    def _tells(self, part: Sentence, word: str) -> bool:
        return part.tells(word, self.lexicon.thesaurus)

    def _is_elsewhere(self, words: Sequence[str], place: int) -> bool:
        """``one hand on the window``, where it is on the door."""
        scene = self.lexicon.scene
        if words[place] not in scene.limbs:
            return False
        behind = words[place + 1 : place + 1 + _NEAR]
        at = next((n for n, word in enumerate(behind) if word in scene.places), None)
        if at is None:
            return False
        target = next((w for w in words[place + at + 2 :] if w not in self.lexicon.glue_words), "")
        with_limb = [part for _, part in self._parts if self._tells(part, words[place])]
        is_there = any(self._tells(part, target) for _, part in self._parts)
        return bool(with_limb) and is_there and not any(self._tells(p, target) for p in with_limb)

    def _is_of_another(self, words: Sequence[str], place: int) -> bool:
        """``the person stands``, where a lamp does."""
        scene, stem = self.lexicon.scene, self.lexicon.thesaurus.stem
        if stem(words[place]) not in set(map(stem, scene.postures)):
            return False
        before = [
            word for word in words[:place] if word not in self.lexicon.glue_words - scene.persons
        ]
        if not before or before[-1] not in scene.persons:
            return False
        found = [
            self._is_persons(said[:at])
            for said, _ in self._parts
            for at, word in enumerate(said)
            if stem(word) == stem(words[place])
        ]
        return bool(found) and not any(found)

    def _is_persons(self, before: Sequence[str]) -> bool:
        """Whether a person is named there, or nobody and nothing."""
        names = set(before) - self.lexicon.glue_words
        return not names or not self.lexicon.scene.persons.isdisjoint(before)

    def _wrong_number(self, words: Sequence[str]) -> str:
        """``both hands``, where it is one."""
        stem = self.lexicon.thesaurus.stem
        for both, limb in pairwise(words):
            if both not in ("both", "two") or limb not in self.lexicon.scene.limbs:
                continue
            numbers = [
                said[at - 1]
                for said, _ in self._parts
                for at, word in enumerate(said)
                if at and stem(word) == stem(limb)
            ]
            if numbers and not {"both", "two"} & set(numbers):
                return f"the scene has {numbers[0]} {limb.removesuffix('s')}"
        return ""


def _subject(row: Row) -> list[str]:
    """Whom a row is about that names nobody: the posture and the gestures are the main person's."""
    return ["person"] if _OF_PERSON.match(row["text"]) else []
