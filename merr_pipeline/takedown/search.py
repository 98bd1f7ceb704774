"""The proof of a takedown: looking for the clips in every file of an output folder."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from merr_pipeline.takedown.wanted import Taken

NAME_COLUMNS = ("clip_id", "media_path", "other_paths", "near_duplicates")


def leftovers(out: Path, taken: Taken) -> list[str]:
    """Where one of the clips is still found, by file; none is the proof.

    Their hashes are looked for in every byte (of Parquet in every value), their ids and paths in
    the columns that hold such.
    """
    found = []
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name = path.relative_to(out).as_posix()
        if path.suffix == ".parquet" and not path.name.startswith("damaged-"):
            found += [f"{name}: column {column}" for column in _in_table(path, taken)]
        elif _in_bytes(path, taken):
            found.append(name)
    return found


def _in_table(path: Path, taken: Taken) -> Iterator[str]:
    for field in pq.read_schema(path):
        if _is_text(field.type):
            values = pq.read_table(path, columns=[field.name], partitioning=None)[0]
            is_name = field.name in NAME_COLUMNS
            if any(_tells(text, taken, is_name) for v in values.to_pylist() for text in _texts(v)):
                yield field.name


def _tells(text: str, taken: Taken, is_name: bool) -> bool:
    if is_name and (text in taken.clip_ids or text in taken.paths):
        return True
    return any(sha256 in text for sha256 in taken.sha256s)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind):
        return _is_text(kind.value_type)
    if pa.types.is_struct(kind):
        return any(_is_text(field.type) for field in kind)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _in_bytes(path: Path, taken: Taken) -> bool:
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            content = b""
    whole = content + path.name.encode()
    return any(sha256.encode() in whole for sha256 in taken.sha256s)
