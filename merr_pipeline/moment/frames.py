"""Which frames of a track can be a peak, and which shows the face best."""

from __future__ import annotations

import numpy as np

from merr_pipeline.moment.rules import PeakRules
from merr_pipeline.moment.series import Floats, Mask, Series, median_of_known

BLINKS = ("AU45", "AU43")
"""Blink and closed eyes. A tool gives the one or the other."""

SAME_TIME_S = 1e-6


def usable_frames(series: Series, edge_frames: int, active_at: float, rules: PeakRules) -> Mask:
    """(frames,) Where a peak may lie.

    Not where nothing was measured, not in the first and last ``edge_frames`` of the track (which
    lies in one shot, so that these hold the neighbours of cuts), not in or beside a blink, not on a
    face turned far away.
    """
    usable: Mask = ~np.any(list(gates(series, edge_frames, active_at, rules).values()), axis=0)
    return usable


def gates(series: Series, edge_frames: int, active_at: float, rules: PeakRules) -> dict[str, Mask]:
    """(frames,) By reason, where no peak may lie."""
    position = np.arange(len(series.time_s))
    return {
        "not measured": ~series.measured,
        "edge of the track": (position < edge_frames) | (position >= len(position) - edge_frames),
        "turned away": series.turn_deg > rules.max_turn_deg,  # a null pose turns nothing away
        "blink": blink_frames(series, active_at, rules),
    }


def blink_frames(series: Series, active_at: float, rules: PeakRules) -> Mask:
    """(frames,) Frames in a blink, their neighbours, and those within ``blink_margin_s`` of one.

    Eyes shut for longer than ``blink_longest_s`` are no blink: crying and laughing close them.
    """
    near = np.zeros(len(series.time_s), dtype=bool)
    trace = next((t for au in BLINKS if (t := series.trace(au)) is not None), None)
    if trace is None:
        return near
    for first, last in _runs(trace.value >= active_at):
        began_s, ended_s = series.time_s[first], series.time_s[last]
        if round(ended_s - began_s, 3) > rules.blink_longest_s:
            continue
        near |= (series.time_s >= began_s - rules.blink_margin_s - SAME_TIME_S) & (
            series.time_s <= ended_s + rules.blink_margin_s + SAME_TIME_S
        )
        near[max(0, first - 1) : last + 2] = True
    return near


def best_seen(series: Series, usable: Mask) -> int:
    """The position at which the face is seen best: surely found, large, facing the camera.

    Among usable frames; where there are none among the measured ones; else among all.
    """
    among = next(mask for mask in (usable, series.measured, usable | True) if mask.any())
    quality = (
        np.nan_to_num(series.confidence, nan=0.5)
        * np.nan_to_num(series.height_px / (median_of_known(series.height_px) or 1.0), nan=1.0)
        * np.nan_to_num(np.cos(np.radians(series.turn_deg)), nan=0.5)
    )
    return first_highest(np.where(among, quality, np.nan))


def _runs(mask: Mask) -> list[tuple[int, int]]:
    """First and last position of every unbroken run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(start), int(end) - 1) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def first_highest(values: Floats) -> int:
    """Position of the highest known value, the first of equal ones; 0 where none is known."""
    known = np.round(np.where(np.isfinite(values), values, -np.inf), 3)
    return int(np.argmax(known))
