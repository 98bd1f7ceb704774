"""Several ranks learn what one would, and one goes on where several were."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra train is not installed")
pytest.importorskip("transformers", reason="the extra train is not installed")

import torch
import yaml
from made_emotion_llama import ANSWERS
from made_learning import features_of, made_dataset, made_language_model, tiny_recipe
from safetensors.torch import load_file

from merr_pipeline.recipe import Recipe
from merr_pipeline.schema import MerrError
from merr_pipeline.training.learned import LearningData, Ranks
from merr_pipeline.training.loop import train

pytestmark = pytest.mark.extras

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def language_model(tmp_path_factory) -> Path:
    return made_language_model(tmp_path_factory.mktemp("language model"))


@pytest.fixture(scope="module")
def eight(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("eight")
    return made_dataset(folder, {"train": 8, "validation": 3}, lambda number: ANSWERS[number % 8])


@pytest.fixture(scope="module")
def alone(tmp_path_factory, eight, language_model) -> Path:
    """The same run by one process."""
    to = tmp_path_factory.mktemp("alone") / "run"
    recipe = tiny_recipe(to, eight, language_model)
    train(recipe, features_of, [].append)
    return to


def on_ranks(recipe: Recipe, ranks: int, *overrides: str) -> str:
    """Train by so many processes; what they printed."""
    assert recipe.to is not None
    file = recipe.to.parent / "recipe.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    places = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", str(ranks), str(TESTS / "train_on_ranks.py"), str(file)),
            *overrides,
        ],
        env={**os.environ, "PYTHONPATH": places, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def summary(to: Path):
    return yaml.safe_load((to / "summary.json").read_text("utf-8"))


def adapter(to: Path) -> dict[str, torch.Tensor]:
    return load_file(to / "adapter" / "adapter_model.safetensors")


@pytest.mark.long
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
@pytest.mark.parametrize("row_tokens", [512, 256])  # one forward a step, or two
def test_two_ranks_have_the_losses_of_one_process(
    tmp_path, eight, language_model, alone, parallel, row_tokens
):
    more = (f"batch.parallel={parallel}", f"batch.row_tokens={row_tokens}")
    out = on_ranks(tiny_recipe(tmp_path / "run", eight, language_model, *more), 2)
    one, two = summary(alone), summary(tmp_path / "run")

    assert "cpu:0 x 2" in out
    assert out.count("step 6/6: loss") == 1
    assert two["ranks"] == 2
    assert [loss for _, loss in two["losses"]] == pytest.approx(
        [loss for _, loss in one["losses"]], abs=1e-4
    )
    assert two["validation"][-1]["loss"] == pytest.approx(one["validation"][-1]["loss"], abs=1e-4)
    assert two["steps_measured"] == 5
    assert two["tokens_per_sample"] == pytest.approx(one["tokens_per_sample"], rel=0.1)
    for name, weight in adapter(alone).items():
        torch.testing.assert_close(adapter(tmp_path / "run")[name], weight, atol=1e-4, rtol=1e-2)


@pytest.mark.long
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_one_process_and_two_ranks_go_on_with_each_others_checkpoints(
    tmp_path, eight, language_model, alone, parallel
):
    more = ("keep.save_every=3", "keep.checkpoints=2", f"batch.parallel={parallel}")
    recipe = tiny_recipe(tmp_path / "run", eight, language_model, *more)
    on_ranks(recipe, 2)
    for name in ("summary.json", "adapter/adapter_model.safetensors"):
        (tmp_path / "run" / name).unlink()
    _remove(tmp_path / "run" / "checkpoints" / "checkpoint-6")
    lines: list[str] = []
    train(recipe, features_of, lines.append)
    one = summary(tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    _remove(tmp_path / "run" / "checkpoints" / "checkpoint-6")
    out = on_ranks(recipe, 2)

    assert "going on from step 3" in lines
    assert "going on from step 3" in out
    for found in (one, summary(tmp_path / "run")):
        assert [loss for _, loss in found["losses"]] == pytest.approx(
            [loss for _, loss in summary(alone)["losses"]], abs=1e-4
        )


def test_ranks_that_cannot_share_a_step_are_told(tmp_path, eight, language_model):
    recipe = tiny_recipe(tmp_path / "run", eight, language_model)
    with pytest.raises(MerrError, match=r"batch\.samples is 8, which 3 ranks cannot share"):
        LearningData(recipe, None, features_of, None, Ranks(0, 3))


def _remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
