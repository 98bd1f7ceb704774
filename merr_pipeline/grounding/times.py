"""When, and in which order: times of the evidence, and the order of what was said.

All facial actions of an evidence list belong to one moment, so an order among them is in none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product

from merr_pipeline.grounding.claims import Claim
from merr_pipeline.grounding.clause import Clause, Found
from merr_pipeline.grounding.lexicon import Lexicon, Words
from merr_pipeline.grounding.tagging import Tag, patterns_of, words_of
from merr_pipeline.grounding.view import EvidenceView

_NOTE = 30  # letters: a note at the beginning of a transcript
_NOTED = r"[(\["  # in an expression that looks for a note: "(laughs)"
NO_ORDER = "an order in time that is in no evidence"


@dataclass(frozen=True)
class Times:
    """Judges the times of one text."""

    view: EvidenceView
    lexicon: Lexicon

    @cached_property
    def _said(self) -> str:
        return f" {' '.join(words_of(self.view.said))} "

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

    def is_repeated(self, quotation: str) -> bool:
        """Whether these words were said more than once."""
        words = " ".join(words_of(quotation))
        return bool(words) and len(re.findall(rf"(?<= ){re.escape(words)}(?= )", self._said)) > 1

    def wrong(
        self, clause: Clause, quotes: Sequence[str], claims: Sequence[Claim]
    ) -> Iterator[Claim]:
        """Claims for the times and orders of a clause that are wrong."""
        if clause.has("time") and (why := self._wrong_time(clause, claims)):
            yield Claim(clause.of("time")[0].text, "time", why=why)
        for item in clause.of("order"):
            if not self._is_right(item, clause, quotes, claims):
                yield Claim(item.text, "order", why=NO_ORDER)

    def _wrong_time(self, clause: Clause, claims: Sequence[Claim]) -> str:
        compared = self.lexicon.earlier | self.lexicon.later
        if any(item.text in compared for item in clause.of("order")):
            return ""  # it is compared with another
        ids = {one for item in clause.of("time") for one in item.meaning}
        there = {row["modality"] for row in self.view.rows if row["id"] in ids}
        named = {one for claim in claims if claim.kind != "time" for one in claim.evidence_ids}
        wanted = {row["modality"] for row in self.view.rows if row["id"] in named}
        if clause.is_of_speech and not wanted:
            wanted = {"words"}
        timed = wanted & {"face", "words"}
        return "" if not timed or timed & there else "this is the time of something else"

    def _is_right(
        self, item: Found, clause: Clause, quotes: Sequence[str], claims: Sequence[Claim]
    ) -> bool:
        is_earlier, is_later = item.text in self.lexicon.earlier, item.text in self.lexicon.later
        if (is_earlier or is_later) and len(moments := self._moments(item, clause)) == 2:
            return moments[0] < moments[1] if is_earlier else moments[0] > moments[1]
        ids = {one for claim in claims for one in claim.evidence_ids}
        modalities = {row["modality"] for row in self.view.rows if row["id"] in ids}
        if self._is_one_of(item.text, self.lexicon.among_words) and "voice" in modalities:
            return True
        if "face" in modalities:
            return False
        if self.view.seen and self._is_seen(item.text):
            return True
        if self._is_retold(item.text):
            return True
        return clause.is_of_speech and self._quotes_agree(clause, quotes)

    def _is_retold(self, text: str) -> bool:
        """Another word for the order that a described scene has: "in the end" of its last part."""
        seen = f" {' '.join(words_of(self.view.seen))} "
        return any(
            self._is_one_of(text, sayings) and any(f" {other} " in seen for other in _said(sayings))
            for sayings in (self.lexicon.start, self.lexicon.finish)
        )

    def _is_seen(self, text: str) -> bool:
        return f" {text} " in f" {' '.join(words_of(self.view.seen))} "

    def _moments(self, item: Found, clause: Clause) -> list[float]:
        """The times of what stands before and behind an order, as far as they are known."""
        timed = [(one.start, self._time(one)) for one in clause.of("time")]
        sides = (
            [time for start, time in timed if start < item.start],
            [time for start, time in timed if start >= item.end],
        )
        spoken = [[self._time_of_tags(tags)] for tags in self._sides(item, clause)]
        both = [(side or other)[-1] for side, other in zip(sides, spoken, strict=True)]
        return [time for time in both if time is not None]

    def _sides(self, item: Found, clause: Clause) -> tuple[list[Tag], list[Tag]]:
        before = [tag for tag in clause.tags if tag.start < item.start]
        return before, [tag for tag in clause.tags if tag.start >= item.end]

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

    def _quotes_agree(self, clause: Clause, quotes: Sequence[str]) -> bool:
        """What was said first must be quoted as first, and what was said last as last."""
        places = [place for quote in quotes if (place := self.place_of(quote))]
        if not places:
            return bool(self.view.words) and not self._comes_too_late(clause)
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

    def _comes_too_late(self, clause: Clause) -> bool:
        """Whether what is noted at the very beginning, as a laugh, is said to come afterwards."""
        notes = [
            item.meaning.text
            for item in clause.of("needs")
            if _NOTED in (item.meaning.text or "") and not item.negated
        ]
        first = any(re.search(note, f'transcript (): "{self.view.said[:_NOTE]}') for note in notes)
        late = self.lexicon.later | _said(self.lexicon.finish)
        return first and any(item.text in late for item in clause.of("order"))

    @staticmethod
    def _is_one_of(text: str, sayings: Words) -> bool:
        return text in _said(sayings)


@cache
def _said(sayings: Words) -> frozenset[str]:
    """All ways of saying these, with and without "the"."""
    patterns = (one for saying in sayings for one in patterns_of(saying, "order", None))
    said = {" ".join(words) for one in patterns for words in product(*one.words)}
    return frozenset(
        said | {re.sub(r"^(at|in|towards|toward|by|from|to) ", r"\1 the ", one) for one in said}
    )
