"""An answer that is being mended is paid for: kills, budgets and failures in mid repair."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from asking_processes import asking
from doors import ask, llm, question
from made_rows import made_clip
from model_server import Asked, ModelServer, Step, answer, said, slow, status

from merr_pipeline.llm.cache import AnswerCache
from merr_pipeline.llm.prices import Usage
from merr_pipeline.schema import Reason, Status
from merr_pipeline.stage import NotOk

HAPPY, UNFIT = answer({"label": "happy"}), answer({"mood": "x"})
SMILE, OTHER = made_clip(1), made_clip(2)


def turn_of(asked: Asked) -> str:
    return "first" if len(asked.body["messages"]) == 1 else "repair"


def turns(server: ModelServer) -> list[str]:
    return [turn_of(asked) for asked in server.requests]


def first_unfit(then: Step) -> Any:
    """A script: each first answer does not fit, and the repair comes to ``then``."""
    return lambda asked: UNFIT if turn_of(asked) == "first" else then


def drafts(folder: Path) -> list[str]:
    """What is kept to go on from."""
    with sqlite3.connect(folder / "answers.sqlite") as raw:
        found = [row[0] for row in raw.execute("SELECT answer FROM drafts")]
    raw.close()
    return found


def test_after_a_failure_in_the_repair_the_next_run_sends_the_repair_alone(tmp_path):
    with ModelServer(first_unfit(status(503))) as server:
        failed = ask(llm(server.url, retries=1), tmp_path, question())
        assert turns(server) == ["first", "repair", "repair"]
    assert failed.reasons == [Reason.MODEL_SERVER_ERROR]
    assert drafts(tmp_path) == ['{"mood": "x"}']

    with ModelServer(first_unfit(HAPPY)) as server:
        done = ask(llm(server.url), tmp_path, question())
        again = ask(llm(server.url), tmp_path, question())
        assert turns(server) == ["repair"]

    (mended,), (kept,) = done.answers, again.answers
    assert (mended.value.label, mended.from_cache, mended.repaired) == ("happy", False, True)
    assert mended.usage == kept.usage == Usage(200, 40)  # of both calls, in whichever run
    assert (done.accounts[0].requests, done.accounts[0].usage) == (1, Usage(100, 20))
    assert kept.from_cache
    assert drafts(tmp_path) == []


def test_the_repair_shows_the_kept_answer_and_what_is_wrong_with_it(tmp_path):
    sent = []
    for broken in (True, False):
        with ModelServer(first_unfit(status(503) if broken else HAPPY)) as server:
            ask(llm(server.url, retries=0), tmp_path, question())
            sent.append(server.requests[-1].body)

    assert sent[0] == sent[1]
    assert [m["role"] for m in sent[0]["messages"]] == ["user", "assistant", "user"]


def test_a_budget_of_one_call_a_run_comes_to_the_answer_in_two_runs(tmp_path):
    with ModelServer(first_unfit(HAPPY)) as server:
        runs = [ask(llm(server.url, max_calls=1), tmp_path, question()) for _ in range(3)]
        assert turns(server) == ["first", "repair"]

    assert [run.reasons for run in runs] == [[Reason.BUDGET_EXHAUSTED], [], []]
    assert [account.requests for run in runs for account in run.accounts] == [1, 1, 0]


def test_a_kill_in_the_repair_costs_the_calls_in_flight_and_no_first_answer(tmp_path):
    clips = 24
    with ModelServer(first_unfit(slow(HAPPY, 60.0))) as server:
        process = asking(server.url, tmp_path, clips, at_once=clips)
        until = time.monotonic() + 60
        while Counter(turns(server))["repair"] < clips and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert Counter(turns(server)) == {"first": clips, "repair": clips}

    with ModelServer(first_unfit(HAPPY)) as server:
        said_last = asking(server.url, tmp_path, clips).communicate(timeout=60)[0].split()
        assert Counter(turns(server)) == {"repair": clips}
    assert said_last[1] == str(clips)
    assert drafts(tmp_path) == []


def test_a_draft_is_on_disk_before_the_model_is_asked_to_mend_it(tmp_path):
    seen = []

    def script(asked: Asked) -> Step:
        if turn_of(asked) == "first":
            return UNFIT
        seen.append(drafts(tmp_path))
        return HAPPY

    with ModelServer(script) as server:
        ask(llm(server.url), tmp_path, question())

    assert seen == [['{"mood": "x"}']]


def test_no_further_call_starts_before_a_draft_is_on_disk(tmp_path, monkeypatch):
    kept: list[str] = []
    put_draft = AnswerCache.put_draft

    def slow_put(self, key, *values):
        time.sleep(0.1)
        put_draft(self, key, *values)
        kept.append(key)

    monkeypatch.setattr(AnswerCache, "put_draft", slow_put)
    unkept: list[int] = []
    first = Counter[str]()

    def script(asked: Asked) -> Step:
        first[turn_of(asked)] += 1
        unkept.append(first["first"] - len(kept))
        return first_unfit(HAPPY)(asked)

    with ModelServer(script) as server:
        questions = [question(f"{n}") for n in range(6)]
        ask(llm(server.url, concurrency=2), tmp_path, *questions, together=True)

    assert max(unkept) <= 2


ENDS = {
    "the second does not fit either": (UNFIT, Reason.ANSWER_INVALID),
    "refused": (said(None, refusal="no"), Reason.MODEL_REFUSED),
    "empty": (said(""), Reason.ANSWER_EMPTY),
    "cut": (said('{"label', finish="length"), Reason.ANSWER_CUT),
    "too large": (status(413), Reason.REQUEST_TOO_LARGE),
}


@pytest.mark.parametrize(("second", "reason"), ENDS.values(), ids=ENDS)
def test_a_conversation_that_ended_badly_leaves_nothing_and_is_begun_anew(tmp_path, second, reason):
    with ModelServer(first_unfit(second)) as server:
        one, two = (ask(llm(server.url), tmp_path, question(clip=SMILE)) for _ in range(2))
        assert turns(server) == ["first", "repair"] * 2

    assert one.reasons == two.reasons == [reason]
    assert drafts(tmp_path) == []
    cache = AnswerCache(tmp_path / "answers.sqlite")
    assert cache.keys_of(SMILE.clip_id, SMILE.sha256) == []
    cache.close()


def refuse(value: Any) -> NotOk | None:
    return NotOk(Status.FAILED, Reason.UNGROUNDED, "not in the evidence")


def test_a_draft_that_fits_by_now_is_an_answer_and_nothing_is_sent(tmp_path):
    with ModelServer([HAPPY, status(503)]) as server:
        ask(llm(server.url, retries=0), tmp_path, question(check=refuse))
        done = ask(llm(server.url), tmp_path, question())
        again = ask(llm(server.url), tmp_path, question())
        assert turns(server) == ["first", "repair"]

    assert [a.from_cache for a in (*done.answers, *again.answers)] == [True, True]
    assert drafts(tmp_path) == []


def test_a_draft_whose_count_is_damaged_is_asked_for_anew(tmp_path):
    with ModelServer(first_unfit(status(503))) as server:
        ask(llm(server.url, retries=0), tmp_path, question())
    with sqlite3.connect(tmp_path / "answers.sqlite") as raw:
        raw.execute("UPDATE drafts SET usage = '{'")
    raw.close()

    with ModelServer(first_unfit(HAPPY)) as server:
        done = ask(llm(server.url), tmp_path, question())
        assert turns(server) == ["first", "repair"]
    assert len(done.answers) == 1


def test_two_processes_in_repair_of_the_same_pay_at_most_once_each_and_leave_no_draft(tmp_path):
    clips = 50
    with ModelServer(lambda asked: slow(first_unfit(HAPPY)(asked), 0.02)) as server:
        two = [asking(server.url, tmp_path, clips) for _ in range(2)]
        said_last = [process.communicate(timeout=60)[0].split()[1:] for process in two]
        sent = Counter(asked.text for asked in server.requests)

    assert [answers for answers, _ in said_last] == [str(clips)] * 2
    assert len(sent) == 2 * clips
    assert max(sent.values()) <= 2
    assert drafts(tmp_path) == []


def test_what_is_forgotten_of_a_clip_has_its_drafts_in_it(tmp_path):
    path = tmp_path / "answers.sqlite"
    cache = AnswerCache(path)
    cache.put_draft("a", "secret of smile", Usage(1, 1), SMILE)
    cache.put_draft("b", "secret of other", Usage(1, 1), OTHER)

    assert cache.forget(SMILE.clip_id, SMILE.sha256) == 1

    assert cache.get("a") is None
    other = cache.get("b")
    assert other is not None
    assert other.is_draft
    on_disk = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"secret of other" in on_disk
    assert b"secret of smile" not in on_disk
    cache.close()


def test_a_draft_never_hides_an_answer(tmp_path):
    cache = AnswerCache(tmp_path / "answers.sqlite")
    cache.put("k", "toy", "answer", Usage(1, 1))
    cache.put_draft("k", "draft", Usage(1, 1))  # by another process, a moment later

    found = cache.get("k")
    assert found is not None
    assert (found.text, found.is_draft) == ("answer", False)
    cache.close()
