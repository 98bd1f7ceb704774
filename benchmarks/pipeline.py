"""What each stage costs, and what everything costs beyond the work that has to be done.

::

    python benchmarks/pipeline.py [CLIPS] [--rounds 3]

Whole builds in this process, with warm tools, beside the bare work run alone on the same clips:
decoding as many frames as the stages take (``probe`` all, ``moment`` up to the one of its
pictures), the face program's answer, the analysis of the voice. All else is ours and ought to stay
under a tenth of the bare work. Of several rounds the least counts; times are for orientation. What
a build does once, before its first clip, is left out: `scaling.py` says how long that takes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from measuring.clips import default_clips, manifest_of
from measuring.processes import cpu_s, descendants

from merr_pipeline.build import Build
from merr_pipeline.face.tools.process import ToolProcess
from merr_pipeline.media import read_sound
from merr_pipeline.pipeline import build_stages
from merr_pipeline.request import Request
from merr_pipeline.schema import Clip, Row
from merr_pipeline.settings import load_settings
from merr_pipeline.speech.vad import RATE_HZ, SpeechDetector
from merr_pipeline.speech.voice import measure_voice
from merr_pipeline.stage import BatchStage, is_ok

TARGET = 0.10
BARE = {
    "probe": "decoding every frame",
    "voice": "decoding and measuring the sound",
    "face": "the face program's answer",
    "moment": "decoding up to the frame of the pictures",
}
ALL = 1 << 62  # more frames than any clip has


@dataclass
class Cost:
    """Seconds on the clock, and of processors: of this process and of those it started."""

    wall_s: float = 0.0
    cpu_s: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s)

    def least(self, other: Cost) -> Cost:
        """The smaller of both, each number for itself."""
        return Cost(min(self.wall_s, other.wall_s), min(self.cpu_s, other.cpu_s))


class Meter:
    """Adds up what is spent under each name."""

    def __init__(self) -> None:
        self.costs: dict[str, Cost] = defaultdict(Cost)

    @contextmanager
    def count(self, name: str, children: Sequence[int] = ()) -> Iterator[None]:
        """Count the block; ``children`` are the processes that work for it."""
        before = _spent(children)
        yield
        after = _spent(children)
        self.costs[name] += Cost(after.wall_s - before.wall_s, after.cpu_s - before.cpu_s)

    def watch(self, owner: Any, method: str, name: str, children: Sequence[int] = ()) -> None:
        """Count each call of a method of ``owner`` from now on."""
        called: Callable[..., Any] = getattr(type(owner), method).__get__(owner)

        def counted(*given: Any) -> Any:
            with self.count(name, children):
                return called(*given)

        setattr(owner, method, counted)


def _spent(children: Sequence[int]) -> Cost:
    theirs_s = sum(cpu_s(child) for child in children)
    return Cost(time.perf_counter(), time.process_time() + theirs_s)


# --- the whole -------------------------------------------------------------------------------


def build_whole(
    clips: Path, out: Path, stages: Sequence[BatchStage], children: Sequence[int]
) -> tuple[Meter, Build]:
    """One build from nothing, with stages that are warm; the cost of each part of it."""
    meter = Meter()
    for stage in stages:
        meter.watch(stage, "annotate", stage.name, children if stage.name == "face" else ())
    with meter.count("plan"):
        build = Build(Request(clips, out, manifest_of(clips)), load_settings())
    build.pipeline.stages = tuple(stages)
    meter.watch(build.pipeline.store, "write", "store")
    with meter.count("all rows", children):
        for batch in build.batches():
            build.count(build.pipeline.run(batch))
    with meter.count("assemble"):
        build.publish()
    rows = meter.costs.pop("all rows")
    inside = [meter.costs[name] for name in (*(stage.name for stage in stages), "store")]
    meter.costs["keys, reads"] = Cost(
        rows.wall_s - sum(cost.wall_s for cost in inside),
        rows.cpu_s - sum(cost.cpu_s for cost in inside),
    )
    return meter, build


def warm_stages(clips: Path) -> tuple[BatchStage, ...]:
    """Stages that have built a dataset from one clip: imports are done, and the tools run."""
    stages = build_stages(load_settings())
    with tempfile.TemporaryDirectory() as out:
        build = Build(Request(clips, Path(out), manifest_of(clips)), load_settings())
        build.pipeline.stages = stages
        build.pipeline.run(build.pending[:1])
        build.publish()
    return stages


# --- the bare work ---------------------------------------------------------------------------

Asked = dict[Path, Callable[[], object]]  # by clip, what asks the face program about it again


@contextmanager
def record_asked() -> Iterator[Asked]:
    """Take note of what a face program is asked inside the block."""
    asked: Asked = {}
    ask = ToolProcess.ask

    def recorded(process: ToolProcess, request: Mapping[str, Any], limit_s: float) -> object:
        asked[Path(request["path"])] = lambda: ask(process, request, limit_s)
        return ask(process, request, limit_s)

    ToolProcess.ask = recorded  # type: ignore[assignment, method-assign]
    try:
        yield asked
    finally:
        ToolProcess.ask = ask  # type: ignore[method-assign]


def run_bare(
    found: Sequence[tuple[Clip, dict[str, Row]]],
    asked: Asked,
    detector: SpeechDetector,
    children: Sequence[int],
) -> Meter:
    """The bare work for all clips, given with the rows that say how far to go."""
    meter, voice = Meter(), load_settings().voice
    for clip, rows in found:
        if not is_ok(rows, "probe"):
            continue
        with meter.count("probe"):
            decode(clip.path, ALL)
        if rows["probe"]["has_sound"]:
            with meter.count("voice"):
                sound = read_sound(clip.path, RATE_HZ)
                measure_voice(sound.samples, detector, voice, sound.start_s)
        if clip.path in asked:
            with meter.count("face", children):
                asked[clip.path]()
        if is_ok(rows, "moment"):
            with meter.count("moment"):
                decode(clip.path, rows["moment"]["peak_frame_index"] + 1)
    return meter


def decode(path: Path, frames: int) -> None:
    """Decode the first frames of a clip with one thread, and do nothing with them."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_count = 1
        for number, _ in enumerate(container.decode(video=0), start=1):
            if number == frames:
                return


