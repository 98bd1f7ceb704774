"""One label for each clip: confusion matrix and what follows from it.

Rows of the matrix are the true labels in the order of the label space; columns are the same labels
and then `WRONG_WAYS`, the ways in which no label of the space was said. All of these are wrong,
none is taken for neutral.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

OTHER, UNREAD, MISSING = "other emotion", "unread", "no answer"
WRONG_WAYS = (OTHER, UNREAD, MISSING)

HEADLINE = ("weighted_f1", "macro_f1", "accuracy", "uar")
"""Accuracy is DFEW's WAR, `uar` the mean recall of the labels."""


@dataclass(frozen=True)
class Labelled:
    """True and said labels of clips, as numbers: places in ``labels``, then in `WRONG_WAYS`."""

    labels: tuple[str, ...]
    clip_ids: tuple[str, ...]
    true: Ints  # [clips], below len(labels)
    said: Ints  # [clips], below len(labels) + 3

    def counts(self, chosen: Ints | None = None) -> Ints:
        """The confusion matrix, [labels, labels + 3]; ``chosen`` are places, also repeated."""
        true, said = (self.true, self.said) if chosen is None else self._at(chosen)
        wide = len(self.labels) + len(WRONG_WAYS)
        flat = np.bincount(true * wide + said, minlength=len(self.labels) * wide)
        return flat.reshape(len(self.labels), wide)

    def _at(self, chosen: Ints) -> tuple[Ints, Ints]:
        return self.true[chosen], self.said[chosen]


def pair(labels: tuple[str, ...], true: Mapping[str, str], said: Mapping[str, str]) -> Labelled:
    """Put truth and answers side by side, in the order of the clips' ids.

    Args:
        labels: of the label space.
        true: label of each clip that is scored.
        said: label, `OTHER` or `UNREAD` of each clip that was answered.
    """
    names = {name: place for place, name in enumerate((*labels, *WRONG_WAYS))}
    ids = tuple(sorted(true))
    return Labelled(
        labels,
        ids,
        np.array([names[true[one]] for one in ids], np.int64),
        np.array([names[said.get(one, MISSING)] for one in ids], np.int64),
    )


def headline(counts: Ints) -> Floats:
    """`HEADLINE` of a confusion matrix; null (NaN) without a clip.

    Means over labels are over those that occur among the true ones.
    """
    support = counts.sum(axis=1)
    if not support.sum():
        return np.full(len(HEADLINE), np.nan)
    _, recall, f1 = by_label(counts)
    there = support > 0
    right = float(np.trace(counts))
    return np.array(
        [
            float(f1 @ support) / support.sum(),
            f1[there].mean(),
            right / support.sum(),
            recall[there].mean(),
        ]
    )


def by_label(counts: Ints) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F1 of each label; 0 where there is nothing to divide by."""
    size = len(counts)
    right = np.diagonal(counts)[:size].astype(float)
    support, said = counts.sum(axis=1), counts[:, :size].sum(axis=0)
    return _share(right, said), _share(right, support), _share(2 * right, said + support)


def _share(part: Floats, whole: Ints) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
