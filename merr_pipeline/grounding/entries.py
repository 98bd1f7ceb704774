"""The entries of ``grounding_lexicon.yaml``: what each kind of knowledge in it looks like."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from merr_pipeline.emotion.facs import Code

ANY_WORDS = r"\w"  # what a transcript needs, where any words will do
MOVED = "moved"  # the quality of a part of the face that does anything at all


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    return pattern


Expression = Annotated[str, AfterValidator(_compiles)]


class DegreeRange(_Entry):
    """The intensities that an adverb may name; ``below`` is not reached.

    ``voice`` says whether it asks for the weakest or the strongest of several words of a voice.
    """

    start: float = Field(0.0, alias="from")
    below: float = float("inf")
    voice: Literal["weak", "strong"] | None = None

    @property
    def is_bounded(self) -> bool:
        """Whether it says anything of an intensity."""
        return self.start > 0 or self.below < float("inf")


def _by_phrase(groups: Any) -> Any:
    """``[{below: 2, say: [faintly, slightly]}]`` to a range for each phrase."""
    if not isinstance(groups, list):
        return groups
    return {
        phrase: {name: value for name, value in group.items() if name != "say"}
        for group in groups
        for phrase in group["say"]
    }


Degrees = Annotated[dict[str, DegreeRange], BeforeValidator(_by_phrase)]


def _flattened(groups: Any) -> Any:
    return (
        [one for group in groups.values() for one in group] if isinstance(groups, dict) else groups
    )


Grouped = Annotated[frozenset[str], BeforeValidator(_flattened)]
"""Written in groups, which have names for the reader alone."""


class Needs(_Entry):
    """What must be in the evidence for a saying to be true."""

    any: tuple[Code, ...] = ()  # one of these Action Units is active
    all: tuple[Code, ...] = ()  # each of these is
    none: tuple[Code, ...] = ()  # all of these are measured, and none is active
    words: dict[str, tuple[Expression, ...]] = {}  # one of these features reads so, weakest first
    text: Expression | None = None  # the text of some evidence

    @model_validator(mode="before")
    @classmethod
    def _from_short_forms(cls, value: Any) -> Any:
        """``[AU01]`` is ``{any: [AU01]}``, ``{tempo: [fast]}`` is ``{words: {tempo: [fast]}}``."""
        if isinstance(value, list):
            return {"any": value}
        if isinstance(value, dict) and not set(value) <= set(cls.model_fields):
            return {"words": value}
        return value

    @property
    def codes(self) -> tuple[Code, ...]:
        """All Action Units that it is about."""
        return self.any + self.all + self.none


class Grammar(_Entry):
    """Small words that hold a clause together; the file says what each is for."""

    joining: frozenset[str]
    coordinating: frozenset[str]
    definite: frozenset[str]
    ordinals: frozenset[str]
    stops: frozenset[str]
    relative: frozenset[str]
    contrasting: frozenset[str]
    hardly: frozenset[str]
    modals: frozenset[str]
    subordinating: frozenset[str]
    impossible: frozenset[str]
    existential: frozenset[str]
    existence: frozenset[str]
    neither: frozenset[str]
    ellipses: frozenset[str]
    perceived: frozenset[str]
    spoken: frozenset[str]
    pronouns: frozenset[str]
    alike: frozenset[str]
    copulas: frozenset[str]
    people: frozenset[str]
    others: frozenset[str]
    about: frozenset[str]
    glue: frozenset[str] = frozenset()  # single words, in all their forms


class Quality(_Entry):
    """Ways of saying what a thing does or is like."""

    say: tuple[str, ...]
    alone: Needs | None = None


class Thing(_Entry):
    """Something that can be spoken of; the file says what each field means."""

    say: tuple[str, ...]
    does: dict[str, Needs] = {}
    has: Needs | None = Field(None, alias="is")
    count: str | None = None
    missing: Expression | None = None
    modality: Literal["face", "voice", "words", "scene"] | None = None
    units: tuple[Code, ...] = ()
    actions: bool = False  # all Action Units together
    speech: bool = False  # words of the transcript may be used beside it

    def needs(self, qualities: Iterable[str]) -> Needs | None:
        """What must be there when it is so; None if it cannot be."""
        if self.units and MOVED in qualities:
            return Needs(any=self.units)
        fitting = [self.does[name] for name in qualities if name in self.does]
        if len(fitting) > 1 and all(one.words for one in fitting):  # "a raised voice"
            return Needs(words=_merged([one.words for one in fitting]))
        if len(fitting) > 1 and all(one.any for one in fitting):
            return Needs(any=_shared([one.any for one in fitting]))
        return fitting[0] if fitting else None


def _shared(codes: Sequence[tuple[Code, ...]]) -> tuple[Code, ...]:
    """What several readings have in common; else, as for "squeezed lips", what any of them has."""
    first, *others = codes
    common = tuple(code for code in first if all(code in other for other in others))
    return common or tuple(dict.fromkeys(code for one in codes for code in one))


def _merged(tables: Iterable[dict[str, tuple[str, ...]]]) -> dict[str, tuple[str, ...]]:
    merged: dict[str, tuple[str, ...]] = {}
    for table in tables:
        for feature, words in table.items():
            known = merged.get(feature, ())
            merged[feature] = known + tuple(word for word in words if word not in known)
    return merged


class VoiceNames(_Entry):
    """How features of the voice are called, and what each bears on."""

    nouns: dict[str, tuple[str, ...]]
    same: dict[str, dict[str, tuple[str, ...]]]
    without_noun: tuple[str, ...]
    combined: tuple[str, ...]
    said_with: dict[str, Expression]  # emotion -> what is said
    bears_on: dict[str, dict[str, tuple[str, ...]]]  # emotion -> feature -> words


class Statement(_Entry):
    """A fixed saying and what makes it true."""

    say: str
    needs: Expression | None = None
    lacks: Expression | None = None
    label: Literal["none"] | None = None
    signs: Literal["moved_by_speech", "measured", "all_active"] | None = None
    strongest: DegreeRange | None = None
    reliability: Literal["low", "doubtful", "moderate"] | None = None
    words: Literal["before_the_peak", "untimed"] | None = None


class SceneWords(_Entry):
    """Words of a described scene that go with certain others; the file says how."""

    limbs: frozenset[str]
    places: frozenset[str]
    postures: frozenset[str]
    persons: frozenset[str]


class Speech(_Entry):
    """What is said by somebody; ``needs`` must be found in what was said.

    ``repeats``: or what is quoted beside it was said more than once; ``times``: just so often.
    ``deniable``: a "not" before it is the text's own; else it must be in what was said.
    """

    say: tuple[str, ...]
    needs: Expression | None = None
    repeats: bool = False
    times: int = 0
    deniable: bool = True

    @property
    def can_be_denied(self) -> bool:
        """Whether a "no" before it says that nothing was said so."""
        return self.deniable and self.needs not in (None, ANY_WORDS)


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
