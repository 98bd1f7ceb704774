"""What every text of the ``fine`` stage stands on: its templates, its evidence, its proof.

Shared by the stage that composes by rule (`fine`) and the one that asks a model (`reasoning`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.emotion.rules import Rules, load_rules
from merr_pipeline.fuse.draft import Label
from merr_pipeline.fuse.evidence import Item, collect_evidence
from merr_pipeline.fuse.phrases import AuPhrases, load_au_phrases
from merr_pipeline.fuse.wording import FineText, load_fine_text
from merr_pipeline.grounding.check import Checker
from merr_pipeline.grounding.lexicon import Lexicon, load_lexicon
from merr_pipeline.schema import Reason, Row
from merr_pipeline.stage import Work, skip

NEEDS = ("probe", "voice", "transcript", "face", "moment", "tone", "scene", "label")
READS = {
    "probe": (),
    "voice": (),
    "face": ("face_tool", "au_scale"),
    "moment": (
        *("action_units", "head_pose", "others"),
        *("peak_time_s", "peak_score", "peak_verdict", "peaks"),
    ),
}


@dataclass(frozen=True)
class Grounds:
    """The knowledge that evidence is collected and texts are checked with."""

    rules: Rules
    wording: FineText
    lexicon: Lexicon
    phrases: AuPhrases

    @classmethod
    def load(cls, templates: Path | None) -> Grounds:
        """Read the five templates from the user's folder, else the shipped one.

        Raises:
            MerrError: one is missing, or says something that cannot be.
        """
        table = load_action_units(templates)
        return cls(
            rules=load_rules(table, templates),
            wording=load_fine_text(templates),
            lexicon=load_lexicon(table, templates),
            phrases=load_au_phrases(table, templates),
        )

    @property
    def sha256s(self) -> list[str]:
        """The content hashes of the templates."""
        files = (self.rules.table, self.rules, self.wording, self.lexicon, self.phrases)
        return [file.sha256 for file in files]

    def evidence_of(self, work: Work) -> list[Item]:
        """The evidence of a clip.

        Raises:
            NotOk: skipped with ``NO_EVIDENCE`` when nothing was measured; what is missing is kept.
        """
        items = collect_evidence(work.seen, self.rules, self.wording)
        if all(item.modality == "missing" for item in items):
            raise skip(Reason.NO_EVIDENCE, payload={"evidence": [item.row() for item in items]})
        return items

    def checker(self, evidence: Sequence[Row]) -> Checker:
        """Finds every claim of a text about a clip, with its proof or what is wrong with it."""
        return Checker(evidence, self.lexicon, self.rules)


def label_of(work: Work) -> Label:
    """What the label stage decided for a clip."""
    if not work.ok("label"):
        return Label(None, None)
    row = work.seen["label"]
    return Label(row["label"], row["label_source"])
