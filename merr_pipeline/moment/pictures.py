"""The two pictures of a moment, as JPEG: the whole frame, and the face."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from merr_pipeline.schema import Row

Picture = npt.NDArray[Any]
"""uint8, height x width x 3, RGB."""

CROP_SCALE = 1.5
"""Side of the face picture in units of the longer side of the face box: hair and chin stay in."""


def frame_jpeg(frame: Picture, side_px: int, quality: int) -> bytes:
    """The frame, its long side at most ``side_px``; a smaller one keeps its size."""
    height, width = frame.shape[:2]
    scale = side_px / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return _jpeg(frame, quality)


def face_jpeg(frame: Picture, box: Row, side_px: int, quality: int) -> bytes:
    """A square of ``side_px`` around the face box, black where it leaves the frame."""
    square = square_around(frame, box)
    shrinks = square.shape[0] > side_px
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return _jpeg(cv2.resize(square, (side_px, side_px), interpolation=how), quality)


def square_around(frame: Picture, box: Row) -> Picture:
    """Cut a square with the box in its middle, `CROP_SCALE` times its longer side."""
    side = max(1, round(CROP_SCALE * max(box["width"], box["height"])))
    left = round(box["x"] + box["width"] / 2 - side / 2)
    top = round(box["y"] + box["height"] / 2 - side / 2)
    height, width = frame.shape[:2]
    square = np.zeros((side, side, 3), dtype=np.uint8)
    x0, x1 = max(0, left), min(width, left + side)
    y0, y1 = max(0, top), min(height, top + side)
    if x0 < x1 and y0 < y1:
        square[y0 - top : y1 - top, x0 - left : x1 - left] = frame[y0:y1, x0:x1]
    return square


def _jpeg(picture: Picture, quality: int) -> bytes:
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), flags)
    return bytes(encoded.tobytes())
