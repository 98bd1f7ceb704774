"""A build is killed twenty times with 64 calls in flight: what is paid for again, how it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from builds import hashes, merr
from filled_stores import asking, clip_of, fill_store
from made_answers import reasoned
from model_server import Asked, ModelServer, Step, slow
from small_builds import keys

from merr_pipeline.dataset.validate import validate

pytestmark = pytest.mark.long
KILLS, AT_ONCE = 20, 64
MOST = 57  # calls at the server when a kill comes; the others are between an answer and a question
MORE, HELD = 16, 12  # calls beyond the first 64 until the kill is due; and until it comes, at most
CLIPS = KILLS * (MORE + HELD) + 4 * AT_ONCE  # so that the last kill has 64 in flight too
WAIT_S = 120.0  # for a build to ask, on a busy machine
LATEST_S = 0.1  # from when a kill is due
HELD_S = 60.0  # until then a busy machine asks so many; their answers would let it ask on


@dataclass(frozen=True)
class Killed:
    """One of the builds that were killed."""

    in_flight: int  # calls that the server had not answered
    asked: set[str]  # clips that it asked about


@dataclass(frozen=True)
class Story:
    """Twenty builds that were killed over one folder, and the one that came to its end."""

    out: Path
    killed: list[Killed]
    last: list[str]  # clips that the last build asked about
    uninterrupted: dict[str, str]  # sha256 of the dataset's files of a build that nobody killed
    rows: int  # in the store of that


@pytest.fixture(scope="module")
def story(tmp_path_factory) -> Story:
    out = fill_store(tmp_path_factory.mktemp("kills"), CLIPS)
    clips, whole = out.parent / "clips", out.parent / "whole"
    shutil.copytree(out, whole)
    with ModelServer(reasoned) as server:
        merr("build", clips, "--out", whole, *asking(server, concurrency=AT_ONCE))
    dice = Random(64)
    with forking() as forker:
        killed = [kill(forker, clips, out, dice) for _ in range(KILLS)]
    with ModelServer(reasoned) as server:
        merr("build", clips, "--out", out, *asking(server, concurrency=AT_ONCE))
        last = [clip_of(asked) for asked in server.requests]
    return Story(out, killed, last, hashes(whole), keys(whole).total())


@contextmanager
def forking() -> Iterator[subprocess.Popen[str]]:
    """The program that starts builds at once."""
    command = [sys.executable, Path(__file__).parent / "forked_merr.py"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as forker:
        try:
            yield forker
        finally:
            forker.kill()


def kill(forker: subprocess.Popen[str], clips: Path, out: Path, dice: Random) -> Killed:
    """Begin a build, and kill its process group after so many calls, or a bit later."""
    due, later_s = AT_ONCE + dice.randrange(MORE), dice.uniform(0, LATEST_S)

    def said_late(asked: Asked) -> Step:
        answered_s = HELD_S if asked.number >= due + HELD else dice.uniform(0.5, 1.0)
        return slow(reasoned(asked), answered_s)

    with ModelServer(said_late) as server:
        arguments = ["build", clips, "--out", out, *asking(server, concurrency=AT_ONCE)]
        print(json.dumps(list(map(str, arguments))), file=forker.stdin, flush=True)
        pid = int(forker.stdout.readline())
        assert wait_for(lambda: len(server.requests) >= due)
        time.sleep(later_s)
        assert wait_for(lambda: server.in_flight >= MOST)
        in_flight = server.in_flight
        os.killpg(pid, signal.SIGKILL)
        assert int(forker.stdout.readline()) == -signal.SIGKILL
        time.sleep(0.1)  # what it had sent is read
        return Killed(in_flight, {clip_of(asked) for asked in server.requests})


def wait_for(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + WAIT_S
    while not condition() and time.monotonic() < until:
        time.sleep(0.005)
    return condition()


def test_at_each_kill_about_all_the_calls_that_may_be_are_in_flight(story):
    in_flight = [build.in_flight for build in story.killed]

    assert len(in_flight) == KILLS
    assert MOST - 5 < min(in_flight) <= max(in_flight) <= AT_ONCE


def test_no_kill_costs_more_answers_than_calls_were_in_flight(story):
    again = []  # of each kill: what was asked before it and again after it
    for number, build in enumerate(story.killed, start=1):
        later = [*(other.asked for other in story.killed[number:]), set(story.last)]
        again.append(len(build.asked & set.union(*later)))

    assert max(again) <= AT_ONCE
    assert min(again) > 0  # or nothing was killed
    asked = sum(len(build.asked) for build in story.killed) + len(story.last)
    assert asked - CLIPS <= KILLS * AT_ONCE
    assert len(story.last) == len(set(story.last)) > 0


def test_what_comes_out_is_what_a_build_leaves_that_nobody_killed(story):
    assert hashes(story.out) == story.uninterrupted
    assert validate(story.out) == []
    counts = keys(story.out)
    assert set(counts.values()) == {1}
    assert counts.total() == story.rows
