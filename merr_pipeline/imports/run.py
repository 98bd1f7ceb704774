"""One import from end to end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from merr_pipeline.imports import emer, emotion_llama, mer_factory
from merr_pipeline.imports.found import Found
from merr_pipeline.imports.write import write_dataset
from merr_pipeline.schema import SPLITS, MerrError

FORMATS: dict[str, Callable[[Sequence[Path]], Found]] = {
    "emotion-llama": emotion_llama.read,
    "mer-factory": mer_factory.read,
    "emer": emer.read,
}


def import_files(
    name: str, paths: Sequence[Path], to: Path, split: str = "train", clips: Path | None = None
) -> Found:
    """Read files in one of `FORMATS` and write ``<to>/dataset``; gives what was read.

    Raises:
        MerrError: there is no such format or split, a file cannot be read, ``to`` holds a build.
    """
    if name not in FORMATS:
        raise MerrError(f"there is no import {name!r}; there are {', '.join(FORMATS)}.")
    if split not in SPLITS:
        raise MerrError(f"--split {split}: there is {', '.join(SPLITS)}.")
    if lost := [path for path in paths if not path.exists()]:
        raise MerrError(f"{', '.join(map(str, lost))}: not there.")
    if clips is not None and not clips.is_dir():
        raise MerrError(f"--clips {clips} is not a folder.")
    found = FORMATS[name](paths)
    write_dataset(found, to, split, clips)
    return found
