"""The composed text: it reads as English, rests on evidence, and passes the checker every time."""

import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from made_evidence import FACEMESH, OPENFACE, clip_rows, missing, tone_row, words_row

from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.emotion.rules import load_rules
from merr_pipeline.fuse.composer import Composer, Composition
from merr_pipeline.fuse.draft import Label
from merr_pipeline.fuse.evidence import collect_evidence
from merr_pipeline.fuse.fine import FineStage
from merr_pipeline.fuse.phrases import load_au_phrases, with_article
from merr_pipeline.fuse.wording import load_fine_text
from merr_pipeline.grounding.check import check_text
from merr_pipeline.grounding.lexicon import load_lexicon
from merr_pipeline.schema import FINE, Clip, ClipId, MerrError
from merr_pipeline.settings import load_settings
from merr_pipeline.stage import Work
from merr_pipeline.templates import load_template, shipped_folder

TABLE = load_action_units()
RULES, WORDING, PHRASES = load_rules(TABLE), load_fine_text(), load_au_phrases(TABLE)
LEXICON = load_lexicon(TABLE)
LABELS = [*RULES.labels, "neutral"]
FURY = {"AU04": 2.6, "AU07": 2.4}


def compose(rows: dict, seed: str = "0", max_words: int = 120) -> Composition:
    label = rows["label"]
    wanted = Label(label.get("label"), label.get("label_source"))
    items = collect_evidence(rows, RULES, WORDING)
    return Composer(RULES, PHRASES, WORDING, max_words).compose(items, wanted, seed)


def text_of(*args: object, seed: str = "0", **kwargs: object) -> str:
    return compose(clip_rows(*args, **kwargs), seed).text


# --- what it says ------------------------------------------------------------------------------


def test_clues_that_fit_the_given_label_lead_to_it():
    text = text_of(FURY, tone=tone_row("high"), says="Go away!", label="angry")

    assert re.match(r"In the video, the person('s face)? shows ", text)
    assert '"Go away!"' in text
    assert re.search(r"Both facial signs (point to|speak for) anger, and so does the high", text)
    assert re.search(r'this fits the given label "angry"\.$', text)


def test_a_given_label_that_nothing_supports_is_contradicted_plainly():
    made = compose(clip_rows({"AU15": 2.5}, label="happy"))

    assert re.search(r"lip corners (pulled down )?speak against happiness\.", made.text)
    assert re.search(
        r"(do not bear out|not borne out)", made.text.rsplit('"happy"', 1)[0] + made.text
    )
    assert made.conflicts[0] == "None of the measured facial actions supports happiness."


def test_a_voice_that_does_not_go_with_the_label_is_a_conflict():
    made = compose(clip_rows(FURY, tone=tone_row("very low"), label="angry"))

    assert made.conflicts == ["The very low vocal arousal is unusual for anger."]
    assert "only in part" in made.text


def test_a_noisy_voice_contradicts_nothing():
    noisy = tone_row("very low", cautions=("music in the background",))

    made = compose(clip_rows(FURY, tone=noisy, label="angry"))

    assert made.conflicts == []
    assert "As far as the sound allows, the voice has" in made.text


def test_rules_conclude_as_rules_and_not_as_a_given_label():
    text = text_of(FURY, label="angry", source="au_rules")

    assert "given label" not in text
    assert re.search(r"(By rule, this face|Taken together, the face) points to anger", text)


def test_without_a_label_no_emotion_is_named():
    text = text_of({**FURY, "AU12": 2.0}, tone=tone_row())

    named = {word for words in WORDING.emotions.values() for word in words.split() if len(word) > 2}
    assert not named & set(re.findall(r"\w+", text.lower())) - {"state", "feeling"}
    assert re.search(r"no emotion can be concluded|leave the emotion open", text)


def test_proxies_are_said_with_a_doubt():
    text = text_of({"AU12": 3.0}, tool="facemesh", scale="proxy_0_5", label="happy")

    assert "seems to show" in text
    assert re.search(r"This facial sign may (point to|speak for) happiness", text)
    assert "slightly" not in text  # a proxy has no degrees


