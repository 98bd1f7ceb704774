"""Tables of clips: CSV, JSONL or Parquet, with our columns or with those of a known dataset."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from merr_pipeline.encodings import decode
from merr_pipeline.schema import MerrError
from merr_pipeline.templates import load_template

COLUMNS = (
    "clip_id",
    "path",
    "label",
    "transcript",
    "language",
    "spoken_language",
    "original_transcript",
    "source_offset_s",
    "speaker_id",
    "source_id",
    "licence",
    "split",
)


class ManifestError(MerrError):
    """The table as a whole cannot be read as a manifest."""


@dataclass(frozen=True)
class Columns:
    """How a foreign table reads as a manifest (``--map`` and ``--preset``)."""

    names: Mapping[str, str] = field(default_factory=dict)  # theirs -> ours
    formats: Mapping[str, str] = field(default_factory=dict)  # ours -> "{Theirs}_{Others}"
    constants: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    asked: tuple[str, ...] = ()  # theirs that --map names, which must be there

    def unused(self, table: Iterable[object]) -> list[str]:
        """Columns of a table that nothing reads."""
        used = {*COLUMNS, *self.names, *re.findall(r"{(\w+)}", " ".join(self.formats.values()))}
        return [str(name) for name in table if str(name) not in used]


def read_columns(mapping: str = "", preset: str = "", templates: Path | None = None) -> Columns:
    """``--preset meld`` and ``--map name=clip_id,discrete=label``; the map wins.

    Raises:
        ManifestError: no such preset, or a map to a column that we do not have.
    """
    columns = _preset(preset, templates) if preset else Columns()
    names, asked = dict(columns.names), []
    for pair in filter(None, (part.strip() for part in mapping.split(","))):
        theirs, equals, ours = (text.strip() for text in pair.partition("="))
        if not equals or ours not in COLUMNS:
            raise ManifestError(
                f"--map {pair}: write theirs=ours, where ours is one of {', '.join(COLUMNS)}."
            )
        names = {key: value for key, value in names.items() if value != ours}
        names[theirs] = ours
        asked.append(theirs)
    return replace(columns, names=names, asked=tuple(asked))


def _preset(name: str, templates: Path | None) -> Columns:
    presets = load_template("manifest_presets.yaml", templates).data
    if name not in presets:
        raise ManifestError(f"--preset {name} is not known; there are {', '.join(presets)}.")
    entry = presets[name]
    return Columns(
        names=entry.get("columns", {}),
        formats=entry.get("formats", {}),
        constants=entry.get("constants", {}),
        values=entry.get("values", {}),
    )


def read_rows(path: Path, columns: Columns) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of a manifest in our columns, and the names of columns that nothing reads.

    Cells are text, blank ones are absent.

    Raises:
        ManifestError: the table cannot be read, or names neither paths nor ids.
    """
    table = _read_table(path)
    missing = [name for name in columns.asked if name not in table.columns]
    if missing:
        raise ManifestError(
            f"{path} has no column {', '.join(missing)}; "
            f"it has {', '.join(map(str, table.columns))}."
        )
    rows = [_translate(row, columns) for row in table.to_dict("records")]
    if rows and not any(row.get("path") or row.get("clip_id") for row in rows):
        raise ManifestError(
            f"{path} has neither a path nor a clip_id column; it has "
            f"{', '.join(map(str, table.columns))}.\n"
            "Say which is which with --map, e.g. --map file=path,emotion=label."
        )
    return rows, columns.unused(table.columns)


def _read_table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise ManifestError(f"manifest {path} is not a file.")
    try:
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(path)
        if path.suffix.lower() in {".jsonl", ".ndjson"}:
            return _read_jsonl(path)
        return _read_csv(path)
    except (ValueError, OSError, csv.Error) as error:
        raise ManifestError(f"manifest {path} cannot be read: {error}") from error


def _read_jsonl(path: Path) -> pd.DataFrame:
    """Every value as it stands; a reader of tables would make numbers of ids, and round them."""
    lines = _decode(path).splitlines()
    return pd.DataFrame([json.loads(line) for line in lines if line.strip()], dtype=object)


def _read_csv(path: Path) -> pd.DataFrame:
    """Text of every cell as it stands; a line with more cells than the header is an error."""
    header, *lines = list(csv.reader(io.StringIO(_decode(path), newline=""))) or [[]]
    for number, cells in enumerate(lines, start=2):
        if any(cell.strip() for cell in cells[len(header) :]):
            raise ManifestError(
                f"manifest {path}, row {number} has {len(cells)} cells, the header {len(header)}.\n"
                'Put texts that hold commas into "quotes".'
            )
    width = len(header)
    filled = [(cells + [""] * width)[:width] for cells in lines if cells]
    return pd.DataFrame(filled, columns=header, dtype=object)


def _decode(path: Path) -> str:
    try:
        return decode(path.read_bytes())[0]
    except ValueError as error:
        raise ManifestError(f"manifest {path} holds {error}; save it as UTF-8.") from error


def _translate(row: Mapping[Any, Any], columns: Columns) -> dict[str, Any]:
    """One row of their table in our columns; blank cells are absent."""
    theirs = {str(name): _cell(value) for name, value in row.items()}
    ours = {name: value for name, value in theirs.items() if name in COLUMNS}
    ours.update({columns.names[name]: theirs[name] for name in theirs if name in columns.names})
    for name, pattern in columns.formats.items():
        try:
            ours[name] = pattern.format_map(theirs)
        except KeyError as missing:
            raise ManifestError(f"the preset needs the column {missing}.") from missing
    ours.update(columns.constants)
    for name, values in columns.values.items():
        if ours.get(name) is not None:
            ours[name] = values.get(str(ours[name]), ours[name])
    return {name: value for name, value in ours.items() if value not in (None, "")}


def _cell(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return None
    if isinstance(value, float) and value.is_integer():  # an id that a reader took for a number
        return str(int(value))
    return str(value).strip() or None
