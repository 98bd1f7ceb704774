"""The checker reads everyday English: paraphrases pass where they are true, and only there."""

import pytest
from made_evidence import clip_rows, tone_row
from test_check import LEXICON, RULES, WORDING, check

from merr_pipeline.fuse.evidence import collect_evidence
from merr_pipeline.grounding.check import check_text
from merr_pipeline.grounding.tagging import Pattern, forms, patterns_of, tokens_of
from merr_pipeline.grounding.told import Thesaurus

GLAD = clip_rows(
    {"AU12": 3.4, "AU06": 2.2, "AU14": 1.5},
    tone=tone_row(
        "high",
        {
            "pitch_level": ("high", 260.0, "Hz"),
            "intonation": ("lively", 3.5, "st"),
            "ending": ("rising", 2.0, "st"),
            "tempo": ("fast", 6.1, "syll/s"),
            "pauses": ("several pauses", 3.0, "pauses"),
            "effort": ("bright, forceful", -6.0, "dB"),
            "quality": ("rough or breathy", 5.0, "dB"),
        },
    ),
    says="(chuckles) Did you bring the cake? Put it on the table, please. Put it on the table!",
    facts={"shot_scale": "long shot", "faces_in_view": 4, "light": "very dim light", "cuts": 2},
)
PROXY = clip_rows({"AU12": 3.0, "AU01": 2.0}, tool="facemesh", scale="proxy_0_5", peak="held")
STILL = clip_rows({}, peak="none")
UNSEEN = clip_rows(tone=tone_row("low"))
SEEN = clip_rows({"AU04": 1.2}, yaw_deg=30.0) | {
    "scene": {
        "status": "ok",
        "scene": "A person kneels beside a dog in a garden. At the end the person closes the gate.",
        "scene_source": "vision_model",
        "scene_facts": None,
    }
}
STAGED = clip_rows({"AU04": 1.2}) | {
    "scene": {
        "status": "ok",
        "scene": "A lamp stands on the left; a person sits on a bed, one hand on a blanket.",
        "scene_source": "vision_model",
        "scene_facts": None,
    }
}


def faults(text: str, rows: dict, label: str | None = None) -> list[str]:
    evidence = [item.row() for item in collect_evidence(rows, RULES, WORDING)]
    result = check_text(text, evidence, label, LEXICON, RULES)
    return [f"{claim.text}: {claim.why}" for claim in result.ungrounded]


