"""What a build would ask of models, before anything is spent (``merr plan``).

Prompts are made of rows that are there. So a folder is first built up to its questions, which costs
nothing (``merr build … --set llm.max_calls=0``); then some clips' real prompts are counted, and
stand for the rest. What models themselves would add to later prompts is not in them yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from merr_pipeline.build import ANSWERS
from merr_pipeline.clips.hashes import HashMemory
from merr_pipeline.clips.manifest import read_inputs
from merr_pipeline.clips.tables import read_columns
from merr_pipeline.llm.answers import strict_schema
from merr_pipeline.llm.cache import AnswerCache
from merr_pipeline.llm.forecast import Forecast, forecast
from merr_pipeline.llm.prices import Prices, Usage, load_prices
from merr_pipeline.llm.questions import Question
from merr_pipeline.llm.stage import CallStage
from merr_pipeline.pipeline import Pipeline, State, build_stages
from merr_pipeline.request import Request
from merr_pipeline.settings import Role, Settings, load_settings
from merr_pipeline.stage import NotOk, Work
from merr_pipeline.takedown.record import read_record, without_taken_down

SAMPLED = 20  # clips whose prompts are made, spread over all


@dataclass(frozen=True)
class Spending:
    """What one stage would ask of one model; ``forecast`` is None where no prompt could be made."""

    stage: str
    role: Role
    pending: int  # clips
    sampled: int  # of these, clips whose prompts were made
    forecast: Forecast | None


def plan_spending(request: Request) -> list[Spending]:
    """What a build with this request would ask; sends nothing, writes nothing.

    Raises:
        MerrError: the inputs or the settings cannot be read, or a model is not named.
    """
    settings = load_settings(request.profile, request.overrides)
    columns = read_columns(request.mapping, request.preset, settings.templates)
    hashes = HashMemory(request.out / "cache" / "hashes.json")
    found = read_inputs(request.clips, request.manifest, columns, hashes)
    clips = without_taken_down(found, read_record(request.out)).clips
    pipeline = Pipeline(build_stages(settings), request.out)
    pipeline.store.refresh()
    pending = [state for clip in clips if (state := pipeline.plan(clip)).pending]
    prices = load_prices(settings.templates)
    return [
        spending
        for stage in pipeline.stages
        if isinstance(stage, CallStage)
        for spending in _of_stage(stage, pipeline, pending, settings, prices, request.out)
    ]


def _of_stage(
    stage: CallStage,
    pipeline: Pipeline,
    pending: Sequence[State],
    settings: Settings,
    prices: Prices,
    out: Path,
) -> Iterator[Spending]:
    waiting = [pipeline.settled(s.clip) for s in pending if stage.name in s.pending]
    ready = [state for state in waiting if set(stage.needs) <= state.entries.keys()]
    some = ready[:: max(1, len(ready) // SAMPLED)][:SAMPLED]
    asked = [_questions(stage, work) for work in _works(stage, pipeline, some)]
    for role in stage.roles:
        own = [[q for q in questions if q.role == role] for questions in asked]
        count = sum(map(len, own))
        found = None
        if count:
            model = settings.llm.of(role)
            found = forecast(
                model,
                [question.messages for questions in own for question in questions],
                strict_schema(_answer_of(own)),
                round(len(waiting) * count / len(some)),
                prices.of(model.model or ""),
                _earlier(out / ANSWERS, model.model or "", stage.name),
            )
        yield Spending(stage.name, role, len(waiting), len(some), found)


def _works(stage: CallStage, pipeline: Pipeline, states: Sequence[State]) -> list[Work]:
    schemas = {other.name: other.schema.names for other in pipeline.stages}
    found = pipeline.rows(states, {name: schemas[name] for name in stage.needs})
    return [Work(state.clip, rows) for state, rows in zip(states, found, strict=True)]


def _questions(stage: CallStage, work: Work) -> Sequence[Question[Any]]:
    try:
        return stage.questions(work)
    except NotOk:
        return ()


def _earlier(path: Path, model: str, stage: str) -> Usage | None:
    """What this model's answers to this stage took before, where any are kept."""
    if not path.is_file():
        return None
    cache = AnswerCache(path)
    try:
        return cache.mean_usage(model, stage)
    finally:
        cache.close()


def _answer_of(asked: Sequence[Sequence[Question[Any]]]) -> type[BaseModel]:
    """The shape of the answers; all questions of a stage to one model have the same."""
    shape: type[BaseModel] = next(q.answer for questions in asked for q in questions)
    return shape
