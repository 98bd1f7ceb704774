"""TRL: conversational prompt and completion with typed content, and the peak frame as ``images``.

Rules of its trainer (1.16.0, data_utils.py and trainer/sft_trainer.py): each ``{"type": "image"}``
of the prompt stands for one entry of ``images``; text parts have ``text``. It has no way for sound
or film, so the words stand in the prompt, and the pictures lie in the Parquet itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features, Image, Value
from datasets import List as ListOf

from merr_pipeline.dataset.shards import ROW_GROUP_SIZE, batched
from merr_pipeline.exports.plan import Plan, Report
from merr_pipeline.exports.source import Sample, Source
from merr_pipeline.exports.talk import quiet, turns
from merr_pipeline.exports.wanted import Wanted
from merr_pipeline.schema import Row

COLUMNS = ("clip_id", "label", "transcript")
SAID = 'The person in the video says: "{words}"\n'
_TURN = {
    "role": Value("string"),
    "content": ListOf({"type": Value("string"), "text": Value("string")}),
}
_NAMES = ("clip_id", "record_id", "task")


def write(folder: Path, source: Source, wanted: Wanted, plan: Plan) -> Report:
    """One Parquet file for each subset and split."""
    report, without = Report(), 0
    columns = (*COLUMNS, "peak_frame") if wanted.images else COLUMNS
    schema = _features(wanted).arrow_schema
    for split in plan.clips:
        paths = {s: folder / s / f"{split}.parquet" for s in wanted.subsets}
        for path in paths.values():
            path.parent.mkdir(exist_ok=True)
        writers = {s: pq.ParquetWriter(p, schema, compression="zstd") for s, p in paths.items()}
        counts = dict.fromkeys(wanted.subsets, 0)
        for batch in batched(source.samples(split, columns), ROW_GROUP_SIZE):
            for subset, writer in writers.items():
                rows = [row for sample in batch for row in _rows(sample, subset, wanted)]
                without += sum(wanted.images and not row["images"] for row in rows)
                counts[subset] += len(rows)
                if rows:
                    writer.write_table(pa.Table.from_pylist(rows, schema=schema))
        for subset, path in paths.items():
            writers[subset].close()
            if counts[subset]:
                report.rows[f"{subset}/{path.name}"] = counts[subset]
            else:
                path.unlink()
    for subset in wanted.subsets:
        if not any((folder / subset).iterdir()):
            (folder / subset).rmdir()
    report.note(without, "records have no picture: their clips show no peak")
    return report


def _features(wanted: Wanted) -> Features:
    columns: dict[str, Any] = {"prompt": ListOf(_TURN), "completion": ListOf(_TURN)}
    columns |= {"images": ListOf(Image())} if wanted.images else {}
    return Features({**columns, **{name: Value("string") for name in _NAMES}})


def _rows(sample: Sample, subset: str, wanted: Wanted) -> list[Row]:
    return [_row(sample.clip, r, wanted) for r in sample.records if r["granularity"] == subset]


def _row(clip: Row, record: Row, wanted: Wanted) -> Row:
    question, answer = turns(record)
    words = SAID.format(words=quiet(clip["transcript"])) if clip["transcript"] else ""
    pictures = [clip["peak_frame"]] if wanted.images and clip["peak_frame"] else []
    shown = [{"type": "image", "text": None} for _ in pictures]
    row = {
        "prompt": [{"role": "user", "content": [*shown, _text(f"{words}{question}")]}],
        "completion": [{"role": "assistant", "content": [_text(answer)]}],
        **{name: record[name] for name in _NAMES},
    }
    return row | ({"images": pictures} if wanted.images else {})


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}
