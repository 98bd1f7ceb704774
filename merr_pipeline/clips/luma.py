"""What the luma of a clip tells: light, motion, black borders.

Measured on pictures shrunk to 64 pixels width, so that it costs little beside decoding. Colour is
not seen here: two pictures of the same brightness in other colours are the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SMALL_WIDTH_PX = 64
ENOUGH_ROWS = 180
DARK_FRAME = 0.2  # a frame with a smaller mean luma is dark
NOISE_LEVELS = 2.0  # luma levels (of 255) that noise may take; empty pictures are all alike
BARS_EVERY_FRAMES = 8  # black borders are looked for in these frames
BAR_MEAN = 0.02  # a line of a border: mean luma at most this,
BAR_MAX = 0.15  # and no pixel over this (0..1; noise and ringing of the codec),
BAR_LINE_ENDS = 0.25  # in this share of a row at either end: subtitles are burned into the middle
BAR_MAX_SHARE = 0.4  # a border is never more than this share of the side


def shrink(luma: np.ndarray, luma_range: tuple[int, int]) -> np.ndarray:
    """The picture 64 pixels wide, by area means, stretched to 0 .. 255 (uint8).

    Of a tall picture only every so many rows are read: memory is what this costs.
    """
    height, width = luma.shape
    small_height = max(1, round(SMALL_WIDTH_PX * height / width))
    luma = luma[:: max(1, height // ENOUGH_ROWS)]
    while luma.shape[1] >= 4 * SMALL_WIDTH_PX and luma.shape[0] >= 2 * small_height:
        luma = _halved(luma)  # by far the fastest way to take means
    small = cv2.resize(luma, (SMALL_WIDTH_PX, small_height), interpolation=cv2.INTER_AREA)
    return small if luma_range == (0, 255) else cv2.LUT(small, _STRETCH)


def _halved(luma: np.ndarray) -> np.ndarray:
    height, width = luma.shape[0] // 2, luma.shape[1] // 2
    even = luma[: 2 * height, : 2 * width]
    return cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA)


_STRETCH = np.clip(np.round((np.arange(256) - 16) * 255 / 219), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Bars:
    """Black borders in pixels of the shown frame."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    def narrower(self, other: Bars) -> Bars:
        """What is black in both."""
        return Bars(
            min(self.top, other.top),
            min(self.bottom, other.bottom),
            min(self.left, other.left),
            min(self.right, other.right),
        )


def find_bars(luma: np.ndarray, luma_range: tuple[int, int]) -> Bars | None:
    """Black borders of one frame; None if it is black far into the picture: it tells nothing."""
    black, white = luma_range
    span = white - black
    mean_limit, limit = black + BAR_MEAN * span, black + BAR_MAX * span
    height, width = luma.shape
    rows, columns = int(height * BAR_MAX_SHARE), int(width * BAR_MAX_SHARE)
    end = max(1, int(width * BAR_LINE_ENDS))
    ends = np.hstack([luma[:, :end], luma[:, -end:]])
    top = _black_lines(ends[:rows], mean_limit, limit)
    bottom = _black_lines(ends[::-1][:rows], mean_limit, limit)
    picture = luma[top : height - bottom].T
    left = _black_lines(picture[:columns], mean_limit, limit)
    right = _black_lines(picture[::-1][:columns], mean_limit, limit)
    if rows in (top, bottom) or columns in (left, right):
        return None
    return Bars(top, bottom, left, right)


def _black_lines(lines: np.ndarray, mean_limit: float, limit: float) -> int:
    """How many lines from the first on are black."""
    if not len(lines) or lines[0].max() > limit:  # as a rule
        return 0
    black = (lines.max(axis=1) <= limit) & (lines.mean(axis=1) <= mean_limit)
    return int(len(lines) if black.all() else black.argmin())


def inside(small: np.ndarray, bars: Bars, width: int, height: int) -> np.ndarray:
    """The shrunk frames (frames x height x width) without their black borders."""
    rows, columns = small.shape[1:]
    top, bottom = -(-bars.top * rows // height), -(-bars.bottom * rows // height)
    left, right = -(-bars.left * columns // width), -(-bars.right * columns // width)
    return small[:, top : rows - bottom, left : columns - right]


@dataclass(frozen=True)
class Light:
    """Brightness of a clip, 0 (black) to 1 (white)."""

    brightness: float
    contrast: float  # mean over frames of the standard deviation
    dark_share: float  # share of frames that are dark


def measure_light(small: np.ndarray) -> Light:
    """Measure shrunk frames (frames x height x width, without borders)."""
    flat = small.reshape(len(small), -1)
    means = flat.mean(axis=1) / 255
    return Light(
        brightness=float(means.mean()),
        contrast=float(flat.std(axis=1).mean() / 255),
        dark_share=float((means.round(3) < DARK_FRAME).mean()),
    )


def differences(small: np.ndarray) -> np.ndarray:
    """Mean |luma difference| of each frame to the one before, 0 .. 1; 0 for the first frame."""
    flat = small.reshape(len(small), -1)
    found = np.zeros(len(flat))
    if len(flat) > 1:
        found[1:] = cv2.absdiff(flat[1:], flat[:-1]).mean(axis=1) / 255
    return found


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
