"""A dataset in the making: shards linked from the one that is there, or written anew."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from merr_pipeline.dataset.folder import (
    DATASET,
    NEXT,
    FileFacts,
    Manifest,
    link_or_copy,
    sha256_of,
    swap_in,
    write_manifest,
)
from merr_pipeline.dataset.shards import SubsetWriter
from merr_pipeline.files import write_atomically
from merr_pipeline.schema import Row


@dataclass(frozen=True)
class Shard:
    """One shard: the files it consists of, by subset, and the key of what they are made from."""

    names: Mapping[str, str]
    clip_ids: Sequence[str]
    split: str
    key: str


@dataclass
class Draft:
    """A dataset in the making, in ``.dataset-next``."""

    out: Path
    earlier: Manifest
    config_hash: str
    files: dict[str, FileFacts] = field(default_factory=dict)
    written: int = 0
    kept: int = 0

    @property
    def folder(self) -> Path:
        """Where it is being made."""
        return self.out / NEXT

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)

    def keep(self, shard: Shard) -> bool:
        """Link the files of an unchanged shard, if all are there and whole."""
        had = self.earlier.rows_by_split()
        names = {s: name for s, name in shard.names.items() if shard.split in had.get(s, {})}
        if not names or not all(self._is_same(name, shard.key) for name in names.values()):
            return False
        for name in names.values():
            link_or_copy(self.out / DATASET / name, self.folder / name)
            self.files[name] = self.earlier.files[name]
        # What the whole split had no row of, this shard has none of.
        self._write_files({s: name for s, name in shard.names.items() if s not in names}, shard, [])
        self.kept += 1
        return True

    def write(self, shard: Shard, rows: Iterable[Mapping[str, list[Row]]]) -> None:
        """Write the files of a shard; ``rows`` gives, clip by clip, the rows for each subset."""
        self._write_files(shard.names, shard, rows)
        self.written += 1

    def write_tables(self, shard: Shard, table: Callable[[str], pa.Table]) -> None:
        """The same from whole tables; ``table`` gives that of a subset."""
        for subset, name in shard.names.items():
            with SubsetWriter(self.folder / name, subset, self.config_hash) as writer:
                writer.add_table(table(subset))
            self._note(name, writer.rows, shard)
        self.written += 1

    def drop_empty(self) -> None:
        """A subset of a split without a single row has no files: nothing can load those."""
        rows = self.rows()
        for name in list(self.files):
            subset, _, file = name.partition("/")
            if rows[subset][file.partition("-")[0]] == 0:
                (self.folder / name).unlink()
                del self.files[name]
        for inner in self.folder.iterdir():
            if not any(inner.iterdir()):
                inner.rmdir()

    def finish(self, texts: Mapping[str, str]) -> bool:
        """Write ``texts`` by file name, then the manifest, and swap.

        False if the dataset that is there is already this.
        """
        for name, text in texts.items():
            self._write_text(name, text.encode())
        manifest = Manifest(self.config_hash, self.files)
        is_there = all(self._is_same(name, None) for name in texts)
        if self.written == 0 and manifest == self.earlier and is_there:
            shutil.rmtree(self.folder)
            return False
        write_manifest(self.folder, manifest)
        swap_in(self.out)
        return True

    def _write_text(self, name: str, content: bytes) -> None:
        facts = FileFacts(hashlib.sha256(content).hexdigest())
        if facts == self.earlier.files.get(name) and self._is_same(name, None):
            link_or_copy(self.out / DATASET / name, self.folder / name)
        else:
            (self.folder / name).parent.mkdir(exist_ok=True)
            write_atomically(self.folder / name, content)
        self.files[name] = facts

    def rows(self) -> dict[str, dict[str, int]]:
        """``subset -> split -> rows`` of the files so far."""
        return Manifest(self.config_hash, self.files).rows_by_split()

    def _is_same(self, name: str, key: str | None) -> bool:
        facts, path = self.earlier.files.get(name), self.out / DATASET / name
        if facts is None or facts.shard_key != key or not path.is_file():
            return False
        return sha256_of(path) == facts.sha256

    def _write_files(
        self, names: Mapping[str, str], shard: Shard, rows: Iterable[Mapping[str, list[Row]]]
    ) -> None:
        with ExitStack() as stack:
            writers = {
                subset: stack.enter_context(
                    SubsetWriter(self.folder / name, subset, self.config_hash)
                )
                for subset, name in names.items()
            }
            for of_clip in rows:
                for subset, writer in writers.items():
                    writer.add(of_clip[subset])
        for subset, name in names.items():
            self._note(name, writers[subset].rows, shard)

    def _note(self, name: str, rows: int, shard: Shard) -> None:
        self.files[name] = FileFacts(sha256_of(self.folder / name), rows, shard.key)
