"""Which clips are meant: by their id, their source, their speaker, and what else shows the same."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from merr_pipeline.dataset.folder import DATASET
from merr_pipeline.dataset.near import TIES
from merr_pipeline.schema import MerrError, Row

LOOK = ("clip_id", "sha256", "media_path", "other_paths", "source_id", "speaker_id")


@dataclass(frozen=True)
class Wanted:
    """What somebody asks to have removed. ``copies`` takes the same footage along."""

    clip_ids: frozenset[str] = frozenset()
    source_ids: frozenset[str] = frozenset()
    speaker_ids: frozenset[str] = frozenset()
    copies: bool = False


@dataclass(frozen=True)
class Taken:
    """The clips that are meant, by all that names them."""

    clip_ids: frozenset[str]
    sha256s: frozenset[str]
    paths: frozenset[str]  # under the input root

    def has_row(self, row: Row) -> bool:
        """Whether a row (of whatever table) is about one of them."""
        return (
            row.get("clip_id") in self.clip_ids
            or row.get("sha256") in self.sha256s
            or row.get("media_path") in self.paths
        )

    def is_named_in(self, text: str) -> bool:
        """Whether a text names one: its hash anywhere, its id or path as words of their own."""
        words = {word.strip(",;:()\"'") for word in text.split()}
        whole = any(name == text or name in words for name in (*self.clip_ids, *self.paths))
        return whole or any(sha256 in text for sha256 in self.sha256s)


def find_taken(out: Path, wanted: Wanted) -> Taken:
    """The clips of an output folder that are meant: in the dataset, or known to the store alone.

    Raises:
        MerrError: something asked for is not there, or nothing was asked for; nothing is removed.
    """
    if not (wanted.clip_ids or wanted.source_ids or wanted.speaker_ids):
        raise MerrError("Say whom to take down: --clip-id, --source-id or --speaker-id.")
    accepted = list(_accepted(out))
    _check_known("source", wanted.source_ids, {row["source_id"] for row in accepted})
    _check_known("speaker", wanted.speaker_ids, {row["speaker_id"] for row in accepted})
    known = {row["clip_id"] for row in accepted} | _others(out)
    _check_known("clip", wanted.clip_ids, known)
    clip_ids = set(wanted.clip_ids) | {
        row["clip_id"]
        for row in accepted
        if row["source_id"] in wanted.source_ids or row["speaker_id"] in wanted.speaker_ids
    }
    if wanted.copies:
        clip_ids |= _copies_of(clip_ids, accepted)
    return _all_names(out, clip_ids, [row for row in accepted if row["clip_id"] in clip_ids])


def _all_names(out: Path, clip_ids: Collection[str], rows: Collection[Row]) -> Taken:
    sha256s = {row["sha256"] for row in rows} | _stored_hashes(out, clip_ids)
    paths = {path for row in rows for path in (row["media_path"], *(row["other_paths"] or []))}
    paths |= {row["media_path"] for row in _rejected(out) if row["clip_id"] in clip_ids}
    remembered = remembered_hashes(out)
    sha256s |= {str(remembered[path][-1]) for path in paths if path in remembered}
    paths |= {path for path, (*_, sha256) in remembered.items() if sha256 in sha256s}
    return Taken(frozenset(clip_ids), frozenset(sha256s), frozenset(paths))


def _check_known(what: str, asked: Collection[str], known: Collection[str | None]) -> None:
    there = sorted(name for name in known if name is not None)
    for name in sorted(set(asked) - set(there)):
        near = difflib.get_close_matches(name, there, n=1)
        hint = f"Did you mean {near[0]}?" if near else "Nothing was removed."
        raise MerrError(f"no {what} here is called {name}. {hint}")


def _copies_of(clip_ids: Collection[str], accepted: Collection[Row]) -> set[str]:
    """What shows the same footage, directly or through others."""
    copies = {
        row["clip_id"]: {near["clip_id"] for near in row["near_duplicates"] if near["by"] in TIES}
        for row in accepted
    }
    reached: set[str] = set()
    waiting = list(clip_ids)
    while waiting:
        for name in copies.get(waiting.pop(), ()):
            if name not in reached:
                reached.add(name)
                waiting.append(name)
    return reached


def _accepted(out: Path) -> Iterator[Row]:
    for path in sorted((out / DATASET / "clips").glob("*.parquet")):
        yield from pq.read_table(path, columns=[*LOOK, "near_duplicates"]).to_pylist()


def _rejected(out: Path) -> Iterator[Row]:
    for path in sorted((out / DATASET / "rejected").glob("*.parquet")):
        yield from pq.read_table(path, columns=["clip_id", "media_path"]).to_pylist()


def _others(out: Path) -> set[str]:
    """Ids that are not in ``clips``: rejected, or of an earlier build."""
    stored = {
        name
        for path in (out / "annotations").glob("*/part-*.parquet")
        for name in pq.read_table(path, columns=["clip_id"], partitioning=None)[0].to_pylist()
    }
    return stored | {row["clip_id"] for row in _rejected(out)}


def _stored_hashes(out: Path, clip_ids: Collection[str]) -> set[str]:
    """The hashes of what the store holds under these ids, be it an earlier content."""
    columns = ["clip_id", "sha256"]
    return {
        row["sha256"]
        for path in (out / "annotations").glob("*/part-*.parquet")
        if "sha256" in pq.read_schema(path).names
        for row in pq.read_table(path, columns=columns, partitioning=None).to_pylist()
        if row["clip_id"] in clip_ids
    }


def remembered_hashes(out: Path) -> dict[str, list[int | str]]:
    """``path -> [size, mtime, inode, sha256]`` of ``cache/hashes.json``; empty without it."""
    path = out / "cache" / "hashes.json"
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
