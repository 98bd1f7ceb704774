# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = [
#   "mediapipe==1.2.2",
#   "opencv-contrib-python-headless==4.14.0.94",
#   "numpy==2.4.6",
#   "av==18.1.0",
#   "pyarrow>=21,<27",
# ]
# [tool.uv]
# # sounddevice is not imported here; the headless OpenCV stands in for the one with windows.
# override-dependencies = [
#   "sounddevice; sys_platform == 'never'",
#   "opencv-contrib-python; sys_platform == 'never'",
# ]
# ///
"""Face meshes and blendshapes of clips: a program that runs until its input ends.

It runs in an environment of its own (``uv run --script``): current mediapipe, which has blendshapes
and carries no models. ``--model FILE`` names the bundle that holds them. `tools/process.py` starts
it, `tools/blendshapes.py` speaks with it. Of the project it takes `media`, so that frames are the
same everywhere, and the way of speaking, `program.py`.

In, one JSON object a line on stdin (see `meshes.py`), with two fields more:
    search_s        so often the frame is searched in pieces for faces too small for the whole
    blendshapes     names of the coefficients to give back, in this order

Out, for each line one message (see `program.py`) with one row per frame and face (`SCHEMA`). Its
metadata has ``frames`` (how many decoded) and ``looked_at`` (in how many of them faces were looked
for).

The bundle's detector sees only faces that fill a good part of its picture, and its mesh is calm
only for one face in a picture that stays where it is: with several, mediapipe does not smooth, and
the coefficients tremble twice as much. So each face has a window of its own (`Follower`).
"""

import importlib.util
import sys
import zipfile
from pathlib import Path

import cv2
import mediapipe
import numpy as np
import pyarrow as pa
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import (
    FaceDetector,
    FaceDetectorOptions,
    FaceLandmarker,
    FaceLandmarkerOptions,
    RunningMode,
)


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
    overlap,
    shrink,
)
from merr_pipeline.face.tools.program import serve  # noqa: E402
from merr_pipeline.face.tools.windows import Window, pieces  # noqa: E402

HINT_SCORE = 0.3  # a whole frame or a piece of it need only hint at a face; its window decides
SAME_FACE = 0.3  # IoU from which two boxes are one face
SPARE = 2  # followed beyond max_faces, as what looks like a face may turn out to be none
LOST_S = 0.5  # a face that was not confirmed for longer is followed no more

# The mesh model's own score from which there is a mesh; mediapipe asks for .5. In the dark, or far
# turned, true faces stay under it; whether there is a face is for the detector to confirm.
PRESENCE = 0.1

SCHEMA = pa.schema([*FACE_FIELDS, ("blendshapes", pa.list_(pa.float32()))])  # each 0..1


def main() -> None:
    """Answer requests until stdin ends; with ``--version`` only say that all is installed."""
    if "--version" in sys.argv:
        print(mediapipe.__version__)
        return
    cv2.setNumThreads(1)
    models = Models(Path(sys.argv[sys.argv.index("--model") + 1]))
    serve(
        lambda request: measure_clip(request, lambda: Faces(request, models)),
        SCHEMA,
        mediapipe.__version__,
    )


class Models:
    """The bundle, and the detector in it, which keeps nothing from one picture to the next."""

    def __init__(self, path: Path) -> None:
        self.bundle = path.read_bytes()
        with zipfile.ZipFile(path) as parts:
            detector = parts.read("face_detector.tflite")
        self.detector = FaceDetector.create_from_options(
            FaceDetectorOptions(
                base_options=BaseOptions(model_asset_buffer=detector),
                min_detection_confidence=HINT_SCORE,
            )
        )

    def detect(self, image: np.ndarray, window: Window) -> list[Detection]:
        """The faces that the detector sees in a part of a frame, in pixels of the frame."""
        crop = window.cut(image)
        if crop.size == 0:
            return []
        size = np.array(crop.shape[1::-1])
        found = []
        for detection in self.detector.detect(picture(crop)).detections:
            box = detection.bounding_box
            corner = np.array([box.origin_x, box.origin_y], float) + window.corner
            marks = np.array([(mark.x, mark.y) for mark in detection.keypoints[: len(MARKS)]])
            found.append(
                Detection(
                    box=np.concatenate([corner, corner + np.array([box.width, box.height])]),
                    marks=marks * size + window.corner,
                    score=detection.categories[0].score,
                )
            )
        return found

    def new_tracker(self) -> FaceLandmarker:
        """A mesh model for one face, which it tracks and smooths from picture to picture."""
        return FaceLandmarker.create_from_options(
            FaceLandmarkerOptions(
                base_options=BaseOptions(model_asset_buffer=self.bundle),
                running_mode=RunningMode.VIDEO,
                num_faces=1,
                min_face_presence_confidence=PRESENCE,
                output_face_blendshapes=True,
            )
        )


def picture(image: np.ndarray) -> mediapipe.Image:
    """An RGB array as mediapipe takes it."""
    return mediapipe.Image(mediapipe.ImageFormat.SRGB, np.ascontiguousarray(image))


