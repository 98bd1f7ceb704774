"""ms-swift: JSON lines for SFT and for GRPO, plain and with thinking.

::

    sft-plain-SPLIT.jsonl    every instruction record
    sft-think-SPLIT.jsonl    ``<think>the fine text</think><answer>label</answer>``, where that text
                             was not written for a label that was given
    grpo-plain-SPLIT.jsonl   the question for the label, and the label as ``solution``
    grpo-think-SPLIT.jsonl   the same, asked to think first

Rules of its loader (4.6.0, swift/dataset/preprocessor/core.py): ``messages`` of ``role`` and
``content``; ``images``, ``videos``, ``audios`` beside them, one for each tag; ``label`` is a column
of its own there, so that ours is not called so; ``solution`` and every further column reach the
reward functions. Relative paths are found from the working folder or under ROOT_IMAGE_DIR.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from merr_pipeline.exports.media import MediaWriter, Placed, check_media
from merr_pipeline.exports.plan import Plan, Report
from merr_pipeline.exports.source import Sample, Source
from merr_pipeline.exports.talk import THINK, thought, turns
from merr_pipeline.exports.wanted import Wanted
from merr_pipeline.schema import Row

KINDS = ("sft-plain", "sft-think", "grpo-plain", "grpo-think")
COLUMNS = (
    *("clip_id", "label", "label_source", "media_path", "kind", "has_sound"),
    *("fine_caption", "text_source", "llm_label"),
)


def write(folder: Path, source: Source, wanted: Wanted, plan: Plan) -> Report:
    """Four files for each split; one without rows is not written."""
    report = Report()
    if wanted.images:
        check_media(plan.every, wanted)
    media = MediaWriter(folder, wanted, plan.names)
    for split in plan.clips:
        paths = {kind: folder / f"{kind}-{split}.jsonl" for kind in KINDS}
        counts = dict.fromkeys(KINDS, 0)
        with ExitStack() as stack:
            files = {
                k: stack.enter_context(p.open("w", encoding="utf-8")) for k, p in paths.items()
            }
            for sample in source.samples(split, COLUMNS):
                placed = media.place(sample.clip) if sample.records else Placed()
                for kind, row in _rows(sample, placed):
                    files[kind].write(json.dumps(row, ensure_ascii=False) + "\n")
                    counts[kind] += 1
        for kind, path in paths.items():
            if counts[kind]:
                report.rows[path.name] = counts[kind]
            else:
                path.unlink()
    if not any(name.startswith("sft-think") for name in report.rows):
        report.notes.append("no sft-think: every fine text was written for a label that was given")
    report.note(media.silent, "clips have sound that cannot be decoded; they come without")
    return report


def _rows(sample: Sample, placed: Placed) -> Iterator[tuple[str, dict[str, Any]]]:
    for record in sample.records:
        question, answer = turns(record)
        yield "sft-plain", _row(record, placed, question, answer)
        if record["task"] == "emotion":
            asked = {"grpo-plain": question, "grpo-think": THINK.format(question=question)}
            for kind, said in asked.items():
                yield kind, _row(record, placed, said, None) | {"solution": answer}
    for record, question, answer in thought(sample):
        yield "sft-think", _row(record, placed, question, answer)


def _row(record: Row, placed: Placed, question: str, answer: str | None) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"{placed.tags}{question}"}]
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    media = {
        "images": [placed.image] if placed.image else [],
        "videos": [placed.video] if placed.video else [],
        "audios": [placed.audio] if placed.audio else [],
    }
    return {"messages": messages, **media, "clip_id": record["clip_id"], "task": record["task"]}
