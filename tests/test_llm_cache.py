"""The answer cache: what its key is made of, several processes, kills, damage."""

import multiprocessing
import os
import signal
import sqlite3
import time
from pathlib import Path
from random import Random

import pytest
from asking_processes import asking
from doors import ask, llm, question
from hypothesis import given
from hypothesis import strategies as st
from made_rows import made_clip
from model_server import Asked, ModelServer, Step, answer, slow

from merr_pipeline.llm import cache as cache_module
from merr_pipeline.llm.cache import AnswerCache, Stored, request_key
from merr_pipeline.llm.messages import Message, Picture, Sound, system, user
from merr_pipeline.llm.prices import Usage
from merr_pipeline.schema import Clip, MerrError
from merr_pipeline.settings import ModelSettings

HAPPY = answer({"label": "happy"})
SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}}}
MODEL = ModelSettings(base_url="http://localhost/v1", model="toy")
TOLD = (system("be brief"), user("look", Picture(b"jpeg"), Sound(b"wave", 1.0)))


def key(messages=TOLD, schema=SCHEMA, sample=0, **settings) -> str:
    return request_key(MODEL.model_copy(update=settings), messages, schema, sample)


SHAPES = {
    "model": key(model="toy2"),
    "revision": key(revision="int4"),
    "temperature": key(temperature=0.5),
    "no temperature": key(temperature=None),
    "seed": key(seed=1),
    "no seed": key(seed=None),
    "max_tokens": key(max_tokens=7),
    "json_mode": key(json_mode="none"),
    "extra": key(extra={"top_k": 1}),
    "extra's value": key(extra={"top_k": 2}),
    "schema": key(schema={"type": "object"}),
    "sample": key(sample=1),
    "a word": key((system("be brief."), TOLD[1])),
    "a role": key((user("be brief"), TOLD[1])),
    "order": key(TOLD[::-1]),
    "one message less": key(TOLD[1:]),
    "one message more": key((*TOLD, user(""))),
    "a byte of a picture": key((TOLD[0], user("look", Picture(b"jpeh"), Sound(b"wave", 1.0)))),
    "a kind of picture": key((TOLD[0], user("look", Picture(b"jpeg", "png"), Sound(b"wave", 1.0)))),
    "a byte of sound": key((TOLD[0], user("look", Picture(b"jpeg"), Sound(b"wavf", 1.0)))),
    "where a picture stands": key((TOLD[0], user(Picture(b"jpeg"), "look", Sound(b"wave", 1.0)))),
    "where a text is broken": key((TOLD[0], user("lo", "ok", Picture(b"jpeg"), Sound(b"wave", 1)))),
}


