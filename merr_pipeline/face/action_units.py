"""Action Units from mesh points: how far lengths on the face depart from the face at rest.

These are proxies with hand-set scales. `annotation_templates/face_geometry.yaml` has the geometry,
`action_units.yaml` says how far each can be trusted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from merr_pipeline.face.geometry import MOUTH, Geometry, Term
from merr_pipeline.face.pose import Array, HeadPose, fit_rotations, head_pose

FULL_INTENSITY = 5.0

Rest = Literal["own", "common", "raised", "short"]
"""What a value is measured against: the face at rest of the track itself (``own``), or one that is
the same for everybody (``common``). There is no value where the track's own rest is none, because
something is held through most of it (``raised``) or it is too short to have one (``short``)."""


@dataclass(frozen=True)
class UnitSeries:
    """One Action Unit over the frames of a track; NaN where it was not seen."""

    value: Array  # against the rest that `rest` names
    absolute: Array | None  # against a rest that is the same for everybody, where there is one
    asymmetry: Array | None  # the person's left side less the right: -5..5, where it has sides
    rest: Rest


@dataclass(frozen=True)
class MeasuredFace:
    """Head pose and Action Units over the frames of a track."""

    pose: HeadPose
    units: dict[str, UnitSeries]
    mouth_open: Array  # between the inner lips, in eye distances, in every frame
    has_baseline: bool


def measure_face(
    landmarks: Array, geometry: Geometry, max_yaw_deg: float, active_at: float
) -> MeasuredFace:
    """Measure one track.

    Args:
        landmarks: frames x points x 3, pixels, points in the order of ``geometry.points()``.
        geometry: what to measure.
        max_yaw_deg: frames turned further are not measured, and do not shape the rest.
        active_at: value from which an Action Unit counts as active.

    Returns:
        Values 0..5. A track with fewer usable frames than ``geometry.baseline_frames`` has no rest
        of its own. One in whose rest a unit of ``geometry.absolute`` is active has none for what is
        read from the same features: its lip corners lie low only beside the smile that is held.
        ``value`` is then that against the common rest, NaN where there is none. ``asymmetry`` is
        NaN without an own rest, and where the head is turned beyond
        ``geometry.asymmetry_max_yaw_deg``.
    """
    pose, face, unit = _turned_to_front(landmarks, geometry)
    features = _lengths(face, unit, geometry)
    usable = np.abs(np.round(pose.yaw_deg, 3)) <= max_yaw_deg
    smooth = {name: _smooth(series, usable, geometry) for name, series in features.items()}
    has_baseline = int(usable.sum()) >= geometry.baseline_frames
    rest = _rest(smooth, usable, geometry)
    raised = _raised_features(rest, geometry, active_at)
    facing = usable & (np.abs(np.round(pose.yaw_deg, 3)) <= geometry.asymmetry_max_yaw_deg)
    sides = _sides(face, unit, facing, geometry)
    units = {
        code: _unit(code, smooth, _own_rest(code, rest, raised, geometry), rest, sides, geometry)
        for code in geometry.action_units
    }
    return MeasuredFace(pose, units, features[MOUTH], has_baseline)


def _unit(
    code: str,
    smooth: Mapping[str, Array],
    own: Rest,
    rest: Mapping[str, float],
    sides: tuple[_Side, _Side],
    geometry: Geometry,
) -> UnitSeries:
    """One Action Unit; ``own`` says what is to be thought of the track's own rest."""
    common = geometry.absolute.get(code)
    absolute = None if common is None else _value(code, smooth, common, geometry)
    value, asymmetry = _value(code, smooth, rest, geometry), _asymmetry(code, sides, geometry)
    if own == "own":
        return UnitSeries(value, absolute, asymmetry, own)
    unknown = np.full_like(value, np.nan)
    nowhere = None if asymmetry is None else unknown
    if absolute is not None:
        return UnitSeries(absolute, absolute, nowhere, "common")
    return UnitSeries(unknown, None, nowhere, own)


def _own_rest(
    code: str, rest: Mapping[str, float], raised: frozenset[str], geometry: Geometry
) -> Rest:
    """Whether the track's rest is one for this unit, and if not, why."""
    features = {term.feature for term in geometry.action_units[code]}
    if any(np.isnan(rest[name]) for name in features):
        return "short"
    return "raised" if features & raised else "own"


