"""What encoders are shown of a clip: its peak frame, its face over time, its sound."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from merr_pipeline.media.frames import read_frames
from merr_pipeline.media.sound import read_sound
from merr_pipeline.moment.pictures import square_around
from merr_pipeline.schema import MerrError, Row
from merr_pipeline.stage import NotOk
from merr_pipeline.training.preprocessing import sound_values
from merr_pipeline.training.processing import EmotionLlamaProcessor

RATE_HZ = 16_000
LEAST_SOUND_S = 0.1
"""A shorter sound counts as none; HuBERT needs 25 ms for its first vector."""

CROPS = 16
"""Face crops of a clip, as many as VideoMAE reads; both face encoders are shown the same ones."""


class ClipMedia:
    """Values for the encoders that are asked for; what a clip has not is left out."""

    def __init__(
        self,
        processor: EmotionLlamaProcessor,
        encoders: Sequence[str],
        clips: Path | None = None,
        crops: int = CROPS,
    ) -> None:
        """Say what is wanted.

        Args:
            processor: knows the pixels of each encoder.
            encoders: of ``image``, ``face``, ``temporal`` and ``audio``.
            clips: the input folder of the build; pictures alone need none.
            crops: of the face.

        Raises:
            MerrError: faces or sounds are wanted, and nothing says where the clips are.
        """
        if clips is None and set(encoders) - {"image"}:
            raise MerrError(
                "faces and sounds are read from the clips themselves, and nothing says where they "
                "are. Give the input folder of the build, or features made before."
            )
        self._processor, self._encoders, self._clips = processor, tuple(encoders), clips
        self._crops = crops

    def values(self, clip: Row) -> dict[str, Tensor]:
        """``<encoder>_values`` of one clip, as the model's ``forward`` has them.

        Raises:
            MerrError: the clip's file is not there or cannot be read.
        """
        found: dict[str, Tensor] = {}
        if "image" in self._encoders and clip["peak_frame"]:
            picture = Image.open(io.BytesIO(clip["peak_frame"]["bytes"]))
            found["image_values"] = self._processor.picture_values("image", [picture])
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


def _sound(path: Path) -> np.ndarray:
    """Samples; none where the sound cannot be decoded, as the voice stage has found before."""
    try:
        return read_sound(path, RATE_HZ).samples
    except NotOk:
        return np.zeros(0, np.float32)


def _milliseconds(time_s: float) -> int:
    return round(float(time_s) * 1000)
