# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = [
#   "py-feat==2.1.5",
#   "torch==2.15.0",
#   "torchvision==0.29.2",
#   "torchcodec==0.17.0",
#   "timm==1.0.31",
#   "xgboost==3.2.0",
#   "scikit-learn==1.9.1",
#   "scikit-image==0.26.0",
#   "opencv-python-headless==5.0.0.93",
#   "numpy==2.4.6",
#   "av==18.1.0",
#   "pyarrow>=21,<27",
# ]
# [tool.uv]
# # Neither is needed for a face: triton compiles models, nccl joins GPUs (and is here twice, in one
# # place). Without them it is 4.8 GB, not 6.1. The other CUDA packages must stay: torch does not
# # load without them, on a CPU either.
# override-dependencies = [
#   "triton; sys_platform == 'never'",
#   "nvidia-nccl-cu12; sys_platform == 'never'",
# ]
# ///
"""Faces with Action Unit probabilities by py-feat: a program that runs until its input ends.

It runs in an environment of its own (``uv run --script``): py-feat brings a torch with CUDA, which
runs on a CPU as well. `tools/process.py` starts it, `tools/pyfeat.py` speaks with it. Of the
project it takes `media`, so that frames are the same everywhere, and the way of speaking,
`program.py`.

On the command line: ``--detector v1|v2 --device cpu|cuda --weights JSON``, where JSON names the
place of every file of weights (see `pyfeat_weights.py`). py-feat asks the Hugging Face hub for
them, and keeps what it gets inside the installed package; here its question is answered from
that list, so nothing is fetched and nothing is written.

In, one JSON object a line on stdin:
    path            the clip
    shot_starts     frame indices at which the wanted rate starts afresh (0 is always one)
    rate_hz         frames a second to measure; null measures every frame
    min_score       detector score that makes a face
    batch_size      frames that go through the networks together

Out, for each line one message (see `program.py`) with one row per frame and face (`SCHEMA`): what
py-feat gives, in its own units and directions, but for the place, which is in pixels of the frame
as it is shown. Its metadata has ``frames`` (how many decoded) and ``looked_at``.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa


def import_project() -> None:
    """Make ``merr_pipeline`` importable, and nothing else of the environment that it lies in."""
    package = Path(__file__).parents[2]
    spec = importlib.util.spec_from_file_location(
        "merr_pipeline", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    sys.modules["merr_pipeline"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["merr_pipeline"])


import_project()

from merr_pipeline.face.tools.meshes import (  # noqa: E402
    MESH_POINTS,
    largest_first,
    next_due_s,
    shrink,
)
from merr_pipeline.face.tools.program import serve  # noqa: E402
from merr_pipeline.media import read_frames  # noqa: E402
from merr_pipeline.schema import Reason  # noqa: E402
from merr_pipeline.stage import fail  # noqa: E402

UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 17, 20, 23, 24, 25, 26, 28, 43)
AU_COLUMNS = [f"AU{unit:02}" for unit in UNITS]
LANDMARK_COLUMNS = [f"{axis}_{point}" for point in range(68) for axis in "xy"]
MESH_COLUMNS = [f"mesh_{axis}_{point}" for point in range(MESH_POINTS) for axis in "xy"]
ANGLES = ("Pitch", "Roll", "Yaw", "gaze_pitch", "gaze_yaw")  # radians
BOX_COLUMNS = ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight"]
CROP = 1.2  # v1 names the crop that its networks see: so much larger than what the detector found

SCHEMA = pa.schema(
    {
        "frame_index": pa.int32(),
        "time_s": pa.float64(),
        "x": pa.float32(),
        "y": pa.float32(),
        "width": pa.float32(),
        "height": pa.float32(),
        "score": pa.float32(),
        "landmarks": pa.list_(pa.float32()),  # x, y of the 68 points of iBUG, pixels
        **dict.fromkeys(ANGLES, pa.float32()),
        **dict.fromkeys(AU_COLUMNS, pa.float32()),
    }
)


def main() -> None:
    """Answer requests until stdin ends; with ``--version`` only say that all is installed."""
    version = importlib.metadata.version("py-feat")
    if "--version" in sys.argv:
        print(version)
        return
    words = argparse.ArgumentParser()
    words.add_argument("--detector", choices=("v1", "v2"), required=True)
    words.add_argument("--device", choices=("cpu", "cuda"), required=True)
    words.add_argument("--weights", type=json.loads, required=True)
    asked = words.parse_args()
    cv2.setNumThreads(1)
    try:
        detector = open_detector(asked.detector, asked.device, asked.weights)
    except Exception as error:  # files that are no weights, or a device that is not there
        why = f"{type(error).__name__}: {error}"
        serve(lambda request: refuse(request, why), SCHEMA, version)
    else:
        serve(lambda request: measure(detector, request), SCHEMA, version)


def refuse(request: dict, why: str) -> tuple[list, dict[str, int]]:
    """The answer to all requests when the detector cannot be made."""
    del request
    raise fail(Reason.TOOL_MISSING, f"the detector cannot be made: {why}")


def open_detector(name: str, device: str, weights: dict[str, str]):
    """py-feat's detector, without its emotions and identities, of weights on this machine."""
    give_weights(weights)
    from feat import Detectorv1, Detectorv2

    if name == "v1":
        return Detectorv1(device=device, emotion_model=None, identity_model=None)
    # in full precision: what half of it saves is bought with up to .01 of a probability
    detector = Detectorv2(device=device, identity_model=None)
    detector.multitask.amp = False
    return detector


