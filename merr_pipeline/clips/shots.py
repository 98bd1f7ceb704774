"""Where one shot ends and the next begins, by luma.

A hard cut changes the picture and its histogram at once, much more than the frames around it
change, and for good. So a pan (same histogram), a change of exposure (small difference), shaking
(neighbours change as much) and a flash (it does not last) are no cuts. Dissolves are not found.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from merr_pipeline.clips.luma import differences
from merr_pipeline.settings import ProbeSettings

HISTOGRAM_BINS = 32
NEIGHBOURS = 8  # frames on either side that say how much change is usual here
LASTING_FRAMES = 3  # what is over after so many frames is a flash
LEAST_USUAL_CHANGE = 0.01  # below it, change is noise


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
        usual = max(_usual_change(change, index), LEAST_USUAL_CHANGE)
        lasting = _lasting_change(small, index)
        alone = all(abs(times_s[index] - times_s[cut]) >= settings.min_shot_s for cut in cuts)
        if (
            alone
            and change[index] >= settings.cut_ratio * usual
            and lasting >= settings.cut_min_change
        ):
            cuts.append(index)
    return sorted(cuts)


def changes(small: np.ndarray) -> np.ndarray:
    """Change of each frame to the one before (0 .. 1): of picture and histogram the smaller."""
    histograms = _histograms(small)
    moved = np.zeros(len(small))
    moved[1:] = np.abs(np.diff(histograms, axis=0)).sum(axis=1) / 2
    return np.asarray(np.minimum(differences(small), moved).round(3))


def _histograms(small: np.ndarray) -> np.ndarray:
    """Share of the pixels in each luma bin: frames x bins."""
    count = len(small)
    bins = small.reshape(count, -1) // (256 // HISTOGRAM_BINS)
    keys = bins + HISTOGRAM_BINS * np.arange(count)[:, None]
    found = np.bincount(keys.ravel(), minlength=count * HISTOGRAM_BINS)
    return found.reshape(count, HISTOGRAM_BINS) / bins.shape[1]


def _usual_change(change: np.ndarray, index: int) -> float:
    """Median of the frames around, without the next ones and without repeated frames."""
    around = np.r_[
        change[max(1, index - NEIGHBOURS) : max(1, index - 1)],
        change[index + 2 : index + 1 + NEIGHBOURS],
    ]
    moving = around[around > 0]
    return float(np.median(moving)) if len(moving) else 0.0


def _lasting_change(small: np.ndarray, index: int) -> float:
    """The smallest difference between a frame before and a frame from ``index`` on."""
    before = small[max(0, index - LASTING_FRAMES) : index]
    after = small[index : index + LASTING_FRAMES]
    return float(min(cv2.absdiff(a, b).mean() for a in before for b in after) / 255)
