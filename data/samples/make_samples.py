# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = [
#   "av==18.1.0",
#   "matplotlib==3.10.7",
#   "mediapipe==0.10.21",
#   "numpy==1.26.4",
#   "opencv-contrib-python-headless==4.11.0.86",
#   "scikit-image==0.25.2",
#   "scipy==1.15.3",
# ]
#
# [tool.uv]
# # mediapipe asks for these; none is used here, and the GUI OpenCV overwrites the headless one.
# override-dependencies = [
#   "jax ; sys_platform == 'never'",
#   "jaxlib ; sys_platform == 'never'",
#   "opencv-contrib-python ; sys_platform == 'never'",
#   "sentencepiece ; sys_platform == 'never'",
#   "sounddevice ; sys_platform == 'never'",
# ]
# ///
"""Make the sample clips: two public-domain portraits, warped into known expressions.

    uv run --script data/samples/make_samples.py [--out FOLDER] [--only CLIP_ID]

A face mesh finds the landmarks of a portrait; a thin-plate spline moves some of them (mouth
corners, brows, lids, jaw) while the rest of the face, and all around it, stays where it is. How far
they move follows a raised cosine, so onset, apex and offset of each expression are known to the
frame. espeak-ng speaks the words, so text and times are known as well. What is known is written to
``truth/<clip_id>.json``.

The same versions of the programs give the same bytes. The committed files are the truth.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import av
import cv2
import matplotlib.cbook
import mediapipe
import numpy as np
import scipy.io.wavfile
import skimage.data
from scipy.interpolate import RBFInterpolator
from scipy.signal import resample_poly

WIDTH, HEIGHT, FPS = 400, 448, 25
SAMPLE_RATE = 44_100
SPEECH_RMS = 0.1  # of full scale
NOISE_RMS = 0.0003  # of full scale, about 50 dB under the speech

# ---------------------------------------------------------------------------------------------
# Landmarks, by their index in the face mesh. "Right" is the right side of the person, which is on
# the left of the picture. Lists of a brow or a lid run from the temple to the nose, lists of a lip
# from the person's right corner of the mouth to the left one.

EYE_CORNERS = (33, 133, 362, 263)
RIGHT_BROW = ((70, 63, 105, 66, 107), (46, 53, 52, 65, 55))  # upper edge, lower edge
LEFT_BROW = ((300, 293, 334, 296, 336), (276, 283, 282, 295, 285))
RIGHT_LIDS = ((246, 161, 160, 159, 158, 157, 173), (7, 163, 144, 145, 153, 154, 155))
LEFT_LIDS = ((466, 388, 387, 386, 385, 384, 398), (249, 390, 373, 374, 380, 381, 382))
LID_SKIN = [247, 30, 29, 27, 28, 56, 190, 467, 260, 259, 257, 258, 286, 414]  # above the lids
UPPER_LIP_OUTER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
UPPER_LIP_INNER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_LIP_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
LOWER_LIP_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
CHEEKS = (50, 101, 36, 280, 330, 266)
NOSE = (168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 48, 278, 129, 358)
FOREHEAD_AND_TEMPLES = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361),
    *(109, 67, 103, 54, 21, 162, 127, 234, 93, 132),
)
JAW = {  # share of the jaw's drop that reaches the landmark
    **dict.fromkeys((152, 148, 377, 175, 171, 396, 200, 199), 1.0),
    **dict.fromkeys((176, 400), 0.95),
    **dict.fromkeys((149, 378), 0.85),
    **dict.fromkeys((150, 379), 0.7),
    **dict.fromkeys((136, 365), 0.5),
    **dict.fromkeys((172, 397), 0.3),
    **dict.fromkeys((58, 288), 0.1),
}
INNER_LIPS = [*UPPER_LIP_INNER, *LOWER_LIP_INNER[-2:0:-1]]  # once around
FACE_OVAL_TOP, CHIN = 10, 152
RIGHT_EYE_OUTER, LEFT_EYE_OUTER = 33, 263

Displacements = dict[int, np.ndarray]  # landmark -> (x, y) in units of the outer eye distance


# ---------------------------------------------------------------------------------------------
# Portraits


@dataclass
class Portrait:
    """A picture of a person, cropped around the head; ``points`` are its landmarks.

    ``left, top, width`` (source pixels) is the crop that fills the WIDTH x HEIGHT picture.
    ``rest`` names the actions that turn the photographed face into a resting one.
    """

    source_id: str
    picture: np.ndarray  # RGB, uint8, height x width x 3
    left: float
    top: float
    width: float
    rest: Mapping[str, float] = field(default_factory=dict)

    @property
    def scale(self) -> float:
        """Pixels of the clip for one pixel of the source."""
        return WIDTH / self.width

    @cached_property
    def points(self) -> np.ndarray:
        """478 landmarks (x, y) in pixels of the clip."""
        with mediapipe.solutions.face_mesh.FaceMesh(
            static_image_mode=True, refine_landmarks=True, min_detection_confidence=0.4
        ) as mesh:
            found = mesh.process(self.render(np.zeros((HEIGHT, WIDTH, 2))))
        if not found.multi_face_landmarks:
            sys.exit(f"{self.source_id}: the face mesh found no face in the portrait.")
        landmarks = found.multi_face_landmarks[0].landmark
        points = np.array([(p.x, p.y) for p in landmarks]) * (WIDTH, HEIGHT)
        return self._part_touching_lips(points)

    def _part_touching_lips(self, points: np.ndarray) -> np.ndarray:
        """Closed lips share their points; a spline needs them at least a pixel apart."""
        for upper, lower in zip(UPPER_LIP_INNER[1:-1], LOWER_LIP_INNER[1:-1], strict=True):
            lack = 1.0 - (points[lower, 1] - points[upper, 1])
            if lack > 0:
                points[upper, 1] -= lack / 2
                points[lower, 1] += lack / 2
        return points

    @cached_property
    def eye_axis(self) -> np.ndarray:
        """From the right outer eye corner to the left one; its length is the unit of movement."""
        return self.points[LEFT_EYE_OUTER] - self.points[RIGHT_EYE_OUTER]

    def to_pixels(self, displacement: np.ndarray) -> np.ndarray:
        """From (across, down) in eye distances to (x, y) in pixels."""
        across = self.eye_axis
        down = np.array([-across[1], across[0]])
        return displacement[..., :1] * across + displacement[..., 1:] * down

    def render(self, shift: np.ndarray, pose: Pose | None = None) -> np.ndarray:
        """The picture seen through ``shift`` (HEIGHT x WIDTH x 2, pixels) and a head pose."""
        x, y = np.meshgrid(np.arange(WIDTH, dtype=float), np.arange(HEIGHT, dtype=float))
        where = np.stack([x, y], axis=-1)
        if pose is not None:
            where = pose.undo(where)
            shift = cv2.remap(
                shift.astype(np.float32), *_maps(where), cv2.INTER_LINEAR, None, cv2.BORDER_CONSTANT
            )
        source = (where + shift) / self.scale + (self.left, self.top)
        return cv2.remap(
            self.picture, *_maps(source), cv2.INTER_LANCZOS4, None, cv2.BORDER_REFLECT_101
        )


def _maps(where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return where[..., 0].astype(np.float32), where[..., 1].astype(np.float32)


def load_portraits() -> dict[str, Portrait]:
    """Both portraits ship inside the packages; nothing is downloaded."""
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        hopper = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)
    return {
        "portrait_a": Portrait(
            source_id="nasa_astronaut",
            picture=skimage.data.astronaut(),
            left=128.0,
            top=12.0,
            width=194.0,
            # The photograph smiles with parted lips.
            rest={"close_lips": 1.0, "pull_corners": -0.9, "drop_corners": 0.4},
        ),
        "portrait_b": Portrait(
            source_id="navy_grace_hopper",
            picture=cv2.cvtColor(hopper, cv2.COLOR_BGR2RGB),
            left=82.0,
            top=12.0,
            width=364.0,
        ),
    }


# ---------------------------------------------------------------------------------------------
# Actions: where each landmark goes at full strength, in eye distances, x to the right of the
# picture, y downward. A landmark that an action does not name stays.


def _local(portrait: Portrait, landmark: int) -> np.ndarray:
    """(across, down) of a landmark from the right outer eye corner, in eye distances."""
    across = portrait.eye_axis
    offset = portrait.points[landmark] - portrait.points[RIGHT_EYE_OUTER]
    down = np.array([-across[1], across[0]])
    return np.array([offset @ across, offset @ down]) / (across @ across)


def _lips(portrait: Portrait) -> Iterator[tuple[int, float, bool]]:
    """Landmarks of the mouth, position in it (-1 right corner, 0 middle, 1 left), upper lip?"""
    right, left = _local(portrait, 61)[0], _local(portrait, 291)[0]
    for row in (UPPER_LIP_OUTER, UPPER_LIP_INNER, LOWER_LIP_INNER, LOWER_LIP_OUTER):
        upper = row in (UPPER_LIP_OUTER, UPPER_LIP_INNER)
        for landmark in row:
            x = _local(portrait, landmark)[0]
            yield landmark, float(np.clip(2 * (x - right) / (left - right) - 1, -1, 1)), upper


def pull_corners(portrait: Portrait) -> Displacements:
    """AU12: mouth corners out and up; the middle follows a little."""
    return {
        landmark: np.array([0.055 * u, -0.075 * abs(u) ** 1.5 + 0.012])
        for landmark, u, _ in _lips(portrait)
    }


def drop_corners(portrait: Portrait) -> Displacements:
    """AU15: mouth corners down, the middle slightly up."""
    return {
        landmark: np.array([0.0, 0.07 * abs(u) ** 1.7 - 0.012])
        for landmark, u, _ in _lips(portrait)
    }


def close_lips(portrait: Portrait) -> Displacements:
    """Both lips meet between them, down to a line one hundredth of the eye distance high."""
    moved: Displacements = {}
    rows = (UPPER_LIP_OUTER, UPPER_LIP_INNER, LOWER_LIP_INNER, LOWER_LIP_OUTER)
    for outer_up, inner_up, inner_low, outer_low in zip(*rows, strict=True):
        gap = _local(portrait, inner_low)[1] - _local(portrait, inner_up)[1]
        excess = max(gap - 0.01, 0.0)
        moved[outer_up] = moved[inner_up] = np.array([0.0, 0.4 * excess])
        if inner_low != inner_up:
            moved[outer_low] = moved[inner_low] = np.array([0.0, -0.6 * excess])
    return moved


def drop_jaw(portrait: Portrait) -> Displacements:
    """AU25 and AU26: the lips part, the jaw drops, the mouth gets a little narrower."""
    moved = {landmark: np.array([0.0, 0.17 * share]) for landmark, share in JAW.items()}
    for landmark, u, upper in _lips(portrait):
        middle = math.sqrt(max(1 - u * u, 0.0))
        down = 0.045 + (-0.06 * middle if upper else 0.14 * middle)
        moved[landmark] = np.array([-0.035 * u, down])
    return moved


def _brows() -> Iterator[tuple[int, float, float]]:
    """Landmarks of both brows, nearness to the nose (0..1), direction toward the nose (x)."""
    for brow, inward in ((RIGHT_BROW, 1.0), (LEFT_BROW, -1.0)):
        for edge in brow:
            for step, landmark in enumerate(edge):
                yield landmark, step / (len(edge) - 1), inward


def raise_brows(portrait: Portrait) -> Displacements:
    """AU01 and AU02: the whole brow goes up."""
    return {landmark: np.array([0.0, -0.1]) for landmark, _, _ in _brows()}


def raise_inner_brows(portrait: Portrait) -> Displacements:
    """AU01: the inner end of the brow goes up, the outer stays."""
    return {landmark: np.array([0.0, -0.1 * near]) for landmark, near, _ in _brows()}


def lower_brows(portrait: Portrait) -> Displacements:
    """AU04: the brows go down and together, most at the nose."""
    return {
        landmark: np.array([0.045 * near * inward, 0.075 * (0.35 + 0.65 * near)])
        for landmark, near, inward in _brows()
    }


def _lids(portrait: Portrait) -> Iterator[tuple[int, int, float]]:
    """Pairs of upper and lower lid landmarks, and the opening between them."""
    for upper_lid, lower_lid in (RIGHT_LIDS, LEFT_LIDS):
        for upper, lower in zip(upper_lid, lower_lid, strict=True):
            yield upper, lower, _local(portrait, lower)[1] - _local(portrait, upper)[1]


def _move_lids(portrait: Portrait, upper_share: float, lower_share: float) -> Displacements:
    """Each lid moves by a share of the eye's opening, downward when positive."""
    moved: Displacements = {}
    for upper, lower, opening in _lids(portrait):
        moved[upper] = np.array([0.0, upper_share * opening])
        moved[lower] = np.array([0.0, lower_share * opening])
    return moved


