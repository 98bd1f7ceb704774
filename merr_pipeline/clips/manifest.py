"""From a folder, or a table beside it, to clips with an id, a hash and what the user knows of them.

A table (CSV, JSONL or Parquet) has the columns of `COLUMNS`, all optional but the path; further
columns are ignored. Instead of ``path`` it may have ``clip_id``, which is then looked for as the
stem of a media file under the input folder.

Whatever is wrong with one input refuses that input (`Refusal`); whatever is wrong with the table
as a whole is a `ManifestError`, and nothing runs.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from merr_pipeline.clips.hashes import HashMemory
from merr_pipeline.clips.opening import FACTS, open_row, plain, refuse
from merr_pipeline.clips.tables import Columns, Listing, ManifestError, read_rows
from merr_pipeline.schema import Clip, ClipId, Reason, Refusal

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg"}
    | {".wmv", ".flv", ".ts", ".mts", ".m2ts", ".3gp", ".ogv", ".vob", ".mxf", ".f4v"}
)
BESIDE_SUFFIXES = frozenset(  # subtitles, tables, and what people write of them
    {".srt", ".vtt", ".ass", ".ssa", ".txt", ".csv", ".tsv", ".json", ".jsonl", ".parquet"}
    | {".yaml", ".yml", ".md", ".html", ".xlsx", ".pdf"}
)
OUTPUT_FOLDERS = frozenset({"annotations", "cache", "runs"})  # every build leaves these
WRITTEN_FOLDERS = OUTPUT_FOLDERS | {"dataset", "explain"}
STILL_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


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
    _check_root(root)
    root = Path(os.path.abspath(root))  # noqa: PTH100 - also resolves '..', unlike absolute()
    media, closed, others = look_through(root)
    refusals = [] if manifest else closed  # of a table, only what it lists counts
    if manifest:
        listing = read_rows(manifest, columns or Columns())
        rows = _fill_paths(listing.rows, media)
        notes = _notes_on_table(listing, rows, media, closed)
    else:
        rows = [{"clip_id": name, "path": path} for path, name in name_clips(media).items()]
        notes = [*_notes_on_folder(root), *_notes_on_others(others)]
    if not rows and not refusals:
        raise ManifestError(
            f"no clips in {manifest or root}. Known suffixes, in any case: "
            f"{' '.join(sorted(VIDEO_SUFFIXES | STILL_SUFFIXES))}"
        )
    clips, refused = _open_rows(root, rows, hashes or HashMemory())
    merged, conflicts = _merge_same_bytes(clips)
    notes += _notes_on_names(clips)
    refusals = sorted([*refusals, *refused, *conflicts], key=lambda item: item.clip_id)
    return Inputs(
        clips=tuple(sorted(merged, key=lambda clip: clip.clip_id)),
        refusals=tuple(refusals),
        notes=tuple(notes),
    )


def _check_root(root: Path) -> None:
    try:
        with os.scandir(root):
            return
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ManifestError(
            f"{root} is not a folder. Give the folder that holds the clips."
        ) from error
    except OSError as error:
        raise ManifestError(f"the folder {root} cannot be read: {error.strerror}.") from error


def _notes_on_table(
    listing: Listing, rows: list[dict[str, Any]], media: list[str], closed: list[Refusal]
) -> list[str]:
    listed = {os.path.normpath(row["path"]) for row in rows if row.get("path")}
    beside = [path for path in media if path not in listed]
    notes = []
    if listing.guessed_encoding:
        notes.append(
            f"the manifest is no UTF-8; it was read as {listing.guessed_encoding}, a guess"
        )
    if listing.unused:
        notes.append(f"columns that nothing reads: {', '.join(listing.unused)} (see --map)")
    if beside:
        notes.append(f"{len(beside)} media files in the folder are not in the manifest")
    return [*notes, *(f"{folder.media_path}: {folder.detail}" for folder in closed)]


def _notes_on_names(clips: list[Clip]) -> list[str]:
    further = len(clips) - len({clip.media_path for clip in clips})
    return [f"{further} rows give a file another clip_id; a file is one clip"] if further else []


def _notes_on_folder(root: Path) -> list[str]:
    tables = sorted(path.name for path in root.glob("manifest.*") if path.is_file())
    return [f"{name} lies in the folder and is not used; say --manifest" for name in tables]


def _notes_on_others(others: Counter[str]) -> list[str]:
    if not others:
        return []
    listed = ", ".join(
        f"{suffix or 'no suffix'} {count}" for suffix, count in sorted(others.items())
    )
    return [f"{others.total()} files of other kinds were not looked at: {listed}"]


def find_media(root: Path) -> list[str]:
    """Media files under ``root`` as sorted relative paths; linked folders are entered once."""
    return look_through(root).media


class LookedThrough(NamedTuple):
    """What lies under a folder."""

    media: list[str]  # relative paths, sorted
    closed: list[Refusal]  # folders that cannot be read: nobody knows what is in them
    others: Counter[str]  # suffix -> files that are neither media nor beside them


def look_through(root: Path) -> LookedThrough:
    """Find the media files; output folders of builds, which hold pictures of ours, are left out."""
    found: list[str] = []
    others: Counter[str] = Counter()
    entered: set[str] = set()
    closed: list[OSError] = []
    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=closed.append):
        real = os.path.realpath(folder)
        if real in entered:  # a loop of links
            subfolders.clear()
            continue
        entered.add(real)
        if set(subfolders) >= OUTPUT_FOLDERS:  # ours; at the root clips lie beside it
            if Path(folder) != root:
                subfolders.clear()
                continue
            subfolders[:] = [name for name in subfolders if name not in WRITTEN_FOLDERS]
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in files:
            suffix = PurePosixPath(name).suffix.lower()
            if name.startswith(".") or suffix in BESIDE_SUFFIXES:
                continue
            if suffix in VIDEO_SUFFIXES | STILL_SUFFIXES:
                found.append(Path(folder, name).relative_to(root).as_posix())
            else:
                others[suffix] += 1
    return LookedThrough(sorted(found), [_closed_folder(root, error) for error in closed], others)


def _closed_folder(root: Path, error: OSError) -> Refusal:
    place = plain(Path(error.filename).relative_to(root).as_posix())
    detail = f"the folder cannot be read: {error.strerror}; clips in it are missed"
    return Refusal(ClipId(place), place, Reason.UNREADABLE, detail)


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
        opened = open_row(root, row, number, hashes)
        if isinstance(opened, Refusal):
            refusals.append(opened)
        elif opened.clip_id not in clips:
            clips[opened.clip_id] = opened
        elif clips[opened.clip_id] != opened:
            refusals.append(
                refuse(
                    row,
                    number,
                    Reason.DUPLICATE_CONFLICT,
                    f"row {number} gives clip_id {opened.clip_id} again, with another content; "
                    "the first row was kept",
                )
            )
    return list(clips.values()), refusals


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
