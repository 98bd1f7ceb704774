"""Several answers files against the first: differences with intervals, on the same clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from merr_pipeline.evaluation.bootstrap import Value, differences
from merr_pipeline.evaluation.judged import KINDS
from merr_pipeline.evaluation.labels import HEADLINE, Floats, Ints, headline
from merr_pipeline.evaluation.score import Draws, LabelScores, Scores
from merr_pipeline.evaluation.sets import HITS, MEASURES

Statistic = Callable[[Ints], Floats]


@dataclass(frozen=True)
class Difference:
    """What another file has more than the first."""

    name: str
    against: str
    values: dict[str, Value]  # by score, such as ``emotion.weighted_f1``


def compare(all_scores: list[Scores], draws: Draws) -> list[Difference]:
    """Each file but the first, less the first, in all that both have."""
    return [
        Difference(one.name, all_scores[0].name, _differences(one, all_scores[0], draws))
        for one in all_scores[1:]
    ]


def _differences(ours: Scores, theirs: Scores, draws: Draws) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for names, clips, our, their in _pairs(ours, theirs):
        values = differences(our, their, clips, draws.seed, draws.rounds)
        found.update(zip(names, values, strict=True))
    return found


def _pairs(ours: Scores, theirs: Scores) -> Iterator[tuple[list[str], int, Statistic, Statistic]]:
    """Names of scores, number of clips, and how to make the scores for each of the two."""
    for task in ("emotion", "sentiment"):
        one: LabelScores | None = getattr(ours, task)
        other: LabelScores | None = getattr(theirs, task)
        if one and other:
            names = [f"{task}.{name}" for name in HEADLINE]
            yield names, len(one.labelled.clip_ids), _of_labels(one), _of_labels(other)
    for mine, yours in zip(ours.sets, theirs.sets, strict=False):
        names = [f"{mine.classes}.{name}" for name in MEASURES]
        yield names, len(mine.open.clip_ids), mine.open.measures, yours.open.measures
        names = [f"hits.{mine.classes}.{name}" for name in HITS]
        yield names, len(mine.hits.clip_ids), mine.hits.hits, yours.hits.hits
    if ours.judged and theirs.judged:
        for kind in KINDS:
            my, your = ours.judged.of(kind), theirs.judged.of(kind)
            both = sorted(my.keys() & your.keys())
            if both:
                yield [f"judge.{kind}"], len(both), _mean_of(my, both), _mean_of(your, both)


def _of_labels(scores: LabelScores) -> Statistic:
    return lambda chosen: headline(scores.labelled.counts(chosen))


def _mean_of(scores: dict[str, float], clip_ids: list[str]) -> Statistic:
    values = np.array([scores[clip_id] for clip_id in clip_ids])
    return lambda chosen: np.array([values[chosen].mean()])
