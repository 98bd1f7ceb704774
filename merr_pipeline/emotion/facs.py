"""Action Units of the Facial Action Coding System: names, scales, and what each face tool can see.

The knowledge is in ``annotation_templates/action_units.yaml``; this module reads and checks it.

    table = load_action_units(settings.templates)
    table.units["AU12"].name                          # "Lip corner puller"
    table.tools["facemesh"].aus["AU12"].reliability   # "moderate"
    table.scales["proxy_0_5"].active_at               # 1.5
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from merr_pipeline.templates import load_model

TEMPLATE = "action_units.yaml"

_CODE = re.compile(r"AU\d\d")


def _well_formed(code: str) -> str:
    if not _CODE.fullmatch(code):
        raise ValueError(f"{code!r} is no Action Unit; write it as AU12")
    return code


Code = Annotated[str, AfterValidator(_well_formed)]
Reliability = Literal["moderate", "low"]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ActionUnit(_Entry):
    """One Action Unit."""

    name: str
    emotion_relevant: bool = True  # a blink is not
    moved_by_speech: bool = False  # talking alone moves it


class Scale(_Entry):
    """One way of giving an Action Unit a number."""

    active_at: float  # from here on it counts as active
    strong_at: float  # and from here on as strong
    max: float


class Support(_Entry):
    """How far a tool can be trusted with one Action Unit."""

    reliability: Reliability
    r: float | None = Field(None, ge=-1, le=1)  # the measured correlation behind the tier, or
    f1: float | None = Field(None, ge=0, le=1)  # against human coders


class Unlikely(_Entry):
    """Action Units that one face hardly shows at once."""

    units: tuple[Code, Code]
    why: str
    strong: bool = False  # only where both are strong


class ToolSupport(_Entry):
    """What one face tool measures. An Action Unit that is not in ``aus`` it cannot see."""

    scale: str
    aus: dict[Code, Support]


class ActionUnitTable(_Entry):
    """The whole of ``action_units.yaml``; ``sha256`` is its content hash, for fingerprints."""

    units: dict[Code, ActionUnit]
    scales: dict[str, Scale]
    unlikely_together: tuple[Unlikely, ...] = ()
    tools: dict[str, ToolSupport]
    sha256: str

    @model_validator(mode="after")
    def _all_names_are_known(self) -> ActionUnitTable:
        for pair in self.unlikely_together:
            self.check_codes(pair.units, "unlikely_together")
        for name, tool in self.tools.items():
            self.check_codes(tool.aus, f"tools.{name}.aus")
            if tool.scale not in self.scales:
                raise ValueError(f"tools.{name}.scale: {tool.scale} is not in scales")
        return self

    def check_codes(self, codes: Iterable[str], place: str) -> None:
        """Refuse codes that this table does not name; ``place`` says where they were found.

        Raises:
            ValueError: names all unknown codes at once.
        """
        if unknown := sorted(set(codes) - set(self.units)):
            known = ", ".join(self.units)
            raise ValueError(f"{place}: unknown Action Units {', '.join(unknown)}; known: {known}")

    def is_active(self, value: float | None, scale: str) -> bool:
        """Whether a value on that scale counts as active; a missing one never does."""
        return value is not None and value >= self.scales[scale].active_at

    def unlikely(self, values: Mapping[str, float | None], scale: str) -> list[Unlikely]:
        """Which pairs are there at once that one face hardly shows; a missing unit is in none.

        ``values`` are those of one moment, by code.
        """
        return [
            pair
            for pair in self.unlikely_together
            if all(
                (value := values.get(unit)) is not None
                and value
                >= (self.scales[scale].strong_at if pair.strong else self.scales[scale].active_at)
                for unit in pair.units
            )
        ]


def load_action_units(templates: Path | None = None) -> ActionUnitTable:
    """Read ``action_units.yaml`` from the user's templates folder, else the shipped one.

    Raises:
        MerrError: the file is missing, or says something that cannot be.
    """
    return load_model(ActionUnitTable, TEMPLATE, templates)
