"""The label stage: manifest first, Action Unit rules where they may, else undecided."""

from pathlib import Path

import pandas as pd
import pytest

from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.emotion.labels import LabelStage
from merr_pipeline.emotion.rules import SeenUnit, load_rules
from merr_pipeline.emotion.spaces import load_label_space
from merr_pipeline.schema import LABEL, Clip, ClipId, MerrError
from merr_pipeline.settings import load_settings
from merr_pipeline.stage import Work

OPENFACE = [a for a in load_action_units().tools["openface"].aus if a != "AU45"]
SHIPPED = Path(__file__).parents[1] / "annotation_templates" / "emotion_rules.yaml"
ANGER = {"AU04": 2.6, "AU07": 2.4, "AU23": 1.2}


def unit(au: str, value: float | None, reliability: str = "moderate") -> dict:
    return {
        "au": au,
        "name": au,
        "value_at_peak": value,
        "mean": 0.2,
        "max": value,
        "onset_s": None,
        "offset_s": None,
        "reliability": reliability,
    }


def moment_row(values: dict[str, float | None], yaw_deg: float = 5.0) -> dict:
    supported = load_action_units().tools["openface"].aus
    return {
        "status": "ok",
        "action_units": [
            unit(a, values.get(a, 0.0), supported[a].reliability if a in supported else "moderate")
            for a in dict.fromkeys([*OPENFACE, *values])
        ],
        "peak_time_s": 1.24,
        "peak_verdict": "clear",
        "face_coverage": 0.95,
        "head_pose": {"pitch_deg": 0.0, "yaw_deg": yaw_deg, "roll_deg": 0.0},
    }


def row_of(
    label: str | None = None,
    values: dict[str, float | None] | None = None,
    *,
    scale: str = "intensity_0_5",
    yaw_deg: float = 5.0,
    overrides: tuple[str, ...] = (),
) -> dict:
    stage = LabelStage(load_settings(overrides=overrides, environment={}))
    if values is None:
        seen = {"face": {"status": "skipped"}, "moment": {"status": "skipped"}}
    else:
        seen = {"face": {"status": "ok", "au_scale": scale}, "moment": moment_row(values, yaw_deg)}
    clip = Clip(ClipId("a"), Path("a.mp4"), "a.mp4", "0" * 64, label=label)
    [row] = stage.annotate([Work(clip, seen)])
    assert set(row) <= set(LABEL.names)
    return row


@pytest.mark.parametrize(
    ("written", "label"),
    [("happy", "happy"), (" Anger ", "angry"), ("生气", "angry"), ("worry_about", "worried")],
)
def test_the_manifests_label_is_taken_however_it_is_spelt(written, label):
    row = row_of(written)

    assert (row["status"], row["label"], row["label_source"]) == ("ok", label, "manifest")
    assert row["label_confidence"] is None
    assert row["label_candidates"][0] == {"label": label, "score": None, "source": "manifest"}


def test_a_label_outside_the_space_fails_and_keeps_what_was_written():
    row = row_of("disgust", ANGER)

    assert (row["status"], row["reason"], row["label"]) == ("failed", "label_unknown", None)
    assert row["open_labels"] == ["disgust"]
    assert "happy, sad, angry" in row["detail"]
    assert row["label_candidates"][0]["label"] == "angry"


def test_the_same_label_is_known_in_a_space_that_has_it():
    row = row_of("disgust", overrides=("label.space=basic7",))

    assert (row["label_space"], row["label"]) == ("basic7", "disgust")


def test_emotion_names_become_sentiments_in_the_sentiment_space():
    assert row_of("happy", overrides=("label.space=sentiment",))["label"] == "positive"


def test_rules_decide_where_a_face_shows_a_whole_pattern():
    row = row_of(None, ANGER)

    assert (row["label"], row["label_source"]) == ("angry", "au_rules")
    assert 0.6 < row["label_confidence"] < 0.9
    assert row["label_confidence"] == row["label_candidates"][0]["score"]


def test_the_manifest_wins_and_the_rules_candidates_are_kept():
    row = row_of("happy", ANGER)

    assert row["label"] == "happy"
    assert [c["label"] for c in row["label_candidates"][:2]] == ["happy", "angry"]
    assert [c["source"] for c in row["label_candidates"][:2]] == ["manifest", "au_rules"]


