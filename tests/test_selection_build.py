"""A whole build in which models disagree with labels, and one whose fine set is balanced."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import pytest
from builds import hashes, merr, rows
from made_answers import evidence_of
from model_server import Asked, ModelServer, Step, answer
from openface_builds import overrides, write_corpus
from small_builds import build_here

from merr_pipeline.build import look_at
from merr_pipeline.dataset.validate import validate
from merr_pipeline.request import Request
from merr_pipeline.schema import MerrError
from merr_pipeline.templates import shipped_folder

pytestmark = pytest.mark.long  # six builds


def opinion(asked: Asked) -> Step:
    """Of clips with cross words both models say angry, of others happy; torn ones part them."""
    cross = "cross" in str(evidence_of(asked))
    if asked.body["model"] == "second":
        torn = "torn" in str(evidence_of(asked))
        return answer({"label": "sad" if torn else "angry" if cross else "happy", "confidence": 1})
    label, noun = ("angry", "anger") if cross else ("happy", "happiness")
    sign = next(item["say"] for item in evidence_of(asked) if item["about"] == "face")
    seen = f"In the video, the person shows {sign}."
    end = f"None of the measured facial actions supports {noun}."
    text = f"{seen} {end}" if cross else f"{seen} Taken together, this face points to {noun}."
    more: dict[str, Any] = {"open_labels": ["irritated"], "cues": [], "conflicts": []}
    return answer({"label": label, "confidence": 0.9, "text": text, **more})


def by_models(folder: Path, url: str, *more: str) -> tuple[str, ...]:
    by_model = ("fine.by=model", "fine.second=true", f"llm.text.base_url={url}")
    models = ("llm.text.model=text", "llm.second.model=second", "engine.workers=1")
    return overrides(folder, *by_model, *models, *more)


def asked_build(folder: Path, server: ModelServer, *more: str) -> tuple[Path, str]:
    out = folder / "out"
    told = by_models(folder, server.url, *more)
    settings = [word for setting in told for word in ("--set", setting)]
    printed = merr(
        *("build", folder / "clips", "--manifest", folder / "manifest.csv", "--out", out),
        *settings,
    )
    return out, printed


SMILING = {"face": "smile", "language": "en"}
CLIPS = [
    SMILING | {"clip_id": "agreed", "label": "happy", "transcript": "Fine words."},
    SMILING | {"clip_id": "by_person", "label": "happy", "transcript": "A cross word."},
    SMILING | {"clip_id": "by_rules", "transcript": "Another cross word."},
    SMILING | {"clip_id": "torn", "transcript": "A cross and torn word."},
    SMILING | {"clip_id": "by_nobody", "transcript": "Nobody said."},
]


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """One corpus, built by two policies; the second asks models nothing new."""
    folder = write_corpus(tmp_path_factory.mktemp("judged"), CLIPS)
    found: dict[str, Any] = {"folder": folder}
    with ModelServer(opinion) as server:
        for policy, more in (
            ("careful", ()),
            ("pseudo_labels", ("label.sources=[manifest]",)),
        ):
            out, printed = asked_build(folder, server, f"dataset.agreement={policy}", *more)
            assert validate(out, folder / "clips") == []
            tables = {
                name: {row["clip_id"]: row for row in rows(out, name)}
                for name in ("clips", "fine", "rejected")
            }
            summary = json.loads(max((out / "runs").glob("*.json")).read_text("utf-8"))
            card = (out / "dataset" / "README.md").read_text("utf-8")
            found[policy] = tables | {"printed": printed, "summary": summary, "card": card}
    return found


class TestAgreement:
    def test_a_persons_label_that_models_contradict_stays_and_is_flagged(self, judged):
        row = judged["careful"]["clips"]["by_person"]

        assert (row["label"], row["label_source"], row["llm_label"]) == (
            *("happy", "manifest", "angry"),
        )
        assert row["review"] == {
            "ratings": None,
            "mean": None,
            "verdict": "needs_review",
            "why": "the blind model names another label",
        }
        assert "dataset:needs_review" in row["flags"]
        assert "by_person" not in judged["careful"]["fine"]  # its text is about another label

    def test_where_all_agree_the_label_is_accepted(self, judged):
        row = judged["careful"]["clips"]["agreed"]

        assert row["review"]["verdict"] == "accept"
        assert row["quality"]["agreement"] == 1.0
        assert (
            row["quality"]["agreement"]
            > judged["careful"]["clips"]["by_person"]["quality"]["agreement"]
        )
        assert "agreed" in judged["careful"]["fine"]

    def test_a_label_of_the_rules_that_both_models_contradict_costs_the_clip_its_place(
        self, judged
    ):
        row = judged["careful"]["rejected"]["by_rules"]

        assert "by_rules" not in judged["careful"]["clips"]
        assert (row["stage"], row["reason"]) == ("dataset", "label_conflict")
        assert row["detail"] == (
            "two models name one other label than the Action Unit rules: label happy (au_rules); "
            "au_rules happy 1.00; llm_blind angry 0.90; second angry"
        )
        assert judged["careful"]["clips"]["torn"]["review"]["verdict"] == "needs_review"

    def test_the_summary_counts_verdicts_and_tells_of_the_conflict(self, judged):
        found = judged["careful"]

        assert found["summary"]["verdicts"] == {"accept": 2, "needs_review": 2}
        assert found["summary"]["rejected"] == 1
        assert found["summary"]["failed_clips"] == 0
        assert "left out: by_rules: dataset label_conflict" in found["printed"].replace("\n", " ")
        assert "2 clips need review" in found["printed"]
        assert "To be reviewed (`review.why`): 2." in found["card"]
        assert "| dataset | label_conflict | 1 |" in found["card"]

    def test_pseudo_labels_fill_only_what_nobody_has_labelled(self, judged):
        found = judged["pseudo_labels"]["clips"]

        labels = {name: (row["label"], row["label_source"]) for name, row in found.items()}
        assert labels == {
            "agreed": ("happy", "manifest"),
            "by_person": ("happy", "manifest"),
            "by_nobody": ("happy", "llm_blind"),
            "by_rules": (None, None),  # the face, which is heard, says happy
            "torn": (None, None),
        }
        assert found["by_nobody"]["label_confidence"] == 0.9
        assert judged["pseudo_labels"]["fine"]["by_nobody"]["label"] == "happy"
        assert judged["pseudo_labels"]["fine"]["by_nobody"]["label_source"] == "llm_blind"

    def test_the_status_tells_of_the_conflict_too(self, judged):
        folder = judged["folder"]
        told = by_models(folder, "http://localhost:1/v1")
        manifest = folder / "manifest.csv"
        view = look_at(Request(folder / "clips", folder / "out", manifest, overrides=told))

        assert view.pending_clips == 0
        assert [line.partition(": two")[0] for line in view.left_out] == [
            "by_rules: dataset label_conflict"
        ]

    def test_a_policy_is_applied_to_answers_that_are_there(self, judged):
        assert judged["pseudo_labels"]["summary"]["made"]["fine"]["ok"] == 5
        assert judged["pseudo_labels"]["summary"]["models"][0]["requests"] == 0

    def test_who_decided_is_in_the_provenance(self, judged):
        entries = judged["careful"]["clips"]["agreed"]["provenance"]
        tools = {entry["stage"]: entry["tool"] for entry in entries}

        assert tools["agreement"] == "policy careful"
        assert tools["open_labels"] == "label space merr9"

    def test_the_models_own_words_are_grouped(self, judged):
        assert judged["careful"]["clips"]["agreed"]["open_label_groups"] == [
            {"word": "irritated", "base": "irritated", "label": "angry"}
        ]


MANY = [
    *({"clip_id": f"happy_{i}", "face": "smile", "label": "happy"} for i in range(6)),
    *({"clip_id": f"sad_{i}", "face": "grief", "label": "sad"} for i in range(3)),
    *({"clip_id": f"neutral_{i}", "face": "still", "label": "neutral"} for i in range(6)),
    {"clip_id": "unknown", "face": "still"},
]
PLANS = """
plans:
  all: null
  pairs:
    {equal: 2, neutral: {label: neutral, share: 0.5}, undecided: false, verdicts: [accept],
     order: quality}
  few:
    {limits: {happy: 1, sad: 1}, undecided: true, verdicts: [accept], order: hash}
