"""The ``blendshapes`` tool: meshes and coefficients from the tool program, read here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from merr_pipeline.emotion.facs import ToolSupport
from merr_pipeline.face.action_units import measure_features
from merr_pipeline.face.coefficients import (
    UnitReading,
    load_blendshapes,
    read_units,
    sides_of,
)
from merr_pipeline.face.gaze import measure_gaze
from merr_pipeline.face.geometry import MOUTH, load_geometry
from merr_pipeline.face.pose import Array
from merr_pipeline.face.tools.asking import ask_about_clip
from merr_pipeline.face.tools.contract import Making
from merr_pipeline.face.tools.environment import command, environment, pinned_versions
from merr_pipeline.face.tools.model_file import FACE_LANDMARKER
from merr_pipeline.face.tools.process import ToolProcess
from merr_pipeline.face.tools.sighted import MORE_FACES, mesh_sightings
from merr_pipeline.face.tracks import Looks, Sighting, Track, build_tracks, track_row
from merr_pipeline.schema import Clip, Reason, Row
from merr_pipeline.settings import BlendshapesSettings
from merr_pipeline.stage import fail, skip

VERSION = "1.2.2"  # of mediapipe; the program pins it
BLINK = sides_of("eyeBlink")
MIN_SIGHTINGS = 3  # what looks like a face in fewer frames was a pattern on a wall


class Blendshapes:
    """Drives the program, and turns coefficients into tracks with Action Units."""

    version = VERSION

    def __init__(
        self,
        settings: BlendshapesSettings,
        timeout_s: float,
        support: ToolSupport,
        active_at: float,
        templates: Path | None,
    ) -> None:
        self._settings, self._timeout_s = settings, timeout_s
        self._support, self._active_at = support, active_at
        self._geometry, self._table = load_geometry(templates), load_blendshapes(templates)
        self._points = sorted({*self._geometry.points(), *self._table.gaze.points()})
        self._names = sorted({*self._table.coefficients(list(support.aus)), *BLINK})
        self._model = settings.model or FACE_LANDMARKER.default_path()
        self._model_is_right = False
        self._process = ToolProcess(
            [*command("blendshapes"), "--model", str(self._model)], environment()
        )

    def making(self) -> Making:
        """What makes meshes and coefficients, and what reads them."""
        pins = ", ".join(pinned_versions("blendshapes"))
        return Making(
            versions=f"{pins}; read with numpy {np.__version__}",
            model=f"{FACE_LANDMARKER.name} {FACE_LANDMARKER.sha256}",  # no other is taken
            settings=self._settings.model_dump(mode="json", exclude={"model"}),
            templates=(self._geometry.sha256, self._table.sha256),
        )

    def facts(self, clip: Clip) -> Mapping[str, Any]:
        """Nothing beyond the clip's bytes."""
        del clip
        return {}

    def start(self) -> None:
        """Begin to load the models."""
        if self._has_model():
            self._process.start()

    def close(self) -> None:
        """End the program."""
        self._process.close()

    def measure(self, clip: Clip, probe: Row) -> Row:
        """The payload of the face row of a clip.

        Raises:
            NotOk: skipped with ``NO_FACE``; failed with a ``TOOL_*`` reason.
        """
        if not self._has_model():
            raise fail(
                Reason.TOOL_MISSING,
                f"{FACE_LANDMARKER.name} is missing or another file; `merr doctor` says what to do",
            )
        table, counts = ask_about_clip(
            self._process, "blendshapes", self.request(clip, probe), self._timeout_s, probe
        )
        row = self._row(mesh_sightings(table, probe), table, probe)
        row["looked_at"] = int(counts["looked_at"])
        if not row["tracks"]:
            del row["tracks"]
            raise skip(Reason.NO_FACE, payload=row)
        return row

    def request(self, clip: Clip, probe: Row) -> dict[str, Any]:
        """What the program is asked about a clip."""
        settings = self._settings
        return {
            "path": str(clip.path),
            "shot_starts": [shot["start_frame"] for shot in probe["shots"]],
            "rate_hz": settings.rate_hz,
            "search_s": settings.search_s,
            "max_faces": settings.max_faces,
            "min_score": settings.min_detector_score,
            "min_overlap": settings.min_overlap,
            "max_disagreement": settings.max_disagreement,
            "points": self._points,
            "blendshapes": self._names,
        }

    def _has_model(self) -> bool:
        self._model_is_right = self._model_is_right or FACE_LANDMARKER.problem(self._model) is None
        return self._model_is_right

    def _row(self, sightings: list[Sighting], table: pa.Table, probe: Row) -> Row:
        """Tracks, the most faces in one frame, and flags; `NO_FACE` if there is no track."""
        settings = self._settings
        max_gap_s = max(settings.max_gap_s, 1.5 / settings.rate_hz if settings.rate_hz else 0.0)
        tracks = build_tracks(sightings, probe["shots"], max_gap_s)
        real = [track for track in tracks if not self._is_glimpse(track, probe)]
        coefficients = _coefficients(table, len(self._names))
        rows: list[Row] = []
        all_rested = True
        for track in real:
            ours = coefficients[[sighting.source_row for sighting in track.sightings]]
            shapes = dict(zip(self._names, ours.T, strict=True))
            looks = self._looks(track, shapes)
            turned = np.abs(np.round(looks.pose.yaw_deg, 3))
            units, has_rest = read_units(
                shapes,
                list(self._support.aus),
                turned <= settings.max_yaw_deg,
                turned <= self._table.asymmetry_max_yaw_deg,
                self._table,
                self._active_at,
            )
            rows.append(track_row(len(rows), track, looks, self._traces(units)))
            all_rested = all_rested and has_rest
        most = _most_faces(table, real)
        flags = [] if all_rested else ["track_without_rest"]
        flags += [MORE_FACES] if most > settings.max_faces else []
        return {"tracks": rows, "face_count": most, "flags": flags}

    def _is_glimpse(self, track: Track, probe: Row) -> bool:
        """Whether it was seen too seldom to be a face, and could have been seen more often."""
        shot, rate_hz = probe["shots"][track.shot], self._settings.rate_hz
        looks: int = shot["end_frame"] - shot["start_frame"]
        if rate_hz:
            looks = min(looks, 1 + int((shot["end_s"] - shot["start_s"]) * rate_hz))
        return len(track.sightings) < min(MIN_SIGHTINGS, looks)

    def _looks(self, track: Track, shapes: dict[str, Array]) -> Looks:
        landmarks = np.array([sighting.landmarks for sighting in track.sightings])
        face = {point: landmarks[:, place] for place, point in enumerate(self._points)}
        measured = np.stack([face[point] for point in self._geometry.points()], axis=1)
        pose, features = measure_features(measured, self._geometry)
        closed = np.mean([shapes[name] for name in BLINK], axis=0)
        pitch_deg, yaw_deg = measure_gaze(face, closed, pose, self._geometry, self._table.gaze)
        return Looks(pose, pitch_deg, yaw_deg, features[MOUTH])

    def _traces(self, units: dict[str, UnitReading]) -> list[Row]:
        return [
            {
                "au": code,
                "reliability": support.reliability,
                "value": units[code].value,
                "absolute": units[code].absolute,
                "asymmetry": units[code].asymmetry,
                "rest": units[code].rest,
            }
            for code, support in self._support.aus.items()
        ]


def _most_faces(table: pa.Table, tracks: list[Track]) -> int:
    """In one frame: those on tracks, and those that nobody was free to follow."""
    shown = Counter(table["frame_index"].to_pylist())
    on_tracks = Counter(s.frame_index for track in tracks for s in track.sightings)
    counted = zip(table["frame_index"].to_pylist(), table["faces"].to_pylist(), strict=True)
    return max((faces - shown[at] + on_tracks[at] for at, faces in counted), default=0)


def _coefficients(table: pa.Table, names: int) -> Array:
    """Rows x names."""
    values = table["blendshapes"].combine_chunks().flatten().to_numpy()
    return np.asarray(values, np.float64).reshape(-1, names)
