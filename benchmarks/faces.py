"""What faces cost, and what half the frame rate saves: ratios from one run.

::

    python benchmarks/faces.py [CLIPS]     # default: real clips beside the checkout, else samples

Costs are processor seconds, with warm programs: the tool's are those of its own process, decoding
included; what the face stage makes of its answer (tracks, Action Units) is spent in this one. Of
the moment stage, decoding up to the peak frame counts as bare work.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measuring.clips import default_clips, face_landmarker
from measuring.processes import cpu_s, descendants

from merr_pipeline.clips.manifest import read_inputs
from merr_pipeline.clips.probe import ProbeStage
from merr_pipeline.face.stage import FaceStage
from merr_pipeline.media import read_frames
from merr_pipeline.moment.stage import MomentStage
from merr_pipeline.schema import MerrError, Row
from merr_pipeline.settings import load_settings
from merr_pipeline.speech.voice import VoiceStage
from merr_pipeline.stage import Work

TOOLS = ("facemesh", "blendshapes")  # the programs that can be at hand; OpenFace comes as CSVs
HALF_RATE_HZ = 12.5
TARGET = 0.10


@dataclass(frozen=True)
class Cost:
    """Processor seconds."""

    here_s: float  # in this process
    tool_s: float  # in the programs that it started


def cost(work: Callable[[], Any]) -> tuple[Cost, Any]:
    """What some work costs, and what it gives."""
    here_s, tool_s = time.process_time(), children_s()
    result = work()
    return Cost(time.process_time() - here_s, children_s() - tool_s), result


def children_s() -> float:
    """Processor seconds so far of all living programs that this process has started."""
    return sum(cpu_s(child) for child in descendants(os.getpid()))


def main() -> None:
    """Measure and print."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else default_clips()
    works = prepared(root)
    frames = sum(work.seen["probe"]["frame_count"] for work in works)
    decoding, _ = cost(lambda: [sum(1 for _ in read_frames(w.clip.path, "rgb24")) for w in works])
    decode_s = decoding.here_s
    print(f"{len(works)} clips, {frames} frames of {root.name}")
    print(f"{'':28}{'frames/CPU s':>13}{'to decoding':>13}")
    line("decoding alone", frames, decode_s, decode_s)
    for tool in TOOLS:
        try:
            stage = warm(works, tool)
        except MerrError as error:
            print(f"{tool:28}skipped, not at hand: {str(error).splitlines()[0]}")
            continue
        face, rows = cost(lambda stage=stage: stage.annotate(works))
        stage.close()
        moment, seeking = moment_cost(works, rows)
        line(f"{tool} alone", frames, face.tool_s, decode_s)
        line("  with face and moment", frames, face.tool_s + face.here_s + moment, decode_s)
        beyond = (face.here_s + moment - seeking) / (face.tool_s + seeking)
        verdict = "met" if beyond < TARGET else "not met"
        print(f"  beyond decoding and tool: {beyond:.1%} of them (target {TARGET:.0%}: {verdict})")
    compare_rates(works)


def prepared(root: Path) -> list[Work]:
    """All clips that the probe accepts, with their probe and voice rows."""
    settings = load_settings()
    voice = VoiceStage(settings)
    voice.setup()
    works = []
    for clip in read_inputs(root).clips:
        seen: dict[str, Row] = {}
        seen["probe"] = ProbeStage(settings).annotate([Work(clip, seen)])[0]
        if seen["probe"]["status"] == "ok":
            seen["voice"] = voice.annotate([Work(clip, seen)])[0]
            works.append(Work(clip, seen))
    return works


def warm(works: list[Work], tool: str, *overrides: str) -> FaceStage:
    """A face stage whose program has answered once.

    Raises:
        MerrError: the program or its model is not here.
    """
    model = face_landmarker()  # else where `merr tools install blendshapes` puts it
    words = [f"face.blendshapes.model={model}"] if model else []
    stage = FaceStage(load_settings(overrides=[f"face.tool={tool}", *words, *overrides]))
    stage.setup()
    row = stage.annotate(works[:1])[0]
    if row["reason"] == "tool_missing":
        stage.close()
        raise MerrError(row["detail"])
    return stage