def test_whatever_shapes_an_answer_is_in_the_key():
    keys = [key(), *SHAPES.values()]

    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    "settings",
    [
        {"base_url": "http://elsewhere/v1"},
        {"key_env": "KEY"},
        {"concurrency": 99},
        {"requests_per_minute": 5.0},
        {"tokens_per_minute": 5.0},
        {"timeout_s": 5.0},
        {"retries": 0},
        {"backoff_s": 9.0},
        {"max_wait_s": 9.0},
        {"audio_part": "audio_url"},
        {"limit_name": "max_completion_tokens"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_how_a_model_is_reached_is_not_in_the_key(settings):
    assert key(**settings) == key()


def test_every_setting_of_a_model_is_in_the_key_or_known_not_to_be():
    outside = {
        "base_url", "key_env", "concurrency", "requests_per_minute", "tokens_per_minute",
        "timeout_s", "retries", "backoff_s", "max_wait_s", "audio_part", "limit_name",
    }  # fmt: skip
    inside = {"model", "revision", "temperature", "seed", "max_tokens", "json_mode", "extra"}

    assert set(ModelSettings.model_fields) == inside | outside


parts = st.one_of(
    st.text(max_size=5),
    st.builds(Picture, st.binary(max_size=3), st.sampled_from(["jpeg", "png"])),
    st.builds(Sound, st.binary(max_size=3), st.just(1.0), st.sampled_from(["wav", "mp3"])),
)
conversations = st.lists(
    st.builds(
        Message,
        st.sampled_from(["system", "user", "assistant"]),
        st.lists(parts, max_size=3).map(tuple),
    ),
    max_size=3,
).map(tuple)


@given(conversations, conversations)
def test_two_conversations_have_one_key_only_if_they_are_equal(one, other):
    assert (key(one) == key(other)) == (one == other)


@given(st.dictionaries(st.text(), st.integers()), st.dictionaries(st.text(), st.integers()))
def test_the_order_of_further_fields_is_not_in_the_key(one, other):
    assert (key(extra=one) == key(extra=other)) == (one == other)
    assert key(extra=dict(reversed(one.items()))) == key(extra=one)


# what it keeps


def test_what_is_put_in_is_found_again_by_another(tmp_path):
    path = tmp_path / "new" / "answers.sqlite"
    first = AnswerCache(path)
    first.put("k1", "toy", "grüß Gott 你好", Usage(5, 6, 1, 2))
    first.put("k2", "toy", "two", Usage(7, 8))
    first.close()

    second = AnswerCache(path)
    found = second.get("k1")

    assert found is not None
    assert (found.text, found.usage) == ("grüß Gott 你好", Usage(5, 6, 1, 2))
    assert second.get("k3") is None
    second.close()


def test_the_mean_of_what_answers_took_is_that_of_a_model_in_a_stage(tmp_path):
    cache = AnswerCache(tmp_path / "answers.sqlite")
    assert cache.mean_usage("toy", "fine") is None
    cache.put("k1", "toy", "one", Usage(5, 6, 1, 2))
    assert cache.mean_usage("toy", "fine") == Usage(5, 6, 1, 2)  # whose it is nobody knows
    cache.put("k2", "toy", "two", Usage(7, 8), stage="fine")
    cache.put("k3", "toy", "three", Usage(9, 11), stage="fine")
    cache.put("k4", "toy", "four", Usage(900, 900), stage="scene")

    assert cache.mean_usage("toy", "fine") == Usage(8, 10)  # 9.5 is even when rounded
    assert cache.mean_usage("toy", "scene") == Usage(900, 900)
    assert cache.mean_usage("other", "fine") is None
    cache.close()


def test_a_hit_costs_nothing_and_says_what_was_paid(tmp_path):
    with ModelServer([HAPPY]) as server:
        ask(llm(server.url), tmp_path, question())
        outcome = ask(llm(server.url, max_calls=0), tmp_path, question())

    (hit,) = outcome.answers
    assert (hit.from_cache, hit.usage) == (True, Usage(100, 20))
    (account,) = outcome.accounts
    assert (account.requests, account.from_cache, account.usage, account.cost_usd) == (
        0,
        1,
        Usage(),
        0.0,
    )
    assert len(server.requests) == 1


def test_another_model_is_asked_anew(tmp_path):
    with ModelServer([HAPPY, answer({"label": "sad"})]) as server:
        first = ask(llm(server.url), tmp_path, question())
        second = ask(llm(server.url, model="toy2"), tmp_path, question())

    assert [o.answers[0].value.label for o in (first, second)] == ["happy", "sad"]


# whose an answer is

SMILE, COPY, SAD = made_clip(1), made_clip(2), made_clip(3)


def put(cache: AnswerCache, key: str, *clips: Clip | None) -> None:
    """An answer, asked for these clips one after another."""
    for clip in clips:
        if cache.get(key, clip) is None:
            cache.put(key, "toy", f"secret {key}", Usage(1, 1), clip)


def test_the_answers_of_a_clip_are_found_also_those_it_shares_with_another(tmp_path):
    cache = AnswerCache(tmp_path / "answers.sqlite")
    put(cache, "b", SMILE)
    put(cache, "a", SMILE, COPY, COPY)
    put(cache, "c", COPY)

    assert cache.keys_of(SMILE.clip_id, SMILE.sha256) == ["a", "b"]
    assert cache.keys_of(COPY.clip_id, COPY.sha256) == ["a", "c"]
    assert cache.keys_of(SAD.clip_id, SAD.sha256) == []
    cache.close()


def test_a_clip_is_found_by_its_content_when_renamed_and_by_its_name_when_changed(tmp_path):
    cache = AnswerCache(tmp_path / "answers.sqlite")
    put(cache, "a", SMILE)

    assert cache.keys_of("renamed", SMILE.sha256) == ["a"]
    assert cache.keys_of(SMILE.clip_id, "other bytes") == ["a"]
    cache.close()


def test_what_is_forgotten_of_a_clip_is_gone_from_the_file_and_others_keep_theirs(tmp_path):
    path = tmp_path / "answers.sqlite"
    cache = AnswerCache(path)
    put(cache, "alone", SMILE)
    put(cache, "shared", SMILE, COPY)
    put(cache, "other", SAD)

    assert cache.forget(SMILE.clip_id, SMILE.sha256) == 1

    assert cache.get("alone") is None
    assert cache.keys_of(SMILE.clip_id, SMILE.sha256) == []
    assert cache.keys_of(COPY.clip_id, COPY.sha256) == ["shared"]
    assert cache.get("other") is not None
    on_disk = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"secret other" in on_disk
    assert b"secret alone" not in on_disk
    assert cache.forget(SMILE.clip_id, SMILE.sha256) == 0
    cache.close()


def test_answers_of_which_no_clip_is_known_go_with_the_first_that_is_forgotten(tmp_path):
    cache = AnswerCache(tmp_path / "answers.sqlite")
    put(cache, "nobodys", None)
    put(cache, "other", SAD)

    assert cache.forget(SMILE.clip_id, SMILE.sha256) == 1
    assert cache.get("nobodys") is None
    assert cache.get("other") is not None
    cache.close()


def test_the_door_notes_for_whom_it_asked_and_for_whom_it_found_an_answer(tmp_path):
    with ModelServer([HAPPY]) as server:
        first = ask(llm(server.url), tmp_path, question(clip=SMILE), question(clip=COPY))

    assert [answer.from_cache for answer in first.answers] == [False, True]
    assert len(server.requests) == 1
    cache = AnswerCache(tmp_path / "answers.sqlite")
    (key_of_smile,) = cache.keys_of(SMILE.clip_id, SMILE.sha256)
    assert cache.keys_of(COPY.clip_id, COPY.sha256) == [key_of_smile]
    cache.close()


OLD_TABLES = {
    0: [
        "CREATE TABLE answers (key TEXT PRIMARY KEY, model TEXT NOT NULL, answer TEXT NOT "
        "NULL, usage TEXT NOT NULL, created TEXT NOT NULL) WITHOUT ROWID"
    ]
}
OLD_TABLES[1] = [
    *OLD_TABLES[0],
    "CREATE TABLE clips (key TEXT NOT NULL, clip_id TEXT NOT NULL, sha256 TEXT NOT NULL, "
    "PRIMARY KEY (key, clip_id, sha256)) WITHOUT ROWID",
    "CREATE INDEX clips_by_id ON clips (clip_id)",
    "CREATE INDEX clips_by_sha256 ON clips (sha256)",
    "PRAGMA user_version = 1",
]


@pytest.mark.parametrize("version", OLD_TABLES)
def test_a_file_of_an_older_version_keeps_its_answers_and_gets_what_it_lacks(tmp_path, version):
    path = tmp_path / "answers.sqlite"
    with sqlite3.connect(path) as old:
        for statement in OLD_TABLES[version]:
            old.execute(statement)
        old.execute(
            "INSERT INTO answers VALUES ('a', 'toy', 'text', ?, '2026-01-01')",
            (Usage(1, 2).to_json(),),
        )
    old.close()
    cache = AnswerCache(path)

    assert cache.keys_of(SMILE.clip_id, SMILE.sha256) == []
    found = cache.get("a", SMILE)
    assert found is not None
    assert (found.text, found.usage) == ("text", Usage(1, 2))
    assert cache.keys_of(SMILE.clip_id, SMILE.sha256) == ["a"]
    cache.put_draft("b", "draft", Usage(1, 1), SMILE)
    cache.put("c", "toy", "x", Usage(3, 4), stage="fine")
    assert cache.get("b") == Stored("draft", Usage(1, 1), is_draft=True)
    assert cache.mean_usage("toy", "fine") == Usage(3, 4)
    assert cache.notes == []
    cache.close()


def test_a_file_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "answers.sqlite"
    cache = AnswerCache(path)
    put(cache, "a", SMILE)
    cache.close()
    with sqlite3.connect(path) as raw:
        raw.execute(f"PRAGMA user_version = {cache_module.TABLES_VERSION + 1}")
    raw.close()

    for _ in range(2):
        with pytest.raises(MerrError, match=r"newer merr_pipeline .*\n.*another --out"):
            cache.put("b", "toy", "x", Usage(1, 1), SMILE)

    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT key FROM answers").fetchall() == [("a",)]
    raw.close()


def test_an_answer_is_never_kept_without_the_clip_it_is_of(tmp_path):
    cache = AnswerCache(tmp_path / "answers.sqlite")
    put(cache, "a", SMILE)
    assert cache._connection is not None
    cache._connection.execute("DROP TABLE clips")

    with pytest.raises(MerrError, match="cannot be used: no such table: clips"):
        cache.put("b", "toy", "x", Usage(1, 1), SMILE)

    assert cache.get("b") is None
    cache.close()


# several processes


def fill(path: str, name: str, begin) -> None:
    cache = AnswerCache(Path(path))
    begin.wait()
    for number in range(200):
        cache.put(f"{name}{number}", "toy", name * 50, Usage(1, 1))
        assert cache.get(f"{name}{number}") is not None
    cache.close()


def test_processes_that_begin_and_fill_one_cache_together_lose_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    path, begin = tmp_path / "answers.sqlite", context.Event()
    workers = [context.Process(target=fill, args=(str(path), name, begin)) for name in "abc"]
    for worker in workers:
        worker.start()
    begin.set()
    for worker in workers:
        worker.join(60)

    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    cache = AnswerCache(path)
    assert all(cache.get(f"{name}{number}") for name in "abc" for number in range(200))
    assert cache.notes == []
    cache.close()


def test_two_processes_that_ask_the_same_pay_at_most_once_each(tmp_path):
    with ModelServer([slow(HAPPY, 0.02)]) as server:
        two = [asking(server.url, tmp_path, 100) for _ in range(2)]
        said = [process.communicate(timeout=60)[0].split()[1:] for process in two]
        third = ask(llm(server.url), tmp_path, *(question(f"clip {n}") for n in range(100)))

    assert [answers for answers, _ in said] == ["100", "100"]
    paid = sum(100 - int(hits) for _, hits in said)
    assert 100 <= len(server.requests) == paid <= 200
    assert all(a.from_cache for a in third.answers)


def each_third_is_mended(asked: Asked) -> Step:
    """The first answer about each third clip does not fit."""
    clip, is_first = asked.text.split()[1], len(asked.body["messages"]) == 1
    return slow(answer({"mood": 1}) if is_first and int(clip) % 3 == 0 else HAPPY, 0.05)


@pytest.mark.parametrize(
    ("kills", "at_once"), [(3, 16), pytest.param(20, 64, marks=pytest.mark.long)]
)
def test_after_kills_no_more_is_asked_again_than_was_in_flight(tmp_path, kills, at_once):
    dice, clips = Random(kills), kills * 3 * at_once  # and a third as many repairs
    mended = (clips + 2) // 3
    with ModelServer(each_third_is_mended) as server:
        for _ in range(kills):
            process = asking(server.url, tmp_path, clips, at_once)
            assert process.stdout is not None
            process.stdout.readline()
            wanted = len(server.requests) + dice.randrange(at_once, 3 * at_once)
            until = time.monotonic() + 30
            while len(server.requests) < wanted and time.monotonic() < until:
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        killed_at = len(server.requests)
        rest = asking(server.url, tmp_path, clips, at_once).communicate(timeout=180)[0].split()

    asked = [asked.text for asked in server.requests]
    assert rest[1] == str(clips)
    assert int(rest[2]) > 0
    assert killed_at >= kills * at_once
    assert len(set(asked)) == clips + mended
    assert len(asked) - len(set(asked)) <= kills * at_once  # what was in flight at each kill


def test_no_further_call_starts_before_an_answer_is_on_disk(tmp_path, monkeypatch):
    kept: list[str] = []
    put = AnswerCache.put

    def slow_put(self, key, *values):
        time.sleep(0.1)
        put(self, key, *values)
        kept.append(key)

    monkeypatch.setattr(AnswerCache, "put", slow_put)
    kept_at_request: list[int] = []

    def script(asked):
        kept_at_request.append(len(kept))
        return HAPPY

    with ModelServer(script) as server:
        questions = [question(f"{n}") for n in range(6)]
        ask(llm(server.url, concurrency=2), tmp_path, *questions, together=True)

    assert all(number - before < 2 for number, before in enumerate(kept_at_request))


# damage


def test_a_damaged_cache_is_set_aside_and_told_of(tmp_path):
    path = tmp_path / "answers.sqlite"
    path.write_bytes(b"no database at all" * 1000)

    cache = AnswerCache(path)
    assert cache.get("k") is None
    cache.put("k", "toy", "text", Usage(1, 1))

    assert cache.get("k") is not None
    assert (tmp_path / "damaged-1-answers.sqlite").read_bytes().startswith(b"no database")
    assert cache.notes == [
        "answers.sqlite was damaged and is set aside as damaged-1-answers.sqlite: the answers in "
        "it are asked for, and paid for, again"
    ]
    cache.close()


def test_a_cache_that_is_damaged_inside_is_set_aside_when_it_is_met(tmp_path):
    path = tmp_path / "answers.sqlite"
    cache = AnswerCache(path)
    for number in range(500):
        cache.put(f"{number:03}", "toy", "x" * 100, Usage(1, 1))
    cache.close()
    content = bytearray(path.read_bytes())
    content[4096:-4096] = os.urandom(len(content) - 8192)
    path.write_bytes(content)

    cache = AnswerCache(path)
    for number in range(500):
        cache.get(f"{number:03}")
    cache.put("new", "toy", "y", Usage(1, 1))

    assert cache.get("new") is not None
    assert len(cache.notes) == 1
    cache.close()


def test_an_answer_that_is_damaged_where_sqlite_does_not_look_is_asked_for_anew(tmp_path):
    with ModelServer([HAPPY]) as server:
        questions = [question(f"{n}") for n in range(3)]
        ask(llm(server.url), tmp_path, *questions)
        with sqlite3.connect(tmp_path / "answers.sqlite") as raw:
            keys = [row[0] for row in raw.execute("SELECT key FROM answers ORDER BY created, key")]
            raw.execute("UPDATE answers SET answer = '{\"lab' WHERE key = ?", (keys[0],))
            raw.execute("UPDATE answers SET usage = '{' WHERE key = ?", (keys[1],))
            raw.execute("UPDATE answers SET answer = CAST(x'ff' AS TEXT) WHERE key = ?", (keys[2],))
        raw.close()
        second = ask(llm(server.url), tmp_path, *questions)
        third = ask(llm(server.url), tmp_path, *questions)

    assert [a.from_cache for a in second.answers] == [False] * 3
    assert not any(len(asked.body["messages"]) > 1 for asked in server.requests)
    assert [a.from_cache for a in third.answers] == [True] * 3
    assert len(server.requests) == 6


def test_a_mistake_in_our_code_is_not_taken_for_damage(tmp_path):
    cache = AnswerCache(tmp_path / "answers.sqlite")
    cache.put("k", "toy", "x", Usage(1, 1))
    assert cache._connection is not None
    cache._connection.close()

    with pytest.raises(sqlite3.Error):
        cache.get("k")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.sqlite"]


def test_the_door_goes_on_with_a_damaged_cache_and_says_so(tmp_path):
    (tmp_path / "answers.sqlite").write_bytes(b"x" * 5000)
    with ModelServer([HAPPY]) as server:
        outcome = ask(llm(server.url), tmp_path, question(), question())

    assert [a.from_cache for a in outcome.answers] == [False, True]
    assert "was damaged" in outcome.notes[0]


def test_of_two_that_find_it_damaged_the_second_takes_what_the_first_began(tmp_path):
    path = tmp_path / "answers.sqlite"
    cache = AnswerCache(path)
    cache.put("old", "toy", "x", Usage(1, 1))
    cache._inode = -1  # as if another process had renamed and begun it since
    cache._set_aside()

    assert cache.notes == []
    assert cache.get("old") is not None
    cache.close()


def test_a_place_where_no_file_can_be_is_told_of(tmp_path):
    folder = tmp_path / "answers.sqlite"
    folder.mkdir()

    with pytest.raises(MerrError, match=r"answers\.sqlite cannot be used: unable to open"):
        AnswerCache(folder).get("k")


def test_a_full_disk_ends_the_build_as_any_full_disk_does(tmp_path):
    cache = AnswerCache(tmp_path / "answers.sqlite")
    cache.put("k", "toy", "x", Usage(1, 1))
    assert cache._connection is not None
    pages = cache._connection.execute("PRAGMA page_count").fetchone()[0]
    cache._connection.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(OSError, match="No space left") as told:
        cache.put("big", "toy", "x" * 100_000, Usage(1, 1))

    assert told.value.filename == str(tmp_path / "answers.sqlite")
    cache.close()


def test_it_waits_for_another_process_that_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "WAIT_S", 0.2)
    path = tmp_path / "answers.sqlite"
    cache = AnswerCache(path)
    cache.put("k", "toy", "x", Usage(1, 1))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    assert cache.get("k") is not None  # readers do not wait
    began = time.monotonic()
    with pytest.raises(MerrError, match="locked"):
        cache.put("l", "toy", "x", Usage(1, 1))
    assert time.monotonic() - began >= 0.19
    other.execute("COMMIT")
    cache.put("l", "toy", "x", Usage(1, 1))
    other.close()
    cache.close()
