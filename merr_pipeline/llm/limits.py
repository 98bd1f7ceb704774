"""How fast a server may be asked: calls in flight, requests and tokens a minute, waits and pauses.

Waiting is fair: whoever came first starts first.
"""

from __future__ import annotations

import asyncio
import email.utils
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

REQUEST_BURST_S = 1.0  # what may come at once: this many seconds' worth, and one call at least
TOKEN_BURST_S = 10.0


class Bucket:
    """A token bucket that may go into debt, so that a call larger than it can still pass.

    ``rate`` is per second; a full bucket holds ``burst``. Times are seconds of a steady clock.
    """

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate, self.burst = rate, burst
        self._level, self._then = burst, now

    def wait_s(self, amount: float, now: float) -> float:
        """Seconds until ``amount`` may be taken; of more than a full bucket: until it is full."""
        self._fill(now)
        missing = min(amount, self.burst) - self._level
        return max(0.0, missing / self.rate)

    def take(self, amount: float, now: float) -> None:
        """Take this much; a negative amount gives back what was taken and not used."""
        self._fill(now)
        self._level = min(self.burst, self._level - amount)

    def _fill(self, now: float) -> None:
        self._level = min(self.burst, self._level + (now - self._then) * self.rate)
        self._then = now


@dataclass
class Slot:
    """Leave to make one call, for an estimated number of tokens."""

    estimated_tokens: int
    used_tokens: int | None = None  # to be set when the server has said it


class Limiter:
    """The limits of one model on one server, shared by all who ask it."""

    def __init__(
        self,
        concurrency: int,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ) -> None:
        now = time.monotonic()
        self._free = asyncio.Semaphore(concurrency)
        self._turn = asyncio.Lock()
        self._paused_until = now
        self._requests = _bucket(requests_per_minute, REQUEST_BURST_S, 1.0, now)
        self._tokens = _bucket(tokens_per_minute, TOKEN_BURST_S, 0.0, now)

    @asynccontextmanager
    async def slot(self, tokens: int, refuse: Callable[[], None]) -> AsyncIterator[Slot]:
        """Wait for leave to make a call of about this many tokens, and hold it while it runs.

        ``refuse`` raises when no call shall start any more; who waits then need not go on waiting.
        """
        async with self._free:
            async with self._turn:
                refuse()
                while (wait := self._wait_s(tokens)) > 0:
                    await asyncio.sleep(wait)
                    refuse()
                self._take(1, tokens)
            slot = Slot(tokens)
            try:
                yield slot
            finally:
                if slot.used_tokens is not None:
                    self._take(0, slot.used_tokens - slot.estimated_tokens)

    def pause(self, seconds: float) -> None:
        """Start no call for so long: the server has asked for it."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def _wait_s(self, tokens: int) -> float:
        now = time.monotonic()
        waits = [self._paused_until - now]
        if self._requests:
            waits.append(self._requests.wait_s(1, now))
        if self._tokens:
            waits.append(self._tokens.wait_s(tokens, now))
        return max(waits)

    def _take(self, requests: int, tokens: int) -> None:
        now = time.monotonic()
        if self._requests and requests:
            self._requests.take(requests, now)
        if self._tokens:
            self._tokens.take(tokens, now)


def _bucket(per_minute: float | None, burst_s: float, least: float, now: float) -> Bucket | None:
    if per_minute is None:
        return None
    rate = per_minute / 60
    return Bucket(rate, max(least, rate * burst_s), now)


def backoff_s(tries: int, first_s: float, most_s: float, random: Random) -> float:
    """How long to wait after ``tries`` failed tries: exponential with full jitter.

    Anything from 0 to ``first_s`` doubled with each further try, so that calls that failed
    together do not come back together. See "Exponential Backoff And Jitter", AWS, 2015.
    """
    return random.uniform(0, min(most_s, first_s * 2.0 ** (tries - 1)))


def retry_after_s(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """The wait that a server asks for: ``retry-after-ms``, or ``Retry-After`` (seconds or a date).

    ``now`` is seconds since 1970. None where it says nothing that can be understood.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after", "")
    seconds = _number(text)
    if seconds is not None:
        return seconds
    try:
        date = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, date - (time.time() if now is None else now))


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None
