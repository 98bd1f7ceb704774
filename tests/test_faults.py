"""A thousand clips and a server that fails every fifth time, in every way: whole runs."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from builds import merr, rows
from filled_stores import asking, clip_of, fill_store, is_repair
from made_answers import reasoned, ungrounded
from model_server import HANG, Asked, ModelServer, Step, answer, said, slow, status

pytestmark = pytest.mark.long
CLIPS, FAULTY = 1000, 0.2
TOO_LARGE = "request_too_large"

FAULTS: dict[str, Callable[[Asked], Step]] = {
    "rate limit": lambda _: status(429, retry_after="0.05"),
    "error": lambda _: status(500),
    "unavailable": lambda _: status(503),
    "hang": lambda _: HANG,
    "cut": lambda asked: replace(reasoned(asked), cut=True),
    "no JSON": lambda _: said("The person seems happy to me."),
    "half JSON": lambda _: said('{"label": "happy", "conf'),
    "wrong shape": lambda _: answer({"mood": "happy"}),
    "ungrounded": ungrounded,
    "empty": lambda _: said(""),
    "refusal": lambda _: said(None, refusal="I do not judge people."),
    "too long": lambda _: said('{"label": "hap', finish="length"),
    "too large": lambda _: status(413, "request entity too large"),
    "no schemas": lambda _: status(400, "response_format json_schema is not supported"),
    "wrong key": lambda _: status(401, "invalid api key", "invalid_api_key"),
    "wrong model": lambda _: status(404, "no model toy", "model_not_found"),
}
ENDING = ("wrong key", "wrong model")  # a run; drawn for no clip
UNFIT = ("no JSON", "half JSON", "wrong shape", "ungrounded")  # shown to the model once
REASONS = {  # what becomes of a clip whose last answer was that
    "good": None,
    "slow": None,
    "no JSON": "answer_invalid",
    "half JSON": "answer_invalid",
    "wrong shape": "answer_invalid",
    "ungrounded": "ungrounded",
    "empty": "answer_empty",
    "refusal": "model_refused",
    "too long": "answer_cut",
    "too large": TOO_LARGE,
    "rate limit": "model_rate_limit",
    "error": "model_server_error",
    "unavailable": "model_server_error",
    "hang": "model_timeout",
    "cut": "model_unreachable",
}


@dataclass(frozen=True)
class Turn:
    """One request about a clip."""

    run: int
    is_repair: bool


@dataclass
class Faulty:
    """Draws for each request of each clip what comes of it, whatever the order they come in."""

    share: float = FAULTY
    end_at: tuple[int, str] | None = None  # request of this run that ends it, and how
    told: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # clip -> steps
    turns: dict[str, list[Turn]] = field(default_factory=lambda: defaultdict(list))
    run: int = 0
    asked: int = 0  # in this run

    def __call__(self, asked: Asked) -> Step:
        clip, self.asked = clip_of(asked), self.asked + 1
        kind = self._kind(asked, clip)
        self.told[clip].append(kind)
        self.turns[clip].append(Turn(self.run, is_repair(asked)))
        if kind in ("good", "slow"):
            return slow(reasoned(asked), 1.0 if kind == "slow" else 0.1)
        return FAULTS[kind](asked)

    def _kind(self, asked: Asked, clip: str) -> str:
        if self.end_at is not None and self.asked >= self.end_at[0]:
            return self.end_at[1]
        dice = Random(f"{clip} {len(self.told[clip])}")
        if dice.random() >= self.share:
            return "slow" if dice.random() < 0.02 else "good"
        kinds = [kind for kind in FAULTS if kind not in ENDING]
        if asked.body.get("response_format", {}).get("type") != "json_schema":
            kinds.remove("no schemas")  # it has just been asked without
        return dice.choice(kinds)


@dataclass(frozen=True)
class Ran:
    """One run of the command, seen from outside."""

    printed: str
    sent: int  # requests that came to the server
    failed: dict[str, str]  # clip -> reason
    summary: dict[str, Any]


@dataclass(frozen=True)
class Story:
    """Four runs over one folder, and what the server said in all of them."""

    out: Path
    runs: list[Ran]
    told_before_retry: dict[str, list[str]]
    told: dict[str, list[str]]
    turns: dict[str, list[Turn]]


@pytest.fixture(scope="module")
def story(tmp_path_factory) -> Story:
    """Wrong key in mid run, wrong model in mid run, faults of all other kinds, and all well."""
    out = fill_store(tmp_path_factory.mktemp("faults"), CLIPS)
    faulty = Faulty()
    with ModelServer(faulty) as server:
        settings = asking(server, concurrency=64, timeout_s=8, backoff_s=0.02)

        def run(code: int, *more: str, **changes: Any) -> Ran:
            faulty.run, faulty.asked, faulty.end_at = faulty.run + 1, 0, None
            for name, value in changes.items():
                setattr(faulty, name, value)
            printed = merr("build", out.parent / "clips", "--out", out, *settings, *more, code=code)
            written = sorted((out / "runs").glob("*.json")) if (out / "runs").exists() else []
            summary = json.loads(written[-1].read_text("utf-8")) if written else {}
            words = [line.split() for line in summary.get("failures", [])]
            failed = {clip.rstrip(":"): reason.rstrip(":") for clip, _, reason, *_ in words}
            return Ran(printed, faulty.asked, failed, summary)

        runs = [
            run(2, end_at=(200, "wrong key")),
            run(2, end_at=(300, "wrong model")),
            run(1),
        ]
        before = {clip: list(steps) for clip, steps in faulty.told.items()}
        runs.append(run(0, "--retry", share=0.0))
    return Story(out, runs, before, dict(faulty.told), dict(faulty.turns))


def test_a_wrong_key_and_a_wrong_model_end_the_run_with_what_to_do(story):
    key, model, *_ = story.runs

    assert "valid key" in key.printed
    assert "llm.text.model" in model.printed
    assert not any("Traceback" in run.printed for run in story.runs)
    assert key.summary == model.summary == {}  # no dataset was published
    assert all(run.sent < end + 64 for run, end in ((key, 200), (model, 300)))


def test_every_kind_of_fault_was_met_and_about_every_fifth_request_failed(story):
    kinds = Counter(kind for steps in story.told_before_retry.values() for kind in steps)

    assert set(kinds) == {*FAULTS, "good", "slow"}
    drawn = sum(count for kind, count in kinds.items() if kind not in (*ENDING, "good", "slow"))
    assert 0.17 < drawn / (drawn + kinds["good"] + kinds["slow"]) < 0.23


def test_each_clip_ends_done_or_with_the_reason_that_the_server_gave_it_last(story):
    last = {clip: REASONS[steps[-1]] for clip, steps in story.told_before_retry.items()}
    expected = {clip: reason for clip, reason in last.items() if reason is not None}
    faults = story.runs[2]

    assert len(last) == CLIPS
    assert faults.failed == expected
    assert faults.summary["stages"]["fine"] == {
        "failed": len(expected),
        "ok": CLIPS - len(expected),
    }
    assert set(expected.values()) >= {
        "answer_empty", "model_refused", "answer_cut", "request_too_large",
    }  # fmt: skip


def test_no_answer_is_paid_for_twice_and_nothing_is_asked_but_after_a_fault(story):
    good = Counter({clip: sum(k in ("good", "slow") for k in s) for clip, s in story.told.items()})

    assert len(good) == CLIPS
    assert set(good.values()) == {1}
    assert {steps[-1] in ("good", "slow") for steps in story.told.values()} == {True}


def mending(steps: list[str]) -> Iterator[bool]:
    """Whether each request of a clip has to be a repair turn, by what was said before it."""
    has_draft = False
    for kind in steps:
        yield has_draft
        if kind in UNFIT:
            has_draft = not has_draft
        elif REASONS.get(kind) in ("answer_empty", "model_refused", "answer_cut", TOO_LARGE):
            has_draft = False


def test_an_answer_that_needs_repair_is_never_asked_for_again_while_it_may_be_mended(story):
    found = {clip: [turn.is_repair for turn in turns] for clip, turns in story.turns.items()}
    assert found == {clip: list(mending(steps)) for clip, steps in story.told.items()}

    resumed = [
        now for turns in story.turns.values() for then, now in pairwise(turns) if then.run < now.run
    ]
    assert any(turn.is_repair for turn in resumed)  # a run ended between an answer and its repair


def test_a_rerun_asks_for_what_failed_alone_and_finishes_it(story):
    *_, faults, rest = story.runs

    assert rest.sent == len(faults.failed)
    assert rest.failed == {}
    found = rows(story.out, "clips")
    assert len(found) == CLIPS
    assert all("typical of happiness" in row["fine_caption"] for row in found)


def test_the_ledger_counts_what_the_server_saw(story):
    for run in story.runs[2:]:
        assert sum(use["requests"] for use in run.summary["models"]) == run.sent
