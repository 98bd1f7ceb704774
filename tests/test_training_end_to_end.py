"""From sample clips to a model that answers about clips: all by the command line, in one go."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra train is not installed")
pytest.importorskip("transformers", reason="the extra train is not installed")

import yaml
from builds import SAMPLES, build, merr, rows
from made_parts import TOKENS, write_parts

from merr_pipeline.training.saved import load_run

pytestmark = [pytest.mark.extras, pytest.mark.long]

MERR9 = {"happy", "sad", "angry", "surprise", "fear", "worried", "contempt", "doubt", "neutral"}
TEST = {"surprise", "sadness_silent", "neutral"}
"""Of the one portrait; what looks alike shares a split, and two_people_cut shows both."""


def with_splits(folder: Path) -> Path:
    """The samples, of which some clips are for the test."""
    shutil.copytree(SAMPLES / "clips", folder / "clips")
    with (SAMPLES / "manifest.csv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*listed[0], "split"])
        writer.writeheader()
        for row in listed:
            if row["clip_id"] != "two_people_cut":
                writer.writerow({**row, "split": "test" if row["clip_id"] in TEST else "train"})
    return folder


def write_recipe(path: Path, parts: dict[str, Path], out: Path, clips: Path) -> Path:
    encoders = {name: str(place) for name, place in parts.items() if name != "language_model"}
    recipe = {
        "model": {
            "language_model": str(parts["language_model"]),
            "encoders": encoders,
            "dtype": "float32",
        },
        "data": {"out": str(out), "clips": str(clips), "longest": TOKENS},
        "learn": {"steps": 3, "learning_rate": 1e-3},
        "lora": {"rank": 4},
        "batch": {"samples": 4, "row_tokens": TOKENS, "workers": 0, "peak_tflops": 0.1},
    }
    path.write_text(yaml.safe_dump(recipe), "utf-8")
    return path


def test_from_clips_to_predictions(tmp_path):
    clips, out = with_splits(tmp_path / "input"), tmp_path / "out"
    build(out, clips=clips)
    parts = write_parts(tmp_path / "parts")
    recipe = write_recipe(tmp_path / "stage1.yaml", parts, out, clips)

    # what encoders see, once
    features = tmp_path / "features"
    told = merr("features", "--recipe", recipe, "--to", features)
    assert "7 clips, 7 made now" in told

    # two runs, the second from what the first has learned
    first, second = tmp_path / "first", tmp_path / "second"
    cached = ["--set", f"data.features={features}"]
    merr("train", recipe, *cached, "--set", f"to={first}", "--set", "data.granularities=[coarse]")
    merr("train", recipe, *cached, "--set", f"to={second}", "--set", f"model.start={first}")
    summary = json.loads((second / "summary.json").read_text("utf-8"))
    assert summary["samples_per_s"] > 0
    load_run(second, "cpu")

    # answers about the test split, scored
    scores = tmp_path / "scores"
    merr("evaluate", out, "--run", second, "--to", scores)
    said = (scores / "second.jsonl").read_text("utf-8").splitlines()
    answers = [json.loads(line) for line in said]
    there = {row["clip_id"]: row for row in rows(out, "clips")}
    assert {name for name, row in there.items() if row["split"] == "test"} == TEST
    assert {one["clip_id"] for one in answers} == TEST
    assert {one["task"] for one in answers} == {"emotion", "sentiment", "describe", "reason"}
    results = json.loads((scores / "results.json").read_text("utf-8"))
    assert results["dataset"]["with_label"] == 3
    assert set(results["answers"]) == {"second"}

    # and about a clip by itself: what was measured, and so what it is answered, is the same
    clip = clips / "clips" / "anger_subtitled.mp4"
    found = tmp_path / "predicted.json"
    merr("predict", clip, "--run", second, "--out", found, "--device", "cpu")
    [one] = json.loads(found.read_text("utf-8"))
    measured = there["anger_subtitled"]
    assert one["transcript"] == measured["transcript"]
    assert one["peak_time_s"] == measured["peak_time_s"]
    assert set(one["probabilities"]) == MERR9
    assert one["label"] in MERR9
    assert one["shown"] == ["image", "face", "temporal", "audio"]
    assert one["missing"] == {}
