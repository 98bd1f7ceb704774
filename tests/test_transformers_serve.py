"""A second real server: ``transformers serve`` with a model of random weights, which babbles.

Nothing that it says is an answer, so each clip must end with the reason, and nothing may break.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from builds import merr, rows
from doors import ask, llm, question
from filled_stores import fill_store

from merr_pipeline.llm.failures import ModelUnusable
from merr_pipeline.templates import shipped_folder

pytestmark = [pytest.mark.extras, pytest.mark.long]
CLIPS, STARTS_S = 6, 120.0


@dataclass(frozen=True)
class Serving:
    """The server, and the name of its model."""

    url: str
    model: str

    def asking(self, **text: object) -> dict[str, object]:
        """Settings of ``llm.text``."""
        return {"model": self.model, "max_tokens": 200, "timeout_s": 120, **text}


@pytest.fixture(scope="module")
def serving(tmp_path_factory) -> Iterator[Serving]:
    pytest.importorskip("torch", reason="the extra hf is not installed")
    pytest.importorskip("accelerate", reason="the extra train is not installed")
    from made_language_model import write_language_model

    folder = tmp_path_factory.mktemp("serve")
    texts = [path.read_text("utf-8") for path in sorted(shipped_folder().glob("*.yaml"))]
    model = str(write_language_model(folder / "babble", texts))
    command = [Path(sys.executable).parent / "transformers", "serve", model]
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", "0", "--device", "cpu"],
            env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"},
            stdout=file,
            stderr=file,
        )
    try:
        yield Serving(f"{_address(process, log)}/v1", model)
    finally:
        process.terminate()
        process.wait(30)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Where it serves, when it does; its port is any that was free."""
    until = time.monotonic() + STARTS_S
    while time.monotonic() < until and process.poll() is None:
        if found := re.search(r"running on (http://[\d.:]+)", log.read_text("utf-8")):
            return found[1]
        time.sleep(0.2)
    pytest.fail(f"it does not serve: {log.read_text('utf-8')}")


@pytest.mark.parametrize(
    ("max_tokens", "reason", "requests"), [(5, "answer_cut", 1), (200, "answer_invalid", 2)]
)
def test_our_request_is_understood_and_what_it_took_is_counted(
    serving, tmp_path, max_tokens, reason, requests
):
    settings = llm(serving.url, **serving.asking(max_tokens=max_tokens))
    outcome = ask(settings, tmp_path, question("How is he?"), question("How is she?"))

    assert outcome.reasons == [reason] * 2
    (account,) = outcome.accounts
    assert (account.requests, account.unanswered, account.unmeasured) == (2 * requests, 0, 0)
    assert account.usage.prompt > account.requests * 5
    assert 5 * account.requests <= account.usage.completion < max_tokens * account.requests + 1


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"model": "another"}, r"another.*\n.*llm\.text\.model"),
        ({"extra": {"min_p": 0.1}}, r"min_p.*\n.*extra of llm\.text"),
    ],
    ids=["model", "field"],
)
def test_what_it_can_never_answer_ends_the_run_with_what_to_do(serving, tmp_path, more, told):
    settings = llm(serving.url, **serving.asking(**more))
    outcome = ask(settings, tmp_path, question(), question("and now?"))

    assert [type(result) for result in outcome.results] == [ModelUnusable] * 2
    assert re.search(told, str(outcome.results[0]))
    assert outcome.accounts[0].requests == 1


def test_babble_ends_every_clip_of_a_build_with_its_reason_and_is_not_kept(serving, tmp_path):
    out = fill_store(tmp_path / "folder", CLIPS)
    given = {"base_url": serving.url, **serving.asking(temperature=1.0, concurrency=2)}
    settings = ["fine.by=model", *(f"llm.text.{name}={value}" for name, value in given.items())]
    arguments = [word for setting in settings for word in ("--set", setting)]

    printed = merr("build", out.parent / "clips", "--out", out, *arguments, code=1)

    assert "Traceback" not in printed
    run = json.loads(next((out / "runs").glob("*.json")).read_text("utf-8"))
    assert run["stages"]["fine"] == {"failed": CLIPS}
    failed = {what: count for what, count in run["reasons"].items() if what.startswith("fine:")}
    assert failed == {"fine:answer_invalid": CLIPS}
    (use,) = run["models"]
    assert (use["unanswered"], use["from_cache"]) == (0, 0)
    assert use["requests"] == 2 * CLIPS  # each was shown once what is wrong
    assert use["prompt_tokens"] > CLIPS * 500
    found = rows(out, "clips")
    assert len(found) == CLIPS
    assert {row["fine_caption"] for row in found} == {None}
    cache = sqlite3.connect(out / "cache" / "llm.sqlite")
    assert cache.execute("SELECT count(*) FROM answers").fetchone() == (0,)
    cache.close()
