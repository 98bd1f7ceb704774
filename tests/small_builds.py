"""Builds of clips of half a second inside this process, for tests of what befalls a build."""

from __future__ import annotations

from collections import Counter
from io import StringIO
from pathlib import Path

import av
import pyarrow.parquet as pq
from builds import SAMPLES
from made_clips import at_rate, write_clip
from rich.console import Console

from merr_pipeline.build import Build, open_build
from merr_pipeline.request import Request
from merr_pipeline.running import print_plan, print_summary
from merr_pipeline.summary import Summary

Key = tuple[str, str]  # stage, input key


def cut_sample(clips: Path, name: str) -> Path:
    """Half a second of a sample, around the apex, without sound."""
    with av.open(SAMPLES / "clips" / f"{name}.mp4") as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return write_clip(clips / f"{name}.mp4", at_rate(frames[34:48]))


def build_here(
    clips: Path, out: Path, *overrides: str, manifest: Path | None = None
) -> tuple[Summary, str]:
    """A build without workers; its summary, and what a user reads of it."""
    request = Request(clips, out, manifest, overrides=overrides)
    console = Console(file=StringIO(), soft_wrap=True)
    with open_build(request) as build:
        print_plan(build, console)
        run_here(build)
        summary = build.publish()
    print_summary(summary, request, console)
    return summary, console.file.getvalue()


def run_here(build: Build) -> None:
    """All batches of a build, in this process."""
    try:
        for batch in build.batches():
            build.count(build.pipeline.run(batch))
    finally:
        build.pipeline.close()


def keys(out: Path) -> Counter[Key]:
    """How often each row is in the store."""
    return Counter(
        (path.parent.name, key)
        for path in out.glob("annotations/*/part-*.parquet")
        for key in pq.read_table(path, partitioning=None)["input_key"].to_pylist()
    )
