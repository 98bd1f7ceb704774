"""From the tags of a clause to what it says.

First each quality is linked to its thing; then numbers are to what can be counted; what is left is
taken by itself, as the first kind of the lists below that it can be.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from merr_pipeline.grounding.clause import Clause, Found
from merr_pipeline.grounding.entries import Grammar, Needs, Thing
from merr_pipeline.grounding.linking import Linker, tells
from merr_pipeline.grounding.modifying import Modifiers
from merr_pipeline.grounding.tagging import Tag

BEFORE_LINKS = (
    "id", "value", "time", "duration", "fact", "arousal", "face", "conclusion", "statement",
    "all_signs", "denial", "ignorance",
)  # fmt: skip
AFTER_LINKS = (
    "not", "knowable", "decisive", "forbidden", "emotion", "relation", "cautious", "certain",
    "number", "hypothetical", "cause", "order", "speech", "comparison", "contrast", "reason",
    "glue", "content",
)  # fmt: skip

_ALL_ACTIONS = Thing(say=(), actions=True)
_MORE = {"more", "other", "further", "additional", "extra"}  # "two other faces": three


def read_clause(text: str, tags: list[Tag], grammar: Grammar) -> Clause:
    """Put the tags together."""
    found = _Reading(tags, grammar).found()
    return Clause(text, tags, found, any(_is_of_speech(tag, grammar) for tag in tags))


def _is_of_speech(tag: Tag, grammar: Grammar) -> bool:
    """Whether it tells that something was said, or quotes it."""
    return (
        "speech" in tag
        or "quotationmark" in tag.text
        or (("ignorance" in tag or "order" in tag) and bool(grammar.spoken & set(tag.text.split())))
        or any(thing.speech for thing in tag.readings.get("thing", ()))
    )


class _Reading:
    def __init__(self, tags: list[Tag], grammar: Grammar) -> None:
        self._tags, self._grammar = tags, grammar
        self._linker = Linker(tags, grammar)
        self._used: set[int] = set()  # tags that are part of something found
        self._claims: list[Found] = []

    def found(self) -> list[Found]:
        """Everything, in the order of the words; glue is left out."""
        for quality, things in self._linker.links().items():
            for thing, needs in things:
                self._link(quality, thing, needs)
        self._counts()
        for number in range(len(self._tags)):
            if number not in self._used:
                self._single(number)
        claims = Modifiers(self._tags, self._claims, self._grammar).applied()
        return _joined(sorted(claims, key=lambda item: (item.start, item.end)))

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
        return bool(before) and before[-1].text in self._grammar.definite

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
                    between = {one.text for one in self._tags[place + 1 : other]}
                    more = bool(_MORE & between) and thing.count == "faces_in_view"
                    meaning = (thing, tag.readings["number"] + more)
                    text = f"{tag.text} {end.text}"
                    place_in_text = (tag.start, end.end, tag.part, tag.start)
                    self._claims.append(Found("count", meaning, text, None, *place_in_text))
                    break
                if tells(self._tags[other]):
                    break
            if place not in self._used and self._of_all_signs(place):
                self._used.add(place)
                meaning = (_ALL_ACTIONS, tag.readings["number"])
                at = (tag.start, tag.end, tag.part, tag.start)
                self._claims.append(Found("count", meaning, tag.text, None, *at))

    def _of_all_signs(self, place: int) -> bool:
        """``of the three, the smile is the strongest``: so many facial actions are there."""
        before = [tag.text for tag in self._tags[max(0, place - 2) : place]]
        compares = any("comparison" in tag for tag in self._tags)
        return compares and before[:1] == ["of"] and before[-1] in ("of", "the", "these", "those")

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
        for kind in BEFORE_LINKS:
            if kind in tag:
                return kind, tag.readings[kind]
        for thing in tag.readings.get("thing", ()):
            if thing.has is not None:
                return "needs", thing.has
        if "degree" in tag and self._claims_nearby(tag):
            return "degree", tag.readings["degree"]
        if "quality" in tag and (wrong := self._linker.right_behind(place)) is not None:
            return "unknown", self._tags[wrong].text  # "a fast pitch"
        if "alone" in tag and self._linker.is_said_of_another(place):
            return "unknown", None  # "the eyes are blue"
        alone = tag.readings.get("alone")
        if alone and not self._linker.is_feeling(place):
            return "needs", alone
        if "thing" in tag:
            thing = tag.readings["thing"][0]
            return ("actions" if thing.actions else "thing"), thing
        if "number" in tag and "glue" in tag:
            return "glue", None
        if self._is_ordinal(place):
            return "glue", None
        for kind in AFTER_LINKS:
            if kind in tag and not (kind == "forbidden" and "emotion" in tag):
                return kind, tag.readings[kind]
        is_plain = "quality" in tag and all(word in self._grammar.glue for word in tag.text.split())
        return ("glue" if is_plain else "unknown"), None

    def _is_ordinal(self, place: int) -> bool:
        """``the first thing`` is no order in time; beside a quotation it may be one."""
        tags = self._tags
        quoted = any("quotationmark" in tag.text for tag in tags)
        return (
            tags[place].text in self._grammar.ordinals
            and place > 0
            and tags[place - 1].text in self._grammar.definite
            and not quoted
        )

    def _claims_nearby(self, tag: Tag) -> bool:
        """Whether there is something that the adverb could be about."""
        return any(kind in other for other in self._tags for kind in ("face", "thing", "quality"))


def _joined(found: Iterable[Found]) -> list[Found]:
    """Neighbouring unknown words are one claim."""
    result: list[Found] = []
    for item in found:
        last = result[-1] if result else None
        if last and item.kind == "unknown" == last.kind and _follows(item, last):
            result[-1] = replace(last, text=f"{last.text} {item.text}", end=item.end)
        else:
            result.append(item)
    return result


def _follows(item: Found, last: Found) -> bool:
    """Right behind it, with no comma in between."""
    return last.end == item.start and last.part == item.part
