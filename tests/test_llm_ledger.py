"""What is counted, what it costs, budgets that stop cleanly, and the forecast before."""

import asyncio
import datetime
import io
import time
from collections import Counter
from dataclasses import replace
from random import Random

import PIL.Image
import pytest
from doors import PRICES, Label, ask, llm, open_door, question
from hypothesis import given
from hypothesis import strategies as st
from model_server import CUT, HANG, ModelServer, Step, answer, said, slow, status

from merr_pipeline.llm.answers import strict_schema
from merr_pipeline.llm.forecast import forecast
from merr_pipeline.llm.messages import Picture, Sound, estimate_prompt, system, user
from merr_pipeline.llm.prices import Price, Prices, Usage, load_prices
from merr_pipeline.running import cost_of
from merr_pipeline.schema import PASSES_WITH_TIME, MerrError, Reason
from merr_pipeline.settings import ModelSettings
from merr_pipeline.summary import uses_of

HAPPY = answer({"label": "happy"})
CALL_USD = 100 * 10 / 1e6 + 20 * 100 / 1e6  # as the toy is priced and as it answers: 0.003


# prices


def test_the_shipped_prices_say_from_when_and_where_they_are():
    prices = load_prices()

    assert datetime.date.fromisoformat(f"{prices.as_of}-01").year >= 2026
    assert prices.source
    assert len(prices.models) >= 5
    assert all(price.input < price.output for price in prices.models)
    price = prices.of("gpt-4o-mini")
    assert price is not None
    assert price.cost_usd(Usage(1_000_000, 1_000_000)) == pytest.approx(0.75)


def test_a_model_that_is_not_in_the_table_has_no_price():
    assert load_prices().of("Qwen/Qwen3-Omni-30B-A3B-Instruct") is None


def test_the_users_table_replaces_the_shipped_one_and_may_use_patterns(tmp_path):
    (tmp_path / "prices.yaml").write_text(
        "{as_of: now, source: me, models: [{model: 'Qwen/*', input: 0, output: 0}]}"
    )
    prices = load_prices(tmp_path)

    assert prices.of("gpt-4o-mini") is None
    price = prices.of("Qwen/Qwen3")
    assert price is not None
    assert price.cost_usd(Usage(9, 9)) == 0


def test_the_first_entry_that_matches_counts():
    prices = Prices(
        as_of="now",
        source="me",
        models=(Price(model="a-mini", input=1, output=2), Price(model="a*", input=3, output=4)),
    )

    assert [prices.of(name).input for name in ("a-mini", "a-large")] == [1, 3]


def test_cached_and_audio_tokens_have_their_own_prices():
    price = Price(model="m", input=10, output=100, cached_input=1, audio_input=1000)

    assert price.cost_usd(Usage(100, 10, cached=30, audio=20)) == pytest.approx(
        (50 * 10 + 30 * 1 + 20 * 1000 + 10 * 100) / 1e6
    )
    plain = Price(model="m", input=10, output=100)
    assert plain.cost_usd(Usage(100, 10, cached=30, audio=20)) == pytest.approx(2000 / 1e6)


@given(st.lists(st.builds(Usage, *[st.integers(0, 10**6)] * 2), max_size=20))
def test_a_cost_is_the_sum_of_its_calls(usages):
    price = Price(model="m", input=0.3, output=2.5)

    assert price.cost_usd(sum(usages, Usage())) == pytest.approx(sum(map(price.cost_usd, usages)))


# counting


def test_the_ledger_counts_by_stage_and_model(tmp_path):
    with ModelServer([status(500), HAPPY, said("?"), HAPPY, HAPPY]) as server:
        asked = question("a"), question("b"), question("c", stage="label"), question("c")
        outcome = ask(llm(server.url), tmp_path, *asked)

    fine, label = outcome.accounts
    assert (fine.stage, fine.requests, fine.unanswered, fine.from_cache) == ("fine", 4, 1, 1)
    assert fine.usage == Usage(300, 60)
    assert fine.cost_usd == pytest.approx(3 * CALL_USD)
    assert (label.stage, label.requests, label.usage) == ("label", 1, Usage(100, 20))


