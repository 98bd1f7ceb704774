# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = [
#   "mediapipe==0.10.21",
#   "opencv-contrib-python-headless==4.11.0.86",
#   "numpy==1.26.4",
#   "av==18.1.0",
#   "pyarrow>=21,<26",  # 26 needs numpy 2
# ]
# [tool.uv]
# # None of these is imported on the way to a face mesh; without them it is 610 MB, not 990. The
# # headless OpenCV above stands in for the one with windows.
# override-dependencies = [
#   "jax; sys_platform == 'never'",
#   "jaxlib; sys_platform == 'never'",
#   "sounddevice; sys_platform == 'never'",
#   "sentencepiece; sys_platform == 'never'",
#   "opencv-contrib-python; sys_platform == 'never'",
# ]
# ///
"""Face meshes of clips, confirmed by a second detector: a program that runs until its input ends.

It runs in an environment of its own (``uv run --script``), because mediapipe 0.10.21, the last
version that carries its models, needs numpy 1. `tools/process.py` starts it, `tools/facemesh.py`
speaks with it. Of the project it takes `media`, so that frames are the same everywhere, and the way
of speaking, `program.py`.

In, one JSON object a line on stdin:
    path            the clip
    shot_starts     frame indices at which the tracker starts afresh (0 is always one)
    rate_hz         frames a second to measure; null measures every frame
    max_faces       faces tracked at once
    min_score       detector score that confirms a mesh
    min_overlap     IoU of mesh and detector box that confirms a mesh, if
    max_disagreement  eyes, nose and mouth of both lie no further apart, in sides of the box
    points          which of the 478 mesh points to give back, in this order

Out, for each line one message (see `program.py`) with one row per frame and face (`SCHEMA`). Its
metadata has ``frames`` (how many decoded) and ``looked_at`` (in how many of them faces were looked
for).
"""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import mediapipe
import numpy as np
import pyarrow as pa
from mediapipe.python.solutions.face_detection import FaceDetection
from mediapipe.python.solutions.face_mesh import FaceMesh


def import_project() -> None:
    """Make ``merr_pipeline`` importable, and nothing else of the environment that it lies in."""
    package = Path(__file__).parents[2]
    spec = importlib.util.spec_from_file_location(
        "merr_pipeline", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    sys.modules["merr_pipeline"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["merr_pipeline"])


import_project()

from merr_pipeline.face.tools.program import serve  # noqa: E402
from merr_pipeline.media import read_frames  # noqa: E402

MESH_POINTS = 468  # of 478; the rest are the irises, which may lie off the hull
LONG_SIDE_PX = 1280  # larger frames are measured at this size; the models see 192 px crops anyway
CLOSE_UP = 2.0  # side of the crop for a second look, in sides of the detected box
MARKS = ((33, 133), (362, 263), (1, 4), (13, 14))  # mesh points at the detector's eyes, nose, mouth

SCHEMA = pa.schema(
    {
        "frame_index": pa.int32(),
        "time_s": pa.float64(),
        "x": pa.float32(),
        "y": pa.float32(),
        "width": pa.float32(),
        "height": pa.float32(),
        "score": pa.float32(),
        "faces": pa.int32(),  # confirmed in this frame, those beyond max_faces too
        "landmarks": pa.list_(pa.float32()),  # x, y, z of each asked point; pixels, z scaled as x
    }
)


def main() -> None:
    """Answer requests until stdin ends; with ``--version`` only say that all is installed."""
    if "--version" in sys.argv:
        print(mediapipe.__version__)
        return
    cv2.setNumThreads(1)
    serve(measure, SCHEMA, mediapipe.__version__)


def measure(request: dict) -> tuple[list, dict[str, int]]:
    """All confirmed faces of a clip; how many frames it has, and how many were looked at."""
    starts = set(request["shot_starts"])
    step_s = 1 / request["rate_hz"] if request["rate_hz"] else 0.0
    rows, frames, looked_at, due_s, faces = [], 0, 0, 0.0, Faces(request)
    for frame in read_frames(Path(request["path"]), "rgb24"):
        frames = frame.index + 1
        if frame.index > 0 and frame.index in starts:
            faces.close()
            faces, due_s = Faces(request), frame.time_s
        # half a millisecond of grace, so that rounded times do not skip a due frame
        if frame.time_s >= due_s - 0.0005:
            looked_at += 1
            due_s = next_due_s(due_s, frame.time_s, step_s)
            head = {"frame_index": frame.index, "time_s": frame.time_s}
            rows += [{**head, **face} for face in faces.find(frame.image)]
    faces.close()
    return rows, {"frames": frames, "looked_at": looked_at}


def next_due_s(due_s: float, now_s: float, step_s: float) -> float:
    """When to look next: whole steps after the last due time, or the rate would fall short."""
    due_s += step_s
    while step_s and due_s <= now_s:  # no frame came for a while
        due_s += step_s
    return due_s


def shrink(image: np.ndarray) -> tuple[np.ndarray, float]:
    """The picture with a long side of at most `LONG_SIDE_PX`, and its scale (1 or less)."""
    scale = min(1.0, LONG_SIDE_PX / max(image.shape[:2]))
    if scale == 1:
        return image, scale
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), scale


@dataclass(frozen=True)
class Detection:
    """What the detector saw: pixels."""

    box: np.ndarray  # left, top, right, bottom
    marks: np.ndarray  # 4 x 2, as in MARKS
    score: float


