"""``merr templates``: who reads which template, which file is in use, and how it differs."""

from __future__ import annotations

import difflib
import hashlib
import shutil
from collections import defaultdict
from pathlib import Path

import pytest
from builds import merr

from merr_pipeline import pipeline, templates
from merr_pipeline.clips.tables import read_columns
from merr_pipeline.dataset.decisions import Decisions
from merr_pipeline.dataset.texts import TEXTS_STAGE, check_templates
from merr_pipeline.evaluation.judge import load_prompt
from merr_pipeline.evaluation.reading import load_rules
from merr_pipeline.llm.prices import load_prices
from merr_pipeline.report.published import load_published
from merr_pipeline.schema import MerrError
from merr_pipeline.settings import load_settings
from merr_pipeline.template_use import READ_BY, differences, find, in_use
from merr_pipeline.templates import shipped_folder

SHIPPED = shipped_folder()


@pytest.fixture
def own(tmp_path) -> Path:
    """A folder with one changed template and one that is as shipped."""
    folder = tmp_path / "own"
    folder.mkdir()
    text = (SHIPPED / "coarse_caption.yaml").read_text("utf-8")
    (folder / "coarse_caption.yaml").write_text(text.replace("'Saying: ", "'Words: "), "utf-8")
    shutil.copy(SHIPPED / "questions.yaml", folder)
    return folder


# --- who reads what ------------------------------------------------------------------------------

SERVER = ("base_url=http://localhost:1/v1", "model=toy")
WAYS = (  # settings under which each template is read by somebody
    (),
    (
        *(f"llm.{role}.{entry}" for role in ("text", "vision", "audio") for entry in SERVER),
        *("tone.by=model", "scene.by=model", "fine.by=model"),
    ),
    ("face.tool=blendshapes",),
    ("coarse.language=zh", "dataset.select=as_paper"),
)


def read_for_assembly(settings):
    check_templates(settings)
    Decisions.load(settings)


STAGES = {
    "probe": pipeline.ProbeStage,
    "voice": pipeline.VoiceStage,
    "transcript": pipeline.TranscriptStage,
    "face": pipeline.FaceStage,
    "moment": pipeline.MomentStage,
    "tone": pipeline._tone_stage,
    "scene": pipeline._scene_stage,
    "label": pipeline.LabelStage,
    "fine": pipeline._fine_stage,
    TEXTS_STAGE: read_for_assembly,
    "manifest": lambda settings: read_columns("", "dfew", settings.templates),
    "budget": lambda settings: load_prices(settings.templates),
    "report": lambda settings: load_published(settings.templates),
    "evaluate": lambda settings: (load_rules(settings.templates), load_prompt(settings.templates)),
}


def test_each_template_is_read_by_those_that_the_list_names(monkeypatch):
    reads: list[str] = []
    read = templates._read
    monkeypatch.setattr(
        templates, "_read", lambda path, name: (reads.append(name), read(path, name))[1]
    )
    found = defaultdict(set)
    for overrides in WAYS:
        settings = load_settings(overrides=overrides, environment={})
        for stage, make in STAGES.items():
            reads.clear()
            make(settings)
            for name in reads:
                found[name].add(stage)
    found["asr_gates.yaml"].add("transcript")  # where asr is asked: it needs a recogniser

    assert {name: set(readers) for name, readers in READ_BY.items()} == found


def test_the_list_has_every_shipped_template_and_no_other():
    assert sorted(READ_BY) == sorted(path.name for path in SHIPPED.glob("*.yaml"))


# --- in use --------------------------------------------------------------------------------------


def test_each_template_has_its_hash_and_says_whose_it_is(own):
    used = {one.template.name: one for one in in_use(own)}

    assert sorted(used) == sorted(READ_BY)
    assert {name for name, one in used.items() if one.is_own} == {
        "coarse_caption.yaml",
        "questions.yaml",
    }
    for name, one in used.items():
        path = (own if one.is_own else SHIPPED) / name
        assert one.template.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert used["tone_words.yaml"].version == "2"
    assert used["questions.yaml"].version == ""
    assert used["questions.yaml"].read_by == ("dataset",)


