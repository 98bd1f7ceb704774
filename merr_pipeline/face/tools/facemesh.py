"""The ``facemesh`` tool: face meshes from the tool program, measured here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from merr_pipeline.emotion.facs import ToolSupport
from merr_pipeline.face.action_units import MeasuredFace, measure_face
from merr_pipeline.face.geometry import load_geometry
from merr_pipeline.face.tools.asking import ask_about_clip
from merr_pipeline.face.tools.contract import Making
from merr_pipeline.face.tools.environment import command, environment, pinned_versions
from merr_pipeline.face.tools.process import ToolProcess
from merr_pipeline.face.tools.sighted import MORE_FACES, mesh_sightings
from merr_pipeline.face.tracks import Looks, Sighting, build_tracks, track_row
from merr_pipeline.schema import Clip, Reason, Row
from merr_pipeline.settings import FacemeshSettings
from merr_pipeline.stage import skip

VERSION = "0.10.21"  # of mediapipe; the program pins it


class Facemesh:
    """Drives the program, and turns meshes into tracks with Action Units."""

    version = VERSION

    def __init__(
        self,
        settings: FacemeshSettings,
        timeout_s: float,
        support: ToolSupport,
        active_at: float,
        templates: Path | None,
    ) -> None:
        self._settings, self._timeout_s = settings, timeout_s
        self._support, self._active_at = support, active_at
        self._geometry = load_geometry(templates)
        self._process = ToolProcess(command("facemesh"), environment())

    def making(self) -> Making:
        """What makes the meshes, and what measures them."""
        pins = ", ".join(pinned_versions("facemesh"))
        return Making(
            versions=f"{pins}; measured with numpy {np.__version__}",
            settings=self._settings.model_dump(mode="json"),
            templates=(self._geometry.sha256,),
        )

    def facts(self, clip: Clip) -> Mapping[str, Any]:
        """Nothing beyond the clip's bytes."""
        del clip
        return {}

    def start(self) -> None:
        """Begin to load the models."""
        self._process.start()

    def close(self) -> None:
        """End the program."""
        self._process.close()

    def measure(self, clip: Clip, probe: Row) -> Row:
        """The payload of the face row of a clip.

        Raises:
            NotOk: skipped with ``NO_FACE``; failed with a ``TOOL_*`` reason.
        """
        table, counts = ask_about_clip(
            self._process, "facemesh", self._request(clip, probe), self._timeout_s, probe
        )
        looked_at = int(counts["looked_at"])
        sightings = mesh_sightings(table, probe)
        if not sightings:
            empty = {"face_count": 0, "looked_at": looked_at, "flags": []}
            raise skip(Reason.NO_FACE, payload=empty)
        most = max(table["faces"].to_pylist())
        row = self._tracks(sightings, probe)
        row["flags"] += [MORE_FACES] if most > self._settings.max_faces else []
        return {**row, "face_count": most, "looked_at": looked_at}

    def _request(self, clip: Clip, probe: Row) -> dict[str, Any]:
        return {
            "path": str(clip.path),
            "shot_starts": [shot["start_frame"] for shot in probe["shots"]],
            "rate_hz": self._settings.rate_hz,
            "max_faces": self._settings.max_faces,
            "min_score": self._settings.min_detector_score,
            "min_overlap": self._settings.min_overlap,
            "max_disagreement": self._settings.max_disagreement,
            "points": self._geometry.points(),
        }

    def _tracks(self, sightings: list[Sighting], probe: Row) -> Row:
        settings = self._settings
        max_gap_s = max(settings.max_gap_s, 1.5 / settings.rate_hz if settings.rate_hz else 0.0)
        rows: list[Row] = []
        faces: list[MeasuredFace] = []
        for track in build_tracks(sightings, probe["shots"], max_gap_s):
            landmarks = np.array([sighting.landmarks for sighting in track.sightings])
            face = measure_face(landmarks, self._geometry, settings.max_yaw_deg, self._active_at)
            rows.append(track_row(len(rows), track, _looks(face), self._traces(face)))
            faces.append(face)
        flags = [] if all(face.has_baseline for face in faces) else ["track_without_rest"]
        return {"tracks": rows, "flags": flags}

    def _traces(self, face: MeasuredFace) -> list[Row]:
        return [
            {
                "au": code,
                "reliability": support.reliability,
                "value": face.units[code].value,
                "absolute": face.units[code].absolute,
                "asymmetry": face.units[code].asymmetry,
                "rest": face.units[code].rest,
            }
            for code, support in self._support.aus.items()
        ]


def _looks(face: MeasuredFace) -> Looks:
    return Looks(face.pose, mouth_open=face.mouth_open)