class Follower:
    """One face of a shot: the window it is in, and the mesh tracker that looks into it."""

    def __init__(self, models: Models, request: dict, box: np.ndarray, time_s: float) -> None:
        self.models, self.request = models, request
        self.tracker: FaceLandmarker | None = None
        self.last_ms = -1
        self.box = box
        self.confirmed_s = time_s  # or when it was first hinted at
        self.window = Window.around(box)

    def close(self) -> None:
        """Free the tracker; the next picture begins a new one."""
        if self.tracker is not None:
            self.tracker.close()
        self.tracker, self.last_ms = None, -1

    def detect(self, image: np.ndarray) -> Detection | None:
        """The face in its window, as the detector sees it; the window goes along with it."""
        near = [
            (overlap(detection.box, self.box), detection.score, number, detection)
            for number, detection in enumerate(self.models.detect(image, self.window))
            if detection.score >= self.request["min_score"]
        ]
        if not near or max(near)[0] <= 0:
            return None
        detection = max(near)[-1]
        self.box = detection.box
        if not self.window.suits(detection.box):
            self.window = Window.around(self.box)
            self.close()  # what it knows of the last picture is of another part of the frame
        return detection

    def find_mesh(
        self, image: np.ndarray, time_s: float, detection: Detection
    ) -> tuple[np.ndarray, list[float]] | None:
        """Mesh (478 x 3, pixels, z in the unit of x) and blendshapes, if the detector agrees."""
        if self.tracker is None:
            self.tracker = self.models.new_tracker()
        crop = self.window.cut(image)
        self.last_ms = max(round(time_s * 1000), self.last_ms + 1)  # it wants rising times
        result = self.tracker.detect_for_video(picture(crop), self.last_ms)
        if not result.face_landmarks:
            return None
        height, width = crop.shape[:2]
        mesh = np.array([(point.x, point.y, point.z) for point in result.face_landmarks[0]])
        mesh = mesh * (width, height, width) + (*self.window.corner, 0)
        if not confirm(self.request, [detection], [mesh]):
            self.close()  # it has gone astray
            return None
        self.confirmed_s = time_s
        scores = {shape.category_name: shape.score for shape in result.face_blendshapes[0]}
        return mesh, [scores[name] for name in self.request["blendshapes"]]


class Faces:
    """The faces of one shot."""

    def __init__(self, request: dict, models: Models) -> None:
        self.request, self.models = request, models
        self.followers: list[Follower] = []
        self.search_due_s: float | None = None

    def close(self) -> None:
        """Free the models."""
        for follower in self.followers:
            follower.close()

    def find(self, image: np.ndarray, time_s: float) -> list[dict]:
        """The confirmed faces of one RGB frame, largest first."""
        small, scale = shrink(image)
        seen = self.keep(
            [(follower, follower.detect(small)) for follower in self.followers], time_s
        )
        newcomers = self.find_new(small, time_s, [follower for follower, _ in seen])
        free = max(0, self.request["max_faces"] + SPARE - len(seen))
        seen += newcomers[:free]
        self.followers = [follower for follower, _ in seen]
        rows = []
        for follower, detection in seen:
            found = detection and follower.find_mesh(small, time_s, detection)
            if found:
                mesh, blendshapes = found
                row = face_row(self.request, mesh / scale, detection.score, image.shape)
                rows.append({**row, "blendshapes": blendshapes})
        faces = len(rows) + len(newcomers[free:])
        shown = largest_first(rows)[: self.request["max_faces"]]
        return [{**row, "faces": faces} for row in shown]

    def keep(self, seen: list, time_s: float) -> list:
        """Let go of faces that are gone, and of the later of two followers of one face."""
        kept: list = []
        for follower, detection in seen:
            lost = round(time_s - follower.confirmed_s, 3) > LOST_S
            double = detection is not None and is_among(follower.box, [one for one, _ in kept])
            if lost or double:
                follower.close()
            else:
                kept.append((follower, detection))
        return kept

    def find_new(self, image: np.ndarray, time_s: float, known: list) -> list:
        """Faces that none of the known followers has, surest hint first, with what was detected."""
        found: list = []
        for box in self.hints(image, time_s):
            if not is_among(box, known):
                follower = Follower(self.models, self.request, box, time_s)
                detection = follower.detect(image)
                if detection is not None and not is_among(follower.box, known):
                    found.append((follower, detection))
                    known = [*known, follower]
        return found

    def hints(self, image: np.ndarray, time_s: float) -> list[np.ndarray]:
        """Boxes in which there may be a face, surest first."""
        height, width = image.shape[:2]
        whole = Window(np.array([width, height]) / 2, max(width, height))
        found = self.models.detect(image, whole)
        if self.search_due_s is None or time_s >= self.search_due_s - 0.0005:
            self.search_due_s = time_s + self.request["search_s"]
            for piece in pieces(height, width):
                found += self.models.detect(image, piece)
        found.sort(key=lambda detection: (-detection.score, *detection.box))
        return [detection.box for detection in found]


def is_among(box: np.ndarray, followers: list[Follower]) -> bool:
    """Whether this is the face of one of them."""
    return any(overlap(box, follower.box) > SAME_FACE for follower in followers)


if __name__ == "__main__":
    main()
