"""The tables of EMER: ``names,emotions,subtitles,reasons`` (v1) or ``name,chinese,english`` (v2).

==================  =============================================================================
their column        ours, in ``clips``
==================  =============================================================================
name(s)             ``clip_id``
emotions            ``label``, where it is one word of a label space; else ``open_labels``
subtitles           ``transcript``
reasons, english    ``fine_caption``
chinese             ``fine_caption`` where no English stands beside it, else ``imported``
all else            ``imported``
==================  =============================================================================
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from merr_pipeline.encodings import decode
from merr_pipeline.imports.found import Found, keep
from merr_pipeline.schema import MerrError

NAMES = ("names", "name")
COLUMNS = {
    "subtitles": "transcript",
    "reasons": "fine_caption",
    "english": "fine_caption",
    "chinese": "fine_caption",
}
"""In order of preference, where two would fill one column."""


def read(paths: Sequence[Path]) -> Found:
    """Read the tables.

    Raises:
        MerrError: one cannot be read, or has no column of names.
    """
    found = Found("emer")
    for path in paths:
        file = found.file(path, path.name)
        try:
            text, _ = decode(path.read_bytes())
        except (OSError, ValueError) as error:
            raise MerrError(f"{path} cannot be read: {error}") from error
        table = csv.DictReader(text.splitlines(keepends=True))
        heads = [head for head in table.fieldnames or () if head]
        name_column = next((head for head in heads if head in NAMES), None)
        if name_column is None:
            raise MerrError(f"{path} has no column name or names; it has {', '.join(heads)}.")
        for line in table:
            clip_id = (line[name_column] or "").strip()
            if not clip_id:
                found.reject(f"{file.name}:{table.line_num}", file, "it has no name")
                continue
            row = found.row(clip_id, file)
            for head in sorted(heads, key=list({**COLUMNS, **dict.fromkeys(heads)}).index):
                value = line[head]
                if head == name_column or not value:
                    continue
                column = COLUMNS.get(head)
                if head == "emotions":
                    found.set_label(row, value)
                elif column is not None and row[column] is None:
                    found.set_text(row, column, value)
                elif column is None or row[column] != value:
                    keep(row, file, None, head, value)
    return found
