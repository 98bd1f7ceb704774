"""How the pieces of a coarse caption are put together, in whatever language they are.

In the form ``template`` they stand in the sentences of the MERR paper; in the form ``raw``, that of
the paper's ablation, one after the other, with no words of a template around them. What is missing
is left out in both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from merr_pipeline.dataset.placeholders import filled_with
from merr_pipeline.fuse.phrases import capitalised

Form = Literal["template", "raw"]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RawPieces(_Entry):
    """How each piece stands where there are no sentences."""

    scene: Annotated[str, filled_with("scene")]
    expression: Annotated[str, filled_with("expression")]
    expression_unsure: Annotated[str, filled_with("expression")]
    voice: Annotated[str, filled_with("tone")]
    words: Annotated[str, filled_with("transcript")]


class CaptionPattern(_Entry):
    """What the caption template of any language has."""

    scene: Annotated[str, filled_with("scene")]
    face_and_voice: Annotated[str, filled_with("expression", "tone")]
    face: Annotated[str, filled_with("expression")]
    voice: Annotated[str, filled_with("tone")]
    words: Annotated[str, filled_with("transcript")]
    face_and_voice_unsure: Annotated[str, filled_with("expression", "tone")]
    face_unsure: Annotated[str, filled_with("expression")]
    raw: RawPieces
    between: str  # what stands between two sentences, or two pieces
    max_phrases: int = Field(ge=1)


@dataclass(frozen=True)
class Pieces:
    """What there is to say of a clip; an empty piece is missing."""

    scene: str = ""  # a whole sentence
    expression: str = ""
    tone: str = ""
    transcript: str = ""
    is_unsure: bool = False  # the expression is said with a doubt


def put_together(pieces: Pieces, pattern: CaptionPattern, form: Form) -> str | None:
    """The caption, or None where there is nothing to say."""
    values = vars(pieces)
    if form == "raw":
        said = [
            capitalised(getattr(pattern.raw, name).format(**values)) for name in _raw_parts(pieces)
        ]
    else:
        said = [getattr(pattern, name).format(**values) for name in _sentences(pieces)]
    return pattern.between.join(said) or None


def _sentences(pieces: Pieces) -> Iterator[str]:
    """Names of the sentences that the clip gets, in order."""
    if pieces.scene:
        yield "scene"
    if pieces.expression:
        face = "face_and_voice" if pieces.tone else "face"
        yield f"{face}_unsure" if pieces.is_unsure else face
    elif pieces.tone:
        yield "voice"
    if pieces.transcript:
        yield "words"


def _raw_parts(pieces: Pieces) -> Iterator[str]:
    """The same where each piece stands alone."""
    if pieces.scene:
        yield "scene"
    if pieces.expression:
        yield "expression_unsure" if pieces.is_unsure else "expression"
    if pieces.tone:
        yield "voice"
    if pieces.transcript:
        yield "words"
