"""The words for what was measured in a picture: ``scene_words.yaml``, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from merr_pipeline.schema import MerrError
from merr_pipeline.templates import load_template

TEMPLATE = "scene_words.yaml"

_JINJA = ImmutableSandboxedEnvironment(undefined=StrictUndefined)


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Step(_Entry):
    """The word from this value on."""

    at_least: float
    word: str


class FacingWords(_Entry):
    """Where the head points."""

    camera_within_deg: float
    profile_from_deg: float
    tilt_from_deg: float
    camera: str
    right: str
    left: str
    right_profile: str
    left_profile: str
    raised: str
    lowered: str


class PartlyDark(_Entry):
    """When a clip is dark for a while."""

    above: float = Field(alias="from")
    below: float = Field(alias="to")
    word: str


class SceneWords(_Entry):
    """The whole of ``scene_words.yaml``; ``sha256`` is its content hash, for fingerprints."""

    shot_scale: list[Step]
    position: list[Step]
    facing: FacingWords
    light: list[Step]
    contrast: list[Step]
    partly_dark: PartlyDark
    motion: list[Step]
    colour: list[Step]
    warmth: list[Step]
    numbers: list[str]
    sentence: str
    sha256: str

    def number(self, count: int) -> str:
        """A count in words, as far as they go."""
        return self.numbers[count] if count < len(self.numbers) else str(count)

    def render(self, facts: Mapping[str, Any]) -> str:
        """The sentence, with one blank between words and a capital letter."""
        text = " ".join(_JINJA.from_string(self.sentence).render(facts).split())
        text = text.replace(" ,", ",").replace(" ;", ";").replace(" .", ".")
        return text[:1].upper() + text[1:]


def word_for(value: float | None, steps: list[Step]) -> str | None:
    """The word of the first step that the value reaches; None for a missing value."""
    if value is None:
        return None
    return next((step.word for step in steps if round(value, 3) >= step.at_least), None)


def load_scene_words(templates: Path | None = None) -> SceneWords:
    """Read ``scene_words.yaml`` from the user's templates folder, else the shipped one.

    Raises:
        MerrError: the file is missing, or says something that cannot be.
    """
    template = load_template(TEMPLATE, templates)
    try:
        words = SceneWords.model_validate({**template.data, "sha256": template.sha256})
        _JINJA.from_string(words.sentence)
    except (ValidationError, TypeError, TemplateError) as error:
        raise MerrError(f"template {TEMPLATE} is wrong: {error}") from error
    return words
