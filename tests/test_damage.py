"""What befalls a build from outside: damaged part files; clips and templates that change."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from builds import hashes, made, rows
from small_builds import build_here as build_with
from small_builds import cut_sample, keys, run_here

from merr_pipeline.build import open_build
from merr_pipeline.dataset.validate import validate
from merr_pipeline.moment.stage import MomentStage
from merr_pipeline.request import Request
from merr_pipeline.schema import STAGE_SCHEMAS, MerrError
from merr_pipeline.templates import shipped_folder

ALL_IN_TRAIN = "dataset.split_shares=[1.0,0.0,0.0]"


def build_here(clips: Path, out: Path, *overrides: str):
    """All in one split: a clip with new bytes may else be drawn anew where nothing was before."""
    return build_with(clips, out, ALL_IN_TRAIN, *overrides)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with ``clips`` (two of half a second) and ``out``, built from them."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "clips").mkdir()
    for name in ("smile", "surprise"):
        cut_sample(folder / "clips", name)
    assert build_here(folder / "clips", folder / "out")[0].exit_code == 0
    return folder


@pytest.fixture(scope="module")
def replaced(built, tmp_path_factory) -> Path:
    """The same, of clips where other bytes go by the name of ``smile``."""
    folder = tmp_path_factory.mktemp("replaced")
    shutil.copytree(built / "clips", folder / "clips")
    cut_sample(folder, "neutral").replace(folder / "clips/smile.mp4")
    build_here(folder / "clips", folder / "out")
    return folder


@pytest.fixture
def copy(built, tmp_path) -> Path:
    """A copy to do harm to."""
    return shutil.copytree(built, tmp_path / "copy", copy_function=shutil.copy2)


@pytest.fixture
def ready(monkeypatch) -> None:
    """The face tool is there; asking it takes two seconds."""
    monkeypatch.setattr("merr_pipeline.build.check_ready", lambda settings: None)


# --- part files --------------------------------------------------------------------------------


def flip_a_byte(part: Path) -> None:
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)


def turn_into_a_folder(part: Path) -> None:
    part.unlink()
    part.mkdir()
    (part / "inner").write_text("no part")


HARM: dict[str, Callable[[Path], object]] = {
    "torn": lambda part: part.write_bytes(part.read_bytes()[:-100]),
    "a byte flipped": flip_a_byte,
    "empty": lambda part: part.write_bytes(b""),
    "another part under its name": lambda part: shutil.copy(
        next(other for other in part.parent.glob("part-*") if other != part), part
    ),
    "a folder under its name": turn_into_a_folder,
}


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_part_is_told_of_set_aside_and_made_again(copy, built, ready, harm):
    part = min((copy / "out/annotations/moment").glob("part-*"))
    HARM[harm](part)

    summary, said = build_here(copy / "clips", copy / "out")

    assert f"damaged and set aside, its rows are made again: moment/{part.name}" in said
    assert last_run(copy / "out")["damaged_parts"] == [f"moment/{part.name}"]
    assert summary.exit_code == 0
    assert made(copy / "out") == dict.fromkeys(["moment", "scene", "label", "fine"], 1)
    assert hashes(copy / "out") == hashes(built / "out")
    assert set(keys(copy / "out")) == set(keys(built / "out"))
    summary, said = build_here(copy / "clips", copy / "out")
    assert "set aside" not in said
    assert (summary.damaged_parts, summary.made) == ([], {})


def test_a_part_that_is_damaged_again_and_again_is_set_aside_each_time(copy, ready):
    part = min((copy / "out/annotations/moment").glob("part-*"))
    for _ in range(2):
        part.write_bytes(b"torn")
        build_here(copy / "clips", copy / "out")

    aside = sorted(path.name for path in part.parent.glob("damaged-*"))
    assert aside == [f"damaged-1-{part.name}", f"damaged-2-{part.name}"]


def named_by_hash(content: bytes, folder: Path) -> Path:
    """A file that has the right name for its bytes."""
    path = folder / f"part-{hashlib.sha256(content).hexdigest()[:32]}.parquet"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("foreign", ["other columns", "another stage", "no parquet", "empty"])
def test_what_is_no_part_of_the_stage_is_set_aside_whatever_its_name(
    copy, built, ready, tmp_path, foreign
):
    content = {"no parquet": b"no parquet at all", "empty": b""}.get(foreign)
    if content is None:
        part = min((built / "out/annotations/face").glob("part-*"))
        table = pq.read_table(part, partitioning=None)
        table = table.select(["clip_id", "status"]) if foreign == "other columns" else table
        pq.write_table(table, tmp_path / "foreign")
        content = (tmp_path / "foreign").read_bytes()
    path = named_by_hash(content, copy / "out/annotations/moment")

    summary, said = build_here(copy / "clips", copy / "out")

    assert f"damaged and set aside, its rows are made again: moment/{path.name}" in said
    assert (summary.damaged_parts, summary.made) == ([f"moment/{path.name}"], {})
    assert hashes(copy / "out") == hashes(built / "out")


def test_rows_of_other_clips_change_nothing(copy, built, ready, tmp_path):
    """A store may hold the rows of clips that are no longer among the inputs."""
    parts = (built / "out/annotations/moment").glob("part-*")
    table = pq.read_table(min(parts), partitioning=None)
    row = table.to_pylist()[0] | {"input_key": "of another clip", "peak_score": 0.5}
    pq.write_table(table.from_pylist([row], schema=table.schema), tmp_path / "other")
    named_by_hash((tmp_path / "other").read_bytes(), copy / "out/annotations/moment")

    summary, _ = build_here(copy / "clips", copy / "out")

    assert (summary.damaged_parts, summary.made) == ([], {})
    assert hashes(copy / "out") == hashes(built / "out")


def test_status_tells_of_a_damaged_part_by_what_is_pending_and_touches_nothing(copy, ready):
    from merr_pipeline.build import look_at

    part = min((copy / "out/annotations/moment").glob("part-*"))
    part.write_bytes(b"torn")

    view = look_at(Request(copy / "clips", copy / "out"))

    assert view.pending["moment"] == 1
    assert part.read_bytes() == b"torn"


def last_run(out: Path) -> dict:
    return json.loads(max((out / "runs").glob("*.json")).read_text("utf-8"))


# --- clips that change -------------------------------------------------------------------------


def test_a_clip_with_new_bytes_under_its_old_name_is_a_new_clip(copy, replaced, ready):
    shutil.copy(replaced / "clips/smile.mp4", copy / "clips")

    summary, _ = build_here(copy / "clips", copy / "out")

    assert made(copy / "out") == dict.fromkeys(STAGE_SCHEMAS, 1)
    assert summary.exit_code == 0
    assert validate(copy / "out", copy / "clips") == []
    assert hashes(copy / "out") == hashes(replaced / "out")


@pytest.mark.long
def test_a_clip_that_changes_while_a_stage_reads_it_is_unfinished_and_done_right_by_the_next_run(
    built, replaced, tmp_path, ready, monkeypatch
):
    clips, out = tmp_path / "clips", tmp_path / "out"
    shutil.copytree(built / "clips", clips)
    real = MomentStage.annotate_one

    def annotate_one(self, work):
        if work.clip.clip_id == "smile":
            shutil.copy(replaced / "clips/smile.mp4", work.clip.path)
        return real(self, work)

    with monkeypatch.context() as patch:
        patch.setattr(MomentStage, "annotate_one", annotate_one)
        summary, said = build_here(clips, out)

    assert summary.unfinished == ["smile: its file changed while moment read it"]
    assert f"unfinished: {summary.unfinished[0]}" in said
    assert (summary.exit_code, summary.failed_clips) == (1, 0)
    assert [row["clip_id"] for row in rows(out, "clips")] == ["surprise"]
    assert set(keys(out)) < set(keys(built / "out"))  # none but rows of the bytes that were hashed
    assert [row["clip_id"] for row in stage_rows(out, "moment")] == ["surprise"]
    build_here(clips, out)
    assert hashes(out) == hashes(replaced / "out")


def stage_rows(out: Path, stage: str) -> list[dict]:
    return [
        row
        for path in (out / "annotations" / stage).glob("part-*")
        for row in pq.read_table(path, partitioning=None).to_pylist()
    ]


# --- templates that change ---------------------------------------------------------------------


TEMPLATE = "scene_words.yaml"


@pytest.fixture
def templates(tmp_path) -> Path:
    """A folder of the user's own templates."""
    folder = tmp_path / "templates"
    folder.mkdir()
    shutil.copy(shipped_folder() / TEMPLATE, folder)
    return folder


