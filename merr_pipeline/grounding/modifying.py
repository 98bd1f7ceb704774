"""How much, and not: what the adverbs and the negations of a clause do to what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from merr_pipeline.grounding.clause import Found
from merr_pipeline.grounding.entries import Grammar
from merr_pipeline.grounding.tagging import Tag

REACH = 7  # tags between an adverb and what it is about
NOT = "not "  # before a degree that is denied
DENIED_AS = {"knowable": "ignorance", "decisive": "hypothetical", "certain": "hypothetical"}
"""What it is to deny that something can be known, or that it decides on an emotion."""
DENIABLE = {"face", "needs", "fact", "arousal", "count", "thing", "emotion", "relation", "cautious"}
_SHOWN = ("face", "needs")
_PLURAL = ("are", "were")


class Modifiers:
    """The claims of one clause, to be changed by what stands beside them."""

    def __init__(self, tags: Sequence[Tag], claims: list[Found], grammar: Grammar) -> None:
        self._tags, self._claims, self._grammar = tags, claims, grammar

    def applied(self) -> list[Found]:
        """The claims with their adverbs, and with what is denied marked so."""
        self._bearings()
        self._denied_knowledge()
        self._likened()
        self._denied_degrees()
        self._degrees()
        self._negations()
        return self._claims

    def _bearings(self) -> None:
        """``little sign of fear`` is how something bears on it, of a smile it is a denial."""
        bearing = {tag.start: tag.readings["cautious"] for tag in self._tags if "cautious" in tag}
        claims = sorted(self._claims, key=lambda claim: claim.start)
        for item, behind in pairwise(claims):
            if (
                item.kind in ("not", "knowable", "ignorance")
                and item.start in bearing
                and behind.kind == "emotion"
                and behind.part == item.part
            ):
                self._replace(item, replace(item, kind="cautious", meaning=bearing[item.start]))

    def _gap(self, adverb: Found, other: Found) -> float:
        """Tags between the two, more for punctuation; what follows is nearer."""
        low, high = sorted((adverb.part, other.part))
        asides = {part for part in range(low + 1, high + 1) if self._is_relative(part)}
        starts = [t.start for t in self._tags if t.part not in asides - {adverb.part, other.part}]
        here, there = starts.index(adverb.anchor), starts.index(other.anchor)
        away = there - here - 0.5 if there > here else here - there
        return away + 2 * (high - low - len(asides))

    def _likened(self) -> None:
        """``the brows are still, as are the muscles that lift the lids``: these do not do so."""
        for tag in self._tags:
            if tag.text not in self._grammar.alike:
                continue
            before = [c for c in self._claims if c.anchor < tag.start and c.kind in _SHOWN]
            last = max(before, key=lambda claim: claim.anchor, default=None)
            if last is None or not (last.negated or _is_of_none(last)):
                continue
            for claim in list(self._claims):
                if claim.kind == "face" and claim.start > tag.start and claim.part == tag.part:
                    self._replace(claim, replace(claim, negated=True))

    def _denied_degrees(self) -> None:
        """``neither the frown nor the smile is strong``: what is denied is the degree of both."""
        denials = [c for c in self._claims if c.kind == "not" and c.text in self._grammar.neither]
        if not denials:
            return
        first = min(denials, key=lambda claim: claim.start)
        degrees = [c for c in self._claims if c.kind == "degree" and c.part == first.part]
        if not degrees or degrees[-1].start < max(claim.start for claim in denials):
            return
        last = max(degrees, key=lambda claim: claim.start)
        faces = [c for c in self._claims if c.kind == "face" and first.end <= c.anchor < last.start]
        behind = [c for c in self._claims if c.kind == "face" and c.anchor > last.start]
        if not faces or any(c.part == last.part for c in behind) or not self._is_predicate(last):
            return
        self._claims = [c for c in self._claims if c not in denials and c is not last]
        for claim in faces:
            self._replace(claim, replace(claim, degree=f"{NOT}{last.meaning}"))

    def _is_predicate(self, item: Found) -> bool:
        """Whether it stands behind an "is"."""
        before = [tag for tag in self._tags if tag.end <= item.start]
        return any(tag.text in self._grammar.copulas for tag in before[-3:])

    def _degrees(self) -> None:
        """Each adverb goes to the nearest facial action or word of a voice that has none."""
        for item in [claim for claim in self._claims if claim.kind == "degree"]:
            behind = [tag for tag in self._tags if tag.start == item.end]
            if self._is_of_feeling(item):
                self._claims.remove(item)
                continue
            if item.text in self._grammar.hardly and behind and _bears(behind[0]):
                self._replace(item, replace(item, kind="not"))
                continue
            if (than := self._contrast_before(item)) is not None:
                self._claims = [c for c in self._claims if c is not item and c is not than]
                continue
            item = self._with_its_negation(item)
            free = [c for c in self._claims if c.kind in _SHOWN and c.degree is None]
            free = [c for c in free if not self._is_aside(c, item)]
            nearest = min(free, key=lambda claim: self._gap(item, claim), default=None)
            if nearest is not None and self._gap(item, nearest) <= REACH:
                self._claims.remove(item)
                self._replace(nearest, replace(nearest, degree=item.meaning))
            elif self._may_be_glue(item) or self._is_beside_a_statement(item):
                self._claims.remove(item)
            elif (graded := self._graded_near(item)) is not None:
                self._replace(item, replace(graded, degree=item.meaning))
            else:
                self._replace(item, replace(item, kind="unknown"))

    def _is_of_feeling(self, item: Found) -> bool:
        """``a touch of sadness``, ``weak support for it``: how much of that, no measure tells."""
        behind = [tag for tag in self._tags if tag.start >= item.end and tag.text != "of"][:1]
        starts = {tag.start for tag in behind if item.text not in self._grammar.hardly}
        kinds = ("emotion", "relation", "cautious")
        return any(c.start in starts and c.kind in kinds for c in self._claims)

    def _contrast_before(self, item: Found) -> Found | None:
        """The "rather than" of ``slightly rather than strongly``, which says nothing more."""
        before = [c for c in self._claims if c.kind == "not" and c.end == item.start]
        graded = any(c.degree for c in self._claims if c.kind in _SHOWN)
        return next((c for c in before if graded and c.text in self._grammar.contrasting), None)

    def _graded_near(self, item: Found) -> Found | None:
        """``a broad smile, strong at 3.77``: what has a degree already, and must fit this too."""
        shown = [c for c in self._claims if c.kind == "face" and c.anchor < item.anchor]
        nearest = min(shown, key=lambda claim: self._gap(item, claim), default=None)
        return nearest if nearest and self._gap(item, nearest) <= REACH else None

    def _is_aside(self, claim: Found, adverb: Found) -> bool:
        """``the cheeks, which go with a smile, are slightly up``: the smile stands aside."""
        aside, other = (claim, adverb) if claim.anchor < adverb.anchor else (adverb, claim)
        return aside.part < other.part and self._is_relative(aside.part)

    def _is_relative(self, part: int) -> bool:
        """Whether that part of the sentence begins with "which"."""
        first = next((tag.text for tag in self._tags if tag.part == part), "")
        return first in self._grammar.relative

    def _with_its_negation(self, item: Found) -> Found:
        """``not strongly``: the negation is of the adverb alone."""
        before = next((c for c in self._claims if c.kind == "not" and c.end == item.start), None)
        behind = [tag for tag in self._tags if tag.start >= item.end][:1]
        if before is None or (behind and "quality" in behind[0]):
            return item
        self._claims.remove(before)
        denied = replace(item, meaning=f"{NOT}{item.meaning}")
        self._replace(item, denied)
        return denied

    def _is_beside_a_statement(self, item: Found) -> bool:
        """``stands out a little``: of a fixed saying no degree is known."""
        ends = {tag.end for tag in self._tags if "statement" in tag}
        starts = {tag.start for tag in self._tags if "statement" in tag}
        return item.start in ends or item.end in starts

    def _may_be_glue(self, item: Found) -> bool:
        return any(tag.start == item.start and "glue" in tag for tag in self._tags)

    def _denied_knowledge(self) -> None:
        """``no strength can be given``, ``does not prove it``: neither known nor decided."""
        for item in [claim for claim in self._claims if claim.kind in DENIED_AS]:
            denials = [c for c in self._claims if c.kind == "not" and self._denies(c, item)]
            if denials:
                self._claims = [c for c in self._claims if c not in denials]
                kind = DENIED_AS[item.kind]
                self._replace(item, replace(item, kind=kind, text=f"no {item.text}"))
            elif item.kind != "certain":
                self._undenied(item)

    def _undenied(self, item: Found) -> None:
        """``noted`` is then what is said, or says nothing; or it cannot be read."""
        tag = next(tag for tag in self._tags if tag.start == item.start)
        if "speech" in tag:
            self._replace(item, replace(item, kind="speech", meaning=tag.readings["speech"]))
            return
        words = item.text.split()
        if words[0] in self._grammar.modals or self._grammar.glue.issuperset(words):
            self._claims.remove(item)
        else:
            self._replace(item, replace(item, kind="unknown"))

    def _denies(self, negation: Found, item: Found) -> bool:
        """Whether it is about what can be known or decided, not about a thing named between."""
        if negation.start >= item.start:
            return item.kind == "knowable" and negation.text in self._grammar.impossible
        between = [t for t in self._tags if negation.end <= t.start < item.start]
        if item.kind == "knowable":
            begins = [tag for last, tag in pairwise(between) if last.part != tag.part]
            return not any(tag.text in self._grammar.subordinating for tag in begins)
        if negation.part != item.part or any(tag.text in self._grammar.stops for tag in between):
            return negation.text in self._grammar.neither and negation.part == item.part
        told = [c for c in self._claims if negation.end <= c.start < item.start]
        is_related = any(tag.text in self._grammar.relative for tag in between)
        return not (is_related and any(c.kind in ("face", "needs", "fact", "thing") for c in told))

    def _negations(self) -> None:
        """``not`` and its like: what they deny is marked; one that denies nothing stays."""
        for item in [claim for claim in self._claims if claim.kind == "not"]:
            stops = item.text in self._grammar.ellipses and item.end == self._tags[-1].end
            denied = [] if stops else self._denied_by(item)
            is_plain = " " in item.text and self._may_be_glue(item)  # "with little to show for it"
            if denied or stops or is_plain or self._is_of_something_spoken_of(item):
                self._claims.remove(item)
            for claim in denied:
                text = claim.text if claim.negated else f"{item.text} {claim.text}"
                start = min(item.start, claim.start)
                self._replace(claim, replace(claim, negated=True, text=text, start=start))

    def _denied_by(self, item: Found) -> list[Found]:
        """What follows up to the next comma or "and"; else what stands right before."""
        ends = (tag.start for tag in self._tags if tag.start >= item.end and self._ends(tag, item))
        stop = min(ends, default=len(self._tags) + 10_000)
        following = [tag for tag in self._tags if tag.start >= item.end][:3]
        if item.text == "not" and len(following) == 3 and following[0].text == "to":
            stop = min(stop, following[2].start)  # "the request not to move"
        claims = sorted(self._claims, key=lambda claim: claim.anchor)
        claims = [claim for claim in claims if claim.kind in DENIABLE or _is_deniable(claim)]
        behind = [claim for claim in claims if item.end <= claim.anchor < stop]
        if behind and self._is_missing(item, behind[0]):
            return [claim for claim in behind if self._is_missing(item, claim)]
        if telling := [claim for claim in behind if claim.kind != "thing"]:
            # of "no frown accompanies the smile" the smile is spoken of and there
            telling = [claim for claim in telling if not self._is_clue(claim, claims)]
            return [claim for claim in telling if not claim.definite] or telling
        if item.text in self._grammar.contrasting:
            return []
        if row := self._row_before(item):
            return row
        parts = {item.part, self._part_around(item)}
        before = [c for c in claims if c.anchor < item.start and c.part in parts]
        if any(c.part == item.part for c in before):
            before = [c for c in before if c.part == item.part]
        beyond = ("emotion", "relation", "cautious", "speech")
        before = [c for c in before if c.kind not in beyond][-1:]
        if before and before[0].kind == "thing" and not self._is_missing(item, before[0]):
            return []
        return [] if before and before[0].definite and not self._perceives(item) else before

    def _part_around(self, item: Found) -> int:
        """``a frown, which would fit it, is not seen``: what stands around a relative clause."""
        before = [tag for tag in self._tags if tag.part == item.part - 1][:1]
        is_relative = bool(before) and before[0].text in self._grammar.relative
        return item.part - 2 if is_relative else item.part

    def _row_before(self, item: Found) -> list[Found]:
        """``smile, frown and squint are absent``: all of them; empty where it is not so."""
        before = [tag for tag in self._tags if tag.end <= item.start]
        if not before or before[-1].text not in _PLURAL or not self._perceives(item):
            return []
        verbs = [tag.end for tag in before[:-1] if tag.text in self._grammar.copulas]
        begin = max(verbs, default=0)
        others = [tag for tag in before if tag.text in self._grammar.stops - {"and"}]
        begin = max([begin, *(tag.end for tag in others)])
        return [c for c in self._claims if c.kind == "face" and begin <= c.start < item.start]

    def _is_clue(self, claim: Found, claims: Sequence[Found]) -> bool:
        """``joy is not suggested by the frown``: what stands behind such a relation is there."""
        if claim.kind not in _SHOWN:
            return False
        beside = [c for c in claims if c.part == claim.part and c.anchor < claim.anchor]
        relations = [c.anchor for c in beside if c.kind in ("relation", "cautious")]
        return any(c.kind == "emotion" and c.anchor < max(relations, default=0) for c in beside)

    def _is_missing(self, item: Found, claim: Found) -> bool:
        """``no voice``, ``the transcript is missing``: a thing that is not there at all."""
        if claim.kind != "thing" or claim.meaning.missing is None:
            return False
        between = [t for t in self._tags if item.end <= t.start < claim.start]
        beside = all(t.text in self._grammar.joining or "thing" in t or "not" in t for t in between)
        words = set(item.text.split())
        neither = self._relates and bool(words & self._grammar.neither) and not self._is_told(item)
        return beside and bool(words & self._grammar.existence) and not neither

    def _is_told(self, item: Found) -> bool:
        """``there is neither voice nor face``: it is told of them that they are missing."""
        first = next(
            (tag for tag in self._tags if tag.text in self._grammar.neither), self._tags[0]
        )
        before = [tag.text for tag in self._tags if tag.end <= first.start][-1:]
        return not self._grammar.existential.isdisjoint(before)

    @property
    def _relates(self) -> bool:
        """``neither face nor voice contradicts it``: both are there."""
        return any(map(_bears, self._tags))

    def _is_of_something_spoken_of(self, item: Found) -> bool:
        """``the smile does not fade``: no more is claimed than that it is there."""
        return any(
            c.definite and c.anchor < item.start and c.part == item.part for c in self._claims
        )

    def _perceives(self, item: Found) -> bool:
        """``the smile is not seen`` denies it; ``the smile does not fade`` does not."""
        behind = [tag.text for tag in self._tags if tag.start >= item.end][:1]
        return not behind or behind[0] in self._grammar.perceived or " " in item.text

    def _ends(self, tag: Tag, negation: Found) -> bool:
        """Whether a negation reaches no farther."""
        return tag.part != negation.part or tag.text in self._grammar.stops

    def _replace(self, old: Found, new: Found) -> None:
        self._claims[self._claims.index(old)] = new


def _is_of_none(claim: Found) -> bool:
    """Whether it says of Action Units that none is active."""
    return claim.kind == "needs" and bool(claim.meaning.none) and not claim.negated


def _is_deniable(claim: Found) -> bool:
    """``no request``: that something was said so; of "says" what it says is denied."""
    return claim.kind == "speech" and bool(claim.meaning.can_be_denied)


def _bears(tag: Tag) -> bool:
    return "relation" in tag or "cautious" in tag
