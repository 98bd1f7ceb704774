"""From the rows of an OpenFace CSV to the payload of a face row.

OpenFace follows one face, the widest, and jumps to another person without a word; so its rows are
cut at shots and wherever the face in its place is suddenly another one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from merr_pipeline.emotion.facs import ToolSupport
from merr_pipeline.face.pose import Array, HeadPose, from_openface, head_pose
from merr_pipeline.face.tools.openface_csv import OpenFaceRows
from merr_pipeline.face.tracks import Box, Looks, Sighting, Track, build_tracks, track_row
from merr_pipeline.schema import Reason, Row
from merr_pipeline.stage import skip


def face_row(rows: OpenFaceRows, probe: Row, support: ToolSupport, min_confidence: float) -> Row:
    """The payload of the face row of a clip.

    Raises:
        NotOk: skipped with ``NO_FACE``.
    """
    seen = _seen(rows, probe["frame_count"], min_confidence)
    sightings = _sightings(rows, seen, probe)
    if not sightings:
        raise skip(Reason.NO_FACE, payload={"flags": []})
    tracks = build_tracks(sightings, probe["shots"], max_gap_s=float("inf"))
    certain = _unmixed(tracks, len(rows.frame_index))
    return {
        "tracks": [
            _track_row(number, track, rows, certain, support) for number, track in enumerate(tracks)
        ],
        "face_count": None,  # it reports one face, however many there are
        "looked_at": probe["frame_count"],
        "flags": _flags(rows, support),
    }


def _seen(rows: OpenFaceRows, frame_count: int, min_confidence: float) -> NDArray[np.bool_]:
    """Which rows show a face: a fit that OpenFace calls good and is sure enough of."""
    sure = np.nan_to_num(rows.confidence).round(3) >= min_confidence
    return np.asarray(rows.success & sure & (rows.frame_index < frame_count))


def _unmixed(tracks: Sequence[Track], row_count: int) -> NDArray[np.bool_]:
    """In which rows the intensities are those of one face.

    OpenFace smooths them over three frames, across cuts and failed fits, so the neighbours of a
    row must be of its own track. The first and last row of the video have one neighbour.
    """
    track_of_row = np.full(row_count, -1)
    for number, track in enumerate(tracks):
        track_of_row[_source_rows(track)] = number
    padded = np.pad(track_of_row, 1, mode="edge")
    same = (padded[:-2] == track_of_row) & (padded[2:] == track_of_row)
    return np.asarray(same & (track_of_row >= 0))


def _source_rows(track: Track) -> NDArray[np.int64]:
    return np.array([sighting.source_row for sighting in track.sightings])


def _sightings(rows: OpenFaceRows, seen: NDArray[np.bool_], probe: Row) -> list[Sighting]:
    found = []
    for row in np.flatnonzero(seen):
        index = int(rows.frame_index[row])
        landmarks = None if rows.landmarks is None else rows.landmarks[row]
        found.append(
            Sighting(
                frame_index=index,
                time_s=probe["frame_times_s"][index],
                box=_box(landmarks, probe["width"], probe["height"]),
                confidence=float(rows.confidence[row]),
                landmarks=landmarks,
                source_row=int(row),
            )
        )
    return found


def _box(landmarks: Array | None, width: int, height: int) -> Box | None:
    """Around the landmarks, cut at the edges of the frame; None if nothing of it is inside."""
    if landmarks is None or not np.isfinite(landmarks).all():
        return None
    left, top = np.clip(landmarks.min(axis=0), 0, (width, height))
    right, bottom = np.clip(landmarks.max(axis=0), 0, (width, height))
    if right <= left or bottom <= top:
        return None
    return Box(float(left), float(top), float(right - left), float(bottom - top))


def _looks(rows: OpenFaceRows, at: NDArray[np.int64]) -> Looks:
    nothing = np.full(len(at), np.nan)
    pose = HeadPose(nothing, nothing, nothing)
    if rows.rotation_rad is not None:
        pose = head_pose(from_openface(*rows.rotation_rad[at].T))
    mouth_open = None if rows.landmarks is None else _mouth_open(rows.landmarks[at])
    if rows.gaze_rad is None:
        return Looks(pose, mouth_open=mouth_open)
    return Looks(pose, *gaze_deg(rows.gaze_rad[at]), mouth_open)


def gaze_deg(gaze_rad: Array) -> tuple[Array, Array]:
    """Pitch (up positive) and yaw (to the viewer's right positive) of the eyes, in degrees.

    OpenFace averages the directions of both eyes in the axes of the camera (x to the viewer's
    right, y down, z away from it) and gives ``atan2(x, -z)`` and ``atan2(y, -z)``. So its angles
    grow to the viewer's right and downward; and ours, like those of a head, are a turn and a height
    above the horizon. Source: its wiki, "Output Format", and the directions beside the angles.

    Args:
        gaze_rad: rows x 2, ``gaze_angle_x`` and ``gaze_angle_y``.
    """
    x, y = gaze_rad.T
    towards_us = (np.abs(gaze_rad) < np.pi / 2).all(axis=1)  # eyes that look away are not seen
    pitch = -np.arctan(np.tan(y) * np.cos(x))
    return (
        np.where(towards_us, np.degrees(pitch), np.nan),
        np.where(towards_us, np.degrees(x), np.nan),
    )


def _mouth_open(landmarks: Array) -> Array:
    """Between the inner lips, in distances of the outer eye corners; iBUG's 68 points."""
    lips = np.linalg.norm(landmarks[:, 66] - landmarks[:, 62], axis=1)
    eyes = np.linalg.norm(landmarks[:, 45] - landmarks[:, 36], axis=1)
    return np.asarray(np.divide(lips, eyes, out=np.full(len(lips), np.nan), where=eyes > 0))


def _track_row(
    number: int,
    track: Track,
    rows: OpenFaceRows,
    certain: NDArray[np.bool_],
    support: ToolSupport,
) -> Row:
    at = _source_rows(track)
    traces = [
        {
            "au": code,
            "reliability": unit.reliability,
            "value": np.where(certain[at], rows.intensities[code][at], np.nan),
            "absolute": None,
            "asymmetry": None,
            "rest": None,
        }
        for code, unit in support.aus.items()
        if code in rows.intensities
    ]
    return track_row(number, track, _looks(rows, at), traces)


def _flags(rows: OpenFaceRows, support: ToolSupport) -> list[str]:
    missing = set(support.aus) - set(rows.intensities)
    flags = {"au_columns_missing": bool(missing), "no_face_boxes": rows.landmarks is None}
    return [flag for flag, is_so in flags.items() if is_so]