def test_a_model_without_a_price_has_no_cost(tmp_path):
    async def costs(url):
        async with open_door(llm(url, model="free"), tmp_path) as door:
            await door.ask(question())
            return [account.cost_usd for account in door.ledger.accounts], door.ledger.cost_usd

    with ModelServer([HAPPY]) as server:
        assert asyncio.run(costs(server.url)) == ([None], None)


def test_a_server_that_does_not_count_is_counted_by_estimate(tmp_path):
    silent = answer({"label": "happy"}, tokens=None)
    with ModelServer([silent]) as server:
        outcome = ask(llm(server.url), tmp_path, question("how is he?"))

    (account,) = outcome.accounts
    assert account.unmeasured == 1
    assert account.usage == Usage(4 + 3, 5)  # 10 letters and a message; 18 letters


MOST_USD = (4 + 3) * 10 / 1e6 + 50 * 100 / 1e6  # of ten letters and 50 tokens of answer
UNSURE = {
    "a time limit": (HANG, 1),
    "a connection that broke": (CUT, 1),
    "what is no completion": (Step(body=b"<html>"), 1),
    "a gateway that waited no longer": (status(504), 1),
    "a gateway of a cloud's": (status(524), 1),
    "an error": (status(500), 0),
    "overload": (status(503), 0),
    "a rate limit": (status(429), 0),
    "a request that it refuses": (status(400), 0),
}


@pytest.mark.parametrize(("step", "unsure"), UNSURE.values(), ids=UNSURE)
def test_a_request_without_an_answer_that_may_be_billed_has_an_unknown_cost(tmp_path, step, unsure):
    with ModelServer([step]) as server:
        settings = llm(server.url, retries=0, timeout_s=0.5)
        outcome = ask(settings, tmp_path, question("how is he?"))

    (account,) = outcome.accounts
    assert (account.requests, account.unanswered, account.cost_usd) == (1, 1, 0.0)
    assert account.unknown_cost == unsure
    assert account.unknown_usd == pytest.approx(unsure * MOST_USD)


def test_where_there_is_no_server_nothing_can_be_billed(tmp_path):
    with ModelServer([HAPPY]) as server:
        url = server.url
    outcome = ask(llm(url, retries=0), tmp_path, question())

    (account,) = outcome.accounts
    assert (account.requests, account.unknown_cost, account.unknown_usd) == (1, 0, 0.0)


def test_a_run_that_is_stopped_does_not_know_what_its_last_requests_cost(tmp_path):
    async def stopped(url):
        async with open_door(llm(url), tmp_path) as door:
            asking = asyncio.create_task(door.ask(question("how is he?")))
            await asyncio.sleep(0.3)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            return door.ledger.accounts

    with ModelServer([HANG]) as server:
        (account,) = asyncio.run(stopped(server.url))
    assert (account.unanswered, account.unknown_cost) == (1, 1)
    assert account.unknown_usd == pytest.approx(MOST_USD)


def test_a_model_without_a_price_has_no_price_for_what_is_unknown_either(tmp_path):
    with ModelServer([CUT]) as server:
        outcome = ask(llm(server.url, model="free", retries=0), tmp_path, question())

    (use,) = uses_of(outcome.accounts)
    assert (use.unknown_cost, use.unknown_usd, use.cost_usd) == (1, None, None)
    assert cost_of(use) == "unknown cost; 1 requests without an answer may be billed too"


def test_the_summary_of_a_run_says_what_may_be_billed_beside_the_answers(tmp_path):
    with ModelServer([HAPPY, CUT]) as server:
        outcome = ask(llm(server.url, retries=0), tmp_path, question("a"), question("b"))

    (use,) = uses_of(outcome.accounts)
    assert cost_of(use).startswith("$0.0030; 1 requests without an answer may be billed too, at ")
    assert cost_of(replace(use, unknown_cost=0)) == "$0.0030"


# budgets


def test_a_budget_in_dollars_holds_also_if_all_is_billed_that_may_be(tmp_path):
    with ModelServer([CUT]) as server:
        settings = llm(server.url, max_usd=3.5 * MOST_USD, retries=9)
        outcome = ask(settings, tmp_path, question("how is he?"))

    assert outcome.reasons == [Reason.BUDGET_EXHAUSTED]
    assert len(server.requests) == 3