def close_eyes(portrait: Portrait) -> Displacements:
    """AU45 at its apex: the upper lid comes down to the lower one, and draws its skin along."""
    moved = _move_lids(portrait, 0.78, -0.08)
    for upper, above in zip(RIGHT_LIDS[0] + LEFT_LIDS[0], LID_SKIN, strict=True):
        moved[above] = 0.5 * moved[upper]
    return moved


def tighten_lids(portrait: Portrait) -> Displacements:
    """AU07: the lower lid goes up, the upper one a little down."""
    return _move_lids(portrait, 0.05, -0.4)


def widen_eyes(portrait: Portrait) -> Displacements:
    """AU05: the upper lid goes up."""
    return _move_lids(portrait, -0.25, 0.05)


def raise_cheeks(portrait: Portrait) -> Displacements:
    """AU06: the cheeks go up and push the lower lid."""
    moved = _move_lids(portrait, 0.0, -0.2)
    moved.update({landmark: np.array([0.0, -0.035]) for landmark in CHEEKS})
    return moved


ACTIONS = {
    action.__name__: action
    for action in (
        *(pull_corners, drop_corners, close_lips, drop_jaw, raise_brows, raise_inner_brows),
        *(lower_brows, close_eyes, tighten_lids, widen_eyes, raise_cheeks),
    )
}


