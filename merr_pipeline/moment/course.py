"""What each Action Unit did: its value at the peak, and when it began and ended around it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from merr_pipeline.emotion.facs import ActionUnitTable
from merr_pipeline.moment.peaks import moving_average
from merr_pipeline.moment.rules import CourseRules
from merr_pipeline.moment.series import Floats, Ints, Series, Trace
from merr_pipeline.schema import Row


def summaries(
    series: Series,
    peak: int,
    held: Collection[str],
    table: ActionUnitTable,
    rules: CourseRules,
    smoothing_s: float,
    least_rise: float,
) -> list[Row]:
    """One row per Action Unit of the track, for ``moment.action_units``; null where not seen.

    ``peak`` is a position in the series, ``held`` the units of `Moment.sustained`. What rises by
    less than ``least_rise`` above rest has no onset and no offset.
    """
    rows = []
    for trace in series.traces:
        known = trace.value[np.isfinite(trace.value)]
        found = course(series.time_s, trace, peak, rules, smoothing_s, least_rise)
        rows.append(
            {
                "au": trace.au,
                "name": table.units[trace.au].name,
                "value_at_peak": float(trace.value[peak]),
                "mean": float(np.mean(known)) if len(known) else None,
                "max": float(np.max(known)) if len(known) else None,
                "onset_s": found.onset_s,
                "apex_s": found.apex_s,
                "offset_s": found.offset_s,
                "duration_s": found.duration_s,
                "asymmetry_at_peak": None if trace.asymmetry is None else trace.asymmetry[peak],
                "rest": trace.rest,
                "held": trace.au in held,
                "reliability": trace.reliability,
            }
        )
    return rows


@dataclass(frozen=True)
class Course:
    """When an Action Unit rose, stood highest and fell again; None where that is not seen."""

    onset_s: float | None = None
    apex_s: float | None = None
    offset_s: float | None = None

    @property
    def duration_s(self) -> float | None:
        """From onset to offset, where both are seen."""
        if self.onset_s is None or self.offset_s is None:
            return None
        return self.offset_s - self.onset_s


def course(
    time_s: Floats,
    trace: Trace,
    peak: int,
    rules: CourseRules,
    smoothing_s: float,
    least_rise: float,
) -> Course:
    """When the Action Unit crosses its threshold on the way up to the peak, and on the way down.

    The threshold lies ``crossing_share`` of the way from rest to the value at the peak. An end is
    None when it is not seen: the track begins raised, ends raised, or has a gap there. The apex is
    the highest frame between the ends, which need not be that of the peak of the whole face.
    """
    smooth = moving_average(time_s, trace.value, np.isfinite(trace.value), smoothing_s)
    known = np.flatnonzero(np.isfinite(smooth))
    if not np.isfinite(smooth[peak]):
        return Course()
    rest = float(np.percentile(smooth[known], rules.resting_percentile))
    rise = float(smooth[peak]) - rest
    if round(rise, 3) < least_rise:
        return Course()
    threshold = rest + rules.crossing_share * rise
    at = int(np.searchsorted(known, peak))
    before, after = known[: at + 1][::-1], known[at:]
    onset_s = _crossing(time_s[before], smooth[before], threshold, rules.longest_gap_s)
    offset_s = _crossing(time_s[after], smooth[after], threshold, rules.longest_gap_s)
    raised = np.concatenate(
        [_raised(before, smooth, threshold)[::-1], _raised(after, smooth, threshold)[1:]]
    )
    apex = raised[np.argmax(np.round(smooth[raised], 3))]
    return Course(onset_s, float(time_s[apex]), offset_s)


def _raised(positions: Ints, smooth: Floats, threshold: float) -> Ints:
    """The first of the positions up to where the values fall under the threshold."""
    under = np.flatnonzero(smooth[positions] < threshold)
    return positions[: int(under[0])] if len(under) else positions


def _crossing(
    time_s: Floats, values: Floats, threshold: float, longest_gap_s: float
) -> float | None:
    """The time at which the values, walked away from the peak, first fall under the threshold."""
    under = np.flatnonzero(values < threshold)
    if not len(under):
        return None
    end = int(under[0])
    steps_s = np.abs(np.diff(time_s[: end + 1]))
    if len(steps_s) and round(float(steps_s.max()), 3) > longest_gap_s:
        return None
    above, below = float(values[end - 1]), float(values[end])
    share = (above - threshold) / (above - below)
    return float(time_s[end - 1] + share * (time_s[end] - time_s[end - 1]))