class Faces:
    """Mesh tracker and detector for one shot."""

    def __init__(self, request: dict) -> None:
        self.request = request
        self.tracker = FaceMesh(
            static_image_mode=False, refine_landmarks=True, max_num_faces=request["max_faces"]
        )
        self.closeup = FaceMesh(static_image_mode=True, refine_landmarks=True, max_num_faces=1)
        # model 1 is the full-range detector: it sees small faces, which the tracker's own
        # short-range detector does not
        self.detector = FaceDetection(
            model_selection=1, min_detection_confidence=request["min_score"]
        )

    def close(self) -> None:
        """Free the models."""
        for model in (self.tracker, self.closeup, self.detector):
            model.close()

    def find(self, image: np.ndarray) -> list[dict]:
        """The confirmed faces of one RGB frame, largest first."""
        small, scale = shrink(image)
        detections = self.detect(small)
        if not detections:  # nothing could be confirmed; the tracker waits
            return []
        tracked = find_meshes(self.tracker, small)
        meshes = self.confirm(detections, tracked)
        for number, detection in enumerate(detections):
            if any(self.overlaps(detection, mesh) for mesh in tracked):
                continue  # it is confirmed, or both models see different things in one place
            if (mesh := self.look_closer(small, detection)) is not None:
                meshes[number] = mesh
        rows = [
            self.row(mesh / scale, detections[number].score, image.shape)
            for number, mesh in meshes.items()
        ]
        rows.sort(key=lambda row: (-row["width"] * row["height"], row["x"], row["y"]))
        return [{**row, "faces": len(rows)} for row in rows[: self.request["max_faces"]]]

    def detect(self, image: np.ndarray) -> list[Detection]:
        """The faces that the detector sees."""
        height, width = image.shape[:2]
        found = []
        for detection in self.detector.process(image).detections or []:
            box = detection.location_data.relative_bounding_box
            corners = (box.xmin, box.ymin, box.xmin + box.width, box.ymin + box.height)
            marks = [(mark.x, mark.y) for mark in detection.location_data.relative_keypoints]
            found.append(
                Detection(
                    box=np.array(corners) * (width, height, width, height),
                    marks=np.array(marks[: len(MARKS)]) * (width, height),
                    score=detection.score[0],
                )
            )
        return found

    def look_closer(self, image: np.ndarray, detection: Detection) -> np.ndarray | None:
        """The mesh of a detected face that the tracker missed (too small, or too far turned)."""
        box = detection.box
        half = CLOSE_UP * max(box[2:] - box[:2]) / 2
        centre = (box[:2] + box[2:]) / 2
        left, top = np.maximum(centre - half, 0).astype(int)
        right, bottom = np.maximum(np.ceil(centre + half), 0).astype(int)
        crop = np.ascontiguousarray(image[top:bottom, left:right])
        if crop.size == 0:
            return None
        meshes = [mesh + np.array([left, top, 0]) for mesh in find_meshes(self.closeup, crop)]
        return self.confirm([detection], meshes).get(0)

    def confirm(self, detections: list, meshes: list) -> dict[int, np.ndarray]:
        """For each detection the mesh of the same face, nearest pairs first, none used twice."""
        pairs = sorted(
            (disagreement(detection, mesh), d, m)
            for d, detection in enumerate(detections)
            for m, mesh in enumerate(meshes)
            if self.overlaps(detection, mesh)
        )
        confirmed, used = {}, set()
        for apart, d, m in pairs:
            if apart <= self.request["max_disagreement"] and d not in confirmed and m not in used:
                confirmed[d] = meshes[m]
                used.add(m)
        return confirmed

    def overlaps(self, detection: Detection, mesh: np.ndarray) -> bool:
        """Whether both are in the same place."""
        return overlap(detection.box, hull(mesh)) > self.request["min_overlap"]

    def row(self, mesh: np.ndarray, score: float, shape: tuple[int, ...]) -> dict:
        """One face as a row, its box cut at the edges of the frame."""
        left, top, right, bottom = np.clip(hull(mesh), 0, (shape[1], shape[0]) * 2)
        return {
            "x": left,
            "y": top,
            "width": right - left,
            "height": bottom - top,
            "score": score,
            "landmarks": mesh[self.request["points"]].ravel(),
        }


def find_meshes(model: FaceMesh, image: np.ndarray) -> list[np.ndarray]:
    """Meshes in an RGB picture: 478 x (x, y, z), pixels, z in the unit of x."""
    height, width = image.shape[:2]
    return [
        np.array([(point.x, point.y, point.z) for point in mesh.landmark]) * (width, height, width)
        for mesh in model.process(image).multi_face_landmarks or []
    ]


def disagreement(detection: Detection, mesh: np.ndarray) -> float:
    """Mean distance of eyes, nose and mouth between both models, in sides of the detected box.

    The back of a head can fool both models, but not into the same face: on 13 real clips true faces
    stay under .07 (a dark profile under .2), and a bald head from behind begins at .19.
    """
    theirs = np.array([mesh[list(points), :2].mean(axis=0) for points in MARKS])
    side = np.sqrt(np.prod(detection.box[2:] - detection.box[:2]))
    return float(np.linalg.norm(theirs - detection.marks, axis=1).mean() / side)


def hull(mesh: np.ndarray) -> np.ndarray:
    """Left, top, right, bottom of a mesh, pixels."""
    face = mesh[:MESH_POINTS, :2]
    return np.concatenate([face.min(axis=0), face.max(axis=0)])


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = float(np.prod(np.clip(sides, 0, None)))
    areas = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]))
    return shared / (areas - shared)


if __name__ == "__main__":
    main()