# ---------------------------------------------------------------------------------------------
# The warp

MOUTH_COLOUR = np.array([52.0, 20.0, 20.0])
LIP_LINE_COLOUR = np.array([150.0, 84.0, 80.0])


class Face:
    """Shows a portrait with any strengths of the actions."""

    def __init__(self, portrait: Portrait) -> None:
        self.portrait = portrait
        self.actions = {name: action(portrait) for name, action in ACTIONS.items()}
        moving = set().union(*self.actions.values()) - set(LID_SKIN)
        self.nodes = sorted(moving | {*EYE_CORNERS, *NOSE, *FOREHEAD_AND_TEMPLES})
        self.fixed = self._fixed_points()
        self._shifts: dict[tuple[tuple[str, float], ...], np.ndarray] = {}

    def _fixed_points(self) -> np.ndarray:
        """The border of the picture and a ring around the head never move."""
        across, down = np.linspace(0, WIDTH, 7), np.linspace(0, HEIGHT, 8)
        border = [(x, y) for x in across for y in down if x in (0, WIDTH) or y in (0, HEIGHT)]
        top, chin = self.portrait.points[FACE_OVAL_TOP], self.portrait.points[CHIN]
        centre, half = (top + chin) / 2, np.linalg.norm(chin - top) / 2
        angles = np.linspace(0, 2 * math.pi, 24, endpoint=False)
        ring = centre + np.stack([1.25 * half * np.sin(angles), -1.6 * half * np.cos(angles)], 1)
        inside = (ring > 8).all(1) & (ring < (WIDTH - 8, HEIGHT - 8)).all(1)
        return np.concatenate([np.array(border), ring[inside]])

    def moved_points(self, strengths: Mapping[str, float]) -> np.ndarray:
        """All 478 landmarks after the actions, in pixels."""
        displacement = np.zeros_like(self.portrait.points)
        for name, strength in strengths.items():
            for landmark, one in self.actions[name].items():
                displacement[landmark] += strength * one
        return self.portrait.points + self.portrait.to_pixels(displacement)

    def shift(self, strengths: Mapping[str, float]) -> np.ndarray:
        """For each pixel of the warped picture, how far away its colour is in the portrait."""
        key = tuple(sorted(strengths.items()))
        if key not in self._shifts:
            # The skin above the lid is held only while the eye closes; brows must move it freely.
            nodes = self.nodes + (LID_SKIN if "close_eyes" in strengths else [])
            before = self.portrait.points[nodes]
            after = self.moved_points(strengths)[nodes]
            spline = RBFInterpolator(
                np.concatenate([after, self.fixed]),
                np.concatenate([before - after, np.zeros_like(self.fixed)]),
                kernel="thin_plate_spline",
            )
            x, y = np.meshgrid(np.arange(0, WIDTH, 2), np.arange(0, HEIGHT, 2))
            coarse = spline(np.stack([x.ravel(), y.ravel()], 1)).reshape(*x.shape, 2)
            # Not resize: here sample k of the coarse grid stays at pixel 2k of the picture.
            self._shifts[key] = cv2.warpAffine(
                coarse,
                np.array([[2.0, 0, 0], [0, 2.0, 0]]),
                (WIDTH, HEIGHT),
                flags=cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_REPLICATE,
            )
        return self._shifts[key]

    def show(self, expression: Mapping[str, float], pose: Pose) -> np.ndarray:
        """One picture (RGB); ``expression`` comes on top of the resting face."""
        strengths = dict(self.portrait.rest)
        for name, strength in expression.items():
            strengths[name] = round(strengths.get(name, 0.0) + strength, 4)
        picture = self.portrait.render(self.shift(strengths), pose)
        return self._paint_mouth(picture, strengths, pose)

    def _paint_mouth(
        self, picture: np.ndarray, strengths: Mapping[str, float], pose: Pose
    ) -> np.ndarray:
        """Paint what the warp cannot know.

        Behind lips that were closed in the portrait it is dark. Between lips that the warp closed,
        squeezed teeth are left: a soft line in a dark lip colour covers them.
        """
        open_share = min(1.0, 4 * strengths.get("drop_jaw", 0.0))
        closed_share = max(0.0, 2 * strengths.get("close_lips", 0.0) - 1) * (1 - open_share)
        inner_lips = pose.do(self.moved_points(strengths)[INNER_LIPS])
        if open_share:
            picture = _paint(picture, inner_lips, MOUTH_COLOUR, open_share, spread_px=0)
        if closed_share:
            picture = _paint(picture, inner_lips, LIP_LINE_COLOUR, closed_share, spread_px=4)
        return picture


