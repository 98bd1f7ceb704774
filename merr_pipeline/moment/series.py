"""One face track as arrays: what the peak search works on.

Rows hold null where a face tool saw nothing; here that is NaN, so that no sum and no comparison
can take it for 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from merr_pipeline.schema import Row

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Trace:
    """One Action Unit over the frames of a track."""

    au: str
    reliability: str
    value: Floats  # (frames,), NaN where not seen
    absolute: Floats | None  # (frames,), without the track's baseline; None where the tool has none
    asymmetry: Floats | None = None  # (frames,), left minus right; None where the tool has none
    rest: str | None = None  # `face.action_units.Rest`; None where the tool needs none


@dataclass(frozen=True)
class Series:
    """One face track. All arrays have one entry per frame in which the face was seen."""

    frame_index: Ints
    time_s: Floats
    confidence: Floats
    height_px: Floats  # NaN where the tool gives no box
    pitch_deg: Floats
    yaw_deg: Floats
    traces: tuple[Trace, ...]

    @property
    def measured(self) -> Mask:
        """(frames,) Whether any Action Unit has a value there."""
        if not self.traces:
            return np.zeros(len(self.time_s), dtype=bool)
        seen: Mask = np.any([np.isfinite(trace.value) for trace in self.traces], axis=0)
        return seen

    @property
    def turn_deg(self) -> Floats:
        """(frames,) Angle between the face and the camera, by yaw and pitch; NaN if not known."""
        yaw, pitch = np.radians(self.yaw_deg), np.radians(self.pitch_deg)
        turn: Floats = np.round(np.degrees(np.arccos(np.cos(yaw) * np.cos(pitch))), 3)
        return turn

    def trace(self, au: str) -> Trace | None:
        """The trace of that Action Unit, or None where the tool does not see it."""
        return next((trace for trace in self.traces if trace.au == au), None)


def series_of(track: Row) -> Series:
    """The arrays of one track of a ``face`` row."""
    return Series(
        frame_index=np.asarray(track["frame_index"], dtype=np.int64),
        time_s=floats(track["time_s"]),
        confidence=floats(track["confidence"]),
        height_px=floats([None if box is None else box["height"] for box in track["box"]]),
        pitch_deg=floats(track["pitch_deg"]),
        yaw_deg=floats(track["yaw_deg"]),
        traces=tuple(_trace(trace) for trace in track["action_units"]),
    )


def _trace(trace: Row) -> Trace:
    absolute, asymmetry = trace["absolute"], trace["asymmetry"]
    return Trace(
        au=trace["au"],
        reliability=trace["reliability"],
        value=floats(trace["value"]),
        absolute=None if absolute is None else floats(absolute),
        asymmetry=None if asymmetry is None else floats(asymmetry),
        rest=trace["rest"],
    )


def median_of_known(values: Floats) -> float | None:
    """The median, NaN left out; None where all are."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None


def floats(values: Sequence[float | None]) -> Floats:
    """An array with NaN for null."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
