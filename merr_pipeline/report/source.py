"""A finished dataset as the report reads it: row by row, of each row only the columns asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from merr_pipeline.dataset.folder import DATASET, TEMPLATES, Manifest, read_manifest
from merr_pipeline.dataset.shards import ROW_GROUP_SIZE
from merr_pipeline.schema import MerrError, Row


@dataclass(frozen=True)
class Finished:
    """The dataset of one output folder."""

    out: Path
    name: str
    manifest: Manifest

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return self.out / DATASET

    @property
    def templates(self) -> Path | None:
        """The words and thresholds it was made with, which lie in it."""
        folder = self.folder / TEMPLATES
        return folder if folder.is_dir() else None

    def files(self, subset: str) -> list[Path]:
        """The files of a subset, by name, so that every split comes in one order."""
        names = sorted(name for name in self.manifest.files if name.startswith(f"{subset}/"))
        return [self.folder / name for name in names]

    def rows(self, subset: str, columns: Sequence[str]) -> Iterator[Row]:
        """All rows; ``columns`` are columns, or leaves of them (``evidence.list.element.text``).

        Raises:
            MerrError: a file is gone, damaged, or has no such column.
        """
        for path in self.files(subset):
            with opened(path, columns) as file:
                for batch in file.iter_batches(ROW_GROUP_SIZE, columns=list(columns)):
                    yield from batch.to_pylist()


def open_finished(out: Path) -> Finished:
    """The dataset of an output folder; it is named after the folder.

    Raises:
        MerrError: there is none, or it is of a newer major version.
    """
    manifest = read_manifest(out / DATASET)
    if manifest is None:
        raise MerrError(f"{out} holds no finished dataset; give the --out of a build that is done.")
    return Finished(out, out.absolute().name, manifest)


@contextmanager
def opened(path: Path, columns: Sequence[str]) -> Iterator[pq.ParquetFile]:
    """A file that has these columns, open while the block runs.

    Raises:
        MerrError: it cannot be read, or lacks a column.
    """
    try:
        with pq.ParquetFile(path) as file:
            wanted = {name.partition(".")[0] for name in columns}
            if missing := wanted - set(file.schema_arrow.names):
                raise MerrError(
                    f"{path} has no column {', '.join(sorted(missing))}: an earlier version wrote "
                    "it.\nRun `merr build` again; it makes only what is missing."
                )
            yield file
    except (OSError, pa.ArrowException) as error:
        raise MerrError(f"{path} cannot be read: {error}\n`merr validate` says more.") from error
