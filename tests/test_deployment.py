"""The deployment, as the README has it: a real server, a real worker, and what befalls them."""

from __future__ import annotations

import json
import os
import shlex
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from builds import hashes
from prefect_stand import Json, Stand, run_id, wait_for
from small_builds import build_here, cut_sample, keys

pytestmark = pytest.mark.long

WORKER = "prefect worker start"
SERVER = "prefect server start"


@pytest.fixture(scope="module")
def stand(tmp_path_factory) -> Iterator[Stand]:
    stand = Stand(tmp_path_factory.mktemp("stand"))
    try:
        stand.set_up()
        yield stand
    finally:
        stand.close()


@pytest.fixture(scope="module")
def samples_run(stand) -> str:
    """The README's run, which has to succeed; its id."""
    done = stand.run()
    assert done.code == 0, done.output
    return run_id(done)


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Three clips of half a second; a build can be held at the second."""
    clips = tmp_path_factory.mktemp("clips")
    for name, new in (("smile", "a"), ("surprise", "b_held"), ("neutral", "c")):
        cut_sample(clips, name).rename(clips / f"{new}.mp4")
    return clips


@pytest.fixture(scope="module")
def uninterrupted(clips, tmp_path_factory) -> Path:
    """What a build of the three leaves."""
    out = tmp_path_factory.mktemp("uninterrupted")
    build_here(clips, out)
    return out


def request(clips: Path, out: Path) -> Json:
    return {"clips": str(clips), "out": str(out), "workers": 1, "batch_size": 1}


def begin_and_hold(stand: Stand, clips: Path, out: Path) -> tuple[str, dict[int, str]]:
    """A run that waits at its second clip, and the processes that it has started."""
    before = stand.processes()
    stand.hold()
    run = stand.start_run(request(clips, out))
    stand.wait_until_held()
    assert stand.state(run)["type"] == "RUNNING"
    started = {pid: name for pid, name in stand.processes().items() if pid not in before}
    for part in ("prefect.engine", "--multiprocessing-fork", "facemesh_program.py"):
        assert any(part in name for name in started.values()), f"{part} does not run"
    return run, started


def check_gone(stand: Stand, started: dict[int, str]) -> None:
    assert wait_for(lambda: not set(started) & set(stand.processes()), 60.0), stand.processes()


def check_next_run(stand: Stand, clips: Path, out: Path, uninterrupted: Path) -> None:
    """The next run makes what is missing, nothing twice, and the bytes of an uninterrupted one."""
    had = keys(out)
    assert had
    stand.let_go()

    done = stand.run(request(clips, out))

    assert done.code == 0, done.output
    assert hashes(out) == hashes(uninterrupted)
    assert keys(out) == keys(uninterrupted)
    assert set(keys(out).values()) == {1}


def test_the_readmes_commands_leave_the_bytes_of_merr_build(stand, samples_run, samples_build):
    assert stand.state(samples_run)["type"] == "COMPLETED"
    assert hashes(stand.checkout / "data" / "merr") == hashes(samples_build)


def test_the_runs_page_shows_its_batches_its_progress_and_the_table_of_stages(
    stand, samples_run, samples_build
):
    batch = 1 if len(os.sched_getaffinity(0)) > 1 else 2  # four batches a worker, of eight clips
    expected = Counter((f"annotate batch {n}", "COMPLETED") for n in range(8 // batch))

    def task_runs() -> Counter[tuple[str, str]]:
        found = stand.filter("task_runs", samples_run)
        return Counter((task["name"], task["state_type"]) for task in found)

    assert wait_for(lambda: task_runs() == expected), task_runs()  # the server learns by events
    artifacts = {found["key"]: found for found in stand.filter("artifacts", samples_run)}
    assert artifacts["build-merr-clips"]["data"] == 100.0
    assert artifacts["build-merr-clips"]["description"] == "8 clips"
    assert (
        "8 clips in the dataset, 0 rejected, 0 failed"
        in (artifacts["build-merr-stages"]["description"])
    )
    assert "8 clips, 0 inputs left out" in artifacts["build-merr-report"]["data"]
    table = json.loads(artifacts["build-merr-stages"]["data"])
    summary = min((samples_build / "runs").glob("*.json"))  # others may have built there again
    stages = json.loads(summary.read_text("utf-8"))["stages"]
    assert {
        row["stage"]: {k: n for k in ("ok", "skipped", "failed") if (n := row[k])} for row in table
    } == stages
    assert {row["made now"] for row in table} == {8}


def test_a_bad_parameter_is_refused_before_anything_is_scheduled(stand, clips):
    runs = len(stand.filter("flow_runs"))
    bad = {
        "0 is less than the minimum of 1": {"clips": str(clips), "workers": 0},
        "'wrokers' was unexpected": {"clips": str(clips), "wrokers": 1},
        "'clips' is a required property": {"out": "anywhere"},
    }
    for reason, wrong in bad.items():
        done = stand.run(wrong)
        assert done.code == 1
        assert reason in " ".join(done.output.split())

    assert len(stand.filter("flow_runs")) == runs


def test_a_folder_that_is_not_there_is_named_in_the_state_of_the_run(stand, tmp_path):
    done = stand.run(request(tmp_path / "nowhere", tmp_path / "out"))

    assert done.code == 1
    run = run_id(done)
    state = stand.state(run)
    assert state["type"] == "FAILED"
    assert f"{tmp_path / 'nowhere'} is not a folder" in state["message"]
    assert any("is not a folder" in entry["message"] for entry in stand.filter("logs", run))


def test_a_run_with_a_failed_clip_says_so_and_its_dataset_is_published(stand, clips, tmp_path):
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    (mixed / "empty.mp4").write_bytes(b"")
    (mixed / "a.mp4").symlink_to(clips / "a.mp4")

    done = stand.run(request(mixed, tmp_path / "out"))

    assert done.code == 1
    state = stand.state(run_id(done))
    assert (state["type"], state["name"]) == ("FAILED", "SomeClipsFailed")
    assert state["message"].endswith("1 failed.")
    assert (tmp_path / "out" / "dataset" / "manifest.json").is_file()


def test_a_cancelled_run_leaves_no_process_and_the_next_one_goes_on(
    stand, clips, uninterrupted, tmp_path
):
    run, started = begin_and_hold(stand, clips, tmp_path)

    stand.cancel(run)

    assert stand.wait_for_end(run)["type"] == "CANCELLED"
    check_gone(stand, started)
    assert not (tmp_path / "dataset").exists()
    logged = "\n".join(entry["message"] for entry in stand.filter("logs", run))
    assert "Traceback" not in logged
    check_next_run(stand, clips, tmp_path, uninterrupted)


def test_a_run_whose_worker_was_killed_can_still_be_cancelled(
    stand, clips, uninterrupted, tmp_path
):
    run, started = begin_and_hold(stand, clips, tmp_path)
    stand.kill(WORKER, signal.SIGKILL)

    stand.cancel(run)
    state = stand.wait_for_end(run)
    check_gone(stand, started)
    stand.begin(stand.command(WORKER))

    assert state["type"] == "CANCELLED"
    check_next_run(stand, clips, tmp_path, uninterrupted)


def test_a_run_whose_worker_was_killed_comes_to_an_end(stand, clips, uninterrupted, tmp_path):
    run, started = begin_and_hold(stand, clips, tmp_path)
    stand.kill(WORKER, signal.SIGKILL)

    stand.let_go()
    state = stand.wait_for_end(run)
    check_gone(stand, started)
    stand.begin(stand.command(WORKER))

    assert state["type"] == "CRASHED"  # when it next wants to tell the worker something
    check_next_run(stand, clips, tmp_path, uninterrupted)


def test_a_run_without_a_worker_can_be_cancelled_too(stand, clips, tmp_path):
    before = {run["id"] for run in stand.filter("flow_runs")}
    stand.hold()
    settings = ["--set", "engine.workers=1", "--set", "engine.batch_size=1"]
    process, output = stand.python("-m", "flows.run_local", clips, "--out", tmp_path, *settings)
    stand.wait_until_held()
    (run,) = {run["id"] for run in stand.filter("flow_runs")} - before

    stand.cancel(run)

    assert process.wait(120) == 2
    assert "The run was cancelled; what it had made is kept." in output.read_text()
    assert "Traceback" not in output.read_text()
    assert stand.state(run)["type"] == "CANCELLED"


def test_a_build_goes_on_while_the_server_is_away_and_reports_when_it_is_back(
    stand, clips, uninterrupted, tmp_path
):
    run, started = begin_and_hold(stand, clips, tmp_path)
    stand.kill(SERVER, signal.SIGKILL)

    stand.let_go()
    assert wait_for((tmp_path / "dataset" / "manifest.json").exists)
    assert hashes(tmp_path) == hashes(uninterrupted)

    server = stand.commands.index(stand.command(SERVER))
    for line in stand.commands[server : server + 2]:  # and wait until it answers
        stand.begin(line)
    assert stand.wait_for_end(run)["type"] == "COMPLETED"
    check_gone(stand, started)
    done = stand.run(request(clips, tmp_path))
    assert done.code == 0, done.output


def test_a_training_run_is_deployed_too_and_fails_with_what_to_do(stand):
    request = json.dumps({"overrides": ["learn.step=1"]})
    done = stand.bash(
        ".venv/bin/prefect deployment run train-merr/stage --watch "
        f"-p {shlex.quote(f'request={request}')}"
    )

    assert done.code != 0, done.output
    ended = stand.state(run_id(done))
    assert ended["type"] == "FAILED"
    assert "learn.step is not a setting. Did you mean learn.steps?" in ended["message"]
