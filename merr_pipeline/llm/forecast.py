"""What a run will ask, take and cost, before anything is spent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from merr_pipeline.llm.answers import Schema, instruction
from merr_pipeline.llm.messages import Message, estimate_prompt, text_tokens
from merr_pipeline.llm.prices import Price, Usage
from merr_pipeline.settings import ModelSettings

FIRST_TOKEN_S = 1.0  # until an answer begins; assumed where nothing better is known
TOKENS_PER_S = 40.0  # at which it is then written; servers differ tenfold

BoundBy = Literal["concurrency", "requests_per_minute", "tokens_per_minute"]


@dataclass(frozen=True)
class Forecast:
    """What one role of one stage comes to; repairs and retries come on top."""

    model: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    completion_from: Literal["earlier answers", "max_tokens"]  # the latter is the most it can be
    cost_usd: float | None  # null where the model has no price
    hours: float
    bound_by: BoundBy  # which setting makes it take so long


def forecast(
    settings: ModelSettings,
    samples: Sequence[Sequence[Message]],
    schema: Schema,
    clips: int,
    price: Price | None,
    earlier: Usage | None = None,
) -> Forecast:
    """What ``clips`` questions like the samples come to.

    Args:
        settings: the model that is asked.
        samples: real prompts, one at least.
        schema: what it must answer.
        clips: how many will ask.
        price: of that model.
        earlier: what answers of this model took on average (`AnswerCache.mean_usage`).
    """
    told = 0 if settings.json_mode == "schema" else text_tokens(instruction(schema))
    prompts = [estimate_prompt(sample) + Usage(prompt=told) for sample in samples]
    completion = settings.max_tokens if earlier is None else earlier.completion
    one = Usage.mean(prompts) + Usage(completion=completion)
    hours, bound_by = _hours(settings, clips, one)
    return Forecast(
        model=settings.model or "",
        calls=clips,
        prompt_tokens=one.prompt * clips,
        completion_tokens=one.completion * clips,
        completion_from="max_tokens" if earlier is None else "earlier answers",
        cost_usd=price.cost_usd(one) * clips if price else None,
        hours=hours,
        bound_by=bound_by,
    )


def total(forecasts: Sequence[Forecast]) -> Forecast:
    """All of them together; the hours are those of one after the other.

    The cost is null where one has none, and the completions are the most that they can be where one
    of them is.
    """
    costs = [one.cost_usd for one in forecasts if one.cost_usd is not None]
    at_most = any(one.completion_from == "max_tokens" for one in forecasts)
    slowest = max(forecasts, key=lambda one: one.hours)
    return Forecast(
        model="",
        calls=sum(one.calls for one in forecasts),
        prompt_tokens=sum(one.prompt_tokens for one in forecasts),
        completion_tokens=sum(one.completion_tokens for one in forecasts),
        completion_from="max_tokens" if at_most else "earlier answers",
        cost_usd=sum(costs) if len(costs) == len(forecasts) else None,
        hours=sum(one.hours for one in forecasts),
        bound_by=slowest.bound_by,
    )


def _hours(settings: ModelSettings, clips: int, one: Usage) -> tuple[float, BoundBy]:
    call_s = FIRST_TOKEN_S + one.completion / TOKENS_PER_S
    times_s: dict[BoundBy, float] = {
        "concurrency": math.ceil(clips / settings.concurrency) * call_s,
        "requests_per_minute": 60 * clips / (settings.requests_per_minute or math.inf),
        "tokens_per_minute": 60 * clips * one.total / (settings.tokens_per_minute or math.inf),
    }
    bound_by = max(times_s, key=lambda name: times_s[name])
    return times_s[bound_by] / 3600, bound_by