def test_values_of_low_reliability_are_set_apart():
    text = text_of({"AU12": 2.0, "AU14": 2.5})

    assert re.search(r"shows .*lip corners.*,? and, less certainly, ", text)


@pytest.mark.parametrize(("value", "adverb"), [(1.2, "slightly "), (2.4, ""), (3.6, "strongly ")])
def test_the_adverb_tells_how_strong_a_sign_is(value, adverb):
    pattern = rf"shows (lip corners {adverb}pulled up|{adverb}upturned lip corners),"
    assert re.search(pattern, text_of({"AU12": value}))


@pytest.mark.parametrize(
    ("peak", "said"),
    [("clear", "(most clearly|strongest) at 1.24 s"), ("weak", "a little more so at 1.24 s")],
)
def test_the_moment_is_named_as_clearly_as_it_stands_out(peak, said):
    assert re.search(said, text_of({"AU12": 3.0}, peak=peak))


@pytest.mark.parametrize("peak", ["held", "none"])
def test_no_moment_is_named_where_none_stands_out(peak):
    text = text_of({"AU12": 3.0}, peak=peak, held=("AU12",))

    assert "1.24" not in text
    assert ("expression is held" in text) == (peak == "held")


def test_a_still_is_called_a_picture():
    for units in ({"AU12": 3.0}, {}, None):
        facts = {"shot_scale": "close-up"}
        rows = clip_rows(units, tool="facemesh", scale="proxy_0_5", peak="none", facts=facts)
        text = fine_row(rows | {"voice": missing("still")})["fine_caption"]
        assert text.startswith("In the picture, ")
        assert "video" not in text


def test_lips_that_move_while_someone_speaks_prove_nothing():
    made = compose(clip_rows({"AU26": 3.0, "AU05": 2.0}, says="What?", label="surprise"))

    assert re.search(r"The (dropped|lowered) jaw may be no more than speech\.", made.text)
    assert "may be no more than speech" in {cue["reading"] for cue in made.cues}


def test_a_still_face_fits_neutral_and_no_other_label():
    assert "A face this still fits a neutral state" in text_of({}, label="neutral")
    assert "None of the measured facial actions supports sadness" in text_of({}, label="sad")


def test_a_still_face_that_was_half_seen_fits_neutral_only_in_part():
    proxies = {"tool": "facemesh", "scale": "proxy_0_5"}
    for seen in (proxies, {"yaw_deg": 60.0}, {**proxies, "yaw_deg": 60.0}):
        text = text_of({}, label="neutral", **seen)
        assert "seem" in text
        assert "A face this still may fit a neutral state, though not all of the face" in text
        assert 'may fit the given label "neutral" only in part.' in text


def test_what_rests_on_proxies_is_concluded_with_a_doubt():
    smile = {"AU12": 3.0, "AU06": 2.0}
    proxies = text_of(smile, tool="facemesh", scale="proxy_0_5", label="happy")

    assert re.search(r'[Tt]his may fit the given label "happy"\.$', proxies)
    assert re.search(r'this fits the given label "happy"\.$', text_of(smile, label="happy"))


def test_slight_signs_on_proxies_leave_room_with_a_doubt():
    units = {"AU12": 2.0, "AU01": 4.0}
    text = text_of(units, tool="facemesh", scale="proxy_0_5", label="neutral")

    assert re.search(r"lip corners( pulled up)? may be slight enough for a neutral state", text)


def test_by_rule_a_face_points_to_nothing_that_only_the_voice_supports():
    rows = clip_rows({"AU12": 2.0}, tone=tone_row("high"), label="fear", source="au_rules")

    assert "face points to" not in compose(rows).text


def test_clues_disagree_only_where_one_speaks_against():
    weak = text_of({"AU14": 2.0}, label="happy", source="au_rules")
    torn = text_of({**FURY, "AU12": 2.0}, label="angry", source="au_rules")

    assert "agree" not in weak
    assert "By rule, the face points to anger, though not all clues agree." in torn


