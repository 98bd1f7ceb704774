"""A build as a whole: the lock, what keeps it from starting, the summary and its exit code."""

from __future__ import annotations

import errno
import fcntl
from dataclasses import replace
from pathlib import Path

import pytest
from builds import SAMPLES

from merr_pipeline.build import open_build
from merr_pipeline.request import Request
from merr_pipeline.schema import MerrError
from merr_pipeline.summary import Summary


def request(tmp_path: Path, **changes) -> Request:
    clips = tmp_path / "clips"
    clips.mkdir(exist_ok=True)
    (clips / "empty.mp4").write_bytes(b"")
    return replace(Request(clips, tmp_path / "out"), **changes)


def test_a_second_build_on_one_output_is_told_who_holds_it(tmp_path):
    with (
        open_build(request(tmp_path)),
        pytest.raises(MerrError, match=r"another build works on .*out \(process \d+\)"),
        open_build(request(tmp_path)),
    ):
        pass
    with open_build(request(tmp_path)):  # and free again
        pass


def test_a_folder_that_cannot_be_locked_is_not_said_to_be_in_use(tmp_path, monkeypatch):
    def refuse(*_arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)

    with (
        pytest.raises(MerrError, match="no file can be locked: No locks available"),
        open_build(request(tmp_path)),
    ):
        pass


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mapping": "name=clip_id"}, "--map and --preset say how to read a manifest"),
        ({"overrides": ("templates=nowhere",)}, "templates = nowhere is not a folder"),
        ({"profile": "openface"}, "face.openface.csv_dir=FOLDER"),
        ({"out": Path("/proc/out")}, "--out /proc/out cannot be written"),
    ],
)
def test_what_cannot_work_is_told_before_anything_runs(tmp_path, changes, message):
    with pytest.raises(MerrError, match=message), open_build(request(tmp_path, **changes)):
        pass


def test_a_template_by_a_wrong_name_is_refused_with_the_nearest(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "tonewords.yaml").write_text("a: 1")
    asked = request(tmp_path, overrides=(f"templates={tmp_path / 'mine'}",))

    with pytest.raises(MerrError, match=r"Did you mean tone_words\.yaml"), open_build(asked):
        pass


def test_a_folder_that_no_build_has_made_is_refused_before_anything_runs(tmp_path):
    asked = request(tmp_path)
    (asked.out / "dataset").mkdir(parents=True)
    (asked.out / "dataset" / "precious.txt").write_text("not ours")

    with pytest.raises(MerrError, match="no build has finished it"), open_build(asked):
        pass
    assert (asked.out / "dataset" / "precious.txt").read_text() == "not ours"


def test_leftovers_of_killed_writes_are_swept(tmp_path):
    asked = request(tmp_path)
    leftover = asked.out / "annotations" / "probe" / ".tmp-1-part.parquet"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")

    with open_build(asked):
        assert not leftover.exists()


def summary_of(tmp_path: Path, rows: list[str] | None = None) -> Summary:
    asked = request(tmp_path)
    if rows is not None:
        manifest = tmp_path / "manifest.csv"
        manifest.write_text("\n".join(["path", *rows]))
        asked = replace(asked, manifest=manifest)
    with open_build(asked) as build:
        try:
            for batch in build.batches():
                build.count(build.pipeline.run(batch))
        finally:
            build.pipeline.close()
        return build.publish()


def test_a_failed_clip_is_named_with_its_reason_and_in_the_exit_code(tmp_path):
    summary = summary_of(tmp_path)

    assert summary.failures == ["empty: probe empty_file"]
    assert (summary.failed_clips, summary.rejected, summary.exit_code) == (1, 1, 1)


def test_an_input_refused_at_the_door_is_in_the_exit_code(tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "smile.mp4").write_bytes((SAMPLES / "clips" / "smile.mp4").read_bytes())

    summary = summary_of(tmp_path, ["smile.mp4", "gone.mp4"])

    assert summary.failures == ["gone: manifest not_found: there is no file at this path"]
    assert (summary.accepted, summary.rejected, summary.exit_code) == (1, 1, 1)


def test_clips_left_unfinished_are_in_the_exit_code(tmp_path):
    asked = request(tmp_path)
    with open_build(asked) as build:
        summary = build.publish()  # nothing was run

    assert (summary.unfinished_clips, summary.failed_clips) == (1, 0)
    assert summary.exit_code == 1
