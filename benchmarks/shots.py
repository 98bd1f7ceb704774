"""How well shots are found, beside PySceneDetect, on splices of real footage with known cuts.

::

    python benchmarks/shots.py [CLIPS]     # default: real clips beside the checkout, else samples

Each splice goes from one clip to another by a hard cut or by a dissolve of so many frames, encoded
anew. Beside them the clips as they are: what is found there is printed, to be looked at.
PySceneDetect runs in an environment of its own; its default detectors with default thresholds.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from uv import find_uv_bin

from merr_pipeline.clips.manifest import read_inputs
from merr_pipeline.clips.probe import ProbeStage
from merr_pipeline.media import read_frames
from merr_pipeline.schema import Clip, ClipId
from merr_pipeline.settings import load_settings
from merr_pipeline.stage import NotOk, Work

ROOT = Path(__file__).parent.parent
DISSOLVES = (0, 4, 8, 12, 18)  # frames from pure to pure; 0 is a hard cut
SIZE = (480, 270)
BEFORE, AFTER = 30, 30
TOLERANCE = 2  # frames
PEER = """
import json, sys
from scenedetect import AdaptiveDetector, ContentDetector, ThresholdDetector, detect
kinds = {"adaptive": AdaptiveDetector, "content": ContentDetector, "threshold": ThresholdDetector}
found = {
    name: [[start.get_frames() for start, _ in detect(path, kind())][1:] for path in sys.argv[1:]]
    for name, kind in kinds.items()
}
print(json.dumps(found))
"""


def main() -> None:
    """Make the splices, ask everybody, print recall and false alarms."""
    default = ROOT.parent / "shared" / "clips"
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    root = root if root.is_dir() else ROOT / "data" / "samples"
    clips = [clip.path for clip in read_inputs(root).clips]
    with tempfile.TemporaryDirectory() as folder:
        splices = list(make_splices(clips, Path(folder)))
        paths = [path for path, _, _ in splices] + clips
        found = {"ours": [our_shots(path) for path in paths], **ask_peer(paths)}
    print(f"{len(splices)} splices of {root.name}; a boundary within {TOLERANCE} frames counts")
    print(f"{'':12}" + "".join(f"{f'dissolve {n}' if n else 'cut':>13}" for n in DISSOLVES), end="")
    print(f"{'false alarms':>14}")
    for name, boundaries in found.items():
        print(f"{name:12}" + "".join(f"{r:13.0%}" for r in recalls(splices, boundaries)), end="")
        print(f"{sum(false_alarms(splices, boundaries)):14}")
    print("\nin the clips as they are:")
    for number, path in enumerate(clips, len(splices)):
        said = ", ".join(f"{name} {boundaries[number]}" for name, boundaries in found.items())
        print(f"{path.name:28}{said}")


Splice = tuple[Path, int, int]  # where it is, first mixed frame (or the first after a cut), steps


def make_splices(clips: list[Path], folder: Path) -> Iterator[Splice]:
    """Neighbouring clips spliced in every way."""
    footage = [frames for path in clips if len(frames := pictures(path)) >= BEFORE + AFTER]
    for number, ((one, other), steps) in enumerate(
        itertools.product(itertools.pairwise(footage), DISSOLVES)
    ):
        mixed = [
            cv2.addWeighted(one[BEFORE - 1 + i], 1 - i / steps, other[i - 1], i / steps, 0)
            for i in range(1, steps)
        ]
        rest = other[max(0, steps - 1) :][:AFTER]
        yield write(folder / f"{number}.mp4", [*one[:BEFORE], *mixed, *rest]), BEFORE, steps


def pictures(path: Path) -> list[np.ndarray]:
    """The first frames of a clip, of one size; of one shot alone, so that the truth is known."""
    cuts = our_shots(path)
    frames = itertools.islice(read_frames(path, "rgb24"), cuts[0] if cuts else BEFORE + 2 * AFTER)
    return [cv2.resize(frame.image, SIZE, interpolation=cv2.INTER_AREA) for frame in frames]


def write(path: Path, frames: list[np.ndarray]) -> Path:
    """Encode as films are."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "23"})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())
    return path


def our_shots(path: Path) -> list[int]:
    """Frames at which the probe begins a shot, the first aside."""
    clip = Clip(ClipId(path.stem), path, path.name, "0" * 64)
    try:
        probe = ProbeStage(load_settings()).annotate_one(Work(clip, {}))
    except NotOk:
        return []
    return [shot["start_frame"] for shot in probe["shots"][1:]]


def ask_peer(paths: list[Path]) -> dict[str, list[list[int]]]:
    """What PySceneDetect's detectors say of the same files."""
    command = [find_uv_bin(), "run", "--quiet", "--no-project", "--with", "scenedetect==0.6.7"]
    command += ["--with", "opencv-python-headless", "python", "-c", PEER, *map(str, paths)]
    said = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    answer: dict[str, list[list[int]]] = json.loads(said)
    return answer


def belongs(boundary: int, splice: Splice) -> bool:
    """Whether a boundary is that of the splice."""
    _, start, steps = splice
    return start - TOLERANCE <= boundary <= start + max(0, steps - 1) + TOLERANCE


def recalls(splices: list[Splice], boundaries: list[list[int]]) -> list[float]:
    """For each kind of splice, how many were found."""
    hits = [
        any(belongs(b, s) for b in found) for s, found in zip(splices, boundaries, strict=False)
    ]
    return [
        float(np.mean([hit for hit, (_, _, n) in zip(hits, splices, strict=True) if n == steps]))
        for steps in DISSOLVES
    ]


def false_alarms(splices: list[Splice], boundaries: list[list[int]]) -> list[int]:
    """For each splice, how many boundaries belong to nothing."""
    return [
        sum(not belongs(b, s) for b in found) for s, found in zip(splices, boundaries, strict=False)
    ]


if __name__ == "__main__":
    main()
