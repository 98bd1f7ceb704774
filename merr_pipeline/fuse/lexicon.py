"""What the checker can read: ``grounding_lexicon.yaml``, and how its patterns are found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from merr_pipeline.emotion.facs import ActionUnitTable, Code
from merr_pipeline.schema import MerrError
from merr_pipeline.templates import load_template

TEMPLATE = "grounding_lexicon.yaml"


def words_of(text: str) -> list[str]:
    """Small words, numbers and hyphenated words; punctuation falls away."""
    return re.findall(r"\w+(?:[.'-]\w+)*", text.lower().replace("’", "'"))


@dataclass(frozen=True)
class Pattern:
    """A row of words to find, and what finding it means."""

    words: tuple[tuple[str, ...], ...]  # alternatives for each place
    kind: str
    meaning: Any

    @classmethod
    def read(cls, text: str, kind: str, meaning: Any) -> Pattern:
        """From the notation of the file: ``"lip|mouth corner*"``."""
        return cls(tuple(tuple(place.split("|")) for place in text.lower().split()), kind, meaning)


@dataclass(frozen=True)
class Found:
    """A pattern that was found in a sentence; ``kind`` is ``unknown`` for what fits none."""

    kind: str
    meaning: Any
    text: str
    degree: str | None = None  # an adverb inside or right before it


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DegreeRange(_Entry):
    """The values that an adverb may name; ``below`` is not reached."""

    start: float = Field(0.0, alias="from")
    below: float = float("inf")


class FaceSaying(_Entry):
    """Ways of saying that one of these Action Units is active."""

    aus: tuple[Code, ...]
    say: tuple[str, ...]


class VoiceNames(_Entry):
    """How features of the voice are called."""

    nouns: dict[str, tuple[str, ...]]
    same: dict[str, dict[str, tuple[str, ...]]]
    without_noun: tuple[str, ...]
    combined: tuple[str, ...]


class Statement(_Entry):
    """A fixed saying and what makes it true."""

    say: str
    needs: str | None = None
    label: Literal["none"] | None = None
    signs: Literal["moved_by_speech"] | None = None  # what all signs of its clause must be


Holds = Literal[
    "support",  # a clue speaks for the label
    "facial_support",  # a facial one does
    "against",  # a clue speaks against it
    "no_facial_support",  # no facial action does
    "contradiction",  # no clue does
    "nothing",  # no clue speaks for or against it
    "no_rule",  # no rule says what speaks for it
    "still_face",
    "label",  # there is one
]


class ConclusionSaying(_Entry):
    """A saying about all clues together."""

    say: str
    holds: Holds


class Lexicon(_Entry):
    """The whole of ``grounding_lexicon.yaml``."""

    skipped: frozenset[str]
    degrees: dict[str, DegreeRange]
    hedges: tuple[str, ...]
    face: tuple[FaceSaying, ...]
    all_signs: tuple[str, ...]
    relations: dict[Literal["for", "against"], tuple[str, ...]]
    no_clues: frozenset[str]
    sayings: tuple[str, ...]
    feelings: frozenset[str]
    voice: VoiceNames
    statements: tuple[Statement, ...]
    conclusions: tuple[ConclusionSaying, ...]
    emotions: dict[str, tuple[str, ...]]
    forbidden: dict[str, tuple[str, ...]]
    glue: frozenset[str]
    sha256: str

    @cached_property
    def patterns(self) -> tuple[Pattern, ...]:
        """All that is known before any evidence."""
        found = [Pattern.read(t, "face", saying.aus) for saying in self.face for t in saying.say]
        found += [Pattern.read(text, "all_signs", None) for text in self.all_signs]
        for kind, table in (
            ("relation", self.relations),
            ("emotion", self.emotions),
            ("forbidden", self.forbidden),
        ):
            found += [Pattern.read(t, kind, name) for name, texts in table.items() for t in texts]
        found += [Pattern.read(s.say, "statement", s) for s in self.statements]
        found += [Pattern.read(c.say, "conclusion", c.holds) for c in self.conclusions]
        return tuple(found)

    @cached_property
    def by_first_word(self) -> dict[str, list[Pattern]]:
        """The same, to be looked up."""
        return _by_first_word(self.patterns)

    @cached_property
    def saying_patterns(self) -> tuple[Pattern, ...]:
        """What may stand right before a quotation of what was said."""
        return tuple(Pattern.read(text, "saying", None) for text in self.sayings)

    def says(self, before: Sequence[str]) -> bool:
        """Whether these words, which stand before a quotation, end by saying that it was said."""
        return any(
            len(before) >= len(pattern.words)
            and all(map(_is_one_of, before[-len(pattern.words) :], pattern.words))
            for pattern in self.saying_patterns
        )

    def find(self, text: str, more: Iterable[Pattern] = ()) -> list[Found]:
        """Everything said in one sentence, in order; glue is left out.

        At each place the pattern that reaches farthest wins. ``more`` are patterns that the
        evidence adds; of two that reach as far, it wins.
        """
        words, indexes = words_of(text), (_by_first_word(more), self.by_first_word)
        found: list[Found] = []
        start, degree = 0, None
        while start < len(words):
            best = self._best_at(words, start, indexes)
            if best is None:
                found, degree = self._single(words[start], found, degree)
                start += 1
                continue
            pattern, end, inside = best
            said = " ".join(words[start:end])
            if degree and pattern.kind != "face":
                found.append(Found("unknown", None, degree))
            found.append(Found(pattern.kind, pattern.meaning, said, inside or degree))
            start, degree = end, None
        if degree:
            found.append(Found("unknown", None, degree))
        return _joined(found)

    def _single(
        self, word: str, found: list[Found], degree: str | None
    ) -> tuple[list[Found], str | None]:
        """A word that begins no pattern: an adverb waits for its sign, glue falls away."""
        if degree:
            found = [*found, Found("unknown", None, degree)]
        if word in self.degrees:
            return found, word
        if word in self.glue:
            return [*found, Found("glue", None, word)], None
        return [*found, Found("unknown", None, word)], None

    def _best_at(
        self, words: Sequence[str], start: int, indexes: Iterable[Mapping[str, Sequence[Pattern]]]
    ) -> tuple[Pattern, int, str | None] | None:
        best: tuple[Pattern, int, str | None] | None = None
        for index in indexes:
            for pattern in [*index.get(words[start], ()), *index["*"]]:
                match = self._match(words, start, pattern)
                if match is not None and (best is None or match[0] > best[1]):
                    best = (pattern, *match)
        return best

    def _match(
        self, words: Sequence[str], start: int, pattern: Pattern
    ) -> tuple[int, str | None] | None:
        """Where the pattern ends, and the adverb that stands in it; None if it is not there."""
        place, degree = start, None
        for number, alternatives in enumerate(pattern.words):
            while place < len(words) and not _is_one_of(words[place], alternatives):
                if number == 0 or not (
                    words[place] in self.skipped or words[place] in self.degrees
                ):
                    return None
                degree = words[place] if words[place] in self.degrees else degree
                place += 1
            if place == len(words):
                return None
            place += 1
        return place, degree


def _is_one_of(word: str, alternatives: Sequence[str]) -> bool:
    return any(
        _begins_with(word, one[:-1]) if one.endswith("*") else word == one for one in alternatives
    )


def _begins_with(word: str, stem: str) -> bool:
    """``fearful`` begins with ``fear``; ``fearless`` and ``fear-free`` say its contrary."""
    ending = word.removeprefix(stem).replace("'", "")
    return (
        word.startswith(stem)
        and (ending == "" or ending.isalpha())
        and not ending.endswith(("less", "lessly", "lessness", "free", "proof"))
    )


def _by_first_word(patterns: Iterable[Pattern]) -> dict[str, list[Pattern]]:
    """Patterns by each word they may begin with; those that begin with ``xyz*`` under ``*``."""
    index: dict[str, list[Pattern]] = {"*": []}
    for pattern in patterns:
        for one in pattern.words[0]:
            index.setdefault("*" if one.endswith("*") else one, []).append(pattern)
    return index


def _joined(found: Sequence[Found]) -> list[Found]:
    """Neighbouring unknown words are one claim; glue is dropped."""
    result: list[Found] = []
    previous = ""
    for item in found:
        if item.kind == "unknown" == previous:
            result[-1] = Found("unknown", None, f"{result[-1].text} {item.text}")
        elif item.kind != "glue":
            result.append(item)
        previous = item.kind
    return result


def load_lexicon(table: ActionUnitTable, templates: Path | None = None) -> Lexicon:
    """Read ``grounding_lexicon.yaml`` from the user's templates folder, else the shipped one.

    Raises:
        MerrError: the file is missing, says something that cannot be, or names an unknown
            Action Unit.
    """
    template = load_template(TEMPLATE, templates)
    try:
        lexicon = Lexicon.model_validate({**template.data, "sha256": template.sha256})
        table.check_codes([code for saying in lexicon.face for code in saying.aus], "face")
    except (ValidationError, TypeError, ValueError) as error:
        raise MerrError(f"template {TEMPLATE} is wrong: {error}") from error
    return lexicon