def _paint(
    picture: np.ndarray, outline: np.ndarray, colour: np.ndarray, share: float, spread_px: int
) -> np.ndarray:
    """Cover the inside of an outline, widened by ``spread_px``, with soft edges."""
    sub_pixel_bits = 3
    corners = [np.round(outline * 2**sub_pixel_bits).astype(np.int32)]
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(mask, corners, 255, cv2.LINE_AA, sub_pixel_bits)
    if spread_px:
        cv2.polylines(mask, corners, True, 255, spread_px, cv2.LINE_AA, sub_pixel_bits)
    cover = share * cv2.GaussianBlur(mask, (0, 0), 1.6)[..., None] / 255
    return np.round(picture * (1 - cover) + colour * cover).astype(np.uint8)


@dataclass(frozen=True)
class Pose:
    """A small turn, zoom and shift of the whole picture around its centre."""

    turn_rad: float
    zoom: float
    shift_x: float
    shift_y: float

    @classmethod
    def at(cls, time_s: float, phase: float) -> Pose:
        """A slow sway, under 1 % of the picture, so that no two frames are equal."""
        slow, slower = 2 * math.pi * time_s / 2.9 + phase, 2 * math.pi * time_s / 4.3 + 2 * phase
        return cls(
            turn_rad=0.006 * math.sin(slower),
            zoom=1.008 + 0.004 * math.sin(slow),
            shift_x=1.4 * math.sin(slower),
            shift_y=0.9 * math.cos(slow),
        )

    def do(self, points: np.ndarray) -> np.ndarray:
        """Points of the portrait as they lie in the clip."""
        centre = np.array([WIDTH / 2, HEIGHT / 2])
        return (points - centre) @ self._matrix() * self.zoom + centre + self._shift()

    def undo(self, points: np.ndarray) -> np.ndarray:
        """Points of the clip as they lie in the portrait."""
        centre = np.array([WIDTH / 2, HEIGHT / 2])
        return (points - centre - self._shift()) / self.zoom @ self._matrix().T + centre

    def _matrix(self) -> np.ndarray:
        c, s = math.cos(self.turn_rad), math.sin(self.turn_rad)
        return np.array([[c, s], [-s, c]])

    def _shift(self) -> np.ndarray:
        return np.array([self.shift_x, self.shift_y])


