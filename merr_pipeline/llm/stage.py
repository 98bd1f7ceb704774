"""What a stage is that asks models: it says what to ask, and what row the answers make.

Such a stage runs in the parent of a build, where one door with its limits, budget and cache serves
all clips; the workers know it only by name. It opens no media but what its questions carry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import pyarrow as pa
from pydantic import BaseModel

from merr_pipeline.llm.prices import Usage
from merr_pipeline.llm.questions import Answer, Question
from merr_pipeline.schema import MerrError, Row
from merr_pipeline.settings import Role
from merr_pipeline.stage import NotOk, Stage, Work, fault, not_ok_row, ok_row, one


class Asks(Protocol):
    """The door, as a stage sees it."""

    async def ask(self, question: Question[Any]) -> Answer[Any]:
        """An answer that fits; raises `NotOk` or `MerrError`."""
        ...


class CallStage(Stage):
    """A stage whose rows come from models. ``roles`` are the models that it asks."""

    name: str
    schema: pa.Schema
    roles: tuple[Role, ...] = ()
    at_once = 1_000_000  # a batch waits together; limits are the door's

    def questions(self, work: Work) -> Sequence[Question[Any]]:
        """What is asked about one clip; all are asked at the same time.

        Called in threads, for several clips at once.

        Raises:
            NotOk: there is nothing to ask.
        """
        raise NotImplementedError

    def row(self, work: Work, answers: Sequence[Answer[Any]]) -> Row:
        """The payload that the answers make, in the order of the questions.

        Raises:
            NotOk: they make none.
        """
        raise NotImplementedError

    def likely_answers(self) -> Sequence[BaseModel]:
        """Answers about as long as a model's, for forecasts of what later stages ask with them.

        A stage whose rows no stage that asks models reads needs none.
        """
        raise NotImplementedError

    def likely_row(self, work: Work) -> Row:
        """The row of one clip as it may come out, with all that is measured; nothing is asked."""
        answers = [
            Answer(value, "", "", Usage(), from_cache=False, repaired=False)
            for value in self.likely_answers()
        ]
        return one(lambda work: self.row(work, answers), work)

    def annotate(self, batch: Sequence[Work]) -> list[Row]:
        """Never called: the engine asks by `ask_one`, where the door is."""
        raise RuntimeError("a stage that asks models runs where the door is")

    async def ask_one(self, work: Work, door: Asks) -> Row:
        """The row of one clip. What all questions were answered with is kept, also if one fails.

        Raises:
            MerrError: no clip can be asked about (`ModelUnusable`).
            OSError: the disk of the answer cache is full.
        """
        try:
            questions = await asyncio.to_thread(self.questions, work)  # it may decode for a while
            asked = [door.ask(replace(question, clip=work.clip)) for question in questions]
            answers = await asyncio.gather(*asked, return_exceptions=True)
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
            return ok_row(self.row(work, [a for a in answers if isinstance(a, Answer)]))
        except NotOk as ended:
            return not_ok_row(ended)
        except (MerrError, OSError):
            raise
        except Exception as error:
            return not_ok_row(fault(error))
