"""What a build would ask of models, before anything is spent (``merr plan``).

Prompts are made of rows that are there. So a folder is first built up to its questions, which costs
nothing (``merr build … --max-calls 0``); then some clips' real prompts are counted, and stand for
the rest. What models are yet to say goes into later prompts as they have said it of other clips;
where they have said nothing at all, as long as the templates let expect (`CallStage.likely_row`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from merr_pipeline.schema import PASSES_WITH_TIME, Row, Status
from merr_pipeline.settings import Role, Settings, load_settings
from merr_pipeline.stage import NotOk, Work
from merr_pipeline.store import Entry
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
    imagined: tuple[str, ...] = ()  # stages of which it reads rows, and of which there is none yet


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
    planned = [pipeline.plan(clip) for clip in clips]
    prices = load_prices(settings.templates)
    return [
        spending
        for stage in pipeline.stages
        if isinstance(stage, CallStage)
        for spending in _of_stage(stage, pipeline, planned, settings, prices, request.out)
    ]


def _of_stage(
    stage: CallStage,
    pipeline: Pipeline,
    planned: Sequence[State],
    settings: Settings,
    prices: Prices,
    out: Path,
) -> Iterator[Spending]:
    waiting = [pipeline.settled(s.clip) for s in planned if stage.name in s.pending]
    ready = [state for state in waiting if set(stage.needs) <= state.entries.keys()]
    some = _sample(ready)
    answered = _answered(stage, pipeline, planned)
    asked = [_questions(stage, work) for work in _works(stage, pipeline, some, answered)]
    imagined = tuple(name for name, rows in answered.items() if not rows)
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
        yield Spending(stage.name, role, len(waiting), len(some), found, imagined)


def _sample(states: Sequence[State]) -> Sequence[State]:
    return states[:: max(1, len(states) // SAMPLED)][:SAMPLED]


def _asked_before(stage: CallStage, pipeline: Pipeline) -> dict[str, CallStage]:
    """The stages that ask models themselves and whose rows this one reads, in their order."""
    stages = (other for other in pipeline.stages if other.name in stage.needs)
    return {other.name: other for other in stages if isinstance(other, CallStage)}


def _answered(
    stage: CallStage, pipeline: Pipeline, planned: Sequence[State]
) -> dict[str, list[Row]]:
    """Rows that models have answered, of each stage that asks them before this one."""
    found: dict[str, list[Row]] = {}
    for name, other in _asked_before(stage, pipeline).items():
        having = _sample([s for s in planned if name in s.entries and _is_ok(s.entries[name])])
        rows = pipeline.rows(having, {name: other.schema.names})
        found[name] = [row[name] for row in rows]
    return found


def _is_ok(entry: Entry) -> bool:
    return entry.status == Status.OK


def _works(
    stage: CallStage,
    pipeline: Pipeline,
    states: Sequence[State],
    answered: Mapping[str, Sequence[Row]],
) -> list[Work]:
    """The clips as the stage will see them, where need be with rows that are only likely."""
    before = _asked_before(stage, pipeline)
    wanted = {*stage.needs, *(name for other in before.values() for name in other.needs)}
    schemas = {other.name: other.schema.names for other in pipeline.stages if other.name in wanted}
    works = []
    for number, rows in enumerate(pipeline.rows(states, schemas)):
        for name, other in before.items():
            if _waits(rows[name]):
                known, clip = answered[name], states[number].clip
                likely = known[number % len(known)] if known else other.likely_row(Work(clip, rows))
                rows[name] = {**rows[name], **likely}
        works.append(Work(states[number].clip, rows))
    return works


def _waits(row: Row) -> bool:
    """Whether a row says only that nobody has been asked yet."""
    return row["status"] == Status.FAILED and row["reason"] in PASSES_WITH_TIME


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
