"""The knowledge of this room: ``moment_rules.yaml``, read and checked."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from merr_pipeline.templates import load_model

TEMPLATE = "moment_rules.yaml"


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PersonWeights(_Entry):
    """What each clue counts when the main person is chosen."""

    size: float = Field(ge=0)
    time: float = Field(ge=0)
    coverage: float = Field(ge=0)
    centrality: float = Field(ge=0)
    confidence: float = Field(ge=0)
    measured: float = Field(ge=0)


class SpeakingRules(_Entry):
    """When a moving mouth is taken for the one that speaks."""

    first_lag_s: float
    last_lag_s: float
    least_s: float = Field(gt=0)
    least_speech_s: float = Field(gt=0)
    chance: float = Field(ge=0, lt=1)
    sure: float = Field(gt=0, le=1)
    weight: float = Field(ge=0)
    margin_s: float = Field(ge=0)


class PeakRules(_Entry):
    """What is summed for a peak, and which frames can be one."""

    reliability: dict[str, float]
    moved_by_speech: float = Field(ge=0, le=1)
    blink_longest_s: float = Field(gt=0)
    blink_margin_s: float = Field(ge=0)
    max_turn_deg: float = Field(gt=0)
    clear_within_deg: float = Field(gt=0)
    least_spread: dict[str, float]  # per AU scale
    least_dip: float = Field(ge=0)
    sustained_share: float = Field(gt=0, le=1)
    sustained_share_of_speech: float = Field(gt=0, le=1)
    paper_count: int = Field(ge=1)


class CourseRules(_Entry):
    """Where an Action Unit begins and ends."""

    crossing_share: float = Field(gt=0, lt=1)
    resting_percentile: float = Field(ge=0, le=50)
    longest_gap_s: float = Field(gt=0)


class MomentRules(_Entry):
    """The whole of ``moment_rules.yaml``; ``sha256`` is its content hash, for fingerprints."""

    person: PersonWeights
    speaking: SpeakingRules
    unsure_below: float = Field(ge=0, le=1)
    peak: PeakRules
    course: CourseRules
    sha256: str


def load_moment_rules(templates: Path | None = None) -> MomentRules:
    """Read ``moment_rules.yaml`` from the user's templates folder, else the shipped one.

    Raises:
        MerrError: the file is missing, or says something that cannot be.
    """
    return load_model(MomentRules, TEMPLATE, templates)
