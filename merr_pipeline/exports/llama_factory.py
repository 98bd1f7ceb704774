"""LLaMA-Factory: ``messages`` with ``<video><audio>`` before the question, and dataset_info.json.

Rules of its loader (0.9.5, data/converter.py and data/mm_plugin.py): roles alternate, user first;
each of ``images``, ``videos``, ``audios`` is as long as its tag is often in the messages; a path is
looked for under ``media_dir``, which is the dataset's folder unless it is set.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from merr_pipeline.exports.media import MediaWriter, Placed, check_media
from merr_pipeline.exports.plan import Plan, Report
from merr_pipeline.exports.source import Source
from merr_pipeline.exports.talk import turns
from merr_pipeline.exports.wanted import Wanted

COLUMNS = ("clip_id", "label", "media_path", "kind", "has_sound")
TAGS = {"role_tag": "role", "content_tag": "content"} | {
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}


def write(folder: Path, source: Source, wanted: Wanted, plan: Plan) -> Report:
    """One JSON file for each subset and split, and their entries in dataset_info.json."""
    report = Report()
    if wanted.images:
        check_media(plan.every, wanted)
    media = MediaWriter(folder, wanted, plan.names)
    info = {}
    for split in plan.clips:
        rows: dict[str, list[dict[str, Any]]] = {subset: [] for subset in wanted.subsets}
        for sample in source.samples(split, COLUMNS):
            placed = media.place(sample.clip) if sample.records else Placed()
            for record in sample.records:
                rows[record["granularity"]].append(_row(*turns(record), placed))
        for subset, found in rows.items():
            if found:
                name = f"merr_{subset}_{split}"
                text = json.dumps(found, indent=1, ensure_ascii=False)
                (folder / f"{name}.json").write_text(f"{text}\n", "utf-8")
                info[name] = _entry(name, found)
                report.rows[f"{name}.json"] = len(found)
    text = json.dumps(info, indent=2)
    (folder / "dataset_info.json").write_text(f"{text}\n", "utf-8")
    report.note(media.silent, "clips have sound that cannot be decoded; they come without")
    return report


def _row(question: str, answer: str, placed: Placed) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": f"{placed.tags}{question}"},
            {"role": "assistant", "content": answer},
        ],
        "images": [placed.image] if placed.image else [],
        "videos": [placed.video] if placed.video else [],
        "audios": [placed.audio] if placed.audio else [],
    }


def _entry(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Only media that some row has are columns: a list of empty lists has no type."""
    used = [kind for kind in ("images", "videos", "audios") if any(row[kind] for row in rows)]
    return {
        "file_name": f"{name}.json",
        "formatting": "sharegpt",
        "columns": {"messages": "messages", **{kind: kind for kind in used}},
        "tags": TAGS,
    }
