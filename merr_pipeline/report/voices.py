"""Who names a clip's label, and how often two of them name the same one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations

from merr_pipeline.fuse.judge import BLIND
from merr_pipeline.schema import Row

VOICES = {
    "manifest": "the manifest",
    "rules": "the Action Unit rules",
    "model": "the model, asked blind",
    "second": "the second model",
}
"""Short and long name; the rules' voice is their first candidate, however weak."""


def voices_of(row: Row) -> dict[str, str]:
    """``voice -> label`` of those that name one. A model that was told the label has none."""
    candidates = row["label_candidates"] or []
    rules = [one for one in candidates if one["source"] == "au_rules" and one["label"]]
    best = max(rules, key=lambda one: one["score"] or 0.0, default=None)
    given = next((one["label"] for one in candidates if one["source"] == "manifest"), None)
    found = {
        "manifest": given,
        "rules": best["label"] if best else None,
        "model": row["llm_label"] if row["text_source"] == BLIND else None,
        "second": row["second_label"],
    }
    return {voice: label for voice, label in found.items() if label}


@dataclass
class Pair:
    """Two voices: how often the one says this and the other that."""

    one: str
    other: str
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def clips(self) -> int:
        """Clips of which both name a label."""
        return self.counts.total()

    @property
    def agreeing(self) -> int:
        """Clips of which both name the same label."""
        return sum(count for (one, other), count in self.counts.items() if one == other)

    @property
    def share(self) -> float:
        """Of the clips that both name, 0..1."""
        return self.agreeing / self.clips if self.clips else 0.0

    @property
    def kappa(self) -> float | None:
        """Cohen's; null where chance alone would agree on every clip."""
        ones, others = Counter[str](), Counter[str]()
        for (one, other), count in self.counts.items():
            ones[one] += count
            others[other] += count
        chance = sum(ones[label] * others[label] for label in ones) / max(self.clips, 1) ** 2
        return None if chance >= 1 else (self.share - chance) / (1 - chance)

    def labels(self) -> list[str]:
        """All labels that one of them names, sorted."""
        return sorted({label for pair in self.counts for label in pair})


class Agreement:
    """Every pair of voices."""

    def __init__(self) -> None:
        self._pairs = {pair: Pair(*pair) for pair in combinations(VOICES, 2)}

    def add(self, row: Row) -> None:
        """Count a row of ``clips``."""
        said = voices_of(row)
        for (one, other), pair in self._pairs.items():
            if one in said and other in said:
                pair.counts[said[one], said[other]] += 1

    def pairs(self) -> list[Pair]:
        """Those of which at least one clip has both."""
        return [pair for pair in self._pairs.values() if pair.clips]
