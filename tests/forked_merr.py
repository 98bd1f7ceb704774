"""The ``merr`` command time and again, imported once: this program forks a process for each.

It reads the arguments of one build as a line of JSON, prints the process id of the build, which is
the leader of a session of its own, and how it ended when it has.
"""

from __future__ import annotations

import json
import os
import sys
from typing import NoReturn

import merr_pipeline.llm.client
import merr_pipeline.running  # noqa: F401 - what the command would import first
from merr_pipeline.cli import main


def run(arguments: list[str]) -> NoReturn:
    """Be the command."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    sys.argv = ["merr", *arguments]
    try:
        main()
    except SystemExit as ended:
        os._exit(ended.code if isinstance(ended.code, int) else 1)
    finally:
        os._exit(1)


for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        run(json.loads(line))
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
