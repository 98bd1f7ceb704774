"""Builds with a face tool that dies, hangs, says half, says rubbish, or is not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from builds import merr, rows
from faulty_tool import FAULTS
from small_builds import cut_sample

HERE = Path(__file__).parent
LIMIT_S = 6  # for the tool on one clip; a good one takes half a second, more on a busy machine

ENDS = {
    "dies": ("tool_crashed", "facemesh died twice on this clip"),
    "hangs": ("tool_timeout", f"facemesh took longer than {LIMIT_S} s"),
    "says_half": ("tool_timeout", f"facemesh took longer than {LIMIT_S} s"),
    "words": ("tool_output_invalid", "facemesh answered with what is no table"),
    "no_table": ("tool_output_invalid", "facemesh answered with what is no table"),
    "another_table": ("tool_output_invalid", "facemesh's table is not as agreed"),
}
"""How a clip ends on which the tool does that."""

pytestmark = pytest.mark.long  # a build for each way of failing


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Two good clips, one before and one after those that the tool fails on."""
    folder = tmp_path_factory.mktemp("tool") / "clips"
    folder.mkdir()
    for name, sample in (("a_good", "smile"), ("z_good", "surprise")):
        cut_sample(folder, sample).replace(folder / f"{name}.mp4")
    content = (folder / "a_good.mp4").read_bytes()
    for name in FAULTS:
        (folder / f"{name}.mp4").write_bytes(content + b"\0\0\0\x18free" + name.encode().ljust(16))
    return folder


@pytest.fixture(scope="module")
def faulty(clips) -> tuple[subprocess.CompletedProcess[str], Path]:
    """The build of all of them on one worker, in one batch."""
    out = clips.parent / "out"
    command = [sys.executable, HERE / "faulty_tool.py", "build", clips, "--out", out]
    settings = ("engine.workers=1", f"face.timeout_s={LIMIT_S}")
    for setting in settings:
        command += ["--set", setting]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    return done, out


@pytest.mark.parametrize("name", FAULTS)
def test_a_clip_on_which_the_tool_fails_is_rejected_with_what_it_did(faulty, name):
    reason, detail = ENDS[name]
    [row] = [row for row in rows(faulty[1], "rejected") if row["clip_id"] == name]

    assert (row["stage"], row["reason"]) == ("face", reason)
    assert row["detail"].startswith(detail)
    assert f"failed: {name}: face {reason}: {detail}" in faulty[0].stdout


def test_all_other_clips_come_through_and_the_exit_code_tells_of_some(faulty):
    done, out = faulty

    assert sorted(row["clip_id"] for row in rows(out, "clips")) == ["a_good", "z_good"]
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    summary = json.loads(max((out / "runs").glob("*.json")).read_text("utf-8"))
    assert (summary["accepted"], summary["rejected"]) == (2, len(FAULTS))
    assert summary["stages"]["face"] == {"failed": len(FAULTS), "ok": 2}


def test_what_may_have_been_the_machine_is_pending_again_and_what_was_the_clip_is_not(
    faulty, clips
):
    told = merr("status", clips, "--out", faulty[1])

    assert "failed: dies: face tool_crashed: facemesh died twice on this clip" in told
    assert f"{len(FAULTS) + 2} inputs, {len(FAULTS) + 2} clips, 2 pending" in told  # the timeouts


def test_a_tool_that_is_not_installed_is_told_before_any_work(clips, tmp_path):
    nothing = os.environ | {"UV_CACHE_DIR": str(tmp_path / "empty")}
    command = [sys.executable, "-m", "merr_pipeline.cli", "build", clips, "--out", tmp_path / "out"]

    done = subprocess.run(command, env=nothing, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "face tool facemesh is missing: merr tools install facemesh" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
