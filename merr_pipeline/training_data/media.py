"""What encoders are shown of a clip: a frame, its face over time, its sound."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from PIL import Image
from torch import Tensor

from merr_pipeline.emotion_llama.preprocessing import sound_values
from merr_pipeline.media.container import open_media
from merr_pipeline.media.frames import read_frames
from merr_pipeline.media.pictures import frame_jpeg
from merr_pipeline.media.sound import read_sound
from merr_pipeline.moment.pictures import square_around
from merr_pipeline.schema import MerrError, Row
from merr_pipeline.stage import NotOk

RATE_HZ = 16_000
LEAST_SOUND_S = 0.1
"""A shorter sound counts as none; HuBERT needs 25 ms for its first vector."""

CROPS = 16
"""Face crops of a clip, as many as VideoMAE reads; both face encoders are shown the same ones."""

PICTURE_PX, PICTURE_QUALITY = 448, 90
"""Of frames that are not the peak: as the pictures of a dataset, so that they can be compared."""

WhichFrame = Literal["peak", "first", "middle", "random", "several"]
"""``several``: the peak, then others evenly over the clip, in all as many as the layout has."""

_BETWEEN_JPEGS = re.compile(rb"(?<=\xff\xd9)(?=\xff\xd8)")  # in its data a JPEG has neither


def name_of_frames(frame: WhichFrame, pictures: int) -> str:
    """What a cache calls them: four frames are other ones than three."""
    return f"{frame}, {pictures}," if frame == "several" else frame


class MakesValues(Protocol):
    """The part of a processor that knows the pixels of each encoder."""

    def picture_values(self, name: str, pictures: Sequence[Image.Image]) -> Tensor:
        """``[pictures, 3, height, width]``."""


class ClipMedia:
    """Values for the encoders that are asked for; what a clip has not is left out."""

    def __init__(
        self,
        processor: MakesValues,
        encoders: Sequence[str],
        clips: Path | None = None,
        crops: int = CROPS,
        frame: WhichFrame = "peak",
        picture: Callable[[Row], bytes | None] | None = None,
        pictures: int = 1,
    ) -> None:
        """Say what is wanted.

        Args:
            processor: knows the pixels of each encoder.
            encoders: of ``image``, ``face``, ``temporal`` and ``audio``.
            clips: the input folder of the build; pictures of the peak alone need none.
            crops: of the face.
            frame: the picture; all but the peak, which the dataset has, are read from the clips.
            picture: gives what `picture` gives, in place of dataset and clips.
            pictures: of a clip, where the frame is ``several``.

        Raises:
            MerrError: something of the clips is wanted, and nothing says where they are; or several
                frames are wanted for a layout of one.
        """
        if frame == "several" and pictures < 2:
            raise MerrError(
                "data.frame=several is for a layout of several pictures: set model.layout=modern."
            )
        from_clips = set(encoders) - {"image"}
        if "image" in encoders and frame != "peak" and picture is None:
            from_clips.add(f"{frame} frames")
        if clips is None and from_clips:
            raise MerrError(
                f"{', '.join(sorted(from_clips))}: these are read from the clips themselves, and "
                "nothing says where they are. Give the input folder of the build (data.clips), or "
                "features made before (data.features)."
            )
        self._processor, self._encoders, self._clips = processor, tuple(encoders), clips
        self._crops, self._frame, self._given = crops, frame, picture
        self._pictures = pictures

    def values(self, clip: Row) -> dict[str, Tensor]:
        """``<encoder>_values`` of one clip, as the model's ``forward`` has them.

        Raises:
            MerrError: the clip's file is not there or cannot be read.
        """
        found: dict[str, Tensor] = {}
        if "image" in self._encoders and (jpeg := self.picture(clip)):
            frames = [Image.open(io.BytesIO(one)) for one in _BETWEEN_JPEGS.split(jpeg)]
            found["image_values"] = self._processor.picture_values("image", frames)
        faces = [name for name in ("face", "temporal") if name in self._encoders]
        if faces and clip["face_track"]:
            pictures = face_crops(self._path(clip), clip["face_track"], self._crops)
            for name in faces:
                found[f"{name}_values"] = self._processor.picture_values(name, pictures)
        if "audio" in self._encoders and clip["has_sound"]:
            samples = _sound(self._path(clip))
            if len(samples) >= LEAST_SOUND_S * RATE_HZ:
                found["audio_values"] = sound_values(samples)
        return found

    def picture(self, clip: Row) -> bytes | None:
        """The JPEG of the frame that is shown, or several one behind another (motion JPEG).

        None where a clip has no peak, if that is wanted.

        Raises:
            MerrError: the clip's file is not there or cannot be read.
        """
        if self._given:
            return self._given(clip)
        peak: bytes | None = clip["peak_frame"]["bytes"] if clip["peak_frame"] else None
        if self._frame == "peak" or (self._frame == "several" and peak is None):
            return peak
        if self._frame == "several":
            others = frames_over(self._path(clip), self._pictures - 1, clip["frame_count"])
            return b"".join([peak or b"", *others])
        return frame_of(self._path(clip), self._frame, clip["clip_id"], clip["frame_count"])

    def _path(self, clip: Row) -> Path:
        if self._clips is None or clip["media_path"] is None:
            raise MerrError(f"of {clip['clip_id']} no file is known.")
        path = self._clips / str(clip["media_path"])
        if not path.is_file():
            raise MerrError(f"{path} is not there. Give the input folder of the build.")
        return path


def face_crops(path: Path, track: Sequence[Row], count: int) -> list[Image.Image]:
    """``count`` squares around the face, evenly over its track, in one pass over the clip.

    A track of fewer points has some crops twice.

    Raises:
        MerrError: the clip cannot be read, or is not the one that the track was made of.
    """
    steps = np.linspace(0, len(track) - 1, count).round().astype(int)
    points = [track[step] for step in steps]
    boxes = {_milliseconds(point["time_s"]): point["box"] for point in points}
    seen: dict[int, Image.Image] = {}
    try:
        for frame in read_frames(path, "rgb24"):
            time_ms = _milliseconds(frame.time_s)
            if time_ms in boxes:
                seen[time_ms] = Image.fromarray(square_around(frame.image, boxes[time_ms]))
            if len(seen) == len(boxes):
                break
    except NotOk as error:
        raise MerrError(f"{path} cannot be read: {error}") from error
    if lost := sorted(set(boxes) - set(seen)):
        raise MerrError(f"{path} has no frame at {lost[0]} ms: it is not the clip of the dataset.")
    return [seen[_milliseconds(point["time_s"])] for point in points]


def frame_of(path: Path, which: WhichFrame, clip_id: str, frame_count: int | None) -> bytes:
    """A frame of a clip as JPEG: the first, the middle, or one that the hash of the id chooses.

    Raises:
        MerrError: the clip cannot be read, or is shorter than ``frame_count``.
    """
    try:
        count = frame_count or _counted(path)
        drawn = int.from_bytes(hashlib.sha256(clip_id.encode()).digest()[:8]) % count
        index = {"first": 0, "middle": count // 2}.get(which, drawn)
        frames = list(read_frames(path, "rgb24", until_frame=index, from_frame=index))
    except NotOk as error:
        raise MerrError(f"{path} cannot be read: {error}") from error
    if not frames:
        raise MerrError(f"{path} has no frame {index}: it is not the clip of the dataset.")
    return frame_jpeg(frames[0].image, PICTURE_PX, PICTURE_QUALITY)


def frames_over(path: Path, count: int, frame_count: int | None) -> list[bytes]:
    """Frames of a clip as JPEG: the middles of so many equal parts, in the order of time.

    A clip of fewer frames has some twice.

    Raises:
        MerrError: the clip cannot be read, or is shorter than ``frame_count``.
    """
    try:
        length = frame_count or _counted(path)
        wanted = [(2 * number + 1) * length // (2 * count) for number in range(count)]
        seen = {
            frame.index: frame_jpeg(frame.image, PICTURE_PX, PICTURE_QUALITY)
            for frame in read_frames(path, "rgb24", until_frame=wanted[-1], from_frame=wanted[0])
            if frame.index in wanted
        }
    except NotOk as error:
        raise MerrError(f"{path} cannot be read: {error}") from error
    if lost := sorted(set(wanted) - set(seen)):
        raise MerrError(f"{path} has no frame {lost[0]}: it is not the clip of the dataset.")
    return [seen[index] for index in wanted]


def _counted(path: Path) -> int:
    return sum(1 for _ in read_frames(path, "luma"))


def _sound(path: Path) -> np.ndarray:
    """Samples; none where the sound cannot be decoded, as the voice stage has found before.

    Raises:
        MerrError: the file is no clip at all, which no build would have taken.
    """
    try:
        return read_sound(path, RATE_HZ).samples
    except NotOk:
        try:
            with open_media(path):
                return np.zeros(0, np.float32)
        except NotOk as error:
            raise MerrError(f"{path} cannot be read: {error}") from error


def _milliseconds(time_s: float) -> int:
    return round(float(time_s) * 1000)
