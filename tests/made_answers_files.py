"""Datasets with a known truth, and answers files about them, for tests of the evaluation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from made_rows import MadeStore, made_clip, made_identities

from merr_pipeline.dataset.assemble import assemble
from merr_pipeline.schema import ClipId
from merr_pipeline.settings import load_settings

TRUE = {
    "a": "happy",
    "b": "happy",
    "c": "sad",
    "d": "sad",
    "e": "angry",
    "f": "neutral",
    "g": "surprise",
    "h": None,
}
"""Clips of the test split; `learned` is in the training split."""

TEXT = "The clues point to a smile. Therefore the emotion is {}."


def evaluated(out: Path, labels: Mapping[str, str | None] | None = None) -> Path:
    """A finished dataset; the fine texts of a and c were written blind, all others told."""
    store, clips = MadeStore(), []
    for number, (name, label) in enumerate({**(labels or TRUE), "learned": "happy"}.items()):
        split = "train" if name == "learned" else "test"
        clip = replace(made_clip(number, split=split, source_id=name), clip_id=ClipId(name))
        changes: dict[str, dict[str, Any]] = {"label": {"label": label, "candidates": []}}
        if label is None:
            changes["label"]["label_source"] = None
        if name in "ac":
            changes["fine"] = {
                "text_source": "llm_blind",
                "llm_label": label,
                "open_labels": ["joyful"] if name == "a" else [],
                "llm_confidence": 0.9,
                "llm_agrees": True,
                "fine_caption": TEXT.format(label),
            }
        store.add(clip, **changes)
        clips.append(clip)
    assemble(out, clips, store, [], load_settings(environment={}), made_identities())
    return out


def line(clip_id: str, answer: str, **more: Any) -> dict[str, Any]:
    return {
        "clip_id": clip_id,
        "task": "emotion",
        "record_id": None,
        "question": None,
        "answer": answer,
        "label_probabilities": None,
        **more,
    }


def write_answers(path: Path, *lines: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(one)}\n" for one in lines), "utf-8")
    return path
