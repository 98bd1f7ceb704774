from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
from made_clips import write_clip
from made_faces import bump, make_face, make_probe, make_track, make_voice, no_face, times

from merr_pipeline.clips.probe import ProbeStage
from merr_pipeline.face.stage import FaceStage
from merr_pipeline.moment.stage import MomentStage
from merr_pipeline.schema import Clip, ClipId
from merr_pipeline.settings import Settings, load_settings
from merr_pipeline.speech.voice import VoiceStage
from merr_pipeline.stage import Work

AT = times(60)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Clip:
    """Sixty frames; frame n is a flat grey of 20 + 3 n."""
    path = tmp_path_factory.mktemp("moment") / "greys.mp4"
    write_clip(path, {index * 40: 20 + 3 * index for index in range(60)}, size=(640, 480))
    return Clip(ClipId("greys"), path, "greys.mp4", "0" * 64)


def smile(**changes):
    return make_track(AT, {"AU12": bump(AT, 0.6, 1.2, 1.8, height=3.0)}, **changes)


def annotate(clip: Clip, face, probe=None, **settings):
    stage = MomentStage(load_settings(overrides=[f"moment.{k}={v}" for k, v in settings.items()]))
    [row] = stage.annotate(
        [Work(clip, {"probe": probe or make_probe(AT), "voice": make_voice(), "face": face})]
    )
    return row


