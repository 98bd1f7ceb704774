"""Two datasets side by side: what changed, and what did it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from builds import merr
from small_builds import build_here, cut_sample

from merr_pipeline.dataset.difference import BUILT_ON, compare
from merr_pipeline.pipeline import build_stages
from merr_pipeline.schema import MerrError
from merr_pipeline.settings import load_settings

VISUAL = "dataset.require_words_or_voice=false"


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    clips = tmp_path_factory.mktemp("clips")
    for name in ("smile", "surprise"):
        cut_sample(clips, name)
    return clips


@pytest.fixture(scope="module")
def before(clips, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("before")
    build_here(clips, out, VISUAL)
    return out


def built_again(before: Path, clips: Path, out: Path, *overrides: str) -> Path:
    shutil.copytree(before, out)
    build_here(clips, out, VISUAL, *overrides)
    return out


def test_a_dataset_and_itself_do_not_differ(before):
    found = compare(before, before)
    assert found.is_none
    assert found.fingerprints == {}
    assert "changed: nothing" in merr("diff", before, before / "dataset")


@pytest.mark.long
def test_a_changed_setting_changes_texts_and_is_named(before, clips, tmp_path):
    after = built_again(before, clips, tmp_path / "out", "fine.max_words=30")
    found = compare(before, after)

    assert set(found.counts()) == {"fine_caption"}
    assert {change.because for change in found.changes} == {("fine",)}
    assert set(found.fingerprints) == {"fine"}
    for change in found.changes:
        assert len(str(change.new).split()) <= 30 < len(str(change.old).split())


@pytest.mark.long
def test_a_changed_word_beside_a_clip_is_its_input(before, clips, tmp_path):
    other = tmp_path / "clips"
    shutil.copytree(clips, other)
    (other / "smile.txt").write_text("What a lovely day it is!")
    after = built_again(before, other, tmp_path / "out")
    found = compare(before, after)

    assert {change.clip_id for change in found.changes} == {"smile"}
    words = next(change for change in found.changes if change.column == "transcript")
    assert (words.old, words.new) == (None, "What a lovely day it is!")
    assert words.because == ()
    assert found.fingerprints == {}
    said = merr("diff", before, after, code=1)
    assert "smile: transcript (its input)" in said


@pytest.mark.long
def test_clips_that_came_and_went_are_named(before, clips, tmp_path):
    other = tmp_path / "clips"
    shutil.copytree(clips, other)
    (other / "smile.mp4").unlink()
    cut_sample(other, "neutral")
    found = compare(before, built_again(before, other, tmp_path / "out"))

    assert (found.only_in_a, found.only_in_b) == (["smile"], ["neutral"])
    assert found.changes == []


def test_a_folder_without_a_dataset_is_told_of(before, tmp_path):
    with pytest.raises(MerrError, match="holds no finished dataset"):
        compare(before, tmp_path)


def test_the_stages_build_on_what_the_pipeline_says():
    for stage in build_stages(load_settings(environment={})):
        assert tuple(BUILT_ON[stage.name]) == tuple(stage.needs)
