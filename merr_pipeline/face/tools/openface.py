"""The ``openface`` tool in its form of CSVs already made.

OpenFace follows one face, the widest, and jumps to another person without a word; so its rows are
cut at shots and wherever the face in its place is suddenly another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from merr_pipeline.emotion.facs import ToolSupport
from merr_pipeline.face.pose import Array, HeadPose, from_openface, head_pose
from merr_pipeline.face.tools.contract import Making
from merr_pipeline.face.tools.openface_csv import BadCsv, OpenFaceRows, parse_openface
from merr_pipeline.face.tracks import Box, Looks, Sighting, Track, build_tracks, track_row
from merr_pipeline.schema import Clip, Reason, Row
from merr_pipeline.settings import OpenFaceSettings
from merr_pipeline.stage import fail, skip

MAX_ROWS_APART = 1  # OpenFace now and then drops the last frame


class OpenFaceCsvs:
    """Reads the CSV of each clip, and turns its rows into tracks."""

    version = None  # the CSV does not say by which OpenFace it was written

    def __init__(self, settings: OpenFaceSettings, support: ToolSupport) -> None:
        self._settings, self._support = settings, support

    def start(self) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """Nothing to free."""

    def making(self) -> Making:
        """The CSVs do not say what made them."""
        return Making(settings=self._settings.model_dump(mode="json", exclude={"csv_dir"}))

    def facts(self, clip: Clip) -> Mapping[str, Any]:
        """The content of the clip's CSV; None without one, and if it may not be read."""
        path = self._path(clip)
        try:
            content = None if path is None else path.read_bytes()
        except OSError:
            content = None
        return {"openface_csv": None if content is None else hashlib.sha256(content).hexdigest()}

    def measure(self, clip: Clip, probe: Row) -> Row:
        """The payload of the face row of a clip.

        Raises:
            NotOk: skipped with ``NO_FACE``; failed with ``NO_OPENFACE_CSV`` or
                ``TOOL_OUTPUT_INVALID``.
        """
        path = self._path(clip)
        if path is None:
            raise fail(Reason.NO_OPENFACE_CSV, self._where_looked(clip))
        try:
            rows = parse_openface(path.read_bytes())
        except BadCsv as error:
            raise fail(Reason.TOOL_OUTPUT_INVALID, str(error)) from error
        except OSError as error:
            raise fail(Reason.TOOL_OUTPUT_INVALID, str(error.strerror)) from error
        _check_frames(rows, probe["frame_count"])
        seen = self._seen(rows, probe["frame_count"])
        sightings = _sightings(rows, seen, probe)
        if not sightings:
            raise skip(Reason.NO_FACE, payload={"flags": []})
        # An intensity is smoothed over three frames, so a failed fit also spoils its neighbours.
        certain = seen & ~np.convolve(~seen, [1, 1, 1], "same").astype(bool)
        tracks = build_tracks(sightings, probe["shots"], max_gap_s=float("inf"))
        poses = _poses(rows)
        return {
            "tracks": [
                track_row(
                    number, track, _looks(track, rows, poses), self._traces(track, rows, certain)
                )
                for number, track in enumerate(tracks)
            ],
            "face_count": None,  # it reports one face, however many there are
            "looked_at": probe["frame_count"],
            "flags": self._flags(rows),
        }

    def _path(self, clip: Clip) -> Path | None:
        folder = self._settings.csv_dir
        if folder is None:
            return None
        inside = (folder / name for name in _names(clip) if not _leaves(name))
        return next((path for path in inside if _is_file(path)), None)

    def _where_looked(self, clip: Clip) -> str:
        if self._settings.csv_dir is None:
            return "face.openface.csv_dir is not set; give the folder that holds OpenFace's CSVs"
        names, stem = _names(clip), f"{clip.path.stem}.csv"
        looked = f"no {' and no '.join(names)} in face.openface.csv_dir"
        if stem in names:
            return looked
        return f"{looked}; {stem} is not taken, for a clip of another folder may have that name too"

    def _seen(self, rows: OpenFaceRows, frame_count: int) -> NDArray[np.bool_]:
        """Which rows show a face: a fit that OpenFace calls good and is sure enough of."""
        sure = np.nan_to_num(rows.confidence).round(3) >= self._settings.min_confidence
        return np.asarray(rows.success & sure & (rows.frame_index < frame_count))

    def _traces(self, track: Track, rows: OpenFaceRows, certain: NDArray[np.bool_]) -> list[Row]:
        at = np.array([sighting.source_row for sighting in track.sightings])
        return [
            {
                "au": code,
                "reliability": support.reliability,
                "value": np.where(certain[at], rows.intensities[code][at], np.nan),
                "absolute": None,
                "asymmetry": None,
            }
            for code, support in self._support.aus.items()
            if code in rows.intensities
        ]

    def _flags(self, rows: OpenFaceRows) -> list[str]:
        missing = set(self._support.aus) - set(rows.intensities)
        flags = {"au_columns_missing": bool(missing), "no_face_boxes": rows.landmarks is None}
        return [flag for flag, is_so in flags.items() if is_so]


def _names(clip: Clip) -> list[str]:
    """What the CSV of a clip may be called, the more telling name first.

    The name of the file alone is enough only right under the input folder, where no other clip has
    it.
    """
    in_a_folder = "/" in clip.media_path
    by_stem = [] if in_a_folder else [f"{clip.path.stem}.csv"]
    return list(dict.fromkeys([f"{clip.clip_id}.csv", *by_stem]))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a clip id may be longer than the name of any file
        return False


def _leaves(name: str) -> bool:
    """Whether a name made of a clip id would lead out of the folder."""
    return Path(name).is_absolute() or ".." in Path(name).parts


def _check_frames(rows: OpenFaceRows, frame_count: int) -> None:
    found = len(rows.frame_index)
    if abs(found - frame_count) > MAX_ROWS_APART or rows.frame_index[-1] > frame_count:
        raise fail(
            Reason.TOOL_OUTPUT_INVALID,
            f"{found} rows up to frame {rows.frame_index[-1]} for {frame_count} frames: "
            "the CSV was made from another video, or OpenFace was stopped",
        )


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


def _poses(rows: OpenFaceRows) -> HeadPose:
    """Of every row; NaN where the CSV has none."""
    if rows.rotation_rad is None:
        nothing = np.full(len(rows.frame_index), np.nan)
        return HeadPose(nothing, nothing, nothing)
    return head_pose(from_openface(*rows.rotation_rad.T))


def _looks(track: Track, rows: OpenFaceRows, poses: HeadPose) -> Looks:
    at = np.array([sighting.source_row for sighting in track.sightings])
    mouth = None if rows.landmarks is None else _mouth_open(rows.landmarks[at])
    return Looks(HeadPose(*(angles[at] for angles in poses)), mouth_open=mouth)


def _mouth_open(landmarks: Array) -> Array:
    """Between the inner lips, in distances of the outer eye corners; iBUG's 68 points."""
    lips = np.linalg.norm(landmarks[:, 66] - landmarks[:, 62], axis=1)
    eyes = np.linalg.norm(landmarks[:, 45] - landmarks[:, 36], axis=1)
    return np.asarray(np.divide(lips, eyes, out=np.full(len(lips), np.nan), where=eyes > 0))
