"""Reads a feature cache: what frozen encoders gave for each clip, by clip_id.

Shards are mapped into memory, and where each clip's bytes lie is looked up once; a clip then costs
no decoding and no search. A process that was forked shares the maps, one that was spawned opens
its own.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from merr_pipeline.schema import MerrError, Row
from merr_pipeline.training_data.feature_files import (
    FAILED_KEY,
    KEY,
    Encoded,
    MadeBy,
    made_by_from,
    read_manifest,
)

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
_MISSING = -1


class FeatureCache:
    """A finished cache; `of_clip` is an `OfClip`."""

    def __init__(self, folder: Path, made_by: MadeBy) -> None:
        """Use `open`."""
        self.folder, self.made_by = folder, made_by
        self.failed: dict[str, str] = {}
        """Clips that could not be read when the cache was made, and why."""
        self._names: list[str] = []  # of shards
        self._places: dict[str, int] = {}  # row of _index by clip_id
        self._rows = 0
        # A row is: shard, picture's place and length, then the place of each encoder's features.
        self._index = np.zeros((0, 3 + len(made_by.encoders)), np.int64)
        self._maps: dict[int, mmap.mmap] = {}
        self._kinds = [
            (f"{name}_features", facts, DTYPES[facts.dtype], facts.size_bytes)
            for name, facts in sorted(made_by.encoders.items())
        ]

    @classmethod
    def open(cls, folder: Path) -> FeatureCache:
        """Open a cache that `merr features` has finished.

        Raises:
            MerrError: there is none, or it is damaged.
        """
        manifest = read_manifest(folder)
        cache = cls(folder, manifest.made_by)
        rows: list[np.ndarray] = []
        for name, facts in sorted(manifest.shards.items()):
            rows.extend(cache._add(name, facts["bytes"]))
        if rows:
            cache._index = np.concatenate(rows)
        for clip_id in cache._places.keys() & cache.failed.keys():
            del cache.failed[clip_id]  # read in a later run
        return cache

    @property
    def encoders(self) -> Mapping[str, Encoded]:
        """What there are features of."""
        return self.made_by.encoders

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, clip_id: object) -> bool:
        return clip_id in self._places

    def of_clip(self, clip: Row) -> dict[str, Tensor]:
        """``<encoder>_features`` of a clip, without those that it has not.

        The tensors are views of the file, which costs no copy; what is written to one stays in
        this process.

        Raises:
            MerrError: the clip is not in the cache.
        """
        row = self._row(clip["clip_id"])
        content = self._map(row[0])
        found: dict[str, Tensor] = {}
        for (name, facts, dtype, _), place in zip(self._kinds, row[3:], strict=True):
            if place != _MISSING:
                count = facts.size_bytes // dtype.itemsize
                flat = torch.frombuffer(content, dtype=dtype, count=count, offset=place)
                found[name] = flat.view(facts.shape)
        return found

    def picture(self, clip: Row) -> bytes | None:
        """The JPEG of a clip; of which frame says ``made_by.frame``.

        Raises:
            MerrError: the clip is not in the cache.
        """
        shard, place, length, *_ = self._row(clip["clip_id"])
        return None if place == _MISSING else self._map(shard)[place : place + length]

    def check_widths(self, widths: Mapping[str, int]) -> None:
        """Compare with what a model takes, by encoder.

        Raises:
            MerrError: features of an encoder have another width.
        """
        for name, facts in sorted(self.encoders.items()):
            wanted = widths.get(name)
            if wanted is not None and facts.width != wanted:
                raise MerrError(
                    f"{self.folder} has {name} features of width {facts.width} (by {facts.model} "
                    f"{facts.revision[:12]}), and the model takes {wanted}.\nMake a cache with the "
                    f"model's own encoder, or set model.widths.{name}={facts.width} for a new "
                    "model."
                )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}

    def _row(self, clip_id: str) -> list[int]:
        place = self._places.get(clip_id)
        if place is None:
            if clip_id in self.failed:
                why = f"could not be read when it was made: {self.failed[clip_id]}"
            else:
                why = "is not in it"
            raise MerrError(f"{self.folder}: clip {clip_id} {why}. Run `merr features` again.")
        row: list[int] = self._index[place].tolist()
        return row

    def _map(self, shard: int) -> mmap.mmap:
        """A shard's bytes, mapped in this process; what is written to them goes nowhere."""
        if shard not in self._maps:
            path = self.folder / self._names[shard]
            with path.open("rb") as file:
                self._maps[shard] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        return self._maps[shard]

    def _add(self, name: str, size_bytes: int) -> list[np.ndarray]:
        """Look up where the clips of a shard lie; the rows of the index for it."""
        path = self.folder / name
        if not path.is_file() or path.stat().st_size != size_bytes:
            raise MerrError(f"{path} is not there, or not whole. Run `merr features` again.")
        shard = len(self._names)
        self._names.append(name)
        whole = pa.py_buffer(self._map(shard))
        try:
            reader = pa.ipc.open_file(pa.BufferReader(whole))
            metadata = reader.schema.metadata or {}
            if difference := made_by_from(metadata[KEY]).difference(self.made_by):
                raise MerrError(f"{path} has {difference}. Make the cache again in a new folder.")
            self.failed.update(json.loads(metadata[FAILED_KEY]))
            groups = range(reader.num_record_batches)
            return [self._places_of(reader.get_batch(n), shard, whole.address) for n in groups]
        except (pa.ArrowException, ValueError, KeyError, TypeError) as error:
            raise MerrError(f"{path} is damaged ({error}). Make the cache again.") from error

    def _places_of(self, batch: pa.RecordBatch, shard: int, start: int) -> np.ndarray:
        found = np.full((len(batch), 3 + len(self._kinds)), _MISSING, np.int64)
        found[:, 0] = shard
        picture = batch.column("picture")
        _, offsets, data = picture.buffers()
        there = np.asarray(picture.is_valid())
        if data is not None:
            ends = np.frombuffer(offsets, np.int32, len(batch) + 1).astype(np.int64)
            found[there, 1] = (data.address - start + ends[:-1])[there]
            found[there, 2] = np.diff(ends)[there]
        for column, (name, _, _, size) in enumerate(self._kinds, start=3):
            features = batch.column(name)
            there = np.asarray(features.is_valid())
            places = features.buffers()[1].address - start + size * np.arange(len(batch))
            found[there, column] = places[there]
        for clip_id in batch.column("clip_id").to_pylist():
            self._places[clip_id] = self._rows  # a clip that was made again lies in a later shard
            self._rows += 1
        return found