# ---------------------------------------------------------------------------------------------
# What each clip is


@dataclass(frozen=True)
class Speech:
    """Words for espeak-ng and the time at which they begin."""

    text: str
    language: str  # ISO 639-1, as the manifest gives it
    voice: str
    rate: int  # words a minute
    pitch: int  # 0..99
    start_s: float
    words_in: str  # where the clip carries its words: manifest, sidecar, embedded, nowhere


@dataclass(frozen=True)
class Movement:
    """Actions that begin at ``onset``, are full at ``apex`` and gone at ``offset`` (frames)."""

    actions: Mapping[str, float]
    onset: int
    apex: int
    offset: int

    def strength(self, frame: int) -> float:
        """Raised cosine on either side of the apex, 0..1."""
        if not self.onset < frame < self.offset:
            return 0.0
        side = self.onset if frame < self.apex else self.offset
        return round(0.5 + 0.5 * math.cos(math.pi * (frame - self.apex) / (side - self.apex)), 4)


@dataclass(frozen=True)
class Clip:
    """One sample; ``portraits`` has two entries when ``cut`` is given."""

    clip_id: str
    portraits: tuple[str, ...]
    expression: str
    action_units: tuple[str, ...]
    label: str | None
    movement: Movement | None
    speech: Speech | None
    frame_count: int = 95
    blink: Movement | None = None
    cut: int | None = None  # first frame of the second shot

    @property
    def speaker_id(self) -> str:
        """Who moves and speaks."""
        return self.portraits[-1]

    def portrait_at(self, frame: int) -> str:
        """Who is in the picture."""
        return self.portraits[0] if self.cut is None or frame < self.cut else self.portraits[1]

    def strengths(self, frame: int) -> dict[str, float]:
        """Actions at a frame; a movement belongs to the last portrait alone."""
        if self.portrait_at(frame) != self.speaker_id:
            return {}
        total: dict[str, float] = {}
        for movement in filter(None, (self.movement, self.blink)):
            for name, full in movement.actions.items():
                total[name] = total.get(name, 0.0) + full * movement.strength(frame)
        return {name: strength for name, strength in total.items() if strength}