TRUE = [
    # faces
    (GLAD, "With cheeks pushed up, the person gives a broad grin."),
    (GLAD, "The ends of the mouth curl upwards and the cheeks rise."),
    (GLAD, "The lip corners are lifted more strongly than the cheeks."),
    (GLAD, "Of all facial actions the smile is the strongest."),
    (GLAD, "The eyebrows are not drawn together, nor is the nose crinkled."),
    (GLAD, "A scowl is not seen."),
    (GLAD, "There may be dimples in the cheeks."),
    (GLAD, "The jaw does not hang open."),
    (STILL, "The face stays blank: neither lids nor lips move."),
    (STILL, "There is no trace of a frown, and no moment stands out."),
    (PROXY, "Something like a smile appears to be kept up throughout."),
    (GLAD, "The corners of the mouth are hitched up, the cheeks plumped."),
    (GLAD, "There isn't any frown."),
    (GLAD, "The smile outranks the lift of the cheeks, which comes second in strength."),
    (GLAD, "Next to the smile, the dimples may be weaker."),
    (GLAD, "Neither the lift of the cheeks nor the dimples are strong, it seems."),
    (GLAD, "The person smiles and the cheeks are up; neither is weak."),
    (GLAD, "A frown was looked for; it did not turn up."),
    (GLAD, "Frowning, nose wrinkling and jaw dropping are absent."),
    (GLAD, "The cheeks rise moderately rather than strongly."),
    (GLAD, "Apart from smile, lifted cheeks and perhaps dimples, nothing moves in the face."),
    (GLAD, "The lift of the cheeks has a medium intensity."),
    (GLAD, "There is a broad smile on the face, strong at 3.40."),
    (GLAD, "Of the three, the smile is the strongest."),
    (GLAD, "The raised cheeks, which often go with a smile, reach a medium level."),
    (GLAD, "Besides this one, three other faces are in view."),
    (GLAD, "The brows are at rest, and so is the nose."),
    (STILL, "The brows are still, as are the muscles that pull up the cheeks."),
    (STILL, "No instant in the face outshines the others."),
    (STILL, "The brows stay put and the lips do without movement."),
    # what is not known
    (PROXY, "Whether the brows are knitted was not measured."),
    (PROXY, "Are the brows knitted? Nobody can tell."),
    (PROXY, "How strong the smile is cannot be told, as the scale is uncalibrated."),
    (UNSEEN, "No face was found, so nothing can be said about lips and lids."),
    (GLAD, "Who bakes such cakes remains unknown."),
    (GLAD, "How old the person is, the words do not say."),
    (STILL, "There is no sound, and the transcript is missing."),
    # voices
    (GLAD, "High and hurried, the voice is broken by three pauses."),
    (GLAD, "The speech goes up at the end."),
    (GLAD, "There is something hoarse or breathy in it."),
    (GLAD, "An animated melody, a quick pace, and force behind the voice."),
    (GLAD, "The voice is neither low nor slow."),
    # words
    (GLAD, "The person asks whether the cake was brought."),
    (GLAD, '"Put it on the table" is said twice.'),
    (GLAD, 'The words begin with "Did you bring the cake?"'),
    (GLAD, "Somebody is asked to put a cake on the table."),
    (GLAD, "A chuckle is noted in the transcript."),
    # scenes
    (GLAD, "Four faces are in view in a dark long shot with two cuts."),
    (SEEN, "A dog is in the garden, and a person kneels beside it."),
    (SEEN, "Towards the end the gate is closed."),
    (SEEN, "The head turns to the right."),
    (STAGED, "One hand rests on a blanket, and the person is sitting on a bed."),
    (STAGED, "A lamp is standing on the left."),
    (GLAD, "Seen from afar, the picture is low-lit."),
    # emotions, said with caution
    (GLAD, "The broad smile and the lively voice suggest joy."),
    (GLAD, "Raised cheeks beside a smile are typical of amusement."),
    (GLAD, "Taken as a whole, face and voice would fit happiness better than grief."),
    (GLAD, "Sadness is unlikely, as the lip corners are not pulled down."),
    (GLAD, "Anger cannot be ruled out by the voice alone."),
    # rates and numbers written out
    (GLAD, "Just over six syllables a second are spoken, which is fast."),
    (GLAD, "The tempo exceeds six syllables per second."),
    (GLAD, 'The question about the cake comes before the words "on the table".'),
    (GLAD, "The pitch lies high, at about two hundred and sixty hertz."),
    (GLAD, "At 260 Hz the pitch is high, and the tempo of 6.1 syllables per second is fast."),
    (GLAD, "Three times over, the voice breaks off."),
    # the order of what was said, without quotations
    (GLAD, "First it is asked whether the cake was brought, then the table is mentioned."),
    (GLAD, "Before any word, a chuckle is noted."),
    (GLAD, "The question about the cake comes before the request to put it on the table."),
    # questions of a kind, requests, repetitions
    (GLAD, "The speaker asks whether the cake was brought."),
    (GLAD, 'The phrase "on the table" turns up twice.'),
    (GLAD, "The request to put it on the table is made two times."),
    (GLAD, "The transcript consists of three short sentences."),
    (GLAD, "Nobody asks for help."),
    # voices
    (GLAD, "The springy melody heads uphill at the close."),
    (GLAD, "It is a raspy tone with plenty of punch."),
    (GLAD, "There are noticeable pauses."),
]


@pytest.mark.parametrize(("rows", "text"), TRUE, ids=[text for _, text in TRUE])
def test_a_true_paraphrase_passes(rows, text):
    assert faults(text, rows) == []


