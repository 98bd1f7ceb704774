"""The door: asks a model a question, and gives back an answer of the wanted shape or a reason.

::

    async with Door(settings.llm, roles, out / "cache" / "llm.sqlite", load_prices()) as door:
        answer = await door.ask(Question("text", "fine", (system(...), user(...)), FineAnswer))
        answer.value  # a FineAnswer

An answer that was paid for before comes from the cache. Else the door waits its turn at the
server's limits and for its share of the budget, asks, tries again where the server fails, shows
the model once what is wrong with an answer that does not fit, and keeps what fits. An answer that
is being mended is kept too, as a draft, so that whatever happens meanwhile, it is not paid again.

``ask`` raises `CallFailed` (a `NotOk`: the clip's row, with its reason) or `ModelUnusable` (the run
cannot go on). After the latter, after the end of the budget, and for a server that fails question
after question, what the cache does not hold is refused at once, and nothing more is sent.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary

import openai

from merr_pipeline.llm.answers import (
    Schema,
    UnfitError,
    read_answer,
    repair_turns,
    response_format,
    strict_schema,
    with_instruction,
)
from merr_pipeline.llm.cache import AnswerCache, Stored, request_key
from merr_pipeline.llm.failures import (
    CallFailed,
    JsonModeUnsupported,
    ModelUnusable,
    Unlucky,
    understand,
)
from merr_pipeline.llm.ledger import Ledger
from merr_pipeline.llm.limits import backoff_s
from merr_pipeline.llm.messages import Message, as_sent, estimate_prompt
from merr_pipeline.llm.prices import Prices, Usage
from merr_pipeline.llm.questions import Answer, M, Question
from merr_pipeline.llm.replies import Reply, read_completion
from merr_pipeline.llm.servers import Asked, open_servers
from merr_pipeline.schema import PASSES_WITH_TIME, Reason
from merr_pipeline.settings import LlmSettings, Role
from merr_pipeline.stage import NotOk

T = TypeVar("T")


@dataclass(frozen=True)
class _Talk(Generic[M]):
    """One question on its way to an answer.

    ``held`` has the slot of the last call until what it gave is on disk: so a kill can never cost
    more answers than calls may be in flight.
    """

    asked: Asked
    question: Question[M]
    schema: Schema
    key: str
    held: AsyncExitStack


class Door:
    """Asks models for one run, in one event loop; limits, budget and cache have this one owner.

    Args:
        settings: the section ``llm``.
        roles: what the run will ask for; each must have a model and its key.
        cache: where the answer cache lies; it is made where there is none.
        prices: the price table.
        environment: holds the keys.
        random: draws the waits between tries.

    Raises:
        MerrError: a role has no model, no server or no key; or ``max_usd`` with a model whose price
            is unknown.
    """

    def __init__(
        self,
        settings: LlmSettings,
        roles: Collection[Role],
        cache: Path,
        prices: Prices,
        environment: Mapping[str, str] = os.environ,
        random: Random | None = None,
    ) -> None:
        self._asked = open_servers(settings, roles, environment)
        self.ledger = Ledger(prices, settings.max_usd, settings.max_calls)
        self.ledger.check({role: asked.model for role, asked in self._asked.items()})
        self._cache = AnswerCache(cache)
        self._disk = ThreadPoolExecutor(1, "answers")  # SQLite may wait for another process
        self._random = random or Random()
        self._alone: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._unusable: str | None = None

    @property
    def notes(self) -> list[str]:
        """What a user must be told of: a cache that was set aside, say."""
        return self._cache.notes

    @property
    def is_unusable(self) -> bool:
        """Whether the run cannot go on: nothing more is sent; what is on its way may still come."""
        return self._unusable is not None

    async def __aenter__(self) -> Door:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close connections and cache; answers that have come are kept first."""
        try:
            for client in {
                id(asked.client): asked.client for asked in self._asked.values()
            }.values():
                await client.close()
        finally:
            self._disk.shutdown()
            self._cache.close()

    async def ask(self, question: Question[M]) -> Answer[M]:
        """An answer that fits; the same question asked meanwhile waits for it.

        Raises:
            NotOk: there is none; `CallFailed`, or what ``check`` gave.
            ModelUnusable: there cannot be any, for no clip.
            OSError: the disk of the cache is full.
        """
        asked = self._asked[question.role]
        schema = strict_schema(question.answer)
        key = request_key(asked.settings, question.messages, schema, question.sample)
        lock = self._alone.setdefault(key, asyncio.Lock())
        async with lock, AsyncExitStack() as held:
            talk = _Talk(asked, question, schema, key, held)
            stored = await self._on_disk(self._cache.get, key, question.clip)
            if stored is not None:
                self.ledger.count_hit(question.stage, asked.model)
            answer = await self._converse(talk, stored)
            if not answer.from_cache or (stored is not None and stored.is_draft):
                kept = (asked.model, answer.text, answer.usage, question.clip, question.stage)
                await self._on_disk(self._cache.put, key, *kept)
            return answer

    async def _converse(self, talk: _Talk[M], stored: Stored | None) -> Answer[M]:
        """Take what is stored or ask; where it does not fit, have it mended.

        A stored answer cannot but have the right shape; one without was damaged and is asked anew.
        A draft that fits by now is an answer: what is asked of answers may have changed.
        """
        question, model = talk.question, talk.asked.model
        if stored is not None:
            first = Reply(stored.text, stored.usage)
        else:
            first = await self._reply(talk, question.messages)
        try:
            value = _fit(question, first.text)
            return Answer(value, first.text, model, first.usage, stored is not None, False)
        except (UnfitError, NotOk) as unfit:
            wrong = unfit
        if stored is None:
            kept = (first.text, first.usage, question.clip)
            await self._on_disk(self._cache.put_draft, talk.key, *kept)
        elif isinstance(wrong, UnfitError) and not stored.is_draft:
            return await self._converse(talk, None)
        return await self._mend(talk, first, str(wrong))

    async def _mend(self, talk: _Talk[M], first: Reply, wrong: str) -> Answer[M]:
        """Show the model once what is wrong with its answer.

        The draft stays where the next run may go on from it; a failure that does not pass with time
        ends it.
        """
        question = talk.question
        messages = (*question.messages, *repair_turns(first.text, wrong))
        try:
            second = await self._reply(talk, messages)
            value = _fit(question, second.text)
        except UnfitError as unfit:
            await self._on_disk(self._cache.drop_draft, talk.key)
            raise CallFailed(Reason.ANSWER_INVALID, str(unfit)) from None
        except NotOk as ended:
            if ended.reason not in PASSES_WITH_TIME:
                await self._on_disk(self._cache.drop_draft, talk.key)
            raise
        usage = first.usage + second.usage
        return Answer(value, second.text, talk.asked.model, usage, False, True)

    async def _reply(self, talk: _Talk[M], messages: tuple[Message, ...]) -> Reply:
        """Send it until the server answers, or has failed as often as it may."""
        asked, tries = talk.asked, 0
        while True:
            await talk.held.aclose()  # the slot of the call before
            try:
                return await self._request(talk, messages)
            except JsonModeUnsupported as unsupported:
                asked.step_down(unsupported.mode)
            except Unlucky as failure:
                await talk.held.aclose()
                tries += 1
                if tries > asked.settings.retries:
                    asked.give_up()
                    raise CallFailed(failure.reason, f"{failure.detail}; {tries} tries") from None
                await self._wait(asked, failure, tries)

    async def _wait(self, asked: Asked, failure: Unlucky, tries: int) -> None:
        """Let some time pass before the next try; where the server says how long, for all."""
        settings = asked.settings
        wait = backoff_s(tries, settings.backoff_s, settings.max_wait_s, self._random)
        if failure.retry_after_s is not None:
            pause = min(failure.retry_after_s, settings.max_wait_s)
            asked.limiter.pause(pause)
            wait = pause + self._random.uniform(0, min(settings.backoff_s, pause))
        await asyncio.sleep(wait)

    async def _request(self, talk: _Talk[M], messages: tuple[Message, ...]) -> Reply:
        """One request: wait for leave, send, count, understand.

        What is sent is made when it may be sent: media take memory, and meanwhile the server may
        have said that it lacks a JSON mode.
        """
        asked, question = talk.asked, talk.question
        prompt = estimate_prompt(messages)
        most = prompt + Usage(completion=asked.settings.max_tokens)
        tokens = prompt.prompt + asked.expected_completion
        slot = await talk.held.enter_async_context(
            asked.limiter.slot(tokens, lambda: self._refuse(asked))
        )
        async with self.ledger.request(question.stage, asked.model, most) as request:
            body = _body(asked, question.sample, messages, talk.schema)
            completion = await self._send(asked, body)
            reply, measured = read_completion(completion, prompt)
            request.usage, request.measured = reply.usage, measured
            slot.used_tokens = reply.usage.total
            asked.answered(reply.usage.completion)
        return reply.accepted(asked.secret)

    async def _send(self, asked: Asked, body: dict[str, Any]) -> Any:
        """The SDK's answer, whatever it is, within the time limit."""
        limit_s = asked.settings.timeout_s
        try:
            async with asyncio.timeout(limit_s):  # the SDK's own starts anew with each byte
                return await asked.client.chat.completions.create(**body, timeout=limit_s)
        except (openai.OpenAIError, TimeoutError, ValueError) as error:
            meant = understand(error, asked.role, asked.model, asked.secret, body)
        if isinstance(meant, ModelUnusable):
            self._unusable = str(meant)
        raise meant

    def _refuse(self, asked: Asked) -> None:
        """Raise if nothing more shall be sent to this model."""
        if self._unusable is not None:
            raise ModelUnusable(self._unusable)
        if asked.is_down:
            raise CallFailed(Reason.MODEL_UNREACHABLE, "it failed too many questions in a row")
        self.ledger.refuse_if_exhausted()

    async def _on_disk(self, action: Callable[..., T], *values: Any) -> T:
        """Do it in the cache's thread; what has begun is ended even if nobody waits for it."""
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self._disk, action, *values))


def _fit(question: Question[M], text: str) -> M:
    value = read_answer(text, question.answer)
    wrong = question.check(value) if question.check else None
    if wrong is not None:
        raise wrong
    return value


def _body(
    asked: Asked, sample: int, messages: tuple[Message, ...], schema: Schema
) -> dict[str, Any]:
    """The fields of the request, as the SDK takes them."""
    settings, mode = asked.settings, asked.json_mode
    told = messages if mode == "schema" else with_instruction(messages, schema)
    fields = {
        "model": settings.model,
        "messages": as_sent(told, settings.audio_part),
        "temperature": settings.temperature,
        "seed": None if settings.seed is None else settings.seed + sample,
        settings.limit_name: settings.max_tokens,
        "response_format": response_format(schema, mode),
        "extra_body": settings.extra or None,
    }
    return {name: value for name, value in fields.items() if value is not None}
