"""What an export is about to write, decided from a few small columns before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from merr_pipeline.exports.names import file_names
from merr_pipeline.exports.source import Source
from merr_pipeline.schema import MerrError, Row

LIGHT = ("clip_id", "label", "media_path", "kind", "has_sound", "licence", "imported")


@dataclass(frozen=True)
class Plan:
    """The wanted clips by split, and a file name for each."""

    clips: Mapping[str, list[Row]]
    names: Mapping[str, str]

    @property
    def every(self) -> list[Row]:
        """The clips of all splits."""
        return [row for rows in self.clips.values() for row in rows]


@dataclass
class Report:
    """What was written: rows by file, and what the user should know."""

    rows: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, count: int, what: str) -> None:
        """Tell of something that befell ``count`` clips, if it befell any."""
        if count:
            self.notes.append(f"{count} {what}")


def make_plan(source: Source) -> Plan:
    """Look at the clips.

    Raises:
        MerrError: none is wanted.
    """
    clips = {split: list(source.clips(split, LIGHT)) for split in source.splits()}
    if not any(clips.values()):
        raise MerrError(f"{source.folder} has no clip of what is wanted; leave out --split.")
    return Plan(clips, file_names(row["clip_id"] for rows in clips.values() for row in rows))
