"""A long-lived child process that answers one request after another.

Requests are JSON lines on its stdin, answers are length-prefixed Arrow IPC messages on its stdout
(see `facemesh_program.py`). The child is started at the first request and stays warm. It runs in a
process group of its own, so that a kill takes ``uv`` and the program with it; when this process
dies, its stdin ends and it ends too.
"""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa

START_LIMIT_S = 120.0  # to import everything on a loaded machine; takes about 2 s
END_LIMIT_S = 5.0  # to end by itself when its input ends
HEAD = struct.Struct("<Q")  # length of the message that follows, bytes
MOST_BYTES = 1 << 31  # of a message; meshes of ten minutes take a tenth


class ToolNotThere(Exception):  # noqa: N818 - the next four say what became of the child
    """The child ended before it was ready: its environment is missing or broken."""


class ToolDied(Exception):  # noqa: N818
    """The child ended while it worked on a request."""


class ToolTooSlow(Exception):  # noqa: N818
    """The child did not answer in time, and was killed."""


class ToolGarbled(Exception):  # noqa: N818
    """The child sent what is no message, and was killed: nobody knows where the next one begins."""


class ToolProcess:
    """The child; start it with `start`, end it with `close`."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        start_limit_s: float = START_LIMIT_S,
    ) -> None:
        self._command, self._environment = list(command), dict(environment)
        self._start_limit_s = start_limit_s
        self._child: subprocess.Popen[bytes] | None = None
        self._ready = False

    def start(self) -> None:
        """Start the child if none runs, and wait for it; why it does not start is said by `ask`."""
        with suppress(ToolNotThere):
            self._start()

    def _start(self) -> None:
        if self._child is None:
            self._ready = False
            try:
                self._child = subprocess.Popen(
                    self._command,
                    env=self._environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    bufsize=0,
                    start_new_session=True,
                )
            except OSError as error:  # no such program, or no process to be had
                raise ToolNotThere from error
        if not self._ready:
            self._greet()

    def ask(self, request: Mapping[str, Any], limit_s: float) -> pa.Table:
        """Send a request and wait for its answer; the time to start up is not counted.

        Raises:
            ToolNotThere: the child cannot be started.
            ToolDied: it ended during this request; the next `ask` starts another.
            ToolTooSlow: it took longer than ``limit_s``; likewise.
            ToolGarbled: it answered with what is no message; likewise.
        """
        self._start()
        try:
            self._send(json.dumps({**request, "limit_s": limit_s}).encode() + b"\n")
            return self._receive(time.monotonic() + limit_s)
        except (ToolDied, ToolTooSlow, ToolGarbled):
            self.kill()
            raise

    def close(self) -> None:
        """End the child: by itself, else by force."""
        if self._child is None:
            return
        assert self._child.stdin is not None
        self._child.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(END_LIMIT_S)
        self.kill()

    def kill(self) -> None:
        """End the child and everything that it started, at once."""
        if self._child is None:
            return
        with suppress(ProcessLookupError):  # it has ended, and so has its group
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            assert pipe is not None
            pipe.close()
        self._child = None

    def _greet(self) -> None:
        try:
            self._receive(time.monotonic() + self._start_limit_s)
        except (ToolDied, ToolTooSlow, ToolGarbled) as error:
            self.kill()
            raise ToolNotThere from error
        self._ready = True

    def _send(self, line: bytes) -> None:
        assert self._child is not None
        assert self._child.stdin is not None
        try:
            while line:
                line = line[self._child.stdin.write(line) :]
        except BrokenPipeError as error:
            raise ToolDied from error

    def _receive(self, deadline: float) -> pa.Table:
        (length,) = HEAD.unpack(self._read(HEAD.size, deadline))
        if length > MOST_BYTES:
            raise ToolGarbled
        message = self._read(length, deadline)
        try:
            return pa.ipc.open_stream(message).read_all()
        except (pa.ArrowException, OSError) as error:
            raise ToolGarbled from error

    def _read(self, length: int, deadline: float) -> bytes:
        assert self._child is not None
        assert self._child.stdout is not None
        content = bytearray()
        while len(content) < length:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not select.select([self._child.stdout], [], [], left_s)[0]:
                raise ToolTooSlow
            piece = os.read(self._child.stdout.fileno(), length - len(content))
            if not piece:
                raise ToolDied
            content += piece
        return bytes(content)