FALSE = [
    # rates and numbers written out
    (GLAD, "Just over seven syllables a second are spoken.", "syllables"),
    (GLAD, "The pitch lies high, at about three hundred hertz.", "hertz"),
    (GLAD, "The pitch of 6.1 syllables per second is high.", "not of what is named"),
    (GLAD, "A pause of more than a second is heard.", "more_than_a_second"),
    (GLAD, "Four times over, the voice breaks off.", "nothing that was said"),
    # the order of what was said
    (GLAD, "First the table is mentioned, then it is asked whether the cake was brought.", "order"),
    (GLAD, "After the words, a chuckle is noted.", "order"),
    (GLAD, "The request to put it on the table comes before the question about the cake.", "order"),
    (GLAD, 'The words "on the table" come before the question about the cake.', "order"),
    (GLAD, "The tempo exceeds seven syllables per second.", "syllables"),
    # questions of a kind, requests, repetitions
    (GLAD, "The speaker asks who brought the cake.", "nothing that was said"),
    (GLAD, 'The phrase "on the table" turns up three times.', "nothing that was said"),
    (GLAD, "The question about the cake is asked two times.", "nothing that was said"),
    (GLAD, "The transcript consists of four short sentences.", "not so many"),
    (GLAD, "No request is made.", "this was said"),
    (GLAD, "Somebody is told to get in.", "nothing that was said"),
    (GLAD, "The pitch rises by 3.5 semitones.", "not of what is named"),
    (GLAD, "All is said in one sentence.", "nothing that was said"),
    # voices
    (GLAD, "The droning melody heads downhill at the close.", "ending: rising"),
    (GLAD, "It is a clean tone with little punch.", "quality: rough"),
    (GLAD, "There are no noticeable pauses.", "pauses"),
    (GLAD, "The person gives a feeble grin.", "'feeble'"),
    (GLAD, "The person scowls.", "AU04"),
    (GLAD, "The cheeks do not rise.", "there, not absent"),
    (GLAD, "The lids droop.", "AU43"),
    (GLAD, "The chin quivers.", "quivers"),
    (GLAD, "The cheeks are lifted more strongly than the lip corners.", "not so"),
    (GLAD, "First the cheeks rise, then the person smiles.", "order in time"),
    (GLAD, "The person smiles at 4.40 s.", "4.40"),
    (GLAD, "The lips are apart.", "AU25"),
    (GLAD, "The corners of the mouth are tugged down.", "AU15"),
    (GLAD, "There isn't any smile.", "there, not absent"),
    (GLAD, "The lift of the cheeks outranks the smile.", "not so"),
    (GLAD, "The smile comes second in strength.", "not so"),
    (GLAD, "Next to the lifted cheeks, the smile is weaker.", "not so"),
    (GLAD, "Neither the smile nor the lift of the cheeks is strong.", "'not strong' does not fit"),
    (GLAD, "The person smiles and the cheeks are up; both are weak.", "'weak' does not fit"),
    (GLAD, "A smile was looked for; it did not turn up.", "there, not absent"),
    (GLAD, "Frowning, cheek raising and jaw dropping are absent.", "there, not absent"),
    (GLAD, "The cheeks rise strongly rather than moderately.", "'strongly' does not fit"),
    (GLAD, "Apart from the smile, nothing moves in the face.", "there is more"),
    (GLAD, "The lift of the cheeks has a high intensity.", "'high intensity' does not fit"),
    (GLAD, "There is a broad smile on the face, slight at 3.40.", "'slight' does not fit"),
    (GLAD, "Of the four, the smile is the strongest.", "not so many"),
    (GLAD, "The raised cheeks, which often go with a smile, reach a high level.", "does not fit"),
    (GLAD, "Besides this one, four other faces are in view.", "not so many"),
    (GLAD, "The brows are at rest, and so are the cheeks.", "there, not absent"),
    (GLAD, "The brows are still, as are the muscles that pull up the cheeks.", "there, not absent"),
    (GLAD, "Does the person smile? Nobody can tell.", "it was measured"),
    (GLAD, "The eyes are bright.", "not to be read"),
    (STILL, "The expression comes to a head.", "no evidence says so"),
    (GLAD, "The corners of the mouth stay put.", "there, not absent"),
    (STILL, "A faint smile is kept up.", "AU12"),
    (PROXY, "The brows are not knitted.", "was not measured"),
    (PROXY, "The lip corners seem to be pulled up strongly.", "'strongly' does not fit"),
    (UNSEEN, "The person does not smile.", "was not measured"),
    # what is known is not unknown
    (GLAD, "Whether the person smiles could not be measured.", "it was measured"),
    (GLAD, "The face could not be measured.", "it was measured"),
    (GLAD, "There is no transcript.", "nothing says that it is missing"),
    (GLAD, "The video is without any sound.", "nothing says that it is missing"),
    # voices
    (GLAD, "The voice drags.", "tempo: fast"),
    (GLAD, "The voice is a deep one.", "pitch level: high"),
    (GLAD, "The utterance sinks at its end.", "ending: rising"),
    (GLAD, "The person speaks without a break.", "pauses"),
    (GLAD, "There are five pauses.", "not so many"),
    (GLAD, "The voice is clear.", "quality"),
    (GLAD, "The voice is extremely fast.", "tempo: fast"),
    # words
    (GLAD, "The person asks for a knife.", "knife"),
    (GLAD, 'The last words are "Did you bring the cake?"', "order in time"),
    (GLAD, "A voice from outside says that the cake is there.", "another speaker"),
    (STILL, "The person says that it is late.", "no words"),
    (GLAD, "The person eats the cake.", "eats"),
    # scenes
    (GLAD, "Three faces are in view.", "three"),
    (GLAD, "The picture is brightly lit.", "very dim light"),
    (GLAD, "The scene is one uncut shot.", "cuts: 2"),
    (GLAD, "Shot from very near, the picture is flooded with light.", "light"),
    (GLAD, "The framing is tight.", "shot scale"),
    (SEEN, "A cat is in the garden.", "cat"),
    (STAGED, "One hand is on the lamp.", "elsewhere"),
    (GLAD, "The smile is real.", "not to be read"),
    (STAGED, "The person stands on the left.", "elsewhere"),
    (STAGED, "Both hands are on a blanket.", "one hand"),
    (SEEN, "At first the gate is closed.", "order in time"),
    (SEEN, "The head turns to the left.", "right"),
    # emotions
    (GLAD, "The broad smile suggests grief.", "does not go with sad"),
    (GLAD, "The smile proves joy.", "nothing is certain"),
    (GLAD, "The person is delighted.", "happy is not the clip's label"),
    (GLAD, "The low arousal may fit sadness.", "vocal arousal: high"),
    (GLAD, "The table suggests happiness.", "no clue is named"),
    (GLAD, "Nothing speaks for joy.", "goes with happy"),
    # never as fact
    (GLAD, "His voice is fast.", "gender"),
    (GLAD, "The person is a teacher.", "profession"),
    (GLAD, "The person wants to leave.", "inner life"),
    (GLAD, "The person smiles at a friend.", "relation"),
    (GLAD, "The person shouts.", "loudness"),
]


