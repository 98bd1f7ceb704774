"""``face_geometry.yaml``: which mesh points make which feature, and features which Action Unit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from merr_pipeline.emotion.facs import Code
from merr_pipeline.face.pose import Array
from merr_pipeline.templates import load_model

TEMPLATE = "face_geometry.yaml"
MOUTH = "lip_gap"
"""The feature that says how far the mouth is open; who speaks is found by it."""

PointIndex = Annotated[int, Field(ge=0, lt=478)]
Points = Annotated[tuple[PointIndex, ...], Field(min_length=1)]
Pair = tuple[Points, Points]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Feature(_Entry):
    """A length on the face, between two groups of points, as the mean of its pairs."""

    down: tuple[Pair, ...] = ()  # how far the second group lies below the first
    distance: tuple[Pair, ...] = ()  # how far the groups are apart, seen from the front
    neutral: float = Field(ge=0, le=100)  # percentile of the track that is the face at rest
    sided: bool = False  # its two pairs are the person's right side and the left, in that order

    @model_validator(mode="after")
    def _has_one_measure(self) -> Feature:
        if bool(self.down) == bool(self.distance):
            raise ValueError("a feature has either `down` or `distance`")
        if self.sided and len(self.down + self.distance) != 2:
            raise ValueError("a sided feature has two pairs: the person's right, then the left")
        return self

    def points(self) -> set[int]:
        """All mesh points it needs."""
        return {point for pair in self.down + self.distance for group in pair for point in group}

    def measure(self, face: dict[int, Array]) -> Array:
        """Its length in each frame; ``face`` has each point (frames x 3), turned to the front."""
        return np.asarray(np.mean(self.measure_pairs(face), axis=0))

    def measure_pairs(self, face: dict[int, Array]) -> list[Array]:
        """The length of each of its pairs, in each frame."""
        return [(_mean(face, second) - _mean(face, first))[:, 1] for first, second in self.down] + [
            np.hypot(*(_mean(face, second) - _mean(face, first))[:, :2].T)
            for first, second in self.distance
        ]


def _mean(face: dict[int, Array], group: tuple[int, ...]) -> Array:
    return np.asarray(np.mean([face[point] for point in group], axis=0))


class Term(_Entry):
    """What one feature adds to an Action Unit."""

    feature: str
    full: float  # change at which the unit is at 5; negative if the feature shrinks
    start: float = 0.0  # smaller changes count as none
    weight: float = Field(1.0, gt=0, le=1)
    relative: bool = False  # change as a share of the neutral value

    def share(self, value: Array, neutral: float) -> Array:
        """How much of the full scale is reached, 0..1, times the weight."""
        change = value / neutral - 1 if self.relative else value - neutral
        return np.asarray(self.weight * np.clip((change - self.start) / self.full, 0, 1))


class Geometry(_Entry):
    """The whole file; ``sha256`` is its content hash, for fingerprints."""

    anchors: dict[PointIndex, tuple[float, float, float]]
    eyes: tuple[PointIndex, PointIndex]
    features: dict[str, Feature]
    action_units: dict[Code, tuple[Term, ...]]
    absolute: dict[Code, dict[str, float]]
    smoothing_frames: int = Field(ge=1)
    baseline_frames: int = Field(ge=1)
    asymmetry_max_yaw_deg: float = Field(gt=0)
    sha256: str

    @model_validator(mode="after")
    def _names_exist(self) -> Geometry:
        if MOUTH not in self.features:
            raise ValueError(f"features: {MOUTH} is needed, to see who speaks")
        for code, terms in self.action_units.items():
            if missing := {term.feature for term in terms} - set(self.features):
                raise ValueError(f"action_units.{code}: no feature {', '.join(sorted(missing))}")
        for code, neutral in self.absolute.items():
            wanted = {term.feature for term in self.action_units.get(code, ())}
            if not wanted or set(neutral) != wanted:
                raise ValueError(f"absolute.{code} must give its features: {sorted(wanted)}")
        return self

    def sided_terms(self, code: str) -> tuple[Term, ...]:
        """What of an Action Unit can be told of each side of the face; may be nothing."""
        return tuple(t for t in self.action_units[code] if self.features[t.feature].sided)

    def points(self) -> list[int]:
        """Mesh points that are needed, sorted; landmark arrays hold them in this order."""
        features = (feature.points() for feature in self.features.values())
        return sorted({*self.anchors, *self.eyes}.union(*features))


def load_geometry(templates: Path | None = None) -> Geometry:
    """Read ``face_geometry.yaml`` from the user's templates folder, else the shipped one.

    Raises:
        MerrError: the file is missing, or says something that cannot be.
    """
    return load_model(Geometry, TEMPLATE, templates)
