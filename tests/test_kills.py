"""Builds that are killed, stopped, run twice at once: what is there afterwards, and a rerun."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from builds import hashes, made, merr
from small_builds import Key, build_here, cut_sample, keys
from stopped_build import Stop

from merr_pipeline.dataset.validate import validate

HERE = Path(__file__).parent
ONE_WORKER = "engine.workers=1"
WAIT_S = 120.0  # for a place to be reached, on a busy machine
GONE_S = 30.0  # for what a killed build had started to end


@dataclass(frozen=True)
class Situation:
    """What lies there before a build, and what an uninterrupted one leaves."""

    clips: Path
    before: Path | None  # an output folder to begin with
    old: dict[str, str] | None  # sha256 of the dataset's files before
    new: dict[str, str]  # and after
    keys: frozenset[Key]  # of all rows after


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("kills")


@pytest.fixture(scope="module")
def first(folder) -> Situation:
    """Two clips of half a second, and no output yet."""
    clips = folder / "first"
    clips.mkdir()
    for name in ("smile", "surprise"):
        cut_sample(clips, name)
    out = folder / "first-out"
    build_here(clips, out)
    return Situation(clips, None, None, hashes(out), frozenset(keys(out)))


@pytest.fixture(scope="module")
def rebuild(folder, first) -> Situation:
    """The same, built; then a clip came, one got words, and one went away."""
    clips, out = folder / "changed", folder / "changed-out"
    shutil.copytree(first.clips, clips)
    shutil.copytree(folder / "first-out", out)
    cut_sample(clips, "neutral")
    (clips / "smile.txt").write_text("What a lovely day it is today!")
    (clips / "surprise.mp4").unlink()
    build_here(clips, out)
    before = folder / "first-out"
    return Situation(clips, before, first.new, hashes(out), frozenset(keys(out)))


# --- a build that is stopped at a place --------------------------------------------------------


@dataclass
class Run:
    """A running build, in a session of its own."""

    process: subprocess.Popen[bytes]
    tag: str
    output: Path
    go: Path

    def processes(self) -> list[int]:
        """All that it started and that still runs, in whatever session: they carry its tag."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    environment = (entry / "environ").read_bytes()
                except OSError:
                    continue
                if self.tag.encode() in environment:
                    found.append(int(entry.name))
        return found

    def end(self, number: signal.Signals) -> int:
        """Send a signal to its group, and see it gone with all that it started; the exit code."""
        os.killpg(self.process.pid, number)
        code = self.process.wait(WAIT_S)
        assert wait_for(lambda: not self.processes(), GONE_S), "processes are left"
        return code


@contextmanager
def running(clips: Path, out: Path, stop: Stop | None = None) -> Iterator[Run]:
    """A build that has reached the place, and waits there (or just began, without a place)."""
    tag = f"TEST_OF_KILLS={uuid.uuid4().hex}"
    notes = out.parent / tag
    notes.mkdir()
    output, note, go = notes / "output", notes / "note", notes / "go"
    environment = os.environ | dict([tag.split("=")])
    if stop is not None:
        environment["STOP_AT"] = replace(stop, note=str(note), go=str(go)).to_json()
    command = [sys.executable, HERE / "stopped_build.py", "build", clips, "--out", out]
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*command, "--set", ONE_WORKER],
            env=environment,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    run = Run(process, tag, output, go)
    try:
        if stop is not None:
            assert wait_for(lambda: note.exists() or process.poll() is not None, WAIT_S)
            assert note.exists(), f"it never came to {stop.call}: {output.read_text()}"
        yield run
    finally:
        for left in run.processes():
            with suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)
        process.wait()


def wait_for(condition: Callable[[], bool], limit_s: float) -> bool:
    until = time.monotonic() + limit_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return condition()


def check_whole(out: Path, situation: Situation) -> None:
    """The dataset is absent where none was before, else the old one or the new one."""
    found = hashes(out) if (out / "dataset").exists() else None
    assert found in (situation.old, situation.new)
    assert found is None or validate(out) == []


def build_command(clips: Path, out: Path) -> None:
    """The same as a user does it."""
    merr("build", clips, "--out", out, "--set", ONE_WORKER)


def check_rerun(
    out: Path, situation: Situation, again: Callable[[Path, Path], object] = build_command
) -> None:
    """A rerun makes what is missing, nothing twice, and leaves what no kill would have."""
    had = keys(out)
    assert set(had.values()) <= {1}

    again(situation.clips, out)

    assert keys(out) == Counter(situation.keys)
    assert made(out) == Counter(stage for stage, _ in situation.keys - set(had))
    assert hashes(out) == situation.new
    assert validate(out, situation.clips) == []
    hidden = [path.name for path in out.rglob(".*")]
    assert hidden == [".lock"]


def begin(situation: Situation, tmp_path: Path) -> Path:
    """An output folder as the situation has it."""
    out = tmp_path / "out"
    if situation.before is not None:
        shutil.copytree(situation.before, out)
    return out


# --- kill -9 -----------------------------------------------------------------------------------

REPLACE, RENAME = "pathlib:Path.replace", "pathlib:Path.rename"
PROBE = "merr_pipeline.clips.probe:ProbeStage.annotate_one"
FACE = "merr_pipeline.face.tools.process:ToolProcess"
MOMENT = "merr_pipeline.moment.stage:MomentStage.annotate_one"
DRAFT, FOLDER = "merr_pipeline.dataset.draft", "merr_pipeline.dataset.folder"


def part_of(stage: str, *, after: bool = False) -> Stop:
    """Between writing and renaming a part (with no name yet), or just after."""
    return Stop(REPLACE, f"*/annotations/{stage}/*", after=after)


