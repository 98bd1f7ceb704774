"""Output folders of many clips in which all is done but what models are asked.

The rows of every stage before ``fine`` are those of one sample; each clip has words of its own, so
that each is asked. A clip's file is a few bytes: nothing opens it any more.
"""

from __future__ import annotations

import re
from pathlib import Path

from builds import SAMPLES
from fusion import fill
from model_server import Asked, ModelServer
from planning import rows_of_one

from merr_pipeline.request import Request


def fill_store(folder: Path, count: int) -> Path:
    """``folder/clips`` with so many clips, and ``folder/out``; gives the latter."""
    clips = folder / "clips"
    clips.mkdir(parents=True)
    for number in range(count):
        (clips / f"{number:06}.mp4").write_bytes(number.to_bytes(8))
    named = ("fine.by=model", "llm.text.base_url=http://localhost/v1", "llm.text.model=toy")
    request = Request(clips, folder / "out", overrides=named)
    fill(request, rows_of_one(SAMPLES / "clips" / "smile.mp4"))
    return request.out


def asking(server: ModelServer, **text: object) -> list[str]:
    """The arguments that let a build ask this server for its texts; ``text`` is of llm.text."""
    given = {"base_url": server.url, "model": "toy", **text}
    settings = ["fine.by=model", *(f"llm.text.{name}={value}" for name, value in given.items())]
    return [word for setting in settings for word in ("--set", setting)]


def clip_of(asked: Asked) -> str:
    """The clip that a question is about, by its words."""
    found = re.search(r"said in number (\d+)", asked.text)
    assert found is not None
    return found[1]


def is_repair(asked: Asked) -> bool:
    """Whether it shows the model an answer that did not fit."""
    return asked.body["messages"][-2]["role"] == "assistant"
