"""Where one shot ends and the next begins, by luma.

A shot begins at a hard cut, or where a fade begins (`clips/fades.py`). At a hard cut the picture
becomes another one, much more than it changes in the frames around, and for good. How much it
becomes another one is the mean luma difference times the likeness that is lost (one minus the
correlation). So light going on (still alike), a pan or shaking (the neighbours change as much) and
a flash (soon over) are no cuts. A histogram was tried and left out: light changes it as much as a
cut does. Cuts between colours of one luma are not found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from merr_pipeline.clips.fades import find_fades
from merr_pipeline.clips.luma import change_between
from merr_pipeline.settings import ProbeSettings

NEIGHBOURS = 8  # frames on either side that say how much change is usual here
LASTING_FRAMES = 3  # what is over after so many frames is a flash
CHUNK_FRAMES = 512  # compared at a time, to save memory


@dataclass(frozen=True)
class Shot:
    """Half open: ``end_frame`` and ``end_s`` belong to the next shot."""

    start_s: float
    end_s: float
    start_frame: int
    end_frame: int
    fade_frames: int = 0  # at the start, still mixed with the shot before


def find_shots(
    small: np.ndarray, times_s: np.ndarray, duration_s: float, settings: ProbeSettings
) -> list[Shot]:
    """Divide a clip at its hard cuts and fades.

    Args:
        small: shrunk frames without borders, uint8, frames x height x width.
        times_s: of each frame.
        duration_s: end of the last shot.
        settings: thresholds.
    """
    fades = {
        fade.start_frame: fade.end_frame - fade.start_frame
        for fade in find_fades(small, times_s, settings)
    }
    cuts = [
        cut
        for cut in find_cuts(small, times_s, settings)
        if not any(start - 1 <= cut <= start + frames for start, frames in fades.items())
    ]
    starts = sorted({0, *cuts, *fades})
    ends = [*starts[1:], len(small)]
    return [
        Shot(
            start_s=float(times_s[start]),
            end_s=float(times_s[end]) if end < len(small) else duration_s,
            start_frame=start,
            end_frame=end,
            fade_frames=fades.get(start, 0),
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
