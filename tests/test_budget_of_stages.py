"""A budget over several stages that ask models of several prices: it ends cleanly, and is kept."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from builds import SAMPLES, build, rows
from made_answers import any_role
from model_server import Asked, ModelServer, Step, slow

from merr_pipeline.llm.messages import text_tokens
from merr_pipeline.request import Request
from merr_pipeline.spending import Spending, plan_spending

pytestmark = pytest.mark.long  # eight builds
CLIPS, MOST_RUNS, MAX_USD = 8, 6, 2.5
PRICES = {"toy-text": (50, 100), "toy-vision": (500, 1000), "toy-audio": (200, 400)}
TOOK = {"toy-text": (1500, 50), "toy-vision": (800, 50), "toy-audio": (250, 50)}  # tokens
STAGES = {"tone": "toy-audio", "scene": "toy-vision", "fine": "toy-text"}

Run = dict[str, Any]


def counted(asked: Asked) -> Step:
    """A good answer, after a moment, that took about as much as the door reckons with."""
    step = any_role(asked)
    completion = json.loads(step.body)
    prompt, said = TOOK[asked.body["model"]]
    completion["usage"] = {
        "prompt_tokens": prompt,
        "completion_tokens": said,
        "total_tokens": prompt + said,
    }
    return slow(replace(step, body=json.dumps(completion).encode()), 0.05)


def cost_usd(requests: Counter[str]) -> float:
    """What so many requests to each model cost."""
    return sum(
        count * sum(n * price for n, price in zip(TOOK[model], PRICES[model], strict=True)) / 1e6
        for model, count in requests.items()
    )


def arguments(server: ModelServer, templates: Path, *more: str) -> list[str]:
    """The profile api with this server for all its roles."""
    limits = ("max_tokens=60", "concurrency=3")
    named = [f"llm.{role}.model=toy-{role}" for role in ("text", "vision", "audio")]
    named += [f"llm.{role}.{limit}" for role in ("text", "vision", "audio") for limit in limits]
    settings = [f"llm.text.base_url={server.url}", f"templates={templates}", *named, *more]
    return ["--profile", "api", *(word for setting in settings for word in ("--set", setting))]


@pytest.fixture(scope="module")
def templates(tmp_path_factory) -> Path:
    """A folder with the prices of the toys."""
    folder = tmp_path_factory.mktemp("templates")
    models = [{"model": m, "input": i, "output": o} for m, (i, o) in PRICES.items()]
    table = {"as_of": "2026-01", "source": "made", "models": models}
    (folder / "prices.yaml").write_text(json.dumps(table))
    return folder


@pytest.fixture(scope="module")
def perceived(tmp_path_factory, templates) -> Path:
    """The samples with all done that costs nothing."""
    out = tmp_path_factory.mktemp("perceived") / "out"
    with ModelServer(counted) as server:
        build(out, *arguments(server, templates, "llm.max_calls=0"), code=1)
        assert server.requests == []
    return out


def run(out: Path, *more: str) -> Run:
    """One build, with what it came to; its exit code says whether a clip failed."""
    samples = ("build", str(SAMPLES), "--manifest", str(SAMPLES / "manifest.csv"))
    command = [sys.executable, "-m", "merr_pipeline.cli", *samples, "--out", str(out), *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert "Traceback" not in done.stdout + done.stderr
    summary: Run = json.loads(max((out / "runs").glob("*.json")).read_text("utf-8"))
    assert done.returncode == (1 if summary["failed_clips"] else 0)
    return summary


def plan(out: Path, *arguments: str) -> dict[str, Spending]:
    """What a build with these arguments would ask, by stage."""
    overrides = tuple(word for word in arguments if "=" in word)
    request = Request(SAMPLES, out, SAMPLES / "manifest.csv", profile="api", overrides=overrides)
    return {one.stage: one for one in plan_spending(request)}


@dataclass(frozen=True)
class Story:
    """Builds with one limit, one after another, until one has no failure."""

    limit: str
    out: Path
    runs: list[Run]
    sent: list[Counter[str]]  # of each: requests by model, as the server counts them
    asked: Counter[str]  # how often each request came, in all of them
    plans: list[dict[str, Spending]]  # by stage, before the first run and after it


@pytest.fixture(scope="module", params=["llm.max_calls=8", f"llm.max_usd={MAX_USD}"])
def story(request, tmp_path_factory, perceived, templates) -> Story:
    out = tmp_path_factory.mktemp("budget") / "out"
    shutil.copytree(perceived, out)
    runs: list[Run] = []
    sent: list[Counter[str]] = []
    with ModelServer(counted) as server:
        given = arguments(server, templates, request.param)
        plans = [plan(out, *given)]
        while len(runs) < MOST_RUNS and (not runs or runs[-1]["failed_clips"]):
            before = len(server.requests)
            runs.append(run(out, *given))
            sent.append(Counter(asked.body["model"] for asked in server.requests[before:]))
            if len(plans) == 1:
                plans.append(plan(out, *given))
        asked = Counter(json.dumps(asked.body) for asked in server.requests)
    return Story(request.param, out, runs, sent, asked, plans)


def test_each_run_but_the_last_ends_with_budget_exhausted_and_nothing_else(story):
    *ended, last = story.runs

    assert 2 <= len(ended) < MOST_RUNS
    for one in ended:
        failed = {reason for reason in one["reasons"] if reason.split(":")[0] in STAGES}
        assert any(reason.endswith(":budget_exhausted") for reason in failed)
        assert all(":budget_exhausted: " in f"{line} " for line in map(_reason, one["failures"]))
    assert last["failed_clips"] == last["unfinished_clips"] == 0


def _reason(line: str) -> str:
    """``tone:budget_exhausted: `` of ``smile: tone budget_exhausted: llm.max_calls = 8 …``."""
    _, stage, reason, *_ = line.split(" ")
    return f"{stage}:{reason.rstrip(':')}: "


def test_no_run_passes_its_limit_and_the_ledger_counts_what_the_server_saw(story):
    for one, sent in zip(story.runs, story.sent, strict=True):
        assert {use["model"]: use["requests"] for use in one["models"] if use["requests"]} == sent
        told = sum(use["cost_usd"] for use in one["models"])
        assert told == pytest.approx(cost_usd(sent))
        if "calls" in story.limit:
            assert sent.total() <= 8
        else:
            assert told <= MAX_USD


def test_a_run_uses_its_budget(story):
    for sent in story.sent[:-1]:
        if "calls" in story.limit:
            assert sent.total() == 8
        else:
            assert cost_usd(sent) > MAX_USD / 2


def test_all_runs_together_pay_for_each_answer_once_and_come_to_the_same_end(story):
    assert set(story.asked.values()) == {1}
    found = rows(story.out, "clips")
    assert len(found) == CLIPS
    assert {row["text_source"] for row in found} == {"llm_blind"}
    assert {row["scene_source"] for row in found} == {"vision_model"}
    all_sent = sum(story.sent, Counter())
    assert story.asked.total() == all_sent.total()
    assert all_sent["toy-text"] == CLIPS  # no text was asked for before its evidence was complete


def test_the_plan_before_any_answer_is_near_what_the_texts_then_take(story):
    bodies = map(json.loads, story.asked)
    texts = [body["messages"] for body in bodies if body["model"] == "toy-text"]
    took = sum(4 + text_tokens(message["content"]) for told in texts for message in told)
    fine = [one["fine"] for one in story.plans]
    reckoned = [one.forecast.prompt_tokens / one.forecast.calls for one in fine]

    assert len(texts) == CLIPS
    assert fine[0].imagined == ("tone", "scene")
    assert set(fine[1].imagined) < {"tone", "scene"}  # some have been answered
    assert all(0.95 * took / CLIPS < prompt < 1.3 * took / CLIPS for prompt in reckoned)
    assert {name: one.imagined for name, one in story.plans[0].items() if name != "fine"} == {
        "tone": (),
        "scene": (),
    }
