"""Of whom or what an emotion is said: ``angry eyes``, ``there is joy in the voice``.

What is said of a face, a voice or words is how they bear on the emotion, as much as where they
"point to" it, and needs a clue of that kind. What is said of the person needs any clue, or a doubt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from merr_pipeline.grounding.bearing import DOUBTFUL, Bearings, Way
from merr_pipeline.grounding.claims import Claim
from merr_pipeline.grounding.clause import Clause, Found
from merr_pipeline.grounding.entries import Grammar, Thing
from merr_pipeline.grounding.tagging import Tag
from merr_pipeline.grounding.view import EvidenceView, is_unsure
from merr_pipeline.schema import Row

RELATING = {"relation", "cautious", "conclusion", "statement"}
PASSED = {"glue", "degree", "quality", "not", "hypothetical", "certain", "emotion", "order"}
MODALITIES = ("face", "voice", "words")


@dataclass(frozen=True)
class Bearer:
    """What is said to be, or to show, an emotion."""

    text: str
    modality: str  # face | voice | words | id; anything else bears on no emotion
    names: tuple[str, ...] = ()  # of a part of the face its Action Units, of an id itself


@dataclass(frozen=True)
class Attribution:
    """Judges what emotions are said of, by one evidence list."""

    view: EvidenceView
    bearings: Bearings
    grammar: Grammar
    label: str

    def claim(self, item: Found, clause: Clause, *, hedged: bool) -> Claim:
        """That the label, named here, may be said of what it is said of."""
        beside = _Beside(item, clause.tags, self.grammar)
        bearers = beside.bearers
        if not bearers:
            wrong = "" if hedged or beside.is_related else self._wrong_of_person()
            return Claim(item.text, "emotion", why=wrong)
        proofs = [self._proof(bearer, hedged=hedged) for bearer in bearers]
        ids = dict.fromkeys(row["id"] for rows, _ in proofs for row in rows)
        wrong = "; ".join(dict.fromkeys(why for _, why in proofs if why))
        return Claim(item.text, "emotion", () if wrong else tuple(ids), wrong)

    def _wrong_of_person(self) -> str:
        """Said without a doubt, clues must speak for it, and more of them than against it."""
        clues, against = self._clues("for"), self._clues("against")
        if not clues:
            return f"nothing that was measured supports {self.label}: it is said without a doubt"
        if len(clues) <= len(against):
            return f"{against[0]['text']} speaks against {self.label}: it is said without a doubt"
        return DOUBTFUL if all(map(is_unsure, clues)) else ""

    def _clues(self, way: Way) -> list[Row]:
        face = self.bearings.facial_clues(self.label, way)
        return face + self.bearings.vocal_clues(self.label, way)

    def _proof(self, bearer: Bearer, *, hedged: bool) -> tuple[list[Row], str]:
        """The rows that bear the emotion out, and what is wrong where none does."""
        rows = list(self._rows(bearer))
        found = self._usual(rows) if hedged else self._by_rule(rows)
        if not found:
            return [], f"no clue of {bearer.text!r} bears on {self.label}"
        return found, DOUBTFUL if not hedged and all(map(is_unsure, found)) else ""

    def _rows(self, bearer: Bearer) -> Iterator[Row]:
        for row in self.view.rows:
            if bearer.modality == "id":
                belongs = row["id"] in bearer.names
            else:
                belongs = row["modality"] == bearer.modality
            if belongs and (bearer.modality != "face" or self._is_of(row, bearer.names)):
                yield row

    def _is_of(self, row: Row, codes: Sequence[str]) -> bool:
        """Whether a row of the face is of these Action Units, or tells that all are at rest."""
        return (
            not codes
            or row is self.view.still
            or any(self.view.units.get(code) is row for code in codes)
        )

    def _by_rule(self, rows: Sequence[Row]) -> list[Row]:
        clues = self._clues("for")
        return [row for row in rows if row in clues]

    def _usual(self, rows: Sequence[Row]) -> list[Row]:
        """What goes with the emotion, where it outweighs what does not."""
        goes = [(row, self.bearings.goes_with(row, self.label)) for row in rows]
        agreeing = [row for row, does in goes if does]
        contrary = [row for row, does in goes if does is False]
        return agreeing if len(agreeing) > len(contrary) else []


class _Beside:
    """What stands on both sides of an emotion, as far as nothing telling is in between."""

    def __init__(self, item: Found, tags: Sequence[Tag], grammar: Grammar) -> None:
        self._tags, self._grammar = tags, grammar
        here = next(n for n, tag in enumerate(tags) if tag.start <= item.anchor < tag.end)
        self.is_related = False  # it is what clues are said to bear on, or not to
        before = self._walk(range(here - 1, -1, -1), here)
        behind = self._walk(range(here + 1, len(tags)), here)
        self.bearers = [*before, *behind]

    def _walk(self, places: Iterable[int], here: int) -> list[Bearer]:
        """The nearest things that can bear an emotion, and what is joined to them."""
        found: list[Bearer] = []
        joined = False
        for place in places:
            tag = self._tags[place]
            is_far = tag.part != self._tags[here].part
            if is_far and (found or place > here or not self._is_fronted(tag.part)):
                break
            if RELATING & set(tag.readings):
                self.is_related = self.is_related or not (found or joined)
                break
            joined = joined or tag.text in self._grammar.coordinating
            if (bearer := bearer_of(tag)) is not None:
                found.append(bearer)
            elif not self._passes(place, joined=bool(found)):
                break
            elif place > here and joined and not found:
                break  # "is angry and the face is still"
        return found

    def _passes(self, place: int, *, joined: bool) -> bool:
        tag = self._tags[place]
        if joined:
            return tag.text in self._grammar.joining or bool(
                {"quality", "degree"} & set(tag.readings)
            )
        return bool(PASSED & set(tag.readings)) and not self._is_person(place)

    def _is_person(self, place: int) -> bool:
        """Who an emotion is said of; in ``the face of the person`` that is the face."""
        before = [tag.text for tag in self._tags[max(0, place - 2) : place]]
        return bool(set(self._tags[place].text.split()) & self._grammar.people) and (
            "of" not in before
        )

    def _is_fronted(self, part: int) -> bool:
        """``in the voice, there is anger``: the part before the comma has no more than a thing."""
        places = [place for place, tag in enumerate(self._tags) if tag.part == part]
        return all(
            bearer_of(self._tags[place]) or self._passes(place, joined=False) for place in places
        )


def bearer_of(tag: Tag) -> Bearer | None:
    """What these words name that can be said to show an emotion; None if nothing."""
    if "id" in tag:
        return Bearer(tag.text, "id", tag.readings["id"])
    if "bearer" in tag:
        return Bearer(tag.text, tag.readings["bearer"])
    if "face" in tag:
        return Bearer(tag.text, "face", tag.readings["face"])
    found = (_bearer_of_thing(tag.text, thing) for thing in tag.readings.get("thing", ()))
    return next((one for one in found if one), None)


def _bearer_of_thing(text: str, thing: Thing) -> Bearer | None:
    codes = thing.units or (thing.has.codes if thing.has else ())
    if codes or thing.actions:
        return Bearer(text, "face", codes)
    if thing.modality in MODALITIES:
        return Bearer(text, str(thing.modality))
    return Bearer(text, "words") if thing.speech else None
