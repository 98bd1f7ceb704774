"""What calls take and what that costs: tokens, and the table of ``prices.yaml``.

A model without a price has no cost: null, never 0.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from merr_pipeline.templates import load_model

PER = 1_000_000  # tokens, for which prices are given


@dataclass(frozen=True)
class Usage:
    """Tokens of one call, or of several together.

    ``cached`` and ``audio`` are parts of ``prompt`` that some servers bill at another price.
    """

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    audio: int = 0

    @property
    def total(self) -> int:
        """Prompt and answer together."""
        return self.prompt + self.completion

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt + other.prompt,
            self.completion + other.completion,
            self.cached + other.cached,
            self.audio + other.audio,
        )

    def to_json(self) -> str:
        """As the cache keeps it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Usage:
        """As the cache keeps it."""
        return cls(**json.loads(text))

    @classmethod
    def mean(cls, usages: Sequence[Usage]) -> Usage:
        """The mean of each, rounded; of one usage at least."""
        total = sum(usages, cls())
        return cls(**{name: round(value / len(usages)) for name, value in asdict(total).items()})

    @classmethod
    def from_server(cls, said: Any) -> Usage | None:
        """What a server says that a call took; None if it does not say it."""
        prompt, completion = _count(said, "prompt_tokens"), _count(said, "completion_tokens")
        if prompt is None or completion is None:
            return None
        details = getattr(said, "prompt_tokens_details", None)
        cached, audio = _count(details, "cached_tokens"), _count(details, "audio_tokens")
        return cls(prompt, completion, min(cached or 0, prompt), min(audio or 0, prompt))


def _count(holder: Any, name: str) -> int | None:
    value = getattr(holder, name, None)
    return value if isinstance(value, int) and value >= 0 else None


class Price(BaseModel):
    """What a model costs, in US dollars for a million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1)  # a name, or a pattern with * and ?
    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(None, ge=0)  # as input where it is not given
    audio_input: float | None = Field(None, ge=0)

    def cost_usd(self, usage: Usage) -> float:
        """What these tokens cost."""
        cached = self.input if self.cached_input is None else self.cached_input
        audio = self.input if self.audio_input is None else self.audio_input
        plain = max(0, usage.prompt - usage.cached - usage.audio)
        parts = (plain, self.input), (usage.cached, cached), (usage.audio, audio)
        return (
            sum(tokens * price for tokens, price in (*parts, (usage.completion, self.output))) / PER
        )


class Prices(BaseModel):
    """The price table, as read from ``prices.yaml``; the first model that matches counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    as_of: str
    source: str
    models: tuple[Price, ...] = ()
    sha256: str = ""

    def of(self, model: str) -> Price | None:
        """The price of a model; None where the table has none."""
        return next((price for price in self.models if fnmatchcase(model, price.model)), None)


def load_prices(templates: Path | None = None) -> Prices:
    """The table of the user's folder of templates, else the shipped one."""
    return load_model(Prices, "prices.yaml", templates)
