"""A whole build whose texts are written by a model: planned, paid for once, ended by a budget."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from builds import SAMPLES, build, merr, rows
from made_answers import any_role, reasoned
from model_server import ModelServer, status

pytestmark = pytest.mark.long  # five builds
CLIPS = 8


def by_model(server: ModelServer, *more: str) -> list[str]:
    settings = ["fine.by=model", f"llm.text.base_url={server.url}", "llm.text.model=toy", *more]
    return [word for setting in settings for word in ("--set", setting)]


def last_run(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(max((out / "runs").glob("*.json")).read_text("utf-8"))
    return found


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Perception, the plan, a build with a budget, the rest of it, and one more."""
    out = tmp_path_factory.mktemp("asked") / "out"
    with ModelServer(reasoned) as server:
        free = by_model(server, "llm.max_calls=0")
        printed = {"free": build(out, *free, code=1)}
        after_free = len(server.requests)
        given = ("--manifest", SAMPLES / "manifest.csv", "--out", out)
        printed["plan"] = merr("plan", SAMPLES, *given, *by_model(server))
        after_plan = len(server.requests)
        one = by_model(server, "llm.max_calls=3", "llm.text.concurrency=2")
        printed["budget"] = build(out, *one, code=1)
        budget = last_run(out)
        printed["rest"] = build(out, *by_model(server))
        after_rest = len(server.requests)
        rest = last_run(out)
        printed["again"] = build(out, *by_model(server))
        counts = (after_free, after_plan, after_rest, len(server.requests))
    return out, printed, counts, budget, rest


def test_perception_and_plan_ask_nothing(asked):
    _, printed, (after_free, after_plan, _, _), _, _ = asked

    assert after_free == after_plan == 0
    assert f"fine:budget_exhausted {CLIPS}" in printed["free"]


def test_the_plan_counts_the_calls_and_the_tokens_of_real_prompts(asked):
    plan = asked[1]["plan"]

    line = next(line for line in plan.splitlines() if line.strip().startswith("fine"))
    stage, model, clips, calls, tokens = line.split()[:5]
    assert (stage, model, clips, calls) == ("fine", "toy", "8", "8")
    assert int(tokens.replace(",", "")) > 8 * 500  # a prompt has some thousand letters
    assert "no price" in line


def test_a_budget_ends_the_run_with_what_it_paid_for_and_the_next_run_pays_the_rest(asked):
    _, printed, (_, _, after_rest, after_again), budget, rest = asked

    assert budget["models"][0]["requests"] == 3
    assert budget["stages"]["fine"] == {"failed": CLIPS - 3, "ok": 3}
    assert rest["models"][0]["requests"] == CLIPS - 3
    assert after_rest == after_again == CLIPS
    assert (
        "fine asked toy: 3 requests, 0 answers from the cache, 300 + 60 tokens" in printed["budget"]
    )
    assert "nothing is pending" in printed["again"]


def test_the_records_hold_the_models_text_label_and_source(asked):
    found = rows(asked[0], "clips")

    assert len(found) == CLIPS
    texts = [row["fine_caption"] for row in found]
    assert all("typical of happiness" in text for text in texts)
    assert sum(text.startswith("In the video, the person seems to show") for text in texts) == 7
    assert {row["llm_label"] for row in found} == {"happy"}
    smile = next(row for row in found if row["clip_id"] == "smile")
    assert smile["llm_agrees"] is True
    made_by = next(p for p in smile["provenance"] if p["stage"] == "fine")
    assert made_by["model"] == "toy"
    merr("validate", "--out", asked[0], "--clips", SAMPLES)


def test_a_wrong_key_stops_the_build_with_what_to_do(tmp_path):
    with ModelServer([status(401, "invalid api key")]) as server:
        printed = build(tmp_path / "out", *by_model(server), code=2)

    assert re.search(r"key", printed)
    assert "Traceback" not in printed


def test_a_profile_that_asks_models_without_naming_one_is_refused_at_once(tmp_path):
    printed = build(tmp_path / "out", "--profile", "api", code=2)

    assert "llm.text.base_url" in printed
    assert not (tmp_path / "out").exists()


def test_the_profile_api_asks_for_scene_tone_and_text(tmp_path):
    out = tmp_path / "out"
    with ModelServer(any_role) as server:
        named = [f"llm.{role}.model=toy-{role}" for role in ("text", "vision", "audio")]
        more = [word for one in named for word in ("--set", one)]
        printed = build(out, "--profile", "api", "--set", f"llm.text.base_url={server.url}", *more)

    models = {use["stage"]: use["model"] for use in last_run(out)["models"]}
    assert models == {"tone": "toy-audio", "scene": "toy-vision", "fine": "toy-text"}
    found = {row["clip_id"]: row for row in rows(out, "clips")}
    assert len(found) == CLIPS
    smile = found["smile"]
    assert smile["scene"] == "A person is in the middle of the picture, in a room."
    assert smile["scene_source"] == "vision_model"
    assert smile["tone_source"] == "audio_model"
    assert "laugh" in smile["tone"]
    assert "very fast" not in smile["tone"]  # the measures say otherwise
    assert smile["text_source"] == "llm_blind"
    assert "tone asked toy-audio: " in printed
    merr("validate", "--out", out, "--clips", SAMPLES)
