"""Where one shot becomes the next little by little: dissolves, and fades to and from black.

In a dissolve each frame is a mixture of the picture before and the picture after, with a share that
grows; a fade is a dissolve with black. No other change in a film is so: of a moving person the
frame in the middle is no mixture of the ends, a pan goes on before and after, and when the light
changes the ends stay alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from merr_pipeline.clips.luma import change_between
from merr_pipeline.settings import ProbeSettings

LENGTHS_S = (0.16, 0.2, 0.24, 0.32, 0.4, 0.48, 0.64, 0.8, 1.0, 1.25, 1.5)
LEAST_STEPS = 4  # what is shorter has no quarters; it is sudden enough to be a cut
EVERY_PIXEL = 3  # a mixture is one in every pixel, so a ninth of them will do
MOMENTS = (0.25, 0.5, 0.75)  # of the way, at which a frame must be a mixture
LEAST_SHARE = 0.08  # of either picture in it; at a hard cut one of them is 0
MAX_MISFIT = 0.3  # what the mixture leaves unexplained, as a share of the whole change (L2)
STEADY = 0.5  # the same time before and after changes less than this share of it


@dataclass(frozen=True)
class Fade:
    """Frames ``start_frame`` to ``end_frame`` (half open) show a mixture."""

    start_frame: int
    end_frame: int


def find_fades(small: np.ndarray, times_s: np.ndarray, settings: ProbeSettings) -> list[Fade]:
    """The fades of a clip, up to ``probe.max_fade_s`` long, in order; no two overlap.

    Args:
        small: shrunk frames without borders, uint8, frames x height x width.
        times_s: of each frame.
        settings: thresholds.
    """
    pictures = small[:, ::EVERY_PIXEL, ::EVERY_PIXEL]
    found: list[tuple[float, Fade]] = []
    for steps in _lengths(times_s, settings.max_fade_s):
        strength = _strengths(pictures, steps, settings.cut_min_change)
        found += [
            (round(float(strength[at]) - 1e-4 * steps, 6), Fade(int(at) + 1, int(at) + steps))
            for at in np.flatnonzero(strength)
        ]
    found.sort(key=lambda pair: (-pair[0], pair[1].start_frame, pair[1].end_frame))
    kept: list[Fade] = []
    for _, fade in found:
        if all(fade.end_frame < k.start_frame or fade.start_frame > k.end_frame for k in kept):
            kept.append(fade)
    return sorted(kept, key=lambda fade: fade.start_frame)


def _lengths(times_s: np.ndarray, max_fade_s: float) -> Sequence[int]:
    """From the last pure frame to the next one, in frames."""
    if len(times_s) <= LEAST_STEPS:
        return []
    step_s = (times_s[-1] - times_s[0]) / (len(times_s) - 1)
    longest = min(max_fade_s, float(times_s[-1] - times_s[0]))
    lengths = {round(length_s / step_s) for length_s in LENGTHS_S if length_s <= longest}
    return sorted(length for length in lengths if LEAST_STEPS <= length < len(times_s))


def _strengths(pictures: np.ndarray, steps: int, least_change: float) -> np.ndarray:
    """For each frame, how much changes by a fade from it to the frame ``steps`` later; else 0."""
    change = change_between(pictures[:-steps], pictures[steps:])
    strength = np.zeros_like(change)
    at = np.flatnonzero(change >= least_change)
    at = at[_steady(change, at, steps)]
    if len(at):
        fits = _is_mixture(pictures, at, steps)
        strength[at[fits]] = change[at[fits]]
    return strength


def _steady(change: np.ndarray, at: np.ndarray, steps: int) -> np.ndarray:
    """Whether much less changes in the time before and in the time after, where there is one."""
    limit = STEADY * change[at]
    before, after = at - steps, at + steps
    calm_before = (before < 0) | (change[np.maximum(before, 0)] <= limit)
    calm_after = (after >= len(change)) | (change[np.minimum(after, len(change) - 1)] <= limit)
    return np.asarray(calm_before & calm_after)


def _is_mixture(pictures: np.ndarray, at: np.ndarray, steps: int) -> np.ndarray:
    """Whether the frames between are mixtures of both ends, with a share that grows."""
    flat = pictures.reshape(len(pictures), -1)
    first = flat[at].astype(np.float32)
    whole = flat[at + steps].astype(np.float32) - first
    size = np.einsum("np,np->n", whole, whole)
    last_share = np.full(len(at), LEAST_SHARE)
    fits = size > 0
    for moment in MOMENTS:
        part = flat[at + round(moment * steps)].astype(np.float32) - first
        share = np.divide(
            np.einsum("np,np->n", part, whole), size, out=np.zeros_like(size), where=size > 0
        )
        left = np.einsum("np,np->n", part, part) - share**2 * size
        fits &= left <= MAX_MISFIT**2 * size
        fits &= (share.round(3) >= last_share) & (share.round(3) <= 1 - LEAST_SHARE)
        last_share = share.round(3)
    return np.asarray(fits)
