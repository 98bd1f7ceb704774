"""Buckets, slots, pauses and waits, in seconds."""

import asyncio
import time
from email.utils import formatdate
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merr_pipeline.llm.limits import Bucket, Limiter, backoff_s, retry_after_s


def test_a_bucket_gives_what_it_holds_and_then_what_flows_in():
    bucket = Bucket(rate=2.0, burst=4.0, now=0.0)

    assert bucket.wait_s(4, 0.0) == 0
    bucket.take(4, 0.0)
    assert bucket.wait_s(1, 0.0) == pytest.approx(0.5)
    assert bucket.wait_s(1, 0.4) == pytest.approx(0.1)
    assert bucket.wait_s(1, 0.5) == pytest.approx(0)


def test_more_than_a_bucket_holds_passes_when_it_is_full_and_is_paid_off_later():
    bucket = Bucket(rate=1.0, burst=2.0, now=0.0)

    assert bucket.wait_s(10, 0.0) == 0
    bucket.take(10, 0.0)
    assert bucket.wait_s(1, 0.0) == pytest.approx(9)


def test_what_was_not_used_comes_back_but_never_more_than_the_bucket_holds():
    bucket = Bucket(rate=1.0, burst=5.0, now=0.0)
    bucket.take(8, 0.0)

    bucket.take(-6, 0.0)
    assert bucket.wait_s(5, 0.0) == pytest.approx(2)
    bucket.take(-100, 0.0)
    bucket.take(5, 0.0)
    assert bucket.wait_s(1, 0.0) == pytest.approx(1)


@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(0.1, 8)), min_size=1, max_size=30),
    st.floats(0.5, 10),
)
def test_a_bucket_never_gives_more_than_its_burst_and_rate(asked, rate):
    burst, now, given_away = 8.0, 0.0, 0.0
    bucket = Bucket(rate, burst, now)
    for pause, amount in asked:
        now += pause
        now += bucket.wait_s(amount, now) + 1e-9
        bucket.take(amount, now)
        given_away += amount
        assert given_away <= burst + rate * now + 1e-6


def go_on() -> None:
    """Nothing stops the calls."""


async def starts(limiter: Limiter, calls: int, tokens: int = 0, takes_s: float = 0.0):
    """When each of some calls started, and how many were in flight at most."""
    begun, flying, most = [], 0, 0
    origin = time.monotonic()

    async def call(number: int) -> None:
        nonlocal flying, most
        async with limiter.slot(tokens, go_on):
            begun.append((number, time.monotonic() - origin))
            flying += 1
            most = max(most, flying)
            await asyncio.sleep(takes_s)
            flying -= 1

    await asyncio.gather(*(call(number) for number in range(calls)))
    return begun, most


def test_no_more_calls_than_allowed_are_in_flight_and_the_first_come_start_first():
    async def run():
        return await starts(Limiter(3), 10, takes_s=0.01)

    begun, most = asyncio.run(run())

    assert most == 3
    assert [number for number, _ in begun] == list(range(10))


def test_requests_are_spread_over_the_minute():
    async def run():
        return await starts(Limiter(50, requests_per_minute=1200), 30)  # 20 a second

    begun, _ = asyncio.run(run())

    times = [time_s for _, time_s in begun]
    assert times[19] < 0.3  # a second's worth at once
    assert times[29] >= 0.49  # ten more, at 20 a second
    assert [number for number, _ in begun] == list(range(30))


def test_tokens_that_were_estimated_and_not_used_are_given_back():
    async def run(used: int | None):
        limiter = Limiter(1, tokens_per_minute=60_000)  # 1000 a second, 10,000 at once
        origin = time.monotonic()
        for _ in range(3):
            async with limiter.slot(3_500, go_on) as slot:
                slot.used_tokens = used
        return time.monotonic() - origin

    assert asyncio.run(run(None)) >= 0.49  # the third lacks 500
    assert asyncio.run(run(100)) < 0.4


def test_a_call_waits_for_its_tokens():
    async def run():
        limiter = Limiter(4, tokens_per_minute=60_000)  # 1000 a second, 10,000 at once
        async with limiter.slot(10_000, go_on):
            pass
        origin = time.monotonic()
        async with limiter.slot(300, go_on):
            return time.monotonic() - origin

    assert 0.29 <= asyncio.run(run()) < 1.5


def test_a_pause_holds_all_calls_and_a_shorter_one_does_not_end_it():
    async def run():
        limiter = Limiter(4)
        limiter.pause(0.2)
        limiter.pause(0.01)
        return await starts(limiter, 4)

    begun, _ = asyncio.run(run())

    assert min(time_s for _, time_s in begun) >= 0.19


def test_a_call_that_is_cancelled_leaves_its_slot_to_the_next():
    async def run():
        limiter = Limiter(1)
        limiter.pause(30)
        waiting = [asyncio.create_task(starts(limiter, 1)) for _ in range(3)]
        await asyncio.sleep(0.01)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        limiter._paused_until = 0
        async with asyncio.timeout(1):
            return await starts(limiter, 1)

    assert asyncio.run(run())[1] == 1


@given(st.integers(1, 40), st.integers())
def test_a_wait_lies_between_nothing_and_the_doubled_first_one(tries, seed):
    assert 0 <= backoff_s(tries, 0.5, 60, Random(seed)) <= min(60, 0.5 * 2 ** (tries - 1))


def test_waits_are_spread_over_their_whole_range():
    waits = sorted(backoff_s(3, 1, 60, Random(seed)) for seed in range(200))

    assert waits[0] < 0.2
    assert waits[-1] > 3.8
    assert 1.7 < waits[100] < 2.3


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": formatdate(1_000_030, usegmt=True)}, 30),
        ({"retry-after": formatdate(999_000, usegmt=True)}, 0),  # has passed
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_the_wait_that_a_server_asks_for_is_understood(headers, wait):
    assert retry_after_s(headers, now=1_000_000.0) == wait
