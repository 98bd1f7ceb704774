"""`merr explain`: the picture of a clip, and the story that it draws."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from builds import SAMPLES, merr
from made_faces import UNITS, bump, make_track, times

from merr_pipeline.explain.frames import MAIN_COLOUR, RULE_NAMES
from merr_pipeline.explain.picture import draw, figure_of
from merr_pipeline.explain.story import RULES, mouth_of, read_story
from merr_pipeline.history import last_run
from merr_pipeline.moment.peaks import find_moment
from merr_pipeline.moment.rules import load_moment_rules
from merr_pipeline.moment.series import series_of
from merr_pipeline.moment.why import passed_over, why_chosen
from merr_pipeline.schema import MerrError
from merr_pipeline.settings import MomentSettings

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


@pytest.fixture(scope="module")
def two_people(samples_build):
    """Story, axes by what they show, and the truth of the clip with a cut."""
    story = read_story(samples_build, "two_people_cut")
    return story, axes_of(story), truth_of("two_people_cut")


def axes_of(story) -> dict:
    return {axes.get_label(): axes for axes in figure_of(story).axes if axes.get_label()}


def test_frames_stand_at_their_times_with_the_main_persons_box(two_people):
    story, axes, _ = two_people

    pictures = axes["strip"].child_axes
    assert len(pictures) == 7
    times_s = [float(text.get_text().removesuffix(" s")) for text in axes["strip"].texts]
    duration_s = story.rows["probe"]["duration_s"]
    middles_s = [(n + 0.5) * duration_s / 7 for n in range(7)]
    assert times_s == pytest.approx(middles_s, abs=0.03)
    main = story.rows["moment"]["main_person"]["track"]
    [track] = [t for t in story.rows["face"]["tracks"] if t["track"] == main]
    for time_s, axes_of_frame in zip(times_s, pictures, strict=True):
        image = axes_of_frame.images[0].get_array()
        green = np.all(np.abs(np.asarray(image, dtype=int) - MAIN_COLOUR) < 40, axis=2)
        is_there = min(abs(seen - time_s) for seen in track["time_s"]) < 0.02
        assert (green.sum() > 50) == is_there, time_s


def test_the_cut_goes_through_every_panel(two_people):
    _, axes, truth = two_people

    for name in ("strip", "units", "peaks", "sound"):
        dashed = [x.get_xdata()[0] for x in axes[name].lines if x.get_linestyle() == "--"]
        cuts = [x for x in dashed if abs(x - truth["cut_frame"] / truth["fps"]) < 0.05]
        assert cuts, name


def test_each_rule_has_its_curve_its_star_and_why(samples_build):
    story = read_story(samples_build, "blink_then_smile")

    axes = axes_of(story)["peaks"]

    lines = {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}
    for found in story.found:
        name, main = RULE_NAMES[found.rule], found.moment.main
        [(label, star)] = [
            (k, v) for k, v in lines.items() if k.startswith((f"{name}:", f"{name} ("))
        ]
        assert star.get_xdata()[0] == story.series.time_s[main.position]
        assert star.get_ydata()[0] == pytest.approx(main.strength)
        assert "peak" in label
    assert len([label for label in lines if "(the record's)" in label]) == 1
    [blink] = [v for k, v in lines.items() if k.startswith("ours, passed over: blink")]
    passed = [p for p in story.found[0].passed if p.reason == "blink"]
    assert list(blink.get_xdata()) == [story.series.time_s[p.position] for p in passed]
    spans = [patch.get_label() for patch in axes.patches]
    assert "no peak may lie: blink" in spans


def test_units_are_drawn_on_the_whole_of_their_scale_with_what_counts_as_active(samples_build):
    story = read_story(samples_build, "smile")

    axes = axes_of(story)["units"]

    assert axes.get_ylim() == (0, 5)
    smile = next(line for line in axes.lines if line.get_label().startswith("AU12 Lip corner"))
    np.testing.assert_array_equal(smile.get_ydata(), story.series.trace("AU12").value)
    assert [line for line in axes.lines if set(line.get_ydata()) == {story.active_at}]


def test_speech_is_shaded_and_the_mouth_drawn_over_the_sound(samples_build):
    story = read_story(samples_build, "smile")

    axes = axes_of(story)["sound"]

    spans = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches]
    segments = [(s["start_s"], s["end_s"]) for s in story.rows["voice"]["segments"]]
    np.testing.assert_allclose(spans, segments)
    sound = next(line for line in axes.lines if line.get_label() == "sound")
    np.testing.assert_allclose(sound.get_ydata(), story.rows["voice"]["envelope_db"])


def test_the_frame_of_the_record_stands_beside_the_face_that_it_keeps(samples_build):
    story = read_story(samples_build, "two_people_cut")

    titles = [axes.get_title() for axes in figure_of(story).axes[0].child_axes]

    moment = story.rows["moment"]
    assert titles[0].startswith("ours")
    assert titles[0].endswith(f"{moment['peak_time_s']:.2f} s")
    assert titles[1] == "the face in the record"


@pytest.mark.parametrize("clip_id", ["neutral", "sadness_silent"])
def test_a_clip_without_peak_or_sound_is_drawn_too(samples_build, tmp_path, clip_id):
    draw(read_story(samples_build, clip_id), tmp_path / "it.svg")

    assert clip_id in (tmp_path / "it.svg").read_text()


def changed(story, **rows):
    """The story with other values in some of its rows."""
    return dataclasses.replace(
        story, rows={k: {**row, **rows.get(k, {})} for k, row in story.rows.items()}
    )


def test_a_still_stands_in_the_middle_of_a_picture_without_times(samples_build, tmp_path):
    story = read_story(samples_build, "neutral")
    probe = {"duration_s": 0.0, "frame_times_s": [0.0]}
    still = changed(story, probe=probe, voice={"envelope_db": None, "reason": "still"})

    still = dataclasses.replace(still, series=None, found=())
    axes = axes_of(still)

    [picture] = axes["strip"].child_axes
    assert picture.images[0].get_array().shape[0] > 100
    low, high = axes["strip"].get_xlim()
    assert low < 0 < high
    assert not len(axes["sound"].get_xticks())
    draw(still, tmp_path / "still.png")


def test_words_with_signs_of_formulas_are_shown_as_they_are(samples_build, tmp_path):
    said = r"It costs $5 and \frac{1}$ more, or $6"
    story = changed(read_story(samples_build, "neutral"), transcript={"transcript": said})

    draw(story, tmp_path / "it.png")

    assert said in figure_of(story).get_suptitle()


def test_letters_that_no_font_has_are_told_of(samples_build, monkeypatch):
    monkeypatch.setattr("merr_pipeline.explain.picture.FONTS", ())
    story = changed(
        read_story(samples_build, "neutral"), transcript={"transcript": "没关系 never mind"}
    )

    title = figure_of(story).get_suptitle()

    assert "没" not in title
    assert "never mind [letters without a font here: cjk; install" in title


def test_long_words_are_broken_and_cut(samples_build):
    story = changed(read_story(samples_build, "neutral"), transcript={"transcript": "so " * 900})

    lines = figure_of(story).get_suptitle().splitlines()

    assert max(map(len, lines)) <= 165
    assert lines[-1].endswith("…")


@pytest.mark.parametrize("to", ["it.xyz", "file/it.png"])
def test_a_picture_that_cannot_be_written_is_an_error_with_what_to_do(samples_build, tmp_path, to):
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(MerrError, match=r"Use \.png, \.svg or \.pdf|cannot be written"):
        draw(read_story(samples_build, "neutral"), tmp_path / to)


# --- reasons -------------------------------------------------------------------------------------


def reasons_of(units, **settings) -> tuple[dict[float, str], str]:
    """By time, why a maximum was passed over; and why the chosen one was chosen."""
    track, rules, own = (
        make_track(times(100), units),
        load_moment_rules().peak,
        MomentSettings(**settings),
    )
    series, talks = series_of(track), np.zeros(100, dtype=bool)
    moment = find_moment(series, "intensity_0_5", UNITS, rules, own, talks)
    passed = passed_over(series, moment, "intensity_0_5", UNITS, rules, own, talks)
    at = {round(float(series.time_s[one.position]), 1): one.reason for one in passed}
    return at, why_chosen(moment, frozenset())


def test_a_maximum_beside_a_stronger_one_and_one_too_many_are_told_apart():
    at = times(100)
    smile = sum(
        bump(at, t - 0.3, t, t + 0.3, height=h) for t, h in ((1.0, 3.0), (2.0, 2.5), (3.0, 2.0))
    )
    units = {"AU12": smile + bump(at, 1.32, 1.4, 1.5, height=2.0), "AU45": np.zeros(100)}

    passed, why = reasons_of(units, max_peaks=2, smoothing_s=0.0, min_gap_s=0.6)

    assert passed == {1.4: "beside a stronger one", 3.0: "no more than 2 peaks are kept"}
    assert why == "the strongest of 2 peaks"


def test_a_maximum_at_which_nothing_is_active_gives_way_to_what_is_held():
    before = np.arange(100) < 40
    slight = bump(times(100), 0.2, 0.8, 1.4, height=0.95)
    units = {"AU12": np.where(before, 0.0, 2.0)} | dict.fromkeys(("AU01", "AU04", "AU07"), slight)

    passed, why = reasons_of(units, smoothing_s=0.0)

    assert passed == {0.8: "nothing active, beside held AU12"}
    assert why == "the height of what is held: AU12"


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
