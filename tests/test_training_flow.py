"""The flow of a training run: what it starts, and that a build may come before it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic import ValidationError
from small_builds import cut_sample

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


def run_flow(request: TrainRequest, home: Path) -> tuple[str, str]:
    """Type and message of the state that the flow ends in, with an API of its own."""
    code = (
        "import sys; from flows.train import TrainRequest, train_merr\n"
        "request = TrainRequest.model_validate_json(sys.argv[1])\n"
        "state = train_merr(request, return_state=True)\n"
        "import json; print(json.dumps([state.type.value, state.message]))"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    done = subprocess.run(
        [sys.executable, "-c", code, request.model_dump_json()],
        cwd=REPO,
        env=environment
        | {
            "PREFECT_HOME": str(home / "prefect"),
            "PREFECT_LOGGING_LEVEL": "CRITICAL",
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
            "DO_NOT_TRACK": "1",
        },
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.stdout, done.stderr
    kind, message = json.loads(done.stdout.splitlines()[-1])
    return kind, message


def is_running(pid: int) -> bool:
    """Not ended, and no zombie that waits to be asked for its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such signal")
def test_a_killed_worker_takes_the_run_along(tmp_path):
    inner = "import os, time; print(os.getpid(), flush=True); time.sleep(300)"
    code = (
        "import sys; from flows.train import run_command\n"
        f"run_command([sys.executable, '-c', {inner!r}])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPO, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        pid = int(worker.stdout.readline())
        assert is_running(pid)
        worker.kill()
        deadline = time.monotonic() + 20
        while is_running(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert not is_running(pid)


@pytest.mark.extras
@pytest.mark.long
def test_a_build_and_the_run_that_learns_from_it(tmp_path):
    pytest.importorskip("torch", reason="the extra train is not installed")
    from made_parts import TOKENS, write_parts

    parts = write_parts(tmp_path / "parts")
    clips, out, run = tmp_path / "clips", tmp_path / "out", tmp_path / "run"
    clips.mkdir()
    cut_sample(clips, "smile")
    values = {
        "to": run,
        **{f"model.{'encoders.' * (n != 'language_model')}{n}": p for n, p in parts.items()},
        "model.dtype": "float32",
        "data.longest": TOKENS,
        "learn.steps": 2,
        "learn.warmup_steps": 0,
        "lora.rank": 4,
        "batch.samples": 1,
        "batch.workers": 0,
        "batch.row_tokens": TOKENS,
        "batch.peak_tflops": 0.1,
    }
    request = TrainRequest(
        recipe="stage1",
        overrides=[f"{key}={value}" for key, value in values.items()],
        build=BuildRequest(clips=clips, out=out, overrides=["dataset.split_shares=[1,0,0]"]),
    )

    kind, message = run_flow(request, tmp_path)

    assert kind == "COMPLETED", message
    summary = json.loads((run / "summary.json").read_text("utf-8"))
    assert summary["steps"] == 2
    manifest = (out / "dataset/manifest.json").read_bytes()
    noted = json.loads((run / "checkpoints/dataset.json").read_text("utf-8"))
    assert noted["manifest_sha256"] == hashlib.sha256(manifest).hexdigest()


@pytest.mark.long
def test_a_recipe_that_lacks_something_fails_the_run_with_what_to_do(tmp_path):
    kind, message = run_flow(TrainRequest(overrides=["learn.step=1"]), tmp_path)

    assert kind == "FAILED"
    assert "learn.step is not a setting. Did you mean learn.steps?" in message
