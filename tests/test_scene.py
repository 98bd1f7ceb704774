from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from made_faces import make_face, make_probe, make_track, no_face, times

from merr_pipeline.media import frame_jpeg
from merr_pipeline.scene.facts import SceneStage, facing
from merr_pipeline.scene.words import load_scene_words, word_for
from merr_pipeline.schema import Clip, ClipId, MerrError
from merr_pipeline.settings import Settings
from merr_pipeline.stage import Work

WORDS = load_scene_words()
AT = times(50)
CLIP = Clip(ClipId("made"), Path("made.mp4"), "made.mp4", "0" * 64)
NO_MOMENT = {"status": "skipped", "reason": "no_face", "detail": None}


def picture(background=(90, 90, 90), face=(220, 160, 130), size=(640, 480), box=None) -> bytes:
    frame = np.full((size[1], size[0], 3), background, np.uint8)
    if box is not None:
        x, y, width, height = (int(edge) for edge in box)
        frame[y : y + height, x : x + width] = face
    return frame_jpeg(frame, 448, 90)


def moment(box=(220, 120, 200, 240), pose=(0.0, 0.0), jpeg=None, peak=20):
    named = None if box is None else dict(zip(("x", "y", "width", "height"), box, strict=True))
    return {
        "status": "ok",
        "face_track": [{"time_s": t, "box": named, "confidence": 0.9} for t in AT],
        "peak_frame_index": peak,
        "peak_time_s": AT[peak],
        "head_pose": {"pitch_deg": pose[1], "yaw_deg": pose[0], "roll_deg": 0.0},
        "peak_frame": jpeg or picture(),
    }


def scene(moment_row=None, face=None, probe=None, stage=None):
    face = face or make_face([make_track(AT, {})], tool="facemesh")
    seen = {"probe": probe or make_probe(AT), "face": face, "moment": moment_row or moment()}
    [row] = (stage or SceneStage(Settings())).annotate([Work(CLIP, seen)])
    assert (row["status"], row["detail"]) == ("ok", None)
    return row


def facts(*args, **kwargs):
    return scene(*args, **kwargs)["scene_facts"]


def test_the_sentence_says_what_was_measured():
    row = scene()

    assert row["scene"] == (
        "Medium close-up with one face in view: a person in the middle of the picture who faces "
        "the camera, in medium light; little motion, hardly any colour."
    )
    assert row["scene_source"] == "measured_facts"


@pytest.mark.parametrize(
    ("height", "scale"),
    [
        (450, "extreme close-up"),
        (280, "close-up"),
        (160, "medium close-up"),
        (80, "medium shot"),
        (50, "medium long shot"),
        (20, "long shot"),
    ],
)
def test_the_shot_scale_comes_from_the_height_of_the_face(height, scale):
    found = facts(moment(box=(300, 10, 40, height)))

    assert found["shot_scale"] == scale
    assert found["face_height_share"] == pytest.approx(height / 480, abs=1e-3)


def test_black_bars_are_no_picture():
    bars = {"top": 60, "bottom": 60, "left": 0, "right": 0}
    box = (300, 180, 80, 120)

    assert facts(moment(box=box))["face_height_share"] == 0.25
    letterboxed = facts(moment(box=box), probe=make_probe(AT, bars=bars))
    assert letterboxed["face_height_share"] == pytest.approx(120 / 360, abs=1e-3)


@pytest.mark.parametrize(
    ("x", "where"), [(0, "on the left"), (220, "in the middle"), (440, "right")]
)
def test_the_position_is_that_of_the_middle_of_the_face(x, where):
    assert where in facts(moment(box=(x, 120, 200, 240)))["position"]


