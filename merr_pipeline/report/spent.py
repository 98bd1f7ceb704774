"""What models were asked over all runs of an output folder, from ``<out>/runs``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Spent:
    """What one stage asked of one model."""

    stage: str
    model: str
    requests: int = 0
    unanswered: int = 0
    from_cache: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = 0.0  # null as soon as one run had no price


COUNTS = ("requests", "unanswered", "from_cache", "prompt_tokens", "completion_tokens")


def read_spent(out: Path) -> list[Spent]:
    """Summed by stage and model; a run that cannot be read counts nothing, and no run is none."""
    found: dict[tuple[str, str], Spent] = {}
    for path in sorted((out / "runs").glob("*.json")):
        try:
            uses = json.loads(path.read_bytes()).get("models", [])
        except (OSError, ValueError, AttributeError):
            continue
        for use in uses:
            spent = found.setdefault(
                (use["stage"], use["model"]), Spent(use["stage"], use["model"])
            )
            for name in COUNTS:
                setattr(spent, name, getattr(spent, name) + use[name])
            if spent.cost_usd is not None:
                cost = use["cost_usd"]
                spent.cost_usd = None if cost is None else round(spent.cost_usd + cost, 6)
    return [found[key] for key in sorted(found)]


def total_usd(spent: list[Spent]) -> float | None:
    """Of all; null where a model has no price."""
    costs = [one.cost_usd for one in spent]
    return None if None in costs else round(sum(cost or 0.0 for cost in costs), 6)