def give_weights(weights: dict[str, str]) -> None:
    """Answer py-feat when it asks the hub for a file; before py-feat is imported."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import huggingface_hub

    def give(repo_id: str, filename: str, **_: object) -> str:
        return weights[f"{repo_id.partition('/')[2]}/{filename}"]

    huggingface_hub.hf_hub_download = give


def measure(detector: object, request: dict) -> tuple[list, dict[str, int]]:
    """All faces of a clip; how many frames it has, and how many were looked at."""
    counts = {"frames": 0, "looked_at": 0}
    rows, batch = [], []
    for frame in due_frames(request, counts):
        if batch and (
            len(batch) == request["batch_size"] or frame.image.shape != batch[0].image.shape
        ):
            rows += find_faces(detector, batch, request["min_score"])
            batch = []
        batch.append(frame)
    if batch:
        rows += find_faces(detector, batch, request["min_score"])
    return rows, counts


def due_frames(request: dict, counts: dict[str, int]) -> Iterator:
    """The frames to look at; ``counts`` goes along."""
    starts = set(request["shot_starts"])
    step_s = 1 / request["rate_hz"] if request["rate_hz"] else 0.0
    due_s = 0.0
    for frame in read_frames(Path(request["path"]), "rgb24"):
        counts["frames"] = frame.index + 1
        if frame.index in starts:
            due_s = frame.time_s
        # half a millisecond of grace, so that rounded times do not skip a due frame
        if frame.time_s >= due_s - 0.0005:
            counts["looked_at"] += 1
            due_s = next_due_s(due_s, frame.time_s, step_s)
            yield frame


def find_faces(detector: object, batch: list, min_score: float) -> list[dict]:
    """The faces of some frames of one size, in the order of frames, the largest first in each."""
    import torch

    pictures = [shrink(frame.image) for frame in batch]
    scale = pictures[0][1]
    tensor = torch.from_numpy(np.stack([image.transpose(2, 0, 1) for image, _ in pictures]))
    table = detector.detect(
        tensor,
        data_type="tensor",
        batch_size=len(batch),
        face_detection_threshold=min_score,
        progress_bar=False,
    )
    rows = []
    for number, faces in groupby(table.to_dict("records"), key=lambda face: face["frame"]):
        frame = batch[number]
        head = {"frame_index": frame.index, "time_s": frame.time_s}
        found = [face_row(face, scale, frame.image.shape) for face in faces]
        rows += [{**head, **face} for face in largest_first([face for face in found if face])]
    return rows


def face_row(face: dict, scale: float, shape: tuple[int, ...]) -> dict | None:
    """One face of py-feat's table; None for a row that says there is none, or none in the frame."""
    if np.isnan(face["FaceRectX"]):
        return None
    left, top, right, bottom = np.clip(place(face) / scale, 0, (shape[1], shape[0]) * 2)
    if left >= right or top >= bottom:
        return None
    return {
        "x": left,
        "y": top,
        "width": right - left,
        "height": bottom - top,
        "score": face["FaceScore"],
        "landmarks": [face[column] / scale for column in LANDMARK_COLUMNS],
        **{column: number_of(face[column]) for column in (*ANGLES, *AU_COLUMNS)},
    }


def place(face: dict) -> np.ndarray:
    """Left, top, right, bottom of a face in pixels of what was measured.

    v2's rectangle is the square crop that its network sees; the hull of its mesh is the face.
    """
    if MESH_COLUMNS[0] in face:
        mesh = np.array([face[column] for column in MESH_COLUMNS]).reshape(-1, 2)
        return np.concatenate([mesh.min(axis=0), mesh.max(axis=0)])
    left, top, width, height = (face[column] for column in BOX_COLUMNS)
    inset = np.array([width, height]) * (1 - 1 / CROP) / 2
    corner, side = np.array([left, top]), np.array([width, height])
    return np.concatenate([corner + inset, corner + side - inset])


def number_of(value: float) -> float | None:
    """None where py-feat has none."""
    return None if np.isnan(value) else float(value)


if __name__ == "__main__":
    main()
