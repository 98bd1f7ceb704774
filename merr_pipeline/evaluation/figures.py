"""The figures of an evaluation: PNG and SVG, the same bytes for the same answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from merr_pipeline.evaluation.bootstrap import Value
from merr_pipeline.evaluation.labels import WRONG_WAYS, Labelled
from merr_pipeline.files import atomic_path
from merr_pipeline.report.figures import DPI, NO_DATE, OTHERS, OURS, STYLE

COLOURS = (OURS, *OTHERS)
COLUMNS = 3  # of small panels


def save(figure: Figure, folder: Path, name: str) -> list[str]:
    """Write a figure in both formats; gives the names of the files."""
    with matplotlib.rc_context(STYLE):
        for suffix, metadata in NO_DATE.items():
            with atomic_path(folder / f"{name}{suffix}") as path:
                figure.savefig(path, dpi=DPI, metadata=metadata, format=suffix[1:])
    return [f"{name}{suffix}" for suffix in NO_DATE]


def confusion(labelled: Labelled, title: str) -> Figure:
    """Counts as text, shares of each true label as colour; the ways to be wrong stand apart."""
    counts, size = labelled.counts(), len(labelled.labels)
    used = [*range(size), *(size + k for k in range(len(WRONG_WAYS)) if counts[:, size + k].any())]
    names = [(*labelled.labels, *WRONG_WAYS)[place] for place in used]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with matplotlib.rc_context(STYLE):
        wide, high = 0.55 * len(used) + 1.7, 0.55 * size + 1.3
        figure = Figure(figsize=(wide, high), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(shares[:, used], cmap="Blues", vmin=0, vmax=1)
        for row in range(size):
            for column, place in enumerate(used):
                if counts[row, place]:
                    _cell(axes, column, row, int(counts[row, place]), float(shares[row, place]))
        axes.set_xticks(range(len(used)), names, rotation=45, ha="right")
        support = counts.sum(axis=1)
        axes.set_yticks(
            range(size), [f"{n} ({k:,})" for n, k in zip(labelled.labels, support, strict=True)]
        )
        if len(used) > size:
            axes.axvline(size - 0.5, color="black", linewidth=0.8)
        axes.set_xlabel("answer")
        axes.set_ylabel("truth (clips)")
        axes.set_title(title, fontsize=9)
    return figure


def _cell(axes: Axes, column: int, row: int, count: int, share: float) -> None:
    colour = "white" if share > 0.6 else "black"
    text = f"{count:,}\n{100 * share:.0f}%"
    axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=7)


def probabilities(
    labels: Sequence[str],
    clips: Mapping[str, str | None],
    by_file: Mapping[str, Mapping[str, Mapping[str, float]]],
) -> Figure:
    """Bars of the probability of each label, a panel for each clip (Figure 3 of the paper).

    Args:
        labels: of the label space, in its order.
        clips: the clips that are shown, with their true labels; the true one is bold.
        by_file: name of the answers file -> clip -> label -> probability.
    """
    columns = min(COLUMNS, len(clips))
    rows = -(-len(clips) // columns)
    wide = 0.8 / max(1, len(by_file))
    with matplotlib.rc_context(STYLE):
        size = (2.6 * columns, (0.22 * len(labels) + 0.75) * rows + 0.4)
        figure = Figure(figsize=size, layout="constrained")
        for number, (clip_id, true) in enumerate(clips.items(), start=1):
            axes = figure.add_subplot(rows, columns, number)
            for place, (name, of_clips) in enumerate(by_file.items()):
                said = of_clips.get(clip_id, {})
                at = np.arange(len(labels)) + (place - (len(by_file) - 1) / 2) * wide
                shares = [said.get(label, 0.0) for label in labels]
                axes.barh(at, shares, wide, color=COLOURS[place % len(COLOURS)], label=name)
            axes.set_yticks(range(len(labels)), labels)
            for tick, label in zip(axes.get_yticklabels(), labels, strict=True):
                tick.set_fontweight("bold" if label == true else "normal")
            axes.set_xlim(0, 1)
            axes.set_xticks([0, 0.5, 1])
            axes.set_ylim(len(labels) - 0.5, -0.5)
            axes.set_title(f"{_short(clip_id, 22)}: {true or 'no label'}", fontsize=7)
        if len(by_file) > 1:
            handles, names = figure.axes[0].get_legend_handles_labels()
            figure.legend(handles, names, loc="outside upper center", ncols=3, frameon=False)
        figure.supxlabel("probability", fontsize=9)
    return figure


def dots(rows: Mapping[str, Mapping[str, Value]], titles: Mapping[str, str]) -> Figure:
    """A panel for each score, a row for each model (or cell), with 95 % intervals.

    Args:
        rows: name -> key of a score -> its value.
        titles: key -> what the panel is called.
    """
    names = list(rows)
    with matplotlib.rc_context(STYLE):
        longest = max(map(len, names))
        wide = 2.3 * len(titles) + min(2.8, 0.07 * longest)
        figure = Figure(figsize=(wide, 0.3 * len(names) + 0.9), layout="constrained")
        shared = figure.subplots(1, len(titles), sharey=True, squeeze=False)[0]
        for axes, (key, title) in zip(shared, titles.items(), strict=True):
            for place, name in enumerate(names):
                _dot(axes, place, rows[name].get(key), COLOURS[0])
            axes.set_title(title, fontsize=9)
            axes.set_ylim(len(names) - 0.5, -0.5)
            axes.grid(axis="x", linewidth=0.4, color="0.85")
        shared[0].set_yticks(range(len(names)), [_short(name, 40) for name in names])
    return figure


def _dot(axes: Axes, place: int, value: Value | None, colour: str) -> None:
    if value is None or value.value is None:
        return
    if value.low is not None and value.high is not None:
        axes.plot([value.low, value.high], [place, place], color=colour, linewidth=1.6)
    axes.plot([value.value], [place], "o", color=colour, markersize=4)


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else f"…{name[1 - most :]}"
