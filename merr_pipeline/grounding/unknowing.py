"""Clauses that say what is not known: ``whether the chin moves could not be measured``.

What such a clause names must not be measured, or be of a kind that no evidence has. So here a word
that cannot be read is no claim; but something that was measured is a false one.
"""

from __future__ import annotations

from collections.abc import Collection

from merr_pipeline.grounding.claims import Claim
from merr_pipeline.grounding.clause import Clause, Found
from merr_pipeline.grounding.entries import Needs, Thing
from merr_pipeline.grounding.lexicon import Lexicon
from merr_pipeline.grounding.proof import Prover
from merr_pipeline.grounding.tagging import words_of

_ANYTHING = ("unknown", "forbidden", "emotion", "content", "order", "number")


_MEASURING = frozenset(("measured", "measurement", "unmeasured", "value", "assessed", "evaluated"))
_LISTED = frozenset(("listed", "reported", "recorded", "mentioned", "noted", "registered", "named"))
_FEW = 2  # features; of more, as a picture has, some may be unknown
_NUMBER = frozenset(("many", "number", "count"))  # words that ask how many


def unknown_things(
    clause: Clause, prover: Prover, lexicon: Lexicon, saying: Found | None = None
) -> list[Claim]:
    """One claim: that all of this is unknown indeed; a question has its answer elsewhere."""
    saying = saying or clause.of("ignorance")[0]
    words = set(words_of(clause.text))
    asks_strength = not words.isdisjoint(lexicon.strength_words)
    lists = not _LISTED.isdisjoint(saying.text.split())
    judged = [
        (
            item,
            _has_no_strength(item, prover) if asks_strength else _is_unknown(item, prover, words),
        )
        for item in clause.found
    ]
    known = [item for item, unknown in judged if unknown is False]
    if lists:  # "a frown is not listed": where it is absent, that is so
        known = [item for item in known if item.kind != "face" or _is_true(item, prover)]
    is_of_measuring = not _MEASURING.isdisjoint(saying.text.split())
    unknown = [item for item, is_unknown in judged if is_unknown and item.kind == "face"]
    wrong = [
        item
        for item in known
        if _is_code(item)
        or not _is_true(item, prover)
        or (is_of_measuring and item.kind == "face" and item.part == saying.part)
        or any(_are_in_a_row(item, other, clause, lexicon) for other in unknown)
    ]
    if wrong:
        return [_claim(saying, f"{wrong[0].text}: it was measured")]
    is_open = (
        any(unknown for _, unknown in judged)
        or any(map(_may_be_unknown, clause.found))
        or not words.isdisjoint(lexicon.open_questions)
    )
    if known and not is_open:
        return [_claim(saying, f"{known[0].text}: it was measured, and is there")]
    return [_claim(saying, "")]


def _may_be_unknown(item: Found) -> bool:
    """Whether no evidence has anything of that kind; "a claim" is nothing that was said."""
    if item.text == "open":
        return False  # "which leaves it open"
    return item.kind in _ANYTHING or (item.kind == "speech" and item.meaning.needs is not None)


def _are_in_a_row(item: Found, other: Found, clause: Clause, lexicon: Lexicon) -> bool:
    """``cheeks and chin were not measured`` is said of each."""
    low, high = sorted((item, other), key=lambda one: one.start)
    between = [tag for tag in clause.tags if low.end <= tag.start < high.start]
    return item.kind == "face" and all(
        tag.text in lexicon.grammar.joining or "degree" in tag for tag in between
    )


def _is_code(item: Found) -> bool:
    """``AU12 and AU24 were not measured`` is said of each."""
    return item.kind == "face" and item.text.split()[-1] in {code.lower() for code in item.meaning}


def _claim(saying: Found, wrong: str) -> Claim:
    return Claim(saying.text, "missing", why=wrong)


def _has_no_strength(item: Found, prover: Prover) -> bool | None:
    """How strong it is, only an intensity tells."""
    units = item.meaning if item.kind == "face" else ()
    units = item.meaning.units if item.kind == "thing" else units
    if units and not prover.has_strength(units):
        return True
    return _is_unknown(item, prover, frozenset())


def _is_unknown(item: Found, prover: Prover, words: Collection[str]) -> bool | None:
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
        if needs.text and view.find(needs.text):
            return False
        return not view.reads(needs) if needs.words else None
    if item.kind in ("fact", "arousal", "time"):
        return False
    if item.kind == "count":
        thing, number = item.meaning
        return None if thing.actions and number == len(prover.view.unmeasured) else False
    if item.kind == "thing":
        return _is_unknown_thing(item.meaning, prover, words)
    return None


def _is_unknown_thing(thing: Thing, prover: Prover, words: Collection[str]) -> bool | None:
    if thing.units:
        return not any(prover.view.is_measured(code, prover.table) for code in thing.units)
    if thing.missing:
        return bool(prover.view.find(thing.missing))
    features = {feature for needs in thing.does.values() for feature in needs.words}
    if features and (thing.modality == "voice" or len(features) <= _FEW):
        return not features & set(prover.view.named)
    if thing.count in prover.view.named and not _NUMBER.isdisjoint(words):
        return False
    return None


def _is_true(item: Found, prover: Prover) -> bool:
    """Whether it is known and so: ``whether the cheeks go up with the smile is open``."""
    if item.kind in ("face", "needs"):
        claim = prover.face if item.kind == "face" else prover.needs
        return claim(item, hedged=True).grounded
    if item.kind == "count":
        return not item.meaning[0].actions and prover.count(item).grounded
    return item.kind in ("fact", "arousal", "time", "thing") and not (
        item.kind == "thing" and item.meaning.units
    )
