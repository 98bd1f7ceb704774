"""What a clause says of what the one before names: ``both are slight``, ``it is not there``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from merr_pipeline.grounding.clause import Clause, Found
from merr_pipeline.grounding.entries import DegreeRange, Grammar
from merr_pipeline.grounding.modifying import NOT

_OWN = ("face", "needs", "fact", "count", "thing", "all_signs", "actions", "arousal", "statement")
_BOTH = 2


def is_denial(clause: Clause) -> bool:
    """Whether it says no more than that what was named before is not there."""
    return clause.has("denial") and not any(clause.has(kind) for kind in (*_OWN, "unknown"))


def denied(clause: Clause) -> Clause:
    """The clause before such a denial."""
    found = [
        replace(item, negated=True) if item.kind in ("face", "needs") else item
        for item in clause.found
    ]
    return replace(clause, found=found)


def carried(
    clause: Clause,
    named: Sequence[Found],
    degrees: Mapping[str, DegreeRange],
    grammar: Grammar,
) -> list[Found]:
    """The facial signs of the clause before, each with the degree that a pronoun gives it here."""
    words = [
        tag for tag in clause.tags if "degree" in tag and degrees[tag.readings["degree"]].is_bounded
    ]
    if not words or not named or any(clause.has(kind) for kind in _OWN):
        return []
    pronouns = [tag.text for tag in clause.tags[:_BOTH] if tag.text in grammar.pronouns]
    if not pronouns or (pronouns[0] == "both" and len(named) != _BOTH):
        return []
    not_so = bool(set(pronouns) & grammar.existence) or any(
        tag.text == "not" for tag in clause.tags
    )
    meant = {"latter": named[-1:], "former": named[:1]}.get(pronouns[0].split()[-1], named)
    how = f"{NOT if not_so else ''}{words[0].readings['degree']}"
    return [replace(item, degree=how, text=f"{item.text}: {words[0].text}") for item in meant]


def without_carried(clause: Clause, grammar: Grammar) -> Clause:
    """What is left of a clause whose degree was of the signs before."""
    found = [
        item
        for item in clause.found
        if not (item.kind in ("unknown", "not") and _is_only_of_degree(item, clause, grammar))
    ]
    return replace(clause, found=found)


def _is_only_of_degree(item: Found, clause: Clause, grammar: Grammar) -> bool:
    inside = [tag for tag in clause.tags if item.start <= tag.start < item.end]
    return all("degree" in tag or "not" in tag or tag.text in grammar.glue for tag in inside)
