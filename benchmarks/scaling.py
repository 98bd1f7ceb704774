"""Memory of a build that grows, and how much faster two workers are than one.

::

    python benchmarks/scaling.py [CLIPS] [--copies 10] [--speed-copies 2] [--rounds 2]

Real builds with worker processes. For memory, of the clips once and of ``--copies`` of each: the
most that any worker, and any tool that it started, has ever had in RAM. For speed, of
``--speed-copies`` of each, by one worker and by two in turns; the clock starts when every worker
has finished a clip, so that starting up and the first use of models are not in it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from measuring.clips import default_clips, find_clips

if TYPE_CHECKING:
    from measuring.builds import Run

MOST_MB = 700
FLAT = 1.1
SPEED_UP = 1.7


def report_memory(few: Run, many: Run) -> None:
    """Print the peaks of two builds, and whether they keep to what was promised."""
    print(f"peak memory in MB (10^6 bytes): {few.clips} clips, {many.clips} clips")
    for kind in few.peaks_mb:
        before, after = max(few.peaks_mb[kind]), max(many.peaks_mb[kind])
        grown, fits = after / before, after < MOST_MB
        print(f"  {kind:10}{before:7.0f}{after:7.0f}  ratio {grown:.2f}", end="")
        print(f"; under {MOST_MB}: {_met(fits)}; flat (under {FLAT}): {_met(grown < FLAT)}")


def report_speed(one: Sequence[Run], two: Sequence[Run]) -> None:
    """Print clips per second of one worker and of two, and how they compare."""
    slow, fast = (statistics.median(run.clips / run.seconds for run in runs) for runs in (one, two))
    starts = ", ".join(
        f"{statistics.median(run.start_s for run in runs):.1f} s for {name}"
        for name, runs in (("one worker", one), ("two", two))
    )
    print(f"clips/s: one worker {slow:.2f}, two {fast:.2f} (medians of {len(one)})")
    print(f"  ratio {fast / slow:.2f}; at least {SPEED_UP}: {_met(fast / slow >= SPEED_UP)}")
    print(f"  not in it: starting up, with the first clip: {starts}")


def _met(is_so: bool) -> str:
    return "met" if is_so else "NOT met"


@contextmanager
def _said(what: str) -> Iterator[None]:
    """Say how long a build took, for those who wait."""
    started = time.perf_counter()
    yield
    print(f"({what}: {time.perf_counter() - started:.0f} s)", flush=True)


def main() -> None:
    """Measure and print."""
    # here, for every worker imports this script, and must load no more than it does for `merr`
    from measuring.builds import run_build

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clips", nargs="?", type=Path, default=default_clips())
    parser.add_argument("--copies", type=int, default=10, help="0 leaves memory out")
    parser.add_argument("--speed-copies", type=int, default=2, help="0 leaves speed out")
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    clips = find_clips(given.clips)
    if given.copies:
        with _said(f"{len(clips)} clips"):
            few = run_build(clips, 1, 2)
        with _said(f"{len(clips) * given.copies} clips"):
            many = run_build(clips, given.copies, 2)
        report_memory(few, many)
    if given.speed_copies:
        one, two = [], []
        for _ in range(given.rounds):
            with _said("one worker"):
                one.append(run_build(clips, given.speed_copies, 1))
            with _said("two workers"):
                two.append(run_build(clips, given.speed_copies, 2))
        report_speed(one, two)


if __name__ == "__main__":
    main()