CLIPS = (
    Clip(
        clip_id="smile",
        portraits=("portrait_a",),
        expression="smile",
        action_units=("AU06", "AU12", "AU25"),
        label="happy",
        # close_lips -1 undoes the resting face, so the apex shows the teeth of the photograph.
        movement=Movement(
            {"pull_corners": 0.9, "drop_corners": -0.4, "close_lips": -1.0, "raise_cheeks": 0.4},
            onset=28,
            apex=46,
            offset=66,
        ),
        speech=Speech(
            text="We won the first prize, what a lovely day!",
            language="en",
            voice="en-us+f3",
            rate=185,
            pitch=70,
            start_s=0.9,
            words_in="sidecar",
        ),
    ),
    Clip(
        clip_id="surprise",
        portraits=("portrait_b",),
        expression="raised brows and open jaw",
        action_units=("AU01", "AU02", "AU05", "AU25", "AU26"),
        label="surprise",
        movement=Movement(
            {"raise_brows": 0.8, "drop_jaw": 1.0, "widen_eyes": 0.8}, onset=32, apex=48, offset=66
        ),
        speech=Speech(
            text="Oh! You were here all the time?",
            language="en",
            voice="en-gb+f2",
            rate=180,
            pitch=75,
            start_s=0.8,
            words_in="manifest",
        ),
    ),
    Clip(
        clip_id="anger_subtitled",
        portraits=("portrait_a",),
        expression="lowered brows and tight lids",
        action_units=("AU04", "AU07"),
        label="angry",
        movement=Movement({"lower_brows": 1.0, "tighten_lids": 1.0}, onset=24, apex=42, offset=64),
        speech=Speech(
            text="No! I told you twice to keep that door shut.",
            language="en",
            voice="en-us+f3",
            rate=175,
            pitch=40,
            start_s=0.7,
            words_in="embedded",
        ),
    ),
    Clip(
        clip_id="sadness_silent",
        portraits=("portrait_b",),
        expression="lowered mouth corners and raised inner brows",
        action_units=("AU01", "AU15"),
        label="sad",
        movement=Movement(
            {"drop_corners": 1.0, "raise_inner_brows": 0.8}, onset=30, apex=50, offset=70
        ),
        speech=None,
    ),
    Clip(
        clip_id="neutral",
        portraits=("portrait_b",),
        expression="neutral",
        action_units=(),
        label="neutral",
        movement=None,
        speech=Speech(
            text="Der Zug nach Hamburg fährt um zehn Uhr ab.",
            language="de",
            voice="de+f2",
            rate=150,
            pitch=50,
            start_s=0.6,
            words_in="manifest",
        ),
        frame_count=100,
    ),
    Clip(
        clip_id="blink_then_smile",
        portraits=("portrait_a",),
        expression="smile",
        action_units=("AU12", "AU25"),
        label="happy",
        movement=Movement(
            {"pull_corners": 0.65, "drop_corners": -0.3, "close_lips": -0.65},
            onset=42,
            apex=60,
            offset=80,
        ),
        speech=Speech(
            text="Good morning, it is nice to see you again.",
            language="en",
            voice="en-us+f3",
            rate=165,
            pitch=60,
            start_s=1.3,
            words_in="nowhere",
        ),
        frame_count=100,
        blink=Movement({"close_eyes": 1.0}, onset=17, apex=21, offset=26),
    ),
    Clip(
        clip_id="two_people_cut",
        portraits=("portrait_a", "portrait_b"),
        expression="smile",
        action_units=("AU06", "AU12"),
        label="happy",
        movement=Movement({"pull_corners": 1.2, "raise_cheeks": 0.6}, onset=54, apex=70, offset=87),
        speech=Speech(
            text="And now over to you, with the good news.",
            language="en",
            voice="en-gb+f2",
            rate=180,
            pitch=55,
            start_s=1.7,
            words_in="manifest",
        ),
        frame_count=100,
        cut=36,
    ),
    Clip(
        clip_id="unlabelled",
        portraits=("portrait_a",),
        expression="raised brows and open jaw",
        action_units=("AU01", "AU02", "AU25", "AU26"),
        label=None,
        movement=Movement(
            {"raise_brows": 0.8, "drop_jaw": 0.8, "pull_corners": -0.5},
            onset=26,
            apex=44,
            offset=64,
        ),
        speech=Speech(
            text="我一直在等你。",
            language="zh",
            voice="cmn+f3",
            rate=200,
            pitch=50,
            start_s=0.8,
            words_in="manifest",
        ),
    ),
)


