"""The table and the figure at the end of an ablation."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from merr_pipeline.evaluation.ablation import CellScore
from merr_pipeline.evaluation.bootstrap import Value
from merr_pipeline.evaluation.figures import save
from merr_pipeline.evaluation.grid import Grid
from merr_pipeline.evaluation.labels import HEADLINE
from merr_pipeline.evaluation.page import TITLES, table, told
from merr_pipeline.files import write_atomically
from merr_pipeline.report.figures import OURS, STYLE

ROW_IN = 0.24  # height of a row of the figure


def write_ablation(grid: Grid, scores: Sequence[CellScore], to: Path) -> list[Path]:
    """Write ``ablation.md``, ``.csv``, ``.png`` and ``.svg``; gives them."""
    write_atomically(to / "ablation.md", _page(grid, scores).encode())
    write_atomically(to / "ablation.csv", _table(grid, scores).encode())
    names = ["ablation.md", "ablation.csv"]
    if any(one.values for one in scores):
        names += save(draw(grid, scores), to, "ablation")
    return [to / name for name in names]


def _page(grid: Grid, scores: Sequence[CellScore]) -> str:
    axes = list(grid.axes)
    less = f"{TITLES[grid.score]} less the first"
    head = [*axes, *(TITLES[key] for key in HEADLINE), less, "no answer"]
    rows = []
    for one in scores:
        choices = [one.cell.choices[axis] for axis in axes]
        if one.failure is not None:
            rows.append([*choices, *["–"] * (len(HEADLINE) + 1), "failed"])
            continue
        values = [told(one.values[key], key) for key in HEADLINE]
        shown = told(one.less_base, grid.score, sign=True)
        clear = one.less_base is not None and one.less_base.is_clear
        rows.append(
            [*choices, *values, f"**{shown}**" if clear else shown, f"{one.without_answer:,}"]
        )
    lines = [
        "# Ablation",
        "",
        f"Base recipe `{grid.base}`, scored on the split `{grid.split}`. In percent, with 95 % "
        "intervals. The first row is the base; a difference in bold, on the same draws of the "
        "clips, leaves zero out.",
        "",
        *table(head, rows),
        "",
        *(f"* failed: {one.cell.name}: {one.failure}" for one in scores if one.failure is not None),
        "",
        "![ablation](ablation.png)",
        "",
    ]
    return "\n".join(lines)


def _table(grid: Grid, scores: Sequence[CellScore]) -> str:
    sink = io.StringIO()
    columns = [f"{key}{part}" for key in HEADLINE for part in ("", "_low", "_high")]
    less = [f"{grid.score}_less_base{part}" for part in ("", "_low", "_high")]
    out = csv.writer(sink, lineterminator="\n")
    out.writerow(["cell", *grid.axes, *columns, *less, "without_answer", "failure"])
    for one in scores:
        cells = [cell for key in HEADLINE for cell in _three(one.values.get(key))]
        choices = [one.cell.choices[axis] for axis in grid.axes]
        ends = [*_three(one.less_base), one.without_answer, one.failure or ""]
        out.writerow([one.cell.name, *choices, *cells, *ends])
    return sink.getvalue()


def _three(value: Value | None) -> list[float | None]:
    return [None] * 3 if value is None else [value.value, value.low, value.high]


def draw(grid: Grid, scores: Sequence[CellScore]) -> Figure:
    """The score with its interval: a panel for each axis, or all cells of a crossed grid in one."""
    panels = _panels(grid, scores)
    heights = [len(rows) + 0.8 for rows in panels.values()]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.5, ROW_IN * sum(heights) + 0.7), layout="constrained")
        some = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[
            :, 0
        ]
        base = scores[0].values.get(grid.score)
        for axes, (name, rows) in zip(some, panels.items(), strict=True):
            if base is not None and base.value is not None:
                axes.axvline(100 * base.value, color="0.6", linewidth=0.8, linestyle="--")
            for place, (_, value) in enumerate(rows):
                _dot(axes, place, value)
            axes.set_yticks(range(len(rows)), [option for option, _ in rows])
            axes.set_ylim(len(rows) - 0.5, -0.5)
            axes.set_title(name, fontsize=9, loc="left", fontweight="bold")
        some[-1].set_xlabel(f"{TITLES[grid.score]} (%), {grid.split} split")
    return figure


def _panels(grid: Grid, scores: Sequence[CellScore]) -> dict[str, list[tuple[str, Value | None]]]:
    if grid.cross:
        rows = [
            (", ".join(one.cell.choices.values()), one.values.get(grid.score)) for one in scores
        ]
        return {" × ".join(grid.axes): rows}
    by_choices = {tuple(one.cell.choices.values()): one for one in scores}
    first = scores[0].cell.choices
    return {
        axis: [
            (option, by_choices[tuple({**first, axis: option}.values())].values.get(grid.score))
            for option in options
        ]
        for axis, options in grid.axes.items()
    }


def _dot(axes: Axes, place: int, value: Value | None) -> None:
    if value is None or value.value is None:
        axes.text(0.01, place, "failed", transform=axes.get_yaxis_transform(), va="center", size=8)
        return
    if value.low is not None and value.high is not None:
        axes.plot([100 * value.low, 100 * value.high], [place, place], color=OURS, linewidth=1.6)
    axes.plot([100 * value.value], [place], "o", color=OURS, markersize=4)
