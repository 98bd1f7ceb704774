"""Frames as JPEG."""

from __future__ import annotations

from typing import Any

import cv2
import numpy.typing as npt

Picture = npt.NDArray[Any]
"""uint8, height x width x 3, RGB."""


def frame_jpeg(frame: Picture, side_px: int, quality: int) -> bytes:
    """The frame, its long side at most ``side_px``; a smaller one keeps its size."""
    height, width = frame.shape[:2]
    scale = side_px / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return jpeg(frame, quality)


def jpeg(picture: Picture, quality: int) -> bytes:
    """The bytes of a JPEG file."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), flags)
    return bytes(encoded.tobytes())
