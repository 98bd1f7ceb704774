"""A clause as it was read: what is found in it, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from merr_pipeline.grounding.tagging import Tag

EXCEPTIONS = ("apart from", "except", "besides", "beside", "aside from", "other than", "but for")


@dataclass(frozen=True)
class Found:
    """Something that a clause says; ``unknown`` for what cannot be read."""

    kind: str
    meaning: Any
    text: str
    degree: str | None = None
    start: int = 0  # of its words in the clause
    end: int = 0
    part: int = 0
    anchor: int = 0  # where the word stands that a negation would deny
    negated: bool = False
    definite: bool = False  # "the smile": it is spoken of, not told

    @property
    def span(self) -> tuple[int, int]:
        """Where its words begin and end."""
        return self.start, self.end


@dataclass(frozen=True)
class Clause:
    """One clause: its tags, and what they come to."""

    text: str
    tags: list[Tag]
    found: list[Found]
    is_of_speech: bool  # it tells what was said

    def has(self, *kinds: str) -> bool:
        """Whether anything of these kinds is said."""
        return any(item.kind in kinds for item in self.found)

    def of(self, *kinds: str) -> list[Found]:
        """What is said of these kinds, in order."""
        return [item for item in self.found if item.kind in kinds]

    @property
    def has_exception(self) -> bool:
        """Whether it begins with what it is not about: "apart from the smile"."""
        said = " ".join(tag.text for tag in self.tags[:2])
        return said.startswith(EXCEPTIONS)

    @property
    def has_relation(self) -> bool:
        """Whether it tells how something bears on an emotion."""
        return self.has("relation") or self.has("cautious")
