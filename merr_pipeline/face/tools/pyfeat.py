"""The ``pyfeat`` tool: faces and Action Unit probabilities from the tool program, read here."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from merr_pipeline.emotion.facs import ToolSupport
from merr_pipeline.face.pose import Array, HeadPose
from merr_pipeline.face.tools.asking import ask_about_clip
from merr_pipeline.face.tools.contract import Making
from merr_pipeline.face.tools.environment import command, environment, pinned_versions
from merr_pipeline.face.tools.process import ToolProcess
from merr_pipeline.face.tools.pyfeat_weights import content_hashes, find_weights
from merr_pipeline.face.tracks import Box, Looks, Sighting, Track, build_tracks, track_row
from merr_pipeline.schema import Clip, MerrError, Reason, Row
from merr_pipeline.settings import PyfeatSettings
from merr_pipeline.stage import fail, skip

VERSION = "2.1.5"  # of py-feat; the program pins it
START_LIMIT_S = 600.0  # its imports alone took 25 s on two busy cores

# points of iBUG's 68
OUTER_EYE_CORNERS = (36, 45)
INNER_LIPS = (62, 66)


class Pyfeat:
    """Drives the program, and turns its faces into tracks."""

    version = VERSION

    def __init__(self, settings: PyfeatSettings, timeout_s: float, support: ToolSupport) -> None:
        self._settings, self._timeout_s, self._support = settings, timeout_s, support

    def making(self) -> Making:
        """What makes the numbers, down to the bytes of the weights.

        Raises:
            MerrError: weights are missing; it says where to get them, and where to put them.
        """
        weights = find_weights(self._settings.weights, self._settings.detector)
        return Making(
            versions=", ".join(pinned_versions("pyfeat")),
            model=content_hashes(weights),
            settings=self._settings.model_dump(mode="json", exclude={"weights"}),
        )

    def facts(self, clip: Clip) -> Mapping[str, Any]:
        """Nothing beyond the clip's bytes."""
        del clip
        return {}

    def start(self) -> None:
        """Begin to load the networks."""
        with suppress(MerrError):  # each clip's row will say it
            self._process.start()

    def close(self) -> None:
        """End the program."""
        if "_process" in vars(self):
            self._process.close()

    def measure(self, clip: Clip, probe: Row) -> Row:
        """The payload of the face row of a clip.

        Raises:
            NotOk: skipped with ``NO_FACE``; failed with a ``TOOL_*`` reason.
        """
        try:
            process = self._process
        except MerrError as error:
            raise fail(Reason.TOOL_MISSING, str(error)) from error
        table, counts = ask_about_clip(
            process, "pyfeat", self._request(clip, probe), self._timeout_s, probe
        )
        faces = _rows(table)
        head = {"looked_at": int(counts["looked_at"]), "flags": []}
        if not faces:
            raise skip(Reason.NO_FACE, payload={**head, "face_count": 0})
        most = max(Counter(face["frame_index"] for face in faces).values())
        return {**head, "face_count": most, "tracks": self._tracks(faces, probe)}

    @cached_property
    def _process(self) -> ToolProcess:
        settings = self._settings
        weights = find_weights(settings.weights, settings.detector)
        words = {
            "--detector": settings.detector,
            "--device": settings.device,
            "--weights": json.dumps({file: str(path) for file, path in weights.items()}),
        }
        asked = [part for pair in words.items() for part in pair]
        return ToolProcess([*command("pyfeat"), *asked], environment(), START_LIMIT_S)

    def _request(self, clip: Clip, probe: Row) -> dict[str, Any]:
        return {
            "path": str(clip.path),
            "shot_starts": [shot["start_frame"] for shot in probe["shots"]],
            "rate_hz": self._settings.rate_hz,
            "min_score": self._settings.min_detector_score,
            "batch_size": self._settings.batch_size,
        }

    def _tracks(self, faces: list[Row], probe: Row) -> list[Row]:
        settings = self._settings
        max_gap_s = max(settings.max_gap_s, 1.5 / settings.rate_hz if settings.rate_hz else 0.0)
        sightings = _sightings(faces, probe)
        return [
            self._track(number, track, [faces[seen.source_row] for seen in track.sightings])
            for number, track in enumerate(build_tracks(sightings, probe["shots"], max_gap_s))
        ]

    def _track(self, number: int, track: Track, faces: list[Row]) -> Row:
        pose, gaze = head_pose(faces), gaze_angles(faces)
        looks = Looks(pose, *gaze, mouth_open=_mouth_open(track))
        return track_row(number, track, looks, self._traces(faces))

    def _traces(self, faces: list[Row]) -> list[Row]:
        """Probabilities have no baseline: what a face shows at rest is in none of them."""
        return [
            {
                "au": code,
                "reliability": support.reliability,
                "value": [face[code] for face in faces],
                "absolute": None,
                "asymmetry": None,
                "rest": None,
            }
            for code, support in self._support.aus.items()
        ]


def head_pose(faces: list[Row]) -> HeadPose:
    """Our directions of py-feat's head pose.

    It gives radians; up, to the person's own right, and a tilt towards their right shoulder are
    positive (`feat/detector.py`, `feat/detector_v2.py`). Against the landmarks in tables that
    py-feat publishes, yaw and roll came out so with both detectors; pitch cannot be seen in them.
    """
    return HeadPose(_degrees(faces, "Pitch"), -_degrees(faces, "Yaw"), -_degrees(faces, "Roll"))


def gaze_angles(faces: list[Row]) -> tuple[Array, Array]:
    """Pitch and yaw of the eyes against the camera, in our directions.

    Like the head's, up and to the person's own right are positive (`feat/detector_v2.py`,
    `feat/evaluation/metrics.py`; one drawing function of py-feat has yaw the other way round).
    """
    return _degrees(faces, "gaze_pitch"), -_degrees(faces, "gaze_yaw")


def _degrees(faces: list[Row], angle: str) -> Array:
    radians = [np.nan if face[angle] is None else face[angle] for face in faces]
    return np.degrees(np.array(radians, np.float64))


def _mouth_open(track: Track) -> Array:
    points = np.array([sighting.landmarks for sighting in track.sightings])
    return _apart(points, INNER_LIPS) / np.maximum(_apart(points, OUTER_EYE_CORNERS), 1e-6)


def _apart(points: Array, pair: tuple[int, int]) -> Array:
    """Distance of two points, one per frame; pixels."""
    return np.asarray(np.linalg.norm(points[:, pair[0]] - points[:, pair[1]], axis=1))


def _sightings(faces: list[Row], probe: Row) -> list[Sighting]:
    times_s: list[float] = probe["frame_times_s"]
    return [
        Sighting(
            frame_index=face["frame_index"],
            time_s=times_s[face["frame_index"]],
            box=Box(face["x"], face["y"], face["width"], face["height"]),
            confidence=face["score"],
            landmarks=np.asarray(face["landmarks"], np.float64).reshape(-1, 2),
            source_row=number,
        )
        for number, face in enumerate(faces)
    ]


def _rows(table: pa.Table) -> list[Row]:
    rows: list[Row] = table.to_pylist()
    return rows
