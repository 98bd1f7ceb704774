"""The actions of the face: where each landmark goes when an action has strength 1.

A displacement is (across, down) in eye distances, the distance between the outer corners of the
eyes: across runs to the right of the picture, down to the chin. A landmark that an action does not
name stays.

The names AU01, AU12 and so on are those of FACS (Ekman, Friesen and Hager 2002), which says what
moves in which direction. How far it moves was chosen here; it is measured on nobody.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from generator.landmarks import (
    CHEEKS,
    JAW,
    LEFT_BROW,
    LEFT_LIDS,
    LID_SKIN,
    LOWER_LIP_INNER,
    LOWER_LIP_OUTER,
    MOUTH_CORNER_LEFT,
    MOUTH_CORNER_RIGHT,
    RIGHT_BROW,
    RIGHT_LIDS,
    UPPER_LIP_INNER,
    UPPER_LIP_OUTER,
)
from generator.portraits import Portrait

Displacements = dict[int, np.ndarray]  # landmark -> (across, down)

# ---------------------------------------------------------------------------------------------
# Mouth and jaw


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
        excess = max(_height(portrait, inner_up, inner_low) - 0.01, 0.0)
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


def _lips(portrait: Portrait) -> Iterator[tuple[int, float, bool]]:
    """Landmarks of the mouth, position in it (-1 right corner, 0 middle, 1 left), upper lip?"""
    right = portrait.in_eye_distances(MOUTH_CORNER_RIGHT)[0]
    left = portrait.in_eye_distances(MOUTH_CORNER_LEFT)[0]
    for row in (UPPER_LIP_OUTER, UPPER_LIP_INNER, LOWER_LIP_INNER, LOWER_LIP_OUTER):
        upper = row in (UPPER_LIP_OUTER, UPPER_LIP_INNER)
        for landmark in row:
            x = portrait.in_eye_distances(landmark)[0]
            yield landmark, float(np.clip(2 * (x - right) / (left - right) - 1, -1, 1)), upper


# ---------------------------------------------------------------------------------------------
# Brows


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


def _brows() -> Iterator[tuple[int, float, float]]:
    """Landmarks of both brows, nearness to the nose (0..1), direction toward the nose (x)."""
    for brow, inward in ((RIGHT_BROW, 1.0), (LEFT_BROW, -1.0)):
        for edge in brow:
            for step, landmark in enumerate(edge):
                yield landmark, step / (len(edge) - 1), inward


# ---------------------------------------------------------------------------------------------
# Lids and cheeks


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


def _move_lids(portrait: Portrait, upper_share: float, lower_share: float) -> Displacements:
    """Each lid moves by a share of the eye's opening, downward when positive."""
    moved: Displacements = {}
    for upper_lid, lower_lid in (RIGHT_LIDS, LEFT_LIDS):
        for upper, lower in zip(upper_lid, lower_lid, strict=True):
            opening = _height(portrait, upper, lower)
            moved[upper] = np.array([0.0, upper_share * opening])
            moved[lower] = np.array([0.0, lower_share * opening])
    return moved


def _height(portrait: Portrait, upper: int, lower: int) -> float:
    """How far a landmark lies below another, in eye distances."""
    return portrait.in_eye_distances(lower)[1] - portrait.in_eye_distances(upper)[1]


ACTIONS = {
    action.__name__: action
    for action in (
        *(pull_corners, drop_corners, close_lips, drop_jaw, raise_brows, raise_inner_brows),
        *(lower_brows, close_eyes, tighten_lids, widen_eyes, raise_cheeks),
    )
}
