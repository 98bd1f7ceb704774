"""The Action Units of one clip over time, as lines in a box of 1000 by 100."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from merr_pipeline.schema import Row

WIDTH, HEIGHT = 1000.0, 100.0
MOST_CURVES = 6
MOST_POINTS = 240  # of one curve; the highest of neighbours is kept, so no peak is lost
LONGEST_GAP_STEPS = 3.0  # of the usual step between frames; over a longer gap no line is drawn
FULL_SCALE = {"probability": 1.0}
"""Top of the scale; 5 for the intensities."""


@dataclass(frozen=True)
class Curve:
    """One Action Unit: its lines, broken where it was not seen."""

    au: str
    name: str
    highest: float
    lines: tuple[str, ...]  # "x,y x,y …"


@dataclass(frozen=True)
class Chart:
    """All that is drawn over the time axis; x in 0..1000, y in 0..100 from the top."""

    curves: tuple[Curve, ...]
    duration_s: float
    top: float  # value at the upper edge
    peak_x: float | None
    cuts_x: tuple[float, ...]
    speech: tuple[tuple[float, float], ...]  # x and width, of the segments of the transcript


def chart_of(row: Row) -> Chart | None:
    """The curves that rise highest; None for a still, and where no face was followed."""
    series, duration_s = row["au_series"], row["duration_s"]
    if row["kind"] == "still" or not series or not series["time_s"] or not duration_s:
        return None
    top = FULL_SCALE.get(row["au_scale"] or "", 5.0)
    x = [_x(time_s, duration_s) for time_s in series["time_s"]]
    names = {unit["au"]: unit["name"] or "" for unit in row["action_units"] or []}
    known = [(_highest(one["value"]), one) for one in series["values"] or []]
    rising = sorted(
        ((high, one) for high, one in known if high is not None),
        key=lambda found: (-found[0], found[1]["au"]),
    )
    curves = tuple(
        Curve(one["au"], names.get(one["au"], ""), high, tuple(_lines(x, one["value"], top)))
        for high, one in rising[:MOST_CURVES]
    )
    peak_s = row["peak_time_s"]
    return Chart(
        curves,
        duration_s,
        top,
        None if peak_s is None else _x(peak_s, duration_s),
        tuple(_x(shot["start_s"], duration_s) for shot in (row["shots"] or [])[1:]),
        tuple(_speech(row["segments"] or [], duration_s)),
    )


def _x(time_s: float, duration_s: float) -> float:
    return round(WIDTH * min(max(time_s / duration_s, 0.0), 1.0), 1)


def _highest(values: Sequence[float | None]) -> float | None:
    seen = (value for value in values if value is not None and math.isfinite(value))
    return max(seen, default=None)


def _lines(x: Sequence[float], values: Sequence[float | None], top: float) -> Iterator[str]:
    """Runs of neighbouring points; a null, or a gap in the frames, ends a run."""
    steps = sorted(later - one for one, later in pairwise(x))
    longest = LONGEST_GAP_STEPS * steps[len(steps) // 2] if steps else WIDTH
    run: list[tuple[float, float]] = []
    for at, value in zip(x, values, strict=True):
        if value is None or not math.isfinite(value) or (run and at - run[-1][0] > longest):
            if run:
                yield _path(run, top)
            run = []
        if value is not None and math.isfinite(value):
            run.append((at, value))
    if run:
        yield _path(run, top)


def _path(run: Sequence[tuple[float, float]], top: float) -> str:
    every = math.ceil(len(run) / MOST_POINTS)
    kept = [
        max(run[begin : begin + every], key=lambda point: point[1])
        for begin in range(0, len(run), every)
    ]
    kept = kept if len(kept) > 1 else [kept[0], (min(kept[0][0] + 2.0, WIDTH), kept[0][1])]
    return " ".join(f"{at:g},{_y(value, top):g}" for at, value in kept)


def _y(value: float, top: float) -> float:
    return round(HEIGHT * (1 - min(max(value / top, 0.0), 1.0)), 1)


def _speech(segments: Sequence[Row], duration_s: float) -> Iterator[tuple[float, float]]:
    for segment in segments:
        if segment["start_s"] is not None and segment["end_s"] is not None:
            start, end = (_x(segment[name], duration_s) for name in ("start_s", "end_s"))
            yield start, round(end - start, 1)
