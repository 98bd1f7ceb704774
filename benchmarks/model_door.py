"""What the door to models costs beyond the SDK that it calls.

::

    python benchmarks/model_door.py [--calls 1024] [--at-once 128] [--latency 1.0] [--rounds 3]

A server in a process of its own answers each call after the latency. The same questions are put by
a bare loop over the SDK and by the door (limits, ledger, cache on disk, checked answers), in turns,
in one process. Printed are the ratio of the rates, the CPU time a call of both, and what a question
costs whose answer is in the cache.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import openai
from measuring.models import serving
from pydantic import BaseModel

from merr_pipeline.llm.answers import response_format, strict_schema
from merr_pipeline.llm.client import Door
from merr_pipeline.llm.messages import Message, as_sent, system, user
from merr_pipeline.llm.prices import load_prices
from merr_pipeline.llm.questions import Question
from merr_pipeline.settings import LlmSettings

LEAST_RATIO = 0.9
MOST_CPU_MS = 2.0


class Cue(BaseModel):
    """One clue of an answer."""

    evidence_id: str
    reading: str


class Fine(BaseModel):
    """An answer about as long as real ones."""

    label: str
    confidence: float
    cues: list[Cue]
    text: str


ANSWER = Fine(
    label="happy",
    confidence=0.7,
    cues=[
        Cue(evidence_id=f"E{number}", reading="the lip corners are pulled up")
        for number in range(6)
    ],
    text="The lip corners rise and the voice is lively and high. " * 8,
)


@dataclass(frozen=True)
class Run:
    """How long some calls took."""

    calls: int
    wall_s: float
    cpu_s: float

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.calls / self.wall_s

    @property
    def cpu_ms(self) -> float:
        """CPU time of a call."""
        return 1000 * self.cpu_s / self.calls


def prompts(calls: int, mark: str) -> list[tuple[Message, ...]]:
    """Prompts about as long as real ones (2,000 letters), each of its own."""
    evidence = "\n".join(f"E{n}: AU12 (lip corner puller) 2.{n} of 5 at 1.{n} s" for n in range(40))
    return [
        (system("You read evidence."), user(f"clip {mark} {number}\n{evidence}"))
        for number in range(calls)
    ]


async def bare(url: str, told: Sequence[tuple[Message, ...]], at_once: int) -> None:
    """The SDK alone, with a semaphore."""
    free, format_ = asyncio.Semaphore(at_once), response_format(strict_schema(Fine), "schema")
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

        async def call(messages: tuple[Message, ...]) -> None:
            async with free:
                completion = await client.chat.completions.create(
                    model="toy",
                    messages=as_sent(messages, "input_audio"),  # type: ignore[arg-type]
                    temperature=0,
                    seed=0,
                    max_tokens=1024,
                    response_format=format_,  # type: ignore[arg-type]
                )
            Fine.model_validate_json(completion.choices[0].message.content or "")

        await asyncio.gather(*(call(messages) for messages in told))


async def through_the_door(
    url: str, told: Sequence[tuple[Message, ...]], at_once: int, cache: Path
) -> None:
    """The door, with limits that it must count but that do not bind."""
    settings = LlmSettings.model_validate(
        {
            "text": {
                "base_url": url,
                "model": "toy",
                "concurrency": at_once,
                "requests_per_minute": 1e7,
                "tokens_per_minute": 1e10,
            },
            "max_calls": 10**9,
        }
    )
    async with Door(settings, ["text"], cache, load_prices()) as door:
        await asyncio.gather(
            *(door.ask(Question("text", "fine", messages, Fine)) for messages in told)
        )


def timed(calls: int, work: Callable[[], Awaitable[None]]) -> Run:
    """Run it once."""

    async def run() -> Run:
        wall, cpu = time.perf_counter(), time.process_time()
        await work()
        return Run(calls, time.perf_counter() - wall, time.process_time() - cpu)

    return asyncio.run(run())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, default=1024)
    parser.add_argument("--at-once", type=int, default=128)
    parser.add_argument("--latency", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    calls, at_once = options.calls, options.at_once
    pairs: list[tuple[Run, Run]] = []
    hits: list[Run] = []
    with (
        serving(options.latency, ANSWER.model_dump()) as url,
        tempfile.TemporaryDirectory() as folder,
    ):
        cache = Path(folder) / "answers.sqlite"
        timed(8, lambda: bare(url, prompts(8, "warm"), at_once))
        timed(8, lambda: through_the_door(url, prompts(8, "warm"), at_once, cache))
        before_mb = peak_mb()
        for number in range(options.rounds):
            told = prompts(calls, str(number))
            one = timed(calls, lambda told=told: bare(url, told, at_once))
            other = timed(calls, lambda told=told: through_the_door(url, told, at_once, cache))
            pairs.append((one, other))
            hits.append(timed(calls, lambda told=told: through_the_door(url, told, at_once, cache)))
        report(pairs, hits, peak_mb() - before_mb)


def peak_mb() -> float:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def report(pairs: Sequence[tuple[Run, Run]], hits: Sequence[Run], grown_mb: float) -> None:
    """Print the medians over the rounds, with what was promised."""
    ratios = [door.rate / sdk.rate for sdk, door in pairs]
    beyond = [door.cpu_ms - sdk.cpu_ms for sdk, door in pairs]
    ratio, cost = statistics.median(ratios), statistics.median(beyond)
    print(f"openai {openai.__version__}, {len(pairs)} rounds of {pairs[0][0].calls} calls")
    print(f"rate, door / SDK: {ratio:.3f} ({min(ratios):.3f} to {max(ratios):.3f})", end="")
    print(f"; at least {LEAST_RATIO}: {'yes' if ratio >= LEAST_RATIO else 'NO'}")
    sdk_ms = statistics.median(sdk.cpu_ms for sdk, _ in pairs)
    print(f"CPU a call: SDK {sdk_ms:.2f} ms; beyond it {cost:.2f} ms ", end="")
    print(f"({min(beyond):.2f} to {max(beyond):.2f}); under {MOST_CPU_MS}: ", end="")
    print("yes" if cost < MOST_CPU_MS else "NO")
    print(f"CPU of an answer from the cache: {statistics.median(h.cpu_ms for h in hits):.2f} ms")
    print(f"peak memory grew by {grown_mb:.0f} MB")


if __name__ == "__main__":
    main()
