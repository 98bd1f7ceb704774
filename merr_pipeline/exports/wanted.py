"""What a user asks of an export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from merr_pipeline.schema import SPLITS, MerrError

SUBSETS = ("coarse", "fine")
SHOWN = 5  # names that a message tells before it counts the rest


class Media(StrEnum):
    """What becomes of the clips themselves."""

    COPY = "copy"  # into the folder, which then needs nothing else
    LINK = "link"  # symbolic links to the input folder; sound is written as WAV
    PATH = "path"  # nothing is written; the rows name the files of the input folder


@dataclass(frozen=True)
class Wanted:
    """Which part of a dataset, and what of its pictures and clips goes with it."""

    splits: tuple[str, ...] = SPLITS
    subsets: tuple[str, ...] = SUBSETS
    media: Media = Media.COPY
    images: bool = True  # False: nothing that shows or lets hear a person is written
    clips: Path | None = None  # the input folder, to which `media_path` is relative
    without_labels: frozenset[str] = frozenset()


def make_wanted(
    clips: Path | None,
    media: str,
    images: bool,
    splits: Sequence[str],
    subsets: Sequence[str],
    without_labels: Sequence[str],
) -> Wanted:
    """From words on a command line; nothing named is all of it.

    Raises:
        MerrError: a word is none of those known.
    """
    _check("--split", splits, SPLITS)
    _check("--subset", subsets, SUBSETS)
    _check("--media", [media], [one.value for one in Media])
    return Wanted(
        splits=tuple(splits) or SPLITS,
        subsets=tuple(s for s in SUBSETS if s in subsets) or SUBSETS,
        media=Media(media),
        images=images,
        clips=clips,
        without_labels=frozenset(without_labels),
    )


def _check(option: str, words: Sequence[str], known: Sequence[str]) -> None:
    for word in words:
        if word not in known:
            raise MerrError(f"{option} {word}: there is {', '.join(known)}.")


def named(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
