"""The flow of a training run: what it starts, and that a build may come before it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from flows.build_merr import BuildRequest
from flows.train import TrainRequest, run_command

REPO = Path(__file__).parent.parent


def test_the_command_is_that_of_the_command_line():
    request = TrainRequest(recipe="stage2", overrides=["to=run", "model.start=one"])

    assert request.command() == [
        *(sys.executable, "-m", "merr_pipeline.cli", "train", "stage2"),
        *("--set", "to=run", "--set", "model.start=one"),
    ]


def test_several_gpus_are_several_processes():
    assert TrainRequest(gpus=4).command()[1:8] == [
        *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "4"),
        *("-m", "merr_pipeline.cli"),
    ]


def test_what_was_built_is_what_is_learned_unless_something_else_is_said():
    build = BuildRequest(clips=Path("clips"), out=Path("merr"))

    assert TrainRequest(build=build, overrides=["data.out=other"]).chosen() == [
        *("data.out=merr", "data.clips=clips", "data.out=other"),
    ]


def test_parameters_are_checked():
    for bad in ({"gpus": 0}, {"recipes": "stage1"}, {"build": {"clip": "a"}}):
        with pytest.raises(ValidationError):
            TrainRequest.model_validate(bad)


def test_exit_code_and_last_line_of_a_command(capfd):
    said = run_command([sys.executable, "-c", "print('one'); print('two'); raise SystemExit(2)"])

    assert said == (2, "two")
    assert capfd.readouterr().out == "one\ntwo\n"


@pytest.mark.long
def test_a_recipe_that_lacks_something_fails_the_run_with_what_to_do(tmp_path):
    code = (
        "from flows.train import TrainRequest, train_merr\n"
        "state = train_merr(TrainRequest(overrides=['learn.step=1']), return_state=True)\n"
        "import json; print(json.dumps([state.type.value, state.message]))"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPO,
        env=environment
        | {
            "PREFECT_HOME": str(tmp_path),
            "PREFECT_LOGGING_LEVEL": "CRITICAL",
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
            "DO_NOT_TRACK": "1",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    kind, message = json.loads(done.stdout.splitlines()[-1])

    assert kind == "FAILED"
    assert "learn.step is not a setting. Did you mean learn.steps?" in message
