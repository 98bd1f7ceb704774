"""The files of a feature cache: Arrow shards, and a manifest that is written last.

::

    CACHE/part-00000.arrow    Arrow IPC file, uncompressed, record batches of 16 clips
    CACHE/part-00001.arrow
    CACHE/manifest.json       says which shards there are; without it the cache is unfinished

Columns: ``clip_id``; ``made_from``, the hash of all that the row was made from; ``picture``, a
JPEG; ``<encoder>_features``, as many bytes as shape and dtype say. What a clip has not is null.
Arrow has no bfloat16, so vectors are bytes. The schema metadata of every shard says by what the
vectors were made (`KEY`), and which clips of its turn could not be read, and why (`FAILED_KEY`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import pyarrow as pa

from merr_pipeline.files import atomic_path, write_atomically
from merr_pipeline.schema import MerrError, Row

FORMAT = 1
GROUP_CLIPS = 16
KEY, FAILED_KEY = b"merr.features", b"merr.failed"
MANIFEST = "manifest.json"
ITEM_BYTES = {"bfloat16": 2, "float32": 4}


@dataclass(frozen=True)
class Encoded:
    """What one encoder's features are, and what made them."""

    model: str  # model_type of its configuration
    revision: str  # hash of its configuration and weights
    preprocessing: str  # hash of how clips become its input, and its output features
    shape: tuple[int, ...]  # of one clip
    dtype: str  # a name of ITEM_BYTES

    @property
    def size_bytes(self) -> int:
        """Of one clip."""
        return prod(self.shape) * ITEM_BYTES[self.dtype]

    @property
    def width(self) -> int:
        """Of one vector."""
        return self.shape[-1]


@dataclass(frozen=True)
class MadeBy:
    """By what a cache was made: shards of another one never come in."""

    frame: str  # which frame the picture is: peak, first, middle, random
    encoders: Mapping[str, Encoded]

    def to_json(self) -> str:
        """Encoders by name."""
        return json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True)

    def difference(self, other: MadeBy) -> str | None:
        """What is not the same, in words."""
        if self.frame != other.frame:
            return f"pictures of the {self.frame} frame, not of the {other.frame} one"
        if set(self.encoders) != set(other.encoders):
            names = [", ".join(sorted(one.encoders)) or "none" for one in (self, other)]
            return f"features of {names[0]}, not of {names[1]}"
        for name, mine in sorted(self.encoders.items()):
            theirs = other.encoders[name]
            for part in ("model", "revision", "preprocessing", "shape", "dtype"):
                one, two = getattr(mine, part), getattr(theirs, part)
                if one != two:
                    return f"{name}: {part} {_short(one)}, not {_short(two)}"
        return None


def made_by_from(text: str | bytes) -> MadeBy:
    """What `MadeBy.to_json` wrote.

    Raises:
        ValueError: it is something else, or of another format.
    """
    found = json.loads(text)
    if found.get("format") != FORMAT:
        raise ValueError(f"format {found.get('format')}; this program reads {FORMAT}")
    encoders = {
        name: Encoded(**{**facts, "shape": tuple(facts["shape"])})
        for name, facts in found["encoders"].items()
    }
    return MadeBy(found["frame"], encoders)


@dataclass(frozen=True)
class Manifest:
    """``manifest.json``: the shards by name, each with its size and rows."""

    made_by: MadeBy
    shards: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # bytes, clips

    def write(self, folder: Path) -> None:
        """Write it, after the shards."""
        text = {"made_by": json.loads(self.made_by.to_json()), "shards": self.shards}
        content = json.dumps(text, indent=2, sort_keys=True) + "\n"
        write_atomically(folder / MANIFEST, content.encode())


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a finished cache.

    Raises:
        MerrError: there is none, or it is something else.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise MerrError(
            f"{folder} holds no finished feature cache: there is no {MANIFEST}.\n"
            "Make one with `merr features`, or run that again if it was stopped."
        )
    try:
        found = json.loads(path.read_bytes())
        return Manifest(made_by_from(json.dumps(found["made_by"])), found["shards"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise MerrError(
            f"{path} is no manifest of a feature cache ({error}). Make the cache again."
        ) from error


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"part-{number:05d}.arrow"


def schema_of(made_by: MadeBy, failed: Mapping[str, str]) -> pa.Schema:
    """Columns and metadata of a shard."""
    features = [
        pa.field(f"{name}_features", pa.binary(facts.size_bytes))
        for name, facts in sorted(made_by.encoders.items())
    ]
    columns = [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("made_from", pa.string(), nullable=False),
        pa.field("picture", pa.binary()),
        *features,
    ]
    return pa.schema(
        columns,
        {KEY: made_by.to_json().encode(), FAILED_KEY: json.dumps(failed, sort_keys=True).encode()},
    )


def write_shard(
    path: Path, made_by: MadeBy, rows: Sequence[Row], failed: Mapping[str, str]
) -> None:
    """Write a shard whole or not at all; the same rows give the same bytes."""
    schema = schema_of(made_by, failed)
    with (
        atomic_path(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        for start in range(0, len(rows), GROUP_CLIPS):
            group = list(rows[start : start + GROUP_CLIPS])
            writer.write_batch(pa.RecordBatch.from_pylist(group, schema=schema))


def revision_of(folder: Path) -> str:
    """Hash of an encoder's configuration and weights: what it is, wherever it lies.

    Raises:
        MerrError: the folder has no configuration or no weights.
    """
    weights = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    files = [folder / "config.json", *weights]
    if not weights or not files[0].is_file():
        raise MerrError(
            f"{folder} is no folder of a pretrained encoder: it needs config.json and weights."
        )
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def content_hash(*parts: Any) -> str:
    """Of values that JSON has."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _short(value: Any) -> str:
    return value[:12] if isinstance(value, str) else str(value)


@dataclass(frozen=True)
class ShardFacts:
    """What a shard says of itself."""

    made_by: MadeBy
    made_from: Mapping[str, str]  # by clip_id
    failed: Mapping[str, str]  # clip_id -> why


def shard_numbers(folder: Path) -> list[int]:
    """Of all shards in a folder, in their order."""
    return sorted(int(path.stem.partition("-")[2]) for path in folder.glob("part-*.arrow"))


def read_shard(path: Path) -> ShardFacts:
    """Ids and metadata of a shard; its vectors are not touched.

    Raises:
        MerrError: it cannot be read.
    """
    try:
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source)
            metadata = reader.schema.metadata or {}
            batches = [reader.get_batch(n) for n in range(reader.num_record_batches)]
            made_from = {
                clip_id: made_from
                for batch in batches
                for clip_id, made_from in zip(
                    batch["clip_id"].to_pylist(), batch["made_from"].to_pylist(), strict=True
                )
            }
            failed = json.loads(metadata[FAILED_KEY])
            return ShardFacts(made_by_from(metadata[KEY]), made_from, failed)
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise MerrError(
            f"{path} is no shard of a feature cache that can be read ({error}).\n"
            "Delete it and run `merr features` again, which makes what is missing."
        ) from error


def thin_shard(path: Path, keep: set[str], failed: Mapping[str, str]) -> None:
    """Write a shard again with fewer clips."""
    facts = read_shard(path)
    with pa.memory_map(str(path)) as source:
        rows = [
            row for row in pa.ipc.open_file(source).read_all().to_pylist() if row["clip_id"] in keep
        ]
    write_shard(path, facts.made_by, rows, failed)
