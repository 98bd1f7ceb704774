"""What a language model answers about a clip: a label, and the text that reasons to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, create_model

from merr_pipeline.emotion.spaces import LabelSpace

MOST_OPEN_LABELS = 5
MOST_WORDS = 3  # of an open label; more is no label


def _share(value: float) -> float:
    """Said to the model in words: not every server takes bounds in a schema."""
    if not 0 <= value <= 1:
        raise ValueError("must be a number from 0 to 1")
    return value


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


def _open_labels(words: list[str]) -> list[str]:
    """Lower case, each once; what is no label is left out."""
    plain = [_on_one_line(word).strip(".,;").lower() for word in words]
    labels = dict.fromkeys(word for word in plain if 0 < len(word.split()) <= MOST_WORDS)
    return list(labels)[:MOST_OPEN_LABELS]


Share = Annotated[float, AfterValidator(_share)]
Line = Annotated[str, AfterValidator(_on_one_line)]


class Cue(BaseModel):
    """What was made of one item of the evidence list."""

    evidence_id: Annotated[str, AfterValidator(str.strip)]
    reading: Line


class Opinion(BaseModel):
    """Which label the evidence points to."""

    label: str
    confidence: Share


class Reasoned(Opinion):
    """Which label the evidence points to, and why."""

    open_labels: Annotated[list[str], AfterValidator(_open_labels)]
    cues: list[Cue]
    conflicts: list[Line]
    text: Line


def opinion_in(space: LabelSpace) -> type[Opinion]:
    """An opinion whose label is one of the space; other spellings of one become that."""
    return create_model("Opinion", __base__=Opinion, __doc__=Opinion.__doc__, label=_label(space))


def reasoned_in(space: LabelSpace) -> type[Reasoned]:
    """The same with reasons."""
    return create_model(
        "Reasoned", __base__=Reasoned, __doc__=Reasoned.__doc__, label=_label(space)
    )


def _label(space: LabelSpace) -> Any:
    """A field that a server can be held to, by its schema, and any other answer is read for."""
    shown = Field(json_schema_extra={"enum": list(space.labels)})
    return Annotated[str, AfterValidator(_finder(space)), shown], ...


def _finder(space: LabelSpace) -> Callable[[str], str]:
    def find(written: str) -> str:
        label = space.find(written)
        if label is None:
            raise ValueError(f"{written!r} is none of {', '.join(space.labels)}")
        return label

    return find
