"""The clips that an export needs: found before anything is written, then copied, linked or named.

Trainers read sound from WAV more surely than from a film, so copies and links come with a mono WAV
of 16 kHz, the rate at which all of them listen.
"""

from __future__ import annotations

import shutil
import wave
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from merr_pipeline.exports.wanted import Media, Wanted, named
from merr_pipeline.media.sound import read_sound
from merr_pipeline.schema import MerrError, Reason, Row
from merr_pipeline.stage import NotOk

RATE_HZ = 16_000
FOLDER = "media"


@dataclass(frozen=True)
class Placed:
    """What the rows of one clip name; relative to the export's folder, or absolute paths."""

    image: str | None = None
    video: str | None = None
    audio: str | None = None

    @property
    def tags(self) -> str:
        """As trainers want them before the question, one for each medium."""
        parts = (("<image>", self.image), ("<video>", self.video), ("<audio>", self.audio))
        return "".join(tag for tag, path in parts if path)


def check_media(clips: Iterable[Row], wanted: Wanted) -> None:
    """Raise MerrError, naming the first, unless every clip's file is there."""
    rows = list(clips)
    if unknown := [row["clip_id"] for row in rows if row["media_path"] is None]:
        raise MerrError(
            f"of {len(unknown)} clips no file is known: {named(unknown)}.\n"
            "They were imported without clips: import again with --clips FOLDER, or export "
            "with --no-images, which writes the texts alone."
        )
    if wanted.clips is None:
        raise MerrError(
            "the clips' own files are needed, and nothing says where they are.\n"
            "Give the input folder of the build (--clips FOLDER), or say --no-images."
        )
    lost = [row["media_path"] for row in rows if not (wanted.clips / row["media_path"]).is_file()]
    if lost:
        raise MerrError(
            f"{len(lost)} of {len(rows)} files are not in {wanted.clips}: {named(lost)}.\n"
            "Nothing was written. Give the input folder of the build (--clips FOLDER)."
        )


class MediaWriter:
    """Puts the media of clips into the folder of an export."""

    def __init__(self, folder: Path, wanted: Wanted, names: Mapping[str, str]) -> None:
        self._folder, self._wanted, self._names = folder, wanted, names
        self.silent = 0  # clips whose sound could not be read

    def place(self, clip: Row) -> Placed:
        """Copy, link or only name what belongs to a clip; see `Media`."""
        if not self._wanted.images or self._wanted.clips is None:
            return Placed()
        source = (self._wanted.clips / clip["media_path"]).absolute()
        if self._wanted.media is Media.PATH:
            return self._named(clip, source)
        name = f"{FOLDER}/{self._names[clip['clip_id']]}"
        shown = f"{name}{source.suffix.lower()}"
        put(source, self._folder / shown, self._wanted.media)
        if clip["kind"] == "still":
            return Placed(image=shown)
        return Placed(video=shown, audio=self._write_sound(clip, source, f"{name}.wav"))

    def _named(self, clip: Row, source: Path) -> Placed:
        if clip["kind"] == "still":
            return Placed(image=str(source))
        return Placed(video=str(source), audio=None if clip["has_sound"] is False else str(source))

    def _write_sound(self, clip: Row, source: Path, name: str) -> str | None:
        if clip["has_sound"] is False:
            return None
        try:
            samples = read_sound(source, RATE_HZ).samples
        except NotOk as error:
            self.silent += error.reason != Reason.NO_AUDIO_STREAM
            return None
        with wave.open(str(self._folder / name), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE_HZ)
            file.writeframes((np.clip(samples, -1, 1) * 32767).round().astype("<i2").tobytes())
        return name


def put(source: Path, target: Path, media: Media) -> None:
    """Copy a file, or link to it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if media is Media.LINK:
        target.symlink_to(source)
    else:
        shutil.copyfile(source, target)
