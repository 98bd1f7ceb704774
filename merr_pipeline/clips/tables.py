"""Tables of clips: CSV, JSONL or Parquet, with our columns or with those of a known dataset."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
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

    @property
    def used(self) -> set[str]:
        """The names of columns that are read where a table has them."""
        return {*COLUMNS, *self.names, *re.findall(r"{(\w+)}", " ".join(self.formats.values()))}

    def unused(self, table: Iterable[object]) -> list[str]:
        """Columns of a table that nothing reads."""
        used = self.used
        return [str(name) for name in table if str(name) not in used]


@dataclass(frozen=True)
class Table:
    """What a file holds: the names of its columns, and of each row its cells and its place."""

    names: list[str]
    rows: list[dict[str, Any]]
    places: list[str]  # ``line 7`` of a text, ``row 6`` of a Parquet file


class Listing(NamedTuple):
    """The rows of a manifest in our columns, and what was noticed of it."""

    rows: list[dict[str, Any]]
    unused: list[str]  # columns that nothing reads
    guessed_encoding: str | None  # of a text that is no UTF


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


def read_rows(path: Path, columns: Columns) -> Listing:
    """The rows of a manifest in our columns, and the names of columns that nothing reads.

    Cells are text, blank ones are absent.

    Raises:
        ManifestError: the table cannot be read, or names neither paths nor ids.
    """
    table, encoding = _read_table(path, columns)
    missing = [name for name in columns.asked if name not in table.names]
    if missing:
        raise ManifestError(
            f"{path} has no column {', '.join(missing)}; it has {', '.join(table.names)}."
        )
    rows = [
        _translate(row, columns, f"manifest {path}, {place}")
        for row, place in zip(table.rows, table.places, strict=True)
    ]
    if rows and not any(row.get("path") or row.get("clip_id") for row in rows):
        raise ManifestError(
            f"{path} has neither a path nor a clip_id column; it has "
            f"{', '.join(table.names)}.\n"
            "Say which is which with --map, e.g. --map file=path,emotion=label."
        )
    guessed = None if encoding.startswith("utf") else encoding
    return Listing(rows, columns.unused(table.names), guessed)


def _read_table(path: Path, columns: Columns) -> tuple[Table, str]:
    """The table and its encoding."""
    if not path.is_file():
        raise ManifestError(f"manifest {path} is not a file.")
    try:
        if path.suffix.lower() == ".parquet":
            return _table_of(pd.read_parquet(path)), "utf-8"
        parse = _parse_jsonl if path.suffix.lower() in {".jsonl", ".ndjson"} else _parse_csv
        text, encoding = _decode(path.read_bytes(), parse, columns)
        return parse(text), encoding
    except (ValueError, OSError) as error:
        raise ManifestError(f"manifest {path} cannot be read: {error}") from error


def _table_of(frame: pd.DataFrame) -> Table:
    rows = [{str(name): cell for name, cell in row.items()} for row in frame.to_dict("records")]
    places = [f"row {number}" for number in range(1, len(rows) + 1)]
    return Table([str(name) for name in frame.columns], rows, places)


def _decode(raw: bytes, parse: Callable[[str], Table], columns: Columns) -> tuple[str, str]:
    """Text and encoding; which of the old encodings it is, the language in the table tells.

    Raises:
        ValueError: as `decode`.
    """
    try:
        text, encoding = decode(raw)
        if encoding.startswith("utf"):
            return text, encoding
    except ValueError:
        pass  # without the language
    return decode(raw, _language_in(raw, parse, columns))


def _language_in(raw: bytes, parse: Callable[[str], Table], columns: Columns) -> str | None:
    """The language of all rows, where it is one; its code is ASCII in every old encoding."""
    try:
        table = parse(raw.decode("latin-1"))
        rows = [_translate(row, columns, "") for row in table.rows]
    except (ValueError, ManifestError):
        return None
    named = {row["language"].lower() for row in rows if "language" in row}
    return named.pop() if len(named) == 1 else None


def _parse_jsonl(text: str) -> Table:
    """Every value as it stands; a reader of tables would make numbers of ids, and round them.

    Raises:
        ValueError: a line is no JSON object, or names something twice.
    """
    rows: list[dict[str, Any]] = []
    places: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):  # a string may hold U+2028
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_named_once)
        except json.JSONDecodeError as error:
            raise ValueError(f"line {number}, column {error.colno}: {error.msg}") from error
        except ValueError as error:
            raise ValueError(f"line {number} {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"line {number} holds {line.strip()[:40]}, and no object {{…}}")
        rows.append(row)
        places.append(f"line {number}")
    return Table(list(dict.fromkeys(name for row in rows for name in row)), rows, places)


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if twice := _twice(name for name, _ in pairs):
        raise ValueError(f"names {', '.join(twice)} twice")
    return dict(pairs)


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1 and name.strip()]


def _parse_csv(text: str) -> Table:
    """Text of every cell as it stands; places are the lines on which rows begin.

    Raises:
        ValueError: a column is named twice, a row has more cells than the header, a quotation mark
            is not closed, or text follows one.
    """
    lines = _csv_lines(text)
    _, names = next(lines, (1, []))
    if twice := _twice(names):
        raise ValueError(f"the header names {', '.join(twice)} twice")
    rows: list[dict[str, Any]] = []
    places: list[str] = []
    for number, cells in lines:
        if any(cell.strip() for cell in cells[len(names) :]):
            raise ValueError(
                f"line {number} has {len(cells)} cells, the header {len(names)}.\n"
                'Put texts that hold commas into "quotes".'
            )
        if cells:
            rows.append(dict(zip(names, cells + [""] * len(names), strict=False)))
            places.append(f"line {number}")
    return Table(names, rows, places)


def _csv_lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row, and the line on which it begins."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise ValueError(
                f"the row that begins on line {number}: {error}.\n"
                'A text that begins with a quotation mark must end with one; write ""such"" inside.'
            ) from error
        if cells is None:
            return
        yield number, cells


def _translate(row: Mapping[str, Any], columns: Columns, place: str) -> dict[str, Any]:
    """One row of their table in our columns; blank cells are absent.

    Raises:
        ManifestError: a column of the preset is not there, or a cell that is read is no text or
            number. It names the ``place``.
    """
    used = columns.used
    theirs = {name: _cell(value, name, place) for name, value in row.items() if name in used}
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


def _cell(value: Any, name: str, place: str) -> str | None:
    if isinstance(value, bool | np.bool_ | list | dict | tuple | np.ndarray):
        raise ManifestError(f"{place}: {name} holds {str(value)[:60]}; write it as text.")
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return None
    if isinstance(value, float) and value.is_integer():  # an id that a reader took for a number
        return str(int(value))
    return str(value).strip() or None
