"""Clauses that say what is not known: ``whether the chin moves could not be measured``.

What such a clause names must not be measured, or be of a kind that no evidence has. So here a word
that cannot be read is no claim; but something that was measured is a false one.
"""

from __future__ import annotations

from merr_pipeline.grounding.claims import Claim
from merr_pipeline.grounding.clause import Clause, Found
from merr_pipeline.grounding.entries import Needs, Thing
from merr_pipeline.grounding.proof import Prover

_ANYTHING = (
    "unknown",
    "forbidden",
    "emotion",
    "content",
    "order",
    "number",
    "speech",
    "not",
    "degree",
)


def unknown_things(clause: Clause, prover: Prover) -> list[Claim]:
    """One claim: that all of this is unknown indeed."""
    [saying, *_] = clause.of("ignorance")
    judged = [(item, _is_unknown(item, prover)) for item in clause.found]
    known = [item for item, unknown in judged if unknown is False]
    if wrong := [item for item in known if not _is_true(item, prover)]:
        return [_claim(saying, f"{wrong[0].text}: it was measured")]
    is_open = any(unknown for _, unknown in judged) or any(
        item.kind in _ANYTHING for item in clause.found
    )
    if known and not is_open:
        return [_claim(saying, f"{known[0].text}: it was measured, and is there")]
    return [_claim(saying, "")]


def _claim(saying: Found, wrong: str) -> Claim:
    return Claim(saying.text, "missing", why=wrong)


def _is_unknown(item: Found, prover: Prover) -> bool | None:
    """Whether nothing was measured of it; None for what is not to be measured."""
    view = prover.view
    if item.kind == "face" and item.degree and not prover.has_strength(item.meaning):
        return True
    if item.kind == "face":
        return not any(view.is_measured(code, prover.table) for code in item.meaning)
    if item.kind == "needs":
        needs: Needs = item.meaning
        if needs.codes:
            return not any(view.is_measured(code, prover.table) for code in needs.codes)
        return not view.reads(needs) if needs.words else None
    if item.kind in ("fact", "arousal", "time"):
        return False
    if item.kind == "thing":
        return _is_unknown_thing(item.meaning, prover)
    return None


def _is_unknown_thing(thing: Thing, prover: Prover) -> bool | None:
    if thing.units:
        return not any(prover.view.is_measured(code, prover.table) for code in thing.units)
    if thing.missing:
        return bool(prover.view.find(thing.missing))
    return None


def _is_true(item: Found, prover: Prover) -> bool:
    """Whether it is known and so: ``whether the cheeks go up with the smile is open``."""
    if item.kind in ("face", "needs"):
        claim = prover.face if item.kind == "face" else prover.needs
        return claim(item, hedged=True).grounded
    return item.kind in ("fact", "arousal", "time", "thing") and not (
        item.kind == "thing" and item.meaning.units
    )
