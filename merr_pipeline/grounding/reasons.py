"""Why an emotion is there, or is read there: ``because``, ``caused by``, ``angry with somebody``.

What brings an emotion about is in no evidence. What it is read from may follow a ``because``: a
face, a voice, words that are quoted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from merr_pipeline.grounding.attribution import bearer_of
from merr_pipeline.grounding.claims import Claim
from merr_pipeline.grounding.clause import Clause, Found
from merr_pipeline.grounding.lexicon import Lexicon
from merr_pipeline.grounding.retelling import Proven
from merr_pipeline.grounding.tagging import Tag
from merr_pipeline.grounding.view import EvidenceView

MEASURED = ("face", "voice")
UNKNOWN = "why somebody feels so is in no evidence"


@dataclass(frozen=True)
class Reasons:
    """Judges the reasons in a sentence that names an emotion, by one evidence list."""

    view: EvidenceView
    lexicon: Lexicon

    def wrong(
        self, clause: Clause, proven: Sequence[Proven], *, of_emotion: bool
    ) -> Iterator[Claim]:
        """Claims for what is said to be the reason, and is no clue."""
        for item in clause.of("cause"):
            if of_emotion or not self.lexicon.glue_words.issuperset(item.text.split()):
                yield Claim(item.text, "cause", why=UNKNOWN)
        for item in clause.of("emotion"):
            if about := self._about(item, clause):
                yield Claim(f"{item.text} {about}", "cause", why=UNKNOWN)
        for tag in clause.tags if of_emotion else ():
            if "reason" in tag and self._invents(tag, clause, proven):
                yield Claim(tag.text, "cause", why="what stands behind it is no clue for it")

    def _about(self, item: Found, clause: Clause) -> str:
        """Whom or what an emotion is about: ``angry with somebody``; empty if nothing."""
        behind = [tag for tag in clause.tags if tag.start >= item.end]
        if not behind or behind[0].text not in self.lexicon.grammar.about:
            return ""
        named = [tag for tag in behind[1:] if tag.text not in self.lexicon.skipped][:1]
        others = self.lexicon.grammar.others
        is_about = any(one.text in others or _is_no_sign(one) for one in named)
        return f"{behind[0].text} {named[0].text}" if is_about else ""

    def _invents(self, tag: Tag, clause: Clause, proven: Sequence[Proven]) -> bool:
        """Whether people or words stand behind it, and no face, voice or quotation."""
        behind = [one for one in clause.tags if self._is_behind(one, tag)]
        starts = {one.start for one in behind}
        named = {
            i
            for item, claim in proven
            if item.start in starts and claim
            for i in claim.evidence_ids
        }
        there = {row["modality"] for row in self.view.rows if row["id"] in named}
        is_quoted = any("quotationmark" in one.text for one in behind)
        if there & {*MEASURED} or is_quoted or any(map(_is_measured, behind)):
            return False
        people = self.lexicon.grammar.people | self.lexicon.grammar.others
        words = {word for one in behind for word in one.text.split()}
        return bool(there or words & people) or any(map(_is_no_sign, behind))

    @staticmethod
    def _is_behind(tag: Tag, reason: Tag) -> bool:
        """Up to the comma where the reason comes first: "because of the smile, joy is likely"."""
        return tag.start >= reason.end and (reason.start > 0 or tag.part == reason.part)


def _is_measured(tag: Tag) -> bool:
    bearer = bearer_of(tag)
    return bearer is not None and bearer.modality in (*MEASURED, "id")


def _is_no_sign(tag: Tag) -> bool:
    """Whether it names words, or what bears on no emotion."""
    bearer = bearer_of(tag)
    return bearer is not None and bearer.modality in ("words", "nothing")