@pytest.mark.parametrize("name", ["coarse_caption", "coarse_caption.yaml"])
def test_the_file_in_use_is_the_users_own_where_there_is_one(own, name):
    assert find(name, own).text == (own / "coarse_caption.yaml").read_text("utf-8")
    assert find(name, None).text == (SHIPPED / "coarse_caption.yaml").read_text("utf-8")


def test_a_name_that_no_template_has_is_refused_with_the_nearest():
    with pytest.raises(MerrError, match=r"called tone_word\. Did you mean tone_words\.yaml"):
        find("tone_word", None)


# --- differences ---------------------------------------------------------------------------------


def test_only_what_differs_is_shown_as_a_unified_diff(own):
    lines = list(differences(None, own))

    assert lines[:2] == ["--- shipped/coarse_caption.yaml", f"+++ {own}/coarse_caption.yaml"]
    assert [line for line in lines[2:] if line[0] in "+-"] == [
        "-words: 'Saying: \"{transcript}\"'",
        "+words: 'Words: \"{transcript}\"'",
    ]
    assert list(differences(own, None)) == lines
    shipped, changed = (
        (folder / "coarse_caption.yaml").read_text("utf-8").splitlines()
        for folder in (SHIPPED, own)
    )
    assert lines[2:] == list(difflib.unified_diff(shipped, changed, lineterm=""))[2:]


def test_the_same_templates_give_no_line(tmp_path):
    shutil.copy(SHIPPED / "questions.yaml", tmp_path)

    assert list(differences(tmp_path, None)) == []
    assert list(differences(SHIPPED, None)) == []


def test_line_ends_alone_are_a_difference(tmp_path):
    text = (SHIPPED / "questions.yaml").read_bytes()
    (tmp_path / "questions.yaml").write_bytes(text.replace(b"\n", b"\r\n"))

    assert list(differences(tmp_path, None))


def test_the_templates_of_a_build_are_compared_whole(tmp_path):
    saved = tmp_path / "out" / "dataset" / "templates"
    shutil.copytree(SHIPPED, saved, ignore=shutil.ignore_patterns("*.md"))
    assert list(differences(tmp_path / "out", None)) == []

    (saved / "questions.yaml").unlink()
    (saved / "older.yaml").write_text("a: 1\n")

    assert list(differences(tmp_path / "out", None)) == [
        f"Only in {saved}: older.yaml",
        "Only shipped: questions.yaml",
    ]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: None, "no templates folder of your own"),
        (lambda path: path / "nowhere", "is not a folder"),
        (lambda path: path, "holds no templates, and no dataset"),
    ],
)
def test_where_there_is_nothing_to_compare_it_says_so(tmp_path, make, told):
    with pytest.raises(MerrError, match=told):
        list(differences(make(tmp_path), None))


def test_a_template_by_a_wrong_name_is_told(tmp_path):
    (tmp_path / "questions.yaml").write_text("a: 1\n")
    (tmp_path / "qestions.yaml").write_text("a: 1\n")

    with pytest.raises(MerrError, match=r"no template is called qestions\.yaml"):
        list(differences(tmp_path, None))


def test_a_file_that_is_no_text_is_told(tmp_path):
    (tmp_path / "questions.yaml").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(MerrError, match="is not UTF-8"):
        list(differences(tmp_path, None))


# --- the command ---------------------------------------------------------------------------------


def test_the_command_prints_and_its_exit_code_tells(own, tmp_path):
    chosen = ("--set", f"templates={own}")

    listed = merr("templates", "list", *chosen).splitlines()
    assert len(listed) == 1 + len(READ_BY)
    [line] = [line for line in listed if line.startswith("action_units.yaml")]
    assert line.split(maxsplit=2)[2] == "shipped   face, moment, label, fine, dataset"
    [line] = [line for line in listed if line.startswith("coarse_caption.yaml")]
    sha256 = hashlib.sha256((own / "coarse_caption.yaml").read_bytes()).hexdigest()
    assert line.split() == ["coarse_caption.yaml", sha256[:12], "your", "own", "dataset"]
    shown = merr("templates", "show", "coarse_caption", *chosen)
    assert shown == (own / "coarse_caption.yaml").read_text("utf-8")
    assert "+words: 'Words: " in merr("templates", "diff", *chosen, code=1)
    assert merr("templates", "diff", SHIPPED) == ""
    assert "no templates folder of your own" in merr("templates", "diff", code=2)