@pytest.mark.parametrize(("rows", "text", "why"), FALSE, ids=[text for _, text, _ in FALSE])
def test_a_false_paraphrase_is_caught_with_its_reason(rows, text, why):
    told = "; ".join(faults(text, rows))

    assert told, "nothing was found wrong"
    assert why in told


# Each true wording with a false neighbour: of what decides nothing, of what is not known, and of
# states that are no labels.
NEIGHBOURS = [
    (GLAD, "The smile would fit joy without proving it.", "The smile proves joy."),
    (
        GLAD,
        "The high pitch cannot by itself tell joy from anger.",
        "The high pitch tells joy from anger.",
    ),
    (
        GLAD,
        "Raised cheeks are traditionally linked to amusement.",
        "Raised cheeks are traditionally linked to grief.",
    ),
    (
        GLAD,
        "There is little sign of sadness in the face.",
        "There is little sign of joy in the face.",
    ),
    (
        GLAD,
        "No frown, which might have hinted at anger, is seen.",
        "No frown, which might have hinted at joy, is seen.",
    ),
    (
        GLAD,
        "Neither a frown nor a pout accompanies the smile.",
        "No smile accompanies the chuckle.",
    ),
    (
        GLAD,
        "Besides the smile, the lively voice may hint at joy.",
        "Besides the frown, it may be joy.",
    ),
    (
        GLAD,
        "The forceful voice might point to tension.",
        "The gentle voice might point to tension.",
    ),
    (GLAD, "Why the person smiles is not revealed.", "Whether the person smiles is not revealed."),
    (GLAD, "The list is silent on who baked it.", "The list is silent on the pitch."),
    (GLAD, "The evidence as a whole suggests joy.", "The evidence as a whole suggests grief."),
    (PROXY, "The outer brows were not assessed.", "The lip corners were not assessed."),
    (
        PROXY,
        "No conclusion about the chin can be drawn.",
        "No conclusion about the smile can be drawn.",
    ),
    (
        PROXY,
        "How strong the smile is cannot be stated.",
        "Whether there is a smile cannot be stated.",
    ),
    (
        UNSEEN,
        "Statements about the brows are impossible.",
        "Statements about the voice are impossible.",
    ),
    (
        UNSEEN,
        "The low arousal may fit calm, which the missing face can neither prove nor refute.",
        "The low arousal may fit fury, which the missing face can neither prove nor refute.",
    ),
    (STILL, "The face lends no support to any emotion.", "The face lends support to an emotion."),
    (GLAD, "A smile can also accompany irony.", "The smile shows irony."),
    (GLAD, "The smile gives a strong hint of joy.", "The smile gives a faint hint of grief."),
    (GLAD, "Grief is not suggested by such a smile.", "Joy is not suggested by such a smile."),
    (PROXY, "There is no value for AU09.", "There is no value for AU12."),
    (
        GLAD,
        "Joy is suggested but not proven by the smile.",
        "Grief is suggested but not proven by it.",
    ),
    (GLAD, "The smile may be joy.", "The smile may be joy, and nothing else is possible."),
    (STILL, "None of the measured actions is active.", "One of the measured actions is active."),
]


