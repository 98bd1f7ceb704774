"""Who the clip is about: the largest steady face, or a smaller one that speaks.

A track never crosses a cut, and nothing here can tell whether two tracks in two shots show the
same person. So the choice is one track in one shot: the one with the best evidence. How sure that
is comes from the runner-up, in whichever shot it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from merr_pipeline.moment.rules import MomentRules, SpeakingRules
from merr_pipeline.moment.series import Series, median_of_known, series_of
from merr_pipeline.schema import Row
from merr_pipeline.stage import rounded

SAME_PLACE = 0.3
"""Overlap (intersection over union) at which a face that comes back is where it went."""
SPEAKER_DECIDES = 1000.0
"""A weight beside which no other clue counts but between equals."""
UNKNOWN_SPEAKER = 0.3
"""What a face counts as that is seen too briefly to tell, beside one that is known to speak."""


@dataclass(frozen=True)
class MainPerson:
    """The chosen track."""

    track: Row  # of the face row
    series: Series
    score: float  # 0..1
    sure: float  # 0: the runner-up is as good, 1: there is none
    coverage: float  # share of the frames of its shot in which the person is seen
    searched: float  # the same of this track alone, in which peaks are looked for
    tracks: frozenset[int]  # by number: this one and its `continuations`
    speaking: float | None  # as `speaking` measures it


def choose_person(
    tracks: Sequence[Row],
    probe: Row,
    rules: MomentRules,
    *,
    looked_at: int | None = None,
    speaking: Sequence[float | None] = (),
    wanted: str = "main",
) -> MainPerson:
    """The track with the highest score; of equal ones the first.

    Args:
        tracks: at least one track of a ``face`` row, each with at least one frame.
        probe: the ``probe`` row: frame size, shots, number of frames.
        rules: what each clue counts.
        looked_at: frames in which the face tool looked for faces; None for all.
        speaking: of each track, how well its mouth follows the sound; None where not known.
        wanted: ``main``: all clues; ``largest``: who speaks does not count; ``speaker``: it decides
            where it is known.
    """
    step = probe["frame_count"] / (looked_at or probe["frame_count"])
    seen = [(track, series_of(track)) for track in tracks]
    spoken = rounded(list(speaking)) or [None] * len(tracks)
    heard = [0.0] * len(tracks) if wanted == "largest" else _heard(spoken, rules.speaking)
    clues = [_clues(track, series, probe, step) for track, series in seen]
    weights = rules.person.model_dump()
    if any(heard):
        clues = [{**each, "speaking": share} for each, share in zip(clues, heard, strict=True)]
        weights["speaking"] = rules.speaking.weight
        if wanted == "speaker":
            weights["speaking"] = SPEAKER_DECIDES
    scores = [rounded(_score(each, weights)) for each in clues]
    best = max(range(len(scores)), key=lambda place: (scores[place], -place))
    same = continuations(tracks, best)
    runner_up = max((scores[n] for n in range(len(scores)) if n not in same), default=0.0)
    track, series = seen[best]
    return MainPerson(
        track=track,
        series=series,
        score=scores[best],
        sure=1.0 - runner_up / scores[best],  # no score is 0: see _score
        coverage=min(1.0, sum(clues[n]["coverage"] for n in same)),
        searched=clues[best]["coverage"],
        tracks=frozenset(tracks[n]["track"] for n in same),
        speaking=spoken[best],
    )


def _heard(speaking: Sequence[float | None], rules: SpeakingRules) -> list[float]:
    """How surely each speaks, 0..1; all 0 where no mouth follows the sound better than chance."""
    span = rules.sure - rules.chance
    shares = [
        0.0 if value is None else min(1.0, max(0.0, (value - rules.chance) / span))
        for value in speaking
    ]
    unknown = min(UNKNOWN_SPEAKER, max(shares, default=0.0))
    return [
        unknown if value is None else share for value, share in zip(speaking, shares, strict=True)
    ]


def continuations(tracks: Sequence[Row], chosen: int) -> set[int]:
    """The places of the tracks that go on where the chosen one ends, or lead up to it.

    A tool that loses a face for a while begins a new track. In one shot, a face that comes back
    where it went is taken for the same person; across shots nothing is.
    """
    same = {chosen}
    by_time = sorted(range(len(tracks)), key=lambda place: tracks[place]["frame_index"][0])
    for order, end, begin in ((by_time, -1, 0), (by_time[::-1], 0, -1)):
        last = tracks[chosen]
        for place in order[order.index(chosen) + 1 :]:
            follower = tracks[place]
            apart = (follower["frame_index"][begin] - last["frame_index"][end]) * (begin - end) > 0
            if (
                apart
                and follower["shot"] == last["shot"]
                and round(_overlap(follower["box"][begin], last["box"][end]), 3) >= SAME_PLACE
            ):
                same.add(place)
                last = follower
    return same


def _overlap(one: Row | None, other: Row | None) -> float:
    """Intersection over union of two boxes; 0 where one is not known."""
    if one is None or other is None:
        return 0.0
    across = min(one["x"] + one["width"], other["x"] + other["width"]) - max(one["x"], other["x"])
    down = min(one["y"] + one["height"], other["y"] + other["height"]) - max(one["y"], other["y"])
    shared = max(0.0, across) * max(0.0, down)
    both = one["width"] * one["height"] + other["width"] * other["height"] - shared
    return float(shared / both) if both > 0 else 0.0


def _clues(track: Row, series: Series, probe: Row, step: float) -> dict[str, float]:
    """The clues of ``moment_rules.yaml``, each from 0 to 1; what is not known is 0.

    Each sighting stands for ``step`` frames.
    """
    shot = probe["shots"][track["shot"]]
    clear_frames = shot["end_frame"] - shot["start_frame"] - shot["fade_frames"]
    frames = len(series.frame_index) * step
    return {
        "size": min(1.0, (median_of_known(series.height_px) or 0.0) / probe["height"]),
        "time": min(1.0, frames / probe["frame_count"]),
        "coverage": min(1.0, frames / max(1, clear_frames)),
        "centrality": _centrality(track["box"], probe["width"], probe["height"]),
        "confidence": median_of_known(series.confidence) or 0.0,
        "measured": float(np.mean(series.measured)),
    }


def _centrality(boxes: Sequence[Row | None], width_px: int, height_px: int) -> float:
    """1 in the middle of the picture, 0.5 in a corner, from the median of the box centres."""
    known = [box for box in boxes if box is not None]
    if not known:
        return 0.0
    across = float(np.median([box["x"] + box["width"] / 2 for box in known])) / width_px - 0.5
    down = float(np.median([box["y"] + box["height"] / 2 for box in known])) / height_px - 0.5
    corner = math.hypot(0.5, 0.5)
    return 1.0 - 0.5 * min(1.0, math.hypot(across, down) / corner)


def _score(clues: dict[str, float], weights: dict[str, float]) -> float:
    """Weighted geometric mean. A clue of 0 counts as .01: bad, yet not the end."""
    total = sum(weights.values())
    logs = sum(weights[name] * math.log(max(0.01, clue)) for name, clue in clues.items())
    return math.exp(logs / total)
