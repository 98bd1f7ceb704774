"""What ``merr plan`` tells: sums, and what it reckons with where no model has answered yet."""

from __future__ import annotations

import io

from rich.console import Console

from merr_pipeline.llm.forecast import Forecast, total
from merr_pipeline.llm.stage import CallStage
from merr_pipeline.pipeline import build_stages
from merr_pipeline.running import print_spending
from merr_pipeline.scene.objective import load_scene_prompt
from merr_pipeline.settings import load_settings
from merr_pipeline.speech.tone_model import ToneModelStage
from merr_pipeline.spending import Spending

TONE = Forecast("hear", 10, 2_000, 500, "earlier answers", 0.25, 0.5, "concurrency")
FINE = Forecast("write", 20, 30_000, 8_000, "max_tokens", 1.5, 2.0, "tokens_per_minute")


def printed(*found: Spending) -> list[str]:
    console = Console(width=200, file=io.StringIO(), record=True)
    print_spending(found, console)
    return console.export_text().splitlines()


def test_a_total_is_the_sum_and_at_most_where_one_is():
    assert total([TONE, FINE]) == Forecast(
        "", 30, 32_000, 8_500, "max_tokens", 1.75, 2.5, "tokens_per_minute"
    )
    assert total([TONE, TONE]).completion_from == "earlier answers"


def test_a_total_with_something_that_has_no_price_has_none():
    free = Forecast("own", 1, 1, 1, "max_tokens", None, 0.1, "concurrency")

    assert total([TONE, free]).cost_usd is None


def test_the_table_ends_with_a_total():
    lines = printed(Spending("tone", "audio", 10, 5, TONE), Spending("fine", "text", 20, 5, FINE))

    (line,) = (line for line in lines if line.split()[:1] == ["total"])
    assert " ".join(line.split()) == "total 30 32,000 at most 8,500 at most $1.75 2.50"


def test_one_stage_alone_needs_no_total():
    assert not any("total" in line for line in printed(Spending("fine", "text", 20, 5, FINE)))


def test_what_is_reckoned_with_for_want_of_answers_is_said():
    known = printed(Spending("fine", "text", 20, 5, FINE))
    made_up = printed(Spending("fine", "text", 20, 5, FINE, ("tone", "scene")))

    assert not any("no model has answered" in line for line in known)
    assert "fine: no model has answered for tone or scene yet; what they will" in "\n".join(made_up)


def test_the_likely_scene_is_one_that_would_be_kept_and_half_as_long_as_it_may_be():
    prompt = load_scene_prompt()
    answer = prompt.likely_answer()

    assert prompt.what_is_wrong(answer) is None
    assert len(answer.scene.split()) == prompt.limits.scene // 2
    assert len(set(answer.gestures)) == prompt.limits.entries // 2


def test_the_likely_tone_fits_what_the_model_is_asked():
    named = ("tone.by=model", "llm.audio.base_url=http://localhost/v1", "llm.audio.model=toy")
    stage = ToneModelStage(load_settings(overrides=named, environment={}))
    (answer,) = stage.likely_answers()
    said = answer.model_dump()

    assert "not audible" not in said.values()
    assert said["nonverbal"] == said["background"] == []


def test_whoever_asks_models_before_another_does_has_likely_answers():
    by_model = ("tone.by=model", "scene.by=model", "fine.by=model")
    named = [f"llm.{role}.model=toy" for role in ("text", "vision", "audio")]
    server = "llm.text.base_url=http://localhost/v1"
    stages = build_stages(load_settings(overrides=[*by_model, *named, server], environment={}))
    asking = {stage.name for stage in stages if isinstance(stage, CallStage)}
    read = {need for stage in stages if stage.name in asking for need in stage.needs}

    assert asking & read == {"tone", "scene"}
    assert all(stage.likely_answers() for stage in stages if stage.name in asking & read)