def test_a_voice_that_is_hard_to_hear_goes_with_a_label_only_perhaps():
    noisy = tone_row("high", words={}, cautions=("music in the background",))
    text = text_of(None, tone=noisy, label="angry")

    assert "As far as the sound allows, vocal arousal is high." in text
    assert "The high vocal arousal may go with anger." in text
    assert 'may fit the given label "angry" only in part' in text


def test_slight_signs_leave_room_for_neutral_and_full_ones_do_not():
    assert "is slight enough for a neutral state" in text_of({"AU04": 1.2}, label="neutral")
    assert "against a neutral state" in text_of({"AU04": 2.6}, label="neutral")


def test_what_a_proxy_tool_cannot_see_is_no_conflict():
    made = compose(clip_rows({}, tool="facemesh", scale="proxy_0_5", label="angry"))

    assert (
        "Not all facial actions that are typical of anger could be measured well here." in made.text
    )
    assert made.conflicts == []
    assert 'neither confirm nor contradict the given label "angry"' in made.text


def test_a_turned_face_contradicts_nothing_and_shows_little_for_sure():
    made = compose(clip_rows({"AU15": 3.0}, yaw_deg=45.0, label="surprise"))

    assert re.search(r"seems to show (lip corners )?strongly", made.text)
    assert "typical of surprise could be measured well here" in made.text
    assert made.conflicts == []


def test_one_unreliable_sign_fits_a_label_only_in_part():
    made = compose(clip_rows({"AU14": 2.5}, label="happy"))

    assert "may " in made.text
    assert 'given label "happy" only in part' in made.text


def test_a_label_without_a_rule_is_left_open():
    assert "No facial action is typical enough of doubt" in text_of({"AU25": 2.0}, label="doubt")


@pytest.mark.parametrize("label", ["bored", "Positively surprised", "无聊"])
def test_a_label_of_the_users_own_is_named_in_quotation_marks_and_read_so(label):
    rows = clip_rows({"AU04": 2.0}, tone=tone_row("high"), label=label)
    text = fine_row(rows)["fine_caption"]

    assert f'typical enough of "{label}" to go by' in text
    assert f'the given label "{label}".' in text


def test_no_face_no_sound_is_said_as_it_is():
    text = text_of(None, facts={"shot_scale": "long shot"})

    assert text.startswith("In the video, no face could be measured. The ")
    assert "The video has no sound." in text


def test_the_picture_is_told_with_the_right_article():
    facts = {"shot_scale": "extreme close-up", "faces_in_view": 2, "light": "dim light"}

    assert "is an extreme close-up with two faces in view in dim light." in text_of({}, facts=facts)


def test_only_what_is_remarkable_in_a_voice_is_said():
    words = {"pitch_level": ("mid-range", 200.0, "Hz"), "tempo": ("slow", 3.5, "syll/s")}
    plain = {"pitch_level": ("mid-range", 200.0, "Hz")}

    assert "mid-range" not in text_of({}, tone=tone_row(words=words))
    assert "a mid-range pitch" in text_of({}, tone=tone_row(words=plain))


def test_a_long_quotation_is_cut_and_shows_it():
    text = text_of({}, says=" ".join(f"word{n}" for n in range(60)))

    assert 'word23 ..."' in text
    assert "word24" not in text


def test_cues_point_to_evidence_and_say_how_it_was_read():
    made = compose(clip_rows({**FURY, "AU14": 2.0}, tone=tone_row("high"), label="angry"))

    readings = {cue["evidence_id"]: cue["reading"] for cue in made.cues}
    assert (readings["E1"], readings["E2"]) == ("supports angry", "supports angry")
    assert readings["E3"] == "neither for nor against angry"
    assert list(readings) == sorted(readings, key=lambda name: int(name[1:]))


def test_another_clip_may_read_otherwise_and_the_same_clip_never_does():
    rows = clip_rows(FURY, tone=tone_row(), says="Go!", label="angry")

    texts = [compose(rows, seed=str(n)).text for n in range(20)]
    assert len(set(texts)) > 10
    assert texts == [compose(rows, seed=str(n)).text for n in range(20)]


