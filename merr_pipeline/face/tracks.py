"""From faces in single frames to tracks: one person, within one shot, over time.

Frames in which the person was not seen are left out of a track; nothing is filled in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from merr_pipeline.face.pose import Array, HeadPose
from merr_pipeline.schema import Row

MIN_OVERLAP = 0.2  # IoU of the boxes of one person in two neighbouring sightings
MAX_SHIFT = 0.4  # mean way of the landmarks between them, in sides of the face


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the shown frame."""

    x: float
    y: float
    width: float
    height: float

    def overlap(self, other: Box) -> float:
        """Intersection over union, 0..1."""
        width = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        height = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        shared = max(width, 0.0) * max(height, 0.0)
        both = self.width * self.height + other.width * other.height - shared
        return shared / both if both > 0 else 0.0


@dataclass(frozen=True)
class Sighting:
    """One face in one frame."""

    frame_index: int
    time_s: float
    box: Box | None  # None when the tool gives no place
    confidence: float
    landmarks: Array | None = None  # points x 2 or 3, pixels
    source_row: int = 0  # where the tool's table has it


@dataclass
class Track:
    """One person within one shot, in the order of frames."""

    shot: int
    sightings: list[Sighting] = field(default_factory=list)


def build_tracks(
    sightings: Sequence[Sighting], shots: Sequence[Mapping[str, Any]], max_gap_s: float
) -> list[Track]:
    """Join sightings (in the order of frames) to tracks, in the order in which they begin.

    A track ends at a cut, when its person is not seen for more than ``max_gap_s``, and when the
    face in its place is suddenly another one.
    """
    tracks: list[Track] = []
    for shot, inside in enumerate(_by_shot(sightings, shots)):
        open_tracks: list[Track] = []
        for together in _by_frame(inside):
            now_s = together[0].time_s
            open_tracks = [
                track
                for track in open_tracks
                if round(now_s - track.sightings[-1].time_s, 3) <= max_gap_s
            ]
            for sighting, track in _match(together, open_tracks):
                if track is None:
                    track = Track(shot)
                    tracks.append(track)
                    open_tracks.append(track)
                track.sightings.append(sighting)
    return tracks


def _by_shot(
    sightings: Sequence[Sighting], shots: Sequence[Mapping[str, Any]]
) -> Iterator[list[Sighting]]:
    """What is seen in each shot, without the frames that are mixed with the shot before."""
    for shot in shots:
        first = shot["start_frame"] + shot["fade_frames"]
        yield [s for s in sightings if first <= s.frame_index < shot["end_frame"]]


def _by_frame(sightings: Sequence[Sighting]) -> Iterator[list[Sighting]]:
    together: list[Sighting] = []
    for sighting in sightings:
        if together and sighting.frame_index != together[-1].frame_index:
            yield together
            together = []
        together.append(sighting)
    if together:
        yield together


def _match(
    together: Sequence[Sighting], tracks: Sequence[Track]
) -> list[tuple[Sighting, Track | None]]:
    """Give each face of a frame the track it goes on with, nearest pairs first."""
    shifts = sorted(
        (shift, s, t)
        for s, sighting in enumerate(together)
        for t, track in enumerate(tracks)
        if (shift := _shift(track.sightings[-1], sighting)) is not None
    )
    found: dict[int, int] = {}
    for _, s, t in shifts:
        if s not in found and t not in found.values():
            found[s] = t
    return [
        (sighting, tracks[found[s]] if s in found else None) for s, sighting in enumerate(together)
    ]


def _shift(before: Sighting, after: Sighting) -> float | None:
    """How far a face has moved, in sides of the face; None if it cannot be the same person."""
    if before.box is None or after.box is None:
        return 0.0  # without places there is nothing to tell people apart by
    overlap = round(before.box.overlap(after.box), 3)
    if overlap < MIN_OVERLAP:
        return None
    if before.landmarks is None or after.landmarks is None:
        return 1.0 - overlap
    way = np.linalg.norm(after.landmarks[:, :2] - before.landmarks[:, :2], axis=1).mean()
    shift = float(way) / float(np.sqrt(before.box.width * before.box.height))
    return shift if round(shift, 3) <= MAX_SHIFT else None


@dataclass(frozen=True)
class Looks:
    """What a tool knows of a track besides Action Units; one number per frame, NaN if unseen."""

    pose: HeadPose
    gaze_pitch_deg: Array | None = None  # None: the tool sees no gaze
    gaze_yaw_deg: Array | None = None
    mouth_open: Array | None = None  # between the inner lips, in distances of the outer eye corners


def track_row(number: int, track: Track, looks: Looks, action_units: list[Row]) -> Row:
    """A track as `schema.TRACK` has it."""
    seen = track.sightings
    return {
        "track": number,
        "shot": track.shot,
        "frame_index": [sighting.frame_index for sighting in seen],
        "time_s": [sighting.time_s for sighting in seen],
        "box": [None if sighting.box is None else vars(sighting.box) for sighting in seen],
        "confidence": [sighting.confidence for sighting in seen],
        "pitch_deg": looks.pose.pitch_deg.tolist(),
        "yaw_deg": looks.pose.yaw_deg.tolist(),
        "roll_deg": looks.pose.roll_deg.tolist(),
        "gaze_pitch_deg": _listed(looks.gaze_pitch_deg, len(seen)),
        "gaze_yaw_deg": _listed(looks.gaze_yaw_deg, len(seen)),
        "mouth_open": _listed(looks.mouth_open, len(seen)),
        "action_units": action_units,
    }


def _listed(values: Array | None, length: int) -> list[float | None]:
    return [None] * length if values is None else values.tolist()
