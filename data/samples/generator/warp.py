"""The warp: a portrait with its landmarks moved, all else left where it is.

Source: thin-plate splines for moving landmarks, Bookstein 1989, "Principal warps: thin-plate
splines and the decomposition of deformations"; solved by ``scipy.interpolate.RBFInterpolator``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator

from generator.actions import ACTIONS
from generator.clips import FPS, HEIGHT_PX, WIDTH_PX, Clip
from generator.landmarks import (
    CHIN,
    EYE_CORNERS,
    FACE_OVAL_TOP,
    FOREHEAD_AND_TEMPLES,
    INNER_LIPS,
    LID_SKIN,
    NOSE,
)
from generator.portraits import Portrait
from generator.pose import Pose

MOUTH_COLOUR = np.array([52.0, 20.0, 20.0])  # RGB, 0..255
LIP_LINE_COLOUR = np.array([150.0, 84.0, 80.0])


def draw_frames(clip: Clip, faces: Mapping[str, Face], phase_rad: float) -> Iterator[np.ndarray]:
    """The pictures of a clip, one after the other (RGB, uint8, height x width x 3).

    ``phase_rad`` makes each clip sway its own way.
    """
    for index in range(clip.frame_count):
        pose = Pose.at(index / FPS, phase_rad)
        yield faces[clip.portrait_at(index)].show(clip.strengths(index), pose)


class Face:
    """Shows a portrait with any strengths of the actions."""

    def __init__(self, portrait: Portrait) -> None:
        self.portrait = portrait
        self.actions = {name: action(portrait) for name, action in ACTIONS.items()}
        moving = set().union(*self.actions.values()) - set(LID_SKIN)
        self.nodes = sorted(moving | {*EYE_CORNERS, *NOSE, *FOREHEAD_AND_TEMPLES})
        self.fixed = fixed_points(portrait)
        self._shifts: dict[tuple[tuple[str, float], ...], np.ndarray] = {}

    def show(self, expression: Mapping[str, float], pose: Pose) -> np.ndarray:
        """One picture (RGB, uint8); ``expression`` comes on top of the resting face."""
        strengths = dict(self.portrait.rest)
        for name, strength in expression.items():
            strengths[name] = round(strengths.get(name, 0.0) + strength, 4)
        picture = self.portrait.render(self.shift(strengths), pose)
        return self._paint_mouth(picture, strengths, pose)

    def shift(self, strengths: Mapping[str, float]) -> np.ndarray:
        """How far from each pixel of the warped picture its colour lies in the portrait.

        Height x width x 2 (x, y), pixels. Each expression is solved once.
        """
        key = tuple(sorted(strengths.items()))
        if key not in self._shifts:
            self._shifts[key] = on_every_pixel(self._solve(strengths))
        return self._shifts[key]

    def moved_points(self, strengths: Mapping[str, float]) -> np.ndarray:
        """All landmarks after the actions: 478 x 2 (x, y), pixels."""
        displacement = np.zeros_like(self.portrait.points)
        for name, strength in strengths.items():
            for landmark, full in self.actions[name].items():
                displacement[landmark] += strength * full
        return self.portrait.points + self.portrait.in_pixels(displacement)

    def _solve(self, strengths: Mapping[str, float]) -> RBFInterpolator:
        """The spline that leads the landmarks back to where they are in the portrait."""
        # The skin above the lid is held only while the eye closes; brows must move it freely.
        nodes = [*self.nodes, *(LID_SKIN if "close_eyes" in strengths else ())]
        before = self.portrait.points[nodes]
        after = self.moved_points(strengths)[nodes]
        return RBFInterpolator(
            np.concatenate([after, self.fixed]),
            np.concatenate([before - after, np.zeros_like(self.fixed)]),
            kernel="thin_plate_spline",
        )

    def _paint_mouth(
        self, picture: np.ndarray, strengths: Mapping[str, float], pose: Pose
    ) -> np.ndarray:
        """Paint what the warp cannot know.

        Behind lips that were closed in the portrait it is dark. Between lips that the warp closed,
        squeezed teeth are left: a soft line in a dark lip colour covers them.
        """
        open_share = min(1.0, 4 * strengths.get("drop_jaw", 0.0))
        closed_share = max(0.0, 2 * strengths.get("close_lips", 0.0) - 1) * (1 - open_share)
        inner_lips = pose.do(self.moved_points(strengths)[[*INNER_LIPS]])
        if open_share:
            picture = paint(picture, inner_lips, MOUTH_COLOUR, open_share, spread_px=0)
        if closed_share:
            picture = paint(picture, inner_lips, LIP_LINE_COLOUR, closed_share, spread_px=4)
        return picture


def fixed_points(portrait: Portrait) -> np.ndarray:
    """The border of the picture and a ring around the head, which never move: n x 2, pixels."""
    across, down = np.linspace(0, WIDTH_PX, 7), np.linspace(0, HEIGHT_PX, 8)
    border = [(x, y) for x in across for y in down if x in (0, WIDTH_PX) or y in (0, HEIGHT_PX)]
    top, chin = portrait.points[FACE_OVAL_TOP], portrait.points[CHIN]
    centre, half = (top + chin) / 2, np.linalg.norm(chin - top) / 2
    angles = np.linspace(0, 2 * math.pi, 24, endpoint=False)
    ring = centre + np.stack([1.25 * half * np.sin(angles), -1.6 * half * np.cos(angles)], 1)
    inside = (ring > 8).all(1) & (ring < (WIDTH_PX - 8, HEIGHT_PX - 8)).all(1)
    return np.concatenate([np.array(border), ring[inside]])


def on_every_pixel(spline: RBFInterpolator) -> np.ndarray:
    """The spline (pixels to pixels) at every pixel of the picture: height x width x 2.

    It is computed at every second pixel and row, and interpolated between them.
    """
    x, y = np.meshgrid(np.arange(0, WIDTH_PX, 2), np.arange(0, HEIGHT_PX, 2))
    coarse = spline(np.stack([x.ravel(), y.ravel()], 1)).reshape(*x.shape, 2)
    # Not resize: here sample k of the coarse grid stays at pixel 2k of the picture.
    return cv2.warpAffine(
        coarse,
        np.array([[2.0, 0, 0], [0, 2.0, 0]]),
        (WIDTH_PX, HEIGHT_PX),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )


def paint(
    picture: np.ndarray, outline: np.ndarray, colour: np.ndarray, share: float, spread_px: int
) -> np.ndarray:
    """Cover the inside of an outline (n x 2, pixels), widened by ``spread_px``, with soft edges.

    ``share`` (0..1) is how much of the picture the colour hides.
    """
    sub_pixel_bits = 3
    corners = [np.round(outline * 2**sub_pixel_bits).astype(np.int32)]
    mask = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    cv2.fillPoly(mask, corners, 255, cv2.LINE_AA, sub_pixel_bits)
    if spread_px:
        cv2.polylines(mask, corners, True, 255, spread_px, cv2.LINE_AA, sub_pixel_bits)
    cover = share * cv2.GaussianBlur(mask, (0, 0), 1.6)[..., None] / 255
    return np.round(picture * (1 - cover) + colour * cover).astype(np.uint8)
