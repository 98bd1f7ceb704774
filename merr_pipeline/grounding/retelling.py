"""Words of the transcript and of a described scene, used in the text's own grammar."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from merr_pipeline.grounding.claims import Claim
from merr_pipeline.grounding.clause import Clause, Found
from merr_pipeline.grounding.lexicon import Lexicon
from merr_pipeline.grounding.tagging import words_of
from merr_pipeline.grounding.told import Sentence, sentences_of
from merr_pipeline.grounding.view import EvidenceView

Proven = tuple[Found, Claim | None]
OF_SCENE = {
    "statement",
    "unknown",
    "number",
    "content",
    "needs",
    "face",
    "emotion",
    "forbidden",
    "not",
    "count",
    "thing",
}
OF_SPEECH = OF_SCENE - {"face"}
_BEHOLDERS = {"camera", "lens", "viewer"}  # of "faces the camera" a face alone proves nothing
_SHORT = 3  # letters; shorter words are in any sentence
NEVER_TOLD = ("gender",)  # "his coat" may be quoted; "his voice" is the text's own claim


@dataclass(frozen=True)
class Retelling:
    """Proves words by what was said and by what a model saw."""

    view: EvidenceView
    lexicon: Lexicon

    @cached_property
    def _said(self) -> list[Sentence]:
        row, thesaurus = self.view.words, self.lexicon.thesaurus
        return sentences_of(self.view.said, row, thesaurus) if row else []

    @cached_property
    def _noted(self) -> list[Sentence]:
        """What a transcript notes beside the words: ``[soft piano music]``."""
        row, thesaurus = self.view.words, self.lexicon.thesaurus
        notes = re.findall(r"[(\[]([^)\]]*)[)\]]", self.view.said)
        return [one for note in notes for one in sentences_of(note, row, thesaurus)] if row else []

    @cached_property
    def _seen(self) -> list[Sentence]:
        """Of the whole scene and of each of its parts; each proves its own sentences."""
        thesaurus = self.lexicon.thesaurus
        return [one for row, seen in self.view.scenes for one in sentences_of(seen, row, thesaurus)]

    def anything(self, clauses: Sequence[Clause]) -> list[Claim]:
        """What a sentence tells that has no word but such as claim nothing elsewhere."""
        for clause in clauses:
            words = [tag.text for tag in clause.tags if len(tag.text) > _SHORT]
            for sentence in self._said if clause.is_of_speech else []:
                if told := [one for one in words if sentence.tells(one, self.lexicon.thesaurus)]:
                    return [Claim(told[0], "told", (sentence.row["id"],))]
        return []

    def is_told(self, item: Found, clause: Clause) -> bool:
        """Whether it is of what was said or seen."""
        return self._sentence_for(item, clause) is not None

    def mended(self, clause: Clause, proven: Sequence[Proven]) -> list[Proven]:
        """Claims that nothing measured proves, but what was said, or a scene as it was seen."""
        open_ones = [
            (item, claim)
            for item, claim in proven
            if claim is not None
            and claim.why
            and item.kind in OF_SCENE
            and item.meaning not in NEVER_TOLD
        ]
        if not open_ones or not (self._said or self._seen):
            return list(proven)
        told = {
            id(item): sentence
            for item, _ in open_ones
            if (sentence := self._sentence_for(item, clause)) is not None
        }
        return [(item, self._as_told(item, claim, told.get(id(item)))) for item, claim in proven]

    def _as_told(self, item: Found, claim: Claim | None, told: Sentence | None) -> Claim | None:
        if told is None or claim is None:
            return claim
        return Claim(item.text, "told", (told.row["id"],))

    def _sentence_for(self, item: Found, clause: Clause) -> Sentence | None:
        silent = (self.lexicon.glue_words | set(self.lexicon.negations)) - _BEHOLDERS
        words = [word for word in words_of(item.text) if word not in silent]
        whole = [word for word in words_of(item.text) if word not in self.lexicon.skipped]
        phrases = [" ".join(whole)] if item.kind == "content" else words or whole
        if item.kind == "not":
            return self._denial(item, clause)
        if item.kind == "needs" and (item.meaning.text or "").startswith("^transcript"):
            return None  # "nobody laughs"
        for sentence in self._sentences(item, clause):
            if item.negated and not sentence.denies:
                continue
            if all(sentence.tells(phrase, self.lexicon.thesaurus) for phrase in phrases):
                return sentence
        return None

    def _sentences(self, item: Found, clause: Clause) -> list[Sentence]:
        said = self._said if clause.is_of_speech and item.kind in OF_SPEECH else []
        return [*said, *self._noted, *self._seen]

    def _denial(self, item: Found, clause: Clause) -> Sentence | None:
        """A "not" that denies what was said not to be: the next word must be of that sentence."""
        behind = [t.text for t in clause.tags if t.start >= item.end and len(t.text) > _SHORT]
        for sentence in self._sentences(item, clause):
            if sentence.denies and any(
                sentence.tells(text, self.lexicon.thesaurus) for text in behind[:2]
            ):
                return sentence
        return None