@pytest.mark.parametrize(
    ("yaw", "pitch", "words"),
    [
        (0.0, 0.0, "faces the camera"),
        (14.9, -19.9, "faces the camera"),
        (30.0, 0.0, "is turned to the right of the picture"),
        (-30.0, 0.0, "is turned to the left of the picture"),
        (70.0, 0.0, "is seen in profile, turned to the right of the picture"),
        (-70.0, 0.0, "is seen in profile, turned to the left of the picture"),
        (0.0, 25.0, "faces the camera with the head raised"),
        (-30.0, -25.0, "is turned to the left of the picture with the head lowered"),
    ],
)
def test_the_head_pose_says_where_the_person_looks(yaw, pitch, words):
    assert facing({"yaw_deg": yaw, "pitch_deg": pitch, "roll_deg": 0.0}, WORDS) == words


def test_a_pose_that_is_not_known_is_not_guessed():
    row = scene(moment(pose=(None, None)))

    assert row["scene_facts"]["facing"] is None
    assert "face" in row["scene"]
    assert "who" not in row["scene"]


def test_faces_are_counted_at_the_peak_and_over_the_clip():
    other = make_track(AT[30:], {}, first_frame=30, track=1)
    face = make_face([make_track(AT, {}), other], tool="facemesh", face_count=2)

    early, late = facts(moment(peak=20), face), scene(moment(peak=40), face)

    assert (early["faces_in_view"], early["faces_most"]) == (1, 2)
    assert late["scene_facts"]["faces_in_view"] == 2
    assert "with two faces in view: the main person" in late["scene"]


def test_with_more_faces_than_are_tracked_no_number_is_made_up():
    tracks = [make_track(AT, {}), make_track(AT, {}, track=1), make_track(AT[:30], {}, track=2)]
    crowd = make_face(tracks, tool="facemesh", face_count=6)
    three = make_face(tracks, tool="facemesh", face_count=3)

    row = scene(moment(peak=20), crowd)

    assert row["scene_facts"]["faces_in_view"] is None
    assert row["scene_facts"]["faces_most"] == 6
    assert "with several faces in view: the main person" in row["scene"]
    assert scene(moment(peak=20), three)["scene_facts"]["faces_in_view"] == 3
    assert scene(moment(peak=40), crowd)["scene_facts"]["faces_in_view"] == 2


def test_with_one_track_alone_and_more_faces_nothing_is_said_of_their_number():
    face = make_face([make_track(AT, {})], tool="facemesh", face_count=4)

    row = scene(face=face)

    assert row["scene_facts"]["faces_in_view"] is None
    assert row["scene"].startswith("Medium close-up of a person in the middle")


def test_a_tool_that_sees_one_face_does_not_say_that_there_is_one():
    row = scene(face=make_face([make_track(AT, {})], face_count=None))

    assert row["scene_facts"]["faces_in_view"] is None
    assert row["scene"].startswith("Medium close-up of a person in the middle")


@pytest.mark.parametrize(
    ("brightness", "contrast", "dark_share", "light"),
    [
        (0.6, 0.2, 0.0, "bright light"),
        (0.4, 0.05, 0.0, "medium light with little contrast"),
        (0.2, 0.3, 1.0, "dim light with strong contrast"),
        (0.1, 0.2, 1.0, "very dim light"),
        (0.4, 0.2, 0.5, "medium light, dark for part of the time"),
    ],
)
def test_light_is_brightness_contrast_and_dark_stretches(brightness, contrast, dark_share, light):
    probe = make_probe(AT, brightness=brightness, contrast=contrast, dark_share=dark_share)

    assert facts(probe=probe)["light"] == light


@pytest.mark.parametrize(
    ("motion", "word"),
    [(0.0, "hardly any"), (0.002, "hardly any"), (0.005, "little"), (0.01, "some"), (0.1, "much")],
)
def test_motion_is_put_in_words_and_kept_as_a_number(motion, word):
    found = facts(probe=make_probe(AT, motion=motion))

    assert found["motion"] == f"{word} motion"
    assert found["motion_value"] == pytest.approx(motion, abs=6e-4)


def test_a_still_has_no_motion_and_no_cuts():
    found = facts(probe=make_probe(AT, kind="still", motion=None))

    assert (found["motion"], found["motion_value"], found["cuts"]) == (None, None, None)


