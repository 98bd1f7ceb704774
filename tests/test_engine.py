"""What the local engine promises when processes die, parents are killed, users press Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toy_stages import broken_opener, toy_opener, toy_pipeline

from merr_pipeline.engine.local import ONE_THREAD, LocalEngine
from merr_pipeline.schema import MerrError

HERE = Path(__file__).parent
PARENT = """
import sys
from pathlib import Path
from merr_pipeline.clips.manifest import read_inputs
from merr_pipeline.engine.local import LocalEngine
from toy_stages import toy_opener, toy_pipeline

clips, out = Path(sys.argv[1]), Path(sys.argv[2])
if __name__ == "__main__":
    pipeline = toy_pipeline(out)
    with LocalEngine(toy_opener(out), 1, pipeline) as engine:
        engine.run([pipeline.plan(clip) for clip in read_inputs(clips).clips])
"""


def is_running(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_for(condition, limit_s: float) -> bool:
    until = time.monotonic() + limit_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return bool(condition())


@pytest.fixture
def parent(tmp_path):
    """A process that runs an engine whose one clip takes for ever; and that worker's id."""
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "sleep.mp4").write_text("sleep")
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = os.environ | {"PYTHONPATH": str(HERE)}
    command = [sys.executable, script, clips, tmp_path / "out"]
    process = subprocess.Popen(
        command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True
    )
    note = clips / "pid"
    assert wait_for(lambda: note.exists() and note.read_text(), 60)
    yield process, int(note.read_text())
    process.kill()
    process.wait()


def test_a_killed_parent_takes_its_workers_along(parent):
    process, worker = parent
    assert is_running(worker)

    process.kill()

    assert wait_for(lambda: not is_running(worker), 10)


def test_ctrl_c_ends_parent_and_workers_at_once(parent):
    process, worker = parent

    os.killpg(process.pid, signal.SIGINT)

    assert process.wait(timeout=15) != 0
    assert wait_for(lambda: not is_running(worker), 10)


def test_a_worker_that_cannot_start_is_no_fault_of_the_clips(tmp_path):
    pipeline = toy_pipeline(tmp_path / "out")

    with (
        LocalEngine(broken_opener, 1, pipeline) as engine,
        pytest.raises(MerrError, match="died before it saw a clip"),
    ):
        engine.run([])


def test_a_worker_has_one_thread_for_each_math_library(tmp_path):
    pipeline = toy_pipeline(tmp_path / "out")

    with LocalEngine(toy_opener(tmp_path / "out"), 1, pipeline) as engine:
        engine.run([])
        (worker,) = engine._workers
        environment = Path(f"/proc/{worker._pid}/environ").read_bytes().split(b"\0")

    for name in ONE_THREAD:
        assert f"{name}=1".encode() in environment
