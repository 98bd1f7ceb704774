"""What differs between two datasets: which clips, labels and texts, and what was made otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from merr_pipeline.dataset.folder import DATASET, read_manifest
from merr_pipeline.schema import MerrError, Row

MADE_BY: Mapping[str, Sequence[str]] = {
    "label": ("label",),
    "label_source": ("label",),
    "peak_frame_index": ("moment",),
    "transcript": ("transcript",),
    "tone": ("tone",),
    "scene": ("scene",),
    "visual_expression": ("dataset",),
    "coarse_caption": ("dataset",),
    "fine_caption": ("fine",),
    "review": ("agreement",),
    "fine_selection": ("selection",),
}
"""What is compared of a clip that is in both, with the entry of ``provenance`` that made it."""

BUILT_ON: Mapping[str, Sequence[str]] = {
    "probe": (),
    "voice": ("probe",),
    "transcript": ("probe", "voice"),
    "face": ("probe",),
    "moment": ("probe", "voice", "face"),
    "tone": ("voice", "transcript"),
    "scene": ("probe", "face", "moment"),
    "label": ("face", "moment"),
    "fine": ("probe", "voice", "transcript", "face", "moment", "tone", "scene", "label"),
    "dataset": ("fine", "scene", "tone", "transcript", "moment", "label"),
    "agreement": ("label", "fine"),
    "selection": ("label", "fine", "agreement"),
}
"""The stages that each builds on, as `BatchStage.needs` has it (a test holds them together)."""


@dataclass(frozen=True)
class Change:
    """A value that differs, and the fingerprints that do: of the stage itself, or what it needs."""

    clip_id: str
    column: str
    old: object
    new: object
    because: tuple[str, ...]  # stages; empty where only the input differs: clip, sidecar, manifest


@dataclass
class Difference:
    """Two datasets side by side; ``a`` is the older."""

    only_in_a: list[str] = field(default_factory=list)
    only_in_b: list[str] = field(default_factory=list)
    moved: dict[str, tuple[str, str]] = field(default_factory=dict)  # clip_id -> split, split
    other_bytes: list[str] = field(default_factory=list)  # the same id, another file
    changes: list[Change] = field(default_factory=list)
    fingerprints: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)

    @property
    def is_none(self) -> bool:
        """Whether the two have the same clips with the same labels and texts."""
        found = (self.only_in_a, self.only_in_b, self.moved, self.other_bytes, self.changes)
        return not any(found)

    def counts(self) -> dict[str, int]:
        """How many clips changed in each column."""
        return dict(Counter(change.column for change in self.changes))


def compare(a: Path, b: Path) -> Difference:
    """Compare the datasets of two output folders (or two dataset folders).

    Raises:
        MerrError: one of them holds no dataset that can be read.
    """
    old, new = _read(a), _read(b)
    found = Difference(
        only_in_a=sorted(old.keys() - new.keys()), only_in_b=sorted(new.keys() - old.keys())
    )
    for clip_id in sorted(old.keys() & new.keys()):
        one, other = old[clip_id], new[clip_id]
        prints, changed = _fingerprints(one), set()
        for stage, fingerprint in _fingerprints(other).items():
            if prints.get(stage) != fingerprint:
                changed.add(stage)
                found.fingerprints[stage] = prints.get(stage), fingerprint
        for stage in prints.keys() - _fingerprints(other).keys():
            changed.add(stage)
            found.fingerprints[stage] = prints[stage], None
        if one["split"] != other["split"]:
            found.moved[clip_id] = one["split"], other["split"]
        if one["sha256"] != other["sha256"]:
            found.other_bytes.append(clip_id)
        found.changes += _changes(clip_id, one, other, changed)
    return found


def _changes(clip_id: str, one: Row, other: Row, changed: Collection[str]) -> Iterator[Change]:
    for column, makers in MADE_BY.items():
        if one.get(column) != other.get(column):
            because = tuple(sorted(_above(makers) & set(changed)))
            yield Change(clip_id, column, one.get(column), other.get(column), because)


def _above(stages: Sequence[str]) -> set[str]:
    """These and all that they build on."""
    found = set(stages)
    for stage in stages:
        found |= _above(BUILT_ON.get(stage, ()))
    return found


def _fingerprints(row: Row) -> dict[str, str]:
    return {entry["stage"]: entry["fingerprint"] for entry in row["provenance"]}


def _read(folder: Path) -> dict[str, Row]:
    dataset = folder / DATASET if (folder / DATASET).is_dir() else folder
    manifest = read_manifest(dataset)
    if manifest is None:
        raise MerrError(f"{folder} holds no finished dataset. Give the --out of a build.")
    wanted = ["clip_id", "sha256", "split", "provenance", *MADE_BY]
    rows: dict[str, Row] = {}
    for name in sorted(manifest.files):
        if name.startswith("clips/"):
            there = set(pq.read_schema(dataset / name).names)
            columns = [column for column in wanted if column in there]
            found = pq.read_table(dataset / name, columns=columns).to_pylist()
            rows |= {row["clip_id"]: row for row in found}
    return rows
