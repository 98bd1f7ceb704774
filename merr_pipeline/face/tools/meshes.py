"""What the two mesh programs share: going through a clip, and confirming a mesh by a detector.

It is imported inside the tools' own environments, so it takes nothing beyond OpenCV, numpy, pyarrow
and `media`.

A request holds ``path``, ``shot_starts`` (frame indices at which everything starts afresh; 0 is
always one), ``rate_hz`` (frames a second to measure; null measures every frame), ``max_faces`` and

    min_score         detector score that confirms a mesh
    min_overlap       IoU of mesh and detector box that confirms a mesh, if
    max_disagreement  eyes, nose and mouth of both lie no further apart, in sides of the box
    points            which of the 478 mesh points to give back, in this order
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import pyarrow as pa

from merr_pipeline.media import read_frames
from merr_pipeline.schema import Row

MESH_POINTS = 468  # of 478; the rest are the irises, which may lie off the hull
LONG_SIDE_PX = 1280  # larger frames are measured at this size; the models see 192 px crops anyway
MARKS = ((33, 133), (362, 263), (1, 4), (13, 14))  # mesh points at the detector's eyes, nose, mouth

Request = Mapping[str, Any]

FACE_FIELDS: tuple[tuple[str, pa.DataType], ...] = (
    ("frame_index", pa.int32()),
    ("time_s", pa.float64()),
    ("x", pa.float32()),
    ("y", pa.float32()),
    ("width", pa.float32()),
    ("height", pa.float32()),
    ("score", pa.float32()),
    ("faces", pa.int32()),  # in this frame, those beyond max_faces too
    ("landmarks", pa.list_(pa.float32())),  # x, y, z of each asked point; pixels, z scaled as x
)
"""One row of a mesh program: one face in one frame."""


@dataclass(frozen=True)
class Detection:
    """What the detector saw: pixels."""

    box: np.ndarray  # left, top, right, bottom
    marks: np.ndarray  # 4 x 2, as in MARKS
    score: float


class FacesOfShot(Protocol):
    """Finds the faces of one shot, frame after frame."""

    def find(self, image: np.ndarray, time_s: float) -> list[Row]:
        """The confirmed faces of one RGB frame, largest first."""
        ...

    def close(self) -> None:
        """Free the models."""
        ...


def measure_clip(
    request: Request, new_shot: Callable[[], FacesOfShot]
) -> tuple[list[Row], dict[str, int]]:
    """All confirmed faces of a clip; how many frames it has, and how many were looked at."""
    starts = set(request["shot_starts"])
    step_s = 1 / request["rate_hz"] if request["rate_hz"] else 0.0
    rows: list[Row] = []
    frames, looked_at, due_s, faces = 0, 0, 0.0, new_shot()
    try:
        for frame in read_frames(Path(request["path"]), "rgb24"):
            frames = frame.index + 1
            if frame.index > 0 and frame.index in starts:
                faces.close()
                faces, due_s = new_shot(), frame.time_s
            # half a millisecond of grace, so that rounded times do not skip a due frame
            if frame.time_s >= due_s - 0.0005:
                looked_at += 1
                due_s = next_due_s(due_s, frame.time_s, step_s)
                head = {"frame_index": frame.index, "time_s": frame.time_s}
                rows += [{**head, **face} for face in faces.find(frame.image, frame.time_s)]
    finally:
        faces.close()
    return rows, {"frames": frames, "looked_at": looked_at}


def next_due_s(due_s: float, now_s: float, step_s: float) -> float:
    """When to look next: whole steps after the last due time, or the rate would fall short."""
    due_s += step_s
    while step_s and due_s <= now_s:  # no frame came for a while
        due_s += step_s
    return due_s


def shrink(image: np.ndarray) -> tuple[np.ndarray, float]:
    """The picture with a long side of at most `LONG_SIDE_PX`, and its scale (1 or less)."""
    scale = min(1.0, LONG_SIDE_PX / max(image.shape[:2]))
    if scale == 1:
        return image, scale
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), scale


def confirm(
    request: Request, detections: Sequence[Detection], meshes: Sequence[np.ndarray]
) -> dict[int, int]:
    """For each detection the mesh of the same face, nearest pairs first, none used twice."""
    pairs = sorted(
        (disagreement(detection, mesh), d, m)
        for d, detection in enumerate(detections)
        for m, mesh in enumerate(meshes)
        if overlaps(request, detection, mesh)
    )
    confirmed: dict[int, int] = {}
    for apart, d, m in pairs:
        fits = apart <= request["max_disagreement"]
        if fits and d not in confirmed and m not in confirmed.values():
            confirmed[d] = m
    return confirmed


def overlaps(request: Request, detection: Detection, mesh: np.ndarray) -> bool:
    """Whether both are in the same place."""
    return overlap(detection.box, hull(mesh)) > float(request["min_overlap"])


def disagreement(detection: Detection, mesh: np.ndarray) -> float:
    """Mean distance of eyes, nose and mouth between both models, in sides of the detected box.

    The back of a head can fool both models, but not into the same face: on 13 real clips true faces
    stay under .07 (a dark profile under .2), and a bald head from behind begins at .19.
    """
    theirs = np.array([mesh[list(points), :2].mean(axis=0) for points in MARKS])
    side = np.sqrt(np.prod(detection.box[2:] - detection.box[:2]))
    return float(np.linalg.norm(theirs - detection.marks, axis=1).mean() / side)


def face_row(request: Request, mesh: np.ndarray, score: float, shape: tuple[int, ...]) -> Row:
    """One face as a row, its box cut at the edges of the frame."""
    left, top, right, bottom = np.clip(hull(mesh), 0, (shape[1], shape[0]) * 2)
    return {
        "x": left,
        "y": top,
        "width": right - left,
        "height": bottom - top,
        "score": score,
        "landmarks": mesh[request["points"]].ravel(),
    }


def largest_first(rows: list[Row]) -> list[Row]:
    """By size, then by place."""
    return sorted(rows, key=lambda row: (-row["width"] * row["height"], row["x"], row["y"]))


def hull(mesh: np.ndarray) -> np.ndarray:
    """Left, top, right, bottom of a mesh, pixels."""
    face = mesh[:MESH_POINTS, :2]
    return np.concatenate([face.min(axis=0), face.max(axis=0)])


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = float(np.prod(np.clip(sides, 0, None)))
    areas = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]))
    return shared / (areas - shared)
