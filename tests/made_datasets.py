"""Finished datasets of made rows, and the same with rows changed: what no build would leave."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from builds import rows
from test_dataset_assemble import Made

from merr_pipeline.dataset.folder import FileFacts, Manifest, sha256_of, write_manifest
from merr_pipeline.dataset.shards import SubsetWriter, file_name

Row = dict[str, Any]


def assembled(out: Path, count: int = 30) -> Path:
    """As a build leaves it, of made rows; three clips are rejected, two of them for one reason."""
    made = Made(out, count)
    for clip, coverage in zip(made.clips[:2], (0.1, 0.2), strict=True):
        made.store.add(clip, moment={"face_coverage": coverage})
    made.store.add(
        made.clips[2], face={"status": "failed", "reason": "tool_timeout", "detail": "<b>"}
    )
    made.assemble()
    return out


def rewritten(source: Path, out: Path, change: Callable[[int, Row], Row | None]) -> Path:
    """A dataset with the rows of another; ``change`` gets number and row, and gives it or none."""
    changed = [change(number, row) for number, row in enumerate(rows(source, "clips"))]
    write_dataset(out, [row for row in changed if row], rows(source, "rejected"))
    shutil.copytree(source / "dataset" / "templates", out / "dataset" / "templates")
    return out


def write_dataset(out: Path, clips: Sequence[Row], rejected: Sequence[Row] = ()) -> None:
    """A dataset folder with these rows, by their ``split``; no card, no records."""
    folder, files = out / "dataset", {}
    by_split: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in clips:
        by_split["clips", row["split"]].append(row)
    if rejected:
        by_split["rejected", "all"] = list(rejected)
    for (subset, split), some in sorted(by_split.items()):
        name = file_name(subset, split, 0, 1)
        with SubsetWriter(folder / name, subset, "made") as writer:
            writer.add(sorted(some, key=lambda row: row["clip_id"]))
        files[name] = FileFacts(sha256_of(folder / name), len(some), "made")
    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(folder, Manifest("made" * 16, files))
