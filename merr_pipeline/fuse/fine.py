"""The ``fine`` stage: the evidence list, the reasoning text made from it, and the proof of it."""

from __future__ import annotations

from collections.abc import Sequence

from merr_pipeline.fuse.composer import Composer
from merr_pipeline.fuse.grounds import NEEDS, READS, Grounds, label_of
from merr_pipeline.schema import FINE, Reason, Row
from merr_pipeline.settings import Settings
from merr_pipeline.stage import Identity, Stage, Work, digest, each, fail

SOURCE = "composer"


class FineStage(Stage):
    """One text per clip, by rule, checked before it is kept."""

    name = "fine"
    needs = NEEDS
    reads = READS
    schema = FINE

    def __init__(self, settings: Settings) -> None:
        self._max_words = settings.fine.max_words
        self._grounds = Grounds.load(settings.templates)
        self._composer = Composer(
            self._grounds.rules, self._grounds.phrases, self._grounds.wording, self._max_words
        )

    def identity(self) -> Identity:
        """All five templates, and the length."""
        return Identity(
            stage=self.name,
            version=6,
            tool=SOURCE,
            template=digest(self._grounds.sha256s),
            settings={"max_words": self._max_words},
        )

    def annotate(self, batch: Sequence[Work]) -> list[Row]:
        """One row per clip."""
        return each(batch, self.annotate_one)

    def annotate_one(self, work: Work) -> Row:
        """Evidence, text, proof.

        Raises:
            NotOk: skipped with ``NO_EVIDENCE`` when nothing was measured; failed with
                ``UNGROUNDED`` when the text says what the evidence does not, with the first such
                claim as detail. Both keep the evidence list, and the latter all else but the text.
        """
        items, label = self._grounds.evidence_of(work), label_of(work)
        evidence = [item.row() for item in items]
        made = self._composer.compose(items, label, work.clip.sha256)
        proof = self._grounds.checker(evidence).check(made.text, label.name)
        row: Row = {
            "evidence": evidence,
            "cues": made.cues,
            "conflicts": made.conflicts,
            "text_source": SOURCE,
            "grounding": proof.share,
        }
        if proof.ungrounded:
            first = proof.ungrounded[0]
            raise fail(Reason.UNGROUNDED, f"{first.text!r}: {first.why}", row)
        return {**row, "fine_caption": made.text}
