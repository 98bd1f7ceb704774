"""A training run that is killed, again and again, ends with the bytes of one that was not."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra train is not installed")
pytest.importorskip("transformers", reason="the extra train is not installed")

from made_emotion_llama import ANSWERS
from made_learning import made_dataset, made_language_model

pytestmark = [pytest.mark.extras, pytest.mark.long]

TESTS = Path(__file__).parent
STEPS, KILLS = 24, 4
CODE = f"""
import sys
from pathlib import Path
from made_learning import features_of, tiny_recipe
from merr_pipeline.training.loop import train
to, out, language_model = map(Path, sys.argv[1:])
more = ("learn.steps={STEPS}", "keep.save_every=1", "lora.dropout=0.1", "keep.validate_every=5")
train(tiny_recipe(to, out, language_model, *more), features_of)
"""


def start(*arguments: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CODE, *map(str, arguments)],
        cwd=TESTS,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(*arguments: Path) -> None:
    with start(*arguments) as run:
        told = run.communicate(timeout=300)[1]
    assert run.returncode == 0, told


def killed_after(to: Path, step: int, moment_s: float, *arguments: Path) -> None:
    """Start, and kill a moment after a checkpoint of this step or a later one is there."""
    with start(to, *arguments) as run:
        deadline = time.monotonic() + 200
        while not any(done >= step for done in steps_kept(to)):
            assert run.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(moment_s)
        run.send_signal(signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL


def steps_kept(to: Path) -> list[int]:
    kept = (to / "checkpoints").glob("checkpoint-*")
    return [int(one.name.removeprefix("checkpoint-")) for one in kept]


def learned(to: Path) -> dict[str, object]:
    weights = (to / "adapter/adapter_model.safetensors").read_bytes()
    summary = json.loads((to / "summary.json").read_text("utf-8"))
    told = {name: summary[name] for name in ("losses", "validation", "samples")}
    return {"adapter": hashlib.sha256(weights).hexdigest(), **told}


def test_a_run_killed_again_and_again_learns_the_same(tmp_path):
    out = made_dataset(
        tmp_path / "out", {"train": 8, "validation": 2}, lambda number: ANSWERS[number % 8]
    )
    language_model = made_language_model(tmp_path / "language_model")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    finished(whole, out, language_model)

    moments = random.Random(8)
    for number in range(KILLS):
        killed_after(cut, 2 + 4 * number, moments.uniform(0, 0.05), out, language_model)
        assert not (cut / "summary.json").exists()
    finished(cut, out, language_model)

    assert learned(cut) == learned(whole)
    assert len(learned(whole)["losses"]) == STEPS
