"""What a model's answer about a clip is worth: the row that it makes, or what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from merr_pipeline.fuse.draft import Label
from merr_pipeline.fuse.evidence import Item
from merr_pipeline.fuse.form import faults_of_form
from merr_pipeline.fuse.grounds import Grounds
from merr_pipeline.fuse.reasoned import Cue, Reasoned
from merr_pipeline.grounding.check import Checker, Claim
from merr_pipeline.schema import Reason, Row
from merr_pipeline.stage import NotOk, fail

BLIND, TOLD = "llm_blind", "llm_told"
MOST_CLAIMS = 6  # told of one text
WHO = {"gender", "age", "relation", "profession", "identity", "ethnic identity"}
"""Kinds of claims that say who somebody is; no open label may."""


@dataclass(frozen=True)
class Case:
    """One clip as it is put to a model.

    ``given`` is the label that the model is told, if any: the text is then about that label, and
    what the model itself concludes is only recorded.
    """

    grounds: Grounds
    items: Sequence[Item]
    label: Label
    given: str | None

    @cached_property
    def evidence(self) -> list[Row]:
        """As the dataset holds it."""
        return [item.row() for item in self.items]

    @cached_property
    def checker(self) -> Checker:
        """Of that evidence."""
        return self.grounds.checker(self.evidence)

    def about(self, llm_label: str) -> str:
        """The label that the text is about."""
        return self.given or llm_label

    def agrees(self, llm_label: str) -> bool | None:
        """Whether it is the clip's label; null where that is undecided."""
        return None if self.label.name is None else llm_label == self.label.name


def label_of_text(row: Row) -> str | None:
    """The label that a record's fine text is about: the model's own where it was asked blind."""
    label: str | None = row["llm_label"] if row["text_source"] == BLIND else row["label"]
    return label


def refusal_of(case: Case, answer: Reasoned, max_words: int) -> NotOk | None:
    """Why the text of an answer cannot be kept; None where it can.

    A text with a claim that no evidence shows, or that tells of none, or a cue of evidence that
    there is not, is ``ungrounded``; one that has only the wrong form is ``answer_invalid``. The
    text is kept as ``rejected_text``, and with it all else of the answer.
    """
    label = case.about(answer.label)
    proof = case.checker.check(answer.text, label)
    names = {label, case.grounds.wording.emotion(label).removeprefix("a ").strip('"')}
    untrue = [*_unknown_ids(case, answer), *_claims(proof.ungrounded)]
    if not proof.rests_on_evidence:
        untrue.append("the text says nothing of the evidence: tell what face, voice or words show")
    faults = [*untrue, *faults_of_form(answer.text, max_words, names)]
    if not faults:
        return None
    share = proof.share if proof.rests_on_evidence else 0.0
    row = row_of(case, answer) | {"grounding": share, "fine_caption": None}
    reason = Reason.UNGROUNDED if untrue else Reason.ANSWER_INVALID
    return fail(reason, "; ".join(faults), {**row, "rejected_text": answer.text})


def row_of(case: Case, answer: Reasoned) -> Row:
    """The row of an answer whose text can be kept.

    A reading or conflict that is not grounded is left out, with a flag, and so is an open label
    that says who somebody is, or is no word for a feeling as far as can be told.
    """
    label, ids = case.about(answer.label), {row["id"] for row in case.evidence}
    conflicts = [said for said in answer.conflicts if said and _holds(said, case, label)]
    cues = [_cue(cue, case, label) for cue in answer.cues if cue.evidence_id in ids]
    open_labels = [word for word in answer.open_labels if _may_be_a_feeling(word, case)]
    flags = {
        "open_labels_left_out": len(open_labels) < len(answer.open_labels),
        "ungrounded_readings": any(cue["reading"] is None for cue in cues),
        "ungrounded_conflicts": len(conflicts) < len(answer.conflicts),
    }
    return {
        "evidence": case.evidence,
        "cues": cues,
        "conflicts": conflicts,
        "fine_caption": answer.text,
        "text_source": BLIND if case.given is None else TOLD,
        "grounding": 1.0,
        "llm_label": answer.label,
        "llm_confidence": answer.confidence,
        "llm_agrees": case.agrees(answer.label),
        "open_labels": open_labels,
        "flags": [name for name, is_set in flags.items() if is_set],
    }


def _may_be_a_feeling(word: str, case: Case) -> bool:
    """No word for who somebody is, and not several words of which none is known (a name)."""
    claims = case.checker.check(f"{word}.", None).claims
    kinds = {claim.kind for claim in claims}
    is_plain = re.fullmatch(r"[^\W\d_]+(?:[ '-][^\W\d_]+)*", word) is not None
    return is_plain and not kinds & WHO and (" " not in word or kinds != {"unknown"})


def _unknown_ids(case: Case, answer: Reasoned) -> Iterator[str]:
    known = {row["id"] for row in case.evidence}
    cued = dict.fromkeys(cue.evidence_id for cue in answer.cues)
    if unknown := [name for name in cued if name not in known]:
        yield f"cues: {', '.join(unknown)} not in the evidence list"


def _claims(ungrounded: Sequence[Claim]) -> Iterator[str]:
    """As the model is told of them, that it may mend the text."""
    for claim in ungrounded[:MOST_CLAIMS]:
        yield f"{claim.text!r}: {claim.why}"
    if more := len(ungrounded[MOST_CLAIMS:]):
        yield f"and {more} more claims that no evidence shows"


def _cue(cue: Cue, case: Case, label: str) -> Row:
    """A reading is a claim of what its evidence means: by itself, or with the evidence's number.

    By itself it must tell something of the evidence; else it would hold of any.
    """
    said = cue.reading.rstrip(".")
    alone = case.checker.check(f"{said}.", label)
    held = alone.rests_on_evidence and not alone.ungrounded
    held = held or _holds(f"{cue.evidence_id} {said}.", case, label)
    return {"evidence_id": cue.evidence_id, "reading": cue.reading if held else None}


def _holds(said: str, case: Case, label: str) -> bool:
    return not case.checker.check(said, label).ungrounded
