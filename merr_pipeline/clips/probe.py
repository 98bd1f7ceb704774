"""Watch a clip once, in luma: its frame times, shots, light, motion, and what the file is.

Reads the media file alone. Every later stage takes frame times, shots and black borders from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import av
import cv2
import numpy as np

from merr_pipeline.clips.header import end_s, find_flags, read_header
from merr_pipeline.clips.likeness import picture_hashes
from merr_pipeline.clips.luma import (
    BARS_EVERY_FRAMES,
    Bars,
    differences,
    find_bars,
    inside,
    measure_light,
    shrink,
)
from merr_pipeline.clips.shots import Shot, find_shots
from merr_pipeline.media import Frame, Frames, decode_frames, open_media, video_stream
from merr_pipeline.schema import PROBE, Reason, Row
from merr_pipeline.settings import Settings
from merr_pipeline.stage import Identity, Stage, Work, each, fail, skip


class ProbeStage(Stage):
    """The first stage: later ones run only on clips that pass it."""

    name = "probe"
    schema = PROBE

    def __init__(self, settings: Settings) -> None:
        self.settings = settings.probe

    def identity(self) -> Identity:
        """Decoder and picture library by version; all thresholds."""
        return Identity(
            stage=self.name,
            version=5,
            tool="pyav",
            tool_version=f"{av.__version__}, opencv {cv2.__version__}, numpy {np.__version__}",
            settings=self.settings.model_dump(mode="json"),
        )

    def annotate(self, batch: Sequence[Work]) -> list[Row]:
        """One row per clip."""
        return each(batch, self.annotate_one)

    def annotate_one(self, work: Work) -> Row:
        """Container facts and luma measures of one clip.

        Raises:
            NotOk: the file cannot be read, shows nothing, or is too long, too small or too large.
        """
        with open_media(work.clip.path) as container:
            facts = container_facts(container)
            self._refuse_by_header(container)
            frames = decode_frames(container, "luma")
            watched = self._watch(frames)
            header = read_header(container)
        good, broken = len(watched.times_s), frames.broken_frames
        if broken > good:
            raise fail(Reason.DECODE_ERROR, f"{broken} broken, {good} good frames")
        return {
            **facts,
            "broken_frames": broken,
            **self._measures(watched, facts["has_sound"], header.longest_s),
            "flags": find_flags(header, watched.times_s, frames.lost),
        }

    def _refuse_by_header(self, container: Any) -> None:
        """Before anything is decoded."""
        stream: Any = video_stream(container)
        self._refuse_size(stream.width, stream.height)
        if container.duration is not None:
            self._refuse_length(container.duration / av.time_base)

    def _refuse_size(self, width: int, height: int) -> None:
        settings = self.settings
        if not width or not height:
            return  # not in the header; seen at the first frame
        if width * height > settings.max_pixels:
            most = f"probe.max_pixels is {settings.max_pixels}"
            raise skip(Reason.TOO_LARGE, f"{width} x {height}; {most}")
        if min(width, height) < settings.min_side_px:
            least = f"probe.min_side_px is {settings.min_side_px}"
            raise skip(Reason.TOO_SMALL, f"{width} x {height}; {least}")

    def _refuse_length(self, seconds: float) -> None:
        if round(seconds, 3) > self.settings.max_duration_s:
            most = f"probe.max_duration_s is {self.settings.max_duration_s:g}"
            raise skip(Reason.TOO_LONG, f"{round(seconds, 3)} s or more; {most}")

    def _watch(self, frames: Frames) -> Watched:
        """Decode all of it, keeping of each frame its time and a small picture."""
        small: list[np.ndarray] = []
        times_s: list[float] = []
        bars: Bars | None = None
        first: Frame | None = None
        for frame in frames:
            if first is None:
                first = frame
                self._refuse_size(frame.image.shape[1], frame.image.shape[0])
            self._refuse_length(frame.time_s)
            small.append(shrink(frame.image, frame.luma_range))
            times_s.append(frame.time_s)
            if frame.index % BARS_EVERY_FRAMES == 0:
                found = find_bars(frame.image, frame.luma_range)
                bars = found if bars is None else bars.narrower(found) if found else bars
        assert first is not None  # decode_frames raises when there is no frame
        height, width = first.image.shape
        return Watched(
            width=width,
            height=height,
            rotation_deg=first.turn.clockwise_deg,
            times_s=np.array(times_s),
            small=_one_size(small),
            bars=bars or Bars(),
        )

    def _measures(self, watched: Watched, has_sound: bool, header_s: float) -> Row:
        times_s, count = watched.times_s, len(watched.times_s)
        span_s = float(times_s[-1])
        is_still = count == 1 and not has_sound
        # one picture lasts as long as its sound; without sound, no time at all
        alone_s = 0.0 if is_still else header_s
        duration_s = end_s(times_s) if count > 1 else alone_s
        picture = inside(watched.small, watched.bars, watched.width, watched.height)
        shots = find_shots(picture, times_s, duration_s, self.settings)
        return {
            "kind": "still" if is_still else "video",
            "duration_s": duration_s,
            "fps": (count - 1) / span_s if count > 1 else None,
            "width": watched.width,
            "height": watched.height,
            "rotation_deg": watched.rotation_deg,
            "frame_count": count,
            "frame_times_s": times_s,
            "shots": [asdict(shot) for shot in shots],
            **asdict(measure_light(picture)),
            "motion": motion(picture, shots),
            "bars": asdict(watched.bars),
            "picture_hashes": picture_hashes(picture, times_s),
        }


@dataclass(frozen=True)
class Watched:
    """What is kept of a clip while it is decoded."""

    width: int  # as shown
    height: int
    rotation_deg: int  # clockwise, done to the stored picture
    times_s: np.ndarray
    small: np.ndarray  # frames x height x width, uint8
    bars: Bars


def container_facts(container: Any) -> Row:
    """What the header says of container, codecs and sound.

    Raises:
        NotOk: skipped with ``NO_VIDEO`` when there is no picture but a cover; failed with
            ``DECODE_ERROR`` when nobody here knows its codec.
    """
    video, sound = video_stream(container), container.streams.best("audio")
    if video is None:
        raise skip(Reason.NO_VIDEO)
    if video.codec_context is None:
        raise fail(Reason.DECODE_ERROR, "no decoder for this video codec")
    known = sound is not None and sound.codec_context is not None  # else its facts are not there
    return {
        "container": container.format.name,
        "video_codec": _codec(video),
        "has_sound": sound is not None,
        "sound_codec": _codec(sound),
        "sound_rate_hz": sound.sample_rate if known else None,
        "sound_channels": sound.channels if known else None,
        "subtitle_streams": len(container.streams.subtitles),
    }


def _codec(stream: Any | None) -> str | None:
    """Name of the codec (``av1``), not of the decoder (``libdav1d``); null if unknown."""
    if stream is None or stream.codec_context is None:
        return None
    return str(stream.codec_context.codec.canonical_name)


def motion(small: np.ndarray, shots: Sequence[Shot]) -> float | None:
    """Mean |luma difference| of neighbouring frames within shots; null if there are none."""
    change = differences(small)
    neighbours = np.ones(len(small), bool)
    for shot in shots:
        neighbours[shot.start_frame : shot.start_frame + shot.fade_frames + 1] = False
    return float(change[neighbours].mean()) if neighbours.any() else None


def _one_size(small: list[np.ndarray]) -> np.ndarray:
    """Stack shrunk frames; where the picture changes its shape in mid clip, as the first one."""
    height, width = small[0].shape
    return np.stack(
        [p if p.shape == (height, width) else cv2.resize(p, (width, height)) for p in small]
    )
