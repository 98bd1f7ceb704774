"""What the local engine promises when processes die, parents are killed, users press Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from toy_stages import broken_opener, toy_opener, toy_pipeline

from merr_pipeline.clips.manifest import read_inputs
from merr_pipeline.engine.local import LocalEngine
from merr_pipeline.engine.watch import NO_LIMITS, InHand, Limits, Watch
from merr_pipeline.engine.worker import ONE_THREAD
from merr_pipeline.pipeline import Pipeline
from merr_pipeline.schema import Clip, MerrError
from merr_pipeline.store import Entry

HERE = Path(__file__).parent
PARENT = """
import sys
from pathlib import Path
from merr_pipeline.clips.manifest import read_inputs
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


# --- limits ------------------------------------------------------------------------------------


@dataclass
class Toys:
    """Clips of these contents, run in one batch on one worker."""

    folder: Path

    def run(self, *contents: str, limits: Limits) -> None:
        clips = self.folder / "clips"
        clips.mkdir(exist_ok=True)
        for content in contents:
            (clips / f"{content}.mp4").write_text(content)
        pipeline = self.pipeline()
        states = [pipeline.plan(self.clip(content)) for content in contents]
        with LocalEngine(toy_opener(self.folder / "out"), 1, pipeline, limits) as engine:
            engine.run(states)

    def pipeline(self) -> Pipeline:
        return toy_pipeline(self.folder / "out")

    def clip(self, content: str) -> Clip:
        clips = read_inputs(self.folder / "clips").clips
        return next(clip for clip in clips if clip.clip_id == content)

    def entries(self, content: str) -> dict[str, Entry]:
        return self.pipeline().settled(self.clip(content)).entries

    def reasons(self, content: str) -> dict[str, str | None]:
        return {stage: entry.reason for stage, entry in self.entries(content).items()}


THROUGH = {"probe": None, "transcript": "no_transcript", "fine": None}


@pytest.fixture(scope="module")
def struck(tmp_path_factory):
    """A batch in which much goes wrong, with little time and memory."""
    toys = Toys(tmp_path_factory.mktemp("struck"))
    contents = ("eat", "eat_cv2", "good", "hang_in_c", "hang_late", "hang_once", "z_last")
    toys.run(*contents, limits=Limits(clip_s=1.0, memory_mb=1024))
    return toys


@pytest.mark.long
def test_a_clip_that_hangs_without_giving_a_turn_fails_and_names_the_limit(struck):
    entry = struck.entries("hang_in_c")["probe"]

    assert (entry.status, entry.reason) == ("failed", "decode_timeout")
    assert entry.detail == "took longer than engine.clip_limit_s = 1 in this stage"


@pytest.mark.long
def test_a_hang_in_a_later_stage_ends_that_stage_and_the_others_go_on(struck):
    assert struck.reasons("hang_late") == {
        "probe": None,
        "transcript": "decode_timeout",
        "fine": None,
    }


@pytest.mark.long
@pytest.mark.parametrize("content", ["eat", "eat_cv2"])
def test_a_clip_that_wants_too_much_memory_fails_and_names_the_limit(struck, content):
    assert struck.reasons(content) == {"probe": "out_of_memory"}
    assert "engine.memory_limit_mb" in struck.entries(content)["probe"].detail


@pytest.mark.long
def test_the_other_clips_of_the_batch_come_through(struck):
    assert struck.reasons("good") == struck.reasons("z_last") == THROUGH


@pytest.mark.long
def test_a_clip_that_is_too_slow_once_gets_a_second_chance(struck):
    assert struck.reasons("hang_once") == THROUGH


@pytest.mark.long
def test_the_next_run_tries_what_struck_a_limit_again(struck):
    assert struck.pipeline().plan(struck.clip("hang_late")).pending == ["transcript", "fine"]
    assert struck.pipeline().plan(struck.clip("hang_in_c")).pending == list(THROUGH)

    struck.run("eat", limits=NO_LIMITS)

    assert struck.reasons("eat") == THROUGH


def test_only_what_is_in_hand_counts_and_clips_in_hand_together_share_their_time(tmp_path):
    (tmp_path / "a.mp4").write_text("a")
    (tmp_path / "b.mp4").write_text("b")
    a, b = read_inputs(tmp_path).clips
    watch = Watch(0.1)

    time.sleep(0.15)
    assert not watch.is_overdue()
    with watch.holding("probe", [a]):
        assert not watch.is_overdue()
        time.sleep(0.15)
        assert watch.is_overdue()
        assert watch.in_hand() == InHand(a.sha256, "probe")
    assert not watch.is_overdue()
    assert watch.in_hand() == InHand()
    with watch.holding("voice", [a, b]):
        time.sleep(0.15)
        assert not watch.is_overdue()
        assert watch.in_hand() == InHand(None, "voice")
