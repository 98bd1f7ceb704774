"""The Chinese caption: pieces of the evidence alone, and nothing in it that is not Chinese."""

from __future__ import annotations

import re
from itertools import product
from typing import Any

import pytest
from made_evidence import clip_rows, ok, tone_row, words_row

from merr_pipeline.dataset.chinese import chinese_caption, load_chinese_words
from merr_pipeline.dataset.coarse import load_coarse_templates
from merr_pipeline.dataset.texts import check_templates
from merr_pipeline.fuse.evidence import collect_evidence
from merr_pipeline.fuse.wording import load_fine_text
from merr_pipeline.scene.facts import facing, light_and_motion
from merr_pipeline.scene.words import load_scene_words
from merr_pipeline.schema import MerrError
from merr_pipeline.settings import load_settings
from merr_pipeline.speech.tone_claims import load_tone_prompt
from merr_pipeline.speech.tone_table import AROUSAL, read_tone_words
from merr_pipeline.templates import load_template, shipped_folder

RULES, WORDING = load_coarse_templates().rules, load_fine_text()
WORDS, SCENE = load_chinese_words(), load_scene_words()
PHRASES = WORDS.caption.phrases
TONE = read_tone_words(load_template("tone_words.yaml"))
PROMPT = load_tone_prompt(TONE)
FACTS = {
    "shot_scale": "close-up",
    "faces_in_view": 1,
    "facing": "faces the camera",
    "position": "in the middle of the picture",
    "light": "dim light",
    "motion": "hardly any motion",
    "colour": "muted colours with a warm tint",
    "cuts": 2,
}


def caption_of(rows: dict[str, Any], seed: str = "0", form: str = "template") -> str | None:
    return captions_of(rows, seed, form)[1]


def captions_of(
    rows: dict[str, Any], seed: str = "0", form: str = "template"
) -> tuple[str | None, str | None]:
    evidence = [item.row() for item in collect_evidence(rows, RULES, WORDING)]
    return chinese_caption(evidence, seed, WORDS, form)


def test_a_full_caption_follows_the_papers_pattern():
    rows = clip_rows({"AU12": 2.0, "AU06": 1.5}, tone=tone_row(), says="真好！", facts=FACTS)

    expression, caption = captions_of(rows)

    assert expression in {f"{a}和{b}" for a, b in product(PHRASES["AU12"], PHRASES["AU06"])}
    assert caption == (
        "特写，光线较暗，画面中有一张人脸，人物位于画面中央，面向镜头。"
        "画面几乎静止，色彩偏淡，色调偏暖，有两次镜头切换。"
        f"人物的表情和动作包括{expression}。"
        "声音方面，音调略高；语调起伏明显；语速较快，有一处停顿；音色柔和；声音唤醒度较高。"
        "说话内容：“真好！”"
    )


def test_raw_is_the_same_pieces_without_words_of_a_template():
    rows = clip_rows(
        {"AU12": 2.0}, tone=tone_row(words={}), says="真好！", facts={"light": "dim light"}
    )

    expression, caption = captions_of(rows, form="raw")

    assert caption == f"光线较暗。{expression}。声音唤醒度较高。“真好！”"


def test_proxies_are_said_with_a_doubt_in_both_forms():
    rows = clip_rows({"AU12": 3.0}, tool="facemesh", scale="proxy_0_5")
    expression, caption = captions_of(rows)

    assert caption == f"人物的表情和动作似乎包括{expression}。"
    assert caption_of(rows, form="raw") == f"似乎{expression}。"


def test_what_is_missing_is_left_out():
    assert captions_of(clip_rows(None, says="嗯。")) == (None, "说话内容：“嗯。”")
    assert captions_of(clip_rows(None)) == (None, None)
    assert captions_of(clip_rows(None), form="raw") == (None, None)
    assert caption_of(clip_rows(None, tone=tone_row(words={}))) == "声音方面，声音唤醒度较高。"


def test_values_of_low_reliability_and_turned_faces_are_not_stated():
    assert caption_of(clip_rows({"AU10": 4.0, "AU14": 4.0})) is None
    assert caption_of(clip_rows({"AU12": 3.0}, yaw_deg=50.0)) is None