def test_no_more_requests_are_sent_than_allowed_and_what_was_answered_is_kept(tmp_path):
    questions = [question(f"{n}") for n in range(20)]
    with ModelServer([slow(HAPPY, 0.02)]) as server:
        first = ask(llm(server.url, max_calls=7), tmp_path, *questions, together=True)
        sent = len(server.requests)
        second = ask(llm(server.url), tmp_path, *questions, together=True)

    assert sent == len(first.answers) == 7
    assert first.reasons == [Reason.BUDGET_EXHAUSTED] * 13
    assert Reason.BUDGET_EXHAUSTED in PASSES_WITH_TIME
    assert len(second.answers) == len(server.requests) == 20


def test_when_the_budget_is_gone_nobody_waits_for_a_turn_that_leads_nowhere(tmp_path):
    with ModelServer([HAPPY]) as server:
        settings = llm(server.url, max_calls=2, requests_per_minute=60)
        questions = [question(f"{n}") for n in range(50)]
        began = time.monotonic()
        outcome = ask(settings, tmp_path, *questions, together=True)

    assert (len(outcome.answers), len(outcome.reasons)) == (2, 48)
    assert time.monotonic() - began < 5  # 50 turns would take 49 s


def test_retries_count_as_requests(tmp_path):
    with ModelServer([status(500)]) as server:
        outcome = ask(llm(server.url, max_calls=3, retries=9), tmp_path, question(), question())

    assert len(server.requests) == 3
    assert outcome.reasons == [Reason.BUDGET_EXHAUSTED] * 2


@pytest.mark.parametrize("concurrency", [1, 16])
def test_a_budget_in_dollars_is_used_and_not_passed(tmp_path, concurrency):
    budget = 10.5 * CALL_USD
    with ModelServer([slow(HAPPY, 0.01)]) as server:
        questions = [question(f"{n:400}") for n in range(40)]
        settings = llm(server.url, max_usd=budget, concurrency=concurrency, max_tokens=20)
        outcome = ask(settings, tmp_path, *questions, together=True)

    (account,) = outcome.accounts
    assert account.cost_usd is not None
    assert 8 * CALL_USD <= account.cost_usd <= budget
    assert len(outcome.answers) == len(server.requests) == round(account.cost_usd / CALL_USD)
    assert Counter(outcome.reasons) == {Reason.BUDGET_EXHAUSTED: 40 - len(server.requests)}


def test_calls_wait_for_reserved_money_to_come_free_before_the_budget_ends(tmp_path):
    # Each reserves 104 tokens of prompt and 50 of answer, 0.00604 dollars, and takes 0.003.
    with ModelServer([slow(HAPPY, 0.02)]) as server:
        questions = [question(f"{n:400}") for n in range(10)]
        settings = llm(server.url, max_usd=0.0061 + 9 * CALL_USD, concurrency=10)
        outcome = ask(settings, tmp_path, *questions, together=True)

    assert len(outcome.answers) == 10
    assert server.most_in_flight < 10


@pytest.mark.parametrize(("budget", "beyond"), [(0.03, 3 * 0.012), (0.1, 0.0)])
def test_costs_above_the_estimate_pass_a_budget_by_the_first_calls_in_flight_at_most(
    tmp_path, budget, beyond
):
    dear = answer({"label": "happy"}, tokens=(1000, 20))  # ten times the prompt we see
    with ModelServer([slow(dear, 0.02)]) as server:
        questions = [question(f"{n}") for n in range(40)]
        settings = llm(server.url, max_usd=budget, concurrency=4, max_tokens=20)
        outcome = ask(settings, tmp_path, *questions, together=True)

    (account,) = outcome.accounts
    assert account.cost_usd is not None
    assert budget - 0.013 <= account.cost_usd <= budget + beyond


def test_cached_answers_are_given_when_the_budget_is_gone(tmp_path):
    with ModelServer([HAPPY]) as server:
        ask(llm(server.url), tmp_path, question("known"))
        outcome = ask(llm(server.url, max_usd=0), tmp_path, question("new"), question("known"))

    assert outcome.reasons == [Reason.BUDGET_EXHAUSTED]
    assert [a.from_cache for a in outcome.answers] == [True]


def test_a_budget_in_dollars_for_a_model_without_a_price_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(MerrError, match=r"no price is known for free \(llm\.text\)") as told:
        open_door(llm("http://localhost/v1", model="free", max_usd=5), tmp_path)

    assert "prices.yaml" in str(told.value)
    assert "llm.max_calls" in str(told.value)
    open_door(llm("http://localhost/v1", model="free", max_calls=5), tmp_path)


