"""The code path of ``benchmarks/training.py --gpu`` on a CPU, with a model of a moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra train is not installed")
pytest.importorskip("peft", reason="the extra train is not installed")

from measuring.training_steps import SHAPES, MadeExamples, merr_like_lengths

from merr_pipeline.emotion_llama.loss import IGNORED

pytestmark = pytest.mark.extras

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "training.py"


def test_it_runs_where_nothing_of_ours_is_installed(tmp_path):
    arguments = ["--gpu", "--shape", "tiny", "--variant", "sdpa", "--variant", "varlen"]
    arguments += ["--rows", "1", "--steps", "2", "--warm-up", "1", "--workers", "0"]
    hidden = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        cwd=tmp_path,
        env=os.environ | hidden,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    every = json.loads(done.stdout.splitlines()[-1])

    assert [one["variant"] for one in every] == ["sdpa", "varlen"]
    assert every[0]["losses"] == pytest.approx(every[1]["losses"], abs=1e-3)
    for one in every:
        assert one["tokens_per_sample"] == 60
        assert one["steps_measured"] == 2
        assert one["samples_per_s"] > 0
        assert 0 <= one["mfu"] < 1.1
        assert "P_lora" in one["mfu_formula"]


def test_without_a_gpu_the_whole_model_is_refused():
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--gpu"],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    assert "--shape tiny runs without one" in done.stderr


def test_examples_are_as_long_as_they_say():
    shape = SHAPES["tiny"]
    lengths = merr_like_lengths(30, shape)
    found = [MadeExamples(shape, lengths)[index] for index in range(30)]

    assert [len(one["input_ids"]) for one in found] == lengths
    assert len(set(lengths)) > 10
    assert all(one["labels"][-1] != IGNORED for one in found)


def test_the_reference_sample_has_600_tokens_of_which_260_are_features():
    shape = SHAPES["7b"]
    assert (shape.sample_tokens, shape.prefix, shape.row_tokens) == (600, 260, 8192)
