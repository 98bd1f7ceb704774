"""Read the CSV that OpenFace 2 writes for one video.

Every version names its columns alike and orders them otherwise, so they are taken by their stripped
name, and unknown ones are ignored. OpenFace's own ``timestamp`` assumes a constant rate and is
never used: the frame number is, and it counts from 0 or from 1.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from merr_pipeline.face.pose import Array

NEEDED = ("frame", "confidence", "success")
LANDMARKS = 68
HIGHEST_INTENSITY = 5.0
LAST_ROWS_THAT_MAY_BE_CUT = 1

_INTENSITY = re.compile(r"(AU\d\d)_r")


class BadCsv(Exception):  # noqa: N818 - the message is the detail of the row that comes of it
    """The file is no finished output of OpenFace; the text says why."""


@dataclass(frozen=True)
class OpenFaceRows:
    """The table of one video, row by row; NaN where a cell holds no number."""

    frame_index: np.ndarray  # int, from 0, strictly rising
    confidence: Array
    success: np.ndarray  # bool
    landmarks: Array | None  # rows x 68 x 2 pixels; None when the CSV was written without them
    rotation_rad: Array | None  # rows x 3: Rx, Ry, Rz; None likewise
    gaze_rad: Array | None  # rows x 2: x grows to the viewer's right, y downward; None likewise
    intensities: dict[str, Array]  # "AU12" -> 0..5, only those that the CSV has


def parse_openface(content: bytes) -> OpenFaceRows:
    """Read the bytes of a CSV.

    A last row that was cut short is left out.

    Raises:
        BadCsv: a needed column is missing, frame numbers do not rise, nothing is in it, or the
            intensities are the raw ones that a run leaves when it is stopped before its end.
    """
    table = _numbers(content)
    if missing := [name for name in NEEDED if name not in table]:
        raise BadCsv(f"no column {', '.join(missing)}")
    units = sorted(match[1] for name in table if (match := _INTENSITY.fullmatch(str(name))))
    if not units:
        raise BadCsv("no Action Unit intensities (AU.._r); run OpenFace with -aus")
    if len(table) and table.iloc[-1].isna().any():
        table = table.iloc[:-LAST_ROWS_THAT_MAY_BE_CUT]
    if table.empty:
        raise BadCsv("no rows")
    intensities = {unit: _column(table, f"{unit}_r") for unit in units}
    _check_intensities(intensities)
    return OpenFaceRows(
        frame_index=_frame_indices(_column(table, "frame")),
        confidence=_column(table, "confidence"),
        success=_column(table, "success") == 1,
        landmarks=_landmarks(table),
        rotation_rad=_columns(table, ["pose_Rx", "pose_Ry", "pose_Rz"]),
        gaze_rad=_gaze(table),
        intensities=intensities,
    )


def _numbers(content: bytes) -> pd.DataFrame:
    """All cells as numbers, columns by stripped name."""
    text = content.decode("utf-8-sig", errors="replace")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.ParserWarning)
            table = pd.read_csv(
                io.StringIO(text), dtype=str, index_col=False, skipinitialspace=True
            )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        raise BadCsv(f"no CSV: {str(error).splitlines()[0]}") from error
    table.columns = [str(name).strip() for name in table.columns]
    table = table.loc[:, ~table.columns.duplicated()]
    numbers: pd.DataFrame = table.apply(pd.to_numeric, errors="coerce").astype(np.float64)
    return numbers.replace([np.inf, -np.inf], np.nan)


def _column(table: pd.DataFrame, name: str) -> Array:
    return table[name].to_numpy(np.float64)


def _columns(table: pd.DataFrame, names: Sequence[str]) -> Array | None:
    return table[list(names)].to_numpy(np.float64) if set(names) <= set(table.columns) else None


def _landmarks(table: pd.DataFrame) -> Array | None:
    x = _columns(table, [f"x_{point}" for point in range(LANDMARKS)])
    y = _columns(table, [f"y_{point}" for point in range(LANDMARKS)])
    return None if x is None or y is None else np.stack([x, y], axis=2)


def _gaze(table: pd.DataFrame) -> Array | None:
    """The mean direction of both eyes; old versions give it by its vectors alone."""
    angles = _columns(table, ["gaze_angle_x", "gaze_angle_y"])
    if angles is not None:
        return angles
    eyes = [_columns(table, [f"gaze_{eye}_{axis}" for axis in "xyz"]) for eye in (0, 1)]
    if eyes[0] is None or eyes[1] is None:
        return None
    x, y, z = (eyes[0] + eyes[1]).T
    return np.stack([np.arctan2(x, -z), np.arctan2(y, -z)], axis=1)


def _frame_indices(frame: Array) -> np.ndarray:
    if not np.isfinite(frame).all() or (frame != np.floor(frame)).any() or frame.min() < 0:
        raise BadCsv("frame numbers are not all whole numbers")
    if (np.diff(frame) <= 0).any():
        raise BadCsv("frame numbers do not rise; several faces a frame are not read")
    first = 0 if frame[0] == 0 else 1
    return frame.astype(np.int64) - first


def _check_intensities(intensities: dict[str, Array]) -> None:
    lowest = min(np.nanmin(values, initial=0.0) for values in intensities.values())
    highest = max(np.nanmax(values, initial=0.0) for values in intensities.values())
    if lowest < 0 or highest > HIGHEST_INTENSITY:
        raise BadCsv(
            f"intensities from {lowest:g} to {highest:g}, not 0 to 5: OpenFace was stopped before "
            "it had finished; run it again"
        )