def test_cuts_are_said():
    row = scene(probe=make_probe(AT, (20, 30)))

    assert row["scene_facts"]["cuts"] == 2
    assert row["scene"].endswith("two cuts.")


def test_colour_is_that_around_the_face_for_skin_is_always_warm():
    box = (170, 60, 300, 360)
    with_skin = facts(moment(box=box, jpeg=picture(box=box)))
    blue = facts(moment(box=box, jpeg=picture(background=(40, 80, 160), box=box)))
    orange = facts(moment(box=box, jpeg=picture(background=(180, 120, 70), box=box)))

    assert with_skin["colour"] == "hardly any colour"
    assert with_skin["saturation"] == pytest.approx(0.0, abs=0.03)
    assert blue["colour"] == "strong colours with a cool tint"
    assert blue["saturation"] == pytest.approx(120 / 160, abs=0.03)
    assert orange["colour"] == "strong colours with a warm tint"
    assert orange["warmth"] == pytest.approx(110 / (370 / 3), abs=0.05)


def test_a_face_that_fills_the_picture_leaves_no_colour_to_speak_of():
    found = facts(moment(box=(120, 90, 400, 300)))  # 12 % of the picture are left beside it

    assert (found["colour"], found["saturation"], found["warmth"]) == (None, None, None)


def test_without_a_face_light_and_motion_are_still_said():
    row = scene(NO_MOMENT, no_face())

    assert row["scene"] == "No face in view, medium light; little motion."
    assert row["scene_facts"]["faces_in_view"] == 0
    assert row["scene_facts"]["brightness"] == 0.4
    assert row["scene_facts"]["shot_scale"] is None
    assert row["scene_facts"]["colour"] is None


def test_when_the_face_tool_failed_nothing_is_said_of_faces():
    row = scene(
        {"status": "skipped", "reason": "upstream", "detail": None},
        no_face("failed", "tool_crashed"),
    )

    assert row["scene"] == "Medium light; little motion."
    assert row["scene_facts"]["faces_in_view"] is None


def test_a_person_without_a_place_is_seen_and_not_placed():
    row = scene(moment(box=None, pose=(30.0, 0.0)), make_face([], face_count=None))

    assert row["scene"] == (
        "View of a person who is turned to the right of the picture, in medium light; "
        "little motion."
    )


def test_the_row_fits_the_schema_with_and_without_a_face():
    head = {"clip_id": "made", "input_key": "", "row_hash": "", "sha256": ""}
    for row in (scene(), scene(NO_MOMENT, no_face())):
        [back] = pa.Table.from_pylist([{**head, **row}], schema=SceneStage.schema).to_pylist()
        of_models = dict.fromkeys(("scene_parts", "burned_in_text", "burned_in_status"))
        assert back == {**head, **row, **of_models}


def test_values_are_rounded_before_they_meet_a_threshold():
    assert word_for(0.29996, WORDS.shot_scale) == "medium close-up"
    assert word_for(0.299, WORDS.shot_scale) == "medium shot"
    assert word_for(None, WORDS.shot_scale) is None


def test_your_own_words_are_used_and_change_the_fingerprint(tmp_path):
    shipped = (Path(__file__).parent.parent / "annotation_templates/scene_words.yaml").read_text()
    own = tmp_path / "scene_words.yaml"
    own.write_text(shipped.replace("word: little motion", "word: a calm picture"), "utf-8")
    stage = SceneStage(Settings(templates=tmp_path))

    assert "a calm picture" in scene(stage=stage)["scene"]
    assert stage.identity().fingerprint() != SceneStage(Settings()).identity().fingerprint()


def test_a_template_that_cannot_be_is_refused(tmp_path):
    shipped = (Path(__file__).parent.parent / "annotation_templates/scene_words.yaml").read_text()
    (tmp_path / "scene_words.yaml").write_text(shipped.replace("{% endif %}.", "."), "utf-8")

    with pytest.raises(MerrError, match=r"scene_words\.yaml is wrong"):
        load_scene_words(tmp_path)
