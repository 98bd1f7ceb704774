"""The records of a finished dataset, each with its clip: what there is to learn.

Reads Parquet and manifest by the columns of `dataset/columns.py`; the two granularities are joined
with their clips shard by shard.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from merr_pipeline.exports.source import Source
from merr_pipeline.exports.wanted import SUBSETS, Wanted
from merr_pipeline.schema import MerrError, Row

COLUMNS = (
    *("clip_id", "label", "label_space", "coarse_language"),
    *("media_path", "kind", "frame_count", "has_sound", "face_track"),
)
"""Of ``clips``; and ``peak_frame`` where pictures are wanted."""


class NoRecordsError(MerrError):
    """There is no record of the wanted kinds in the wanted split."""


@dataclass(frozen=True)
class Record:
    """One question about one clip, and its answer."""

    record_id: str
    clip_id: str
    kind: str  # granularity and task: fine:reason
    task: str
    question: str
    answer: str
    transcript: str | None
    label: str | None


@dataclass(frozen=True)
class Records:
    """The records of one split, and their clips by id."""

    records: list[Record]
    clips: dict[str, Row]


def read_records(
    out: Path, split: str, subsets: tuple[str, ...] = SUBSETS, pictures: bool = True
) -> Records:
    """Read a split whole; a clip is some kB, and its picture some 40 kB more.

    Args:
        out: the output folder of a build.
        split: ``train``, ``validation`` or ``test``.
        subsets: ``coarse``, ``fine`` or both.
        pictures: whether the clips come with ``peak_frame``; cached features need none.

    Raises:
        MerrError: there is no finished dataset, it is of another version or damaged.
        NoRecordsError: it has no record in this split.
    """
    source = Source(out, Wanted(splits=(split,), subsets=subsets))
    columns = (*COLUMNS, "peak_frame") if pictures else COLUMNS
    found = Records([], {})
    for sample in source.samples(split, columns):
        if sample.records:
            found.clips[sample.clip["clip_id"]] = sample.clip
            found.records.extend(_record(row) for row in sample.records)
    if not found.records:
        raise NoRecordsError(f"{out} has no {' or '.join(subsets)} records in the split {split}.")
    return found


def _record(row: Row) -> Record:
    said = {message["role"]: message["content"] for message in row["messages"]}
    return Record(
        record_id=row["record_id"],
        clip_id=row["clip_id"],
        kind=f"{row['granularity']}:{row['task']}",
        task=row["task"],
        question=said["user"],
        answer=said["assistant"],
        transcript=row["transcript"],
        label=row["label"],
    )