def rows_of(build: Build) -> list[tuple[Clip, dict[str, Row]]]:
    """The clips with what the bare work has to know of them."""
    columns = {
        "probe": ["status", "has_sound", "shots"],
        "moment": ["status", "peak_frame_index"],
    }
    states = [build.pipeline.settled(clip) for clip in build.inputs.clips]
    rows = build.pipeline.rows(states, columns)
    return [(state.clip, found) for state, found in zip(states, rows, strict=True)]


# --- both ------------------------------------------------------------------------------------


def measure(clips: Path, rounds: int) -> tuple[dict[str, Cost], dict[str, Cost], int]:
    """The least cost of each part of the whole, that of the bare work, and how many clips."""
    whole: dict[str, Cost] = {}
    bare: dict[str, Cost] = {}
    stages, detector = warm_stages(clips), SpeechDetector()
    try:
        children = descendants(os.getpid())
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as out, record_asked() as asked:
                meter, build = build_whole(clips, Path(out), stages, children)
                found = rows_of(build)
            _keep_least(whole, meter)
            _keep_least(bare, run_bare(found, asked, detector, children))
    finally:
        for stage in stages:
            stage.close()
    return whole, bare, len(found)


def _keep_least(costs: dict[str, Cost], meter: Meter) -> None:
    for name, cost in meter.costs.items():
        costs[name] = costs[name].least(cost) if name in costs else cost


def report(whole: dict[str, Cost], bare: dict[str, Cost], clips: int) -> None:
    """Print the parts, and what all of them cost beyond the bare work."""
    all_of_it, needed = sum(whole.values(), Cost()), sum(bare.values(), Cost())
    print(f"{clips} clips; ms per clip on the clock and of processors\n")
    print(f"{'part':12}{'wall':>8}{'cpu':>8}{'of all':>8}{'bare work':>12}{'cpu':>8}")
    for name, cost in whole.items():
        line = f"{name:12}{_ms(cost.wall_s, clips)}{_ms(cost.cpu_s, clips)}"
        line += f"{cost.wall_s / all_of_it.wall_s:8.1%}"
        if name in bare:
            line += f"{_ms(bare[name].wall_s, clips):>12}{_ms(bare[name].cpu_s, clips)}"
            line += f"  {BARE[name]}"
        print(line)
    print(
        f"{'all':12}{_ms(all_of_it.wall_s, clips)}{_ms(all_of_it.cpu_s, clips)}{1:8.0%}"
        f"{_ms(needed.wall_s, clips):>12}{_ms(needed.cpu_s, clips)}"
    )
    beyond = Cost(all_of_it.wall_s / needed.wall_s - 1, all_of_it.cpu_s / needed.cpu_s - 1)
    verdict = "met" if max(beyond.wall_s, beyond.cpu_s) < TARGET else "NOT met"
    print(
        f"\nbeyond the bare work: {beyond.wall_s:.1%} of it on the clock, "
        f"{beyond.cpu_s:.1%} of processors; target under {TARGET:.0%}: {verdict}"
    )


def _ms(seconds: float, clips: int) -> str:
    return f"{1000 * seconds / clips:8.1f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clips", nargs="?", type=Path, default=default_clips())
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    report(*measure(given.clips, given.rounds))


if __name__ == "__main__":
    main()
