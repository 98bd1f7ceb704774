"""The checker: true sentences pass, every kind of false one is caught, from the text alone."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from made_evidence import clip_rows, missing, tone_row

from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.emotion.rules import load_rules
from merr_pipeline.fuse.evidence import Item, collect_evidence
from merr_pipeline.fuse.phrases import load_au_phrases
from merr_pipeline.fuse.wording import load_fine_text
from merr_pipeline.grounding.check import Grounding, check_text
from merr_pipeline.grounding.lexicon import load_lexicon
from merr_pipeline.schema import MerrError

TABLE = load_action_units()
RULES, WORDING, LEXICON = load_rules(TABLE), load_fine_text(), load_lexicon(TABLE)
PHRASES = load_au_phrases(TABLE)

FACTS = {"shot_scale": "medium close-up", "light": "dim light", "faces_in_view": 2}
ANGRY = clip_rows(
    {"AU04": 2.6, "AU07": 1.4, "AU14": 2.0},
    tone=tone_row("high"),
    says="Go away, I do not want you here!",
    facts=FACTS,
    yaw_deg=-30.0,
    label="angry",
)


def evidence_of(rows: dict, modality: str) -> list[Item]:
    found = collect_evidence(rows, RULES, WORDING)
    return [item for item in found if item.modality == modality]


def check(text: str, rows: dict = ANGRY) -> Grounding:
    evidence = [item.row() for item in collect_evidence(rows, RULES, WORDING)]
    return check_text(text, evidence, rows["label"].get("label"), LEXICON, RULES)


@pytest.mark.parametrize(
    "text",
    [
        "The person shows lowered brows.",
        "The person shows slightly tightened eyelids.",
        "The brows are furrowed and the eyes are narrowed.",
        "AU04 and AU7 show in the face.",
        "The person frowns.",
        "Possibly the cheeks are dimpled and the person frowns.",
        "AU04 reads 2.60 of 5 at 1.24 s.",
        "The face is strongest at 1.2 s with lowered brows.",
        "The head is turned to the left of the picture.",
        "The voice has a raised pitch and a fast tempo with one pause.",
        "The tempo is rapid.",
        "Vocal arousal is high.",
        "The picture is a medium close-up with two faces in view in dim light.",
        'They say "I do not want you here".',
        "The words are “Go away ...”",
        "The lowered brows point to anger, and so does the high vocal arousal.",
        "E1 and E2 are clues.",
        'The lowered brows speak for anger. Taken together, this fits the given label "angry".',
        "The person is angry.",
        "E1 points to anger.",
        "E3 shows tightened eyelids at 1.24 s.",
        "AU04 and AU07 read 2.60 of 5 and 1.40 of 5.",
        "The lowered brows (E1) and the tightened eyelids (E3) are clues.",
        "The high arousal of the voice goes with anger.",
    ],
)
def test_a_true_sentence_passes_and_points_to_its_evidence(text):
    result = check(text)

    assert result.ungrounded == ()
    assert result.share == 1.0


FALSE = [
    # what the face does not show
    ("The person smiles.", "AU12"),
    ("The person does smile with upturned lip corners.", "AU12"),
    ("The person's jaw is dropped.", "AU26"),
    ("AU05 shows in the face.", "AU05"),
    ("The person stares with wide eyes.", "AU05"),
    ("The person shows strongly lowered brows.", "strongly"),
    ("The person shows clearly tightened eyelids.", "clearly"),
    ("The person shows dimpled cheeks.", "without a doubt"),
    ("The person does not show lowered brows.", "not"),
    ("The person never frowns.", "never"),
    ("The person's face shows no marked action.", "no evidence says so"),
    ("No face could be measured.", "no evidence says so"),
    ("AU04 reads 3.90 of 5.", "3.90"),
    ("The person frowns at 7.00 s.", "7.00"),
    ("The head is turned to the right of the picture.", "right: in no evidence"),
    ("The head is lowered.", "lowered"),
    # what the voice does not have
    ("The voice has a low pitch.", "low pitch"),
    ("The voice has a slow tempo.", "slow tempo"),
    ("The voice has a very fast tempo.", "very"),
    ("The voice has a fast pitch.", "fast pitch"),
    ("Vocal arousal is low.", "low"),
    ("The voice comes with several pauses.", "several pauses"),
    ("The voice trembles.", "trembles"),
    ("The video has no sound.", "no evidence says so"),
    ("No speech was detected.", "no evidence says so"),
    # what is not to be seen
    ("The picture is in bright light.", "bright light"),
    ("The shot is a long shot.", "long"),
    ("The picture is with three faces in view.", "three"),
    ("The person sits in a kitchen.", "sits"),
    ("The person waves a hand.", "waves"),
    ("The person is crying.", "crying: in no evidence"),
    ("The person may be in tears.", "in tears: in no evidence"),
    # what nobody said
    ('They say "I love you".', "in no evidence"),
    ('They say "I do want you here".', "in no evidence"),
    ('They say "Go away.', "without its partner"),
    # emotions and how clues bear on them
    ("The person is happy.", "happy is not the clip's label"),
    ("The lowered brows point to sadness.", "sad is not the clip's label"),
    ('This fits the given label "sad".', "not the clip's label"),
    ("The lowered brows speak against anger.", "AU04 does not speak against angry"),
    ("The dimpled cheeks may point to anger.", "AU14 does not speak for angry"),
    ("The high vocal arousal is unusual for anger.", "this vocal arousal"),
    ("A face this still fits anger.", "a still face"),
    ("None of the measured facial actions supports anger.", "does support it"),
    ('So these clues do not bear out the given label "angry".', "does support the label"),
    ('So these clues neither confirm nor contradict the given label "angry".', "does bear on"),
    ("No facial action is typical enough of anger to go by.", "facial actions that go with"),
    ("No emotion can be concluded.", "the clip has a label"),
    ("Both facial signs point to anger.", "it is not two signs"),
    ("Not all clues agree.", "no clue speaks against"),
    ("The lowered brows may be no more than speech.", "speech does not bring"),
    ("This may be no more than speech.", "speech does not bring"),
    # what can bear on no emotion
    ("The words point to anger.", "no clue is named"),
    ("The picture points to anger.", "no clue is named"),
    ("The head points to anger.", "no clue is named"),
    ("The voice speaks against anger.", "no clue is named"),
    ("The dim light points to anger.", "no clue is named"),
    ("The fast tempo points to anger.", "no clue is named"),
    ("The person points to anger.", "no clue is named"),
    ("The dim light and the lowered brows point to anger.", "dim light does not"),
    ("The voice and the lowered brows point to anger.", "voice does not"),
    ('The words are "Go away" and with the lowered brows point to anger.', "words does not"),
    ("E7 points to anger.", "no clue is named"),
    # words that say the contrary
    ("The person shows a frownless face.", "frownless"),
    ("The person shows a frown-free face.", "frown-free"),
    ("The person is rageless.", "rageless"),
    ("The person is irritation-free.", "irritation-free"),
    ("The person is irritationless.", "irritationless"),
    # numbers of something else
    ("AU04 reads 1.40 of 5.", "1.40 of 5: it is not of what"),
    ("The lowered brows and the tightened eyelids read 2.60 of 5.", "it is not of what"),
    ("AU04 and AU07 read 1.40 of 5 and 2.60 of 5.", "it is not of what"),
    ("The face reads 2.60 of 5.", "it is not of what"),
    ("E2 shows lowered brows.", "e2: it is not of what"),
    ("E1 and E2 show lowered brows.", "it is not of what"),
    ("E2 reads 2.60 of 5.", "it is not of what"),
    ("The fast tempo (E1) is a clue.", "e1: it is not of what"),
    # what was said is no feeling
    ('The emotion of the person is "Go away".', "nothing before it"),
    ('The emotion, as they say "Go away", is a clue.', "no feeling"),
    ('The person shows "Go away".', "nothing before it"),
    # never as fact
    ("She frowns.", "gender"),
    ("The man frowns.", "gender"),
    ("The young person frowns.", "age"),
    ("The Chinese person frowns.", "identity"),
    ("The voice is loud.", "loudness"),
    ("The person shouts.", "loudness"),
    # not to be read
    ("E99 shows lowered brows.", "e99"),
    ("这个人很生气。", "这个人很生气"),
    ("The person shows the picture.", "nothing in it can be checked"),
]


@pytest.mark.parametrize(("text", "why"), FALSE, ids=[text for text, _ in FALSE])
def test_a_false_sentence_is_caught(text, why):
    result = check(text)

    assert result.ungrounded, "nothing was found wrong"
    told = "; ".join(f"{claim.text}: {claim.why}" for claim in result.ungrounded)
    assert why in told


@pytest.mark.parametrize("text", [text for text, _ in FALSE])
def test_one_false_sentence_among_true_ones_is_caught(text):
    honest = "In the video, the person shows lowered brows. The voice has a fast tempo. "

    result = check(honest + text)

    assert result.ungrounded
    assert 0 < result.share < 1


def test_the_same_sentence_is_judged_by_the_evidence_alone():
    smile = clip_rows({"AU12": 2.5})

    assert check("The person smiles.", smile).share == 1.0
    assert check("The person smiles.").share == 0.0


def test_without_a_label_no_emotion_may_be_named():
    rows = clip_rows({"AU04": 2.6})

    assert check("The person is angry.", rows).ungrounded
    assert check("No emotion can be concluded.", rows).ungrounded == ()


def test_proxies_need_a_doubt_and_have_no_degrees():
    rows = clip_rows({"AU12": 3.5}, tool="facemesh", scale="proxy_0_5")

    assert check("The person seems to show upturned lip corners.", rows).ungrounded == ()
    assert check("The person shows upturned lip corners.", rows).ungrounded
    assert check("The person seems to show strongly upturned lip corners.", rows).ungrounded


def test_what_a_person_said_names_no_emotion():
    rows = clip_rows({"AU04": 2.6}, says="I am so happy!", label="angry")

    assert check('They say "I am so happy!"', rows).ungrounded == ()
    for text in (
        'The emotion of the person is "happy".',
        'The person says "happy" as the feeling.',
    ):
        assert check(text, rows).ungrounded


def test_a_label_of_the_users_own_is_no_word_that_was_said():
    rows = clip_rows({"AU04": 2.6}, label="bored")

    assert check('The person may be "bored".', rows).ungrounded == ()
    for text in ('They say "bored".', 'The person is "tired".', 'The brows point to "bored".'):
        assert check(text, rows).ungrounded
    assert [c.why for c in check('The person is "bored".', rows).ungrounded] == [
        "nothing that was measured supports bored: it is said without a doubt"
    ]


def test_the_voice_points_nowhere_without_its_arousal():
    rows = clip_rows({"AU12": 2.0}, tone=tone_row("low"), label="fear")

    assert [c.why for c in check("The voice points to fear.", rows).ungrounded] == [
        "no clue is named that bears on fear"
    ]
    assert check("The low vocal arousal points to fear.", rows).ungrounded
    assert check("The fearless person.", rows).ungrounded


def test_a_face_points_to_what_the_face_supports_and_not_the_voice_alone():
    rows = clip_rows({"AU12": 2.0}, tone=tone_row("high"), label="fear", source="au_rules")

    assert [c.why for c in check("By rule, this face points to fear.", rows).ungrounded] == [
        "nothing in the face supports the label"
    ]
    assert check("By rule, this face points to anger.").ungrounded == ()


def test_not_all_clues_agree_where_one_speaks_against():
    rows = clip_rows({"AU04": 2.6, "AU12": 2.0}, label="angry")

    assert check("Not all clues agree.", rows).ungrounded == ()


def test_of_a_mouth_that_speaks_nothing_is_concluded():
    rows = clip_rows({"AU26": 3.0, "AU05": 2.0}, says="What?", label="surprise")

    assert check("The dropped jaw may be no more than speech.", rows).ungrounded == ()
    assert check("The dropped jaw points to surprise.", rows).ungrounded
    assert check(
        "The dropped jaw and the widened eyes may be no more than speech.", rows
    ).ungrounded


def test_a_doubtful_face_and_what_follows_from_it_are_said_with_a_doubt():
    still = clip_rows({}, yaw_deg=60.0, label="neutral")
    smile = clip_rows({"AU12": 3.5}, tool="facemesh", scale="proxy_0_5", label="happy")
    for rows, sure, unsure in [
        (still, "The person shows no marked action.", "The person seems to show no marked action."),
        (
            still,
            "A face this still fits a neutral state.",
            "A face this still may fit a neutral state.",
        ),
        (still, 'This fits the given label "neutral".', 'This may fit the given label "neutral".'),
        (smile, 'This fits the given label "happy".', 'This may fit the given label "happy".'),
        (
            smile,
            "By rule, this face points to happiness.",
            "By rule, this face may point to happiness.",
        ),
    ]:
        assert check(unsure, rows).ungrounded == ()
        assert "an unreliable measure is said without a doubt" in {
            claim.why for claim in check(sure, rows).ungrounded
        }
    named = "The person seems to show upturned lip corners. This facial sign"
    assert check(f"{named} may point to happiness.", smile).ungrounded == ()
    assert check(f"{named} points to happiness.", smile).ungrounded


def test_a_voice_that_is_hard_to_hear_bears_on_an_emotion_with_a_doubt():
    noisy = tone_row("high", cautions=("music in the background",))
    rows = clip_rows({"AU04": 2.6}, tone=noisy, label="angry")

    assert check("The high vocal arousal may go with anger.", rows).ungrounded == ()
    assert check("The high vocal arousal goes with anger.", rows).ungrounded


@pytest.mark.parametrize("scale", ["proxy_0_5", "probability"])
def test_only_an_intensity_has_a_value_of_5(scale):
    tool = "facemesh" if scale == "proxy_0_5" else "openface"
    rows = clip_rows({"AU12": 2.0}, tool=tool, scale=scale)

    assert check("AU12 seems to read 2.00 of 5.", rows).ungrounded
    assert check("AU12 reads 2.00 of 5.", clip_rows({"AU12": 2.0})).ungrounded == ()


def test_signs_named_together_must_all_bear_on_the_emotion():
    rows = clip_rows({"AU04": 2.6, "AU09": 2.0}, label="angry")
    text = "The person shows lowered brows and a wrinkled nose. Both facial signs point to anger."

    assert [c.why for c in check(text, rows).ungrounded] == ["AU09 does not speak for angry"]


def test_a_description_by_a_model_may_be_quoted_in_runs_of_its_words():
    rows = ANGRY | {
        "scene": {
            "status": "ok",
            "scene": "Two people stand in a small kitchen.",
            "scene_source": "vision_model",
            "scene_facts": None,
        }
    }

    assert check("The person is in a small kitchen.", rows).ungrounded == ()
    assert check("The person is in a large kitchen.", rows).ungrounded


def test_the_parts_of_a_described_scene_take_nothing_from_the_whole():
    rows = ANGRY | {
        "scene": {
            "status": "ok",
            "scene": "Towards the end a person stands beside a window in a workshop.",
            "scene_source": "vision_model",
            "scene_parts": {"posture": "stands, leaning forward", "objects": ["a hammer"]},
            "scene_facts": None,
        }
    }
    numbered = {item.key: item.id for item in evidence_of(rows, "scene")}

    whole, parts = check("A window is in the workshop.", rows), check("There is a hammer.", rows)

    assert {claim.evidence_ids for claim in whole.claims} == {(numbered["scene"],)}
    assert {claim.evidence_ids for claim in parts.claims} == {(numbered["objects"],)}
    for text in ("The person leans forward.", "They stand in a workshop, leaning forward."):
        assert check(text, rows).ungrounded == ()
    assert check("Towards the end the person stands.", rows).ungrounded == ()
    assert check("There is a saw in the workshop.", rows).ungrounded


def test_a_silent_video_may_be_called_without_sound_and_not_without_speech():
    silent = clip_rows({})
    speechless = silent | {"voice": missing("no_speech")}

    assert check("The video has no sound.", silent).ungrounded == ()
    assert check("No speech was detected.", silent).ungrounded
    assert check("No speech was detected.", speechless).ungrounded == ()
    uncertain = silent | {"voice": missing("speech_uncertain")}
    assert check("No speech was detected.", uncertain).ungrounded


def test_an_empty_text_proves_nothing():
    assert check("").share == 0.0


def test_the_share_counts_claims():
    result = check("The person shows lowered brows and upturned lip corners.")

    assert result.share == 0.5
    assert [claim.evidence_ids for claim in result.claims if claim.grounded] == [("E1",)]


@pytest.mark.parametrize("code", sorted(PHRASES.strict))
def test_every_phrase_of_the_composer_is_read_as_its_own_action_unit(code):
    for phrase in PHRASES.strict[code]:
        for adverb in ("", "slightly ", "strongly "):
            [found] = LEXICON.find(f"The person shows {phrase.format(degree=adverb)}.")
            assert (found.kind, found.meaning) == ("face", (code,)), phrase
            assert (found.degree or "") == adverb.strip()


def test_every_label_of_the_rules_is_read_by_its_noun_and_its_own_name():
    for label in [*RULES.labels, RULES.neutral.label]:
        for word in (label, WORDING.emotion(label)):
            kinds = {(f.kind, f.meaning) for f in LEXICON.find(f"This is {word}.")}
            assert ("emotion", label) in kinds, word


def test_glue_holds_no_word_that_a_pattern_needs_to_mean_something():
    emotions = {word for words in LEXICON.emotions.values() for word in words}
    forbidden = {word for words in LEXICON.forbidden.values() for word in words}

    assert not LEXICON.glue & (emotions | forbidden)
    assert not LEXICON.glue & {"not", "no", "never", "without", "none", "neither", "very"}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(text=st.text(max_size=60))
def test_any_text_can_be_checked(text):
    assert 0.0 <= check(text).share <= 1.0


READABLE = {
    *(LEXICON.glue | LEXICON.skipped | set(LEXICON.degrees)),
    *(word for pattern in LEXICON.patterns for place in pattern.words for word in place),
    *(word for pattern in LEXICON.saying_patterns for place in pattern.words for word in place),
    *("low", "high", "fast", "dim", "light", "turned", "raised", "gentle", "lively"),
}
STEMS = tuple(word[:-1] for word in READABLE if word.endswith("*"))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.data(), word=st.from_regex(r"[a-zäé]{2,9}", fullmatch=True))
def test_a_strange_word_anywhere_in_a_true_sentence_is_caught(data, word):
    assume(word not in READABLE and not word.startswith(STEMS))
    true = "The person shows lowered brows and the voice has a fast tempo in dim light."
    words = true.split()
    place = data.draw(st.integers(0, len(words) - 1))

    result = check(" ".join([*words[:place], word, *words[place:]]))

    assert any(word in claim.text.split() for claim in result.ungrounded)


def test_a_lexicon_that_names_an_unknown_unit_is_refused(tmp_path):
    from merr_pipeline.templates import shipped_folder

    text = (shipped_folder() / "grounding_lexicon.yaml").read_text("utf-8")
    (tmp_path / "grounding_lexicon.yaml").write_text(text.replace("[AU09]", "[AU99]"), "utf-8")

    with pytest.raises(MerrError, match="AU99"):
        load_lexicon(TABLE, tmp_path)