@pytest.mark.parametrize(
    ("rows", "true", "false"), NEIGHBOURS, ids=[one for _, one, _ in NEIGHBOURS]
)
def test_a_true_wording_passes_and_its_neighbour_does_not(rows, true, false):
    assert faults(true, rows) == []
    assert faults(false, rows)


def test_a_plain_bearing_needs_the_rules_and_a_cautious_one_the_literature():
    assert faults("The fast tempo points to joy.", GLAD)
    assert faults("The fast tempo and the smile would go well with joy.", GLAD) == []


def test_the_label_may_be_named_as_a_fact_and_no_other_emotion():
    rows = GLAD | {"label": {"status": "ok", "label": "happy", "label_source": "manifest"}}

    assert check("The person is happy.", rows).ungrounded == ()
    assert check("The person is sad.", rows).ungrounded


ANGRY = clip_rows(
    {"AU04": 2.4, "AU07": 1.6},
    tone=tone_row("high", {"tempo": ("fast", 6.3, "syll/s"), "pitch_level": ("high", 270.0, "Hz")}),
    says="Leave me alone! Enough of it.",
    label="angry",
)
COLD = clip_rows({}, tone=tone_row("low"), says="Leave me alone!", label="angry")
PUZZLED = clip_rows({"AU12": 2.0}, tool="facemesh", scale="proxy_0_5", label="happy")
WEEPING = SEEN | {
    "scene": {
        "status": "ok",
        "scene": "A person kneels in a garden, and tears run down the face.",
        "scene_source": "vision_model",
        "scene_parts": None,
        "scene_facts": None,
    }
}
SAID_OF = [
    "The face looks angry.",
    "There is anger in the face.",
    "The eyes are furious.",
    "It is an angry expression.",
    "The gaze seems angry.",
    "The voice sounds angry.",
    "The tone, which is hostile, is fast.",
    "With an angry voice the person speaks.",
    "In the voice, there is anger.",
    "Anger is visible.",
    "Anger can be heard.",
    "The person is angry.",
    "The emotion is anger.",
    "Anger.",
    "The tempo is fast, so the person is angry.",
]


@pytest.mark.parametrize("text", SAID_OF)
def test_the_label_is_said_of_what_has_a_clue_for_it(text):
    assert check(text, ANGRY).ungrounded == ()
    assert any("angry" in claim.why for claim in check(text, COLD).ungrounded)


def test_what_a_label_is_said_of_points_to_its_clues():
    rows = check("The eyes are angry.", ANGRY).claims

    assert [claim.evidence_ids for claim in rows] == [("E2",)]  # AU07, and not the brows