"""


class Corpus:
    """A folder of clips with plans of its own, and what was built of it."""

    def __init__(self, folder: Path, clips: list[dict[str, str]]) -> None:
        self.folder, self.out = write_corpus(folder, clips), folder / "out"
        templates = folder / "templates"
        templates.mkdir(exist_ok=True)
        (templates / "selection.yaml").write_text(PLANS, "utf-8")

    def build(self, plan: str):
        own = (f"templates={self.folder / 'templates'}", f"dataset.select={plan}")
        told = overrides(self.folder, *own)
        summary, printed = build_here(
            self.folder / "clips", self.out, *told, manifest=self.folder / "manifest.csv"
        )
        assert validate(self.out, self.folder / "clips") == []
        return summary, printed

    def fine(self) -> Counter:
        return Counter(row["label"] for row in rows(self.out, "fine"))

    def ids(self) -> set[str]:
        return {row["clip_id"] for row in rows(self.out, "fine")}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("many"), MANY)


class TestSelection:
    def test_by_default_every_clip_with_a_text_is_in_fine(self, corpus):
        summary, printed = corpus.build("all")

        assert corpus.fine() == {"happy": 6, "sad": 3, "neutral": 6, None: 1}
        assert {row["fine_selection"] for row in rows(corpus.out, "clips")} == {None}
        assert summary.fine_selection == {}
        assert "fine records of the clips" not in printed
        assert "## The fine set" not in (corpus.out / "dataset/README.md").read_text("utf-8")

    def test_a_plan_balances_fine_and_leaves_clips_and_coarse_as_they_are(self, corpus):
        corpus.build("all")
        coarse = rows(corpus.out, "coarse")
        summary, printed = corpus.build("pairs")

        assert corpus.fine() == {"happy": 3, "sad": 3, "neutral": 6}
        assert rows(corpus.out, "coarse") == coarse
        assert len(rows(corpus.out, "clips")) == len(MANY)
        states = Counter(row["fine_selection"] for row in rows(corpus.out, "clips"))
        assert states == {"chosen": 12, "over_quota": 3, "undecided": 1}
        assert summary.fine_selection == states
        assert sum(sum(counts.values()) for counts in summary.made.values()) == 0
        assert "fine records of the clips: chosen 12, over_quota 3, undecided 1" in printed
        card = (corpus.out / "dataset/README.md").read_text("utf-8")
        assert "| happy | 3 | 3 | 3 | 0 |" in card
        assert "| selection | plan pairs |" in card

    def test_it_loads_as_before(self, corpus, monkeypatch, tmp_path):
        corpus.build("pairs")
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
        datasets.disable_progress_bars()
        loaded = datasets.load_dataset(str(corpus.out / "dataset"), "fine")

        assert sum(len(part) for part in loaded.values()) == 12

    def test_the_same_clips_give_the_same_bytes_whatever_was_chosen_before(self, corpus):
        corpus.build("few")
        first = hashes(corpus.out)
        assert corpus.fine() == {"happy": 1, "sad": 1, "neutral": 6, None: 1}
        corpus.build("pairs")
        assert hashes(corpus.out) != first
        corpus.build("few")

        assert hashes(corpus.out) == first
        assert corpus.build("few")[0].worked_on == 0

    def test_added_clips_push_no_more_out_than_they_are(self, tmp_path):
        small = Corpus(tmp_path / "grows", MANY[:-5])
        small.build("few")
        before = small.ids()
        grown = Corpus(tmp_path / "grows", MANY)
        grown.build("few")

        assert before <= grown.ids()  # the added ones are of labels without a limit
        assert len(grown.ids()) == len(before) + 5

    def test_a_record_of_a_clip_that_was_left_out_does_not_pass_validation(self, corpus):
        from merr_pipeline.dataset.row_checks import _faults_of_record, _Parts

        corpus.build("pairs")
        record = rows(corpus.out, "fine")[0]
        clip = next(r for r in rows(corpus.out, "clips") if r["clip_id"] == record["clip_id"])
        parts = _Parts("fine", record["split"], 0, 1)

        assert list(_faults_of_record(record, parts, clip)) == []
        assert list(_faults_of_record(record, parts, clip | {"fine_selection": "over_quota"})) == [
            "belongs to a clip that the selection left out (over_quota)"
        ]

    def test_a_plan_that_is_not_there_is_told_of_before_anything_runs(self, corpus):
        with pytest.raises(MerrError, match=r"dataset\.select: 'as_paper' is not in"):
            corpus.build("as_paper")


def test_the_command_line_names_a_plan_too(corpus):
    settings = [word for one in overrides(corpus.folder) for word in ("--set", one)]
    given = ("--manifest", corpus.folder / "manifest.csv", "--out", corpus.out)
    printed = merr("build", corpus.folder / "clips", *given, *settings, "--select", "as_paper")

    # nine others are 69.87 % of 12.88
    assert "chosen 13, over_quota 2, undecided 1" in printed
    assert (shipped_folder() / "selection.yaml").is_file()
