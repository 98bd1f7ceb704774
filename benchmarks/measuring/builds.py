"""One real build with worker processes: its pace, and the memory that the processes take."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from measuring.clips import write_copy
from measuring.processes import command_line, descendants, peak_mb
from merr_pipeline.build import Build, open_build
from merr_pipeline.pipeline import State
from merr_pipeline.request import Request

WARM_UP = "warm_up"


@dataclass
class Run:
    """What one build took."""

    clips: int = 0  # without those that warm the workers up
    seconds: float = 0.0
    start_s: float = 0.0  # from nothing to warm workers
    peaks_mb: dict[str, list[float]] = field(default_factory=dict)  # by kind of process


def run_build(clips: Sequence[Path], copies: int, workers: int) -> Run:
    """Build copies of the clips from nothing."""
    with tempfile.TemporaryDirectory() as folder:
        inputs, out = Path(folder, "clips"), Path(folder, "out")
        inputs.mkdir()
        for place, clip in enumerate(clips):
            for number in range(copies):
                write_copy(clip, inputs / f"{place:03}_{number:03}{clip.suffix}", number)
        for number in range(workers):
            write_copy(clips[0], inputs / f"{WARM_UP}_{number}{clips[0].suffix}", copies + number)
        started = time.perf_counter()
        with open_build(Request(inputs, out, overrides=(f"engine.workers={workers}",))) as build:
            run = _run_batches(build, started)
            build.publish()
    return run


def _run_batches(build: Build, started: float) -> Run:
    run = Run()
    with build.engine() as engine, ThreadPoolExecutor(build.at_once) as threads:

        def run_all(batches: Sequence[Sequence[State]]) -> None:
            for report in threads.map(engine.run, batches):
                build.count(report)

        warm_up = [state for state in build.pending if state.clip.clip_id.startswith(WARM_UP)]
        build.pending = [state for state in build.pending if state not in warm_up]
        run_all([[state] for state in warm_up])  # one for each worker
        run.start_s = time.perf_counter() - started
        run.clips = len(build.pending)
        run_all(build.batches())
        run.seconds = time.perf_counter() - started - run.start_s
        run.peaks_mb = _peaks_mb()
    return run


def _peaks_mb() -> dict[str, list[float]]:
    """The peaks of this process's workers, and of the tools that they have started."""
    peaks: dict[str, list[float]] = {"worker": [], "face tool": []}
    for pid in descendants(os.getpid()):
        told = command_line(pid)
        if "spawn_main" in told:
            peaks["worker"].append(peak_mb(pid))
        elif "_program.py" in told and "--script" not in told:  # which is uv, that waits for it
            peaks["face tool"].append(peak_mb(pid))
    return peaks
