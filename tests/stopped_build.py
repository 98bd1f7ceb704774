"""The ``merr`` command, which stops at a named place so that a test can kill it there.

::

    STOP_AT='{"call": "merr_pipeline.clips.probe:ProbeStage.annotate_one", …}' \
        python stopped_build.py build CLIPS --out OUT

It is the real command, and nothing in it knows of this file: one function is wrapped from outside,
here and in the workers, because a spawned worker first imports the script that its parent ran.
``STOP_AT`` is a `Stop` as JSON; without it, nothing is wrapped.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Stop:
    """Where to stop: just before, or just after, the n-th such call of a process."""

    call: str  # "package.module:Class.function"
    arguments: str = "*"  # pattern for the positional ones, joined by blanks
    nth: int = 1
    after: bool = False
    note: str = ""  # file that is written when the place is reached
    go: str = ""  # the process goes on when this file appears

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def install(stop: Stop) -> None:
    """Wrap the function that the stop names."""
    module, _, path = stop.call.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    function, calls = getattr(owner, name), 0

    @functools.wraps(function)
    def stopping(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        if not fnmatch(" ".join(map(str, arguments)), stop.arguments):
            return function(*arguments, **named)
        calls += 1
        reached = calls == stop.nth
        if reached and not stop.after:
            wait(stop)
        result = function(*arguments, **named)
        if reached and stop.after:
            wait(stop)
        return result

    setattr(owner, name, stopping)


def wait(stop: Stop) -> None:
    """Say that the place is reached, and wait to be killed or told to go on."""
    Path(stop.note).touch()
    while not os.path.exists(stop.go):  # noqa: PTH110 - Path may be what is wrapped
        time.sleep(0.02)


if "STOP_AT" in os.environ:
    install(Stop(**json.loads(os.environ["STOP_AT"])))

if __name__ == "__main__":
    from merr_pipeline.cli import main

    sys.argv[0] = "merr"
    main()
