"""A slow sway of the whole picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from generator.clips import HEIGHT_PX, WIDTH_PX

CENTRE_PX = np.array([WIDTH_PX / 2, HEIGHT_PX / 2])


@dataclass(frozen=True)
class Pose:
    """A small turn, zoom and shift of the whole picture around its centre."""

    turn_rad: float
    zoom: float
    shift_x_px: float
    shift_y_px: float

    @classmethod
    def at(cls, time_s: float, phase_rad: float) -> Pose:
        """A slow sway, under 1 % of the picture, so that no two frames are equal."""
        slow = 2 * math.pi * time_s / 2.9 + phase_rad
        slower = 2 * math.pi * time_s / 4.3 + 2 * phase_rad
        return cls(
            turn_rad=0.006 * math.sin(slower),
            zoom=1.008 + 0.004 * math.sin(slow),
            shift_x_px=1.4 * math.sin(slower),
            shift_y_px=0.9 * math.cos(slow),
        )

    def do(self, points: np.ndarray) -> np.ndarray:
        """Points of the portrait as they lie in the clip; ... x 2, pixels."""
        return (points - CENTRE_PX) @ self._matrix() * self.zoom + CENTRE_PX + self._shift()

    def undo(self, points: np.ndarray) -> np.ndarray:
        """Points of the clip as they lie in the portrait; ... x 2, pixels."""
        return (points - CENTRE_PX - self._shift()) / self.zoom @ self._matrix().T + CENTRE_PX

    def _matrix(self) -> np.ndarray:
        c, s = math.cos(self.turn_rad), math.sin(self.turn_rad)
        return np.array([[c, s], [-s, c]])

    def _shift(self) -> np.ndarray:
        return np.array([self.shift_x_px, self.shift_y_px])
