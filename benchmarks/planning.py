"""What it costs to look at a store that is full, and to publish from it, as it grows.

::

    python benchmarks/planning.py [CLIPS] [--count 4000]

The store is filled with the rows of one clip under the names and keys of many; then the commands
run as a user runs them: ``merr status``, a build that has nothing to do but to publish, and the
same again, when the dataset is there already. All of it with ``--count`` clips, with a quarter and
with a sixteenth of them: that another clip costs more where there are many is a fault.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from measuring.clips import default_clips, find_clips, write_copy

from merr_pipeline import files
from merr_pipeline.build import open_build
from merr_pipeline.pipeline import Pipeline
from merr_pipeline.request import Request
from merr_pipeline.schema import ROW_HEAD, Row
from merr_pipeline.stage import Work

SHARES = (16, 4, 1)
PROPORTIONAL = 1.25  # growth of what another clip costs, at most
COMMANDS = {
    "status": "status",
    "publish anew": "build",
    "publish again": "build",
}


@dataclass(frozen=True)
class Ran:
    """What one command took."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def rows_of_one(clip: Path, **facts: str) -> dict[str, Row]:
    """What every stage finds in a clip, by the real stages; ``facts`` are of a manifest."""
    with tempfile.TemporaryDirectory() as folder:
        inputs, out, manifest = (Path(folder, name) for name in ("clips", "out", "clips.jsonl"))
        inputs.mkdir()
        write_copy(clip, inputs / clip.name, 0)
        manifest.write_text(json.dumps({"path": clip.name, **facts}) + "\n", "utf-8")
        with open_build(Request(inputs, out, manifest)) as build:
            pipeline = build.pipeline
            pipeline.run(build.pending)
            pipeline.close()
            pipeline.store.refresh()
            state = pipeline.settled(build.inputs.clips[0])
            return pipeline.rows([state], {s.name: s.schema.names for s in pipeline.stages})[0]


def fill(folder: Path, rows: Mapping[str, Row], count: int) -> Request:
    """A folder of so many clips, and a store that has these rows for each."""
    inputs = folder / "clips"
    inputs.mkdir(parents=True)
    for number in range(count):
        (inputs / f"{number:06}.mp4").write_bytes(number.to_bytes(8))
    request = Request(inputs, folder / "out")
    with open_build(request) as build:
        _let_all_find(build.pipeline, rows)
        build.batch_size = build.settings.engine.batch_size  # batches as large as they come
        with unsynced():
            for batch in build.batches():
                build.pipeline.run(batch)
    return request


@contextmanager
def unsynced() -> Iterator[None]:
    """Do not wait for the disk inside the block; what is filled is thrown away."""
    sync = files.sync
    files.sync = lambda path: None
    try:
        yield
    finally:
        files.sync = sync


def _let_all_find(pipeline: Pipeline, rows: Mapping[str, Row]) -> None:
    """Let every stage find the same in every clip."""
    head = {column.name for column in ROW_HEAD} - {"status", "reason", "detail"}
    for stage in pipeline.stages:
        found = {name: value for name, value in rows[stage.name].items() if name not in head}

        def annotate(batch: Sequence[Work], found: Row = found) -> list[Row]:
            return [dict(found) for _ in batch]

        stage.annotate = annotate  # type: ignore[method-assign]


def run_command(name: str, request: Request) -> Ran:
    """Run ``merr`` in a process of its own."""
    given: list[str | Path] = [request.clips, "--out", request.out]
    given += ["--manifest", request.manifest] if request.manifest else []
    given += [word for setting in request.overrides for word in ("--set", setting)]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "measuring.merr", name, *given],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Ran(time.perf_counter() - started, **json.loads(done.stdout.splitlines()[-1]))


def measure(rows: Mapping[str, Row], count: int) -> dict[str, Ran]:
    """What each command takes with so many clips."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        request = fill(Path(folder), rows, count)
        print(f"({count} clips: filled in {time.perf_counter() - started:.0f} s)", flush=True)
        return {what: run_command(name, request) for what, name in COMMANDS.items()}


def report(counts: Sequence[int], ran: Sequence[Mapping[str, Ran]]) -> None:
    """Print all sizes, and what another clip costs in the larger stores against the smaller."""
    print(f"{'':16}" + "".join(f"{f'{count} clips':>24}" for count in counts))
    print(f"{'':16}" + f"{'wall s':>8}{'cpu s':>8}{'MB':>8}" * len(counts) + f"{'growth':>10}")
    for what in COMMANDS:
        took = [of_size[what] for of_size in ran]
        cells = "".join(f"{t.wall_s:8.1f}{t.cpu_s:8.1f}{t.peak_mb:8.0f}" for t in took)
        steps = [
            (after.cpu_s - before.cpu_s) / (many - few)
            for (few, many), (before, after) in zip(pairwise(counts), pairwise(took), strict=True)
        ]
        growth = steps[-1] / steps[0]
        verdict = "met" if growth <= PROPORTIONAL else "NOT met"
        print(f"{what:16}{cells}{growth:10.2f}  at most {PROPORTIONAL}: {verdict}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clips", nargs="?", type=Path, default=default_clips())
    parser.add_argument("--count", type=int, default=4000)
    given = parser.parse_args()
    rows = rows_of_one(find_clips(given.clips)[0])
    counts = [given.count // share for share in SHARES]
    report(counts, [measure(rows, count) for count in counts])


if __name__ == "__main__":
    main()
