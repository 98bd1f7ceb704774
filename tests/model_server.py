"""A real HTTP server that speaks chat completions and fails by script.

::

    with ModelServer([status(429, retry_after=1), answer({"label": "happy"})]) as server:
        ...                      # ask server.url; it takes one step for each request, in order
        server.requests          # what it was asked, with times

The last step is repeated. A function of the request may stand in place of the list. As a program it
answers everything alike: ``python tests/model_server.py --latency 0.05`` prints its address.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

PROMPT_TOKENS, COMPLETION_TOKENS = 100, 20


@dataclass(frozen=True)
class Step:
    """How one request is answered."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    first_byte_s: float = 0.0  # until anything is sent
    byte_s: float = 0.0  # between the bytes of the body
    cut: bool = False  # the connection ends after half the body


@dataclass(frozen=True)
class Asked:
    """One request, as it arrived."""

    number: int  # from 0
    body: dict[str, Any]
    headers: dict[str, str]
    time_s: float  # of the steady clock

    @property
    def text(self) -> str:
        """All that is written in it."""
        contents = [message["content"] for message in self.body["messages"]]
        parts = [part for c in contents for part in ([c] if isinstance(c, str) else c)]
        return "\n".join(p if isinstance(p, str) else p.get("text", "") for p in parts)


def said(
    content: str | None,
    *,
    finish: str = "stop",
    refusal: str | None = None,
    tokens: tuple[int, int] | None = (PROMPT_TOKENS, COMPLETION_TOKENS),
) -> Step:
    """A completion with this text."""
    message = {"role": "assistant", "content": content, "refusal": refusal}
    body: dict[str, Any] = {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "toy",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
    }
    if tokens is not None:
        names = ("prompt_tokens", "completion_tokens", "total_tokens")
        body["usage"] = dict(zip(names, (*tokens, sum(tokens)), strict=True))
    return Step(body=json.dumps(body).encode())


def answer(value: Any, **more: Any) -> Step:
    """A completion with this value as JSON."""
    return said(json.dumps(value, ensure_ascii=False), **more)


def status(
    code: int,
    message: str = "no",
    error_code: str | None = None,
    param: str | None = None,
    **headers: str,
) -> Step:
    """An error in the protocol's shape; ``retry_after="1"`` becomes the header Retry-After."""
    error = {"message": message, "type": "error", "param": param, "code": error_code}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Step(code, json.dumps({"error": error}).encode(), named)


def slow(step: Step, first_byte_s: float = 0.0, byte_s: float = 0.0) -> Step:
    """The same, later or in drops."""
    return replace(step, first_byte_s=first_byte_s, byte_s=byte_s)


HANG = Step(first_byte_s=3600)
CUT = replace(said('{"label": "happy"}'), cut=True)

Script = Callable[[Asked], Step]


class ModelServer:
    """The server, in a thread of its own while the block runs."""

    def __init__(self, script: Sequence[Step] | Script) -> None:
        steps = script if callable(script) else list(script)
        self._script: Script = (
            steps if callable(steps) else lambda asked: steps[min(asked.number, len(steps) - 1)]
        )
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.requests: list[Asked] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.port = 0

    @property
    def url(self) -> str:
        """To be given as ``base_url``."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> ModelServer:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        self._loop.run_until_complete(self.serve())
        self._loop.close()

    async def serve(self, port: int = 0) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._talk, "127.0.0.1", port)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        talks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._serve_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        raw = await reader.readexactly(int(headers.get("content-length", "0")))
        asked = Asked(len(self.requests), json.loads(raw), headers, time.monotonic())
        self.requests.append(asked)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._answer(self._script(asked), writer)
        finally:
            self.in_flight -= 1

    async def _answer(self, step: Step, writer: asyncio.StreamWriter) -> bool:
        if step.first_byte_s:
            await asyncio.sleep(step.first_byte_s)
        headers = {
            "content-type": "application/json",
            "content-length": str(len(step.body)),
            **step.headers,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {step.status} said\r\n{lines}\r\n".encode("latin-1"))
        body = step.body[: len(step.body) // 2] if step.cut else step.body
        if step.byte_s:
            for place in range(len(body)):
                writer.write(body[place : place + 1])
                await writer.drain()
                await asyncio.sleep(step.byte_s)
        else:
            writer.write(body)
        await writer.drain()
        return not step.cut


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--answer", default='{"label": "happy"}')
    options = parser.parse_args()
    step = slow(said(options.answer), options.latency)
    server = ModelServer(lambda _: step)

    async def serve() -> None:
        serving = asyncio.create_task(server.serve())
        while not server.port:
            await asyncio.sleep(0.01)
        print(server.url, flush=True)
        await serving

    asyncio.run(serve())


if __name__ == "__main__":
    main()