@pytest.mark.parametrize(
    "text",
    [
        "The posture is angry.",
        "The angry scene is over.",
        "The words are angry.",
        "The brows are lowered and the reaction is angry.",
    ],
)
def test_words_and_what_nobody_measures_are_no_clue_for_the_label(text):
    assert any("bears on angry" in claim.why for claim in check(text, ANGRY).ungrounded)


def test_a_doubt_may_go_beyond_the_rules_and_not_beyond_the_clues():
    assert check("The person may be angry.", COLD).ungrounded == ()
    assert check("The words may be angry.", COLD).ungrounded == ()
    assert check("The eyes may be angry.", COLD).ungrounded
    assert check("The face may be cheerful.", PUZZLED).ungrounded == ()
    assert check("The face is cheerful.", PUZZLED).ungrounded


@pytest.mark.parametrize(
    ("true", "false"),
    [
        ("because the brows are lowered", "because somebody left them"),
        ("since the tempo is fast", "since everybody is against them"),
        ('because they say "Enough of it"', "because of the words"),
        ("due to the narrowed eyes", "due to somebody"),
        ("in face and voice", "with somebody"),
        ("by the lowered brows", "about the situation"),
    ],
)
def test_a_reason_for_an_emotion_is_a_clue_or_is_made_up(true, false):
    assert check(f"The person may be angry {true}.", ANGRY).ungrounded == ()
    assert check(f"The person may be angry {false}.", ANGRY).ungrounded
    assert check(f"The person may be angry, {false}.", ANGRY).ungrounded


@pytest.mark.parametrize(
    "text",
    [
        "The anger is caused by the words.",
        "The anger may come from fear.",
        "The anger is a reaction to the question.",
        "Somebody has betrayed the person.",
    ],
)
def test_what_brings_an_emotion_about_is_in_no_evidence(text):
    assert check(text, ANGRY).ungrounded


def test_tears_are_seen_or_heard_and_never_supposed():
    assert faults("The person is in tears.", WEEPING) == []
    assert faults("The person sobs.", clip_rows(says="[sobbing] I kept it.")) == []
    for rows in (SEEN, GLAD, ANGRY):
        for text in ("The person may be in tears.", "The person weeps.", "They could be crying."):
            assert faults(text, rows), text


def test_a_doubt_said_in_the_same_sentence_is_heard():
    assert faults("The lip corners are up, though this measure is uncertain.", PROXY) == []
    assert faults("The lip corners are up.", PROXY)


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("lift~", ("lift", "lifts", "lifted", "lifting")),
        ("raise~", ("raise", "raises", "raised", "raising")),
        ("drop~", ("drop", "drops", "dropped", "dropping")),
        ("press~", ("press", "presses", "pressed", "pressing")),
        ("carry~", ("carry", "carries", "carried", "carrying")),
        ("open", ("open",)),
    ],
)
def test_a_regular_verb_has_four_forms(verb, said):
    assert forms(verb) == said


def test_a_pattern_may_leave_choices():
    found = {pattern.words for pattern in patterns_of("(a lot|very) much? up|down", "x", None)}

    both = ("up", "down")
    assert found == {
        (("a",), ("lot",), both),
        (("a",), ("lot",), ("much",), both),
        (("very",), both),
        (("very",), ("much",), both),
    }
    assert Pattern.read("a|b", "x", None).words == (("a", "b"),)


def test_tokens_know_the_part_of_their_sentence():
    assert [(token.word, token.part) for token in tokens_of("Low, flat (3.5 of 5): it's so")] == [
        ("low", 0), ("flat", 1), ("3.5", 2), ("of", 2), ("5", 2), ("it's", 4), ("so", 4),
    ]  # fmt: skip


def test_words_are_told_by_their_forms_and_their_groups():
    thesaurus = Thesaurus([["big", "large"], ["let go", "dismiss"]], {"hide": ["hid", "hidden"]})

    assert thesaurus.stem("hiding") == thesaurus.stem("hid")
    assert thesaurus.groups(thesaurus.stems("dismissed")) & thesaurus.all_groups(
        thesaurus.stems("they let him go")
    )
    assert not thesaurus.groups(thesaurus.stems("large")) & thesaurus.all_groups(("small",))
