"""Finished rows on their way from the order of the annotation store to that of the shards.

A part of the store holds clips of every shard. So that each part is read once, and not once for
every shard, rows are made in the store's order and set aside: for each subset in one Arrow file, in
record batches that hold clips of one shard. Then each shard is put together from its own. They lie
on the disk, for together they are as large as the dataset.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import pyarrow as pa

from merr_pipeline.dataset.columns import schema_of
from merr_pipeline.schema import Row

Finished = tuple[int, str, Mapping[str, Sequence[Row]]]
"""Number of the shard, clip_id, rows by subset."""


class _Place(NamedTuple):
    """Where the rows of a clip are in the file of a subset."""

    batch: int
    start: int
    length: int


@dataclass
class Aside:
    """Rows set aside in a folder of their own, which goes when the block ends."""

    folder: Path
    subsets: Sequence[str]
    config_hash: str
    _files: dict[str, _File] = field(default_factory=dict)

    def __enter__(self) -> Aside:
        self.folder.mkdir()
        for subset in self.subsets:
            schema = schema_of(subset, self.config_hash)
            self._files[subset] = _File(self.folder / f"{subset}.arrow", schema)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        for file in self._files.values():
            file.delete()
        self.folder.rmdir()

    def add(self, clips: Sequence[Finished]) -> None:
        """Set the rows of some clips aside."""
        by_shard: dict[int, list[tuple[str, Mapping[str, Sequence[Row]]]]] = defaultdict(list)
        for shard, clip_id, rows in clips:
            by_shard[shard].append((clip_id, rows))
        for subset, file in self._files.items():
            for together in by_shard.values():
                file.write([(clip_id, rows[subset]) for clip_id, rows in together])

    def table(self, subset: str, clip_ids: Sequence[str]) -> pa.Table:
        """The rows of these clips, in their order; nothing can be added any more."""
        return self._files[subset].read(clip_ids)


class _File:
    """An Arrow file that is written, then read at any place."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        self._places: dict[str, _Place] = {}
        self._written = 0
        self._writer = pa.ipc.new_file(str(path), schema)
        self._reader: pa.ipc.RecordBatchFileReader | None = None

    def write(self, clips: Sequence[tuple[str, Sequence[Row]]]) -> None:
        """One record batch."""
        every: list[Row] = []
        for clip_id, rows in clips:
            self._places[clip_id] = _Place(self._written, len(every), len(rows))
            every += rows
        self._writer.write_batch(pa.RecordBatch.from_pylist(every, schema=self._schema))
        self._written += 1

    def read(self, clip_ids: Sequence[str]) -> pa.Table:
        if self._reader is None:
            self._writer.close()
            self._reader = pa.ipc.open_file(pa.OSFile(str(self._path)))  # mapped, it would pile up
        places = [self._places[clip_id] for clip_id in clip_ids]
        batches = {
            number: self._reader.get_batch(number)
            for number in sorted({place.batch for place in places})
        }
        pieces = [batches[place.batch].slice(place.start, place.length) for place in places]
        return pa.Table.from_batches(pieces, self._schema)

    def delete(self) -> None:
        self._writer.close()
        self._path.unlink()
