"""What each stage costs, as ratios from one run: to decoding alone, and to the whole.

::

    python benchmarks/pipeline.py [CLIPS]        # default: data/samples

All stages run in this process on one clip after another, with warm tools; decoding alone is the
same frames through PyAV, one thread, thrown away. Seconds are printed for orientation only.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import av

from merr_pipeline.clips.manifest import read_inputs
from merr_pipeline.pipeline import BatchReport, Pipeline, build_stages
from merr_pipeline.schema import Clip
from merr_pipeline.settings import load_settings

SAMPLES = Path(__file__).parent.parent / "data" / "samples"
WORK = ("probe", "face", "voice")  # decoding, the face tool, the voice: what must be paid


def decode_alone(clips: list[Clip]) -> tuple[float, int]:
    """Seconds and frames of decoding every clip and doing nothing with it."""
    frames, started = 0, time.perf_counter()
    for clip in clips:
        with av.open(str(clip.path)) as container:
            container.streams.video[0].thread_count = 1
            frames += sum(1 for _ in container.decode(video=0))
    return time.perf_counter() - started, frames


def run_stages(clips: list[Clip]) -> tuple[float, BatchReport]:
    """Seconds of the whole, and per stage, with tools started and imports done before."""
    with tempfile.TemporaryDirectory() as warm, tempfile.TemporaryDirectory() as out:
        pipeline = Pipeline(build_stages(load_settings()), Path(warm))
        pipeline.run([pipeline.plan(clips[0])])
        pipeline.store = Pipeline(build_stages(load_settings()), Path(out)).store
        report, started = BatchReport(), time.perf_counter()
        for clip in clips:
            report.add(pipeline.run([pipeline.plan(clip)]))
        seconds = time.perf_counter() - started
        pipeline.close()
    return seconds, report


def main() -> None:
    """Measure and print."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES
    clips = list(read_inputs(root).clips)
    bare_s, frames = decode_alone(clips)
    whole_s, report = run_stages(clips)
    print(f"{len(clips)} clips, {frames} frames; decoding alone {bare_s:.2f} s")
    print(f"{'stage':12}{'seconds':>9}{'of whole':>10}{'to decoding':>13}")
    for stage, seconds in report.seconds.items():
        print(f"{stage:12}{seconds:9.2f}{seconds / whole_s:10.1%}{seconds / bare_s:13.2f}")
    paid = sum(report.seconds[stage] for stage in WORK)
    print(f"everything but {', '.join(WORK)}: {(whole_s - paid) / paid:.1%} of these")


if __name__ == "__main__":
    main()
