"""From a folder, or a table beside it, to clips with an id, a hash and what the user knows of them.

A table (CSV, JSONL or Parquet) has the columns of `COLUMNS`, all optional but the path; further
columns are ignored. Instead of ``path`` it may have ``clip_id``, which is then looked for as the
stem of a media file under the input folder.

Whatever is wrong with one input refuses that input (`Refusal`); whatever is wrong with the table
as a whole is a `ManifestError`, and nothing runs.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from merr_pipeline.clips.hashes import HashMemory, stamp_of
from merr_pipeline.clips.tables import COLUMNS, Columns, ManifestError, read_rows
from merr_pipeline.schema import SPLITS, Clip, ClipId, Reason, Refusal

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg"}
    | {".wmv", ".flv", ".ts", ".mts", ".3gp", ".ogv"}
)
STILL_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
FACTS = tuple(name for name in COLUMNS if name not in {"clip_id", "path"})
SPLIT_NAMES = {name: name for name in SPLITS} | {"val": "validation", "dev": "validation"}


@dataclass(frozen=True)
class Inputs:
    """Everything that was found: clips to work on, and inputs refused at the door."""

    clips: tuple[Clip, ...]  # sorted by clip_id
    refusals: tuple[Refusal, ...]
    notes: tuple[str, ...] = ()  # what a user may have meant otherwise

    @property
    def copies(self) -> int:
        """Files that hold the bytes of another clip."""
        return sum(len(clip.other_paths) for clip in self.clips)

    @property
    def file_count(self) -> int:
        """Inputs in all, further copies of the same bytes included."""
        return sum(1 + len(clip.other_paths) for clip in self.clips) + len(self.refusals)


def read_inputs(
    root: Path,
    manifest: Path | None = None,
    columns: Columns | None = None,
    hashes: HashMemory | None = None,
) -> Inputs:
    """Find the clips under ``root``, or those that ``manifest`` lists, and hash their bytes.

    Raises:
        ManifestError: no such folder, a table that cannot be read, or nothing in it.
    """
    if not root.is_dir():
        raise ManifestError(f"{root} is not a folder. Give the folder that holds the clips.")
    root = Path(os.path.abspath(root))  # noqa: PTH100 - also resolves '..', unlike absolute()
    media = find_media(root)
    if manifest:
        listed, unused = read_rows(manifest, columns or Columns())
        rows = _fill_paths(listed, media)
        notes = _notes_on_table(unused, rows, media)
    else:
        rows = [{"clip_id": name, "path": path} for path, name in name_clips(media).items()]
        notes = _notes_on_folder(root)
    if not rows:
        raise ManifestError(
            f"no clips in {manifest or root}. Known suffixes, in any case: "
            f"{' '.join(sorted(VIDEO_SUFFIXES | STILL_SUFFIXES))}"
        )
    clips, refusals = _open_rows(root, rows, hashes or HashMemory())
    merged, conflicts = _merge_same_bytes(clips)
    return Inputs(
        clips=tuple(sorted(merged, key=lambda clip: clip.clip_id)),
        refusals=tuple(sorted([*refusals, *conflicts], key=lambda item: item.clip_id)),
        notes=tuple(notes),
    )


def _notes_on_table(unused: list[str], rows: list[dict[str, Any]], media: list[str]) -> list[str]:
    listed = {os.path.normpath(row["path"]) for row in rows if row.get("path")}
    beside = [path for path in media if path not in listed]
    notes = [f"columns that nothing reads: {', '.join(unused)} (see --map)"] if unused else []
    if beside:
        notes.append(f"{len(beside)} media files in the folder are not in the manifest")
    return notes


def _notes_on_folder(root: Path) -> list[str]:
    tables = sorted(path.name for path in root.glob("manifest.*") if path.is_file())
    return [f"{name} lies in the folder and is not used; say --manifest" for name in tables]


def find_media(root: Path) -> list[str]:
    """Media files under ``root`` as sorted relative paths; linked folders are entered once."""
    found: list[str] = []
    entered: set[str] = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in entered:  # a loop of links
            subfolders.clear()
            continue
        entered.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in files:
            suffix = PurePosixPath(name).suffix.lower()
            if suffix in VIDEO_SUFFIXES | STILL_SUFFIXES and not name.startswith("."):
                found.append(Path(folder, name).relative_to(root).as_posix())
    return sorted(found)


def name_clips(paths: Iterable[str]) -> dict[str, ClipId]:
    """Ids of files that nobody named: the relative path without its suffix.

    Where two files would get one id (``a/x.mp4``, ``a/x.mov``), both keep their suffix.
    """
    stems: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        stems[_without_suffix(path)].append(path)
    return {
        path: ClipId(stem if len(same) == 1 else path)
        for stem, same in stems.items()
        for path in same
    }


def _without_suffix(path: str) -> str:
    pure = PurePosixPath(path)
    return str(pure.with_suffix("")) if pure.name else path


def _fill_paths(rows: list[dict[str, Any]], media: list[str]) -> list[dict[str, Any]]:
    """Rows that name a clip only by id get the path of the file with that stem."""
    by_stem = _by_stem(media)
    named = name_clips(dict.fromkeys(row["path"] for row in rows if "path" in row))
    for row in rows:
        if "path" not in row and "clip_id" in row:
            row["matches"] = next(
                (found for table in by_stem if (found := table.get(row["clip_id"]))), []
            )
            row["path"] = row["matches"][0] if len(row["matches"]) == 1 else None
        elif "clip_id" not in row and "path" in row:
            row["clip_id"] = named[row["path"]]
    return rows


def _by_stem(media: list[str]) -> tuple[dict[str, list[str]], ...]:
    """Files by place without suffix, by name, by name without leading zeros: the order counts."""
    tables: tuple[dict[str, list[str]], ...] = ({}, {}, {})
    for path in media:
        place = _without_suffix(path)
        name = PurePosixPath(place).name
        for table, key in zip(tables, (place, name, name.lstrip("0")), strict=True):
            table.setdefault(key, []).append(path)
    return tables


def _open_rows(
    root: Path, rows: list[dict[str, Any]], hashes: HashMemory
) -> tuple[list[Clip], list[Refusal]]:
    clips: dict[str, Clip] = {}
    refusals: list[Refusal] = []
    for number, row in enumerate(rows, start=1):
        opened = _open_row(root, row, number, hashes)
        if isinstance(opened, Refusal):
            refusals.append(opened)
        elif opened.clip_id not in clips:
            clips[opened.clip_id] = opened
        elif clips[opened.clip_id] != opened:
            refusals.append(
                _refuse(
                    row,
                    number,
                    Reason.DUPLICATE_CONFLICT,
                    f"row {number} gives clip_id {opened.clip_id} again, with another content; "
                    "the first row was kept",
                )
            )
    return list(clips.values()), refusals


def _open_row(root: Path, row: dict[str, Any], number: int, hashes: HashMemory) -> Clip | Refusal:
    if row.get("path") is None:
        return _refuse(row, number, Reason.NOT_FOUND, _why_no_path(row))
    split = SPLIT_NAMES.get(str(row.get("split", "train")).lower())
    if split is None:
        detail = f"split {row['split']!r} is none of {', '.join(SPLITS)}"
        return _refuse(row, number, Reason.UNKNOWN_SPLIT, detail)
    try:
        path, media_path = _inside(root, row["path"])
        if media_path is None:
            return _refuse(row, number, Reason.OUTSIDE_ROOT, "the path leaves the input folder")
        media_path.encode()
        if not path.is_file():
            return _refuse(row, number, Reason.NOT_FOUND, "there is no file at this path")
        stamp = stamp_of(path)  # first: a change while it is hashed must show
        sha256 = hashes.sha256(path, media_path)
    except FileNotFoundError:  # it went away just now
        return _refuse(row, number, Reason.NOT_FOUND, "there is no file at this path")
    except PermissionError as error:
        return _refuse(row, number, Reason.UNREADABLE, f"the file cannot be read: {error.strerror}")
    except (OSError, ValueError) as error:  # too long, a null character, not UTF-8
        return _refuse(row, number, Reason.BAD_PATH, _plain(str(error)))
    facts: dict[str, Any] = {name: row.get(name) for name in FACTS}
    if facts["split"] is not None:
        facts["split"] = split
    return Clip(ClipId(row["clip_id"]), path, media_path, sha256, stamp=stamp, **facts)


def _inside(root: Path, given: str) -> tuple[Path, str | None]:
    """The absolute path, and its place under the root (None when it is not under it)."""
    path = Path(os.path.normpath(root / given))
    return path, path.relative_to(root).as_posix() if path.is_relative_to(root) else None


def _why_no_path(row: Mapping[str, Any]) -> str:
    matches = row.get("matches")
    if matches:
        return f"{len(matches)} files have this stem ({', '.join(matches[:3])}); give a path column"
    return "no media file under the input folder has this stem"


def _refuse(row: Mapping[str, Any], number: int, reason: Reason, detail: str) -> Refusal:
    name = _plain(str(row.get("clip_id") or row.get("path") or f"row {number}"))
    return Refusal(ClipId(name), _plain(str(row.get("path") or "")), reason, detail)


def _plain(text: str) -> str:
    """Text that can be written: what is no character is shown by its code."""
    return text.encode("utf-8", "backslashreplace").decode()


def _merge_same_bytes(clips: list[Clip]) -> tuple[list[Clip], list[Refusal]]:
    """The same bytes twice are one clip with two paths; with different labels, none."""
    groups: dict[str, list[Clip]] = defaultdict(list)
    for clip in sorted(clips, key=lambda clip: clip.clip_id):
        groups[clip.sha256].append(clip)
    merged: list[Clip] = []
    conflicts: list[Refusal] = []
    for same in groups.values():
        labels = sorted({clip.label for clip in same if clip.label is not None})
        if len(labels) > 1:
            others = ", ".join(clip.clip_id for clip in same)
            detail = f"the same bytes carry the labels {', '.join(labels)} ({others})"
            conflicts += [
                Refusal(clip.clip_id, clip.media_path, Reason.DUPLICATE_CONFLICT, detail)
                for clip in same
            ]
        else:
            merged.append(_merge(same))
    return merged, conflicts


def _merge(same: list[Clip]) -> Clip:
    """The first by id; what it does not know is taken from the others, in order."""
    first, *others = same
    facts: dict[str, Any] = {
        name: next((value for clip in same if (value := getattr(clip, name)) is not None), None)
        for name in FACTS
    }
    paths = sorted({clip.media_path for clip in others} - {first.media_path})
    return replace(first, other_paths=tuple(paths), **facts)
