"""Which pictures of a clip a model is shown: the peak, the face, and some of the same shot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from merr_pipeline.media import frame_jpeg, read_frames
from merr_pipeline.schema import Reason, Row
from merr_pipeline.settings import MomentSettings
from merr_pipeline.stage import Work, fail

AROUND_S = 0.5
"""How far before and after the peak other frames are shown."""

NEAREST_S = 0.2
"""A frame nearer than this to one that is shown tells nothing new."""


@dataclass(frozen=True)
class Shown:
    """A picture for the model; ``offset_s`` is seconds after the frame to be described."""

    what: Literal["moment", "face", "other"]
    jpeg: bytes
    offset_s: float = 0.0


def pictures_of(work: Work, settings: MomentSettings) -> list[Shown]:
    """The frame to be described first, then the face, then others in the order of time.

    With a peak that is the peak's frame, which is not decoded again; without, the middle of the
    longest shot.

    Raises:
        NotOk: failed with ``DECODE_ERROR`` when a frame cannot be read again.
    """
    probe, moment = work.seen["probe"], work.seen["moment"] if work.ok("moment") else None
    shot = probe["shots"][moment["shot"]] if moment else longest(probe["shots"])
    times_s, inside = probe["frame_times_s"], frames_inside(shot)
    main = moment["peak_frame_index"] if moment else nearest(times_s, inside, middle_s(shot))
    others = frames_around(times_s, inside, main, middle_s(shot))
    wanted = sorted(others if moment else {main, *others})
    decoded = _jpegs(work.clip.path, wanted, settings)
    first = moment["peak_frame"] if moment else decoded[main]
    face = moment["face_crop"] if moment else None
    return [
        Shown("moment", first),
        *([Shown("face", face)] if face else []),
        *(Shown("other", decoded[i], round(times_s[i] - times_s[main], 3)) for i in sorted(others)),
    ]


def longest(shots: Sequence[Row]) -> Row:
    """The longest shot, the first of equals."""
    return max(shots, key=lambda shot: round(shot["end_s"] - shot["start_s"], 3))


def middle_s(shot: Row) -> float:
    """When the shot is half over."""
    return float(shot["start_s"] + shot["end_s"]) / 2


def frames_inside(shot: Row) -> range:
    """The frames of a shot that do not show the shot before, mixed in; at least the last."""
    first = min(shot["start_frame"] + shot["fade_frames"], shot["end_frame"] - 1)
    return range(first, shot["end_frame"])


def nearest(times_s: Sequence[float], inside: range, time_s: float) -> int:
    """The frame nearest to this time, the earlier of two."""
    return min(inside, key=lambda index: round(abs(times_s[index] - time_s), 6))


def frames_around(times_s: Sequence[float], inside: range, main: int, half_s: float) -> set[int]:
    """Up to three further frames of the shot: before, after, and its middle."""
    chosen = [main]
    for time_s in (times_s[main] - AROUND_S, times_s[main] + AROUND_S, half_s):
        index = nearest(times_s, inside, time_s)
        if all(round(abs(times_s[index] - times_s[seen]), 6) >= NEAREST_S for seen in chosen):
            chosen.append(index)
    return set(chosen[1:])


def _jpegs(path: Path, wanted: Sequence[int], settings: MomentSettings) -> dict[int, bytes]:
    """Decode up to the last wanted frame and no further; nothing where none is wanted."""
    found = dict(_read(path, wanted, settings)) if wanted else {}
    if len(found) < len(wanted):
        missing = next(index for index in wanted if index not in found)
        raise fail(Reason.DECODE_ERROR, f"frame {missing} cannot be read again")
    return found


def _read(
    path: Path, wanted: Sequence[int], settings: MomentSettings
) -> Iterator[tuple[int, bytes]]:
    with closing(read_frames(path, "rgb24", wanted[-1], from_frame=wanted[0])) as frames:
        for frame in frames:
            if frame.index in wanted:
                jpeg = frame_jpeg(frame.image, settings.frame_side_px, settings.jpeg_quality)
                yield frame.index, jpeg
