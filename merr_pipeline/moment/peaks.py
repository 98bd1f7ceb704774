"""When the expression peaks: pure functions over the series of one face track.

    frames that can be a peak -> weighted sum of Action Units -> moving average in seconds
    -> strength (robust z) -> local maxima -> verdict

A peak is a verdict with a strength, never a fact: face programs agree little on the frame.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

import numpy as np

from merr_pipeline.emotion.facs import ActionUnitTable
from merr_pipeline.moment.frames import BLINKS, SAME_TIME_S, best_seen, first_highest, usable_frames
from merr_pipeline.moment.rules import PeakRules
from merr_pipeline.moment.series import Floats, Mask, Series
from merr_pipeline.settings import MomentSettings
from merr_pipeline.stage import rounded

SD_PER_MAD = 1.4826
"""Of a normal distribution: makes the median absolute deviation comparable to an SD."""


@dataclass(frozen=True)
class Peak:
    """A frame of the track by its position in the series, and how much it stands out."""

    position: int
    strength: float | None  # robust z of the score; None where the frame has no score
    verdict: str  # clear | weak | none


@dataclass(frozen=True)
class Moment:
    """What the peak search found."""

    main: Peak  # the frame to show, also when its verdict is none
    peaks: tuple[Peak, ...]  # those that are clear or weak, in order of time
    sustained: tuple[str, ...]  # Action Units held through most of the track
    strength: Floats  # (frames,) robust z of the score; NaN where no peak may lie


def find_moment(
    series: Series,
    scale: str,
    table: ActionUnitTable,
    rules: PeakRules,
    settings: MomentSettings,
    talks: Mask | None = None,
    signs: frozenset[str] = frozenset(),
) -> Moment:
    """The peaks of a track, and the one frame that later stages show.

    An expression that is held is shown at its height, with the verdict ``weak``, unless something
    is active at a peak: the maximum may be no more than its absence. Without either, the frame is
    the best seen one. The paper's rule always shows the highest sum.

    Args:
        series: the track, with at least one frame.
        scale: ``au_scale`` of the ``face`` row.
        table: what the Action Units are.
        rules: the peak section of ``moment_rules.yaml``.
        settings: the moment section.
        talks: (frames,) whether speech may move the mouth then; None where that is not known.
        signs: Action Units of a label that somebody gave; of several peaks the one that shows most
            of them is the main one.
    """
    talks = np.ones(len(series.time_s), dtype=bool) if talks is None else talks
    active_at, by_paper = table.scales[scale].active_at, settings.rule == "paper"
    usable = usable_frames(series, settings.edge_frames, active_at, rules)
    mask = series.measured if by_paper else usable  # the paper knows no gates and no smoothing
    width_s = 0.0 if by_paper else settings.smoothing_s

    def strength_of(weights: Mapping[str, Floats]) -> Floats:
        return strength_series(series, weights, mask, width_s, rules.least_spread[scale])

    weights = weights_of(settings.rule, series, active_at, table, rules)
    by_frame = {au: np.full(len(talks), weight) for au, weight in weights.items()}
    strength = sure = strength_of(by_frame)
    if settings.rule == "emotion_aus":
        strength = strength_of(while_talking(by_frame, rules.moved_by_speech, talks, table))
        sure = strength_of(while_talking(_reliable(by_frame, series), 0.0, talks, table))
    peaks = [
        Peak(at, float(strength[at]), _verdict(series, at, strength, sure, rules, settings))
        for at in spaced_maxima(series.time_s, strength, settings, rules.least_dip)
    ]
    held = sustained_units(series, usable, weights, scale, table, rules)
    if held and not by_paper:
        active = active_frames(series, weights, active_at)
        peaks = [peak for peak in peaks if active[peak.position]]
    if peaks:
        telling = strength
        if asked := {au: weight for au, weight in by_frame.items() if au in signs}:
            telling = strength_of(while_talking(asked, rules.moved_by_speech, talks, table))
        main = max(peaks, key=lambda peak: _rank(peak, telling, by_paper))
    elif by_paper and np.isfinite(strength).any():
        main = _peak_at(first_highest(strength), strength, "none")
    elif held:
        level = np.sum([_level(series, au, scale) for au in held], axis=0)
        level = moving_average(series.time_s, level, usable, width_s)
        main = _peak_at(first_highest(level), strength, "weak")
    else:
        main = _peak_at(best_seen(series, usable), strength, "none")
    return Moment(main, tuple(peaks), held, strength)


def strength_series(
    series: Series, weights: Mapping[str, Floats], mask: Mask, width_s: float, least_spread: float
) -> Floats:
    """(frames,) How far the weighted sum stands out in each frame of the mask; NaN elsewhere."""
    score = moving_average(series.time_s, weighted_sum(series, weights), mask, width_s)
    return strengths(score, least_spread)


def weights_of(
    rule: str, series: Series, active_at: float, table: ActionUnitTable, rules: PeakRules
) -> dict[str, float]:
    """What each Action Unit counts in the sum; one that is not named counts nothing.

    ``emotion_aus``: those that show emotion, by reliability.
    ``paper``: the most frequent active ones of the track (Emotion-LLaMA). ``all_aus``: all alike.
    Blinks count in none.
    """
    traces = [trace for trace in series.traces if trace.au not in BLINKS]
    if rule == "all_aus":
        return {trace.au: 1.0 for trace in traces}
    if rule == "paper":
        counts = {trace.au: int(np.sum(trace.value >= active_at)) for trace in traces}
        frequent = sorted((au for au in counts if counts[au]), key=lambda au: (-counts[au], au))
        return dict.fromkeys(frequent[: rules.paper_count], 1.0)
    return {
        trace.au: rules.reliability[trace.reliability]
        for trace in traces
        if table.units[trace.au].emotion_relevant
    }


def while_talking(
    weights: Mapping[str, Floats], share: float, talks: Mask, table: ActionUnitTable
) -> dict[str, Floats]:
    """The weights (frames,), with what talking moves counting ``share`` in frames of speech."""
    return {
        au: np.where(talks, share, 1.0) * weight if table.units[au].moved_by_speech else weight
        for au, weight in weights.items()
    }


def _reliable(weights: Mapping[str, Floats], series: Series) -> dict[str, Floats]:
    """The weights of the units that the tool sees better than badly."""
    low = {trace.au for trace in series.traces if trace.reliability == "low"}
    return {au: weight for au, weight in weights.items() if au not in low}


def weighted_sum(series: Series, weights: Mapping[str, Floats]) -> Floats:
    """(frames,) The sum of the Action Units; NaN where one of them was not seen.

    One that is null in most measured frames is left out: it would make all others useless.
    """
    measured = max(1, int(series.measured.sum()))
    parts = [
        weights[trace.au] * trace.value
        for trace in series.traces
        if trace.au in weights and 2 * int(np.isfinite(trace.value).sum()) >= measured
    ]
    if not parts:
        return np.full(len(series.time_s), np.nan)
    total: Floats = np.sum(parts, axis=0)
    return total


def moving_average(time_s: Floats, values: Floats, usable: Mask, width_s: float) -> Floats:
    """(frames,) Mean of the usable values within half of ``width_s`` on either side, in seconds.

    NaN where the frame itself is not usable or has no value, so a gap stays a gap.
    """
    known = usable & np.isfinite(values)
    reach_s = width_s / 2 + SAME_TIME_S
    first = np.searchsorted(time_s, time_s - reach_s, side="left")
    end = np.searchsorted(time_s, time_s + reach_s, side="right")
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    means = (sums[end] - sums[first]) / np.maximum(1, counts[end] - counts[first])
    return np.where(known, means, np.nan)


def strengths(score: Floats, least_spread: float) -> Floats:
    """(frames,) Robust z: distance from the median in units of the spread, rounded.

    A spread under ``least_spread`` counts as that, so the jitter of a still face is no peak.
    """
    known = score[np.isfinite(score)]
    if not len(known):
        return score
    middle = float(np.median(known))
    spread = max(least_spread, SD_PER_MAD * float(np.median(np.abs(known - middle))))
    return np.round((score - middle) / spread, 3)


def spaced_maxima(
    time_s: Floats, strength: Floats, settings: MomentSettings, least_dip: float
) -> list[int]:
    """The strongest local maxima that are at least weak, ``max_peaks`` at most, in order of time.

    Two are two only if ``min_gap_s`` lies between them and the strength falls by ``least_dip``.
    """
    kept: list[int] = []
    candidates = [at for at in local_maxima(strength) if strength[at] >= settings.weak_strength]
    for at in sorted(candidates, key=lambda at: (-strength[at], at)):
        if all(
            round(abs(time_s[at] - time_s[other]), 3) >= settings.min_gap_s
            and np.nanmin(strength[min(at, other) : max(at, other) + 1]) <= strength[at] - least_dip
            for other in kept
        ):
            kept.append(at)
    return sorted(kept[: settings.max_peaks])


def local_maxima(strength: Floats) -> list[int]:
    """Positions higher than what comes before and after; the middle one where several are equal.

    Frames without a strength are stepped over. The first and the last frame can be maxima: a clip
    may begin or end at its height. A flat series has none.
    """
    known = np.flatnonzero(np.isfinite(strength))
    if not len(known):
        return []
    values = strength[known]
    starts = np.flatnonzero(np.concatenate([[True], np.diff(values) != 0]))
    ends = np.concatenate([starts[1:], [len(values)]])
    level = np.concatenate([[-np.inf], values[starts], [-np.inf]])
    higher = (level[1:-1] > level[:-2]) & (level[1:-1] > level[2:])
    if len(starts) == 1:
        return []
    return [
        int(known[(start + end - 1) // 2])
        for start, end, is_peak in zip(starts, ends, higher, strict=True)
        if is_peak
    ]


def sustained_units(
    series: Series,
    usable: Mask,
    weights: Mapping[str, float],
    scale: str,
    table: ActionUnitTable,
    rules: PeakRules,
) -> tuple[str, ...]:
    """The Action Units that are active, without any baseline, in most of the usable frames.

    How many are most is asked more of what talking moves: a mouth that talks is often open.
    """
    held = []
    for trace in series.traces:
        level = _level(series, trace.au, scale)[usable] if weights.get(trace.au) else np.empty(0)
        known = level[np.isfinite(level)]
        moved = table.units[trace.au].moved_by_speech
        share = rules.sustained_share_of_speech if moved else rules.sustained_share
        if len(known) and float(np.mean(known >= table.scales[scale].active_at)) >= share:
            held.append(trace.au)
    return tuple(held)


def active_frames(series: Series, units: Container[str], active_at: float) -> Mask:
    """(frames,) Whether any of these Action Units is active."""
    active = [trace.value >= active_at for trace in series.traces if trace.au in units]
    return np.any(active, axis=0) if active else np.zeros(len(series.time_s), dtype=bool)


def _level(series: Series, au: str, scale: str) -> Floats:
    """How strong it is in itself: without baseline where the tool has one; NaN if not known."""
    trace = series.trace(au)
    if trace is None:
        return np.full(len(series.time_s), np.nan)
    if trace.absolute is not None:
        return trace.absolute
    # a proxy is a difference from the track's own baseline, and says nothing of what was held
    return np.full(len(series.time_s), np.nan) if scale.startswith("proxy") else trace.value


def _verdict(
    series: Series,
    position: int,
    strength: Floats,
    sure: Floats,
    rules: PeakRules,
    settings: MomentSettings,
) -> str:
    """``clear`` or ``weak``, for a maximum that is at least weak.

    Clear is what is strong, also without the units that talking moves and those of low reliability
    (``sure`` is the strength of the others), on a face that is not turned further than face tools
    were tested.
    """
    turned = series.turn_deg[position] > rules.clear_within_deg
    strong = min(strength[position], sure[position]) >= settings.clear_strength
    return "clear" if strong and not turned else "weak"


def _rank(peak: Peak, telling: Floats, by_paper: bool) -> tuple[bool, float, int]:
    """Clear before weak, then the more telling, then the earlier; by the paper the strongest."""
    if by_paper:
        return (False, peak.strength or 0.0, -peak.position)
    return (peak.verdict == "clear", float(np.nan_to_num(telling[peak.position])), -peak.position)


def _peak_at(position: int, strength: Floats, verdict: str) -> Peak:
    return Peak(position, rounded(float(strength[position])), verdict)