def edit(templates: Path) -> None:
    with (templates / TEMPLATE).open("a", encoding="utf-8") as file:
        file.write("\n# a remark\n")


@pytest.fixture(scope="module")
def edited(built, tmp_path_factory) -> dict[str, str]:
    """What a build leaves that begins with the edited template."""
    folder = tmp_path_factory.mktemp("edited")
    shutil.copy(shipped_folder() / TEMPLATE, folder)
    edit(folder)
    build_here(built / "clips", folder / "out", f"templates={folder}")
    return hashes(folder / "out")


@pytest.mark.long
def test_a_template_changed_before_a_worker_starts_stops_the_build_and_the_next_one_is_right(
    built, edited, tmp_path, ready, templates
):
    setting = f"templates={templates}"
    asked = Request(
        built / "clips", tmp_path / "out", overrides=(setting, ALL_IN_TRAIN, "engine.workers=1")
    )
    with open_build(asked) as build:
        edit(templates)
        with (
            pytest.raises(MerrError, match="changed while the build ran"),
            build.engine() as engine,
        ):
            engine.run(build.batches()[0])
    assert not (tmp_path / "out/dataset").exists()

    build_here(built / "clips", tmp_path / "out", setting)
    assert hashes(tmp_path / "out") == edited


@pytest.mark.long
def test_a_template_changed_while_stages_run_makes_the_next_run_do_them_again(
    built, edited, tmp_path, ready, templates
):
    setting = f"templates={templates}"
    asked = Request(built / "clips", tmp_path / "out", overrides=(setting, ALL_IN_TRAIN))
    with open_build(asked) as build:
        run_here(build)
        edit(templates)
        assert build.publish().exit_code == 0

    build_here(built / "clips", tmp_path / "out", setting)
    assert made(tmp_path / "out") == {"scene": 2, "fine": 2}
    assert hashes(tmp_path / "out") == edited
