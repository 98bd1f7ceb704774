"""What a build adds to asking a model: evidence, prompt, check, row, against a bare SDK loop.

::

    python benchmarks/fusion.py [--count 5000] [--at-once 128] [--latency 1]

The store is filled with made rows (those of a sample, with words of their own for each clip) for
every stage before ``fine``. Then the same prompts go to the same server twice: by the SDK alone
with a semaphore, and by a build, which makes them, keeps limits, budget and cache, checks each text
and writes rows. The SDK alone is as it comes; the build has it speak HTTP through aiohttp. The
dataset is made after the last answer; what that takes is printed beside.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openai
from measuring.models import serving
from planning import rows_of_one, unsynced

from merr_pipeline.build import Build, open_build
from merr_pipeline.llm.answers import response_format, strict_schema
from merr_pipeline.llm.messages import as_sent
from merr_pipeline.llm.questions import Question
from merr_pipeline.llm.stage import CallStage
from merr_pipeline.pipeline import HEAD, Pipeline
from merr_pipeline.request import Request
from merr_pipeline.running import run_batches
from merr_pipeline.schema import ROW_HEAD, Row
from merr_pipeline.stage import Work, ok_row
from merr_pipeline.templates import shipped_samples

LEAST_RATIO, MOST_CPU_MS = 0.9, 5.0
ANSWER = {
    "label": "happy",
    "confidence": 0.4,
    "open_labels": ["cheerful"],
    "cues": [],
    "conflicts": [],
    "text": "Not all facial actions that are typical of happiness could be measured well here.",
}


def fill(request: Request, rows: dict[str, Row]) -> None:
    """Rows of every stage before ``fine``, for every clip."""
    with open_build(request) as build:
        _let_all_find(build.pipeline, rows)
        before = [stage.name for stage in build.pipeline.stages if stage.name != "fine"]
        with unsynced():
            for start in range(0, len(build.pending), 500):
                build.pipeline.run(build.pending[start : start + 500], before)
        build.pipeline.close()  # the face tool was warmed up for nothing


def _let_all_find(pipeline: Pipeline, rows: dict[str, Row]) -> None:
    head = {column.name for column in ROW_HEAD} - {"status", "reason", "detail"}
    for stage in pipeline.stages:
        found = {name: value for name, value in rows[stage.name].items() if name not in head}

        def annotate(
            batch: Sequence[Work], found: Row = found, name: str = stage.name
        ) -> list[Row]:
            if name == "transcript":
                return [_words(work.clip.clip_id) for work in batch]
            return [dict(found) for _ in batch]

        stage.annotate = annotate  # type: ignore[method-assign]


def _words(clip_id: str) -> Row:
    """Words of its own for each clip, or one answer would do for all."""
    return ok_row(
        {
            "transcript": f"This is what was said in number {clip_id}.",
            "transcript_source": "manifest",
            "segments": [],
            "turns": [],
            "flags": [],
        }
    )


def questions(build: Build) -> list[Question[Any]]:
    """What the build will ask, made beforehand for the bare loop."""
    (stage,) = (s for s in build.pipeline.stages if isinstance(s, CallStage))
    schemas = {other.name: other.schema.names for other in build.pipeline.stages}
    wanted = {
        name: (*HEAD, *stage.reads.get(name, schemas[name][len(HEAD) :])) for name in stage.needs
    }
    asked: list[Question[Any]] = []
    for start in range(0, len(build.pending), 250):
        states = build.pending[start : start + 250]
        rows = build.pipeline.rows(states, wanted)
        works = [Work(state.clip, row) for state, row in zip(states, rows, strict=True)]
        asked += [question for work in works for question in stage.questions(work)]
    return asked


async def bare(url: str, asked: Sequence[Question[Any]], at_once: int) -> None:
    """The SDK alone, with a semaphore."""
    free = asyncio.Semaphore(at_once)
    format_ = response_format(strict_schema(asked[0].answer), "schema")
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

        async def call(question: Question[Any]) -> None:
            async with free:
                completion = await client.chat.completions.create(
                    model="toy",
                    messages=as_sent(question.messages, "input_audio"),  # type: ignore[arg-type]
                    temperature=0,
                    max_tokens=1024,
                    response_format=format_,  # type: ignore[arg-type]
                )
            question.answer.model_validate_json(completion.choices[0].message.content or "")

        await asyncio.gather(*map(call, asked))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--at-once", type=int, default=128)
    parser.add_argument("--latency", type=float, default=1.0)
    options = parser.parse_args()
    rows = rows_of_one(shipped_samples() / "clips" / "smile.mp4")
    with serving(options.latency, ANSWER) as url, tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "clips"
        inputs.mkdir()
        for number in range(options.count):
            (inputs / f"{number:06}.mp4").write_bytes(number.to_bytes(8))
        asking = ("fine.by=model", f"llm.text.base_url={url}", "llm.text.model=toy")
        limits = (f"llm.text.concurrency={options.at_once}", "llm.max_calls=1000000")
        request = Request(inputs, Path(folder) / "out", overrides=(*asking, *limits))
        fill(request, rows)
        with open_build(request) as build:
            asked = questions(build)
            before_mb = peak_mb()
            wall_s, cpu_s = timed(lambda: asyncio.run(bare(url, asked, options.at_once)))
            bare_mb = peak_mb()
            calls_s, ours_cpu_s = timed(lambda: run_all(build))
            published_s, publish_cpu_s = timed(build.publish)
            done = build._done.outcomes
            paid = sum(use.requests for use in build.publish().models)
    assert len(asked) == len(done) == options.count, (len(asked), len(done))
    assert {outcome.status for outcome in done} == {"ok"}
    assert paid == options.count, paid
    ratio, count = wall_s / calls_s, options.count
    beyond = 1000 * (ours_cpu_s - cpu_s) / count
    print(f"{count} clips, {options.at_once} calls at once, {options.latency:g} s a call")
    print(
        f"rate, build / bare SDK: {ratio:.3f} ({count / calls_s:.0f} and {count / wall_s:.0f} ",
        end="",
    )
    print(f"clips/s); at least {LEAST_RATIO}: {'yes' if ratio >= LEAST_RATIO else 'NO'}")
    print(f"CPU a clip: SDK {1000 * cpu_s / count:.2f} ms, beyond it {beyond:.2f} ms; ", end="")
    print(f"under {MOST_CPU_MS:g}: {'yes' if beyond < MOST_CPU_MS else 'NO'}")
    print(f"publishing the dataset after that: {published_s:.1f} s, ", end="")
    print(f"{1000 * publish_cpu_s / count:.2f} ms CPU a clip")
    print(f"peak memory: {before_mb:.0f} MB before, {bare_mb:.0f} after the bare loop, ", end="")
    print(f"{peak_mb():.0f} after the build")


def run_all(build: Build) -> None:
    """All batches of the build."""
    for _, report in run_batches(build):
        build.count(report)


def timed(work: Any) -> tuple[float, float]:
    """Seconds of wall and CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def peak_mb() -> float:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