FIRST_BUILD = {
    "hashes are written": Stop(REPLACE, "*/hashes.json"),
    "second clip in probe": Stop(PROBE, nth=2),
    "first row not yet there": part_of("probe"),
    "first row just there": part_of("probe", after=True),
    "face tool starts": Stop(f"{FACE}._greet"),
    "face tool measures": Stop(f"{FACE}._receive", nth=2),
    "pictures are drawn": Stop(MOMENT),
    "last row not yet there": part_of("fine"),
    "first shard": Stop("merr_pipeline.dataset.shards:SubsetWriter._write_group"),
    "manifest comes next": Stop(f"{DRAFT}:write_manifest"),
    "swapped in": Stop(RENAME, "*/.dataset-next */dataset", after=True),
}
REBUILD = {
    "second look at the face": Stop(f"{FACE}._receive", nth=2, after=True),
    "changed words not yet there": part_of("transcript", after=True),
    "names to be traded": Stop(f"{FOLDER}:exchange"),
    "names traded": Stop(f"{FOLDER}:exchange", after=True),
    "summary not yet there": Stop(REPLACE, "*/runs/*"),
}


@pytest.mark.long
@pytest.mark.parametrize("place", FIRST_BUILD)
def test_killed_at_a_place_of_a_first_build(first, tmp_path, place):
    out = begin(first, tmp_path)
    with running(first.clips, out, FIRST_BUILD[place]) as run:
        run.end(signal.SIGKILL)

    check_whole(out, first)
    check_rerun(out, first)


@pytest.mark.long
@pytest.mark.parametrize("place", REBUILD)
def test_killed_at_a_place_of_a_build_over_an_old_dataset(rebuild, tmp_path, place):
    out = begin(rebuild, tmp_path)
    with running(rebuild.clips, out, REBUILD[place]) as run:
        run.end(signal.SIGKILL)

    check_whole(out, rebuild)
    check_rerun(out, rebuild)


@pytest.fixture(scope="module")
def seconds(first, folder) -> float:
    """How long a whole build takes as a command; it leaves what one without workers leaves."""
    started = time.monotonic()
    with running(first.clips, folder / "timed") as run:
        assert run.process.wait(WAIT_S) == 0
    assert hashes(folder / "timed") == first.new
    return time.monotonic() - started


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_time(first, rebuild, seconds, tmp_path, seed):
    situation = (first, rebuild)[seed % 2]
    out = begin(situation, tmp_path)
    with running(situation.clips, out) as run:
        time.sleep(random.Random(seed).uniform(0.3, 0.95) * seconds)
        run.end(signal.SIGKILL)

    check_whole(out, situation)
    check_rerun(out, situation)


@pytest.mark.long
def test_a_build_killed_again_and_again_comes_to_the_same_end(first, tmp_path):
    out = begin(first, tmp_path)
    for place in ("first row not yet there", "face tool measures", "manifest comes next"):
        with running(first.clips, out, FIRST_BUILD[place]) as run:
            run.end(signal.SIGKILL)
        check_whole(out, first)

    check_rerun(out, first, build_here)


@pytest.mark.long
def test_an_old_dataset_stays_until_the_new_one_takes_its_place(rebuild, tmp_path):
    out = begin(rebuild, tmp_path)
    with running(rebuild.clips, out, REBUILD["names to be traded"]) as run:
        run.end(signal.SIGKILL)
    assert hashes(out) == rebuild.old
    with running(rebuild.clips, out, REBUILD["names traded"]) as run:
        run.end(signal.SIGKILL)
    assert hashes(out) == rebuild.new
    assert validate(out) == []

    check_rerun(out, rebuild, build_here)


# --- stopped, and two at once ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.long)],
)
def test_a_second_build_is_refused_and_a_stopped_one_ends_with_all_it_started(
    first, tmp_path, number, code
):
    out = begin(first, tmp_path)
    with running(first.clips, out, FIRST_BUILD["face tool measures"]) as run:
        said = merr("build", first.clips, "--out", out, code=2)
        assert f"another build works on {out} (process {run.process.pid})" in said
        assert len(run.processes()) >= 3  # itself, its worker, the face tool

        assert run.end(number) == code
        said = run.output.read_text()
    assert "stopped; what was finished is kept, run it again to go on" in said
    assert "Traceback" not in said

    check_rerun(out, first, build_here)


@pytest.mark.long
def test_sigterm_to_the_command_alone_ends_its_workers_and_tools_too(first, tmp_path):
    out = begin(first, tmp_path)
    with running(first.clips, out, FIRST_BUILD["face tool measures"]) as run:
        run.process.terminate()

        assert run.process.wait(WAIT_S) == 143
        assert wait_for(lambda: not run.processes(), GONE_S)


@pytest.mark.long
def test_a_command_that_is_killed_alone_takes_its_workers_and_tools_along(first, tmp_path):
    out = begin(first, tmp_path)
    with running(first.clips, out, FIRST_BUILD["face tool measures"]) as run:
        run.process.kill()

        assert run.process.wait(WAIT_S) == -signal.SIGKILL
        assert wait_for(lambda: not run.processes(), GONE_S)
    check_rerun(out, first)


ENDLESS = """
import time
import pyarrow as pa
from merr_pipeline.face.tools.program import serve
serve(lambda request: time.sleep(600), pa.schema({}), "1")
"""


def test_a_tool_program_ends_in_the_middle_of_a_clip_when_its_worker_has_died():
    tool = subprocess.Popen(
        [sys.executable, "-c", ENDLESS],
        cwd=HERE.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with tool:
        tool.stdout.read(8)  # it is ready
        tool.stdin.write(b'{"limit_s": 60}\n')
        tool.stdin.close()  # as the end of a process closes it

        assert tool.wait(20) == 0
