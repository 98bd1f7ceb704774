"""The two portraits, and where their landmarks lie."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import matplotlib.cbook
import numpy as np
import skimage.data

from generator.clips import HEIGHT_PX, WIDTH_PX
from generator.landmarks import (
    LEFT_EYE_OUTER,
    LOWER_LIP_INNER,
    RIGHT_EYE_OUTER,
    UPPER_LIP_INNER,
)
from generator.pose import Pose


@dataclass
class Portrait:
    """A picture of a person, cropped around the head.

    ``left, top, width`` (source pixels) is the crop that fills the picture of the clip.
    ``rest`` names the actions, with their strengths, that turn the photographed face into a
    resting one.
    """

    source_id: str
    picture: np.ndarray  # RGB, uint8, height x width x 3
    left: float
    top: float
    width: float
    rest: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def points(self) -> np.ndarray:
        """Landmarks in the clip before anything moves: 478 x 2 (x, y), pixels."""
        points = find_landmarks(self.render(np.zeros((HEIGHT_PX, WIDTH_PX, 2))))
        if points is None:
            sys.exit(f"{self.source_id}: the face mesh found no face in the portrait.")
        return part_touching_lips(points)

    @cached_property
    def across(self) -> np.ndarray:
        """From the right outer eye corner to the left one; its length is one eye distance."""
        return self.points[LEFT_EYE_OUTER] - self.points[RIGHT_EYE_OUTER]

    @cached_property
    def down(self) -> np.ndarray:
        """One eye distance toward the chin."""
        return np.array([-self.across[1], self.across[0]])

    def in_eye_distances(self, landmark: int) -> np.ndarray:
        """(across, down) of a landmark from the right outer eye corner, in eye distances."""
        offset = self.points[landmark] - self.points[RIGHT_EYE_OUTER]
        return np.array([offset @ self.across, offset @ self.down]) / (self.across @ self.across)

    def in_pixels(self, displacement: np.ndarray) -> np.ndarray:
        """From (across, down) in eye distances to (x, y) in pixels; ... x 2."""
        return displacement[..., :1] * self.across + displacement[..., 1:] * self.down

    def render(self, shift: np.ndarray, pose: Pose | None = None) -> np.ndarray:
        """The picture (RGB, uint8) seen through a shift and a pose of the head.

        ``shift`` (height x width x 2, pixels) says how far from each pixel its colour is taken.
        """
        x, y = np.meshgrid(np.arange(WIDTH_PX, dtype=float), np.arange(HEIGHT_PX, dtype=float))
        where = np.stack([x, y], axis=-1)
        if pose is not None:
            where = pose.undo(where)
            shift = cv2.remap(
                shift.astype(np.float32), *_maps(where), cv2.INTER_LINEAR, None, cv2.BORDER_CONSTANT
            )
        clip_pixels_per_source_pixel = WIDTH_PX / self.width
        source = (where + shift) / clip_pixels_per_source_pixel + (self.left, self.top)
        return cv2.remap(
            self.picture, *_maps(source), cv2.INTER_LANCZOS4, None, cv2.BORDER_REFLECT_101
        )


def _maps(where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Height x width x 2 as the two maps, x and y, that cv2.remap wants."""
    return where[..., 0].astype(np.float32), where[..., 1].astype(np.float32)


def find_landmarks(picture: np.ndarray) -> np.ndarray | None:
    """The landmarks of the face in a picture (RGB): 478 x 2 (x, y), pixels; None without a face.

    Source: MediaPipe Face Mesh with refined irises.
    """
    import mediapipe  # takes seconds: only after the wishes and programs of the user are checked

    with mediapipe.solutions.face_mesh.FaceMesh(
        static_image_mode=True, refine_landmarks=True, min_detection_confidence=0.4
    ) as mesh:
        found = mesh.process(picture)
    if not found.multi_face_landmarks:
        return None
    landmarks = found.multi_face_landmarks[0].landmark
    return np.array([(p.x, p.y) for p in landmarks]) * (WIDTH_PX, HEIGHT_PX)


def part_touching_lips(points: np.ndarray) -> np.ndarray:
    """Closed lips share their points; a spline needs them at least a pixel apart."""
    points = points.copy()
    for upper, lower in zip(UPPER_LIP_INNER[1:-1], LOWER_LIP_INNER[1:-1], strict=True):
        lack_px = 1.0 - (points[lower, 1] - points[upper, 1])
        if lack_px > 0:
            points[upper, 1] -= lack_px / 2
            points[lower, 1] += lack_px / 2
    return points


def load_portraits() -> dict[str, Portrait]:
    """Both portraits ship inside the packages; nothing is downloaded. Rights: see README.md."""
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
