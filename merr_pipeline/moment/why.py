"""Why what looks like a peak is none: for people who look at a clip, never for its record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from merr_pipeline.emotion.facs import ActionUnitTable
from merr_pipeline.moment.frames import gates
from merr_pipeline.moment.peaks import (
    Moment,
    active_frames,
    local_maxima,
    strength_series,
    weights_of,
    while_talking,
)
from merr_pipeline.moment.rules import PeakRules
from merr_pipeline.moment.series import Floats, Mask, Series
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
    if moment.sustained:
        held = f"nothing active, beside held {', '.join(moment.sustained)}"
        closed[held] = ~active_frames(series, weights, active_at)
    taken = [peak.position for peak in moment.peaks]
    passed = [
        Passed(at, float(strength[at]), _reason(at, series, moment, closed, settings))
        for at in local_maxima(strength)
        if at not in taken and strength[at] >= settings.weak_strength
    ]
    return _without_ripples(passed, series.time_s, settings.min_gap_s)


def _reason(
    at: int, series: Series, moment: Moment, closed: dict[str, Mask], settings: MomentSettings
) -> str:
    shut = next((name for name, mask in closed.items() if mask[at]), None)
    if shut is not None:
        return shut
    if not moment.strength[at] >= settings.weak_strength:
        return "too weak among the frames that may be a peak"
    if len(moment.peaks) == settings.max_peaks and all(
        abs(series.time_s[at] - series.time_s[peak.position]) >= settings.min_gap_s
        for peak in moment.peaks
    ):
        return f"no more than {settings.max_peaks} peaks are kept"
    return "beside a stronger one"


def _without_ripples(passed: Sequence[Passed], time_s: Floats, min_gap_s: float) -> list[Passed]:
    """Of those with one reason that lie together, the strongest; in order of time."""
    kept: list[Passed] = []
    for one in sorted(passed, key=lambda one: (-one.strength, one.position)):
        near = (
            other.reason == one.reason
            and abs(time_s[other.position] - time_s[one.position]) < min_gap_s
            for other in kept
        )
        if not any(near):
            kept.append(one)
    return sorted(kept, key=lambda one: one.position)


def why_chosen(moment: Moment, signs: frozenset[str]) -> str:
    """What made the main frame the one to show."""
    main, peaks = moment.main, moment.peaks
    if main.position not in [peak.position for peak in peaks]:
        if moment.sustained:
            return f"the height of what is held: {', '.join(moment.sustained)}"
        return "no peak: the frame that shows the face best"
    if len(peaks) == 1:
        return "the only peak"
    if main.position == max(peaks, key=lambda peak: peak.strength or 0.0).position:
        return f"the strongest of {len(peaks)} peaks"
    if signs:
        return f"of {len(peaks)} peaks the one with most of the label's {', '.join(sorted(signs))}"
    return f"the clearest of {len(peaks)} peaks"
