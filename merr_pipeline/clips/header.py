"""What the header of a clip promises of its picture, and the flags where the picture differs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import av
import numpy as np

from merr_pipeline.media import Lost, video_stream

MISSING_SHARE = 0.05  # of the promised length; rounding of headers stays far under it
SQUARE_WITHIN = 0.01  # encoders round sizes: 1105 to 1104 is square

_DURATION_TAG = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


@dataclass(frozen=True)
class Header:
    """What the container says before anything is decoded; None where it says nothing."""

    longest_s: float  # of all streams; 0 where it is not known
    picture_s: float | None
    frames: int | None
    pixel_aspect: float  # width to height of one pixel as it is shown


def read_header(container: Any) -> Header:
    """The promises of an open container that has a picture."""
    stream: Any = video_stream(container)
    longest_s = (container.duration or 0) / av.time_base
    return Header(
        longest_s=longest_s,
        picture_s=_picture_s(container, stream, longest_s),
        frames=stream.frames or None,
        pixel_aspect=float(stream.sample_aspect_ratio or 1),
    )


def _picture_s(container: Any, stream: Any, longest_s: float) -> float | None:
    """Length of the picture alone, for sound may be longer.

    Where a container neither counts frames nor has Matroska's tag, FFmpeg gives each stream the
    length of the longest.
    """
    if tag := _DURATION_TAG.fullmatch(stream.metadata.get("DURATION", "")):
        return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])
    if stream.duration is not None and stream.frames:
        return float(stream.duration * stream.time_base)
    return longest_s or None if len(container.streams) == 1 else None


def end_s(times_s: np.ndarray) -> float:
    """When the last of several frames ends, if it is shown as long as is usual in the clip."""
    return float(times_s[-1]) + float(np.median(np.diff(times_s)))


def find_flags(header: Header, times_s: np.ndarray, lost: Lost) -> list[str]:
    """What a user should know of a picture that was decoded all the same.

    ``broken_frames=N``, ``guessed_times=N``, ``shorter_than_header``, ``non_square_pixels``.
    """
    guessed = lost.guessed_times if len(times_s) > 1 else 0  # one picture needs no time
    found = {
        f"broken_frames={lost.broken}": lost.broken > 0,
        f"guessed_times={guessed}": guessed > 0,
        "shorter_than_header": _is_cut_off(header, times_s),
        "non_square_pixels": abs(header.pixel_aspect - 1) > SQUARE_WITHIN,
    }
    return [flag for flag, is_so in found.items() if is_so]


def _is_cut_off(header: Header, times_s: np.ndarray) -> bool:
    """Whether clearly less was decoded than was promised, in time and (if counted) in frames.

    Either alone is no sign: the last frame may be shown for long, and edit lists hide frames.
    """
    if header.frames is not None and len(times_s) >= header.frames:
        return False
    if len(times_s) == 1:
        return header.frames is not None
    if header.picture_s is None:
        return False
    return round(end_s(times_s), 3) < round((1 - MISSING_SHARE) * header.picture_s, 3)
