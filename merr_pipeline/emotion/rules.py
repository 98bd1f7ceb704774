"""Emotion rules: how well a set of Action Units goes with each label.

The knowledge is in ``annotation_templates/emotion_rules.yaml``, whose head explains the score; this
module reads it and does the sums. It knows nothing of label spaces and of clips.

    rules = load_rules(table, settings.templates)
    rules.scores(seen, "intensity_0_5")      # {"angry": 0.71, "sad": 0.33}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from merr_pipeline.emotion.facs import ActionUnitTable, Code
from merr_pipeline.emotion.spaces import LabelSpace
from merr_pipeline.schema import MerrError, Row
from merr_pipeline.templates import load_template

TEMPLATE = "emotion_rules.yaml"


@dataclass(frozen=True)
class SeenUnit:
    """One Action Unit that the tool can see, at the moment that is judged."""

    value: float  # on the tool's own scale; 0 is a measured absence
    reliability: str  # moderate | low


Seen = Mapping[str, SeenUnit]
"""By code. An Action Unit that is not in it is unknown, not absent."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Ramp(_Entry):
    """From a value to an activation between 0 and 1."""

    none_at: float
    full_at: float
    decides: bool

    def activation(self, value: float) -> float:
        """0 up to ``none_at``, 1 from ``full_at`` on, straight between."""
        return min(max((value - self.none_at) / (self.full_at - self.none_at), 0.0), 1.0)


class Weights(_Entry):
    """How much an Action Unit counts that says less than the others."""

    low_reliability: float = Field(ge=0, le=1)
    unexplained_speech: float = Field(ge=0, le=1)


class Decision(_Entry):
    """What must hold, beside score and margin, for the rules to decide a label."""

    min_active_aus: int  # of moderate reliability, and supporting the label
    min_records: int  # MERR records behind the label
    max_yaw_deg: float
    max_pitch_deg: float
    min_face_coverage: float

    def faces_camera(self, head_pose: Row | None) -> bool:
        """Whether the head is turned and tilted so little that Action Units can be trusted.

        An angle that the tool does not give counts as unknown and stands in nobody's way.
        """
        pose: Row = head_pose or {}
        yaw, pitch = (float(pose.get(name) or 0) for name in ("yaw_deg", "pitch_deg"))
        return abs(yaw) <= self.max_yaw_deg and abs(pitch) <= self.max_pitch_deg


class Pattern(_Entry):
    """Action Units that go together, with their weights."""

    aus: dict[Code, float]
    needs: tuple[Code, ...] = ()


class LabelRule(_Entry):
    """What goes with one label, and what does not."""

    records: int | None = None  # of the released MERR annotations; None for a label that is not in
    supported_by: tuple[Code, ...] = ()
    against: tuple[Code, ...] = ()
    arousal: tuple[str, ...] = ()  # low | medium | high


class NeutralRule(_Entry):
    """Neutral is the absence of what is listed."""

    label: str
    decides: bool  # whether a face without signs is enough to call somebody neutral
    aus: tuple[Code, ...]
    arousal: tuple[str, ...] = ()


