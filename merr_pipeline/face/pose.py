"""Where a head is turned, from its rotation.

All rotations are 3 x 3 and turn the axes of the face (x to the viewer's right, y down, z away from
the camera when the face looks into it) into those of the picture.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class HeadPose(NamedTuple):
    """Angles in degrees, one per frame."""

    pitch_deg: Array  # up positive
    yaw_deg: Array  # to the viewer's right positive
    roll_deg: Array  # clockwise, as the viewer sees it, positive


def head_pose(rotations: Array) -> HeadPose:
    """Angles of ``rotations`` (frames x 3 x 3): where the face looks, and its tilt about that."""
    look = -rotations[:, :, 2]  # the nose points against z
    pitch = -np.arcsin(np.clip(look[:, 1], -1, 1))
    yaw = np.arctan2(look[:, 0], -look[:, 2])
    roll = np.arctan2(rotations[:, 1, 0], rotations[:, 1, 1])
    return HeadPose(np.degrees(pitch), np.degrees(yaw), np.degrees(roll))


def from_openface(pose_rx: Array, pose_ry: Array, pose_rz: Array) -> Array:
    """Rotations from OpenFace's Euler angles (radians): turn about x, then y, then z of the face.

    Source: ``Euler2RotationMatrix`` of OpenFace 2, R = Rx Ry Rz.
    """
    return _about(0, pose_rx) @ _about(1, pose_ry) @ _about(2, pose_rz)


def _about(axis: int, angles: Array) -> Array:
    one, other = (axis + 1) % 3, (axis + 2) % 3
    turn = np.zeros((len(angles), 3, 3))
    turn[:, axis, axis] = 1
    turn[:, one, one] = turn[:, other, other] = np.cos(angles)
    turn[:, other, one] = np.sin(angles)
    turn[:, one, other] = -turn[:, other, one]
    return turn


def fit_rotations(points: Array, reference: Array) -> Array:
    """The rotation that best turns the reference into each frame's points.

    Source: Umeyama, Least-squares estimation of transformation parameters, 1991; scale and place do
    not change the rotation.

    Args:
        points: frames x points x 3.
        reference: points x 3.

    Returns:
        Frames x 3 x 3.
    """
    centred = points - points.mean(axis=1, keepdims=True)
    target = reference - reference.mean(axis=0)
    u, _, vt = np.linalg.svd(np.einsum("fpi,pj->fij", centred, target))
    u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]  # a rotation, never a reflection
    return np.asarray(u @ vt)
