"""Sets of emotions: how many of those that were said are true, and of the true ones were said.

For each clip and each way to put words into classes (`wheel.Classes`) precision and recall are
those of two sets of classes; F is made of mean precision and mean recall over the clips, and then
comes the mean over the ways. A clip whose truth has no class is skipped, and counted; one whose
answer has none has precision and recall 0. This is the metric of MER-OV and MER-UniBench.

The hit rate asks whether the one true label is among the classes that were said. It grows with the
length of the list, so mean length and set F against that one label stand beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from merr_pipeline.evaluation.bootstrap import ROUNDS, Value, with_intervals
from merr_pipeline.evaluation.labels import Floats, Ints
from merr_pipeline.evaluation.wheel import NEUTRAL, Classes

MEASURES = ("f", "precision", "recall")
HITS = ("hit_rate", "f", "mean_length")


@dataclass(frozen=True)
class Sets:
    """Said and true sets of clips, clip by clip; NaN where the truth has no class.

    ``precision``, ``recall`` and ``hit`` are [ways, clips]; ``length`` is [clips], the number of
    words that were said.
    """

    clip_ids: tuple[str, ...]
    precision: Floats
    recall: Floats
    hit: Floats
    length: Floats
    skipped: tuple[str, ...]  # clips without a true class by any way
    skipped_neutral: int  # of these, those for whom neutral alone is true
    unanswered: tuple[str, ...]

    def measures(self, chosen: Ints) -> Floats:
        """`MEASURES` of the clips at these places."""
        precision, recall = _mean(self.precision[:, chosen]), _mean(self.recall[:, chosen])
        f = _harmonic(precision, recall)
        return np.array([_mean(f), _mean(precision), _mean(recall)])

    def hits(self, chosen: Ints) -> Floats:
        """`HITS` of the clips at these places."""
        f = self.measures(chosen)[0]
        return np.array([_mean(_mean(self.hit[:, chosen])), f, _mean(self.length[chosen])])


def compare_sets(
    true: Mapping[str, Sequence[str]], said: Mapping[str, Sequence[str]], classes: Classes
) -> Sets:
    """Put them side by side, in the order of the clips' ids.

    Args:
        true: words of each clip that is scored.
        said: words of each clip that was answered.
        classes: ways to put words into classes.
    """
    scored, rows = [], []
    skipped = []
    for clip_id in sorted(true):
        truths, answers = classes.of(true[clip_id]), classes.of(said.get(clip_id, ()))
        if not any(truths):
            skipped.append(clip_id)
            continue
        scored.append(clip_id)
        rows.append([_overlap(a, b) for a, b in zip(truths, answers, strict=True)])
    table = np.array(rows, float).reshape(len(scored), len(classes.maps), 3)
    neutral = [one for one in skipped if {word.strip().lower() for word in true[one]} == {NEUTRAL}]
    return Sets(
        tuple(scored),
        table[..., 0].T,
        table[..., 1].T,
        table[..., 2].T,
        np.array([len(said.get(one, ())) for one in scored], float),
        tuple(skipped),
        len(neutral),
        tuple(one for one in scored if one not in said),
    )


def set_scores(sets: Sets, seed: int = 0, rounds: int = ROUNDS) -> dict[str, Value]:
    """`MEASURES` with intervals."""
    values = with_intervals(sets.measures, len(sets.clip_ids), seed, rounds)
    return dict(zip(MEASURES, values, strict=True))


def hit_scores(sets: Sets, seed: int = 0, rounds: int = ROUNDS) -> dict[str, Value]:
    """`HITS` with intervals; never one without the others."""
    values = with_intervals(sets.hits, len(sets.clip_ids), seed, rounds)
    return dict(zip(HITS, values, strict=True))


def f_score(true: frozenset[str], said: frozenset[str]) -> float:
    """Of one clip by one way; 0 where either is empty."""
    return 2 * len(true & said) / (len(true) + len(said)) if true and said else 0.0


def _overlap(true: frozenset[str], said: frozenset[str]) -> tuple[float, float, float]:
    """Precision, recall, and whether any is hit."""
    if not true:
        return np.nan, np.nan, np.nan
    both = len(true & said)
    return (both / len(said) if said else 0.0), both / len(true), float(both > 0)


def _mean(values: Floats) -> Floats:
    """Over the last axis, without NaN; NaN where there is nothing else."""
    known = ~np.isnan(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    mean: Floats = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return mean


def _harmonic(precision: Floats, recall: Floats) -> Floats:
    both = precision + recall
    return np.where(both > 0, 2 * precision * recall / np.where(both > 0, both, 1.0), both * 0.0)
