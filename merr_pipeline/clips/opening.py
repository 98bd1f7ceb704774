"""One row of a manifest, opened: a clip, or the reason why its path leads to none."""

from __future__ import annotations

import errno
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from merr_pipeline.clips.hashes import HashMemory, stamp_of
from merr_pipeline.clips.tables import COLUMNS
from merr_pipeline.schema import SPLITS, Clip, ClipId, Reason, Refusal

FACTS = tuple(name for name in COLUMNS if name not in {"clip_id", "path"})
SPLIT_NAMES = {name: name for name in SPLITS} | {"val": "validation", "dev": "validation"}


def open_row(root: Path, row: dict[str, Any], number: int, hashes: HashMemory) -> Clip | Refusal:
    """The clip of a row, whose bytes are hashed; ``number`` counts rows from 1."""
    if row.get("path") is None:
        return refuse(row, number, Reason.NOT_FOUND, _why_no_path(row))
    split = SPLIT_NAMES.get(str(row.get("split", "train")).lower())
    if split is None:
        detail = f"split {row['split']!r} is none of {', '.join(SPLITS)}"
        return refuse(row, number, Reason.UNKNOWN_SPLIT, detail)
    offset_s = _seconds(row.get("source_offset_s"))
    if offset_s is not None and not math.isfinite(offset_s):
        detail = f"source_offset_s {row['source_offset_s']!r} is no number of seconds"
        return refuse(row, number, Reason.BAD_OFFSET, detail)
    try:
        path, media_path = _inside(root, row["path"])
        if media_path is None:
            return refuse(row, number, Reason.OUTSIDE_ROOT, "the path leaves the input folder")
        media_path.encode()
        if not path.is_file():
            return refuse(row, number, *_why_no_file(path))
        stamp = stamp_of(path)  # first: a change while it is hashed must show
        sha256 = hashes.sha256(path, media_path)
    except FileNotFoundError:  # it went away just now
        return refuse(row, number, Reason.NOT_FOUND, "there is no file at this path")
    except OSError as error:
        impossible = error.errno == errno.ENAMETOOLONG
        reason = Reason.BAD_PATH if impossible else Reason.UNREADABLE
        return refuse(row, number, reason, f"the file cannot be read: {error.strerror}")
    except UnicodeEncodeError:
        return refuse(row, number, Reason.BAD_PATH, "the name is not UTF-8; rename it")
    except ValueError as error:  # a null character
        return refuse(row, number, Reason.BAD_PATH, plain(str(error)))
    facts: dict[str, Any] = {name: row.get(name) for name in FACTS} | {"source_offset_s": offset_s}
    if facts["split"] is not None:
        facts["split"] = split
    return Clip(ClipId(row["clip_id"]), path, media_path, sha256, stamp=stamp, **facts)


def _seconds(cell: str | None) -> float | None:
    """The number in a cell; NaN where there is something else in it."""
    try:
        return None if cell is None else float(cell)
    except ValueError:
        return math.nan


def _inside(root: Path, given: str) -> tuple[Path, str | None]:
    """The absolute path, and its place under the root (None when it is not under it)."""
    path = Path(os.path.normpath(root / given))
    return path, path.relative_to(root).as_posix() if path.is_relative_to(root) else None


KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def _why_no_file(path: Path) -> tuple[Reason, str]:
    try:
        kind = KINDS.get(stat.S_IFMT(path.stat().st_mode), "something else")
    except OSError as error:
        if path.is_symlink():
            where = "in a circle" if error.errno == errno.ELOOP else "to nothing"
            return Reason.NOT_FOUND, f"a link at this path leads {where}"
        return Reason.NOT_FOUND, "there is no file at this path"
    return Reason.NOT_MEDIA, f"there is {kind} at this path, not a file"


def _why_no_path(row: Mapping[str, Any]) -> str:
    matches = row.get("matches")
    if matches:
        return f"{len(matches)} files have this stem ({', '.join(matches[:3])}); give a path column"
    return "no media file under the input folder has this stem"


def refuse(row: Mapping[str, Any], number: int, reason: Reason, detail: str) -> Refusal:
    """The refusal of a row, under whatever it calls itself."""
    name = plain(str(row.get("clip_id") or row.get("path") or f"row {number}"))
    return Refusal(ClipId(name), plain(str(row.get("path") or "")), reason, detail)


def plain(text: str) -> str:
    """Text that can be written: what is no character is shown by its code."""
    return text.encode("utf-8", "backslashreplace").decode()
