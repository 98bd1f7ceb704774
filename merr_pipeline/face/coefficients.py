"""Action Units from blendshape coefficients, by the table in ``blendshapes.yaml``.

These are proxies: a coefficient says how far a model's face is moved from its own rest, not how
strongly a muscle pulls. `action_units.yaml` says how far each can be trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.ndimage import median_filter

from merr_pipeline.emotion.facs import Code
from merr_pipeline.face.action_units import FULL_INTENSITY, Rest
from merr_pipeline.face.gaze import EyeGeometry
from merr_pipeline.face.pose import Array
from merr_pipeline.schema import MerrError
from merr_pipeline.templates import load_model

TEMPLATE = "blendshapes.yaml"

BOTH_SIDES = frozenset({
    "browDown", "browOuterUp", "cheekSquint", "eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut",
    "eyeLookUp", "eyeSquint", "eyeWide", "mouthDimple", "mouthFrown", "mouthLowerDown",
    "mouthPress", "mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer",
})  # fmt: skip
"""Coefficients that there are twice: mouthSmileLeft (the person's own left), mouthSmileRight."""

NO_SIDES = frozenset({
    "browInnerUp", "cheekPuff", "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose",
    "mouthFunnel", "mouthLeft", "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "mouthShrugUpper",
})  # fmt: skip


def sides_of(name: str) -> tuple[str, ...]:
    """The coefficients that a name stands for: itself, or its left and its right one.

    Raises:
        ValueError: FaceLandmarker has no such coefficient.
    """
    if name in BOTH_SIDES:
        return f"{name}Left", f"{name}Right"
    if name in NO_SIDES:
        return (name,)
    raise ValueError(f"{name!r} is no blendshape; sides are left out (mouthSmile)")


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Names = Annotated[tuple[str, ...], Field(min_length=1)]


class Reading(_Entry):
    """Which coefficients make an Action Unit."""

    mean_of: Names | None = None
    greatest_of: Names | None = None
    less: str | None = None
    neutral: float = Field(50, ge=0, le=100)  # percentile of the track that is the face at rest

    @model_validator(mode="after")
    def _names_exist(self) -> Reading:
        if (self.mean_of is None) == (self.greatest_of is None):
            raise ValueError("a unit has either `mean_of` or `greatest_of`")
        self.coefficients()
        return self

    def names(self) -> tuple[str, ...]:
        """What it is read from, without what is taken away."""
        return self.mean_of or self.greatest_of or ()

    def coefficients(self) -> set[str]:
        """All that it needs, sides and all."""
        taken = (self.less,) if self.less else ()
        return {side for name in (*self.names(), *taken) for side in sides_of(name)}

    @property
    def has_sides(self) -> bool:
        """Whether left and right can be told apart."""
        one = any(len(sides_of(name)) == 1 for name in self.names())
        return not (one or self.greatest_of or self.less)

    def read(self, face: dict[str, Array]) -> Array:
        """The coefficient of the unit in each frame; ``face`` has each name, frames long."""
        parts = [_mean(face, sides_of(name)) for name in self.names()]
        together = np.max(parts, axis=0) if self.greatest_of else np.mean(parts, axis=0)
        return together - _mean(face, sides_of(self.less)) if self.less else np.asarray(together)

    def left_over_right(self, face: dict[str, Array]) -> Array:
        """How much more the person's left side has of it."""
        left, right = (
            np.mean([face[sides_of(name)[side]] for name in self.names()], axis=0)
            for side in (0, 1)
        )
        return np.asarray(left - right)


def _mean(face: dict[str, Array], names: Sequence[str]) -> Array:
    return np.asarray(np.mean([face[name] for name in names], axis=0))


class Blendshapes(_Entry):
    """The whole file; ``sha256`` is its content hash, for fingerprints."""

    action_units: dict[Code, Reading]
    absolute: tuple[Code, ...]
    smoothing_frames: int = Field(ge=1)
    baseline_frames: int = Field(ge=1)
    asymmetry_max_yaw_deg: float = Field(gt=0)
    gaze: EyeGeometry
    sha256: str

    @model_validator(mode="after")
    def _absolute_is_read(self) -> Blendshapes:
        if missing := set(self.absolute) - set(self.action_units):
            raise ValueError(f"absolute: no reading for {', '.join(sorted(missing))}")
        return self

    def coefficients(self, units: Sequence[str]) -> list[str]:
        """The coefficients that these units need, sorted.

        Raises:
            MerrError: names the units that have no reading.
        """
        if missing := set(units) - set(self.action_units):
            names = ", ".join(sorted(missing))
            raise MerrError(f"{TEMPLATE} has no reading for {names}, which have a tier.")
        return sorted(set().union(*(self.action_units[unit].coefficients() for unit in units)))


def load_blendshapes(templates: Path | None = None) -> Blendshapes:
    """Read ``blendshapes.yaml`` from the user's templates folder, else the shipped one.

    Raises:
        MerrError: the file is missing, or says something that cannot be.
    """
    return load_model(Blendshapes, TEMPLATE, templates)


@dataclass(frozen=True)
class UnitReading:
    """One Action Unit over the frames of a track, 0..5; NaN where it was not seen."""

    value: Array  # against the rest that `rest` names
    absolute: Array | None  # the coefficient as it is, where that says something
    asymmetry: Array | None  # the person's left less the right, each against its own rest: -5..5
    rest: Rest


def read_units(
    face: dict[str, Array],
    units: Sequence[str],
    usable: NDArray[np.bool_],
    facing: NDArray[np.bool_],
    table: Blendshapes,
    active_at: float,
) -> tuple[dict[str, UnitReading], bool]:
    """Read a track; frames that are not usable are NaN and do not shape the rest.

    ``facing`` says where both sides are seen; elsewhere there is no asymmetry.

    Returns:
        The units, and whether the track has a rest (``table.baseline_frames`` usable frames).
        Without one ``value`` and ``asymmetry`` are NaN. A unit of ``table.absolute`` has its
        absolute value then, and where it is active (``active_at``) in what would be the rest.
    """
    has_rest = int(usable.sum()) >= table.baseline_frames
    rest_of = usable if has_rest else np.zeros_like(usable)
    smooth = {name: _smooth(series, usable, table) for name, series in face.items()}
    both = usable & facing
    sides = {name: _smooth(series, both, table) for name, series in face.items()}
    enough = both if int(both.sum()) >= table.baseline_frames else np.zeros_like(both)
    read = {}
    for unit in units:
        reading = table.action_units[unit]
        coefficient = reading.read(smooth)
        rest = _percentile(coefficient, rest_of, reading.neutral)
        asymmetry = _asymmetry(reading, sides, enough)
        read[unit] = UnitReading(_scaled(coefficient - rest), None, asymmetry, "own")
        if unit in table.absolute:
            read[unit] = _with_absolute(read[unit], _scaled(coefficient), rest, active_at)
        elif not has_rest:
            read[unit] = replace(read[unit], rest="short")
    return read, has_rest


def _with_absolute(
    unit: UnitReading, absolute: Array, rest: float, active_at: float
) -> UnitReading:
    """The unit as it is where the track has no rest, or one in which the unit is active."""
    if np.round(FULL_INTENSITY * rest, 3) < active_at:
        return replace(unit, absolute=absolute)
    return UnitReading(absolute, absolute, unit.asymmetry, "common")


def _asymmetry(
    reading: Reading, sides: dict[str, Array], rest_of: NDArray[np.bool_]
) -> Array | None:
    if not reading.has_sides:
        return None
    difference = reading.left_over_right(sides)
    return np.asarray(FULL_INTENSITY * (difference - _percentile(difference, rest_of, 50)))


def _scaled(coefficient: Array) -> Array:
    return np.asarray(FULL_INTENSITY * np.clip(coefficient, 0, 1))


def _percentile(series: Array, of: NDArray[np.bool_], percent: float) -> float:
    return float(np.percentile(series[of], percent)) if of.any() else np.nan


def _smooth(series: Array, usable: NDArray[np.bool_], table: Blendshapes) -> Array:
    """Median filter over the usable frames; NaN in the others."""
    smooth = np.full_like(series, np.nan)
    if usable.any():
        smooth[usable] = median_filter(series[usable], table.smoothing_frames, mode="nearest")
    return smooth
