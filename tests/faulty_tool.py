"""The ``merr`` command with a face tool that fails on some clips, each by a name in `FAULTS`.

::

    python faulty_tool.py build CLIPS --out OUT

The command is the real one, and so is the tool on all other clips: in its place this file runs, and
hands on what the real program says. A spawned worker first imports the script that its parent ran,
so the tool is replaced there too.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

HEAD = struct.Struct("<Q")


def main() -> None:
    """Stand between the worker and the real program."""
    real = start_real()
    send(message())  # ready
    for line in sys.stdin.buffer:
        name = Path(json.loads(line)["path"]).stem
        if name in FAULTS:
            FAULTS[name]()
            continue
        real.stdin.write(line)
        real.stdin.flush()
        send(read_message(real.stdout))


def start_real() -> subprocess.Popen[bytes]:
    """The real program, ready."""
    real = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    read_message(real.stdout)
    return real


def message() -> bytes:
    """A message that is well formed and says nothing."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    table = pa.table({"n": [1, 2]})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content = sink.getvalue().to_pybytes()
    return HEAD.pack(len(content)) + content


def read_message(stream: IO[bytes]) -> bytes:
    head = stream.read(HEAD.size)
    return head + stream.read(*HEAD.unpack(head)) if head else sys.exit(1)


def send(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def die() -> None:
    os._exit(3)


def hang() -> None:
    time.sleep(600)


def say_half_and_hang() -> None:
    send(HEAD.pack(1000) + b"half of it")
    time.sleep(600)


def print_words() -> None:
    send(b"WARNING: all log messages before absl::InitializeLog()\n")


def send_what_is_no_table() -> None:
    send(HEAD.pack(40) + b"x" * 40)


def send_another_table() -> None:
    send(message())


FAULTS: dict[str, Callable[[], None]] = {
    "dies": die,
    "hangs": hang,
    "says_half": say_half_and_hang,
    "words": print_words,
    "no_table": send_what_is_no_table,
    "another_table": send_another_table,
}
TOOL = "--as-the-tool"

if TOOL in sys.argv:
    main()
elif __name__ in ("__main__", "__mp_main__"):  # the command, or a worker that it spawned
    from merr_pipeline.face.tools import environment, facemesh

    def command(name: str) -> list[str]:
        return [sys.executable, __file__, TOOL, *environment.command(name)]

    facemesh.command = command
    if __name__ == "__main__":
        from merr_pipeline.cli import main as merr

        sys.argv[0] = "merr"
        merr()