# ---------------------------------------------------------------------------------------------
# Sound


def speak(speech: Speech) -> np.ndarray:
    """Mono samples in -1..1 at SAMPLE_RATE, trimmed to the voice.

    Exits with a message when espeak-ng is missing.
    """
    if shutil.which("espeak-ng") is None:
        sys.exit(
            "espeak-ng is not on PATH; it speaks the words of the clips.\n"
            "Install it (Debian, Ubuntu: apt-get install espeak-ng) and run again."
        )
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        options = ["-v", speech.voice, "-s", str(speech.rate), "-p", str(speech.pitch)]
        subprocess.run(["espeak-ng", *options, "-w", str(wav), speech.text], check=True)
        rate, samples = scipy.io.wavfile.read(wav)
    voice = resample_poly(samples / 32768, SAMPLE_RATE, rate)
    heard = np.flatnonzero(np.abs(voice) > 0.02 * np.abs(voice).max())
    voice = voice[heard[0] : heard[-1] + 1]
    return voice * SPEECH_RMS / np.sqrt(np.mean(voice**2))


def make_sound(clip: Clip, speech: Speech, seed: int) -> tuple[np.ndarray, float]:
    """The clip's mono sound and the second at which its speech ends."""
    count = round(clip.frame_count / FPS * SAMPLE_RATE)
    sound = np.random.default_rng(seed).normal(0, NOISE_RMS, count)
    voice = speak(speech)
    start = round(speech.start_s * SAMPLE_RATE)
    end = start + len(voice)
    if end + 0.2 * SAMPLE_RATE > count:
        sys.exit(f"{clip.clip_id}: the speech ends at {end / SAMPLE_RATE:.2f} s, too near the end.")
    sound[start:end] += voice
    return np.clip(sound, -1, 1).astype(np.float32), end / SAMPLE_RATE


# ---------------------------------------------------------------------------------------------
# Files

ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,16

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


@dataclass(frozen=True)
class Caption:
    """A line of English text and when it is shown."""

    text: str
    start_s: float
    end_s: float


def write_clip(
    path: Path, frames: Iterable[np.ndarray], sound: np.ndarray | None, caption: Caption | None
) -> None:
    """Write an mp4: H.264, AAC if there is sound, mov_text if there is a caption."""
    options = {"fflags": "+bitexact", "movflags": "+faststart"}
    with av.open(str(path), "w", options=options) as container:
        video = container.add_stream("libx264", rate=FPS, width=WIDTH, height=HEIGHT)
        video.pix_fmt = "yuv420p"
        video.options = {"crf": "23", "preset": "slow", "threads": "1", "flags": "+bitexact"}
        # All streams must be known before the first packet is written.
        audio = _add_audio(container) if sound is not None else None
        subtitles = _add_subtitles(container) if caption else None
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio:
            frame = av.AudioFrame.from_ndarray(sound[None], "fltp", "mono")
            frame.pts, frame.sample_rate = 0, SAMPLE_RATE
            frame.time_base = Fraction(1, SAMPLE_RATE)
            container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
        if subtitles:
            container.mux(_encode_caption(subtitles, caption))


def _add_audio(container: av.container.OutputContainer) -> av.audio.stream.AudioStream:
    stream = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
    stream.bit_rate = 64_000
    stream.options = {"flags": "+bitexact"}
    return stream


def _add_subtitles(container: av.container.OutputContainer) -> av.subtitles.stream.SubtitleStream:
    stream = container.add_stream("mov_text")
    stream.metadata["language"] = "eng"  # mp4 wants ISO 639-2
    stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
    stream.codec_context.subtitle_header = ASS_HEADER
    return stream


