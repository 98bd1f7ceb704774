"""Which clips have records in ``fine``: limits by label, and neutral ones to top up with.

The plan is data (``selection.yaml``, whose head explains it). `select` gives every clip its
`Selection`; it sees labels, verdicts and a number to rank by, and so gives the same for the same
clips in any order, whatever earlier builds have chosen. Those of one label are ranked once and the
first stay, so a clip that comes in pushes at most one other out.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from merr_pipeline.dataset.agreement import Verdict
from merr_pipeline.emotion.spaces import LabelSpace
from merr_pipeline.schema import MerrError
from merr_pipeline.stage import Identity
from merr_pipeline.templates import load_template

TEMPLATE = "selection.yaml"
SELECTION_STAGE = "selection"
"""Its name among the stages of ``provenance``."""


class Selection(StrEnum):
    """Whether a clip has records in ``fine``, or why not."""

    CHOSEN = "chosen"
    OVER_QUOTA = "over_quota"  # there are enough of its label
    UNDECIDED = "undecided"  # it has no label
    NOT_ACCEPTED = "not_accepted"  # its verdict is none that the plan takes
    NO_TEXT = "no_text"  # it has no text about its label, so there is no record to choose


@dataclass(frozen=True)
class Choice:
    """What the selection needs to know of a clip."""

    clip_id: str
    label: str | None
    verdict: Verdict
    has_text: bool
    quality: float | None = None  # needed where the plan's order is `quality`


@dataclass(frozen=True)
class Selected:
    """``of`` every clip its `Selection`; ``limits`` that held, None where a label had none."""

    of: Mapping[str, Selection]
    limits: Mapping[str, int | None]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Neutral(_Entry):
    """What to top up with."""

    label: str
    share: float = Field(ge=0, lt=1)  # of all that are chosen


class SelectionPlan(_Entry):
    """One plan of ``selection.yaml``."""

    name: str
    sha256: str
    limits: dict[str, int] | None = None
    other_labels: int | None = Field(None, ge=0)
    equal: int | None = Field(None, ge=1)
    neutral: Neutral | None = None
    undecided: bool
    verdicts: frozenset[Verdict]
    order: Literal["quality", "hash"]

    @model_validator(mode="after")
    def _limits_or_equal(self) -> Self:
        if (self.limits is None) == (self.equal is None):
            raise ValueError("must have either limits or equal")
        if self.equal is not None and self.other_labels is not None:
            raise ValueError("other_labels goes with limits")
        if self.limits and min(self.limits.values()) < 0:
            raise ValueError("limits must be 0 or more")
        if self.neutral and self.neutral.label in (self.limits or {}):
            raise ValueError(f"{self.neutral.label} cannot have a limit and be topped up with")
        return self

    def identity(self) -> Identity:
        """Named as the stages are, so that provenance says what chose."""
        return Identity(
            stage=SELECTION_STAGE, version=1, tool=f"plan {self.name}", template=self.sha256
        )

    def limits_for(self, available: Mapping[str, int]) -> dict[str, int | None]:
        """The limit of every label that has clips or is named; None sets none.

        Args:
            available: eligible clips by label.
        """
        top_up = self.neutral.label if self.neutral else None
        limits: dict[str, int | None]
        present = {name: count for name, count in available.items() if name != top_up and count}
        if self.equal is not None:
            limits = dict.fromkeys(present, max(self.equal, min(present.values(), default=0)))
        else:
            limits = {**dict.fromkeys(present, self.other_labels), **(self.limits or {})}
        if self.neutral:
            others = sum(_at_most(count, limits[name]) for name, count in present.items())
            limits[self.neutral.label] = round(
                others * self.neutral.share / (1 - self.neutral.share)
            )
        return limits


def load_selection(
    name: str, space: LabelSpace, templates: Path | None = None
) -> SelectionPlan | None:
    """Read a plan from the user's templates folder, else the shipped one; None takes all.

    Raises:
        MerrError: there is no such plan, it says something that cannot be, or it could choose no
            clip of this label space.
    """
    template = load_template(TEMPLATE, templates)
    plans = template.data["plans"]
    if name not in plans:
        raise MerrError(
            f"dataset.select: {name!r} is not in {TEMPLATE}.\n"
            f"It has {', '.join(plans)}; add yours there to use it."
        )
    if plans[name] is None:
        return None
    try:
        plan = SelectionPlan.model_validate(
            {"name": name, "sha256": template.sha256, **plans[name]}
        )
    except (ValidationError, TypeError) as error:
        raise MerrError(f"template {TEMPLATE}, {name} is wrong: {error}") from error
    if plan.other_labels == 0 and not set(plan.limits or ()) & set(space.labels):
        raise MerrError(
            f"dataset.select: plan {name} takes no label of label space {space.name}, which has "
            f"{', '.join(space.labels)}.\nTake another plan, or write one in {TEMPLATE}."
        )
    return plan


def select(choices: Sequence[Choice], plan: SelectionPlan, seed: int) -> Selected:
    """Which clips the plan chooses; the order of ``choices`` does not matter."""
    barred = {choice.clip_id: _barred(choice, plan) for choice in choices}
    eligible = sorted(
        (choice for choice in choices if barred[choice.clip_id] is None),
        key=lambda choice: _rank(choice, plan, seed),
    )
    available = Counter(choice.label for choice in eligible if choice.label is not None)
    limits = plan.limits_for(available)
    taken: Counter[str] = Counter()
    of = {clip_id: state for clip_id, state in barred.items() if state is not None}
    for choice in eligible:
        if choice.label is None:
            of[choice.clip_id] = Selection.CHOSEN
            continue
        limit = limits[choice.label]
        full = limit is not None and taken[choice.label] >= limit
        of[choice.clip_id] = Selection.OVER_QUOTA if full else Selection.CHOSEN
        taken[choice.label] += not full
    return Selected(of, limits)


def _barred(choice: Choice, plan: SelectionPlan) -> Selection | None:
    """Why a clip cannot be chosen, however few there are; None where it can."""
    if not choice.has_text:
        return Selection.NO_TEXT
    if choice.verdict not in plan.verdicts:
        return Selection.NOT_ACCEPTED
    if choice.label is None and not plan.undecided:
        return Selection.UNDECIDED
    return None


def _rank(choice: Choice, plan: SelectionPlan, seed: int) -> tuple[float, str]:
    """Small ones first. The hash is salted: that of the id alone decides the shard."""
    drawn = hashlib.sha256(f"selection\n{seed}\n{choice.clip_id}".encode()).hexdigest()
    return -(choice.quality or 0.0) if plan.order == "quality" else 0.0, drawn


def _at_most(count: int, limit: int | None) -> int:
    return count if limit is None else min(count, limit)
