"""Which quality is said of which thing: ``the corners of the mouth have slightly sunk``.

What must be in the evidence for the two together stands in the lexicon, under the thing.
"""

from __future__ import annotations

from collections.abc import Sequence

from merr_pipeline.grounding.entries import Grammar, Needs
from merr_pipeline.grounding.tagging import Tag

FARTHEST = 5  # telling tags between a quality and its thing
NEAR = 1  # the same, for a quality that may as well be glue: "together"

_ARTICLES = ("a", "an", "the", "some", "any")


def tells(tag: Tag) -> bool:
    """Whether it is more than glue, an adverb or a quality."""
    is_thing = any(thing.does for thing in tag.readings.get("thing", ()))
    return is_thing or not ({"glue", "quality", "degree", "not"} & set(tag.readings))


def is_small(tag: Tag) -> bool:
    """An article, an adverb, a "not"."""
    return bool({"degree", "not"} & set(tag.readings)) or tag.text in _ARTICLES


def is_act(tag: Tag) -> bool:
    """Whether it says by itself what is done: a smile, a whisper."""
    things = tag.readings.get("thing", ())
    return "face" in tag or any(one.has is not None and not one.does for one in things)


class Linker:
    """Links the qualities of one clause to its things."""

    def __init__(self, tags: Sequence[Tag], grammar: Grammar) -> None:
        self._tags, self._grammar = tags, grammar

    def links(self) -> dict[int, list[tuple[int, Needs]]]:
        """For each quality, by its place: the places of its things, and what must be there."""
        links: dict[int, list[tuple[int, Needs]]] = {}
        for place, tag in enumerate(self._tags):
            is_taken = _is_already_something(tag) or self.is_feeling(place)
            if "quality" not in tag or is_taken or self._is_of_a_row(place):
                continue
            best = self._nearest_thing(place)
            if best is not None and not self._is_rather_a_degree(place, best[0]):
                links[place] = [best]
        self._add_coordinated(links)
        self._add_likened(links)
        return links

    def is_feeling(self, place: int) -> bool:
        """``may point to calm``: an emotion that is borne on, not how something is."""
        if "emotion" not in self._tags[place]:
            return False
        before = [tag for tag in self._tags[:place] if not is_small(tag)][-1:]
        return bool(before) and ("relation" in before[0] or "cautious" in before[0])

    def _nearest_thing(self, place: int) -> tuple[int, Needs] | None:
        """The thing that can be so; one that stands right behind the quality must be it."""
        qualities = self._tags[place].readings["quality"]
        right_behind = self.right_behind(place)
        farthest = NEAR if "glue" in self._tags[place] else FARTHEST
        options: list[tuple[float, int, int, Needs]] = []
        for other, tag in enumerate(self._tags):
            for thing in tag.readings.get("thing", ()) if other != place else ():
                needs = thing.needs(qualities)
                cost = -1.0 if other == right_behind else self._distance(place, other)
                if needs is not None and cost <= farthest:
                    options.append((cost, abs(place - other), other, needs))
        if not options:
            return None
        *_, other, needs = min(options, key=lambda option: option[:2])
        return None if right_behind not in (None, other) else (other, needs)

    def right_behind(self, place: int) -> int | None:
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
        between = [tag for tag in self._tags[low + 1 : high] if tells(tag)]
        parts = abs(self._tags[one].part - self._tags[other].part)
        return len(between) + parts + (0.5 if other > one else 0)

    def _is_rather_a_degree(self, place: int, thing: int) -> bool:
        """``a wide smile`` beside eyes: the nearer of the two has it."""
        if "degree" not in self._tags[place] or self.right_behind(place) == thing:
            return False
        behind = self._tags[place + 1] if place + 1 < len(self._tags) else None
        if (
            behind is not None
            and "glue" not in behind
            and (is_act(behind) or {"quality", "degree"} & set(behind.readings))
        ):
            return True
        acts = [self._distance(place, other) for other, tag in enumerate(self._tags) if is_act(tag)]
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

    def _add_likened(self, links: dict[int, list[tuple[int, Needs]]]) -> None:
        """``the brows are still, and so are the lips``: it is said of both."""
        linked = {thing for things in links.values() for thing, _ in things}
        for quality, things in links.items():
            names = self._tags[quality].readings["quality"]
            for place in self._likened_behind(max(quality, things[-1][0])):
                tag = self._tags[place]
                needs = (one.needs(names) for one in tag.readings.get("thing", ()))
                found = next((one for one in needs if one is not None), None)
                if found is not None and place not in linked:
                    things.append((place, found))
                    linked.add(place)

    def _likened_behind(self, place: int) -> Sequence[int]:
        """The places of what stands behind an "as is", up to the next comma."""
        alike = place + 1
        while alike < len(self._tags) and self._tags[alike].text in self._grammar.joining:
            alike += 1
        if alike == len(self._tags) or self._tags[alike].text not in self._grammar.alike:
            return ()
        part = self._tags[alike].part
        return [n for n in range(alike, len(self._tags)) if self._tags[n].part == part]

    def _is_of_a_row(self, place: int) -> bool:
        """``mouth corners and brows go up together``: at once, not towards each other."""
        before = self._tags[place - 1] if place else None
        is_together = self._tags[place].text == "together"
        return is_together and before is not None and "quality" in before

    def is_said_of_another(self, place: int) -> bool:
        """``the eyes are blue``: of the thing right before it, which cannot be so."""
        before = place - 1
        while before >= 0 and (
            self._tags[before].text in self._grammar.copulas or "degree" in self._tags[before]
        ):
            before -= 1
        if before < 0 or before == place - 1:
            return False
        return any(thing.does for thing in self._tags[before].readings.get("thing", ()))

    def _next_in_row(self, thing: int, step: int) -> int | None:
        joined, place = False, thing + step
        while 0 <= place < len(self._tags):
            tag = self._tags[place]
            if "thing" in tag and any(one.does for one in tag.readings["thing"]):
                return place if joined else None
            if tag.text not in self._grammar.joining:
                return None
            joined = joined or tag.text in self._grammar.coordinating
            place += step
        return None


def _is_already_something(tag: Tag) -> bool:
    return any(kind in tag for kind in ("fact", "arousal", "statement", "conclusion", "time"))
