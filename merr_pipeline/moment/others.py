"""The faces beside the main person: context for a reader, never evidence about that person."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from merr_pipeline.moment.series import Floats, floats, median_of_known
from merr_pipeline.schema import Row


def describe_others(
    tracks: Sequence[Row], speaking: Sequence[float | None], main: Collection[int], probe: Row
) -> list[Row]:
    """One `schema.OTHER_PERSON` per track that is none of ``main`` (numbers), the largest first."""
    rows = [
        _other(track, spoken, probe)
        for track, spoken in zip(tracks, speaking, strict=True)
        if track["track"] not in main
    ]
    return sorted(rows, key=lambda row: (-(row["face_height"] or 0.0), row["track"]))


def _other(track: Row, spoken: float | None, probe: Row) -> Row:
    height_px = median_of_known(
        floats([None if box is None else box["height"] for box in track["box"]])
    )
    return {
        "track": track["track"],
        "shot": track["shot"],
        "start_s": track["time_s"][0],
        "end_s": track["time_s"][-1],
        "face_height": None if height_px is None else height_px / probe["height"],
        "speaking": spoken,
        "yaw_deg": median_of_known(floats(track["yaw_deg"])),
        "gaze_yaw_deg": median_of_known(floats(track["gaze_yaw_deg"])),
        "action_units": [
            summary
            for trace in track["action_units"]
            if (summary := _summary(trace, floats(trace["value"]))) is not None
        ],
    }


def _summary(trace: Row, value: Floats) -> Row | None:
    known = value[np.isfinite(value)]
    if not len(known):
        return None
    return {
        "au": trace["au"],
        "mean": float(known.mean()),
        "max": float(known.max()),
        "reliability": trace["reliability"],
    }
