"""The ``fine`` stage: the evidence list, the reasoning text made from it, and the proof of it."""

from __future__ import annotations

from collections.abc import Sequence

from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.emotion.rules import load_rules
from merr_pipeline.fuse.check import check_text
from merr_pipeline.fuse.composer import Composer
from merr_pipeline.fuse.draft import Label
from merr_pipeline.fuse.evidence import collect_evidence
from merr_pipeline.fuse.lexicon import load_lexicon
from merr_pipeline.fuse.phrases import load_au_phrases
from merr_pipeline.fuse.wording import load_fine_text
from merr_pipeline.schema import FINE, Reason, Row
from merr_pipeline.settings import Settings
from merr_pipeline.stage import Identity, Stage, Work, digest, each, fail, skip

SOURCE = "composer"


class FineStage(Stage):
    """One text per clip, by rule, checked before it is kept."""

    name = "fine"
    needs = ("probe", "voice", "transcript", "face", "moment", "tone", "scene", "label")
    schema = FINE

    def __init__(self, settings: Settings) -> None:
        folder, self._settings = settings.templates, settings.fine
        table = load_action_units(folder)
        self._rules = load_rules(table, folder)
        self._wording = load_fine_text(folder)
        self._lexicon = load_lexicon(table, folder)
        phrases = load_au_phrases(table, folder)
        self._composer = Composer(self._rules, phrases, self._wording, settings.fine.max_words)
        self._templates = digest(
            [
                *(table.sha256, self._rules.sha256, self._wording.sha256),
                *(self._lexicon.sha256, phrases.sha256),
            ]
        )

    def identity(self) -> Identity:
        """All five templates, and the length."""
        return Identity(
            stage=self.name,
            version=3,
            tool=SOURCE,
            template=self._templates,
            settings=self._settings.model_dump(mode="json"),
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
        items = collect_evidence(work.seen, self._rules, self._wording)
        evidence = [item.row() for item in items]
        if all(row["modality"] == "missing" for row in evidence):
            raise skip(Reason.NO_EVIDENCE, payload={"evidence": evidence})
        label = Label(None, None)
        if work.ok("label"):
            label = Label(work.seen["label"]["label"], work.seen["label"]["label_source"])
        made = self._composer.compose(items, label, work.clip.sha256)
        proof = check_text(made.text, evidence, label.name, self._lexicon, self._rules)
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