def _raised_features(
    rest: Mapping[str, float], geometry: Geometry, active_at: float
) -> frozenset[str]:
    """The features of all units that are active in what would be the face at rest."""
    at_rest = {name: np.array(value) for name, value in rest.items()}
    return frozenset(
        term.feature
        for code, common in geometry.absolute.items()
        if np.round(_value(code, at_rest, common, geometry), 3) >= active_at
        for term in geometry.action_units[code]
    )


def measure_features(landmarks: Array, geometry: Geometry) -> tuple[HeadPose, dict[str, Array]]:
    """Head pose, and the lengths of the face turned to the front, in eye distances."""
    pose, face, unit = _turned_to_front(landmarks, geometry)
    return pose, _lengths(face, unit, geometry)


def _turned_to_front(
    landmarks: Array, geometry: Geometry
) -> tuple[HeadPose, dict[int, Array], Array]:
    """Head pose; each point on the face turned to the front (frames x 3); the eye distance."""
    where = {point: place for place, point in enumerate(geometry.points())}
    anchors = landmarks[:, [where[point] for point in geometry.anchors]]
    rotations = fit_rotations(anchors, np.array(list(geometry.anchors.values())))
    frontal = np.einsum("fji,fpj->fpi", rotations, landmarks)  # by the inverse rotation
    face = {point: frontal[:, place] for point, place in where.items()}
    left, right = geometry.eyes
    return head_pose(rotations), face, np.hypot(*(face[right] - face[left])[:, :2].T)


def _lengths(face: dict[int, Array], unit: Array, geometry: Geometry) -> dict[str, Array]:
    return {name: feature.measure(face) / unit for name, feature in geometry.features.items()}


@dataclass(frozen=True)
class _Side:
    """The sided features of one half of the face."""

    series: dict[str, Array]
    rest: dict[str, float]

    def value(self, terms: Sequence[Term]) -> Array:
        """An Action Unit by these terms alone, 0..5."""
        shares = [term.share(self.series[term.feature], self.rest[term.feature]) for term in terms]
        return np.asarray(
            FULL_INTENSITY * np.sum(shares, axis=0) / sum(term.weight for term in terms)
        )


def _sides(
    face: dict[int, Array], unit: Array, facing: NDArray[np.bool_], geometry: Geometry
) -> tuple[_Side, _Side]:
    """The person's right side, and the left."""
    pairs = {
        name: feature.measure_pairs(face)
        for name, feature in geometry.features.items()
        if feature.sided
    }
    right, left = (
        {name: _smooth(both[side] / unit, facing, geometry) for name, both in pairs.items()}
        for side in (0, 1)
    )
    return _Side(right, _rest(right, facing, geometry)), _Side(left, _rest(left, facing, geometry))


def _asymmetry(code: str, sides: tuple[_Side, _Side], geometry: Geometry) -> Array | None:
    if not (terms := geometry.sided_terms(code)):
        return None
    right, left = (side.value(terms) for side in sides)
    return left - right


def _rest(
    series: dict[str, Array], usable: NDArray[np.bool_], geometry: Geometry
) -> dict[str, float]:
    """The face at rest; NaN without enough usable frames."""
    if int(usable.sum()) < geometry.baseline_frames:
        return dict.fromkeys(series, np.nan)
    return {
        name: float(np.percentile(values[usable], geometry.features[name].neutral))
        for name, values in series.items()
    }


def _smooth(series: Array, usable: NDArray[np.bool_], geometry: Geometry) -> Array:
    """Median filter over the usable frames; NaN in the others."""
    smooth = np.full_like(series, np.nan)
    if usable.any():
        smooth[usable] = median_filter(series[usable], geometry.smoothing_frames, mode="nearest")
    return smooth


def _value(
    code: str, series: Mapping[str, Array], rest: Mapping[str, float], geometry: Geometry
) -> Array:
    shares = [
        term.share(series[term.feature], rest[term.feature]) for term in geometry.action_units[code]
    ]
    return np.asarray(FULL_INTENSITY * np.sum(shares, axis=0))
