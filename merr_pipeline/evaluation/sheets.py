"""Reads a table out of an Excel file, or out of a CSV file of the same name.

Only what such tables of words need: the first sheet, its text, columns by their first row. An
``.xlsx`` is a zip of XML (ECMA-376), so no further package is asked for.
"""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from merr_pipeline.schema import MerrError

_SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_WORDS, _FIRST = "xl/sharedStrings.xml", re.compile(r"xl/worksheets/sheet\d+\.xml")

Cells = dict[str, str]
"""One row by the names of the columns; an empty cell is an empty text."""


def read_table(folder: Path, stem: str) -> list[Cells]:
    """The table ``stem.xlsx``, else ``stem.csv``, of a folder.

    Raises:
        MerrError: there is neither, or it cannot be read.
    """
    for suffix, read in ((".xlsx", _excel), (".csv", _csv)):
        path = folder / f"{stem}{suffix}"
        if path.is_file():
            try:
                return _by_name(list(read(path)))
            except (OSError, ValueError, KeyError, zipfile.BadZipFile, csv.Error) as error:
                raise MerrError(f"{path} cannot be read: {error}") from error
            except ElementTree.ParseError as error:
                raise MerrError(f"{path} cannot be read: {error}") from error
    raise MerrError(f"{folder} has neither {stem}.xlsx nor {stem}.csv.")


def _by_name(rows: list[list[str]]) -> list[Cells]:
    if not rows:
        return []
    names = [name.strip() for name in rows[0]]
    return [{n: row[i] if i < len(row) else "" for i, n in enumerate(names)} for row in rows[1:]]


def _csv(path: Path) -> Iterator[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from csv.reader(file)


def _excel(path: Path) -> Iterator[list[str]]:
    with zipfile.ZipFile(path) as book:
        names = book.namelist()
        items = (
            ElementTree.fromstring(book.read(_WORDS)).iter(f"{_SHEET}si") if _WORDS in names else ()
        )
        shared = [_text(item) for item in items]
        sheet = min((n for n in names if _FIRST.fullmatch(n)), key=lambda n: (len(n), n))
        for row in ElementTree.fromstring(book.read(sheet)).iter(f"{_SHEET}row"):
            yield _cells(row, shared)


def _cells(row: ElementTree.Element, shared: list[str]) -> list[str]:
    cells: list[str] = []
    for cell in row.iter(f"{_SHEET}c"):
        letters = re.match(r"[A-Z]+", cell.get("r", ""))
        place = _column(letters[0]) if letters else len(cells)
        cells.extend([""] * (place - len(cells)))
        value = cell.findtext(f"{_SHEET}v", "")
        kind = cell.get("t")
        if kind == "s":
            value = shared[int(value)]
        elif kind == "inlineStr":
            value = _text(cell)
        cells.append(value)
    return cells


def _column(letters: str) -> int:
    """``A`` is 0, ``AA`` is 26."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1


def _text(element: ElementTree.Element) -> str:
    return "".join(part.text or "" for part in element.iter(f"{_SHEET}t"))