def _encode_caption(stream: av.subtitles.stream.SubtitleStream, caption: Caption) -> av.Packet:
    dialogue = f"0,0,Default,,0,0,0,,{caption.text}".encode()
    subtitle = av.subtitles.subtitle.SubtitleSet.create(
        text=dialogue, start=0, end=round(1000 * (caption.end_s - caption.start_s))
    )
    packet = stream.codec_context.encode_subtitle(subtitle)
    packet.pts = packet.dts = round(1000 * caption.start_s)
    packet.time_base, packet.stream = Fraction(1, 1000), stream
    return packet


def write_srt(path: Path, caption: Caption) -> None:
    """One caption as a SubRip file."""
    times = f"{_srt_time(caption.start_s)} --> {_srt_time(caption.end_s)}"
    path.write_text(f"1\n{times}\n{caption.text}\n", "utf-8")


def _srt_time(time_s: float) -> str:
    seconds, milliseconds = divmod(round(1000 * time_s), 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d},{milliseconds:03d}"


def truth_of(clip: Clip, speech_end_s: float | None) -> dict[str, object]:
    """What is known of a clip; frames count from 0."""
    movement, speech = clip.movement, clip.speech
    return {
        "clip_id": clip.clip_id,
        "expression": clip.expression,
        "action_units": list(clip.action_units),
        "frame_count": clip.frame_count,
        "fps": FPS,
        "onset_frame": movement.onset if movement else None,
        "apex_frame": movement.apex if movement else None,
        "offset_frame": movement.offset if movement else None,
        "cut_frame": clip.cut,
        "blink_frame": clip.blink.apex if clip.blink else None,
        "speech": speech
        and {
            "text": speech.text,
            "language": speech.language,
            "start_s": speech.start_s,
            "end_s": round(speech_end_s, 3),
            "words_in": speech.words_in,
        },
        "has_sound": speech is not None,
        "label": clip.label,
    }


def draw_frames(clip: Clip, faces: Mapping[str, Face], phase: float) -> Iterator[np.ndarray]:
    """The pictures of a clip (RGB), one after the other; ``phase`` makes each clip sway its way."""
    for index in range(clip.frame_count):
        pose = Pose.at(index / FPS, phase)
        yield faces[clip.portrait_at(index)].show(clip.strengths(index), pose)


def make_clip(clip: Clip, faces: Mapping[str, Face], out: Path, seed: int) -> None:
    """Write the clip, its sidecar if it has one, and its truth."""
    path = out / "clips" / f"{clip.clip_id}.mp4"
    frames = draw_frames(clip, faces, phase=0.7 * seed)
    end_s = None
    if clip.speech is None:
        write_clip(path, frames, sound=None, caption=None)
    else:
        sound, end_s = make_sound(clip, clip.speech, seed)
        caption = Caption(clip.speech.text, clip.speech.start_s, round(end_s, 3))
        write_clip(path, frames, sound, caption if clip.speech.words_in == "embedded" else None)
        if clip.speech.words_in == "sidecar":
            write_srt(path.with_suffix(".srt"), caption)
    truth = json.dumps(truth_of(clip, end_s), indent=2, ensure_ascii=False)
    (out / "truth" / f"{clip.clip_id}.json").write_text(truth + "\n", "utf-8")
    print(f"{clip.clip_id}: {path.stat().st_size / 1000:.0f} kB")


def manifest_row(clip: Clip, portrait: Portrait) -> dict[str, str]:
    """What the manifest says of a clip; an empty cell says nothing."""
    speech = clip.speech
    return {
        "clip_id": clip.clip_id,
        "path": f"clips/{clip.clip_id}.mp4",
        "label": clip.label or "",
        "transcript": speech.text if speech and speech.words_in == "manifest" else "",
        "language": speech.language if speech else "",
        "speaker_id": clip.speaker_id,
        "source_id": portrait.source_id,
        "licence": "public-domain",
    }


def write_manifest(path: Path, portraits: Mapping[str, Portrait]) -> None:
    """One row for each clip."""
    rows = [manifest_row(clip, portraits[clip.speaker_id]) for clip in CLIPS]
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def main() -> None:
    """Make all clips, or one, and the manifest."""
    parser = argparse.ArgumentParser(description="Make the sample clips.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--only", choices=[clip.clip_id for clip in CLIPS])
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    for folder in ("clips", "truth"):
        (arguments.out / folder).mkdir(parents=True, exist_ok=True)
    portraits = load_portraits()
    faces = {name: Face(portrait) for name, portrait in portraits.items()}
    for seed, clip in enumerate(CLIPS):
        if arguments.only in (None, clip.clip_id):
            make_clip(clip, faces, arguments.out, seed)
    write_manifest(arguments.out / "manifest.csv", portraits)


if __name__ == "__main__":
    main()
