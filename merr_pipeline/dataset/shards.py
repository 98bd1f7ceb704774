"""Where a clip's rows lie, and how a shard is written.

A clip lies in the shard that the leading bits of sha256(clip_id) name. A split has a power of two
of shards, the smallest that keeps them at ``dataset.clips_per_shard`` on average, so a split that
grows keeps its shards until their number doubles. Shard k of ``coarse`` and ``fine`` holds the
records of exactly shard k's clips::

    clips/train-00003-of-00008.parquet
    coarse/train-00003-of-00008.parquet
    fine/train-00003-of-00008.parquet

Rows are sorted by clip_id, in row groups of `ROW_GROUP_SIZE`; zstd, but JPEG as it is. The same
rows give the same bytes (with one version of pyarrow, which the shard key therefore holds).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from merr_pipeline.dataset.columns import PICTURES, schema_of
from merr_pipeline.files import sync
from merr_pipeline.schema import Row

ROW_GROUP_SIZE = 100
_HASH_BITS = 32

Item = TypeVar("Item")


def shard_count(clips: int, clips_per_shard: int) -> int:
    """The smallest power of two of shards that hold ``clips_per_shard`` on average."""
    count = 1
    while clips > count * clips_per_shard:
        count *= 2
    return count


def shard_index(clip_id: str, count: int) -> int:
    """The shard of a clip among ``count`` (a power of two): leading bits of sha256(clip_id)."""
    bits = count.bit_length() - 1
    leading = int.from_bytes(hashlib.sha256(clip_id.encode()).digest()[: _HASH_BITS // 8])
    return leading >> (_HASH_BITS - bits)


def file_name(subset: str, split: str, index: int, count: int) -> str:
    """Path of a shard's file inside the dataset folder."""
    return f"{subset}/{split}-{index:05d}-of-{count:05d}.parquet"


def in_shards(clip_ids: Sequence[str], clips_per_shard: int) -> list[list[str]]:
    """The ids of one split by shard, sorted within; the shards are in order, some may be empty.

    No clips, no shards.
    """
    if not clip_ids:
        return []
    count = shard_count(len(clip_ids), clips_per_shard)
    shards: list[list[str]] = [[] for _ in range(count)]
    for clip_id in sorted(clip_ids):
        shards[shard_index(clip_id, count)].append(clip_id)
    return shards


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of ``size`` items, the last shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


class SubsetWriter:
    """Writes one file of a subset, row group by row group; synced to disk when it closes."""

    def __init__(self, path: Path, subset: str, config_hash: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.rows = path, 0
        self._schema = schema_of(subset, config_hash)
        packed = [leaf for leaf in leaf_columns(subset) if not _is_picture(leaf)]
        self._writer = pq.ParquetWriter(
            path,
            self._schema,
            compression={
                leaf: "zstd" if leaf in packed else "none" for leaf in leaf_columns(subset)
            },
            use_dictionary=packed,
            write_statistics=packed,
            write_page_checksum=True,
        )
        self._waiting: list[Row] = []

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows in order; whole row groups are written as they fill."""
        self._waiting += rows
        while len(self._waiting) >= ROW_GROUP_SIZE:
            self._write(self._waiting[:ROW_GROUP_SIZE])
            del self._waiting[:ROW_GROUP_SIZE]

    def add_table(self, table: pa.Table) -> None:
        """Add many rows at once, to the same bytes as one by one; not after `add`."""
        for start in range(0, len(table), ROW_GROUP_SIZE):
            self._write_group(table.slice(start, ROW_GROUP_SIZE).combine_chunks())

    def _write(self, rows: list[Row]) -> None:
        self._write_group(pa.Table.from_pylist(rows, schema=self._schema))

    def _write_group(self, table: pa.Table) -> None:
        self._writer.write_table(table, row_group_size=ROW_GROUP_SIZE)
        self.rows += len(table)

    def __enter__(self) -> SubsetWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        if error is None and self._waiting:
            self._write(self._waiting)
        self._writer.close()
        if error is None:
            sync(self.path)


@cache
def leaf_columns(subset: str) -> tuple[str, ...]:
    """Paths of the Parquet columns proper: ``peak_frame.bytes``, ``evidence.list.element.id``."""
    schema = _empty_file(subset, "").schema
    return tuple(schema.column(number).path for number in range(len(schema.names)))


def stored_schema(subset: str, config_hash: str) -> pa.Schema:
    """The arrow schema as it is read back (Parquet renames the inner field of a list)."""
    return _empty_file(subset, config_hash).schema_arrow


def _empty_file(subset: str, config_hash: str) -> pq.ParquetFile:
    sink = pa.BufferOutputStream()
    pq.write_table(schema_of(subset, config_hash).empty_table(), sink)
    return pq.ParquetFile(pa.BufferReader(sink.getvalue()))


def _is_picture(leaf: str) -> bool:
    return leaf.partition(".")[0] in PICTURES
