"""Small builds from end to end: captions in Chinese and raw; what a changed template remakes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from builds import made, rows
from small_builds import build_here, cut_sample

from merr_pipeline.build import look_at
from merr_pipeline.dataset.validate import validate
from merr_pipeline.request import Request
from merr_pipeline.schema import STAGE_SCHEMAS
from merr_pipeline.template_use import READ_BY
from merr_pipeline.templates import shipped_folder

pytestmark = pytest.mark.long  # five builds


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, Path]:
    """The clips, and a build of them in English: a smile with words, and a label by manifest."""
    folder = tmp_path_factory.mktemp("coarse")
    clips = folder / "clips"
    clips.mkdir()
    cut_sample(clips, "smile")
    (clips / "smile.zh.srt").write_text(
        "1\n00:00:00,000 --> 00:00:00,400\n我们得了第一名！\n", "utf-8"
    )
    (clips / "manifest.csv").write_text("path,label\nsmile.mp4,happy\n", "utf-8")
    build_here(clips, folder / "out", manifest=clips / "manifest.csv")
    return clips, folder / "out"


@pytest.fixture
def again(built, tmp_path):
    """Builds again on a copy of the output, with other settings; gives the copy."""
    clips, first = built

    def build(*overrides: str) -> Path:
        out = tmp_path / "out"
        if not out.exists():
            shutil.copytree(first, out)
        build_here(clips, out, *overrides, manifest=clips / "manifest.csv")
        return out

    return build


def the_clip(out: Path) -> dict[str, Any]:
    (row,) = rows(out, "clips")
    return row


def own_templates(folder: Path, name: str, old: str, new: str) -> str:
    text = (shipped_folder() / name).read_text("utf-8")
    assert old in text
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text.replace(old, new), "utf-8")
    return f"templates={folder}"


def test_an_english_build_says_of_its_caption_what_it_is(built):
    row = the_clip(built[1])

    assert (row["coarse_language"], row["coarse_form"]) == ("en", "template")
    assert row["coarse_caption"].startswith("Medium close-up with one face in view: a person")
    assert "The person's expression and actions seem to include " in row["coarse_caption"]
    assert row["coarse_caption"].endswith('Saying: "我们得了第一名！"')


@pytest.mark.parametrize("form", ["template", "raw"])
def test_a_chinese_build_is_proven_from_its_files_alone(again, form):
    out = again("coarse.language=zh", f"coarse.form={form}")
    row = the_clip(out)

    assert made(out) == {}  # no stage works again for it
    assert validate(out) == []
    assert (row["coarse_language"], row["coarse_form"]) == ("zh", form)
    scene = "近景，光线明亮，明暗对比强烈，画面中有一张人脸，人物位于画面中央，面向镜头。"
    assert row["coarse_caption"].startswith(scene)
    expression, words = row["visual_expression"], "“我们得了第一名！”"
    assert {
        "template": f"包括{expression}。说话内容：{words}",
        "raw": f"似乎{expression}。{words}",
    }[form] in row["coarse_caption"]
    assert not re.search("[A-Za-z]", row["coarse_caption"])
    assert row["fine_caption"].startswith("In the video, ")
    assert {
        (record["task"], record["messages"][1]["content"]) for record in rows(out, "coarse")
    } == {("describe", row["coarse_caption"]), ("emotion", "高兴"), ("sentiment", "积极")}
    assert not re.search(
        "[A-Za-z]", "".join(r["messages"][0]["content"] for r in rows(out, "coarse"))
    )


def test_a_raw_build_has_the_pieces_and_none_of_the_templates_words(built, again):
    before, out = the_clip(built[1]), again("coarse.form=raw")
    row = the_clip(out)

    assert made(out) == {}
    assert validate(out) == []
    assert (row["coarse_language"], row["coarse_form"]) == ("en", "raw")
    assert row["visual_expression"] == before["visual_expression"]
    assert row["coarse_caption"] == (
        f'{before["scene"]} Seemingly {before["visual_expression"]}. "我们得了第一名！"'
    )
    assert row["fine_caption"] == before["fine_caption"]


# --- a changed template remakes only its texts ----------------------------------------------------

AFTER = {  # the stages that build on a stage, itself first
    "face": ("face", "moment", "scene", "label", "fine"),
    "moment": ("moment", "scene", "label", "fine"),
    "transcript": ("transcript", "tone", "fine"),
    "tone": ("tone", "fine"),
    "scene": ("scene", "fine"),
    "label": ("label", "fine"),
    "fine": ("fine",),
}
SIGNS_ALONE = {
    "emotion_rules",
    "emotion_words",
    "label_spaces",
}  # all that moment takes from these, by clip
NOT_IN_THIS_BUILD = {"asr_gates", "blendshapes", "fine_prompt", "scene_prompt", "tone_prompt"}


@pytest.mark.parametrize("name", sorted(READ_BY))
def test_a_changed_template_makes_only_the_stages_pending_that_read_it(built, tmp_path, name):
    clips, out = built
    own = own_templates(tmp_path / "own", name, "#", "# changed;")
    request = Request(clips, out, clips / "manifest.csv", overrides=(own,))

    pending = {stage for stage, count in look_at(request).pending.items() if count}

    reading = set() if Path(name).stem in NOT_IN_THIS_BUILD else set(READ_BY[name])
    reading -= {"moment"} if Path(name).stem in SIGNS_ALONE else set()
    assert pending == {later for stage in reading for later in AFTER.get(stage, ())}


def test_a_changed_sentence_of_the_caption_changes_the_captions_and_makes_no_row(
    built, again, tmp_path
):
    before = the_clip(built[1])
    own = own_templates(
        tmp_path / "own", "coarse_caption.yaml", "words: 'Saying: ", "words: 'Said: "
    )

    out = again(own)

    after = the_clip(out)
    assert made(out) == {}
    assert after["coarse_caption"] == before["coarse_caption"].replace("Saying: ", "Said: ")
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"coarse_caption", "provenance"}


def test_a_changed_question_changes_the_records_and_makes_no_row(built, again, tmp_path):
    own = own_templates(tmp_path / "own", "questions.yaml", "person", "human")
    before = built[1]

    out = again(own)

    assert made(out) == {}
    assert the_clip(out) | {"provenance": 0} == the_clip(before) | {"provenance": 0}
    asked, were = (
        [(r["record_id"], *(m["content"] for m in r["messages"])) for r in rows(of, "coarse")]
        for of in (out, before)
    )
    assert asked == [(name, ask.replace("person", "human"), said) for name, ask, said in were]
    assert asked != were


def test_a_changed_phrase_makes_the_fine_text_again_and_nothing_else(built, again, tmp_path):
    own = own_templates(
        tmp_path / "own", "au_phrases.yaml", "{degree}parted lips", "lips {degree}parted"
    )

    out = again(own)

    assert made(out) == {"fine": 1}
    assert validate(out) == []


def test_a_changed_word_of_the_scene_makes_scene_and_texts_again(built, again, tmp_path):
    own = own_templates(
        tmp_path / "own", "scene_words.yaml", "word: bright light", "word: plain light"
    )

    out = again(own)

    assert made(out) == {"scene": 1, "fine": 1}
    assert "in plain light" in the_clip(out)["scene"]


def test_all_stages_run_in_the_first_build(built):
    assert made(built[1]) == dict.fromkeys(STAGE_SCHEMAS, 1)
