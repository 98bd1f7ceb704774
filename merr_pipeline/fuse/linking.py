"""From the tags of a clause to what it says: which thing is said to be how, how much, and not.

``the corners of the mouth have slightly sunk`` has a thing and a quality; they belong together, the
adverb belongs to both, and what must be in the evidence stands in the lexicon under the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from merr_pipeline.fuse.entries import Needs, Thing
from merr_pipeline.fuse.tagging import Tag

NEAR = 1  # the same, for a quality that may as well be glue: "together"
FARTHEST = 5  # telling tags between a quality and its thing
REACH = 7  # tags between an adverb and what it is about
DENIABLE = {"face", "needs", "fact", "arousal", "count", "thing", "emotion", "relation", "cautious"}
SPOKEN = {"words", "transcript", "said", "speaker"}
NOT = "not "  # before a degree that is denied
DEFINITE = {"the", "this", "that", "these", "those", "its"}
PERCEIVED = {"seen", "shown", "there", "visible", "present", "found", "active", "detected", "to"}
EXISTENCE = {
    "no",
    "without",
    "neither",
    "nor",
    "missing",
    "absent",
    "lacking",
    "unavailable",
    "found",
}
ELLIPSES = {"not", "doesn't", "don't"}  # as last word: "but the voice does not"
JOINING = {"and", "or", "nor", "both", "the", "a", "an", "of", "as well as", "than", "like"}
STOPS = {"and", "but", "with", "while", "though", "because", "so", "then", "as", "only", "whereas"}
# What a tag is taken as, where it may be several and is no part of a link.
FIRST_OF = (
    "id", "value", "time", "fact", "arousal", "face", "conclusion", "statement", "all_signs",
    "ignorance", "not", "knowable", "forbidden", "emotion", "relation", "cautious", "certain", "number",
    "hypothetical", "order", "speech", "comparison", "contrast", "glue", "content",
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """Something that a clause says; ``unknown`` for what cannot be read."""

    kind: str
    meaning: Any
    text: str
    degree: str | None = None
    start: int = 0  # of its words in the clause
    end: int = 0
    part: int = 0
    anchor: int = 0  # where the word stands that a negation would deny
    negated: bool = False
    definite: bool = False  # "the smile": it is spoken of, not told


@dataclass
class Clause:
    """One clause as it was read: its tags, and what they come to."""

    text: str
    tags: list[Tag]
    found: list[Found] = field(default_factory=list)

    def has(self, kind: str) -> bool:
        """Whether anything of that kind is said."""
        return any(item.kind == kind for item in self.found)

    def of(self, *kinds: str) -> list[Found]:
        """What is said of these kinds, in order."""
        return [item for item in self.found if item.kind in kinds]

    @property
    def has_relation(self) -> bool:
        """Whether it tells how something bears on an emotion."""
        return self.has("relation") or self.has("cautious")

    @property
    def is_of_speech(self) -> bool:
        """Whether it tells what was said."""
        return any(
            "speech" in tag
            or "quotationmark" in tag.text
            or ("ignorance" in tag and SPOKEN & set(tag.text.split()))
            or any(thing.speech for thing in tag.readings.get("thing", ()))
            for tag in self.tags
        )


def read_clause(text: str, tags: list[Tag], glue: frozenset[str]) -> Clause:
    """Put the tags together. ``glue`` are words that claim nothing by themselves."""
    return Clause(text, tags, _Reading(tags, glue).found())


class _Reading:
    def __init__(self, tags: list[Tag], glue: frozenset[str]) -> None:
        self._tags, self._glue = tags, glue
        self._used: set[int] = set()  # tags that are part of something found
        self._claims: list[Found] = []

    def found(self) -> list[Found]:
        """Everything, in the order of the words; glue is left out."""
        links = self._links()
        for quality, things in links.items():
            for thing, needs in things:
                self._link(quality, thing, needs)
        self._counts()
        for number in range(len(self._tags)):
            if number not in self._used:
                self._single(number)
        self._denied_knowledge()
        self._degrees()
        self._negations()
        return _joined(sorted(self._claims, key=lambda item: (item.start, item.end)))

    # --- which quality belongs to which thing --------------------------------------------------

    def _links(self) -> dict[int, list[tuple[int, Needs]]]:
        links: dict[int, list[tuple[int, Needs]]] = {}
        for place, tag in enumerate(self._tags):
            if "quality" not in tag or self._is_already_something(tag):
                continue
            best = self._nearest_thing(place)
            if best is not None and not self._is_rather_a_degree(place, best[0]):
                links[place] = [best]
        self._add_coordinated(links)
        return links

    def _is_already_something(self, tag: Tag) -> bool:
        return any(kind in tag for kind in ("fact", "arousal", "statement", "conclusion", "time"))

    def _nearest_thing(self, place: int) -> tuple[int, Needs] | None:
        """The thing that can be so; one that stands right behind the quality must be it."""
        qualities = self._tags[place].readings["quality"]
        right_behind = self._right_behind(place)
        options: list[tuple[float, int, int, Needs]] = []
        for other, tag in enumerate(self._tags):
            for thing in tag.readings.get("thing", ()) if other != place else ():
                needs = thing.needs(qualities)
                cost = -1.0 if other == right_behind else self._distance(place, other)
                if needs is not None and cost <= (
                    NEAR if "glue" in self._tags[place] else FARTHEST
                ):
                    options.append((cost, abs(place - other), other, needs))
        if not options:
            return None
        *_, other, needs = min(options, key=lambda option: option[:2])
        return None if right_behind not in (None, other) else (other, needs)

    def _right_behind(self, place: int) -> int | None:
        """The thing that ``wide and staring eyes`` is about, where one stands so."""
        for other in range(place + 1, len(self._tags)):
            tag = self._tags[other]
            if tag.part != self._tags[place].part:
                return None
            if "thing" in tag and any(thing.does for thing in tag.readings["thing"]):
                return other
            if not ("quality" in tag or "degree" in tag):
                return None
        return None

    def _distance(self, one: int, other: int) -> float:
        """Telling tags between the two, more for punctuation; what stands before is nearer."""
        low, high = sorted((one, other))
        between = [tag for tag in self._tags[low + 1 : high] if self._tells(tag)]
        parts = abs(self._tags[one].part - self._tags[other].part)
        return len(between) + parts + (0.5 if other > one else 0)

    def _tells(self, tag: Tag) -> bool:
        is_thing = any(thing.does for thing in tag.readings.get("thing", ()))
        return is_thing or not ({"glue", "quality", "degree", "not"} & set(tag.readings))

    def _is_rather_a_degree(self, place: int, thing: int) -> bool:
        """``a wide smile`` beside eyes: the nearer of the two has it."""
        if "degree" not in self._tags[place] or self._right_behind(place) == thing:
            return False
        behind = self._tags[place + 1] if place + 1 < len(self._tags) else None
        if behind is not None and (_is_act(behind) or {"quality", "degree"} & set(behind.readings)):
            return True
        acts = [
            self._distance(place, other)
            for other, tag in enumerate(self._tags)
            if "face" in tag
            or any(one.has and not one.does for one in tag.readings.get("thing", ()))
        ]
        return min(acts, default=FARTHEST) < self._distance(place, thing)

    def _add_coordinated(self, links: dict[int, list[tuple[int, Needs]]]) -> None:
        """``lips and jaw have dropped``: what is said of one is said of both."""
        linked = {thing for things in links.values() for thing, _ in things}
        for quality, things in links.items():
            for step in (-1, 1):
                thing, _ = things[0]
                other = self._next_in_row(thing, step)
                if other is None or other in linked or other == quality:
                    continue
                names = self._tags[quality].readings["quality"]
                for one in self._tags[other].readings["thing"]:
                    if (needs := one.needs(names)) is not None:
                        things.append((other, needs))
                        linked.add(other)

    def _next_in_row(self, thing: int, step: int) -> int | None:
        joined, place = False, thing + step
        while 0 <= place < len(self._tags):
            tag = self._tags[place]
            if "thing" in tag and any(one.does for one in tag.readings["thing"]):
                return place if joined else None
            if tag.text not in JOINING:
                return None
            joined = joined or tag.text in ("and", "or", "nor")
            place += step
        return None

    def _link(self, quality: int, thing: int, needs: Needs) -> None:
        first, last = (self._tags[place] for place in sorted((quality, thing)))
        self._used |= {quality, thing}
        words = (self._tags[quality], self._tags[thing])
        inside = next((tag.degree for tag in words if tag.degree), None)
        self._add_needs(needs, f"{first.text} {last.text}", inside, (first, last), words[0])

    def _add_needs(
        self, needs: Needs, text: str, degree: str | None, span: tuple[Tag, Tag], anchor: Tag
    ) -> None:
        kind, meaning = ("face", needs.any) if needs.any else ("needs", needs)
        place = (span[0].start, span[1].end, anchor.part, anchor.start)
        definite = anchor is span[0] and self._is_definite(anchor)
        self._claims.append(Found(kind, meaning, text, degree, *place, definite=definite))

    def _is_definite(self, tag: Tag) -> bool:
        before = [other for other in self._tags if other.end <= tag.start]
        while before and "degree" in before[-1]:
            before.pop()
        return bool(before) and before[-1].text in DEFINITE

    # --- numbers, and what stands alone --------------------------------------------------------

    def _counts(self) -> None:
        """``four breaks``: a number and, soon behind it, something that can be counted."""
        for place, tag in enumerate(self._tags):
            if "number" not in tag:
                continue
            for other in range(place + 1, min(place + 5, len(self._tags))):
                if self._tags[other].part != tag.part or "not" in self._tags[other]:
                    break
                thing = self._countable(self._tags[other])
                if thing is not None:
                    end = self._tags[other]
                    self._used |= {place, other}
                    meaning = (thing, tag.readings["number"])
                    text = f"{tag.text} {end.text}"
                    place_in_text = (tag.start, end.end, tag.part, tag.start)
                    self._claims.append(Found("count", meaning, text, None, *place_in_text))
                    break
                if self._tells(self._tags[other]):
                    break

    def _countable(self, tag: Tag) -> Thing | None:
        things = tag.readings.get("thing", ())
        return next((thing for thing in things if thing.count or thing.actions), None)

    def _single(self, place: int) -> None:
        tag = self._tags[place]
        kind, meaning = self._meaning_alone(place)
        if kind == "unknown" and meaning:
            tag = replace(tag, text=f"{tag.text} {meaning}")
        if kind == "needs" and isinstance(meaning, Needs):
            self._add_needs(meaning, tag.text, tag.degree, (tag, tag), tag)
        elif kind != "glue":
            place_in_text = (tag.start, tag.end, tag.part, tag.start)
            self._claims.append(Found(kind, meaning, tag.text, tag.degree, *place_in_text))

    def _meaning_alone(self, place: int) -> tuple[str, Any]:
        tag = self._tags[place]
        for kind in FIRST_OF[:10]:
            if kind in tag:
                return kind, tag.readings[kind]
        for thing in tag.readings.get("thing", ()):
            if thing.has is not None:
                return "needs", thing.has
        if "degree" in tag and self._claims_nearby(tag):
            return "degree", tag.readings["degree"]
        if "quality" in tag and (wrong := self._right_behind(place)) is not None:
            return "unknown", self._tags[wrong].text  # "a fast pitch"
        if alone := tag.readings.get("alone"):
            return "needs", alone
        if "thing" in tag:
            thing = tag.readings["thing"][0]
            return ("actions" if thing.actions else "thing"), thing
        if "number" in tag and "glue" in tag:
            return "glue", None
        if self._is_ordinal(place):
            return "glue", None
        for kind in FIRST_OF[10:]:
            if kind in tag:
                return kind, tag.readings[kind]
        is_plain = "quality" in tag and all(word in self._glue for word in tag.text.split())
        return ("glue" if is_plain else "unknown"), None

    def _is_ordinal(self, place: int) -> bool:
        """``the first thing`` is no order in time; beside a quotation it may be one."""
        tags = self._tags
        quoted = any("quotationmark" in tag.text for tag in tags)
        return (
            tags[place].text == "first"
            and place > 0
            and tags[place - 1].text == "the"
            and not quoted
        )

    def _claims_nearby(self, tag: Tag) -> bool:
        """Whether there is something that the adverb could be about."""
        return any(kind in other for other in self._tags for kind in ("face", "thing", "quality"))

    # --- how much, and not ---------------------------------------------------------------------

    def _gap(self, adverb: Found, other: Found) -> float:
        """Tags between the two, more for punctuation; what follows is nearer."""
        starts = [tag.start for tag in self._tags]
        here, there = starts.index(adverb.anchor), starts.index(other.anchor)
        away = there - here - 0.5 if there > here else here - there
        return away + 2 * abs(adverb.part - other.part)

    def _degrees(self) -> None:
        """Each adverb goes to the nearest facial action or word of a voice that has none."""
        for item in [claim for claim in self._claims if claim.kind == "degree"]:
            item = self._with_its_negation(item)
            free = [c for c in self._claims if c.kind in ("face", "needs") and c.degree is None]
            nearest = min(free, key=lambda claim: self._gap(item, claim), default=None)
            if nearest is not None and self._gap(item, nearest) <= REACH:
                self._claims.remove(item)
                self._replace(nearest, replace(nearest, degree=item.meaning))
            elif self._may_be_glue(item) or self._is_beside_a_statement(item):
                self._claims.remove(item)
            else:
                self._replace(item, replace(item, kind="unknown"))

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
        """``no strength can be given``: what is denied is that it is known."""
        for item in [claim for claim in self._claims if claim.kind == "knowable"]:
            denials = [c for c in self._claims if c.kind == "not" and c.start < item.start]
            self._claims = [c for c in self._claims if c is not item and c not in denials]
            if denials:
                self._claims.append(replace(item, kind="ignorance", text=f"no {item.text}"))

    def _negations(self) -> None:
        """``not`` and its like: what they deny is marked; one that denies nothing stays."""
        for item in [claim for claim in self._claims if claim.kind == "not"]:
            stops = item.text in ELLIPSES and item.end == self._tags[-1].end
            denied = [] if stops else self._denied_by(item)
            if denied or stops or self._is_of_something_spoken_of(item):
                self._claims.remove(item)
            for claim in denied:
                text = claim.text if claim.negated else f"{item.text} {claim.text}"
                start = min(item.start, claim.start)
                self._replace(claim, replace(claim, negated=True, text=text, start=start))

    def _denied_by(self, item: Found) -> list[Found]:
        """What follows up to the next comma or "and"; else what stands right before."""
        ends = (tag.start for tag in self._tags if tag.start >= item.end and _ends(tag, item))
        stop = min(ends, default=len(self._tags) + 10_000)
        claims = sorted(self._claims, key=lambda claim: claim.anchor)
        claims = [claim for claim in claims if claim.kind in DENIABLE]
        behind = [claim for claim in claims if item.end <= claim.anchor < stop]
        if behind and self._is_missing(item, behind[0]):
            return [claim for claim in behind if self._is_missing(item, claim)]
        if telling := [claim for claim in behind if claim.kind != "thing"]:
            return telling
        before = [c for c in claims if c.anchor < item.start and c.part == item.part]
        before = [c for c in before if c.kind not in ("emotion", "relation", "cautious")][-1:]
        if before and before[0].kind == "thing" and not self._is_missing(item, before[0]):
            return []
        return [] if before and before[0].definite and not self._perceives(item) else before

    def _is_missing(self, item: Found, claim: Found) -> bool:
        """``no voice``, ``the transcript is missing``: a thing that is not there at all."""
        if claim.kind != "thing" or claim.meaning.missing is None:
            return False
        between = [t for t in self._tags if item.end <= t.start < claim.start]
        beside = all(t.text in JOINING or "thing" in t or "not" in t for t in between)
        neither = self._relates and not {"neither", "nor"}.isdisjoint(item.text.split())
        return beside and not EXISTENCE.isdisjoint(item.text.split()) and not neither

    @property
    def _relates(self) -> bool:
        """``neither face nor voice contradicts it``: both are there."""
        return any("relation" in tag or "cautious" in tag for tag in self._tags)

    def _is_of_something_spoken_of(self, item: Found) -> bool:
        """``the smile does not fade``: no more is claimed than that it is there."""
        return any(
            c.definite and c.anchor < item.start and c.part == item.part for c in self._claims
        )

    def _perceives(self, item: Found) -> bool:
        """``the smile is not seen`` denies it; ``the smile does not fade`` does not."""
        behind = [tag.text for tag in self._tags if tag.start >= item.end][:1]
        return not behind or behind[0] in PERCEIVED or " " in item.text

    def _replace(self, old: Found, new: Found) -> None:
        self._claims[self._claims.index(old)] = new


def _is_act(tag: Tag) -> bool:
    """Whether it says by itself what is done: a smile, a whisper."""
    things = tag.readings.get("thing", ())
    return "face" in tag or any(one.has is not None and not one.does for one in things)


def _ends(tag: Tag, negation: Found) -> bool:
    return tag.part != negation.part or tag.text in STOPS


def _joined(found: Iterable[Found]) -> list[Found]:
    """Neighbouring unknown words are one claim."""
    result: list[Found] = []
    for item in found:
        last = result[-1] if result else None
        if last and item.kind == "unknown" == last.kind and last.end == item.start:
            result[-1] = replace(last, text=f"{last.text} {item.text}", end=item.end)
        else:
            result.append(item)
    return result