def picture(jpeg: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


def test_a_clip_with_a_smile_has_a_clear_peak_at_its_apex(clip):
    row = annotate(clip, make_face([smile()]))

    assert (row["status"], row["reason"]) == ("ok", None)
    assert (row["peak_frame_index"], row["peak_time_s"]) == (30, 1.2)
    assert row["peak_verdict"] == "clear"
    assert row["peaks"] == [
        {"frame_index": 30, "time_s": 1.2, "score": row["peak_score"], "verdict": "clear"}
    ]
    assert row["head_pose"] == {"pitch_deg": 0.0, "yaw_deg": 0.0, "roll_deg": 0.0}
    assert row["flags"] == []


@pytest.mark.parametrize(
    ("mouth_open", "speaking", "verdict"), [(0.1, 0.0, "clear"), (None, None, "weak")]
)
def test_the_open_mouth_of_a_listener_counts_fully(clip, mouth_open, speaking, verdict):
    gasp = {"AU25": bump(AT, 0.6, 1.2, 1.8, height=5.0), "AU01": np.zeros(60)}
    face = make_face([make_track(AT, gasp, mouth_open=[mouth_open] * 60)])
    voice = make_voice(np.tile([-50.0, -20.0, -30.0], 20), [(0.0, 2.4)])
    seen = {"probe": make_probe(AT), "voice": voice, "face": face}

    [row] = MomentStage(Settings()).annotate([Work(clip, seen)])

    assert (row["main_person"]["speaking"], row["peak_verdict"]) == (speaking, verdict)
    assert row["peak_frame_index"] == 30


def test_the_pictures_show_the_peak_frame(clip):
    row = annotate(clip, make_face([smile()]))

    assert picture(row["peak_frame"]).shape == (336, 448, 3)
    assert picture(row["face_crop"]).shape == (224, 224, 3)
    assert picture(row["peak_frame"]).mean() == pytest.approx(20 + 3 * 30, abs=1.5)
    assert picture(row["face_crop"]).mean() == pytest.approx(20 + 3 * 30, abs=1.5)


def test_the_row_holds_the_whole_track_and_its_series(clip):
    row = annotate(clip, make_face([smile()]))

    assert [seen["time_s"] for seen in row["face_track"]] == AT
    assert row["au_series"]["time_s"] == AT
    assert row["au_series"]["values"][0]["value"][30] == 3.0
    assert row["main_person"] == {
        "track": 0,
        "score": row["main_person"]["score"],
        "speaking": None,
        "sure": 1.0,
        "searched": 1.0,
    }
    assert (row["shot"], row["face_coverage"]) == (0, 1.0)


def test_the_row_fits_the_schema(clip):
    row = annotate(clip, make_face([smile()]))
    row |= {"clip_id": "greys", "input_key": "", "row_hash": "", "sha256": ""}

    [back] = pa.Table.from_pylist([row], schema=MomentStage.schema).to_pylist()

    assert back == row


def test_the_same_clip_gives_the_same_row_in_any_batch(clip):
    stage = MomentStage(Settings())
    work = Work(
        clip, {"probe": make_probe(AT), "voice": make_voice(), "face": make_face([smile()])}
    )

    alone, twice = stage.annotate([work]), stage.annotate([work, work])

    assert twice == [*alone, *alone]


def test_a_tool_that_gives_no_place_leaves_the_face_picture_null(clip):
    nowhere = smile()
    nowhere["box"] = [None] * 60

    row = annotate(clip, make_face([nowhere]))

    assert (row["status"], row["peak_frame_index"]) == ("ok", 30)
    assert row["face_crop"] is None
    assert row["peak_frame"] is not None


def test_a_null_value_at_the_peak_stays_null(clip):
    units = {"AU12": bump(AT, 0.6, 1.2, 1.8, height=3.0), "AU26": [None] * 60}

    row = annotate(clip, make_face([make_track(AT, units)]))

    jaw = next(unit for unit in row["action_units"] if unit["au"] == "AU26")
    assert (jaw["value_at_peak"], jaw["mean"], jaw["max"]) == (None, None, None)


@pytest.mark.parametrize(
    ("other", "height", "warned"),
    [
        ("AU15", 3.5, ["unlikely_together:AU12+AU15"]),
        ("AU15", 2.9, []),  # a smile held back
        ("AU06", 5.0, []),
    ],
)
def test_units_that_a_face_hardly_shows_at_once_are_a_warning_and_keep_their_values(
    clip, other, height, warned
):
    both = {unit: bump(AT, 0.6, 1.2, 1.8, height=h) for unit, h in (("AU12", 4), (other, height))}

    row = annotate(clip, make_face([make_track(AT, both)]))

    assert row["flags"] == warned
    at_peak = {unit["au"]: unit["value_at_peak"] for unit in row["action_units"]}
    assert at_peak == {"AU12": 4.0, other: height}


def test_a_clip_without_a_face_is_skipped_for_the_reason_of_the_face_stage(clip):
    row = annotate(clip, no_face("skipped", "no_openface_csv"))

    assert (row["status"], row["reason"]) == ("skipped", "no_openface_csv")


def test_a_face_stage_without_tracks_is_no_face(clip):
    assert annotate(clip, make_face([]))["reason"] == "no_face"


def test_a_failed_face_stage_is_upstream_and_named(clip):
    row = annotate(clip, no_face("failed", "tool_crashed"))

    assert (row["status"], row["reason"]) == ("skipped", "upstream")
    assert row["detail"] == "face: tool_crashed"


def test_a_still_has_one_frame_and_no_peak(tmp_path):
    path = tmp_path / "still.png"
    cv2.imwrite(str(path), np.full((480, 640, 3), 90, np.uint8))
    clip = Clip(ClipId("still"), path, "still.png", "0" * 64)
    face = make_face([make_track([0.0], {"AU12": [3.0]})])

    row = annotate(clip, face, make_probe([0.0], kind="still"))

    assert (row["status"], row["peak_frame_index"], row["peak_verdict"]) == ("ok", 0, "none")
    assert (row["peak_score"], row["peaks"]) == (None, [])
    assert row["action_units"][0]["value_at_peak"] == 3.0
    assert picture(row["peak_frame"]).mean() == pytest.approx(90, abs=1.5)


def test_a_frame_that_cannot_be_read_again_fails(clip, tmp_path):
    short = write_clip(tmp_path / "short.mp4", {0: 10, 40: 10, 80: 10}, size=(640, 480))
    cut_off = Clip(clip.clip_id, short, "short.mp4", clip.sha256)

    row = annotate(cut_off, make_face([smile()]))

    assert (row["status"], row["reason"]) == ("failed", "decode_error")


def test_faces_in_other_shots_are_flagged_for_they_cannot_be_linked(clip):
    first = make_track(AT[:20], {"AU12": np.zeros(20)}, track=0)
    second = make_track(
        AT[20:], {"AU12": bump(AT[20:], 0.9, 1.4, 1.9, height=3)}, track=1, shot=1, first_frame=20
    )

    row = annotate(clip, make_face([first, second]), make_probe(AT, (20,)))

    assert row["main_person"]["track"] == 1
    assert (row["shot"], row["face_coverage"]) == (1, 1.0)
    assert "faces_in_other_shots" in row["flags"]
    assert row["peak_frame_index"] == 35


def test_a_person_who_is_lost_and_found_again_is_nobody_else(clip):
    first, second = (
        make_track(AT[at : at + 25], {"AU12": np.zeros(25)}, track=number, first_frame=at)
        for number, at in ((0, 0), (1, 35))
    )
    beside = make_track(AT[:20], {"AU12": np.zeros(20)}, track=2, box=(20.0, 300.0, 60.0, 80.0))

    row = annotate(clip, make_face([first, second, beside]))

    assert row["main_person"]["track"] == 0
    assert [other["track"] for other in row["others"]] == [2]
    assert row["face_coverage"] == 0.833  # 50 of 60 frames
    assert row["main_person"]["searched"] == 0.417


def test_two_faces_alike_are_flagged(clip):
    row = annotate(clip, make_face([smile(), smile(track=1)]))

    assert row["main_person"]["sure"] == 0.0
    assert "main_person_unsure" in row["flags"]


def test_a_face_without_action_units_is_flagged_and_shown(clip):
    row = annotate(clip, make_face([make_track(AT, {"AU12": [None] * 60})]))

    assert row["status"] == "ok"
    assert row["flags"] == ["no_action_units"]
    assert (row["peak_verdict"], row["peak_score"]) == ("none", None)
    assert row["peak_frame"] is not None


def test_the_fingerprint_knows_settings_and_templates_not_paths(tmp_path):
    plain = MomentStage(Settings()).identity().fingerprint()
    other = MomentStage(load_settings(overrides=["moment.rule=paper"])).identity().fingerprint()
    copy = tmp_path / "moment_rules.yaml"
    shipped = Path(__file__).parent.parent / "annotation_templates" / "moment_rules.yaml"
    copy.write_bytes(shipped.read_bytes())
    same = MomentStage(Settings(templates=tmp_path)).identity().fingerprint()
    copy.write_text(shipped.read_text("utf-8").replace("least_dip: 1.0", "least_dip: 1.5"), "utf-8")
    changed = MomentStage(Settings(templates=tmp_path)).identity().fingerprint()

    assert plain == same
    assert len({plain, other, changed}) == 3


@pytest.mark.shared
def test_on_a_real_clip_the_peak_keeps_off_cuts_and_blinks(shared):
    path = shared / "clips" / "samplenew_00051251.mp4"  # cuts to another speaker
    settings = load_settings(
        overrides=["face.tool=openface", f"face.openface.csv_dir={shared / 'openface'}"]
    )
    clip = Clip(ClipId(path.stem), path, path.name, "0" * 64)
    seen = {}
    seen["probe"] = ProbeStage(settings).annotate([Work(clip, {})])[0]
    voice = VoiceStage(settings)
    voice.setup()
    seen["voice"] = voice.annotate([Work(clip, seen)])[0]
    seen["face"] = FaceStage(settings).annotate([Work(clip, seen)])[0]
    [row] = MomentStage(settings).annotate([Work(clip, seen)])

    assert row["status"] == "ok"
    shot = seen["probe"]["shots"][row["shot"]]
    for peak in row["peaks"]:
        assert shot["start_frame"] + 2 <= peak["frame_index"] < shot["end_frame"] - 2
    blink = next(unit for unit in row["action_units"] if unit["au"] == "AU45")
    assert blink["max"] >= 1.0  # the person does blink
    assert blink["value_at_peak"] < 1.0
    assert "faces_in_other_shots" in row["flags"]
    assert max(picture(row["peak_frame"]).shape) == 448


def test_only_a_label_with_signs_can_change_the_row():
    clip = Clip(ClipId("a"), Path("a.mp4"), "a.mp4", "0" * 64)
    happy, doubt = replace(clip, label=" Happy"), replace(clip, label="doubt")
    stage = MomentStage(load_settings())

    assert stage.facts(happy) == {"signs": ["AU06", "AU12", "AU14"]}
    assert stage.facts(doubt) == stage.facts(clip) == {"signs": []}
    blind = MomentStage(load_settings(overrides=["moment.by_label=false"]))
    assert blind.facts(happy) == {"signs": []}
