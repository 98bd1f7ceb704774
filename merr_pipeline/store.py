"""The annotation store: what every stage has found so far, as Parquet part files.

::

    <out>/annotations/<stage>/part-<first 32 hex digits of the file's sha256>.parquet

A part is written to a temporary sibling, synced and renamed, and never changed afterwards. Its name
is the hash of its bytes, so a torn, altered or foreign file is found when the store is opened: none
of its rows is believed, it is told of (`Store.damaged`), and a build renames it to ``damaged-…``
and makes its rows again. Deleting a part or a whole stage is always safe.

Rows are found by ``input_key`` alone. Engines run work at least once; of two rows with one key
``ok`` beats ``skipped``, that beats ``failed``, failures that pass with time come last; then the
lower ``row_hash`` wins, so that the order of writing never matters.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from merr_pipeline.files import open_regular, write_atomically
from merr_pipeline.schema import PASSES_WITH_TIME, ROW_HEAD, MerrError, Row, Status

_HEAD = ["input_key", "row_hash", "status", "reason", "detail"]
_NAME_LENGTH = 32


@dataclass(frozen=True)
class Entry:
    """Where a row lies, and how it ended."""

    input_key: str
    row_hash: str
    status: str
    reason: str | None
    detail: str | None
    part: str  # file name inside the stage's folder
    place: int  # row number inside the part

    @property
    def rank(self) -> tuple[int, str]:
        """Lower is better among rows of one key: a later finding is not hidden by a failure."""
        if self.status != Status.FAILED:
            return (0 if self.status == Status.OK else 1, self.row_hash)
        return (3 if self.reason in PASSES_WITH_TIME else 2, self.row_hash)


class Store:
    """The rows of all stages under one folder.

    ``schemas`` says what a row of each stage looks like; a part with other columns (from an older
    version of the stage) is not read.
    """

    def __init__(self, folder: Path, schemas: Mapping[str, pa.Schema]) -> None:
        self._folder = folder
        self._schemas = schemas
        self._entries: dict[str, dict[str, Entry]] = {stage: {} for stage in schemas}
        self._parts: set[Path] = set()
        self.damaged: list[Path] = []

    def refresh(self) -> None:
        """Take note of the parts that are there and not yet known; each is checked once.

        A damaged one is looked at every time: what is made again may get its name. A worker that
        is told what to read need not call this.
        """
        for stage in self._schemas:
            for path in sorted((self._folder / stage).glob("part-*.parquet")):
                if path in self._parts:
                    continue
                if self._index(stage, path):
                    self._parts.add(path)
                elif path not in self.damaged:
                    self.damaged.append(path)

    def set_damaged_aside(self) -> None:
        """Rename what is damaged, so that its name is free and the next build does not find it.

        Only for who holds the folder alone.
        """
        for path in self.damaged:
            names = (path.with_name(f"damaged-{number}-{path.name}") for number in count(1))
            path.rename(next(name for name in names if not os.path.lexists(name)))

    def find(self, stage: str, input_key: str) -> Entry | None:
        """The best row with this key, or None when it has yet to be made."""
        return self._entries[stage].get(input_key)

    def read(
        self, stage: str, entries: Iterable[Entry], columns: Sequence[str] | None = None
    ) -> list[Row]:
        """The rows of these entries, in their order, as plain dicts; some columns, or all.

        Raises:
            MerrError: a part that was whole when it was noted is gone, or cannot be read now.
        """
        wanted = list(entries)
        places: dict[str, list[int]] = defaultdict(list)
        for entry in wanted:
            places[entry.part].append(entry.place)
        names = list(columns) if columns is not None else None
        rows: dict[tuple[str, int], Row] = {}
        for part, numbers in places.items():
            table = _read_table(self._folder / stage / part, names).take(numbers)
            for number, row in zip(numbers, table.to_pylist(), strict=True):
                rows[part, number] = row
        return [rows[entry.part, entry.place] for entry in wanted]

    def write(self, stage: str, rows: Sequence[Row]) -> list[Row]:
        """Add rows as one part; returns them as they will be read back.

        Rows without a column get null there; a column that the stage does not have is an error.
        """
        schema = self._schemas[stage]
        unknown = {name for row in rows for name in row} - set(schema.names)
        if unknown:
            raise ValueError(f"stage {stage} has no column {', '.join(sorted(unknown))}")
        table = pa.Table.from_pylist(list(rows), schema=schema)
        write_part(self._folder / stage, table)
        written: list[Row] = table.to_pylist()
        return written

    def _index(self, stage: str, path: Path) -> bool:
        """Take note of the rows of a part; False if it is damaged, or no part of this stage."""
        part = _open_part(path)
        if part is None or self._is_foreign(stage, part.schema_arrow):
            return False
        if not part.schema_arrow.equals(self._schemas[stage]):
            return True  # of an older version
        known = self._entries[stage]
        for place, head in enumerate(part.read(_HEAD).to_pylist()):
            entry = Entry(**head, part=path.name, place=place)
            best = known.get(entry.input_key)
            if best is None or entry.rank < best.rank:
                known[entry.input_key] = entry
        return True

    def _is_foreign(self, stage: str, schema: pa.Schema) -> bool:
        """Whether no version of this stage can have written it."""
        if schema.names[: len(ROW_HEAD)] != [column.name for column in ROW_HEAD]:
            return True
        others = (other for name, other in self._schemas.items() if name != stage)
        return any(schema.equals(other) for other in others)


def write_part(folder: Path, table: pa.Table) -> None:
    """Write rows as one part of a stage's folder."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    content = sink.getvalue().to_pybytes()
    write_atomically(folder / _part_name(content), content)


def _open_part(path: Path) -> pq.ParquetFile | None:
    """The part in memory; None if its bytes are not those that its name tells, or are no part."""
    try:
        with open_regular(path) as file:  # a pipe of that name would never end
            content = file.read()
        if path.name == _part_name(content):
            return pq.ParquetFile(pa.BufferReader(content))
    except (OSError, pa.ArrowException):  # a folder of that name; no Parquet
        pass
    return None


def _read_table(path: Path, columns: list[str] | None) -> pa.Table:
    try:
        return pq.ParquetFile(path).read(columns)  # `read_table` takes three times as long
    except (OSError, pa.ArrowException) as error:
        raise MerrError(
            f"{path} was damaged or taken away while the build ran: {error}\n"
            "Run it again: it makes its rows anew; all others are kept."
        ) from error


def _part_name(content: bytes) -> str:
    return f"part-{hashlib.sha256(content).hexdigest()[:_NAME_LENGTH]}.parquet"
