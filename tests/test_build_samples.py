"""The main job on the sample clips, whose truth is known: one build, looked at from all sides."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builds import SAMPLES, build, hashes, made, merr, rows

from merr_pipeline.dataset.validate import validate
from merr_pipeline.schema import STAGE_SCHEMAS

TRUTH = {
    path.stem: json.loads(path.read_text("utf-8")) for path in (SAMPLES / "truth").glob("*.json")
}
MOVING = sorted(name for name, truth in TRUTH.items() if truth["apex_frame"] is not None)


@pytest.fixture(scope="module")
def out(samples_build) -> Path:
    return samples_build


@pytest.fixture(scope="module")
def clips(out) -> dict[str, dict[str, Any]]:
    return {row["clip_id"]: row for row in rows(out, "clips")}


def test_every_sample_is_in_the_dataset(out, clips):
    assert sorted(clips) == sorted(TRUTH)
    assert rows(out, "rejected") == []
    assert made(out) == dict.fromkeys(STAGE_SCHEMAS, len(TRUTH))


def test_the_dataset_proves_itself(out):
    assert validate(out, SAMPLES) == []
    assert "no problem found" in merr("validate", "--out", out, "--clips", SAMPLES)


@pytest.mark.parametrize("name", MOVING)
def test_the_peak_is_within_two_frames_of_the_apex(clips, name):
    assert abs(clips[name]["peak_frame_index"] - TRUTH[name]["apex_frame"]) <= 2
    assert clips[name]["peak_verdict"] in {"clear", "weak"}


MOVES = {"smile": "AU12", "surprise": "AU01", "anger_subtitled": "AU07", "sadness_silent": "AU15"}
MOVES |= {"blink_then_smile": "AU12", "two_people_cut": "AU12", "unlabelled": "AU01"}
FIFTH_OF_THE_WAY = np.arccos(1 - 2 * 0.2) / np.pi  # in time, of a rise along a raised cosine


@pytest.mark.parametrize("name", MOVES)
def test_an_action_unit_sets_in_within_three_frames_of_its_movement(clips, name):
    (unit,) = (unit for unit in clips[name]["action_units"] if unit["au"] == MOVES[name])
    truth = TRUTH[name]
    rise = truth["apex_frame"] - truth["onset_frame"]
    fall = truth["offset_frame"] - truth["apex_frame"]

    begun = truth["onset_frame"] + FIFTH_OF_THE_WAY * rise
    ended = truth["offset_frame"] - FIFTH_OF_THE_WAY * fall
    assert abs(unit["onset_s"] * truth["fps"] - begun) <= 3
    assert abs(unit["apex_s"] * truth["fps"] - truth["apex_frame"]) <= 2
    assert abs(unit["offset_s"] * truth["fps"] - ended) <= 6  # a median baseline hides the tail


def test_the_blink_is_no_peak(clips):
    blink = TRUTH["blink_then_smile"]["blink_frame"]
    peaks = [peak["frame_index"] for peak in clips["blink_then_smile"]["peaks"]]

    assert peaks
    assert all(abs(frame - blink) > 5 for frame in peaks)


@pytest.mark.parametrize("name", sorted(TRUTH))
def test_cuts_are_where_they_were_made(clips, name):
    fps, cut = TRUTH[name]["fps"], TRUTH[name]["cut_frame"]
    starts = [round(shot["start_s"] * fps) for shot in clips[name]["shots"]]

    assert len(starts) == (1 if cut is None else 2)
    assert cut is None or abs(starts[1] - cut) <= 1


def test_words_come_from_where_they_were_put(clips):
    sources = {name: clips[name]["transcript_source"] for name in TRUTH}
    expected = {
        name: None if speech is None else speech["words_in"]
        for name, speech in ((name, truth["speech"]) for name, truth in TRUTH.items())
    }
    expected = {name: None if place == "nowhere" else place for name, place in expected.items()}

    assert sources == expected
    for name, place in expected.items():
        if place is not None:
            assert clips[name]["transcript"] == TRUTH[name]["speech"]["text"]
        else:
            assert clips[name]["transcript"] is None
            assert clips[name]["transcript_status"] == "no_transcript"


def test_labels_are_those_of_the_manifest_and_never_of_a_proxy(clips):
    assert {name: clips[name]["label"] for name in TRUTH} == {
        name: truth["label"] for name, truth in TRUTH.items()
    }
    assert clips["unlabelled"]["label"] is None
    assert {clip["au_scale"] for clip in clips.values()} == {"proxy_0_5"}


def test_the_smile_is_measured_as_a_smile(clips):
    units = {unit["au"]: unit for unit in clips["smile"]["action_units"]}
    others = {unit["au"]: unit for unit in clips["surprise"]["action_units"]}

    assert units["AU12"]["value_at_peak"] >= 2
    assert units["AU12"]["value_at_peak"] > others["AU12"]["value_at_peak"] + 1
    assert others["AU25"]["value_at_peak"] > units["AU25"]["value_at_peak"]
    onset = units["AU12"]["onset_s"] * TRUTH["smile"]["fps"]
    assert TRUTH["smile"]["onset_frame"] <= onset < TRUTH["smile"]["apex_frame"] - 3


def test_a_clip_without_sound_says_so_and_claims_no_voice(clips):
    silent = clips["sadness_silent"]

    assert "visual_only" in silent["flags"]
    assert (silent["tone"], silent["tone_status"]) == (None, "no_audio_stream")
    assert silent["prosody"] is None


def test_every_text_is_grounded_and_short(clips):
    for clip in clips.values():
        assert clip["quality"]["grounding"] == 1.0, clip["fine_caption"]
        assert 10 <= len(clip["fine_caption"].split()) <= 120
        known = {item["id"] for item in clip["evidence"]}
        assert {cue["evidence_id"] for cue in clip["cues"]} <= known


def test_a_second_build_finds_nothing_pending_and_leaves_the_same_bytes(out):
    before = hashes(out)

    output = build(out)

    assert "nothing is pending" in output
    assert made(out) == {}
    assert hashes(out) == before


@pytest.mark.long
def test_another_build_with_other_workers_and_batches_leaves_the_same_bytes(out, tmp_path):
    build(tmp_path, "--set", "engine.workers=1", "--set", "engine.batch_size=8")

    assert hashes(tmp_path) == hashes(out)


@pytest.fixture
def changed(out, tmp_path) -> tuple[Path, Path]:
    """A copy of the samples and of the finished build, to change something in."""
    subprocess.run(["cp", "-a", SAMPLES, tmp_path / "clips"], check=True)
    subprocess.run(["cp", "-a", out, tmp_path / "out"], check=True)
    return tmp_path / "clips", tmp_path / "out"


@pytest.mark.long
def test_a_changed_sidecar_remakes_the_words_and_what_builds_on_them(changed):
    clips, out = changed
    sidecar = clips / "clips" / "smile.srt"
    sidecar.write_text(sidecar.read_text("utf-8").replace("o", "oo", 1), "utf-8")

    build(out, clips=clips)

    assert made(out) == {"transcript": 1, "tone": 1, "fine": 1}


@pytest.mark.long
def test_a_changed_threshold_remakes_its_stage_and_what_builds_on_it(changed):
    clips, out = changed

    build(out, "--set", "moment.edge_frames=3", clips=clips)

    stages = ["moment", "scene", "label", "fine"]
    assert made(out) == dict.fromkeys(stages, len(TRUTH))


@pytest.mark.long
def test_a_changed_template_remakes_only_what_reads_it(changed, tmp_path):
    clips, out = changed
    templates = tmp_path / "templates"
    templates.mkdir()
    shipped = Path(__file__).parent.parent / "annotation_templates" / "tone_words.yaml"
    (templates / "tone_words.yaml").write_text(shipped.read_text("utf-8") + "\n# mine\n", "utf-8")

    build(out, "--set", f"templates={templates}", clips=clips)

    assert made(out) == {"tone": len(TRUTH), "fine": len(TRUTH)}


def test_datasets_opens_every_subset_offline(out, tmp_path):
    code = (
        "import sys, datasets\n"
        "for name in ('clips', 'coarse', 'fine'):\n"
        "    rows = datasets.load_dataset(sys.argv[1], name, split='train')\n"
        "    print(name, len(rows), rows.features.get('peak_frame'))\n"
        "    if name == 'clips': print(max(rows[0]['peak_frame'].size))\n"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(out / "dataset")],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"clips {len(TRUTH)} Image(" in done.stdout
    assert "\n448\n" in done.stdout or "\n400\n" in done.stdout


@pytest.mark.long
def test_bad_inputs_end_in_rejected_and_in_the_exit_code(tmp_path):
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "empty.mp4").write_bytes(b"")
    (clips / "text.mp4").write_text("no video at all")
    (clips / "good.mp4").write_bytes((SAMPLES / "clips" / "smile.mp4").read_bytes())

    merr("build", clips, "--out", tmp_path / "out", code=1)

    rejected = {row["clip_id"]: row["reason"] for row in rows(tmp_path / "out", "rejected")}
    assert rejected == {"empty": "empty_file", "text": "not_media"}
    assert [row["clip_id"] for row in rows(tmp_path / "out", "clips")] == ["good"]


@pytest.mark.long
def test_what_cannot_run_says_why_and_exits_2(tmp_path):
    merr("build", tmp_path / "nowhere", "--out", tmp_path / "out", code=2)
    build(tmp_path / "out", "--set", "face.tol=facemesh", code=2)
    build(tmp_path / "out", "--profile", "openface", code=2)
