"""The ``label`` stage: which emotion label a clip gets, from whom, and what else it might be.

Two sources, in the order of ``label.sources``. The manifest's label is taken as it stands; nobody
said how sure it is, so its confidence is null. The Action Unit rules decide only on scales that
may (``intensity_0_5``, ``probability``), on a face that is well seen, with a score of at least
``label.min_confidence`` that leads the runner-up by ``label.min_margin``. Whatever decides, the
rules' candidates are kept.

How it ends:

* ``ok``: there is a label.
* ``skipped label_undecided``: no source was sure enough; the candidates are in the row.
* ``failed label_unknown``: the manifest gives a label that the label space does not have. No rule
  may overrule what a person wrote, so the label stays null, the words stay in ``open_labels``, and
  the dataset keeps the clip as an undecided one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.emotion.rules import Rules, load_rules
from merr_pipeline.emotion.spaces import load_label_space
from merr_pipeline.schema import LABEL, Clip, Reason, Row
from merr_pipeline.settings import LabelSettings, Settings
from merr_pipeline.stage import Identity, Stage, Work, digest, each, fail, rounded, skip


class LabelStage(Stage):
    """Manifest label, else Action Unit rules, else undecided."""

    name = "label"
    needs = ("face", "moment")
    schema = LABEL

    def __init__(self, settings: Settings) -> None:
        self._settings: LabelSettings = settings.label
        self._space = load_label_space(settings.label.space, settings.templates)
        self._rules = load_rules(load_action_units(settings.templates), settings.templates)

    def identity(self) -> Identity:
        """Label space, rules and the four settings that decide."""
        return Identity(
            stage=self.name,
            version=4,
            tool="labels",
            template=digest([self._space.sha256, self._rules.sha256, self._rules.table.sha256]),
            settings=self._settings.model_dump(mode="json"),
        )

    def facts(self, clip: Clip) -> Mapping[str, Any]:
        """The manifest's label."""
        return {"label": clip.label}

    def annotate(self, batch: Sequence[Work]) -> list[Row]:
        """One label row per clip."""
        return each(batch, self.annotate_one)

    def annotate_one(self, work: Work) -> Row:
        """Ask each source in turn; the first that is sure gives the label."""
        written = (work.clip.label or "").strip() if "manifest" in self._settings.sources else ""
        given = self._space.find(written)
        from_rules = self._rule_candidates(work)
        row: Row = {
            "label_space": self._space.name,
            "label": None,
            "label_source": None,
            "label_confidence": None,
            "label_candidates": _as_rows(given, from_rules),
            **_lead(from_rules),
            "open_labels": [written] if written and written != given else [],
        }
        if written and given is None:
            raise fail(Reason.LABEL_UNKNOWN, self._explain_unknown(written), row)
        for source in self._settings.sources:
            if source == "manifest" and given:
                return {**row, "label": given, "label_source": source}
            if source == "au_rules" and self._is_sure(work, from_rules):
                label, confidence = next(iter(from_rules.items()))
                return row | {
                    "label": label,
                    "label_source": source,
                    "label_confidence": confidence,
                }
        raise skip(Reason.LABEL_UNDECIDED, self._explain_undecided(work, from_rules), row)

    def _rule_candidates(self, work: Work) -> dict[str, float]:
        """Scores by label of this space, best first (equal ones by name)."""
        if not (work.ok("face") and work.ok("moment")):
            return {}
        scale = work.seen["face"]["au_scale"]
        best: dict[str, float] = {}
        for name, score in self._rules.scores(self._rules.seen(work.seen["moment"]), scale).items():
            label = self._space.find(name)
            if label is not None:
                best[label] = max(best.get(label, 0.0), rounded(score))
        kept = {label: score for label, score in best.items() if score > 0}
        return dict(sorted(kept.items(), key=lambda item: (-item[1], item[0])))

    def _is_sure(self, work: Work, candidates: Mapping[str, float]) -> bool:
        """Whether the rules may decide for their first candidate."""
        if not candidates or not self._rules.scales[work.seen["face"]["au_scale"]].decides:
            return False
        first, second = [*candidates.values(), 0.0][:2]
        return (
            first >= self._settings.min_confidence
            and rounded(first - second) >= self._settings.min_margin
            and face_is_well_seen(self._rules, work.seen["moment"])
            and self._units_agree(work, next(iter(candidates)))
        )

    def _units_agree(self, work: Work, label: str) -> bool:
        """Several trusted Action Units speak for the label, and none against it.

        Neutral is the absence of units, so its score has said all that there is.
        """
        if self._space.find(self._rules.neutral.label) == label:
            return self._rules.neutral.decides
        seen = self._rules.seen(work.seen["moment"])
        active = self._rules.active(seen, work.seen["face"]["au_scale"])
        trusted = {code for code in active if seen[code].reliability != "low"}
        return any(
            len(trusted & self._rules.support(name)) >= self._rules.decision.min_active_aus
            and not trusted & self._rules.against(name)
            for name in self._rules.labels
            if self._space.find(name) == label and self._rules.is_founded(name)
        )

    def _explain_unknown(self, written: str) -> str:
        known = ", ".join(self._space.labels)
        return f"{written!r} is not in label space {self._space.name}, which knows {known}"

    def _explain_undecided(self, work: Work, candidates: Mapping[str, float]) -> str:
        if "au_rules" not in self._settings.sources:
            return "the manifest gives no label"
        if not candidates:
            return "no label given, and no Action Unit speaks for one"
        if not self._rules.scales[work.seen["face"]["au_scale"]].decides:
            return "no label given, and this face tool's values only suggest candidates"
        if self._space.find(self._rules.neutral.label) == next(iter(candidates)):
            return "no label given, and a face without signs suggests neutral and proves nothing"
        return "no label given, and the Action Unit rules are not sure enough"


def face_is_well_seen(rules: Rules, moment: Row) -> bool:
    """Whether the face was in view long enough, and towards the camera, for rules to decide."""
    covered = (moment["face_coverage"] or 0.0) >= rules.decision.min_face_coverage
    return covered and rules.decision.faces_camera(moment["head_pose"])


def _lead(from_rules: Mapping[str, float]) -> Row:
    """Who comes second by the rules, and how far behind; null where there is none."""
    (_, first), *others = from_rules.items() or [("", 0.0)]
    if not others:
        return {"label_runner_up": None, "label_margin": None}
    runner_up, second = others[0]
    return {"label_runner_up": runner_up, "label_margin": first - second}


def _as_rows(given: str | None, from_rules: Mapping[str, float]) -> list[Row]:
    """The manifest's label first (it has no score), then the rules' candidates, best first."""
    manifest = [{"label": given, "score": None, "source": "manifest"}] if given else []
    rules = [
        {"label": label, "score": score, "source": "au_rules"}
        for label, score in from_rules.items()
    ]
    return manifest + rules
