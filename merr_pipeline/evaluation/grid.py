"""The grid of an ablation: one YAML file with a base recipe and axes, and the cells it means.

::

    base: stage1                        # a recipe of `merr train`
    set: [data.out=merr-out]            # for all cells
    score: weighted_f1
    cross: false                        # true: every option with every other
    axes:
      frame:                            # the first option of an axis is the base's
        peak: []
        first: [data.frame=first]

Without ``cross`` each axis is gone through by itself, with the first option of all others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from merr_pipeline.schema import MerrError
from merr_pipeline.settings.loading import load_tree
from merr_pipeline.settings.section import Section

GRIDS = Path(__file__).parent / "grids"
BASE = "base"


class Grid(Section):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    base: str = Field("stage1", description="Recipe of `merr train`, or a YAML file of your own.")
    overrides: tuple[str, ...] = Field((), alias="set", description="Of that, for all cells.")
    out: Path | None = Field(
        None, description="Dataset that all cells answer about; null is data.out of the base."
    )
    split: Literal["validation", "test"] = Field(
        "test", description="To choose settings by the table, take validation."
    )
    score: Literal["weighted_f1", "macro_f1", "accuracy", "uar"] = Field(
        "weighted_f1", description="What the figure shows and what is compared."
    )
    cross: bool = Field(False, description="Every option with every other.")
    seed: int = Field(0, ge=0, description="Of the intervals.")
    axes: dict[str, dict[str, tuple[str, ...]]] = Field(
        min_length=1, description="axis -> option -> what it sets; the first is the base's."
    )

    @model_validator(mode="after")
    def _has_options(self) -> Grid:
        for axis, options in self.axes.items():
            if not options:
                raise ValueError(f"the axis {axis} has no option")
        return self


@dataclass(frozen=True)
class Cell:
    """One run: an option on each axis."""

    name: str
    choices: dict[str, str]  # axis -> option
    overrides: tuple[str, ...]


def load_grid(name: str, overrides: Sequence[str] = ()) -> Grid:
    """Read a shipped grid by its name, or the path of a YAML file of your own.

    Args:
        name: of the grid.
        overrides: of the base recipe, after those of the file.

    Raises:
        SettingsError: no such file, unknown key, bad value.
    """
    shipped = GRIDS / f"{Path(name).stem}.yaml"
    path = shipped if not Path(name).is_file() and shipped.is_file() else Path(name)
    grid = load_tree(Grid, path)
    return grid.model_copy(update={"overrides": (*grid.overrides, *overrides)})


def cells_of(grid: Grid) -> list[Cell]:
    """All cells, the base first.

    Raises:
        MerrError: two would have the same name on disk.
    """
    first = {axis: next(iter(options)) for axis, options in grid.axes.items()}
    if grid.cross:
        every = product(*grid.axes.values())
        choices = [dict(zip(grid.axes, options, strict=True)) for options in every]
    else:
        others = (
            {**first, axis: option}
            for axis, options in grid.axes.items()
            for option in list(options)[1:]
        )
        choices = [first, *others]
    cells = [_cell(grid, chosen, first) for chosen in choices]
    plain = [folder_name(cell.name) for cell in cells]
    if len(set(plain)) < len(plain):
        raise MerrError(f"two cells would be called {max(plain, key=plain.count)}; rename options.")
    return cells


def folder_name(name: str) -> str:
    """A cell's name as part of a path."""
    return re.sub(r"[^A-Za-z0-9._=,-]+", "_", name)


def _cell(grid: Grid, chosen: dict[str, str], first: dict[str, str]) -> Cell:
    named = {axis: option for axis, option in chosen.items() if option != first[axis]}
    name = ",".join(f"{axis}={option}" for axis, option in named.items()) or BASE
    sets = (one for axis, option in chosen.items() for one in grid.axes[axis][option])
    return Cell(name, chosen, (*grid.overrides, *sets))
