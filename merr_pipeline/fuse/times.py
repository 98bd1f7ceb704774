"""When, and in which order: times of the evidence, and the order of what was said.

All facial actions of an evidence list belong to one moment, so an order among them is in none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from merr_pipeline.fuse.claims import Claim
from merr_pipeline.fuse.lexicon import Lexicon
from merr_pipeline.fuse.linking import Clause, Found
from merr_pipeline.fuse.tagging import patterns_of, words_of
from merr_pipeline.fuse.view import EvidenceView

NO_ORDER = "an order in time that is in no evidence"


@dataclass(frozen=True)
class Times:
    """Judges the times of one text."""

    view: EvidenceView
    lexicon: Lexicon

    @cached_property
    def _said(self) -> str:
        return f" {' '.join(words_of(self.view.said))} "

    def place_of(self, quotation: str) -> tuple[int, int] | None:
        """Where these words begin and end in what was said; None if they do not agree."""
        words = " ".join(words_of(quotation))
        wanted = f" {words}" if quotation.endswith("...") else f" {words} "  # cut, maybe in a word
        start = self._said.find(wanted) if words else -1
        return (start, start + len(wanted)) if start >= 0 else None

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
        if len(clause.of("time")) > 1:
            return self._times_agree(item, clause)
        ids = {one for claim in claims for one in claim.evidence_ids}
        modalities = {row["modality"] for row in self.view.rows if row["id"] in ids}
        if self._is_one_of(item.text, self.lexicon.among_words) and "voice" in modalities:
            return True
        if "face" in modalities:
            return False
        if self.view.seen and self._is_seen(item.text):
            return True
        return clause.is_of_speech and self._quotes_agree(clause, quotes)

    def _is_seen(self, text: str) -> bool:
        return f" {text} " in f" {' '.join(words_of(self.view.seen))} "

    def _times_agree(self, item: Found, clause: Clause) -> bool:
        """``at 0.8 s, well before ... at 2.1 s``."""
        times = [self._time(one) for one in clause.of("time")]
        if None in times or item.text not in ("before", "after"):
            return False
        first, last = times[0] or 0.0, times[-1] or 0.0
        return first < last if item.text == "before" else first > last

    def _time(self, item: Found) -> float | None:
        return next((row["time_s"] for row in self.view.rows if row["id"] in item.meaning), None)

    def _quotes_agree(self, clause: Clause, quotes: Sequence[str]) -> bool:
        """What was said first must be quoted as first, and what was said last as last."""
        places = [place for quote in quotes if (place := self.place_of(quote))]
        if not places:
            return bool(self.view.words)
        starts = [start for start, _ in places]
        if starts != sorted(starts, reverse=any(o.text == "after" for o in clause.of("order"))):
            return False
        texts = [item.text for item in clause.of("order")]
        first = any(self._is_one_of(text, self.lexicon.start) for text in texts)
        last = any(self._is_one_of(text, self.lexicon.finish) for text in texts)
        if len(places) > 1:
            return True
        return (not first or starts[0] == 0) and (not last or places[-1][1] == len(self._said))

    def _is_one_of(self, text: str, sayings: Sequence[str]) -> bool:
        patterns = (one for saying in sayings for one in patterns_of(saying, "order", None))
        return any(
            re.fullmatch(
                " (?:the )?".join(f"(?:{'|'.join(map(re.escape, place))})" for place in one.words),
                text,
            )
            for one in patterns
        )