def moment_cost(works: list[Work], rows: list[Row]) -> tuple[float, float]:
    """Of the moment stage, and of decoding as far as it does."""
    stage = MomentStage(load_settings())
    seen = [Work(w.clip, {**w.seen, "face": row}) for w, row in zip(works, rows, strict=True)]
    moment, found = cost(lambda: stage.annotate(seen))
    last = [row.get("peak_frame_index") for row in found]
    seeking, _ = cost(
        lambda: [
            next(read_frames(w.clip.path, "rgb24", n, from_frame=n))
            for w, n in zip(works, last, strict=True)
            if n is not None
        ]
    )
    return moment.here_s, seeking.here_s


def line(name: str, frames: int, seconds: float, decode_s: float) -> None:
    """One row of the table."""
    print(f"{name:28}{frames / seconds:13.1f}{seconds / decode_s:13.2f}")


def compare_rates(works: list[Work]) -> None:
    """Facemesh on every frame against facemesh at half the usual rate."""
    stages = [
        warm(works, "facemesh"),
        warm(works, "facemesh", f"face.facemesh.rate_hz={HALF_RATE_HZ}"),
    ]
    (whole, full), (less, half) = (cost(lambda s=s: s.annotate(works)) for s in stages)
    for stage in stages:
        stage.close()
    print(
        f"\nfacemesh at {HALF_RATE_HZ} frames/s, to every frame: "
        f"{less.tool_s / whole.tool_s:.2f} of the cost"
    )
    pairs = paired(full, half)
    for au, (one, other) in sorted(pairs.items()):
        moves = min(np.ptp(one), np.ptp(other)) > 0
        r = float(np.corrcoef(one, other)[0, 1]) if moves else np.nan
        apart = np.mean(np.abs(one - other))
        print(f"    {au}  r {r:5.2f}  mean difference {apart:.2f}  n {len(one)}")
    peaks = [moments(works, rows) for rows in (full, half)]
    shifts = [abs(a - b) for a, b in zip(*peaks, strict=True) if a is not None and b is not None]
    near = np.mean(np.array(shifts) <= 0.2) if shifts else np.nan
    print(f"    peaks within 0.2 s of each other: {near:.0%} of {len(shifts)} clips")


def paired(full: list[Row], half: list[Row]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By Action Unit, values of both runs in the frames that both have, over all clips."""
    found: dict[str, list[tuple[float, float]]] = {}
    for one, other in zip(full, half, strict=True):
        a, b = values(one), values(other)
        for key in a.keys() & b.keys():
            found.setdefault(key[0], []).append((a[key], b[key]))
    return {au: (np.array(v)[:, 0], np.array(v)[:, 1]) for au, v in found.items()}


def values(row: Row) -> dict[tuple[str, int, int], float]:
    """Action Unit values by unit, frame and rough place of the face."""
    known = {}
    for track in row["tracks"] or []:
        for trace in track["action_units"]:
            for index, box, value in zip(
                track["frame_index"], track["box"], trace["value"], strict=True
            ):
                if value is not None:
                    known[trace["au"], index, round(box["x"] / 100)] = value
    return known


def moments(works: list[Work], rows: list[Row]) -> list[float | None]:
    """When the peak of each clip is; None where there is none."""
    stage = MomentStage(load_settings())
    seen = [Work(w.clip, {**w.seen, "face": row}) for w, row in zip(works, rows, strict=True)]
    found = stage.annotate(seen)
    return [
        row["peak_time_s"] if row.get("peak_verdict") in ("clear", "weak") else None
        for row in found
    ]


if __name__ == "__main__":
    main()
