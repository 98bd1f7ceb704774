"""Mapping files as MERTools has them, small enough to reckon with by hand.

On every wheel joy is an inner class of ``happy`` and ``proud``; on wheel 5 ``proud`` is a class of
its own, and fear is on no wheel but the first.
"""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

JOY = [("Joy", "happy", "cheerful"), ("", "", "jolly"), ("", "proud", "smug")]
SADNESS = [("Sadness", "sad", "blue"), ("", "lonely", "alone")]
WHEELS = {
    1: [*JOY, *SADNESS, ("Fear", "scared", "afraid")],
    2: [*JOY, *SADNESS],
    3: [*JOY, *SADNESS],
    4: [*JOY, *SADNESS],
    5: [*JOY[:2], ("Pride", "proud", "smug"), *SADNESS],
}
FORMS = {
    "happy": "happily, happier",
    "glad": "gladly,gladness",
    "proud": "proudly",
    "sad": "sadly,sadness",
    "afraid": "afraid",
    "unheard": "unheard",
}
SYNONYMS = {  # word of a wheel -> its synonyms, in run 1; run 2 has the second row's
    "happy": "['glad', 'Merry']",
    "sad": "unhappy, glad about nothing",
    "proud": "",
    "afraid": "scared stiff",
}


def write_wheels(folder: Path, excel: bool = True) -> Path:
    """All seven files; as ``.xlsx`` of shared and inline texts, or as ``.csv``."""
    folder.mkdir(parents=True)
    _csv(folder / "format.csv", [("name", "format"), *FORMS.items()])
    runs = [(f"word_run{n}", f"synonym_run{n}") for n in range(1, 9)]
    head = [name for pair in runs for name in pair]
    rows = [(word, said) * 8 for word, said in SYNONYMS.items()]
    _write(folder / "synonym", [head, *rows], excel)
    for number, rows_of in WHEELS.items():
        _write(folder / f"wheel{number}", [("level1", "level2", "level3"), *rows_of], excel)
    return folder


def _write(stem: Path, rows: Sequence[Sequence[str]], excel: bool) -> None:
    if excel:
        _excel(stem.with_suffix(".xlsx"), rows)
    else:
        _csv(stem.with_suffix(".csv"), rows)


def _csv(path: Path, rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


SPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def _excel(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """The first column as shared texts, the others inline; empty cells are left out."""
    shared: list[str] = []
    lines = []
    for y, row in enumerate(rows, start=1):
        cells = []
        for x, text in enumerate(row):
            place = f"{chr(ord('A') + x)}{y}"
            if text and x == 0:
                shared.append(text)
                cells.append(f'<c r="{place}" t="s"><v>{len(shared) - 1}</v></c>')
            elif text:
                inside = f"<is><t>{escape(text)}</t></is>"
                cells.append(f'<c r="{place}" t="inlineStr">{inside}</c>')
        lines.append(f'<row r="{y}">{"".join(cells)}</row>')
    texts = "".join(f"<si><t>{escape(text)}</t></si>" for text in shared)
    sheet = f'<worksheet xmlns="{SPACE}"><sheetData>{"".join(lines)}</sheetData></worksheet>'
    with zipfile.ZipFile(path, "w") as book:
        book.writestr("xl/worksheets/sheet1.xml", sheet)
        book.writestr("xl/sharedStrings.xml", f'<sst xmlns="{SPACE}">{texts}</sst>')
