"""What an import has read: rows of ``clips``, what could not be read, what the user should know."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from merr_pipeline.dataset.columns import CLIPS
from merr_pipeline.dataset.folder import sha256_of
from merr_pipeline.dataset.row_checks import IMPORTED
from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.emotion.spaces import load_label_space
from merr_pipeline.schema import MOMENT, Reason, Row

SPACES = ("merr9", "basic7")  # the first that has a word decides its label
_AU_FIELDS = MOMENT.field("action_units").type.value_type.names
MOST_FRAMES = 2**31 - 1


@dataclass(frozen=True)
class SourceFile:
    """A file that was read, as ``sources.json`` names it."""

    name: str
    sha256: str
    size: int


@dataclass
class Found:
    """Rows by clip id, in the order in which they were met."""

    format: str
    rows: dict[str, Row] = field(default_factory=dict)
    rejected: list[Row] = field(default_factory=list)
    files: list[SourceFile] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)  # words that are no label

    def __post_init__(self) -> None:
        self._spaces = [load_label_space(name) for name in SPACES]
        units = load_action_units().units
        self._units = {code: unit.name for code, unit in units.items()}

    def file(self, path: Path, name: str) -> SourceFile:
        """Note that a file is read."""
        found = SourceFile(name, sha256_of(path), path.stat().st_size)
        self.files.append(found)
        return found

    def row(self, clip_id: str, file: SourceFile) -> Row:
        """The row of a clip, made on first sight; all that nobody has measured is null."""
        if clip_id not in self.rows:
            known = {"clip_id": clip_id, "other_paths": [], "flags": [IMPORTED]}
            empty = dict.fromkeys(CLIPS)
            self.rows[clip_id] = {**empty, **known, "provenance": [], "imported": []}
        row = self.rows[clip_id]
        entry = {
            **dict.fromkeys(("version", "model", "template")),
            **{"stage": "import", "tool": self.format},
            **{"revision": file.name, "fingerprint": file.sha256},
        }
        if entry not in row["provenance"]:
            row["provenance"].append(entry)
        return row

    def reject(self, clip_id: str, file: SourceFile, detail: str) -> None:
        """Something that should be a record and is none."""
        reason = Reason.BAD_RECORD.value
        told = {"stage": "import", "reason": reason, "detail": f"{file.name}: {detail}"}
        name = f"{file.name}#{clip_id}#{len(self.rejected) + 1}"  # like no clip, and no other
        self.rejected.append({"clip_id": name, "media_path": None, **told})

    def label_of(self, word: str) -> tuple[str, str] | None:
        """``(label space, label)`` of a word, or None."""
        for space in self._spaces:
            if (label := space.find(word)) is not None:
                return space.name, label
        return None

    def set_label(self, row: Row, word: Any) -> None:
        """Give a row its label, unless it has one; a word that is none is kept in open_labels."""
        if not isinstance(word, str) or not word.strip() or row["label"] is not None:
            return
        found = self.label_of(word)
        if found is not None:
            row["label_space"], row["label"], row["label_source"] = *found, IMPORTED
        if found is None or found[1] != word:
            row["open_labels"] = list(dict.fromkeys([*(row["open_labels"] or []), word]))
        if found is None:
            self.unknown[word] += 1

    def set_text(self, row: Row, column: str, text: Any) -> None:
        """A text and, beside it, that it was imported; what is no text, or empty, sets nothing."""
        if not isinstance(text, str) or not text or row[column] is not None:
            return
        row[column] = text
        if column in ("transcript", "tone"):
            row[f"{column}_status"], row[f"{column}_source"] = "ok", IMPORTED
        elif column in ("fine_caption", "coarse_caption"):
            row["text_source"] = IMPORTED
        elif column == "scene":
            row["scene_source"] = IMPORTED

    def unit(self, code: str, value: float | None = None) -> Row:
        """An Action Unit of ``action_units``, of which no more is known than this."""
        known = {"au": code, "name": self._units.get(code), "value_at_peak": value}
        return {**dict.fromkeys(_AU_FIELDS), **known}


def keep(row: Row, file: SourceFile, granularity: str | None, name: str, value: Any) -> None:
    """Put a field aside, exactly, that no column holds."""
    text = json.dumps(value, ensure_ascii=False)
    entry = {"file": file.name, "granularity": granularity, "field": name, "value": text}
    row["imported"].append(entry)


def texts_of(value: Any) -> Sequence[str] | None:
    """The value, if it is a list of texts."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    return None
