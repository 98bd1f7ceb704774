"""`merr explain`: the picture of a clip, and the story that it draws."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from builds import SAMPLES, merr

from merr_pipeline.explain.picture import draw
from merr_pipeline.explain.story import RULES, mouth_of, read_story
from merr_pipeline.history import last_run
from merr_pipeline.schema import MerrError

TRUTH = SAMPLES / "truth"


def truth_of(name: str) -> dict:
    return json.loads((TRUTH / f"{name}.json").read_text())


def test_the_blink_is_passed_over_and_the_smile_is_chosen(samples_build):
    story, truth = read_story(samples_build, "blink_then_smile"), truth_of("blink_then_smile")

    ours = story.found[0]

    assert [found.rule for found in story.found] == list(RULES)
    frames = {passed.reason: story.series.frame_index[passed.position] for passed in ours.passed}
    assert abs(frames["blink"] - truth["blink_frame"]) <= 4
    assert abs(story.series.frame_index[ours.moment.main.position] - truth["apex_frame"]) <= 2
    stored = story.rows["moment"]["peak_frame_index"]
    assert story.series.frame_index[ours.moment.main.position] == stored


@pytest.mark.long
@pytest.mark.shared
def test_what_is_drawn_as_chosen_is_what_the_record_has(shared, tmp_path):
    clips = tmp_path / "clips"
    clips.mkdir()
    shutil.copy(shared / "clips" / "sample_00003358.mp4", clips)
    (clips / "manifest.csv").write_text("path,label\nsample_00003358.mp4,sad\n")
    csvs = f"face.openface.csv_dir={shared / 'openface'}"
    how = ("--manifest", clips / "manifest.csv", "--profile", "openface", "--set", csvs)
    merr("build", clips, *how, "--out", tmp_path / "out")

    # of its two peaks the label takes the weaker one
    story = read_story(tmp_path / "out", "sample_00003358")

    ours, moment = story.found[0].moment, story.rows["moment"]
    assert story.series.frame_index[ours.main.position] == moment["peak_frame_index"]
    assert max(ours.peaks, key=lambda peak: peak.strength).position != ours.main.position


def test_the_paper_s_rule_passes_nothing_over(samples_build):
    story = read_story(samples_build, "blink_then_smile")

    [paper] = [found for found in story.found if found.rule == "paper"]

    assert list(paper.passed) == []


def test_the_mouth_is_that_of_the_main_person(samples_build):
    story, truth = read_story(samples_build, "surprise"), truth_of("surprise")

    mouth = mouth_of(story)

    assert mouth[truth["apex_frame"]] > mouth[0] + 0.1


def test_the_picture_shows_faces_curves_and_the_cut(samples_build, tmp_path):
    to = tmp_path / "deep" / "two.png"

    said = merr("explain", samples_build, "two_people_cut", "--to", to)

    assert str(to) in said
    picture = cv2.imread(str(to))
    assert picture.shape[1] > 1200
    assert np.unique(picture.reshape(-1, 3), axis=0).shape[0] > 1000  # frames, not axes alone
    green = np.all(np.abs(picture.astype(int) - (80, 200, 0)) < 40, axis=2)
    assert green.sum() > 200  # the main person's box


@pytest.mark.parametrize("clip_id", ["neutral", "sadness_silent"])
def test_a_clip_without_peak_or_sound_is_drawn_too(samples_build, tmp_path, clip_id):
    draw(read_story(samples_build, clip_id), tmp_path / "it.svg")

    assert clip_id in (tmp_path / "it.svg").read_text()


def test_a_clip_that_is_not_there_is_named_with_those_near_to_it(samples_build):
    with pytest.raises(MerrError, match=r"smil is no clip .* Near to it: smile"):
        read_story(samples_build, "smil")


def test_a_folder_without_a_build_and_a_run_of_another_version_say_so(tmp_path):
    with pytest.raises(MerrError, match="holds no finished build"):
        last_run(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "1.json").write_text("{}")
    with pytest.raises(MerrError, match="run the build again"):
        last_run(tmp_path)


def test_the_last_run_says_what_it_was_asked_for(samples_build):
    request, settings = last_run(samples_build)

    assert request.clips == SAMPLES.absolute()
    assert request.out == Path(samples_build)
    assert settings.face.tool == "facemesh"
