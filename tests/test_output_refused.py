"""An output that cannot be written: a clear end, nothing half-written or made twice."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from builds import hashes
from small_builds import build_here, cut_sample, keys
from unprivileged import modes_are_obeyed, obey_modes

BEGUN = ["probe", "voice", "transcript", "face"]  # what a batch has written when `moment` writes

pytestmark = pytest.mark.long  # a build for each place that cannot be written


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    clips = tmp_path_factory.mktemp("clips")
    for name in ("smile", "surprise"):
        cut_sample(clips, name)
    return clips


@pytest.fixture(scope="module")
def whole(clips, tmp_path_factory) -> Path:
    """What an unhindered build leaves."""
    out = tmp_path_factory.mktemp("whole")
    build_here(clips, out)
    return out


def merr_build(
    clips: Path, out: Path, hindrance: Callable[[], object], *overrides: str
) -> subprocess.CompletedProcess[str]:
    """The command, hindered."""
    command = [sys.executable, "-m", "merr_pipeline.cli", "build", clips, "--out", out]
    for override in ("engine.workers=1", *overrides):
        command += ["--set", override]
    return subprocess.run(
        list(map(str, command)),
        preexec_fn=hindrance,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def files_up_to(size: int) -> Callable[[], None]:
    """What a full disk is like: a write stops short and then fails."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def smallest(out: Path, pattern: str) -> int:
    return min(path.stat().st_size for path in out.glob(pattern))


def left_over(out: Path) -> list[Path]:
    return [path for path in out.rglob("*") if "tmp" in path.name or ".new" in path.name]


def check_told(done: subprocess.CompletedProcess[str], out: Path, *words: str) -> None:
    """It could not run, and says so in one line."""
    assert done.returncode == 2, done.stdout + done.stderr
    told = " ".join((done.stdout + done.stderr).split())
    assert f"--out {out} cannot be written" in told
    for expected in (*words, "run it again; what was finished is kept."):
        assert expected in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("limited_by", "written"),
    [
        ("annotations/probe/*", []),
        ("annotations/moment/*", BEGUN),
        ("dataset/clips/*", None),
    ],
    ids=["first_part", "later_part", "shard"],
)
def test_a_disk_that_is_full_ends_the_build_and_costs_nothing(
    clips, whole, tmp_path, limited_by, written
):
    limit = smallest(whole, limited_by) - 1000

    done = merr_build(clips, tmp_path, files_up_to(limit))

    check_told(done, tmp_path, "File too large", "Raise the limit on the size of files (ulimit -f)")
    assert not (tmp_path / "dataset").exists()
    assert left_over(tmp_path) == []
    made = keys(tmp_path)
    if written is None:
        assert made == keys(whole)
    else:
        assert {stage for stage, _ in made} == set(written)

    summary, _ = build_here(clips, tmp_path)

    assert summary.exit_code == 0
    assert hashes(tmp_path) == hashes(whole)
    assert keys(tmp_path) == keys(whole)  # so no row was made twice


def test_a_disk_that_fills_up_leaves_the_old_dataset_as_it_was(clips, whole, tmp_path):
    build_here(clips, tmp_path)
    limit = smallest(whole, "dataset/clips/*") - 1000

    done = merr_build(clips, tmp_path, files_up_to(limit), "moment.edge_frames=3")

    check_told(done, tmp_path, "File too large")
    assert hashes(tmp_path) == hashes(whole)
    assert left_over(tmp_path) == []


@pytest.fixture
def modes_hold(tmp_path) -> None:
    if not modes_are_obeyed(tmp_path):
        pytest.skip("modes of files do not hold here")


@pytest.mark.usefixtures("modes_hold")
@pytest.mark.parametrize(
    ("locked", "place"),
    [
        ("", ""),
        ("annotations/probe", "(annotations/probe)"),
        ("runs", "(runs)"),
    ],
    ids=["out", "stage", "runs"],
)
def test_a_folder_that_may_not_be_written_is_named(clips, whole, tmp_path, locked, place):
    out = tmp_path / "out"
    folder = out / locked
    folder.mkdir(parents=True)
    folder.chmod(0o500)
    try:
        done = merr_build(clips, out, obey_modes)
    finally:
        folder.chmod(0o700)

    check_told(
        done, out, "Permission denied", "Make it writable, or give another --out", place or ""
    )
    assert left_over(out) == []

    build_here(clips, out)
    assert hashes(out) == hashes(whole)


def test_an_output_below_a_file_cannot_be_made(clips, tmp_path):
    (tmp_path / "file").write_text("no folder")
    out = tmp_path / "file" / "out"

    done = merr_build(clips, out, os.getpid)

    check_told(done, out, "Not a directory", "Give another --out")
