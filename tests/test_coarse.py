"""The coarse caption: the pattern of the MERR paper, filled with what was measured."""

import re

import pytest
from made_evidence import clip_rows, missing, tone_row

from merr_pipeline.dataset.coarse import coarse_caption, load_coarse_templates
from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.fuse.phrases import load_au_phrases
from merr_pipeline.schema import MerrError
from merr_pipeline.templates import shipped_folder

TEMPLATES = load_coarse_templates()
POOLS = load_au_phrases(load_action_units()).merr
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
    templates = type(TEMPLATES)(TEMPLATES.sentences, same, TEMPLATES.rules, TEMPLATES.sha256)

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


def test_every_emotion_relevant_unit_has_phrases(tmp_path):
    text = (shipped_folder() / "au_phrases.yaml").read_text("utf-8")
    (tmp_path / "au_phrases.yaml").write_text(text.replace("  AU28:", "  AU43:"), "utf-8")

    with pytest.raises(MerrError, match="strict has no phrase for AU28"):
        load_coarse_templates(tmp_path)


def test_the_hash_of_the_templates_changes_with_them(tmp_path):
    text = (shipped_folder() / "coarse_caption.yaml").read_text("utf-8")
    (tmp_path / "coarse_caption.yaml").write_text(text.replace("Saying", "Words"), "utf-8")

    assert load_coarse_templates(tmp_path).sha256 != TEMPLATES.sha256
