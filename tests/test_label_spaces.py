"""Label spaces as data: each in a real build, by manifest and by rules, and words grouped to it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from builds import rows
from hypothesis import given
from hypothesis import strategies as st
from openface_builds import overrides, write_corpus
from small_builds import build_here

from merr_pipeline.dataset.validate import validate
from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.emotion.rules import load_rules
from merr_pipeline.emotion.spaces import WORDS_TEMPLATE, load_label_space, plain
from merr_pipeline.schema import MerrError
from merr_pipeline.templates import load_template, shipped_folder

OWN = "pleasure"
OWN_SPACE = {"pleased": ["happy"], "displeased": ["sad", "angry", "disgust"], "proud": []}
SPACES = ("merr9", "mer2023", "basic7", "sentiment", OWN)

WRITTEN = {  # by the manifest: what it is in each space
    "Happiness": ("happy", "happy", "happy", "positive", "pleased"),
    "furious": ("angry", "angry", "angry", "negative", "displeased"),
    "disgust": (None, None, "disgust", "negative", "displeased"),
    "worried": ("worried", "worried", None, "negative", None),
    "a bit scornful": ("contempt", None, None, "negative", None),
    "confused": ("doubt", None, None, None, None),
    "proud": (None, None, None, "positive", "proud"),
    "中性": ("neutral", "neutral", "neutral", "neutral", None),
    "dizzy": (None,) * 5,
}
BY_RULES = {  # by the face alone
    "smile": ("happy", "happy", "happy", "positive", "pleased"),
    "frown": ("angry", "angry", "angry", "negative", "displeased"),
    "grief": ("sad", "sad", "sad", "negative", "displeased"),
    "wrinkle": (None, None, "disgust", "negative", "displeased"),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict[str, dict[str, dict]]:
    """Rows of `clips` by space and id; one corpus, one output folder, a build for each space."""
    folder = tmp_path_factory.mktemp("spaces")
    given = [
        {"clip_id": f"given_{i}", "face": "still", "label": label, "transcript": f"Line {i}."}
        for i, label in enumerate(WRITTEN)
    ]
    seen = [{"clip_id": f"seen_{face}", "face": face} for face in BY_RULES]
    write_corpus(folder, [*given, *seen])
    templates = folder / "templates"
    templates.mkdir()
    spaces = load_template("label_spaces.yaml").data["spaces"] | {OWN: OWN_SPACE}
    (templates / "label_spaces.yaml").write_text(
        yaml.safe_dump({"spaces": spaces}, sort_keys=False, allow_unicode=True), "utf-8"
    )
    found = {}
    for space in SPACES:
        more = (f"label.space={space}", f"templates={templates}")
        build_here(
            *(folder / "clips", folder / "out", *overrides(folder, *more)),
            manifest=folder / "manifest.csv",
        )
        assert validate(folder / "out", folder / "clips") == []
        found[space] = {row["clip_id"]: row for row in rows(folder / "out", "clips")}
        found[f"{space} records"] = {
            row["record_id"]: row
            for name in ("coarse", "fine")
            for row in rows(folder / "out", name)
        }
    return found


@pytest.mark.long
@pytest.mark.parametrize("space", SPACES)
class TestEverySpaceInABuild:
    def test_takes_the_manifests_labels_in_its_own_words(self, built, space):
        at = SPACES.index(space)
        for i, (written, wanted) in enumerate(WRITTEN.items()):
            row = built[space][f"given_{i}"]
            assert (row["label_space"], row["label"]) == (space, wanted[at]), written
            assert row["label_source"] == ("manifest" if wanted[at] else None)
            assert ("label:label_unknown" in row["flags"]) == (wanted[at] is None)
            assert row["open_labels"] == ([] if written == wanted[at] else [written])

    def test_takes_the_rules_labels_in_its_own_words(self, built, space):
        at = SPACES.index(space)
        for face, wanted in BY_RULES.items():
            row = built[space][f"seen_{face}"]
            assert row["label"] == wanted[at], face
            assert row["label_source"] == ("au_rules" if wanted[at] else None)
            labels = load_template("label_spaces.yaml").data["spaces"].get(space, OWN_SPACE)
            assert {c["label"] for c in row["label_candidates"]} <= set(labels)

    def test_asks_for_its_own_labels_and_gets_one_of_them(self, built, space):
        labels = load_template("label_spaces.yaml").data["spaces"].get(space, OWN_SPACE)
        records = built[f"{space} records"]
        asked = [record for record in records.values() if record["task"] == "emotion"]

        assert bool(asked) == (space != "sentiment")
        for record in asked:
            question, answer = (message["content"] for message in record["messages"])
            assert ", ".join(labels) in question
            assert answer == record["label"] in labels

    def test_has_fine_records_that_name_the_label(self, built, space):
        noun = {"happy": "happiness", "positive": "positive feeling", "pleased": "pleased"}
        row = built[space]["seen_smile"]
        record = built[f"{space} records"]["seen_smile:fine:reason"]

        assert noun[row["label"]] in record["messages"][1]["content"]


def test_the_sentiment_space_has_sentiment_questions_for_every_label(built):
    answers = {
        record["messages"][1]["content"]
        for record in built["sentiment records"].values()
        if record["task"] == "sentiment"
    }

    assert answers == {"positive", "negative", "neutral"}


def test_words_of_a_manifest_are_kept_and_grouped(built):
    row = built["merr9"]["given_4"]

    assert row["open_labels"] == ["a bit scornful"]
    assert row["open_label_groups"] == [
        {"word": "a bit scornful", "base": "scornful", "label": "contempt"}
    ]
    unknown = built["merr9"]["given_8"]["open_label_groups"]
    assert unknown == [{"word": "dizzy", "base": None, "label": None}]


class TestWords:
    @pytest.mark.parametrize(
        ("word", "base", "labels"),
        [
            # in merr9, mer2023, basic7, sentiment
            ("Annoyance", "irritated", ("angry", "angry", "angry", "negative")),
            ("slightly annoyed", "irritated", ("angry", "angry", "angry", "negative")),
            ("overjoyed", "delighted", ("happy", "happy", "happy", "positive")),
            ("in tears", "tearful", ("sad", "sad", "sad", "negative")),
            ("panic", "terrified", ("fear", None, "fear", "negative")),
            ("nervous", "nervous", ("worried", "worried", None, "negative")),
            ("astonished", "astonished", ("surprise", "surprise", "surprise", None)),
            ("puzzled", "confused", ("doubt", None, None, None)),
            ("relief", "relieved", (None, None, None, "positive")),
            ("无奈", "frustrated", (None, None, None, "negative")),
            ("not happy", None, (None, None, None, None)),
            ("very", None, (None, None, None, None)),
            ("", None, (None, None, None, None)),
        ],
    )
    def test_lead_to_their_base_word_and_to_the_label_of_its_group(self, word, base, labels):
        for space, label in zip(SPACES, labels, strict=False):
            assert load_label_space(space).place(word) == {
                "word": word,
                "base": base,
                "label": label,
            }

    def test_every_word_of_the_list_leads_to_one_base_that_leads_to_itself(self):
        space = load_label_space("merr9")
        for written, (base, group) in space.bases.items():
            assert space.place(written)["base"] == base, written
            assert space.place(base)["base"] == base
            assert space.place(written)["label"] == space.spellings.get(group), written

    def test_the_list_and_the_spellings_of_the_spaces_do_not_contradict_each_other(self):
        for name in SPACES[:4]:
            space = load_label_space(name)
            for written, label in space.spellings.items():
                _, group = space.bases.get(written, (None, None))
                if group is not None and group in space.spellings:
                    assert space.spellings[group] == label, (name, written)

    def test_no_rule_leads_to_a_label_that_is_not_its_own(self):
        rules = load_rules(load_action_units())
        for name in SPACES[:3]:
            space = load_label_space(name)
            for label in (*rules.labels, rules.neutral.label):
                assert space.find(label) in (label, None)

    @given(st.text(max_size=30))
    def test_any_text_has_a_place(self, word):
        placed = load_label_space("merr9").place(word)

        assert placed["word"] == word
        assert placed["base"] is None or placed["base"] in load_label_space("merr9").bases
        if placed["base"] is None and plain(word) not in load_label_space("merr9").spellings:
            assert placed["label"] is None

    def test_a_list_of_the_users_own_replaces_ours(self, tmp_path):
        (tmp_path / WORDS_TEMPLATE).write_text(
            "degrees: [kind of]\ngroups: {happy: {chuffed: [chuff]}}", "utf-8"
        )
        space = load_label_space("merr9", tmp_path)

        assert space.find("kind of chuff") == "happy"
        assert space.find("overjoyed") is None
        assert space.find("joy") == "happy"  # a spelling of the space itself
        assert space.sha256 != load_label_space("merr9").sha256

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "degrees: []\ngroups: {a: {one: [x]}, b: {two: [X]}}",
                "'X' belongs to one and to two",
            ),
            ("groups: {a: {one: [x]}}", "degrees"),
            ("degrees: []\ngroups: {a: [one]}", "groups.a"),
        ],
    )
    def test_a_list_that_contradicts_itself_is_refused(self, tmp_path, text, message):
        (tmp_path / WORDS_TEMPLATE).write_text(text, "utf-8")

        with pytest.raises(
            MerrError, match=rf"(?s)template emotion_words\.yaml is wrong.*{message}"
        ):
            load_label_space("merr9", tmp_path)


def test_the_examples_in_the_documentation_hold():
    assert load_label_space("merr9").find("Anger ") == "angry"
    assert load_label_space("merr9").find("irritated") == "angry"
    assert load_label_space("sentiment").find("proud") == "positive"
    assert load_label_space("mer2023").find("scornful") is None
    assert Path(shipped_folder() / WORDS_TEMPLATE).is_file()