def test_only_the_strongest_four_are_named_strongest_first():
    units = {"AU04": 5.0, "AU07": 4.0, "AU09": 3.0, "AU17": 2.0, "AU12": 1.0}

    expression, _ = captions_of(clip_rows(units))

    parts = re.split("[、和]", expression or "")
    assert [part in PHRASES[code] for part, code in zip(parts, units, strict=False)] == [True] * 4


def test_the_hash_of_the_clip_chooses_among_phrases():
    said = {captions_of(clip_rows({"AU04": 2.0}), str(n))[0] for n in range(40)}

    assert said == set(PHRASES["AU04"])


# --- the words that are quoted -------------------------------------------------------------------


def transcript(text: str, language: str, original: str | None = None) -> dict[str, Any]:
    more = {"original_transcript": original, "original_source": "sidecar", "spoken_language": "zh"}
    row = words_row(text) | {"text_language": language, **(more if original else {})}
    return clip_rows(None) | {"transcript": ok(**{**row, "is_translation": bool(original)})}


def test_of_a_translation_the_chinese_original_is_quoted():
    rows = transcript("Do you think so?", "en", "你真这么想？")

    assert caption_of(rows) == "说话内容：“你真这么想？”"


def test_words_in_another_language_are_quoted_as_they_are():
    assert caption_of(transcript("Do you think so?", "en")) == "说话内容：“Do you think so?”"
    assert caption_of(transcript("你真这么想？", "zh-CN")) == "说话内容：“你真这么想？”"
    assert caption_of(transcript("Yes (no).", "en (dubbed)")) == "说话内容：“Yes (no).”"


def test_a_transcript_cannot_break_out_of_its_quotation():
    said = caption_of(transcript('a” “b" {tone} (c): "d', "en"))

    assert said == "说话内容：“a' 'b' {tone} (c): 'd”"


# --- the voice -----------------------------------------------------------------------------------


def vocabulary() -> list[tuple[str, str]]:
    measured = {(name, word) for name in (*TONE.features, AROUSAL) for word in TONE.words_of(name)}
    heard = {(k.feature, word) for k in PROMPT.claims.values() for word in k.vocabulary}
    return sorted(measured | heard)


@pytest.mark.parametrize(("feature", "word"), vocabulary())
def test_each_word_of_a_voice_is_said_in_chinese_and_in_no_other_place(feature, word):
    words = {} if feature == AROUSAL else {feature: (word, 1.5, "unit")}
    alone = feature in ("contour", "ending", "pauses")  # said beside another feature
    words |= {"intonation": ("lively", 3.0, "st"), "tempo": ("slow", 3.0, "s")} if alone else {}
    row = tone_row(word if feature == AROUSAL else None, words)

    caption = caption_of(clip_rows(None, tone=row))

    assert WORDS.caption.voice_words.words[feature][word] in caption
    assert not re.search("[A-Za-z{}]", caption)


def test_what_a_model_alone_heard_is_said_with_a_doubt():
    heard = [("tempo", "fast"), ("nonverbal", "sobbing"), ("nonverbal", "voice trembling")]
    rows = [
        {"feature": name, "word": word, "value": None, "unit": None, "reliability": "low"}
        for name, word in heard
    ]
    tone = tone_row(None) | {"words": rows, "arousal": None}

    assert caption_of(clip_rows(None, tone=tone)) == (
        "声音方面，似乎语速较快；似乎伴有抽泣和声音颤抖。"
    )


# --- the scene -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("faces", "told"),
    [
        (0, "画面中没有人脸。"),
        (2, "画面中有两张人脸，主要人物位于画面右侧。"),
        (12, "画面中有12张人脸，主要人物位于画面右侧。"),
        (None, "人物位于画面右侧。"),
    ],
)
def test_faces_are_counted_with_their_measure_word(faces, told):
    place = None if faces == 0 else "on the right of the picture"

    rows = clip_rows(None, facts={"faces_in_view": faces, "position": place})

    assert caption_of(rows) == told


def test_several_faces_of_unknown_number_are_several():
    rows = clip_rows({}, facts={"facing": "faces the camera"})
    rows["moment"]["others"] = [{"start_s": 0.0, "end_s": 2.0}]

    assert caption_of(rows) == "画面中有多张人脸，主要人物面向镜头。"


