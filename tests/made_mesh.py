"""A face made of mesh points that can be moved, turned and shown; each motion is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from merr_pipeline.face.geometry import Geometry

# x to the viewer's right, y down, z away from the camera; 1 = distance of the outer eye corners.
# What the geometry measures beside its anchors, roughly where a face has it, right side only.
RIGHT = {
    55: (-0.13, -0.25, -0.2), 107: (-0.12, -0.30, -0.2),  # inner brow
    159: (-0.35, -0.12, -0.05), 158: (-0.30, -0.12, -0.05), 160: (-0.40, -0.12, -0.05),
    145: (-0.35, -0.02, -0.05), 153: (-0.30, -0.02, -0.05), 144: (-0.40, -0.02, -0.05),
    205: (-0.45, 0.30, -0.1), 50: (-0.50, 0.25, 0.0), 101: (-0.35, 0.20, -0.1),
    61: (-0.275, 0.62, -0.15),
}  # fmt: skip
LEFT_OF = {
    55: 285, 107: 336, 159: 386, 158: 385, 160: 387, 145: 374, 153: 380, 144: 373,
    205: 425, 50: 280, 101: 330, 61: 291,
}  # fmt: skip
MIDDLE = {
    0: (0.0, 0.58, -0.3), 17: (0.0, 0.68, -0.28), 13: (0.0, 0.62, -0.25), 14: (0.0, 0.63, -0.25),
    152: (0.0, 1.05, -0.1),
}  # fmt: skip


def made_mesh(geometry: Geometry) -> dict[int, np.ndarray]:
    """A face at rest that looks into the camera."""
    points = {**geometry.anchors, **RIGHT, **MIDDLE}
    points |= {LEFT_OF[right]: (-x, y, z) for right, (x, y, z) in RIGHT.items()}
    return {point: np.array(place, float) for point, place in points.items()}


def smile(points: Mapping[int, np.ndarray], amount: float) -> dict[int, np.ndarray]:
    """Mouth corners out by .11 and up by .11 each: AU12 at ``5 x amount``."""
    moved = dict(points)
    for corner, side in ((61, -1), (291, 1)):
        moved[corner] = moved[corner] + amount * np.array([0.11 * side, -0.11, 0.0])
    return moved


def mirrored(points: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
    """The same face as a mirror shows it: what the left side did, the right side does."""
    pairs = {**LEFT_OF, 33: 263, 133: 362, 127: 356, 234: 454}
    other = {**pairs, **{left: right for right, left in pairs.items()}}
    return {point: points[other.get(point, point)] * (-1.0, 1.0, 1.0) for point in points}


def shown(
    frames: Sequence[Mapping[int, np.ndarray]],
    geometry: Geometry,
    *,
    eye_distance_px: float = 100.0,
    centre_px: tuple[float, float] = (320.0, 240.0),
    rotation: np.ndarray | None = None,
) -> np.ndarray:
    """Landmarks as the tool gives them: frames x points x 3 in pixels, the face turned."""
    turn = np.eye(3) if rotation is None else rotation
    faces = np.array([[points[point] for point in geometry.points()] for points in frames])
    return faces @ turn.T * eye_distance_px + (*centre_px, 0.0)
