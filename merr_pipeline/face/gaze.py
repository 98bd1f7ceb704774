"""Where eyes look, from a mesh that has irises."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from merr_pipeline.face.geometry import Geometry, PointIndex
from merr_pipeline.face.pose import Array, HeadPose, fit_rotations

Eye = tuple[PointIndex, PointIndex, PointIndex]
"""Outer corner, inner corner, iris."""


class EyeGeometry(BaseModel):
    """How a gaze is read from irises; lengths in distances of the outer eye corners."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    eyes: Annotated[tuple[Eye, ...], Field(min_length=1)]
    eyeball: float = Field(gt=0)  # radius
    closed_at: float = Field(gt=0, le=1)  # eyeBlink from which nothing is seen of the eyes
    straight: tuple[float, float]  # iris from the middle of the corners, x and y, looking ahead

    def points(self) -> list[int]:
        """The mesh points it needs, sorted."""
        return sorted({point for eye in self.eyes for point in eye})


def measure_gaze(
    face: dict[int, Array],
    closed: Array,
    pose: HeadPose,
    geometry: Geometry,
    eyes: EyeGeometry,
) -> tuple[Array, Array]:
    """Pitch and yaw of the eyes against the camera: those of the head and of the eyes in it.

    An eye turns about its middle, so its iris lies off by the sine of the angle.

    Args:
        face: mesh points by number (frames x 3, pixels); anchors, eye corners and irises.
        closed: how far the eyes are shut (frames, 0..1).
        pose: of the head, in the same frames.
        geometry: its anchors tell how the face is turned.
        eyes: which points, and how large an eye is.

    Returns:
        Degrees, one per frame: up positive, to the viewer's right positive; NaN with eyes shut.
    """
    anchors = np.stack([face[point] for point in geometry.anchors], axis=1)
    rotations = fit_rotations(anchors, np.array(list(geometry.anchors.values())))
    frontal = {
        point: np.einsum("fji,fj->fi", rotations, face[point])[:, :2]
        for point in {*eyes.points(), *geometry.eyes}
    }
    left, right = geometry.eyes
    unit = np.linalg.norm(frontal[right] - frontal[left], axis=1)[:, None]
    off = np.mean(
        [frontal[iris] - (frontal[one] + frontal[other]) / 2 for one, other, iris in eyes.eyes],
        axis=0,
    )
    turned = (off / unit - np.array(eyes.straight)) / eyes.eyeball
    turned[closed >= eyes.closed_at] = np.nan
    right_deg, down_deg = np.degrees(np.arcsin(np.clip(turned, -1, 1))).T
    return pose.pitch_deg - down_deg, pose.yaw_deg + right_deg
