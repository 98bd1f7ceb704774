"""The evidence list: numbered, complete, and honest about what is missing."""

import pytest
from made_evidence import clip_rows, missing, tone_row

from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.emotion.rules import load_rules
from merr_pipeline.fuse.evidence import collect_evidence, plain_quotation
from merr_pipeline.fuse.wording import load_fine_text
from merr_pipeline.schema import EVIDENCE

RULES, WORDING = load_rules(load_action_units()), load_fine_text()


def evidence_of(rows: dict) -> list[dict]:
    return [item.row() for item in collect_evidence(rows, RULES, WORDING)]


def texts(rows: dict, modality: str) -> list[str]:
    return [row["text"] for row in evidence_of(rows) if row["modality"] == modality]


def test_items_are_numbered_in_order_with_what_is_missing_last():
    rows = evidence_of(clip_rows({"AU12": 3.1}, tone=tone_row(), facts={"light": "dim light"}))

    assert [row["id"] for row in rows] == [f"E{n}" for n in range(1, len(rows) + 1)]
    modalities = list(dict.fromkeys(row["modality"] for row in rows))
    assert modalities == ["face", "voice", "scene", "missing"]
    assert all(list(row) == [field.name for field in EVIDENCE] for row in rows)


def test_an_active_unit_is_told_with_value_scale_time_and_reliability():
    [first, *_] = evidence_of(clip_rows({"AU12": 3.1, "AU06": 0.9}))

    assert first == {
        "id": "E1",
        "modality": "face",
        "text": "AU12 lip corner puller: 3.10 of 5 at 1.24 s",
        "time_s": 1.24,
        "value": 3.1,
        "scale": "intensity_0_5",
        "reliability": "moderate",
    }


def test_only_active_units_are_evidence_the_strongest_first():
    found = texts(clip_rows({"AU12": 1.0, "AU06": 2.0, "AU04": 0.99, "AU45": 4.0}), "face")

    assert [text[:4] for text in found if text.startswith("AU")] == ["AU06", "AU12"]


@pytest.mark.parametrize(
    ("tool", "scale", "told"),
    [
        ("openface", "probability", "probability 2.00 at"),
        ("facemesh", "proxy_0_5", "2.00 on an uncalibrated scale of 0 to 5 at"),
    ],
)
def test_each_scale_is_told_as_what_it_is(tool, scale, told):
    assert told in texts(clip_rows({"AU12": 2.0}, tool=tool, scale=scale), "face")[0]


def test_a_still_face_is_evidence_and_names_what_was_measured():
    [still, _peak] = texts(clip_rows({}, tool="facemesh", scale="proxy_0_5"), "face")

    assert still == (
        "none of the 5 facial actions measured is active (AU01, AU07, AU12, AU15, AU25)"
    )


@pytest.mark.parametrize(("yaw_deg", "reliability"), [(0.0, "moderate"), (60.0, "low")])
def test_a_still_face_is_as_reliable_as_what_it_rests_on(yaw_deg, reliability):
    rows = evidence_of(clip_rows({}, tool="facemesh", scale="proxy_0_5", yaw_deg=yaw_deg))

    assert (rows[0]["text"][:8], rows[0]["reliability"]) == ("none of ", reliability)


def test_a_mouth_that_moves_alone_leaves_the_face_still():
    found = texts(clip_rows({"AU25": 2.0}), "face")

    assert found[0].startswith("AU25 lips part")
    assert found[1].startswith("no facial action but such as speech brings is active, of 16")


def test_a_unit_without_a_value_is_missing_and_not_still():
    rows = clip_rows({"AU12": None}, tool="facemesh", scale="proxy_0_5")

    assert "AU12" not in texts(rows, "face")[0]
    assert "AU12" in texts(rows, "missing")[-1]


def test_the_list_says_which_units_the_tool_cannot_see():
    [*_, unseen] = texts(clip_rows({}, tool="facemesh", scale="proxy_0_5"), "missing")

    assert unseen.startswith("not measured by the face tool facemesh here: AU02, AU04, AU05")