@pytest.mark.parametrize("max_words", [20, 40, 60, 120])
def test_the_text_keeps_its_length_and_its_conclusion(max_words):
    rows = clip_rows(
        dict.fromkeys(OPENFACE, 2.0),
        tone=tone_row(),
        says="word " * 80,
        facts={"shot_scale": "close-up", "light": "dim light"},
        yaw_deg=40.0,
        label="fear",
    )

    text = compose(rows, max_words=max_words).text

    assert len(text.split()) <= max_words
    assert 'given label "fear"' in text


def test_articles_follow_the_next_letter():
    assert (with_article("even tempo"), with_article("fast tempo")) == (
        "an even tempo",
        "a fast tempo",
    )


# --- every text, whatever the evidence ---------------------------------------------------------

TONE_WORDS = load_template("tone_words.yaml").data["features"]
SCENE_WORDS = load_template("scene_words.yaml").data


def words_of_feature(name: str) -> list[str]:
    table = TONE_WORDS[name]
    steps = [step["word"] for step in table["steps"] if step["word"]]
    return steps + [step["becomes"] for step in table.get("refine", [])]


@st.composite
def tones(draw: st.DrawFn) -> dict:
    chosen = draw(st.sets(st.sampled_from(sorted(TONE_WORDS))))
    words = {
        name: (draw(st.sampled_from(words_of_feature(name))), 1.5, TONE_WORDS[name]["unit"])
        for name in TONE_WORDS
        if name in chosen
    }
    levels = ["very low", "low", "medium", "high", "very high", None]
    cautions = draw(st.sampled_from([(), ("music in the background",)]))
    return tone_row(draw(st.sampled_from(levels)), words, cautions)


@st.composite
def scenes(draw: st.DrawFn) -> dict:
    def one_of(name: str) -> str | None:
        return draw(st.none() | st.sampled_from([step["word"] for step in SCENE_WORDS[name]]))

    return {
        "shot_scale": one_of("shot_scale"),
        "position": one_of("position"),
        "light": one_of("light"),
        "motion": one_of("motion"),
        "faces_in_view": draw(st.none() | st.integers(0, 12)),
        "cuts": draw(st.integers(0, 3)),
    }


@st.composite
def clips(draw: st.DrawFn) -> dict:
    tool, scale, top = draw(
        st.sampled_from(
            [
                ("openface", "intensity_0_5", 5.0),
                ("openface", "probability", 1.0),
                ("facemesh", "proxy_0_5", 5.0),
            ]
        )
    )
    codes = sorted(FACEMESH if tool == "facemesh" else OPENFACE)
    value = st.none() | st.floats(0, top).map(lambda x: round(x, 3))
    units = draw(st.none() | st.dictionaries(st.sampled_from(codes), value, max_size=7))
    rows = clip_rows(
        units,
        tool=tool,
        scale=scale,
        peak=draw(st.sampled_from(["clear", "weak", "none", "held"])),
        held=draw(st.sets(st.sampled_from(codes), max_size=2)),
        yaw_deg=draw(st.sampled_from([0.0, 30.0, -50.0])),
        pitch_deg=draw(st.sampled_from([0.0, 25.0, -25.0])),
        tone=draw(st.none() | tones()),
        facts=draw(scenes()),
        label=draw(st.none() | st.sampled_from(LABELS)),
        source=draw(st.sampled_from(["manifest", "au_rules"])),
    )
    spoken = st.sampled_from(
        ['He said "no".', "我不知道。", "我不知道" * 60, "It's a well-known fact " * 9]
    )
    if says := draw(st.none() | st.text(max_size=80) | spoken):
        rows["transcript"] = words_row(says)
    if draw(st.booleans()) and rows["tone"]["status"] != "ok":
        rows["voice"] = missing(draw(st.sampled_from(["no_speech", "speech_uncertain", "still"])))
    return rows


def fine_row(rows: dict) -> dict:
    clip = Clip(ClipId("a"), shipped_folder(), "a.mp4", "a" * 64)
    [row] = STAGE.annotate([Work(clip, rows)])
    return row