def test_candidates_come_best_first():
    scores = [c["score"] for c in row_of(None, {**ANGER, "AU15": 1.5})["label_candidates"]]

    assert len(scores) > 2
    assert scores == sorted(scores, reverse=True)


def test_proxies_give_candidates_and_never_a_label():
    row = row_of(None, ANGER, scale="proxy_0_5")

    assert (row["status"], row["reason"], row["label"]) == ("skipped", "label_undecided", None)
    assert row["label_candidates"][0]["label"] == "angry"


@pytest.mark.parametrize(
    "values",
    [
        {"AU04": 2.5},  # one unit: angry, sad and neutral faces all have it
        {"AU10": 2.5, "AU14": 2.5},  # contempt, but from units that fire on speech
        {"AU12": 2.0, "AU06": 2.0, "AU04": 2.0, "AU15": 2.0, "AU01": 2.0},  # smile and grief
    ],
)
def test_rules_abstain_where_the_face_says_too_little_or_too_much(values):
    assert row_of(None, values)["reason"] == "label_undecided"


def test_a_turned_face_decides_nothing():
    assert row_of(None, ANGER, yaw_deg=-50.0)["label"] is None


def test_a_higher_confidence_can_be_asked_for():
    assert row_of(None, ANGER, overrides=("label.min_confidence=0.95",))["label"] is None


def test_a_wider_margin_can_be_asked_for():
    assert row_of(None, ANGER, overrides=("label.min_margin=0.9",))["label"] is None


FEAR = {"AU01": 3.0, "AU02": 3.0, "AU04": 3.0, "AU05": 3.0, "AU20": 3.0}


def test_a_label_with_few_records_behind_it_is_suggested_and_never_decided():
    row = row_of(None, FEAR)

    assert row["label"] is None
    assert row["label_candidates"][0]["label"] == "fear"
    assert row["label_candidates"][0]["score"] > 0.8


def test_the_runner_up_and_its_distance_are_kept():
    row = row_of("happy", {**ANGER, "AU15": 1.5})
    first, second = row["label_candidates"][1:3]

    assert row["label_runner_up"] == second["label"]
    assert row["label_margin"] == pytest.approx(first["score"] - second["score"])
    alone = row_of(None, {"AU12": 3.0, "AU06": 3.0})
    assert [c["label"] for c in alone["label_candidates"]] == ["happy"]
    assert (alone["label_runner_up"], alone["label_margin"]) == (None, None)


def own_rules(tmp_path, old: str, new: str):
    shipped = Path(__file__).parents[1] / "annotation_templates" / "emotion_rules.yaml"
    text = shipped.read_text("utf-8")
    assert old in text
    (tmp_path / "emotion_rules.yaml").write_text(text.replace(old, new, 1), "utf-8")
    return load_rules(load_action_units(), tmp_path)


def test_the_sets_of_the_released_annotations_can_be_put_in_force(tmp_path):
    released = own_rules(tmp_path, "use: emfacs", "use: merr")
    ours = load_rules(load_action_units())
    frown = {"AU04": SeenUnit(3.0, "moderate")}

    # a lowered brow alone is what most angry and most sad records of MERR list
    found = released.scores(frown, "intensity_0_5")
    assert found["sad"] > ours.scores(frown, "intensity_0_5")["sad"]
    assert found["sad"] > found["angry"] > 0.2
    assert released.support("doubt") == {"AU25"}
    assert ours.support("doubt") == frozenset()


def test_a_set_that_is_not_there_and_a_label_without_a_line_are_refused(tmp_path):
    with pytest.raises(MerrError, match="use: ekman is no set of patterns"):
        own_rules(tmp_path, "use: emfacs", "use: ekman")
    with pytest.raises(MerrError, match="'bored'"):
        own_rules(tmp_path, "    disgust:\n      - {aus", "    bored:\n      - {aus")


