"""How far two series of numbers over the same frames agree, within the shots they come from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Pair = tuple[Array, Array]
"""Both series over the frames of one shot in which both have a value."""

RESAMPLES = 2000
SHIFTS = 500
SEED = 4
LEAST_FRAMES = 10  # a shorter stretch has no course to speak of


def within_shots(pairs: Sequence[Pair]) -> list[Pair]:
    """Each series less its own mean in that shot; stretches too short to have a course left out."""
    return [
        (one - one.mean(), other - other.mean()) for one, other in pairs if len(one) >= LEAST_FRAMES
    ]


def pooled_r(pairs: Sequence[Pair]) -> float:
    """Pearson r over all frames, each shot about its own mean; NaN if nothing moves."""
    return _r(_moments(within_shots(pairs)).sum(axis=0))


def interval(pairs: Sequence[Pair]) -> tuple[float, float]:
    """The middle 95 % of the pooled r when the shots are drawn anew, with replacement."""
    moments = _moments(within_shots(pairs))
    drawn = np.random.default_rng(SEED).integers(0, len(moments), (RESAMPLES, len(moments)))
    found = [_r(moments[shots].sum(axis=0)) for shots in drawn]
    low, high = np.nanpercentile(found, [2.5, 97.5])
    return float(low), float(high)


def chance(pairs: Sequence[Pair]) -> float:
    """The r that one in twenty reaches when one series is turned round within its shot."""
    random = np.random.default_rng(SEED)
    centred = within_shots(pairs)
    found = [
        _r(_moments([(one, np.roll(other, random.integers(len(one)))) for one, other in centred])
           .sum(axis=0))
        for _ in range(SHIFTS)
    ]  # fmt: skip
    return float(np.nanpercentile(found, 95))


def _moments(centred: Sequence[Pair]) -> Array:
    """Shots x 3: sums of the product and of both squares; they add up over shots."""
    sums = [(one @ other, one @ one, other @ other) for one, other in centred]
    return np.array(sums, float).reshape(-1, 3)


def _r(moments: Array) -> float:
    product, one, other = moments
    return float(product / np.sqrt(one * other)) if one > 0 and other > 0 else float("nan")
