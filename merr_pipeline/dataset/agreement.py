"""Whether those who name a clip's emotion agree: ``accept``, ``needs_review``, ``label_conflict``.

The policy is data (``agreement.yaml``, whose head explains it). `opinions_of` collects from the
rows of a clip who says what; `decide` looks up the verdict and knows nothing of rows or clips. Only
a clip without a label may get one here, and only where the policy says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from merr_pipeline.dataset.accept import DATASET_RULE, Rows
from merr_pipeline.fuse.judge import BLIND
from merr_pipeline.schema import Clip, MerrError, Reason, Refusal, Row
from merr_pipeline.stage import Identity, is_ok
from merr_pipeline.templates import load_template

TEMPLATE = "agreement.yaml"
AGREEMENT_STAGE = "agreement"
"""Its name among the stages of ``provenance``."""


Source = Literal["manifest", "au_rules", "none"]


class Verdict(StrEnum):
    """What becomes of a clip's label."""

    ACCEPT = "accept"
    NEEDS_REVIEW = "needs_review"  # in the dataset, with a flag
    LABEL_CONFLICT = "label_conflict"  # in `rejected`


class Stance(StrEnum):
    """How one voice stands to the label."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    SILENT = "silent"


@dataclass(frozen=True)
class RulesOpinion:
    """The first candidate of the Action Unit rules."""

    label: str
    score: float
    margin: float  # by which it leads; its score where there is no other
    au_scale: str


@dataclass(frozen=True)
class ModelOpinion:
    """What the language model concludes that was not told the label."""

    label: str
    confidence: float
    share: float | None = None  # of its answers for this label; None where it gave one


@dataclass(frozen=True)
class Opinions:
    """Who says what of one clip; None where somebody says nothing."""

    label: str | None
    label_source: str | None  # manifest, also of a label that its space does not have | au_rules
    au_rules: RulesOpinion | None = None
    llm_blind: ModelOpinion | None = None
    second: str | None = None

    def told(self) -> str:
        """In one line, with the numbers."""
        return "; ".join(self._parts())

    def _parts(self) -> Iterator[str]:
        yield f"label {self.label} ({self.label_source})" if self.label else "no label"
        if self.au_rules:
            yield f"au_rules {self.au_rules.label} {self.au_rules.score:.2f}"
        if self.llm_blind:
            yield f"llm_blind {self.llm_blind.label} {self.llm_blind.confidence:.2f}"
        if self.second:
            yield f"second {self.second}"


@dataclass(frozen=True)
class Decision:
    """The verdict on one clip, and the label that it gets by it where it had none."""

    verdict: Verdict
    why: str
    adopted: ModelOpinion | None = None


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HeardRules(_Entry):
    """What the Action Unit rules must show to be heard."""

    min_score: float = Field(ge=0, le=1)
    min_margin: float = Field(ge=0, le=1)
    scales: frozenset[Literal["intensity_0_5", "probability", "proxy_0_5"]]
    silent_of: frozenset[str] = frozenset()


class HeardModel(_Entry):
    """How sure the blind model must be to be heard."""

    min_confidence: float = Field(ge=0, le=1)
    min_share: float = Field(ge=0, le=1)


class Heard(_Entry):
    """When a voice counts. The second model gives no confidence and is always heard."""

    au_rules: HeardRules
    llm_blind: HeardModel


class When(_Entry):
    """What a rule fits; what is not named may be any."""

    label_from: frozenset[Source] | None = None
    au_rules: frozenset[Stance] | None = None
    llm_blind: frozenset[Stance] | None = None
    second: frozenset[Stance] | None = None
    one_other: bool = False

    def fits(self, source: str, stances: Mapping[str, Stance], others: frozenset[str]) -> bool:
        """``others`` are the labels that disagreeing voices name."""
        wanted = {name: getattr(self, name) for name in stances}
        return (
            (self.label_from is None or source in self.label_from)
            and all(wanted[name] is None or stances[name] in wanted[name] for name in stances)
            and (not self.one_other or len(others) == 1)
        )


class PolicyRule(_Entry):
    """One line of a policy."""

    when: When = When()
    verdict: Verdict
    why: str = Field(min_length=1)
    takes: Literal["llm_blind"] | None = None

    @model_validator(mode="after")
    def _takes_only_where_there_is_none(self) -> Self:
        if self.takes is None:
            return self
        heard = self.when.llm_blind == frozenset({Stance.AGREES})
        unlabelled = self.when.label_from == frozenset[Source]({"none"})
        if not unlabelled or not heard or self.verdict == Verdict.LABEL_CONFLICT:
            raise ValueError(
                "takes: llm_blind needs when.label_from [none], when.llm_blind [agrees] and a "
                "verdict that keeps the clip"
            )
        return self


class Policy(_Entry):
    """One policy of ``agreement.yaml``."""

    name: str
    sha256: str
    heard: Heard
    rules: tuple[PolicyRule, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _last_fits_everything(self) -> Self:
        if self.rules[-1].when != When():
            raise ValueError("the last rule must have no `when`, so that every clip has a verdict")
        return self

    def identity(self) -> Identity:
        """Named as the stages are, so that provenance says who gave the verdicts."""
        return Identity(
            stage=AGREEMENT_STAGE, version=1, tool=f"policy {self.name}", template=self.sha256
        )


def load_policy(name: str, templates: Path | None = None) -> Policy:
    """Read a policy from the user's templates folder, else the shipped one.

    Raises:
        MerrError: there is no such policy, or it says something that cannot be.
    """
    template = load_template(TEMPLATE, templates)
    policies = template.data["policies"]
    if name not in policies:
        raise MerrError(
            f"dataset.agreement: {name!r} is not in {TEMPLATE}.\n"
            f"It has {', '.join(policies)}; add yours there to use it."
        )
    try:
        return Policy.model_validate({"name": name, "sha256": template.sha256, **policies[name]})
    except (ValidationError, TypeError) as error:
        raise MerrError(f"template {TEMPLATE}, {name} is wrong: {error}") from error


def decide(opinions: Opinions, policy: Policy) -> Decision:
    """The verdict of the first rule that fits."""
    voices = _heard(opinions, policy.heard)
    source = opinions.label_source or "none"
    stands_for = voices["llm_blind"] if source == "none" else opinions.label
    stances = {name: _stance(said, stands_for) for name, said in voices.items()}
    others = frozenset(
        said for name, said in voices.items() if said and stances[name] == Stance.DISAGREES
    )
    rule = next(rule for rule in policy.rules if rule.when.fits(source, stances, others))
    return Decision(rule.verdict, rule.why, opinions.llm_blind if rule.takes else None)


def opinions_of(rows: Rows) -> Opinions:
    """Who says what, from the rows of a clip; what a stage did not finish has no say."""
    label = rows.get("label", {})
    decided = label if is_ok(rows, "label") else {}
    fine = rows["fine"] if is_ok(rows, "fine") else {}
    blind = fine.get("text_source") == BLIND and fine["llm_label"] is not None
    unknown = "manifest" if label.get("reason") == Reason.LABEL_UNKNOWN else None
    return Opinions(
        label=decided.get("label"),
        label_source=decided.get("label_source") or unknown,
        au_rules=_rules_opinion(label, rows.get("face", {}).get("au_scale")),
        llm_blind=_model_opinion(fine) if blind else None,
        second=fine.get("second_label"),
    )


def conflict_of(clip: Clip, rows: Rows, decision: Decision) -> Refusal | None:
    """Why a clip is left out for its label, or None."""
    if decision.verdict != Verdict.LABEL_CONFLICT:
        return None
    detail = f"{decision.why}: {opinions_of(rows).told()}"
    return Refusal(
        clip.clip_id,
        clip.media_path,
        Reason.LABEL_CONFLICT,
        detail,
        DATASET_RULE,
        clip.other_paths,
    )


def label_after(decision: Decision, rows: Rows) -> tuple[str | None, str | None]:
    """The label that the clip has then, and its source."""
    if is_ok(rows, "label"):
        return rows["label"]["label"], rows["label"]["label_source"]
    return (decision.adopted.label, BLIND) if decision.adopted else (None, None)


def with_verdict(row: Row, decision: Decision) -> Row:
    """A row of ``clips`` with its verdict, and with the label that it gets by it."""
    accepted = decision.verdict == Verdict.ACCEPT
    review = {"ratings": None, "mean": None, "verdict": decision.verdict.value}
    row = row | {"review": review | {"why": None if accepted else decision.why}}
    if not accepted:
        row["flags"] = [*row["flags"], f"{DATASET_RULE}:{decision.verdict.value}"]
    if decision.adopted and row["label"] is None:
        taken = decision.adopted
        row |= {"label": taken.label, "label_source": BLIND, "label_confidence": taken.confidence}
    return row


def _heard(opinions: Opinions, heard: Heard) -> dict[str, str | None]:
    """The label that each voice names; None where it is silent."""
    rules, model = opinions.au_rules, opinions.llm_blind
    rules_count = (
        rules is not None
        and opinions.label_source != "au_rules"
        and rules.score >= heard.au_rules.min_score
        and rules.margin >= heard.au_rules.min_margin
        and rules.au_scale in heard.au_rules.scales
        and rules.label not in heard.au_rules.silent_of
    )
    model_counts = (
        model is not None
        and model.confidence >= heard.llm_blind.min_confidence
        and (model.share is None or model.share >= heard.llm_blind.min_share)
    )
    return {
        "au_rules": rules.label if rules and rules_count else None,
        "llm_blind": model.label if model and model_counts else None,
        "second": opinions.second,
    }


def _stance(said: str | None, label: str | None) -> Stance:
    if said is None or label is None:
        return Stance.SILENT
    return Stance.AGREES if said == label else Stance.DISAGREES


def _rules_opinion(label: Row, au_scale: str | None) -> RulesOpinion | None:
    found = [c for c in label.get("label_candidates") or [] if c["source"] == "au_rules"]
    if not found or au_scale is None:
        return None
    first, margin = found[0], label["label_margin"]
    score = first["score"]
    return RulesOpinion(first["label"], score, score if margin is None else margin, au_scale)


def _model_opinion(fine: Row) -> ModelOpinion:
    votes = {vote["label"]: vote["count"] for vote in fine["llm_votes"] or []}
    share = votes[fine["llm_label"]] / sum(votes.values()) if votes else None
    return ModelOpinion(fine["llm_label"], fine["llm_confidence"], share)
