"""When, and in which order: times of the evidence, and the order of what was said.

All facial actions of an evidence list belong to one moment, so an order among them is in none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from merr_pipeline.grounding.claims import Claim
from merr_pipeline.grounding.clause import Clause, Found
from merr_pipeline.grounding.lexicon import Lexicon, Words
from merr_pipeline.grounding.said_order import SaidOrder, ways_of
from merr_pipeline.grounding.tagging import Tag, words_of
from merr_pipeline.grounding.view import EvidenceView

NO_DURATION = "a duration that is in no evidence"
_OF_SENTENCES = {"sentence", "statement", "question"}  # "in the last sentence"
NOT_THEN = "this is the time of something else"
NO_ORDER = "an order in time that is in no evidence"


@dataclass(frozen=True)
class Times:
    """Judges the times of one text."""

    view: EvidenceView
    lexicon: Lexicon
    spoken: SaidOrder

    @cached_property
    def _said(self) -> str:
        return f" {' '.join(words_of(self.view.said))} "

    @cached_property
    def _seen(self) -> list[str]:
        """The words of each description of the scene."""
        return [f" {' '.join(words_of(seen))} " for _, seen in self.view.scenes]

    @cached_property
    def _begin(self) -> int:
        """Where the words begin, behind a note such as "(laughs)"."""
        note = re.match(r"(?:\s*[(\[][^)\]]*[)\]])*", self.view.said)
        return len("".join(f" {word}" for word in words_of(note[0] if note else "")))

    def place_of(self, quotation: str) -> tuple[int, int] | None:
        """Where these words begin and end in what was said; None if they do not agree."""
        words = " ".join(words_of(quotation))
        wanted = f" {words}" if quotation.endswith("...") else f" {words} "  # cut, maybe in a word
        start = self._said.find(wanted) if words else -1
        return (start, start + len(wanted)) if start >= 0 else None

    def times_said(self, quotation: str) -> int:
        """How often these words were said."""
        words = " ".join(words_of(quotation))
        return len(re.findall(rf"(?<= ){re.escape(words)}(?= )", self._said)) if words else 0

    def wrong(
        self, clause: Clause, quotes: Sequence[str], claims: Sequence[Claim]
    ) -> Iterator[Claim]:
        """Claims for the times and orders of a clause that are wrong."""
        if clause.has("time") and (why := self._wrong_time(clause, claims)):
            yield Claim(clause.of("time")[0].text, "time", why=why)
        if (lasting := clause.of("duration")) and len(set(self._mentioned(clause))) < 2:
            yield Claim(lasting[0].text, "time", why=NO_DURATION)
        for item in clause.of("order"):
            if not self._is_right(item, clause, quotes, claims):
                yield Claim(item.text, "order", why=NO_ORDER)

    def _wrong_time(self, clause: Clause, claims: Sequence[Claim]) -> str:
        compared = self.lexicon.earlier | self.lexicon.later
        if any(item.text in compared for item in clause.of("order")):
            return ""  # it is compared with another
        if any(map(self._is_of_something_else, self._segments(clause))):
            return NOT_THEN
        ids = {one for item in clause.of("time") for one in item.meaning}
        there = {row["modality"] for row in self.view.rows if row["id"] in ids}
        named = {one for claim in claims if claim.kind != "time" for one in claim.evidence_ids}
        wanted = {row["modality"] for row in self.view.rows if row["id"] in named}
        if clause.is_of_speech and not wanted:
            wanted = {"words"}
        timed = wanted & {"face", "words"}
        return "" if not timed or timed & there else NOT_THEN

    @staticmethod
    def _segments(clause: Clause) -> Iterator[list[Tag]]:
        """Between commas and "and" each time belongs to what stands beside it."""
        segment: list[Tag] = []
        for tag in clause.tags:
            if segment and (tag.part != segment[-1].part or tag.text in ("and", "while")):
                yield segment
                segment = []
            segment.append(tag)
        yield segment

    def _is_of_something_else(self, segment: Sequence[Tag]) -> bool:
        """Whether it names a time, and nothing but what is at another."""
        ids = {one for tag in segment if "time" in tag for one in tag.readings["time"]}
        times = {row["time_s"] for row in self.view.rows if row["id"] in ids}
        moments = {self._time_of_tags([tag]) for tag in segment} - {None}
        return bool(times and moments) and not times & moments

    def _is_right(
        self, item: Found, clause: Clause, quotes: Sequence[str], claims: Sequence[Claim]
    ) -> bool:
        is_earlier, is_later = item.text in self.lexicon.earlier, item.text in self.lexicon.later
        moments = self._moments(item, clause) if is_earlier or is_later else []
        if len(set(moments)) == 2:
            return moments[0] < moments[1] if is_earlier else moments[0] > moments[1]
        if len(mentioned := self._mentioned(clause)) > 1 and not clause.has("face"):
            return mentioned == sorted(mentioned)
        ids = {one for claim in claims for one in claim.evidence_ids}
        modalities = {row["modality"] for row in self.view.rows if row["id"] in ids}
        if self._is_one_of(item.text, self.lexicon.among_words) and "voice" in modalities:
            return True
        if "face" in modalities:
            return False
        if self._is_seen(item.text) or self._is_retold(item.text):
            return True
        return (
            clause.is_of_speech
            and self._quotes_agree(item, clause, quotes)
            and not self.spoken.disagrees(item, clause, quotes)
        )

    def _is_retold(self, text: str) -> bool:
        """Another word for the order that a described scene has: "in the end" of its last part."""
        return any(
            self._is_one_of(text, sayings) and any(map(self._is_seen, ways_of(sayings)))
            for sayings in (self.lexicon.start, self.lexicon.finish)
        )

    def _is_seen(self, text: str) -> bool:
        return any(f" {text} " in seen for seen in self._seen)

    def _moments(self, item: Found, clause: Clause) -> list[float]:
        """The times of what stands before and behind an order, as far as they are known."""
        timed = {one.start: self._time(one) for one in clause.of("time")}
        moments = []
        for tags in self._sides(item, clause):
            named = [timed[tag.start] for tag in tags if tag.start in timed]
            moments.append(named[-1] if named else self._time_of_tags(tags))
        return [time for time in moments if time is not None]

    def _mentioned(self, clause: Clause) -> list[float]:
        """The moments that are spoken of, in the order of the words."""
        times = {item.start: self._time(item) for item in clause.of("time")}
        moments = [
            times[tag.start] if tag.start in times else self._time_of_tags([tag])
            for tag in clause.tags
        ]
        known = [moment for moment in moments if moment is not None]
        return [one for place, one in enumerate(known) if known[place - 1 : place] != [one]]

    def _sides(self, item: Found, clause: Clause) -> tuple[list[Tag], list[Tag]]:
        """What stands before and behind; ``after A, B`` is ``B after A``."""
        before = [tag for tag in clause.tags if tag.start < item.start]
        behind = [tag for tag in clause.tags if tag.start >= item.end]
        parts = [tag.part for tag in behind]
        if all("duration" in tag or "degree" in tag for tag in before) and len(set(parts)) > 1:
            return (
                [tag for tag in behind if tag.part > parts[0]],
                [tag for tag in behind if tag.part == parts[0]],
            )
        return before, behind

    def _time_of_tags(self, tags: Sequence[Tag]) -> float | None:
        """When the words begin, or when the face is at its most expressive."""
        for tag in tags:
            if any(thing.speech for thing in tag.readings.get("thing", ())):
                return self.view.words["time_s"] if self.view.words else None
            needs = tag.readings["statement"].needs if "statement" in tag else None
            if needs and "expressive" in needs:
                return self.view.peak["time_s"] if self.view.peak else None
        return None

    def _time(self, item: Found) -> float | None:
        return next((row["time_s"] for row in self.view.rows if row["id"] in item.meaning), None)

    def _quotes_agree(self, item: Found, clause: Clause, quotes: Sequence[str]) -> bool:
        """What was said first must be quoted as first, and what was said last as last."""
        places = [place for quote in quotes if (place := self.place_of(quote))]
        if not places:
            return bool(self.view.words)
        if len(places) == 1 and _OF_SENTENCES & set(item.text.split()):
            first = self._is_one_of(item.text, self.lexicon.start)
            return self.spoken.is_in_sentence(quotes[0], first=first)
        if len(clause.of("order")) > 1 and len(places) == len(quotes) == 1:
            return self._is_not_beside(item, clause) or self._is_at(item, places[0])
        starts = [start for start, _ in places]
        if starts != sorted(starts, reverse=any(o.text == "after" for o in clause.of("order"))):
            return False
        texts = [item.text for item in clause.of("order")]
        first = any(self._is_one_of(text, self.lexicon.start) for text in texts)
        last = any(self._is_one_of(text, self.lexicon.finish) for text in texts)
        if len(places) > 1:
            return True
        return (not first or starts[0] <= self._begin) and (
            not last or places[-1][1] == len(self._said)
        )

    def _is_at(self, item: Found, place: tuple[int, int]) -> bool:
        """Whether what is quoted stands first, or last, where the order says so."""
        if self._is_one_of(item.text, self.lexicon.start):
            return place[0] <= self._begin
        return not self._is_one_of(item.text, self.lexicon.finish) or place[1] == len(self._said)

    def _is_not_beside(self, item: Found, clause: Clause) -> bool:
        """Whether another order stands between this one and the only quotation."""
        [mark] = [tag.start for tag in clause.tags if "quotationmark" in tag.text][:1]
        low, high = sorted((mark, item.start))
        return any(low < one.start < high for one in clause.of("order"))

    @staticmethod
    def _is_one_of(text: str, sayings: Words) -> bool:
        return text in ways_of(sayings)