class Rules(_Entry):
    """The whole of ``emotion_rules.yaml``, with the Action Units it was checked against."""

    scales: dict[str, Ramp]
    weights: Weights
    decision: Decision
    use: str  # the set of patterns in force
    labels: dict[str, LabelRule]
    patterns: dict[str, dict[str, tuple[Pattern, ...]]]  # set -> label -> patterns
    neutral: NeutralRule
    table: ActionUnitTable
    sha256: str

    def seen(self, moment: Row) -> dict[str, SeenUnit]:
        """What a ``moment`` row says of the main person's face at the peak, by code.

        An Action Unit without a value there was not seen. On a face that is turned away from the
        camera every value is of low reliability.
        """
        turned = not self.decision.faces_camera(moment["head_pose"])
        return {
            unit["au"]: SeenUnit(unit["value_at_peak"], "low" if turned else unit["reliability"])
            for unit in moment["action_units"] or []
            if unit["value_at_peak"] is not None
        }

    def scores(self, seen: Seen, scale: str) -> dict[str, float]:
        """The score of every label that has one over 0, in the order of the file, neutral last."""
        found = {name: self._label_score(name, seen, scale) for name in self.labels}
        found[self.neutral.label] = self._neutral_score(seen, scale)
        return {label: score for label, score in found.items() if score > 0}

    def active(self, seen: Seen, scale: str) -> list[str]:
        """Emotion-relevant Action Units that are active, strongest first."""
        found = [
            code
            for code, unit in seen.items()
            if self.table.units[code].emotion_relevant and self.table.is_active(unit.value, scale)
        ]
        return sorted(found, key=lambda code: (-seen[code].value, code))

    def knows(self, label: str) -> bool:
        """Whether there is a rule for what a face of this label looks like."""
        return label == self.neutral.label or bool(self.support(label))

    def support(self, label: str) -> frozenset[str]:
        """Action Units that speak for a label; none for one without a rule."""
        rule = self.labels.get(label)
        named = frozenset(rule.supported_by) if rule else frozenset()
        return named.union(*(pattern.aus for pattern in self._patterns(label)))

    def signs(self, label: str, space: LabelSpace) -> frozenset[str]:
        """Action Units that speak for a label of a space, by all rules that lead to it."""
        names = (name for name in self.labels if space.find(name) == label)
        return frozenset().union(*(self.support(name) for name in names))

    def against(self, label: str) -> frozenset[str]:
        """Action Units that speak against a label."""
        if label == self.neutral.label:
            return frozenset(self.neutral.aus)
        rule = self.labels.get(label)
        return frozenset(rule.against) if rule else frozenset()

    def arousal(self, label: str) -> frozenset[str]:
        """The vocal arousal (``low``, ``medium``, ``high``) that goes with a label; may be none."""
        rule = self.neutral if label == self.neutral.label else self.labels.get(label)
        return frozenset(rule.arousal) if rule else frozenset()

    def is_founded(self, label: str) -> bool:
        """Whether enough records stand behind a label of MERR for the rules to decide it."""
        records = self.labels[label].records if label in self.labels else None
        return records is None or records >= self.decision.min_records

    def _patterns(self, label: str) -> tuple[Pattern, ...]:
        return self.patterns[self.use].get(label, ())

    def _label_score(self, label: str, seen: Seen, scale: str) -> float:
        found = (self._pattern_score(p, seen, scale) for p in self._patterns(label))
        return max(found, default=0.0)

    def _pattern_score(self, pattern: Pattern, seen: Seen, scale: str) -> float:
        visible = {code: weight for code, weight in pattern.aus.items() if code in seen}
        for code in pattern.needs:
            if code in seen and not self.table.is_active(seen[code].value, scale):
                return 0.0
        strength = {code: self._activation(code, seen, scale) for code in visible}
        trusted = {code: w * self._trust(code, seen) for code, w in visible.items()}
        found = sum(trusted[code] * strength[code] for code in visible)
        if found == 0:
            return 0.0
        share_seen = found / sum(trusted.values())
        share_explained = self._explained(pattern, seen, scale)
        coverage = sum(visible.values()) / sum(pattern.aus.values())
        return coverage * 2 * share_seen * share_explained / (share_seen + share_explained)

    def _explained(self, pattern: Pattern, seen: Seen, scale: str) -> float:
        """Share of the activation on the face that the pattern accounts for."""
        inside = outside = 0.0
        for code in seen:
            unit = self.table.units[code]
            if not unit.emotion_relevant:
                continue
            amount = self._activation(code, seen, scale) * self._trust(code, seen)
            if code in pattern.aus:
                inside += amount
            else:
                outside += amount * (self.weights.unexplained_speech if unit.moved_by_speech else 1)
        return inside / (inside + outside)

    def _neutral_score(self, seen: Seen, scale: str) -> float:
        visible = [code for code in self.neutral.aus if code in seen]
        if not visible or self.table.is_active(max(seen[c].value for c in visible), scale):
            return 0.0
        strongest = max(self._activation(code, seen, scale) for code in visible)
        return (1 - strongest) * len(visible) / len(self.neutral.aus)

    def _activation(self, code: str, seen: Seen, scale: str) -> float:
        return self.scales[scale].activation(seen[code].value)

    def _trust(self, code: str, seen: Seen) -> float:
        return self.weights.low_reliability if seen[code].reliability == "low" else 1.0


def load_rules(table: ActionUnitTable, templates: Path | None = None) -> Rules:
    """Read ``emotion_rules.yaml`` from the user's templates folder, else the shipped one.

    Raises:
        MerrError: the file is missing, says something that cannot be, or names an Action Unit that
            ``action_units.yaml`` does not have.
    """
    template = load_template(TEMPLATE, templates)
    try:
        rules = Rules.model_validate({**template.data, "table": table, "sha256": template.sha256})
        _check(rules)
    except (ValidationError, TypeError, ValueError) as error:
        raise MerrError(f"template {TEMPLATE} is wrong: {error}") from error
    return rules


def _check(rules: Rules) -> None:
    if rules.use not in rules.patterns:
        raise ValueError(f"use: {rules.use} is no set of patterns; there is {list(rules.patterns)}")
    check = rules.table.check_codes
    check(rules.neutral.aus, "neutral.aus")
    for name, rule in rules.labels.items():
        check({*rule.supported_by, *rule.against}, f"labels.{name}")
    for set_name, patterns in rules.patterns.items():
        if unknown := set(patterns) - set(rules.labels):
            raise ValueError(f"patterns.{set_name}: {sorted(unknown)} are not in labels")
        for label, listed in patterns.items():
            for pattern in listed:
                check({*pattern.aus, *pattern.needs}, f"patterns.{set_name}.{label}")