def test_a_still_face_suggests_neutral_and_decides_it_only_where_the_rules_say_so(tmp_path):
    still = {"AU25": 1.2, "AU45": 3.0}
    text = SHIPPED.read_text("utf-8")
    (tmp_path / SHIPPED.name).write_text(
        text.replace("decides: false\n  aus", "decides: true\n  aus")
    )

    by_default = row_of(None, still)
    bold = row_of(None, still, overrides=(f"templates={tmp_path}",))

    assert by_default["label_candidates"][0] == {
        "label": "neutral",
        "score": 1.0,
        "source": "au_rules",
    }
    assert (by_default["label"], by_default["reason"]) == (None, "label_undecided")
    assert "suggests neutral" in by_default["detail"]
    assert (bold["label"], bold["label_confidence"]) == ("neutral", 1.0)


def test_a_face_without_a_label_source_is_undecided_when_rules_are_off():
    assert row_of(None, ANGER, overrides=("label.sources=[manifest]",))["label"] is None


def test_no_face_and_no_manifest_is_undecided_without_candidates():
    row = row_of(None)

    assert (row["reason"], row["label_candidates"]) == ("label_undecided", [])


def test_an_unseen_unit_is_unknown_and_not_absent():
    rules = load_rules(load_action_units())
    smile = {"AU12": SeenUnit(3.0, "moderate")}
    flat_cheeks = {**smile, "AU06": SeenUnit(0.0, "moderate")}

    # unseen cheeks cost coverage (1 of 2); seen and flat ones cost the pattern half its strength
    assert rules.scores(smile, "intensity_0_5")["happy"] == pytest.approx(0.5)
    assert rules.scores(flat_cheeks, "intensity_0_5")["happy"] == pytest.approx(2 / 3)


def test_a_null_value_is_no_zero():
    rules = load_rules(load_action_units())

    assert "AU12" not in rules.seen(moment_row({"AU12": None}))


def test_on_a_turned_face_nothing_is_reliable():
    rules = load_rules(load_action_units())

    for yaw_deg, reliability in ((30.0, "moderate"), (40.0, "low"), (-40.0, "low")):
        assert rules.seen(moment_row({}, yaw_deg))["AU12"].reliability == reliability


def test_a_space_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(MerrError, match="merr9, mer2023, basic7, sentiment"):
        load_label_space("nine")


def test_one_spelling_may_not_lead_to_two_labels(tmp_path):
    (tmp_path / "label_spaces.yaml").write_text("spaces: {two: {a: [x], b: [X]}}", "utf-8")

    with pytest.raises(MerrError, match="leads to two labels"):
        load_label_space("two", tmp_path)


def test_rules_that_name_an_unknown_unit_are_refused(tmp_path):
    text = SHIPPED.read_text("utf-8").replace("against: [AU04, AU15]", "against: [AU99]", 1)
    (tmp_path / "emotion_rules.yaml").write_text(text, "utf-8")

    with pytest.raises(MerrError, match="AU99"):
        load_rules(load_action_units(), tmp_path)


def test_the_fingerprint_changes_with_rules_and_settings():
    def print_of(*overrides: str) -> str:
        return (
            LabelStage(load_settings(overrides=overrides, environment={})).identity().fingerprint()
        )

    assert print_of() != print_of("label.min_margin=0.2")
    assert print_of() != print_of("label.space=basic7")
    assert print_of() == print_of("engine.workers=3")


@pytest.mark.shared
@pytest.mark.parametrize(
    ("clip", "true", "label"),
    [
        ("sample_00005854", "angry", "angry"),
        ("sample_00003358", "sad", None),
        ("samplenew_00004251", "surprise", None),
        ("samplenew_00051251", "doubt", None),
    ],
)
def test_on_real_openface_values_the_rules_are_right_or_undecided(shared, clip, true, label):
    table = pd.read_csv(shared / "openface" / f"{clip}.csv", skipinitialspace=True)
    seen_well = table[(table["success"] == 1) & (table["confidence"] >= 0.8)]
    values = seen_well[[f"{code}_r" for code in OPENFACE]].rename(columns=lambda name: name[:4])
    peak = values.loc[values.sum(axis=1).idxmax()].to_dict()

    row = row_of(None, peak)

    assert row["label"] in (true, None)
    assert (row["label"], row["label_source"]) == (label, label and "au_rules")
