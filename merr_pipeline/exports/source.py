"""Reads a finished dataset: Parquet and manifest, nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from merr_pipeline.dataset.columns import CLIPS
from merr_pipeline.dataset.folder import DATASET, Manifest, read_manifest
from merr_pipeline.dataset.shards import ROW_GROUP_SIZE
from merr_pipeline.exports.wanted import Wanted
from merr_pipeline.schema import SCHEMA_VERSION, SPLITS, MerrError, Row

SERIES = ("au_series", "face_track", "egemaps")
"""One value a frame, and the 88 numbers of a voice: in no export."""

WITHOUT_SERIES = tuple(name for name in CLIPS if name not in SERIES)


@dataclass(frozen=True)
class Sample:
    """One clip and its instruction records, coarse ones first, by record id."""

    clip: Row
    records: list[Row]


class Source:
    """The dataset of a build, or of an import, of which a part is wanted."""

    def __init__(self, out: Path, wanted: Wanted) -> None:
        """Find the dataset.

        Raises:
            MerrError: there is none in ``out``, or one of a newer schema.
        """
        self.folder, self._wanted = out / DATASET, wanted
        manifest = read_manifest(self.folder)
        if manifest is None:
            raise MerrError(f"{out} holds no finished dataset; give the --out of `merr build`.")
        major, known = manifest.schema_version.split(".")[0], SCHEMA_VERSION.split(".")[0]
        if major != known:
            raise MerrError(
                f"{self.folder} has schema version {manifest.schema_version}; this program reads "
                f"{known}.x. Use the version of merr_pipeline that wrote it, or build again."
            )
        self.manifest: Manifest = manifest

    def splits(self) -> list[str]:
        """The wanted splits that have clips, in the usual order."""
        there = self.manifest.rows_by_split().get("clips", {})
        return [s for s in SPLITS if s in self._wanted.splits and there.get(s)]

    def clips(self, split: str, columns: Sequence[str] = WITHOUT_SERIES) -> Iterator[Row]:
        """Rows of ``clips``, shard by shard, without those of labels that are not wanted."""
        for name in self._shards("clips", split):
            for row in self._rows(name, columns):
                if row.get("label") is None or row["label"] not in self._wanted.without_labels:
                    yield row

    def samples(self, split: str, columns: Sequence[str] = WITHOUT_SERIES) -> Iterator[Sample]:
        """The same with the records of each clip; ``columns`` must hold clip_id and label."""
        for name in self._shards("clips", split):
            records: dict[str, list[Row]] = {}
            for subset in self._wanted.subsets:
                for record in self._rows(name.replace("clips", subset, 1), None):
                    records.setdefault(record["clip_id"], []).append(record)
            for row in self._rows(name, columns):
                if row["label"] is None or row["label"] not in self._wanted.without_labels:
                    yield Sample(row, records.get(row["clip_id"], []))

    def _shards(self, subset: str, split: str) -> list[str]:
        return sorted(n for n in self.manifest.files if n.startswith(f"{subset}/{split}-"))

    def _rows(self, name: str, columns: Sequence[str] | None) -> Iterator[Row]:
        if name not in self.manifest.files:
            return  # a split in which no clip gives such a record has no such file
        path = self.folder / name
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                there = set(file.schema_arrow.names)
                read = None if columns is None else [c for c in columns if c in there]
                for batch in file.iter_batches(ROW_GROUP_SIZE, columns=read):
                    for row in batch.to_pylist():
                        yield row if columns is None else {c: row.get(c) for c in columns}
        except (OSError, pa.ArrowException) as error:
            raise MerrError(
                f"{path} cannot be read: {error}\n`merr validate` says what else does not hold."
            ) from error
