"""Why what looks like a peak is none: for people who look at a clip, never for its record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from merr_pipeline.emotion.facs import ActionUnitTable
from merr_pipeline.moment.frames import gates
from merr_pipeline.moment.peaks import (
    Moment,
    local_maxima,
    strength_series,
    weights_of,
    while_talking,
)
from merr_pipeline.moment.rules import PeakRules
from merr_pipeline.moment.series import Mask, Series
from merr_pipeline.settings import MomentSettings


@dataclass(frozen=True)
class Passed:
    """A maximum of the score that was passed over."""

    position: int
    strength: float  # as it would be without any gate
    reason: str


def passed_over(
    series: Series,
    moment: Moment,
    scale: str,
    table: ActionUnitTable,
    rules: PeakRules,
    settings: MomentSettings,
    talks: Mask,
) -> list[Passed]:
    """The maxima that would be peaks if every measured frame could be one, and why they are not.

    The paper's rule knows no gates: there is nothing it passes over.
    """
    if settings.rule == "paper":
        return []
    active_at = table.scales[scale].active_at
    weights = {
        au: np.full(len(talks), weight)
        for au, weight in weights_of(settings.rule, series, active_at, table, rules).items()
    }
    if settings.rule == "emotion_aus":
        weights = while_talking(weights, rules.moved_by_speech, talks, table)
    strength = strength_series(
        series, weights, series.measured, settings.smoothing_s, rules.least_spread[scale]
    )
    closed = gates(series, settings.edge_frames, active_at, rules)
    taken = {peak.position for peak in moment.peaks}
    return [
        Passed(at, float(strength[at]), _reason(at, closed))
        for at in local_maxima(strength)
        if at not in taken and strength[at] >= settings.weak_strength
    ]


def _reason(position: int, closed: dict[str, Mask]) -> str:
    shut = (name for name, mask in closed.items() if mask[position])
    return next(shut, "beside a stronger one")
