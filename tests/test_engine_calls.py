"""Stages that ask models run in the parent: many clips wait together, workers see to others."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from asking_stages import asking_opener, asking_pipeline
from doors import PRICES, llm, open_door
from model_server import Asked, ModelServer, Step, answer, slow, status

from merr_pipeline.clips.manifest import read_inputs
from merr_pipeline.engine.calls import Caller
from merr_pipeline.engine.local import LocalEngine, StoppedError
from merr_pipeline.llm.cache import AnswerCache
from merr_pipeline.pipeline import BatchReport
from merr_pipeline.schema import MerrError


def clips_in(folder: Path, count: int, *names: str) -> Path:
    """Clips of different lengths: clip 3 has 3 bytes."""
    clips = folder / "clips"
    clips.mkdir()
    for number in range(1, count + 1):
        (clips / f"clip{number:03}.mp4").write_bytes(bytes(number))
    for number, name in enumerate(names):
        (clips / f"{name}.mp4").write_bytes(bytes(1000 + number))
    return clips


def tell(asked: Asked) -> Step:
    """Twice as many words as the prompt says bytes."""
    told = re.search(r"has (\d+) bytes", asked.text)
    assert told is not None
    return answer({"words": 2 * int(told[1])})


def build(clips: Path, settings, batch: int = 4, workers: int = 1) -> tuple[BatchReport, Caller]:
    """One build of all that is pending."""
    out = clips.parent / "out"
    (out / "cache").mkdir(parents=True, exist_ok=True)
    pipeline = asking_pipeline(out)
    states = [pipeline.plan(clip) for clip in read_inputs(clips).clips]
    states = [state for state in states if state.pending]
    batches = [states[start : start + batch] for start in range(0, len(states), batch)]
    caller = Caller(partial(open_door, settings, out / "cache", prices=PRICES))
    report = BatchReport()
    with (
        LocalEngine(asking_opener(out), workers, pipeline, caller=caller) as engine,
        ThreadPoolExecutor(64) as threads,
    ):
        for part in threads.map(engine.run, batches):
            report.add(part)
    return report, caller


def rows(clips: Path) -> dict[str, dict[str, str]]:
    """``clip -> stage -> what came of it``."""
    pipeline = asking_pipeline(clips.parent / "out")
    found = {}
    for clip in read_inputs(clips).clips:
        entries = pipeline.settled(clip).entries
        read = {stage: pipeline.store.read(stage, [e])[0] for stage, e in entries.items()}
        found[str(clip.clip_id)] = {
            stage: row.get("text") or row.get("words") or row["reason"] or "ok"
            for stage, row in read.items()
        }
    return found


def test_each_clip_gets_its_own_answer_and_goes_on_to_the_next_worker(tmp_path):
    clips = clips_in(tmp_path, 30, "mute")
    with ModelServer(tell) as server:
        build(clips, llm(server.url, concurrency=8))

    found = rows(clips)
    assert len(server.requests) == 30
    assert found["clip007"] == {"probe": "ok", "transcript": 14, "fine": "7 bytes, 14 words"}
    assert all(found[f"clip{n:03}"]["fine"] == f"{n} bytes, {2 * n} words" for n in range(1, 31))
    assert found["mute"]["transcript"] == "no_transcript"


def test_the_cache_knows_which_clip_an_answer_is_of(tmp_path):
    clips = clips_in(tmp_path, 3, "mute")
    with ModelServer(tell) as server:
        build(clips, llm(server.url))

    cache = AnswerCache(tmp_path / "out" / "cache" / "answers.sqlite")
    found = {c.clip_id: cache.keys_of(c.clip_id, c.sha256) for c in read_inputs(clips).clips}
    cache.close()
    assert {name: len(keys) for name, keys in found.items()} == {
        "clip001": 1, "clip002": 1, "clip003": 1, "mute": 0,
    }  # fmt: skip
    assert len({keys[0] for keys in found.values() if keys}) == 3


def test_calls_of_many_batches_are_in_flight_together_and_never_more_than_allowed(tmp_path):
    clips = clips_in(tmp_path, 40)
    with ModelServer(lambda asked: slow(tell(asked), 0.5)) as server:
        build(clips, llm(server.url, concurrency=20), batch=2)

    assert 10 < server.most_in_flight <= 20  # a batch has two clips


def test_a_second_build_asks_nothing(tmp_path):
    clips = clips_in(tmp_path, 6)
    with ModelServer(tell) as server:
        build(clips, llm(server.url))
        report, caller = build(clips, llm(server.url))

    assert len(server.requests) == 6
    assert report.outcomes == []
    assert caller.door.ledger.accounts == []


def test_a_wrong_key_ends_the_build_and_keeps_what_workers_made(tmp_path):
    clips = clips_in(tmp_path, 6)
    with ModelServer([status(401, "wrong key")]) as server, pytest.raises(MerrError, match="key"):
        build(clips, llm(server.url))

    assert {row["probe"] for row in rows(clips).values()} == {"ok"}
    assert not any("transcript" in row for row in rows(clips).values())


@pytest.mark.long
def test_a_budget_ends_cleanly_and_the_next_build_pays_for_the_rest_alone(tmp_path):
    clips = clips_in(tmp_path, 10)
    with ModelServer(tell) as server:
        build(clips, llm(server.url, max_calls=4, concurrency=2))
        ends = [row["transcript"] for row in rows(clips).values()]
        assert ends.count("budget_exhausted") == 6
        build(clips, llm(server.url))

    assert len(server.requests) == 10
    assert all(isinstance(row["transcript"], int) for row in rows(clips).values())


@pytest.mark.long
def test_a_server_that_fails_costs_its_clips_a_reason_and_passes_with_time(tmp_path):
    clips = clips_in(tmp_path, 4)
    with ModelServer([status(500)]) as server:
        build(clips, llm(server.url, retries=1))
        assert {row["transcript"] for row in rows(clips).values()} == {"model_server_error"}
    with ModelServer(tell) as server:
        build(clips, llm(server.url))

    assert rows(clips)["clip003"]["fine"] == "3 bytes, 6 words"


@pytest.mark.long
def test_a_stopped_engine_ends_its_calls_and_the_next_run_asks_only_what_was_not_answered(tmp_path):
    clips = clips_in(tmp_path, 8)
    out = tmp_path / "out"
    (out / "cache").mkdir(parents=True)
    with ModelServer(lambda asked: slow(tell(asked), 0 if asked.number < 4 else 60)) as server:
        pipeline = asking_pipeline(out)
        states = [pipeline.plan(clip) for clip in read_inputs(clips).clips]
        caller = Caller(partial(open_door, llm(server.url), out / "cache", prices=PRICES))
        engine = LocalEngine(asking_opener(out), 1, pipeline, caller=caller)
        ended: list[BaseException] = []

        def run() -> None:
            try:
                engine.run(states)
            except BaseException as error:
                ended.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        until = time.monotonic() + 30
        while len(server.requests) < 8 and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.3)  # the four answers reach the cache
        engine.stop()
        thread.join(10)
        engine.close()
        assert [type(error) for error in ended] == [StoppedError]
    with ModelServer(tell) as server:
        build(clips, llm(server.url))

    assert len(server.requests) == 4
    assert len([row for row in rows(clips).values() if "fine" in row]) == 8


def test_a_door_that_cannot_be_opened_is_told_before_any_worker_starts(tmp_path):
    settings = llm("http://127.0.0.1:9/v1", key_env="NO_SUCH_KEY")

    with pytest.raises(MerrError, match="NO_SUCH_KEY"):
        Caller(partial(open_door, settings, tmp_path))
