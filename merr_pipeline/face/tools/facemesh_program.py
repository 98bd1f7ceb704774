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

In, one JSON object a line on stdin (see `meshes.py`). Out, for each line one message (see
`program.py`) with one row per frame and face (`SCHEMA`). Its metadata has ``frames`` (how many
decoded) and ``looked_at`` (in how many of them faces were looked for).
"""

import importlib.util
import sys
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

from merr_pipeline.face.tools.meshes import (  # noqa: E402
    FACE_FIELDS,
    MARKS,
    Detection,
    confirm,
    face_row,
    largest_first,
    measure_clip,
    overlaps,
    shrink,
)
from merr_pipeline.face.tools.program import serve  # noqa: E402

CLOSE_UP = 2.0  # side of the crop for a second look, in sides of the detected box

SCHEMA = pa.schema(FACE_FIELDS)


def main() -> None:
    """Answer requests until stdin ends; with ``--version`` only say that all is installed."""
    if "--version" in sys.argv:
        print(mediapipe.__version__)
        return
    cv2.setNumThreads(1)
    serve(
        lambda request: measure_clip(request, lambda: Faces(request)),
        SCHEMA,
        mediapipe.__version__,
    )


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

    def find(self, image: np.ndarray, time_s: float) -> list[dict]:
        """The confirmed faces of one RGB frame, largest first."""
        del time_s
        small, scale = shrink(image)
        detections = self.detect(small)
        if not detections:  # nothing could be confirmed; the tracker waits
            return []
        tracked = find_meshes(self.tracker, small)
        meshes = {d: tracked[m] for d, m in confirm(self.request, detections, tracked).items()}
        for number, detection in enumerate(detections):
            if any(overlaps(self.request, detection, mesh) for mesh in tracked):
                continue  # it is confirmed, or both models see different things in one place
            if (mesh := self.look_closer(small, detection)) is not None:
                meshes[number] = mesh
        rows = [
            face_row(self.request, mesh / scale, detections[number].score, image.shape)
            for number, mesh in meshes.items()
        ]
        shown = largest_first(rows)[: self.request["max_faces"]]
        return [{**row, "faces": len(rows)} for row in shown]

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
        chosen = confirm(self.request, [detection], meshes)
        return meshes[chosen[0]] if chosen else None


def find_meshes(model: FaceMesh, image: np.ndarray) -> list[np.ndarray]:
    """Meshes in an RGB picture: 478 x (x, y, z), pixels, z in the unit of x."""
    height, width = image.shape[:2]
    return [
        np.array([(point.x, point.y, point.z) for point in mesh.landmark]) * (width, height, width)
        for mesh in model.process(image).multi_face_landmarks or []
    ]


if __name__ == "__main__":
    main()
