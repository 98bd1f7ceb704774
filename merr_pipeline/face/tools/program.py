"""The tool programs' side of the conversation with `tools/process.py`.

It is imported inside the tools' own environments, so it takes nothing beyond pyarrow and `stage`.

In, one JSON object a line on stdin. Out, for each line one message on stdout: its length (8 bytes,
little endian), then an Arrow IPC stream whose metadata holds counts, or ``reason`` and ``detail``
where the clip could not be measured. Before the first message comes one without rows whose
``ready`` names the version of what measures.
"""

from __future__ import annotations

import faulthandler
import json
import os
import queue
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any

import pyarrow as pa

from merr_pipeline.schema import Reason
from merr_pipeline.stage import NotOk, describe

GRACE_S = 5.0  # beyond the time that a request may take

Rows = Sequence[Mapping[str, Any]]
Measure = Callable[[dict[str, Any]], tuple[Rows, Mapping[str, int]]]


def serve(measure: Measure, schema: pa.Schema, version: str) -> None:
    """Answer requests, one at a time; does not return."""
    replies = _take_stdout()
    _send(replies, schema, [], {"ready": version})
    for line in _requests():
        request = json.loads(line)
        # by then nobody waits any more; this ends even one that hangs in C code
        faulthandler.dump_traceback_later(request["limit_s"] + GRACE_S, exit=True)
        rows, metadata = _answer(measure, request)
        faulthandler.cancel_dump_traceback_later()
        _send(replies, schema, rows, metadata)


def _requests() -> Iterator[str]:
    """The lines of stdin as they come; when it ends the program ends, in the middle of a clip too.

    It ends in the middle only when the process that asked has died: nobody waits for the answer.
    """
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        yield lines.get()


def _take_stdout() -> IO[bytes]:
    """Keep the real stdout for messages; whatever else prints now goes to stderr."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return replies


def _answer(measure: Measure, request: dict[str, Any]) -> tuple[Rows, dict[str, str]]:
    """Rows and metadata for one clip; a bad clip gives ``reason`` and ``detail``."""
    try:
        rows, counts = measure(request)
    except NotOk as ended:
        return [], {"reason": ended.reason.value, "detail": ended.detail}
    except MemoryError as error:
        return [], {"reason": Reason.OUT_OF_MEMORY.value, "detail": describe(error)}
    except Exception as error:  # one bad clip must not end the program
        return [], {"reason": "tool_output_invalid", "detail": f"{type(error).__name__}: {error}"}
    return rows, {name: str(count) for name, count in counts.items()}


def _send(replies: IO[bytes], schema: pa.Schema, rows: Rows, metadata: Mapping[str, str]) -> None:
    table = pa.Table.from_pylist(rows, schema=schema.with_metadata(dict(metadata)))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    message = sink.getvalue()
    replies.write(struct.pack("<Q", message.size))
    replies.write(message)
    replies.flush()
