"""The figures of the page for a paper: PNG and SVG, the same bytes for the same dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from merr_pipeline.files import atomic_path
from merr_pipeline.report.survey import TOP_UNITS, UNDECIDED, Survey
from merr_pipeline.report.voices import VOICES, Pair

DPI = 200
BIN_S = 0.5  # of the durations
OURS, OTHERS = "#2f6db3", ("#b5651d", "#2a8a57", "#8b4bb0", "#a0830f", "#b52e6d")
STYLE: Any = {  # matplotlib types its keys one by one
    "svg.hashsalt": "merr",  # ids in the SVG, which else are drawn at random
    "font.family": "DejaVu Sans",  # comes with matplotlib, so the letters are the same everywhere
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
NO_DATE = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}}


def write_figures(ours: Survey, others: Sequence[Survey], folder: Path) -> list[str]:
    """Write what there is to draw; gives the names of the files."""
    names = []
    with matplotlib.rc_context(STYLE):
        for name, draw in FIGURES.items():
            figure = draw(ours, others)
            if figure is None:
                continue
            for suffix, metadata in NO_DATE.items():
                with atomic_path(folder / f"{name}{suffix}") as path:
                    figure.savefig(path, dpi=DPI, metadata=metadata, format=suffix[1:])
                names.append(f"{name}{suffix}")
    return names


def label_distribution(ours: Survey, others: Sequence[Survey]) -> Figure | None:
    """Shares of the labels, datasets side by side."""
    all_of = [ours, *others]
    order = (label for one in all_of for label in one.label_order() if label != UNDECIDED)
    labels = list(dict.fromkeys(order))
    if not labels:
        return None
    figure, axes = _one(min(8.0, 0.7 * len(labels) + 1.5), 3.0)
    wide = 0.8 / len(all_of)
    for number, one in enumerate(all_of):
        at = np.arange(len(labels)) + (number - (len(all_of) - 1) / 2) * wide
        shares = [100 * one.share_of(label) for label in labels]
        colour = OURS if number == 0 else OTHERS[(number - 1) % len(OTHERS)]
        axes.bar(at, shares, wide, color=colour, label=f"{one.name} ({one.decided:,})")
    axes.set_xticks(range(len(labels)), labels)
    axes.set_ylabel("% of clips with a label")
    axes.legend(frameon=False)
    return figure


def action_units(ours: Survey, others: Sequence[Survey]) -> Figure | None:
    """In how many clips each Action Unit is active."""
    del others
    order = ours.unit_order()
    if not order:
        return None
    figure, axes = _one(5.5, 0.28 * len(order) + 0.9)
    names = [f"{au} {ours.unit_names.get(au, '').lower()}" for au in order]
    _bars(axes, names, [ours.units[au] for au in order])
    axes.set_xlabel("clips")
    return figure


def top_action_units(ours: Survey, others: Sequence[Survey]) -> Figure | None:
    """The five most frequent Action Units of each label, in % of its clips."""
    del others
    labels = [label for label in ours.label_order() if label != UNDECIDED and ours.labels[label]]
    labels = [label for label in labels if ours.top_units(label)]
    if not labels:
        return None
    columns = min(3, len(labels))
    rows = -(-len(labels) // columns)
    figure = Figure(figsize=(2.6 * columns, 1.6 * rows), layout="constrained")
    for number, label in enumerate(labels, start=1):
        axes = figure.add_subplot(rows, columns, number)
        top = ours.top_units(label)
        _bars(axes, [au for au, _ in top], [100 * n / ours.labels[label] for _, n in top])
        axes.set_xlim(0, 100)
        axes.set_ylim(TOP_UNITS - 0.5, -0.5)  # so that bars are as thick where there are fewer
        axes.set_title(f"{label} ({ours.labels[label]:,})", fontsize=9)
    figure.supxlabel("% of the clips of the label", fontsize=9)
    return figure


def durations(ours: Survey, others: Sequence[Survey]) -> Figure | None:
    """Videos by length."""
    del others
    if not ours.durations_s:
        return None
    figure, axes = _one(5.5, 2.8)
    edges = np.arange(0.0, max(ours.durations_s) + 2 * BIN_S, BIN_S)
    axes.hist(ours.durations_s, bins=edges.tolist(), color=OURS)
    axes.set_xlabel("seconds")
    axes.set_ylabel("videos")
    return figure


def label_agreement(ours: Survey, others: Sequence[Survey]) -> Figure | None:
    """One matrix for each two who name the emotion of a clip."""
    del others
    pairs = ours.agreement.pairs()
    if not pairs:
        return None
    side = max(len(pair.labels()) for pair in pairs) * 0.42 + 1.4
    figure = Figure(figsize=(side * len(pairs), side), layout="constrained")
    for number, pair in enumerate(pairs, start=1):
        _matrix(figure.add_subplot(1, len(pairs), number), pair)
    return figure


FIGURES: dict[str, Callable[[Survey, Sequence[Survey]], Figure | None]] = {
    "label_distribution": label_distribution,
    "action_units": action_units,
    "top_action_units": top_action_units,
    "durations": durations,
    "label_agreement": label_agreement,
}
"""File name without its suffix -> what draws it; None where there is nothing to draw."""


def _one(width_in: float, height_in: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    return figure, figure.add_subplot()


def _bars(axes: Axes, names: Sequence[str], values: Sequence[float]) -> None:
    """Horizontal, the first on top."""
    axes.barh(range(len(names)), values, color=OURS)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()


def _matrix(axes: Axes, pair: Pair) -> None:
    """Shares of each row, with the counts written in."""
    labels = pair.labels()
    counts = np.array([[pair.counts[one, other] for other in labels] for one in labels], float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[row, column] > 0.6 else "black"
            axes.text(column, row, f"{int(count):,}", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel(VOICES[pair.other])
    axes.set_ylabel(VOICES[pair.one])
    axes.set_title(f"{pair.agreeing:,} of {pair.clips:,} agree", fontsize=9)