STAGE = FineStage(load_settings(environment={}))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(rows=clips(), seed=st.integers(0, 50))
def test_every_text_is_grounded_whole_and_reads_as_english(rows, seed):
    made = compose(rows, str(seed))
    evidence = [item.row() for item in collect_evidence(rows, RULES, WORDING)]

    proof = check_text(made.text, evidence, rows["label"].get("label"), LEXICON, RULES)

    assert proof.ungrounded == (), made.text
    assert proof.share == 1.0
    assert len(made.text.split()) <= 120
    outside = re.sub(r'"[^"]*"', "Q", made.text)
    assert not re.search(
        r"  | [.,;]|\.\.|,,|,\.|\bNone\b(?! of)|[{}]|\ba [aeiou]|\ban [^aeiou]", outside
    )
    assert re.match(r"[A-Z].*[.!?…。！？Q]$", outside, re.DOTALL)
    ids = {row["id"] for row in evidence}
    assert {cue["evidence_id"] for cue in made.cues} <= ids


# --- the stage ---------------------------------------------------------------------------------


def test_the_stage_keeps_text_evidence_and_proof():
    row = fine_row(clip_rows(FURY, tone=tone_row(), says="Go!", label="angry"))

    assert (row["status"], row["text_source"], row["grounding"]) == ("ok", "composer", 1.0)
    assert row["fine_caption"].startswith("In the video, ")
    assert row["evidence"][0]["id"] == "E1"
    assert set(row) <= set(FINE.names)


def test_a_clip_of_which_nothing_was_measured_is_skipped_with_what_is_missing():
    row = fine_row(clip_rows() | {"scene": missing("upstream")})

    assert (row["status"], row["reason"]) == ("skipped", "no_evidence")
    assert {item["modality"] for item in row["evidence"]} == {"missing"}


@pytest.mark.parametrize(
    ("lacks", "told"), [("  no_rule:", "reading has no no_rule"), ("\nwhere:", "it has no where")]
)
def test_a_wording_without_a_pool_is_refused(tmp_path, lacks, told):
    text = (shipped_folder() / "fine_text.yaml").read_text("utf-8")
    (tmp_path / "fine_text.yaml").write_text(text.replace(lacks, f"{lacks[:-1]}s:"), "utf-8")

    with pytest.raises(MerrError, match=told):
        load_fine_text(tmp_path)


def test_a_text_that_claims_too_much_is_refused_and_says_where(tmp_path):
    shipped = yaml.safe_load((shipped_folder() / "fine_text.yaml").read_text("utf-8"))
    shipped["face"]["sure"] = ["In the video, the young woman shows {signs}"]
    (tmp_path / "fine_text.yaml").write_text(yaml.safe_dump(shipped), "utf-8")
    stage = FineStage(load_settings(overrides=[f"templates={tmp_path}"], environment={}))
    clip = Clip(ClipId("a"), tmp_path, "a.mp4", "a" * 64)

    [row] = stage.annotate([Work(clip, clip_rows(FURY))])

    assert (row["status"], row["reason"]) == ("failed", "ungrounded")
    assert row["detail"] == "'young': age is never said as fact"
    assert "fine_caption" not in row
    assert 0 < row["grounding"] < 1


def test_the_fingerprint_changes_with_length_and_templates(tmp_path):
    text = (shipped_folder() / "au_phrases.yaml").read_text("utf-8")
    (tmp_path / "au_phrases.yaml").write_text(text + "\n# mine\n", "utf-8")

    prints = {
        FineStage(load_settings(overrides=overrides, environment={})).identity().fingerprint()
        for overrides in ([], ["fine.max_words=100"], [f"templates={tmp_path}"])
    }

    assert len(prints) == 3


def test_a_label_row_that_is_not_ok_gives_no_label():
    rows = clip_rows(FURY) | {"label": {**missing("label_unknown", "failed"), "label": None}}

    assert "angry" not in fine_row(rows)["fine_caption"]
