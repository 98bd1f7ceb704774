"""What judges said, clip by clip, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from merr_pipeline.evaluation.bootstrap import Value, with_intervals
from merr_pipeline.evaluation.labels import Floats

KINDS = ("clue", "label")
"""How far the clues overlap, and how far the emotions do."""


@dataclass(frozen=True)
class Verdict:
    """What one judge said of one clip: a score in each order, the answer first and last."""

    orders: tuple[float, float]

    @property
    def score(self) -> float:
        """Their mean."""
        return sum(self.orders) / 2

    @property
    def gap(self) -> float:
        """How far the order alone moved the judge."""
        return abs(self.orders[0] - self.orders[1])


@dataclass(frozen=True)
class Judged:
    """All verdicts about one answers file.

    A clip counts where every judge has scored it; the others are in ``failures``, with the reason.
    """

    judges: tuple[str, ...]  # roles
    models: tuple[str, ...]  # their names, in the same order
    verdicts: Mapping[str, Mapping[str, Mapping[str, Verdict]]]  # kind -> clip -> role
    failures: Mapping[str, str]  # clip -> the first that went wrong
    missing: tuple[str, ...]  # clips with a reference and no answer
    told: tuple[str, ...]  # clips whose question names the label: no label overlap
    wordless: tuple[str, ...] = ()  # clips whose truth names no emotion: no label overlap

    def of(self, kind: str) -> dict[str, float]:
        """The mean over the judges, by clip."""
        return {
            clip_id: float(np.mean([said[role].score for role in self.judges]))
            for clip_id, said in sorted(self.verdicts[kind].items())
            if all(role in said for role in self.judges)
        }

    def value(self, kind: str, seed: int, rounds: int) -> Value:
        """The mean over the clips, with its interval."""
        scores: Floats = np.array(list(self.of(kind).values()), float)
        if not len(scores):
            return Value(None)
        return with_intervals(lambda at: np.array([scores[at].mean()]), len(scores), seed, rounds)[
            0
        ]

    def by_judge(self, kind: str) -> dict[str, float | None]:
        """The mean of each judge, over the clips that count."""
        found: dict[str, float | None] = {}
        for role in self.judges:
            scores = [self.verdicts[kind][clip_id][role].score for clip_id in self.of(kind)]
            found[role] = round(float(np.mean(scores)), 6) if scores else None
        return found

    def order_gap(self, kind: str) -> float | None:
        """Mean distance between the two orders; a judge without a bias for places has none."""
        gaps = [self.verdicts[kind][c][role].gap for c in self.of(kind) for role in self.judges]
        return round(float(np.mean(gaps)), 6) if gaps else None

    def judge_gap(self, kind: str) -> float | None:
        """Mean distance between the highest and the lowest judge of a clip; null with one judge."""
        scores = [
            [self.verdicts[kind][clip_id][role].score for role in self.judges]
            for clip_id in self.of(kind)
        ]
        if len(self.judges) < 2 or not scores:
            return None
        return round(float(np.mean([max(one) - min(one) for one in scores])), 6)
