"""What was asked, what it took and cost, by stage and model; and the budget that ends it.

A request is reserved before it is sent, at the most that it can cost by estimate, and settled when
it has ended. One that brought nothing back, but that the server may bill all the same, stays at the
most that it can cost: what it did cost nobody here will know. While what is spent and what is
reserved together might pass the budget, the next one waits; when nothing is in flight that could
set money free, the budget is exhausted, for good: what was in flight has been kept, nothing new
starts.

It lives in memory and is written down when the run ends, so what a killed run spent is in no
summary; the answers that it paid for are in the cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from merr_pipeline.llm.failures import CallFailed, may_be_billed
from merr_pipeline.llm.prices import Price, Prices, Usage
from merr_pipeline.schema import MerrError, Reason


@dataclass
class Account:
    """All that one stage asked of one model in this run."""

    stage: str
    model: str
    price: Price | None
    requests: int = 0  # sent, whatever came of it
    unanswered: int = 0  # of these: no answer came
    unknown_cost: int = 0  # of these: the server may bill it all the same (`may_be_billed`)
    unknown_usd: float = 0.0  # the most that the latter may have cost; 0 where there is no price
    from_cache: int = 0  # answers that cost nothing now
    usage: Usage = field(default_factory=Usage)
    unmeasured: int = 0  # answers whose server did not say what they took; counted by estimate
    estimated_prompt: int = 0  # what we thought that the answered prompts were

    @property
    def cost_usd(self) -> float | None:
        """What the answers cost; null where the model has no price."""
        return None if self.price is None else self.price.cost_usd(self.usage)

    def most_usd(self, most: Usage) -> float:
        """The most that a request may cost: its estimate, and as much more as others turned out."""
        if self.price is None:
            return 0.0
        excess = self.usage.prompt / self.estimated_prompt if self.estimated_prompt else 1.0
        return self.price.cost_usd(replace(most, prompt=round(most.prompt * max(1.0, excess))))


@dataclass
class Request:
    """A request that may be sent; the first two are to be set when an answer has come."""

    usage: Usage | None = None  # what it took
    measured: bool = True  # the server has said so; else it is our estimate
    may_be_billed: bool = False  # no answer has come, and yet it may cost something


class Ledger:
    """Counts and budgets of one run; for one event loop."""

    def __init__(
        self, prices: Prices, max_usd: float | None = None, max_calls: int | None = None
    ) -> None:
        self._prices, self._max_usd, self._max_calls = prices, max_usd, max_calls
        self._accounts: dict[tuple[str, str], Account] = {}
        self._sent, self._in_flight, self._reserved_usd = 0, 0, 0.0
        self._settled = asyncio.Event()  # a new one after each request that ends
        self._exhausted: str | None = None

    @property
    def accounts(self) -> list[Account]:
        """One for each stage and model, sorted."""
        return [self._accounts[key] for key in sorted(self._accounts)]

    @property
    def cost_usd(self) -> float | None:
        """What its answers cost so far; null where a model that was asked has no price."""
        costs = [account.cost_usd for account in self.accounts if account.requests]
        known = [cost for cost in costs if cost is not None]
        return sum(known) if len(known) == len(costs) else None

    def check(self, models: dict[str, str]) -> None:
        """Refuse a budget in dollars that could not be kept; ``models`` by the role that asks.

        Raises:
            MerrError: a model has no price.
        """
        unknown = {role: model for role, model in models.items() if not self._prices.of(model)}
        if self._max_usd is None or not unknown:
            return
        listed = ", ".join(f"{model} (llm.{role})" for role, model in unknown.items())
        raise MerrError(
            f"llm.max_usd = {self._max_usd:g} cannot be kept: no price is known for {listed}.\n"
            "Put a prices.yaml with its price (0 for a server of your own) into the folder of the "
            "setting `templates`, or limit llm.max_calls instead."
        )

    def count_hit(self, stage: str, model: str) -> None:
        """An answer came from the cache."""
        self._account(stage, model).from_cache += 1

    def refuse_if_exhausted(self) -> None:
        """Raise ``budget_exhausted`` if a request was refused before: nothing new starts then."""
        if self._exhausted:
            raise CallFailed(Reason.BUDGET_EXHAUSTED, self._exhausted)

    @asynccontextmanager
    async def request(self, stage: str, model: str, most: Usage) -> AsyncIterator[Request]:
        """Hold a request's share of the budget while it is in flight, and count what it took.

        Raises:
            CallFailed: ``budget_exhausted``.
        """
        account = self._account(stage, model)
        most_usd = account.most_usd(most)
        await self._reserve(most_usd)
        request = Request()
        account.requests += 1
        try:
            yield request
        except BaseException as error:
            request.may_be_billed = may_be_billed(error)
            raise
        finally:
            self._reserved_usd -= most_usd
            self._in_flight -= 1
            _count(account, request, most, most_usd)
            self._settled.set()
            self._settled = asyncio.Event()

    async def _reserve(self, most_usd: float) -> None:
        while (why := self._exhausted or self._too_much(most_usd)) and self._may_free(most_usd):
            await self._settled.wait()
        if why:
            self._exhausted = why
            raise CallFailed(Reason.BUDGET_EXHAUSTED, why)
        self._sent += 1
        self._in_flight += 1
        self._reserved_usd += most_usd

    def _too_much(self, most_usd: float) -> str | None:
        if self._max_calls is not None and self._sent >= self._max_calls:
            return f"llm.max_calls = {self._max_calls} is reached"
        if self._max_usd is None:
            return None
        if self._spent_usd() + self._reserved_usd + most_usd > self._max_usd:
            return f"llm.max_usd = {self._max_usd:g} is reached"
        return None

    def _may_free(self, most_usd: float) -> bool:
        """Whether what is in flight could leave enough for this request when it has ended."""
        if self._exhausted or self._in_flight == 0 or self._max_usd is None:
            return False
        calls_left = self._max_calls is None or self._sent < self._max_calls
        return calls_left and self._spent_usd() + most_usd <= self._max_usd

    def _spent_usd(self) -> float:
        accounts = self._accounts.values()
        return sum((account.cost_usd or 0.0) + account.unknown_usd for account in accounts)

    def _account(self, stage: str, model: str) -> Account:
        if (stage, model) not in self._accounts:
            self._accounts[stage, model] = Account(stage, model, self._prices.of(model))
        return self._accounts[stage, model]


def _count(account: Account, request: Request, most: Usage, most_usd: float) -> None:
    if request.usage is None:
        account.unanswered += 1
        if request.may_be_billed:
            account.unknown_cost += 1
            account.unknown_usd += most_usd
        return
    account.unmeasured += not request.measured
    account.usage += request.usage
    account.estimated_prompt += most.prompt
