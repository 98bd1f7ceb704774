"""Where one shot ends and the next begins, by luma.

At a hard cut the picture becomes another one, much more than it changes in the frames around, and
for good. How much it becomes another one is the mean luma difference times the likeness that is
lost (one minus the correlation). So light going on (still alike), a pan or shaking (the neighbours
change as much) and a flash (soon over) are no cuts. A histogram was tried and left out: light
changes it as much as a cut does. Dissolves are not found, nor cuts between colours of one luma.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from merr_pipeline.settings import ProbeSettings

NEIGHBOURS = 8  # frames on either side that say how much change is usual here
LASTING_FRAMES = 3  # what is over after so many frames is a flash
NOISE_LEVELS = 2.0  # luma levels (of 255) that noise may take; empty pictures are all alike
CHUNK_FRAMES = 512  # compared at a time, to save memory


@dataclass(frozen=True)
class Shot:
    """Half open: ``end_frame`` and ``end_s`` belong to the next shot."""

    start_s: float
    end_s: float
    start_frame: int
    end_frame: int


def find_shots(
    small: np.ndarray, times_s: np.ndarray, duration_s: float, settings: ProbeSettings
) -> list[Shot]:
    """Divide a clip at its hard cuts.

    Args:
        small: shrunk frames without borders, uint8, frames x height x width.
        times_s: of each frame.
        duration_s: end of the last shot.
        settings: thresholds.
    """
    cuts = find_cuts(small, times_s, settings)
    starts = [0, *cuts]
    ends = [*cuts, len(small)]
    return [
        Shot(
            start_s=float(times_s[start]),
            end_s=float(times_s[end]) if end < len(small) else duration_s,
            start_frame=start,
            end_frame=end,
        )
        for start, end in zip(starts, ends, strict=True)
    ]


def find_cuts(small: np.ndarray, times_s: np.ndarray, settings: ProbeSettings) -> list[int]:
    """Indices of the frames that begin a new shot."""
    change = changes(small)
    strongest_first = sorted(
        np.flatnonzero(change >= settings.cut_min_change).tolist(), key=lambda i: (-change[i], i)
    )
    cuts: list[int] = []
    for index in strongest_first:
        alone = all(
            round(abs(times_s[index] - times_s[cut]), 3) >= settings.min_shot_s for cut in cuts
        )
        sudden = change[index] >= round(settings.cut_ratio * _usual_change(change, index), 3)
        if alone and sudden and _lasting_change(small, index) >= settings.cut_min_change:
            cuts.append(index)
    return sorted(cuts)


def changes(small: np.ndarray) -> np.ndarray:
    """Change of each frame to the one before, 0 .. 1, rounded to 1e-3; 0 for the first frame."""
    found = [np.zeros(1)]
    for start in range(0, len(small) - 1, CHUNK_FRAMES):
        chunk = small[start : start + CHUNK_FRAMES + 1]
        found.append(change_between(chunk[:-1], chunk[1:]))
    return np.concatenate(found)


def change_between(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Luma difference times lost likeness of pairs of pictures (pairs x height x width, uint8)."""
    a, b = (part.reshape(len(part), -1).astype(np.float32) for part in (before, after))
    difference = np.abs(b - a).mean(axis=1) / 255
    a -= a.mean(axis=1, keepdims=True)
    b -= b.mean(axis=1, keepdims=True)
    noise = NOISE_LEVELS**2
    size = np.sqrt(((a * a).mean(axis=1) + noise) * ((b * b).mean(axis=1) + noise))
    likeness = np.clip(((a * b).mean(axis=1) + noise) / size, 0, 1)
    return np.asarray(difference * (1 - likeness), np.float64).round(3)


def _usual_change(change: np.ndarray, index: int) -> float:
    """What is usual on the livelier side, without the next frames.

    The upper quartile: every second frame may be a repeated one, and another cut may be near.
    """
    sides = [
        change[max(1, index - NEIGHBOURS) : max(1, index - 1)],
        change[index + 2 : index + 1 + NEIGHBOURS],
    ]
    long_enough = [side for side in sides if len(side) >= NEIGHBOURS // 2]
    return max((float(np.quantile(side, 0.75)) for side in long_enough), default=0.0)


def _lasting_change(small: np.ndarray, index: int) -> float:
    """The smallest change from a frame before to a frame from ``index`` on."""
    before = small[max(0, index - LASTING_FRAMES) : index]
    after = small[index : index + LASTING_FRAMES]
    pairs = np.repeat(before, len(after), axis=0), np.tile(after, (len(before), 1, 1))
    return float(change_between(*pairs).min())
