"""What every part of the tree is made of."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from merr_pipeline.schema import MerrError

Role = Literal["text", "vision", "audio", "second"]
"""What a model is asked for; ``second`` gives second opinions on texts and labels."""


class SettingsError(MerrError):
    """A setting that does not exist, or has a value that cannot be."""


class Section(BaseModel):
    """Closed and frozen: a misspelt key is refused, a worker cannot change a value."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
