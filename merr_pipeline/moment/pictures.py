"""The picture of the face, as JPEG; that of the whole frame is `media.frame_jpeg`."""

from __future__ import annotations

import cv2
import numpy as np

from merr_pipeline.media import Picture, jpeg
from merr_pipeline.schema import Row

CROP_SCALE = 1.5
"""Side of the face picture in units of the longer side of the face box: hair and chin stay in."""


def face_jpeg(frame: Picture, box: Row, side_px: int, quality: int) -> bytes:
    """A square of ``side_px`` around the face box, black where it leaves the frame."""
    square = square_around(frame, box)
    shrinks = square.shape[0] > side_px
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return jpeg(cv2.resize(square, (side_px, side_px), interpolation=how), quality)


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