def test_a_scene_that_a_model_described_is_told_by_its_measured_facts():
    rows = clip_rows(None, facts={"light": "bright light"})
    rows["scene"] |= {
        "scene": "A person at a desk.",
        "scene_source": "vision_model",
        "scene_parts": {"place": "an office", "objects": ["a cup", "a lamp"]},
    }

    assert caption_of(rows) == "光线明亮。"


def test_every_light_that_the_scene_stage_can_say_has_an_entry():
    for brightness, contrast, dark in product((0.1, 0.2, 0.4, 0.8), (0.05, 0.2, 0.3), (0.0, 0.5)):
        probe = {"brightness": brightness, "contrast": contrast, "dark_share": dark}
        light = light_and_motion({**probe, "kind": "still", "motion": None, "shots": []}, SCENE)
        said = caption_of(clip_rows(None, facts={"light": light["light"]}))
        assert said is not None, light
        assert ("画面有时很暗" in said) == (dark == 0.5)
        assert ("明暗对比" in said) == (contrast != 0.2)


def test_every_facing_that_the_scene_stage_can_say_has_an_entry():
    said = set()
    for yaw, pitch in product((-60.0, -20.0, 0.0, 20.0, 60.0), (-30.0, 0.0, 30.0)):
        pose = {"yaw_deg": yaw, "pitch_deg": pitch, "roll_deg": 0.0}
        caption = caption_of(clip_rows(None, facts={"facing": facing(pose, SCENE)}))
        assert caption is not None
        assert ("仰着头" in caption, "低着头" in caption) == (pitch > 0, pitch < 0)
        said.add(caption)
    assert len(said) == 15


# --- the template --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("  AU28: [", "  AU43: [", "phrases has no 'AU28'"),
        ("      fairly flat: 语调较平\n", "", "voice_words.words.intonation has no 'fairly flat'"),
        ("      hoarse: 嗓音嘶哑\n", "", "voice_words.words.quality has no 'hoarse'"),
        ("      sobbing: 抽泣\n", "", "voice_words.words.nonverbal has no 'sobbing'"),
        ("      with a cool tint: 色调偏冷\n", "", "scene_words.words.colour has no 'with a cool"),
        ("语调较平", "flat", "'flat' is no Chinese"),
        ("[皱眉, ", "[frown, ", "'frown' is no Chinese"),
        ("[皱眉, ", "['', ", "'' is no Chinese"),
        ("声音方面，{tone}", "声音方面，{tune}", r"must have \{tone\}"),
    ],
)
def test_what_is_missing_or_left_in_english_is_an_error_before_anything_is_made(
    tmp_path, old, new, told
):
    text = (shipped_folder() / "coarse_caption_zh.yaml").read_text("utf-8")
    assert old in text
    (tmp_path / "coarse_caption_zh.yaml").write_text(text.replace(old, new), "utf-8")
    chosen = [f"templates={tmp_path}"]

    with pytest.raises(MerrError, match=f"(?s)coarse_caption_zh.yaml is wrong.*{told}"):
        check_templates(load_settings(overrides=[*chosen, "coarse.language=zh"], environment={}))
    check_templates(load_settings(overrides=chosen, environment={}))  # English does not read it


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("tone_words.yaml", "word: lively", "word: bouncy", "intonation has no 'bouncy'"),
        ("tone_prompt.yaml", "nonverbal: [sighing,", "nonverbal: [yawning,", "no 'yawning'"),
        ("scene_words.yaml", "word: dim light", "word: twilight", "light has no 'twilight'"),
    ],
)
def test_a_word_that_another_template_adds_wants_an_entry(tmp_path, name, old, new, told):
    text = (shipped_folder() / name).read_text("utf-8").replace(old, new)
    (tmp_path / name).write_text(text, "utf-8")
    if name == "tone_words.yaml":
        prompt = (shipped_folder() / "tone_prompt.yaml").read_text("utf-8")
        (tmp_path / "tone_prompt.yaml").write_text(prompt.replace("[lively]", "[bouncy]"), "utf-8")

    with pytest.raises(MerrError, match=told):
        load_chinese_words(tmp_path)


def test_phrases_name_no_emotion_and_are_of_one_action_unit_alone():
    phrases = [phrase for pool in PHRASES.values() for phrase in pool]

    assert len(set(phrases)) == len(phrases)
    assert not [p for p in phrases if re.search("[喜怒哀惧悲伤怕愁惊疑恨]|高兴|[。，、和]", p)]
