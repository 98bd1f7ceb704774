"""The ``facemesh`` tool: face meshes from the tool program, measured here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from merr_pipeline.emotion.facs import ToolSupport
from merr_pipeline.face.action_units import MeasuredFace, measure_face
from merr_pipeline.face.geometry import Geometry
from merr_pipeline.face.tools.environment import command, environment
from merr_pipeline.face.tools.process import ToolDied, ToolNotThere, ToolProcess, ToolTooSlow
from merr_pipeline.face.tracks import Box, Sighting, build_tracks, track_row
from merr_pipeline.schema import Clip, Reason, Row
from merr_pipeline.settings import FacemeshSettings
from merr_pipeline.stage import fail, skip

VERSION = "0.10.21"  # of mediapipe; the program pins it
MORE_FACES = "more_faces_than_tracked"  # some faces have no track: max_faces is too low for them
TIME_TOLERANCE_S = 0.002  # probe rounds times to a millisecond


class Facemesh:
    """Drives the program, and turns meshes into tracks with Action Units."""

    version = VERSION

    def __init__(
        self,
        settings: FacemeshSettings,
        timeout_s: float,
        support: ToolSupport,
        geometry: Geometry,
    ) -> None:
        self._settings, self._timeout_s = settings, timeout_s
        self._support, self._geometry = support, geometry
        self._process = ToolProcess(command("facemesh"), environment())

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
        table, looked_at = self._ask(clip, probe)
        sightings = _sightings(table, probe, len(self._geometry.points()))
        if not sightings:
            empty = {"face_count": 0, "looked_at": looked_at, "flags": []}
            raise skip(Reason.NO_FACE, payload=empty)
        most = max(table["faces"].to_pylist())
        row = self._tracks(sightings, probe)
        row["flags"] += [MORE_FACES] if most > self._settings.max_faces else []
        return {**row, "face_count": most, "looked_at": looked_at}

    def _ask(self, clip: Clip, probe: Row) -> tuple[pa.Table, int]:
        """The faces, and in how many frames they were looked for."""
        request = {
            "path": str(clip.path),
            "shot_starts": [shot["start_frame"] for shot in probe["shots"]],
            "rate_hz": self._settings.rate_hz,
            "max_faces": self._settings.max_faces,
            "min_score": self._settings.min_detector_score,
            "min_overlap": self._settings.min_overlap,
            "max_disagreement": self._settings.max_disagreement,
            "points": self._geometry.points(),
        }
        try:
            try:
                table = self._process.ask(request, self._timeout_s)
            except ToolDied:  # this clip may be innocent: another program took its memory, say
                table = self._process.ask(request, self._timeout_s)
        except ToolDied:
            raise fail(Reason.TOOL_CRASHED, "facemesh died twice on this clip") from None
        except ToolTooSlow:
            raise fail(
                Reason.TOOL_TIMEOUT, f"facemesh took longer than {self._timeout_s:g} s"
            ) from None
        except ToolNotThere:
            raise fail(
                Reason.TOOL_MISSING, "facemesh does not start; run `merr tools install facemesh`"
            ) from None
        metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
        _check(metadata, table, probe)
        return table, int(metadata["looked_at"])

    def _tracks(self, sightings: list[Sighting], probe: Row) -> Row:
        settings = self._settings
        max_gap_s = max(settings.max_gap_s, 1.5 / settings.rate_hz if settings.rate_hz else 0.0)
        rows: list[Row] = []
        faces: list[MeasuredFace] = []
        for track in build_tracks(sightings, probe["shots"], max_gap_s):
            landmarks = np.array([sighting.landmarks for sighting in track.sightings])
            face = measure_face(landmarks, self._geometry, settings.max_yaw_deg)
            rows.append(track_row(len(rows), track, face.pose, self._traces(face)))
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
            }
            for code, support in self._support.aus.items()
        ]


def _check(metadata: Mapping[str, str], table: pa.Table, probe: Row) -> None:
    """Refuse an answer that is about other frames than those that probe saw."""
    if "reason" in metadata:
        raise fail(Reason(metadata["reason"]), f"facemesh: {metadata['detail']}")
    if int(metadata["frames"]) != probe["frame_count"]:
        raise fail(
            Reason.TOOL_OUTPUT_INVALID,
            f"facemesh read {metadata['frames']} frames, probe {probe['frame_count']}",
        )
    times_s = np.asarray(probe["frame_times_s"])[table["frame_index"].to_numpy()]
    apart_s = np.abs(times_s - table["time_s"].to_numpy())
    if apart_s.size and apart_s.max() > TIME_TOLERANCE_S:
        raise fail(Reason.TOOL_OUTPUT_INVALID, f"frame times differ by up to {apart_s.max():.3f} s")


def _sightings(table: pa.Table, probe: Row, points: int) -> list[Sighting]:
    times_s: list[float] = probe["frame_times_s"]
    return [
        Sighting(
            frame_index=row["frame_index"],
            time_s=times_s[row["frame_index"]],
            box=Box(row["x"], row["y"], row["width"], row["height"]),
            confidence=row["score"],
            landmarks=np.asarray(row["landmarks"], np.float64).reshape(points, 3),
        )
        for row in _rows(table)
    ]


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows
