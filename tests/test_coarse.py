"""The coarse caption: the pattern of the MERR paper, filled with what was measured."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_evidence import clip_rows, missing, ok, tone_row

from merr_pipeline.dataset.coarse import check_caption, coarse_caption, load_coarse_templates
from merr_pipeline.dataset.texts import check_templates
from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.fuse.evidence import collect_evidence
from merr_pipeline.fuse.phrases import load_au_phrases
from merr_pipeline.fuse.wording import load_fine_text
from merr_pipeline.scene.facts import sentence
from merr_pipeline.scene.words import load_scene_words
from merr_pipeline.schema import MerrError
from merr_pipeline.settings import load_settings
from merr_pipeline.speech.tone_table import read_tone_words
from merr_pipeline.speech.wording import compose
from merr_pipeline.templates import load_template, shipped_folder

TABLE = load_action_units()
TEMPLATES, WORDING = load_coarse_templates(), load_fine_text()
POOLS = load_au_phrases(TABLE).merr
TONE, SCENE = read_tone_words(load_template("tone_words.yaml")), load_scene_words()
NO_SCENE = {"scene": missing("upstream")}


def caption_of(*args: object, seed: str = "0", **kwargs: object) -> tuple[str | None, str | None]:
    rows = clip_rows(*args, **kwargs) | NO_SCENE
    return coarse_caption(rows, seed, TEMPLATES)


def test_a_full_caption_follows_the_papers_pattern():
    rows = clip_rows({"AU12": 2.0, "AU06": 1.5}, tone=tone_row(), says="So good!")

    expression, caption = coarse_caption(rows, "0", TEMPLATES)

    assert expression in {f"{a} and {b}" for a in POOLS["AU12"] for b in POOLS["AU06"]}
    assert caption == (
        "Close-up of one person, in dim light. "
        f"The person's expression and actions include {expression}; "
        'the voice: raised pitch; fast tempo. Saying: "So good!"'
    )


def test_what_is_missing_is_left_out():
    assert caption_of(None, says="Hm.") == (None, 'Saying: "Hm."')
    assert caption_of(None, tone=tone_row())[1] == "The voice: raised pitch; fast tempo."
    expression, caption = caption_of({"AU04": 2.0})
    assert caption == f"The person's expression and actions include {expression}."


def test_of_a_clip_that_shows_nothing_there_is_no_caption():
    assert caption_of(None) == (None, None)


def test_a_voice_that_was_not_described_gives_no_words():
    _, caption = caption_of({"AU04": 2.0})

    assert "voice" not in caption


def test_values_of_low_reliability_are_not_stated():
    assert caption_of({"AU10": 4.0, "AU14": 4.0}) == (None, None)


def test_of_a_turned_face_nothing_is_stated():
    assert caption_of({"AU12": 3.0}, yaw_deg=50.0) == (None, None)


def test_only_the_strongest_four_are_named_strongest_first():
    units = {"AU04": 5.0, "AU07": 4.0, "AU09": 3.0, "AU17": 2.0, "AU12": 1.0}

    expression, _ = caption_of(units)

    parts = re.split(", | and ", expression)
    assert [part in POOLS[code] for part, code in zip(parts, units, strict=False)] == [True] * 4


def test_the_same_phrase_is_said_once():
    same = TEMPLATES.phrases.model_copy(update={"merr": dict.fromkeys(POOLS, ("a tense face",))})
    templates = replace(TEMPLATES, phrases=same)

    rows = clip_rows({"AU04": 2.0, "AU07": 2.0})

    assert coarse_caption(rows, "0", templates)[0] == "a tense face"


def test_the_hash_of_the_clip_chooses_among_synonyms():
    said = {caption_of({"AU04": 2.0}, seed=str(n))[0] for n in range(30)}

    assert said == set(POOLS["AU04"])
    assert len({caption_of({"AU04": 2.0}, seed="7")[0] for _ in range(3)}) == 1


def test_a_transcript_cannot_break_out_of_its_quotation():
    assert caption_of(None, says='a "b" {c}')[1] == "Saying: \"a 'b' {c}\""


def test_no_phrase_names_an_emotion_or_ends_like_a_sentence():
    phrases = [phrase for pool in POOLS.values() for phrase in pool]

    assert not [p for p in phrases if re.search(r"happ|sad|ang[er]|fear|worr|disgust|[.!?]$", p)]
    assert all(p == p.lower().strip() for p in phrases)


def test_proxies_are_said_with_a_doubt():
    _, face = caption_of({"AU12": 3.0}, tool="facemesh", scale="proxy_0_5")
    _, both = caption_of({"AU12": 3.0}, tool="facemesh", scale="proxy_0_5", tone=tone_row())

    assert face.startswith("The person's expression and actions seem to include ")
    assert "actions seem to include " in both
    assert both.endswith("; the voice: raised pitch; fast tempo.")


def test_dots_are_no_words():
    assert caption_of(None, says="... --") == (None, None)


# --- raw: the same pieces without the template's words -------------------------------------------


def test_raw_pieces_stand_side_by_side_without_words_of_a_template():
    rows = clip_rows({"AU12": 2.0, "AU06": 1.5}, tone=tone_row(), says="So good!")

    expression, caption = coarse_caption(rows, "0", TEMPLATES, "raw")

    assert expression == coarse_caption(rows, "0", TEMPLATES)[0]
    assert caption == (
        f"Close-up of one person, in dim light. {expression[0].upper()}{expression[1:]}. "
        'Raised pitch; fast tempo. "So good!"'
    )


def test_raw_keeps_the_doubt_of_proxies_and_leaves_out_what_is_missing():
    rows = clip_rows({"AU12": 3.0}, tool="facemesh", scale="proxy_0_5") | NO_SCENE

    expression, caption = coarse_caption(rows, "0", TEMPLATES, "raw")

    assert caption == f"Seemingly {expression}."
    assert coarse_caption(clip_rows(None) | NO_SCENE, "0", TEMPLATES, "raw") == (None, None)


def test_a_raw_caption_that_claims_more_than_the_evidence_is_caught():
    rows = clip_rows({"AU04": 2.0}, says="Go home.")

    assert unproven(rows, 'A frown. "Go home."') == []
    assert unproven(rows, 'A smile. "Go home."') == ["smile: AU12 is not in the evidence"]
    assert unproven(rows, 'A frown. "Stay here."')


# --- what it claims, the checker proves ----------------------------------------------------------


def unproven(rows: dict, caption: str) -> list[str]:
    items = collect_evidence(rows, TEMPLATES.rules, WORDING)
    evidence = [item.row() for item in items]
    proof = check_caption(caption, evidence, TEMPLATES.rules, TEMPLATES.lexicon)
    return [f"{claim.text}: {claim.why}" for claim in proof.ungrounded]


@pytest.mark.parametrize("code", sorted(POOLS))
def test_every_phrase_is_read_as_its_own_action_unit(code):
    for phrase in POOLS[code]:
        [found] = TEMPLATES.lexicon.find(f"The person's expression and actions include {phrase}.")
        assert (found.kind, found.degree) == ("face", None), phrase
        assert code in found.meaning, phrase


def test_a_smile_that_nobody_saw_is_caught():
    rows = clip_rows({"AU04": 2.0}, label="happy")
    include = "The person's expression and actions include"

    assert unproven(rows, f"{include} a frown.") == []
    assert unproven(rows, f"{include} a smile.") == ["smile: AU12 is not in the evidence"]
    assert unproven(rows, "The voice: raised pitch.")
    assert unproven(rows, "The person is happy.")


def test_a_proxy_without_a_doubt_is_caught():
    rows = clip_rows({"AU12": 3.0}, tool="facemesh", scale="proxy_0_5")

    assert unproven(rows, "The person's expression and actions include a smile.")
    assert unproven(rows, "The person's expression and actions seem to include a smile.") == []


@st.composite
def voices(draw: st.DrawFn) -> dict:
    """A voice as the tone stage tells it: any words of its file, joined by its sentence."""
    words = {}
    for name, feature in TONE.features.items():
        said = [*(step.word for step in feature.steps), *(r.becomes for r in feature.refine)]
        if word := draw(st.none() | st.sampled_from([word for word in said if word])):
            words[name] = word
    arousal = draw(st.none() | st.sampled_from([step.word for step in TONE.arousal.steps]))
    found = words | ({"arousal": arousal} if arousal else {})
    row = tone_row(arousal, {name: (word, 1.5, "unit") for name, word in words.items()})
    return row | {"tone": compose(found, TONE.sentence) or None}


@st.composite
def scenes(draw: st.DrawFn, tool: str, scale: str) -> dict:
    """A scene as the scene stage tells it, and the faces that it saw."""

    def one_of(*words: str) -> str | None:
        return draw(st.none() | st.sampled_from(words))

    facing = SCENE.facing.model_dump()
    turned = [facing[name] for name in ("camera", "right", "left", "right_profile")]
    light = [step.word for step in SCENE.light]
    light += [f"{light[0]} with strong contrast, {SCENE.partly_dark.word}"]
    facts = {
        "shot_scale": one_of(*(step.word for step in SCENE.shot_scale)),
        "faces_in_view": draw(st.none() | st.integers(0, 12)),
        "facing": one_of(*turned, *(f"{t} {SCENE.facing.raised}" for t in turned)),
        "position": one_of(*(step.word for step in SCENE.position)),
        "light": draw(st.sampled_from(light)),  # measured of every clip
        "motion": one_of(*(step.word for step in SCENE.motion)),
        "colour": one_of("strong colours", "muted colours with a warm tint"),
        "cuts": draw(st.none() | st.integers(0, 12)),
    }
    count = facts["faces_in_view"]
    several = draw(st.booleans()) if count is None else count > 1
    said = sentence(facts, SCENE, person=count != 0, several=several)
    tracks = [{"frame_index": [31]}] * (2 if several else 1)
    return {
        "scene": clip_rows(facts=facts)["scene"] | {"scene": said},
        "face": ok(face_tool=tool, au_scale=scale, tracks=tracks),
    }


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data(), seed=st.integers(0, 50))
def test_every_caption_is_grounded_whole(data, seed):
    tool, scale = data.draw(
        st.sampled_from([("openface", "intensity_0_5"), ("facemesh", "proxy_0_5")])
    )
    codes = sorted(TABLE.tools[tool].aus)
    units = st.dictionaries(st.sampled_from(codes), st.floats(0, 5).map(lambda x: round(x, 3)))
    rows = clip_rows(
        data.draw(units),
        tool=tool,
        scale=scale,
        yaw_deg=data.draw(st.sampled_from([0.0, 60.0])),
        tone=data.draw(st.none() | voices()),
        says=data.draw(st.none() | st.text(max_size=60)),
    ) | data.draw(scenes(tool, scale))
    rows["moment"]["peak_frame_index"] = 31

    for form in ("template", "raw"):
        _, caption = coarse_caption(rows, str(seed), TEMPLATES, form)

        assert caption is None or unproven(rows, caption) == [], caption


# --- a user's own templates ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("voice: ", "voices: ", "voice\n  Field required"),
        ("{tone}", "{tune}", r"must have \{expression\}, \{tone\}"),
        ("max_phrases: 4", "max_phrases: 0", "max_phrases"),
    ],
)
def test_a_wrong_caption_template_is_refused_before_anything_is_made(tmp_path, old, new, told):
    text = (shipped_folder() / "coarse_caption.yaml").read_text("utf-8")
    (tmp_path / "coarse_caption.yaml").write_text(text.replace(old, new), "utf-8")

    with pytest.raises(MerrError, match=f"(?s)coarse_caption.yaml is wrong.*{told}"):
        check_templates(load_settings(overrides=[f"templates={tmp_path}"], environment={}))


def test_the_shipped_templates_are_right():
    check_templates(load_settings(environment={}))


def test_every_emotion_relevant_unit_has_phrases(tmp_path):
    text = (shipped_folder() / "au_phrases.yaml").read_text("utf-8")
    (tmp_path / "au_phrases.yaml").write_text(text.replace("  AU28:", "  AU43:"), "utf-8")

    with pytest.raises(MerrError, match="strict has no phrase for AU28"):
        load_coarse_templates(tmp_path)


def test_the_hash_of_the_templates_changes_with_them(tmp_path):
    text = (shipped_folder() / "coarse_caption.yaml").read_text("utf-8")
    (tmp_path / "coarse_caption.yaml").write_text(text.replace("Saying", "Words"), "utf-8")

    assert load_coarse_templates(tmp_path).sha256 != TEMPLATES.sha256
