"""Clips out of Parquet: the parts of the store, and the shards of a dataset."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from merr_pipeline.dataset.folder import (
    CARD,
    DATASET,
    NEXT,
    FileFacts,
    Manifest,
    link_or_copy,
    read_manifest,
    sha256_of,
    swap_in,
    write_manifest,
)
from merr_pipeline.dataset.shards import ROW_GROUP_SIZE, SubsetWriter
from merr_pipeline.files import write_atomically
from merr_pipeline.schema import Row
from merr_pipeline.store import write_part
from merr_pipeline.takedown.wanted import Taken

NAMING = ("clip_id", "sha256", "media_path", "near_duplicates", "detail")
NAMES_ONE = "it names a clip that was taken down"
CARD_NOTE = "Clips were taken down since this card was written: counts above may be too high."


def clear_store(out: Path, taken: Taken) -> int:
    """Rewrite every part that holds rows of these clips; how many rows are gone.

    Parts that were set aside as damaged may hold them too, and are deleted.
    """
    gone = 0
    for path in sorted((out / "annotations").glob("*/*.parquet")):
        if path.name.startswith("damaged-"):
            path.unlink()
            continue
        table = pq.read_table(path, partitioning=None)
        names = [name for name in ("clip_id", "sha256") if name in table.column_names]
        kept = pa.array([not taken.has_row(row) for row in table.select(names).to_pylist()])
        if not all(kept.to_pylist()):
            gone += len(table) - sum(kept.to_pylist())
            if any(kept.to_pylist()):
                write_part(path.parent, table.filter(kept))
            path.unlink()
    return gone


def clear_dataset(out: Path, taken: Taken) -> int:
    """Rewrite the shards that hold these clips or name them; how many rows are gone.

    The new dataset takes the place of the old one in one step, as after a build. Shards that do not
    change are linked. A split that is left without rows loses its files.
    """
    dataset, following = out / DATASET, out / NEXT
    manifest = read_manifest(dataset)
    if manifest is None:
        return 0
    left = dict(_changed(dataset, manifest, taken))
    if not left:
        return 0
    shutil.rmtree(following, ignore_errors=True)
    following.mkdir()
    files: dict[str, FileFacts] = {}
    gone = _groups_without_rows(manifest, left)
    for name, facts in manifest.files.items():
        if name in left and _group(name) not in gone:
            files[name] = _rewrite(dataset / name, following / name, manifest, taken)
        elif name not in left and name != CARD:
            link_or_copy(dataset / name, following / name)
            files[name] = facts
    card = _card((dataset / CARD).read_text("utf-8"), gone)
    write_atomically(following / CARD, card.encode())
    files[CARD] = FileFacts(sha256_of(following / CARD))
    write_manifest(following, replace(manifest, files=files))
    swap_in(out)
    return sum((manifest.files[name].rows or 0) - count for name, count in left.items())


def _changed(dataset: Path, manifest: Manifest, taken: Taken) -> Iterator[tuple[str, int]]:
    """The files that hold or name one of these clips, with the count of rows left in them."""
    for name in manifest.files:
        if name.endswith(".parquet"):
            there = set(pq.read_schema(dataset / name).names)
            columns = [column for column in NAMING if column in there]
            rows = pq.read_table(dataset / name, columns=columns).to_pylist()
            left = [row for row in rows if not taken.has_row(row)]
            if len(left) < len(rows) or any(_without_names(row, taken) != row for row in left):
                yield name, len(left)


def _without_names(row: Row, taken: Taken) -> Row:
    """A row of another clip, with nothing in it that names one of these."""
    changed = dict(row)
    if row.get("near_duplicates"):
        near = [one for one in row["near_duplicates"] if one["clip_id"] not in taken.clip_ids]
        changed["near_duplicates"] = near
    if row.get("detail") and taken.is_named_in(row["detail"]):
        changed["detail"] = NAMES_ONE
    return changed


def _group(name: str) -> str:
    """``clips/train`` of ``clips/train-00003-of-00008.parquet``."""
    return name.rsplit("-", 3)[0]


def _groups_without_rows(manifest: Manifest, left: Mapping[str, int]) -> set[str]:
    rows: Counter[str] = Counter()
    for name, facts in manifest.files.items():
        if name.endswith(".parquet"):
            rows[_group(name)] += left.get(name, facts.rows or 0)
    return {group for group, count in rows.items() if count == 0}


def _rewrite(old: Path, new: Path, manifest: Manifest, taken: Taken) -> FileFacts:
    with SubsetWriter(new, new.parent.name, manifest.config_hash) as writer:
        for batch in pq.ParquetFile(old).iter_batches(ROW_GROUP_SIZE):
            rows = batch.to_pylist()
            writer.add(_without_names(row, taken) for row in rows if not taken.has_row(row))
    return FileFacts(sha256_of(new), writer.rows)


def _card(text: str, gone: Collection[str]) -> str:
    """The card without the entries of files that are gone, and with a note."""
    _, front, body = text.split("---\n", 2)
    matter: dict[str, Any] = yaml.safe_load(front)
    for config in matter["configs"]:
        files = config["data_files"]
        config["data_files"] = [one for one in files if one["path"].split("-*")[0] not in gone]
    matter["configs"] = [config for config in matter["configs"] if config["data_files"]]
    front = yaml.safe_dump(matter, sort_keys=False, allow_unicode=True)
    note = "" if CARD_NOTE in body else f"\n{CARD_NOTE}\n"
    return f"---\n{front}---\n{body}{note}"