def test_a_notable_head_pose_is_evidence_and_a_small_one_is_not():
    turned = texts(clip_rows({}, yaw_deg=-36.0, pitch_deg=-25.0), "face")
    straight = texts(clip_rows({}, yaw_deg=-10.0), "face")

    assert "head turned to the left of the picture and lowered at 1.24 s" in turned
    assert not any(text.startswith("head") for text in straight)


@pytest.mark.parametrize(
    ("peak", "told"),
    [
        ("clear", "the face is clearly at its most expressive at 1.24 s"),
        ("weak", "the face is somewhat more expressive than before and after at 1.24 s"),
        ("held", "the expression is held (AU12); no moment stands out"),
        ("none", "no moment stands out in the face"),
    ],
)
def test_the_peak_is_told_with_its_verdict(peak, told):
    held = ("AU12",) if peak == "held" else ()
    assert told in texts(clip_rows({"AU12": 3.0}, peak=peak, held=held), "face")


def test_a_face_on_which_something_is_held_is_never_still():
    found = texts(clip_rows({"AU25": 2.0}, peak="weak", held=("AU12",)), "face")

    assert found[0].startswith("AU25 lips part")
    assert found[1] == (
        "the face is somewhat more expressive than before and after at 1.24 s; "
        "held through most of the shot: AU12"
    )


def test_what_is_measured_against_a_common_rest_says_so_and_what_has_none_says_why():
    rows = clip_rows({"AU12": 3.0, "AU15": None}, tool="facemesh", scale="proxy_0_5", peak="none")
    rests = {"AU12": "common", "AU15": "raised"}
    for unit in rows["moment"]["action_units"]:
        unit["rest"] = rests.get(unit["au"], "own")

    assert texts(rows, "face")[0] == (
        "AU12 lip corner puller: 3.00 on an uncalibrated scale of 0 to 5 at 1.24 s, "
        "against a rest that is the same for everybody"
    )
    assert texts(rows, "missing")[-1].endswith("AU26, AU28; for want of a face at rest: AU15")


def test_in_a_picture_no_moment_can_stand_out():
    rows = clip_rows({"AU12": 3.0}, peak="none") | {"voice": missing("still")}

    assert [text[:4] for text in texts(rows, "face")] == ["AU12"]


def test_the_voice_is_told_feature_by_feature():
    found = texts(clip_rows(tone=tone_row("very high")), "voice")

    assert "tempo: fast (6.1 syll/s)" in found
    assert "pauses: one pause (1)" in found
    assert found[-1] == "vocal arousal: very high (0.41)"


def test_a_voice_under_music_is_of_low_reliability():
    rows = evidence_of(clip_rows(tone=tone_row(cautions=("music in the background",))))

    assert {row["reliability"] for row in rows if row["modality"] == "voice"} == {"low"}


def test_words_are_quoted_whole_with_their_source():
    found = texts(clip_rows(says='He said "no",\nand left.'), "words")

    assert found == ["transcript (sidecar, en): \"He said 'no', and left.\""]


def test_every_stage_that_gave_nothing_is_named_with_its_reason():
    rows = clip_rows() | {"voice": missing("no_speech"), "tone": missing("no_speech")}

    assert texts(rows, "missing") == [
        "no face: no face was found in any frame",
        "no voice: no speech was detected",
        "no words: no source gives words",
        "no description of the voice: no speech was detected",
    ]


def test_facts_of_the_scene_come_one_by_one():
    facts = {"shot_scale": "close-up", "faces_in_view": 2, "light": None, "brightness": 0.3}

    assert texts(clip_rows(facts=facts), "scene") == ["shot scale: close-up", "faces in view: 2"]


def test_faces_that_are_tracked_and_not_counted_are_several():
    rows = clip_rows({}, facts={"faces_in_view": None})
    rows["moment"]["others"] = [{"start_s": 0.2, "end_s": 0.2}, {"start_s": 1.0, "end_s": 1.4}]
    for peak_s, told in ((1.4, ["faces in view: several"]), (1.44, [])):
        rows["moment"]["peak_time_s"] = peak_s
        assert texts(rows, "scene") == told


def test_no_quotation_mark_survives_inside_a_quotation():
    assert plain_quotation('“a” 「b」\n "c"') == "'a' 'b' 'c'"
