"""Frames in the order in which they are shown, with their own times, turned upright."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from merr_pipeline.media.container import Lost, decode, open_media, packets, video_stream
from merr_pipeline.schema import Reason
from merr_pipeline.stage import fail, skip

Pixels = Literal["luma", "gray", "rgb24", "bgr24"]


@dataclass(frozen=True)
class Frame:
    """One decoded frame, turned the way it is shown.

    ``index`` counts decoded frames from 0. ``time_s`` is seconds since the first frame.
    ``image`` is uint8, height x width for ``gray`` and ``luma``, else height x width x 3; ``turn``
    is what was done to it. ``luma_range`` is black and white of a ``luma`` image, else (0, 255).
    """

    index: int
    time_s: float
    image: np.ndarray
    turn: Turn
    luma_range: tuple[int, int] = (0, 255)


@dataclass(frozen=True)
class Turn:
    """How a stored picture becomes the shown one: quarter turns clockwise, then a mirror."""

    clockwise_deg: int = 0
    mirrored: bool = False

    def apply(self, image: np.ndarray) -> np.ndarray:
        """The shown picture (a copy only where it changes something)."""
        if self == Turn():
            return image
        turned = np.rot90(image, -self.clockwise_deg // 90)
        return np.ascontiguousarray(turned[:, ::-1] if self.mirrored else turned)


class Frames(Iterator[Frame]):
    """The frames of a clip, one after another; `lost` counts what had to be left out so far."""

    def __init__(self, frames: Generator[Frame], lost: Lost) -> None:
        self._frames, self.lost = frames, lost

    @property
    def broken_frames(self) -> int:
        """Frames lost to decode errors so far."""
        return self.lost.broken

    def __next__(self) -> Frame:
        return next(self._frames)

    def close(self) -> None:
        """Close the file before the last frame is read."""
        self._frames.close()


def read_frames(
    path: Path, pixels: Pixels = "gray", until_frame: int | None = None, from_frame: int = 0
) -> Frames:
    """Yield the frames of a clip in the order they are shown, up to index ``until_frame`` included.

    Those before ``from_frame`` are decoded (nothing seeks), yet neither converted nor given out.
    A picture is a clip of one frame. Frames that cannot be decoded are counted, not raised.
    ``gray`` is luma from 0 to 255. ``luma`` is the stored plane as it is, which costs nothing:
    see `Frame.luma_range`.

    Raises:
        NotOk: as `open_media`; skipped with ``NO_VIDEO`` when there is nothing to see, failed with
            ``DECODE_ERROR`` when not one frame can be decoded. Raised at the first ``next``.
    """
    lost = Lost()
    return Frames(_read(path, pixels, from_frame, until_frame, lost), lost)


def decode_frames(container: Any, pixels: Pixels = "gray") -> Frames:
    """As `read_frames`, from a container that `open_media` gave."""
    lost = Lost()
    return Frames(_decode_all(container, pixels, 0, None, lost), lost)


def _read(
    path: Path, pixels: Pixels, from_frame: int, until_frame: int | None, lost: Lost
) -> Generator[Frame]:
    with open_media(path) as container:
        yield from _decode_all(container, pixels, from_frame, until_frame, lost)


def _decode_all(
    container: Any, pixels: Pixels, from_frame: int, until_frame: int | None, lost: Lost
) -> Generator[Frame]:
    stream = video_stream(container)
    if stream is None:
        raise skip(Reason.NO_VIDEO)
    if stream.codec_context is None:
        raise fail(Reason.DECODE_ERROR, "no decoder for this video codec")
    clock, turn, index = _Clock(stream, lost), None, 0
    for packet in packets(container, [stream], lost):
        for decoded in decode(packet, lost):
            turn = turn or _turn(decoded)
            time_s = clock.time_s(decoded)
            if index >= from_frame:
                yield _frame(decoded, index, time_s, pixels, turn)
            if index == until_frame:
                return
            index += 1
    if index == 0:
        raise fail(Reason.DECODE_ERROR, f"no frame could be decoded, {lost.broken} broken packets")


class _Clock:
    """Times of frames since the first; a frame without a later time than the last gets one."""

    def __init__(self, stream: Any, lost: Lost) -> None:
        rate = stream.average_rate or stream.guessed_rate or 25
        self._step_s, self._lost = float(1 / rate), lost
        self._zero_s: float | None = None
        self._last_s = -math.inf

    def time_s(self, decoded: Any) -> float:
        raw_s = decoded.time
        if self._zero_s is None:
            self._zero_s = raw_s or 0.0
            self._lost.guessed_times += raw_s is None
            self._last_s = 0.0
            return 0.0
        if raw_s is None or raw_s - self._zero_s <= self._last_s:
            self._lost.guessed_times += 1
            self._last_s += self._step_s
        else:
            self._last_s = raw_s - self._zero_s
        return self._last_s


def _frame(decoded: Any, index: int, time_s: float, pixels: Pixels, turn: Turn) -> Frame:
    if pixels == "luma":
        image, luma_range = _luma(decoded)
        return Frame(index, time_s, turn.apply(image), turn, luma_range)
    return Frame(index, time_s, turn.apply(decoded.to_ndarray(format=pixels)), turn)


FULL_RANGE = 2  # AVCOL_RANGE_JPEG
PLANES_OF_LUMA = ("yuv4", "yuvj4", "yuva4", "nv12", "nv21", "nv16", "nv24", "gray")


def _luma(decoded: Any) -> tuple[np.ndarray, tuple[int, int]]:
    """The stored luma as bytes, where it is a plane of its own; otherwise a conversion to gray."""
    name, bits = decoded.format.name, decoded.format.components[0].bits
    if not name.startswith(PLANES_OF_LUMA) or name.endswith("be"):
        return decoded.to_ndarray(format="gray"), (0, 255)
    plane, width = decoded.planes[0], decoded.width
    kind = np.dtype(np.uint8 if bits == 8 else np.uint16)
    rows = np.frombuffer(plane, kind).reshape(-1, plane.line_size // kind.itemsize)
    luma = rows[: decoded.height, :width]
    if bits > 8:
        luma = cv2.convertScaleAbs(luma, alpha=2.0 ** (8 - bits))
    full = name.startswith(("yuvj", "gray")) or decoded.color_range == FULL_RANGE
    return luma, (0, 255) if full else (16, 235)


def _turn(decoded: Any) -> Turn:
    """The turn and mirror of the frame's display matrix; it holds for the whole clip."""
    try:
        side_data = decoded.side_data
    except ValueError:  # PyAV 18 does not know the EXIF block of pictures; it knows their turn
        return Turn(round(-decoded.rotation / 90) % 4 * 90)
    if "DISPLAYMATRIX" not in {item.type.name for item in side_data}:
        return Turn()
    matrix = np.frombuffer(side_data["DISPLAYMATRIX"], np.int32)
    a, b, c, d = (float(matrix[place]) for place in (0, 1, 3, 4))
    mirrored = a * d < b * c
    if mirrored:  # the mirror is applied last, so it is undone first
        a = -a
    return Turn(round(math.degrees(math.atan2(b, a)) / 90) % 4 * 90, mirrored)