# all of it together


def test_of_many_clips_and_many_faults_each_ends_done_or_with_a_reason_and_none_is_paid_twice(
    tmp_path,
):
    clips, dice, answered = 1000, Random(3), Counter()
    faults = [
        status(429, retry_after="0.01"),
        status(500),
        status(503),
        CUT,
        said("sorry, no JSON"),
        answer({"mood": 1}),
        said(""),
        said(None, refusal="no"),
        said('{"label', finish="length"),
        status(413),
    ]

    def script(asked):
        if dice.random() < 0.2:
            return faults[dice.randrange(len(faults))]
        answered[asked.body["messages"][0]["content"]] += 1
        return HAPPY

    questions = [question(f"clip {n}") for n in range(clips)]
    with ModelServer(script) as server:
        settings = llm(server.url, concurrency=32, backoff_s=0.005, retries=5)
        first = ask(settings, tmp_path, *questions, together=True)
        done = len(first.answers)
        rest = first
        for _ in range(9):
            rest = ask(settings, tmp_path, *questions, together=True)

    assert set(first.reasons) == {
        "request_too_large", "model_refused", "answer_empty", "answer_cut"
    } | (set(first.reasons) & {"answer_invalid"})  # fmt: skip
    assert done + len(first.reasons) == clips
    assert done > clips * 0.85
    assert len(rest.answers) == clips
    assert max(answered.values()) == 1  # no good answer was ever paid for a second time
    assert len(answered) == clips


# before anything is spent


def picture(width: int, height: int) -> Picture:
    file = io.BytesIO()
    PIL.Image.new("RGB", (width, height)).save(file, "jpeg")
    return Picture(file.getvalue())


def test_prompts_are_estimated_by_what_is_in_them():
    assert estimate_prompt([user("a" * 400)]) == Usage(4 + 100)
    assert estimate_prompt([user("你好")]) == Usage(4 + 2)
    assert estimate_prompt([system(""), user(picture(448, 252))]) == Usage(8 + 16 * 9)
    assert estimate_prompt([user(Sound(b"", 2.5))]) == Usage(4 + 63, audio=63)


TOY = PRICES.of("toy")


def cast(clips=10_000, earlier=None, price=TOY, **settings):
    model = ModelSettings(base_url="http://localhost/v1", model="toy", **settings)
    samples = [[user("a" * 400)], [user("a" * 800)]]  # 104 and 204 tokens
    return forecast(model, samples, strict_schema(Label), clips, price, earlier)


def test_the_forecast_counts_calls_tokens_and_cost():
    told = cast(max_tokens=200)

    assert (told.calls, told.prompt_tokens, told.completion_tokens) == (
        10_000,
        1_540_000,
        2_000_000,
    )
    assert told.cost_usd == pytest.approx(1.54 * 10 + 2 * 100)
    assert told.completion_from == "max_tokens"


def test_answers_that_were_given_before_tell_how_long_they_are():
    told = cast(earlier=Usage(999, 30))

    assert (told.prompt_tokens, told.completion_tokens) == (1_540_000, 300_000)
    assert told.completion_from == "earlier answers"


def test_a_schema_that_is_told_in_words_is_counted():
    assert cast(json_mode="none").prompt_tokens > cast().prompt_tokens + 10_000 * 30


def test_a_model_without_a_price_has_no_forecast_of_cost():
    assert cast(price=None).cost_usd is None


@pytest.mark.parametrize(
    ("settings", "hours", "bound_by"),
    [
        ({"concurrency": 10}, 10_000 / 10 * 2 / 3600, "concurrency"),  # 1 s and 40 tokens
        ({"requests_per_minute": 50}, 200 / 60, "requests_per_minute"),
        ({"tokens_per_minute": 1940}, 1000 / 60, "tokens_per_minute"),
        ({"tokens_per_minute": 1940, "requests_per_minute": 50}, 1000 / 60, "tokens_per_minute"),
    ],
)
def test_the_forecast_says_how_long_it_takes_and_why(settings, hours, bound_by):
    told = cast(earlier=Usage(0, 40), **settings)

    assert told.hours == pytest.approx(hours)
    assert told.bound_by == bound_by
