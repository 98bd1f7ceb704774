"""Doors for tests: quick retries, a toy answer, one question after another or all at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
from pydantic import BaseModel

from merr_pipeline.llm.client import Door
from merr_pipeline.llm.ledger import Account
from merr_pipeline.llm.messages import user
from merr_pipeline.llm.prices import Price, Prices
from merr_pipeline.llm.questions import Answer, Question
from merr_pipeline.llm.stage import CallStage
from merr_pipeline.schema import Row
from merr_pipeline.settings import LlmSettings
from merr_pipeline.stage import Work

PRICES = Prices(
    as_of="today", source="made", models=(Price(model="toy", input=10.0, output=100.0),)
)
QUICK: dict[str, Any] = {
    "model": "toy",
    "backoff_s": 0.02,
    "timeout_s": 5.0,
    "retries": 3,
    "max_tokens": 50,
}


class Label(BaseModel):
    label: str


def llm(url: str, /, *, max_usd: float | None = None, max_calls: int | None = None, **text: Any):
    model = {"base_url": url, **QUICK, **text}
    return LlmSettings.model_validate({"text": model, "max_usd": max_usd, "max_calls": max_calls})


def question(words: Any = "how is he?", **more: Any) -> Question[Label]:
    messages = words if isinstance(words, tuple) else (user(words),)
    return Question(
        **{"role": "text", "stage": "fine", "messages": messages, "answer": Label, **more}
    )


def open_door(
    settings: LlmSettings,
    folder: Path,
    *,
    roles: Sequence[Any] = ("text",),
    environment: Mapping[str, str] | None = None,
    prices: Prices = PRICES,
) -> Door:
    return Door(settings, roles, folder / "answers.sqlite", prices, environment or {}, Random(0))


class Outcome:
    """What came of some questions put to one door."""

    def __init__(self, results: list[Any], accounts: list[Account], notes: list[str]) -> None:
        self.results, self.accounts, self.notes = results, accounts, notes

    @property
    def answers(self) -> list[Answer[Any]]:
        return [result for result in self.results if isinstance(result, Answer)]

    @property
    def reasons(self) -> list[str]:
        """The reason of each question that failed for its clip; anything else is raised."""
        failed = [result for result in self.results if not isinstance(result, Answer)]
        for result in failed:
            if not hasattr(result, "reason"):
                raise result
        return [str(result.reason) for result in failed]


def ask(
    settings: LlmSettings,
    folder: Path,
    *questions: Question[Any],
    together: bool = False,
    **door: Any,
) -> Outcome:
    """Put the questions to a new door, in order or all at once."""

    async def run() -> Outcome:
        async with open_door(settings, folder, **door) as opened:
            if together:
                asked = (opened.ask(one) for one in questions)
                results: list[Any] = await asyncio.gather(*asked, return_exceptions=True)
            else:
                results = [await _one(opened, one) for one in questions]
            return Outcome(results, opened.ledger.accounts, opened.notes)

    return asyncio.run(run())


async def _one(door: Door, one: Question[Any]) -> Any:
    try:
        return await door.ask(one)
    except Exception as error:
        return error


def row_of(stage: CallStage, work: Work, settings: LlmSettings, folder: Path) -> Row:
    """The row that a stage makes of a clip with a new door, as the store would give it."""

    async def run() -> Row:
        async with open_door(settings, folder, roles=stage.roles) as door:
            return await stage.ask_one(work, door)

    row = {"clip_id": "c", "input_key": "k", "row_hash": "h", **asyncio.run(run())}
    (stored,) = pa.Table.from_pylist([row], schema=stage.schema).to_pylist()
    assert {name: stored[name] for name in row} == row  # every column of it is in the schema
    return stored
