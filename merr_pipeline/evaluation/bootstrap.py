"""How sure a score is: 95 % intervals from clips drawn again and again, with replacement.

Draws come from a seed, so the same answers give the same interval. To compare two models, both
are scored on the same draws, and the interval is that of the difference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from merr_pipeline.evaluation.labels import Floats, Ints

ROUNDS = 1000
PERCENTS = (2.5, 97.5)
FEWEST = 2  # clips; of one alone nothing can be said


@dataclass(frozen=True)
class Value:
    """A score, and where it would lie for other clips like these; null where that is not known."""

    value: float | None
    low: float | None = None
    high: float | None = None
    clips: int = 0

    @property
    def is_clear(self) -> bool:
        """For a difference: whether the interval leaves zero out."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def with_intervals(
    statistic: Callable[[Ints], Floats], clips: int, seed: int = 0, rounds: int = ROUNDS
) -> list[Value]:
    """Score all clips, and give each score its interval.

    Args:
        statistic: scores [k] of the clips at these places (which may repeat); NaN where there is
            nothing to score.
        clips: how many there are.
        seed: of the draws.
        rounds: number of draws.
    """
    scores = statistic(np.arange(clips, dtype=np.int64))
    if clips < FEWEST:
        return [Value(_rounded(score), clips=clips) for score in scores]
    random = np.random.default_rng(seed)
    drawn = np.stack([statistic(random.integers(0, clips, clips)) for _ in range(rounds)])
    return [_value(score, drawn[:, k], clips) for k, score in enumerate(scores)]


def differences(
    ours: Callable[[Ints], Floats],
    theirs: Callable[[Ints], Floats],
    clips: int,
    seed: int = 0,
    rounds: int = ROUNDS,
) -> list[Value]:
    """Ours less theirs, of the same clips in the same draws."""
    return with_intervals(lambda chosen: ours(chosen) - theirs(chosen), clips, seed, rounds)


def _value(score: float, drawn: Floats, clips: int) -> Value:
    known = drawn[~np.isnan(drawn)]
    if np.isnan(score) or not len(known):
        return Value(_rounded(score), clips=clips)
    low, high = np.percentile(known, PERCENTS)
    return Value(_rounded(score), _rounded(low), _rounded(high), clips)


def _rounded(value: float) -> float | None:
    """To six digits, so that the last bits of sums do not show in files."""
    return None if np.isnan(value) else round(float(value), 6)
