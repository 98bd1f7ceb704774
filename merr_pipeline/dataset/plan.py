"""The first look: who is in the dataset, who is not and why, in which split, and in ``fine``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Protocol

from merr_pipeline.dataset.accept import (
    DATASET_RULE,
    FIRST_LOOK,
    Rows,
    is_visual_only,
    judge,
)
from merr_pipeline.dataset.agreement import (
    Decision,
    Policy,
    conflict_of,
    decide,
    label_after,
    opinions_of,
)
from merr_pipeline.dataset.instructions import is_about_its_label
from merr_pipeline.dataset.near import Footage, Near, NearRules, find_near
from merr_pipeline.dataset.quality import QUALITY_LOOK, quality
from merr_pipeline.dataset.selection import Choice, Selected, Selection, SelectionPlan, select
from merr_pipeline.dataset.shards import batched
from merr_pipeline.dataset.splits import Member, assign_splits
from merr_pipeline.schema import STAGE_SCHEMAS, Clip, ClipId, Reason, Refusal, Row
from merr_pipeline.settings import DatasetSettings
from merr_pipeline.stage import digest, is_ok

NOT_CONTENT = {"path", "stamp"}  # where and when this machine has the file, not what it is
LOOK_SIZE = 1000  # clips whose small columns are in memory at once


class RowsOf(Protocol):
    """How assembly gets at the annotation store: the rows of some clips, some columns of each."""

    def __call__(
        self, clips: Sequence[Clip], columns: Mapping[str, Sequence[str]]
    ) -> Iterable[Rows]:
        """Per clip, in order: ``stage -> row`` with at least ``columns[stage]``.

        A stage without a row for the clip is absent. May be lazy; it is read once, in order.
        """
        ...


@dataclass(frozen=True)
class Entry:
    """What remains of an accepted clip after the first look."""

    clip: Clip
    content: str  # hash of all that shapes its records but the configuration
    visual_only: bool
    label: str | None
    label_source: str | None
    language: str | None
    decision: Decision
    has_text: bool  # of its own label, so that `fine` can have a record of it


@dataclass(frozen=True)
class Plan:
    """Who goes where. ``rejected`` is sorted by clip_id and has each id once."""

    accepted: dict[str, Entry]
    split_of: dict[str, str]
    rejected: list[Refusal]
    near: Near
    selected: Selected | None = None  # None takes all

    def of_split(self, split: str) -> list[str]:
        """Ids of the clips of a split."""
        return [clip_id for clip_id, place in self.split_of.items() if place == split]

    def selection_of(self, clip_id: str) -> str | None:
        """What `selection.select` says of a clip; None where all are taken."""
        return self.selected.of[clip_id].value if self.selected else None

    def found_together(self, clip_id: str) -> tuple[str | None, list[Row]]:
        """What all clips together say of one: whether it is selected, and what it is a copy of."""
        return self.selection_of(clip_id), self.near.rows_of(clip_id)

    def verdicts(self) -> dict[str, int]:
        """Accepted clips by the verdict on their label."""
        counts = Counter(entry.decision.verdict.value for entry in self.accepted.values())
        return dict(sorted(counts.items()))

    def selections(self) -> dict[str, int]:
        """Accepted clips by what the selection says of them; empty where all are taken."""
        counts = Counter(self.selected.of.values()) if self.selected else Counter()
        return {state.value: counts[state] for state in Selection if counts[state]}


def make_plan(
    clips: Sequence[Clip],
    rows_of: RowsOf,
    refused: Sequence[Refusal],
    earlier_splits: Mapping[str, str],
    settings: DatasetSettings,
    near_rules: NearRules,
    policy: Policy,
    selection: SelectionPlan | None,
) -> Plan:
    """Judge every clip and place every accepted one; the order of ``clips`` does not matter."""
    entries: dict[str, Entry] = {}
    footage: list[Footage] = []
    rejected: list[Refusal] = []
    for batch in batched(clips, LOOK_SIZE):
        for clip, rows in zip(batch, rows_of(batch, FIRST_LOOK), strict=True):
            decision = decide(opinions_of(rows), policy)
            refusal = judge(clip, rows, settings) or conflict_of(clip, rows, decision)
            if refusal:
                rejected.append(refusal)
            else:
                entries[clip.clip_id] = _entry(clip, rows, decision)
                footage.append(Footage.of(clip.clip_id, clip.sha256, rows))
    near = find_near(footage, near_rules)
    members = [_member(entry.clip, near) for entry in entries.values()]
    placed = assign_splits(members, earlier_splits, settings.split_shares, settings.seed)
    for clip_id, detail in placed.conflicts.items():
        rejected.append(_split_conflict(entries.pop(clip_id).clip, detail))
    selected = _select(entries, rows_of, selection, settings.seed) if selection else None
    every_refusal = _with_own_ids(rejected, refused, placed.split_of)
    plan = Plan(entries, placed.split_of, every_refusal, near.among(entries), selected)
    _check_each_once(clips, refused, plan)
    return plan


def _select(
    entries: Mapping[str, Entry], rows_of: RowsOf, selection: SelectionPlan, seed: int
) -> Selected:
    scores: dict[str, float] = {}
    if selection.order == "quality":
        for batch in batched([entry.clip for entry in entries.values()], LOOK_SIZE):
            for clip, rows in zip(batch, rows_of(batch, QUALITY_LOOK), strict=True):
                scores[clip.clip_id] = quality(rows)["overall"]
    choices = [
        Choice(clip_id, entry.label, entry.decision.verdict, entry.has_text, scores.get(clip_id))
        for clip_id, entry in entries.items()
    ]
    return select(choices, selection, seed)


def _entry(clip: Clip, rows: Rows, decision: Decision) -> Entry:
    known = {name: value for name, value in asdict(clip).items() if name not in NOT_CONTENT}
    hashes = {stage: rows[stage]["row_hash"] for stage in STAGE_SCHEMAS if stage in rows}
    label, label_source = label_after(decision, rows)
    return Entry(
        clip=clip,
        content=digest([known, hashes]),
        visual_only=is_visual_only(rows),
        label=label,
        label_source=label_source,
        language=rows["transcript"]["text_language"] if is_ok(rows, "transcript") else None,
        decision=decision,
        has_text=is_ok(rows, "fine") and is_about_its_label({**rows["fine"], "label": label}),
    )


def _member(clip: Clip, near: Near) -> Member:
    near_group = near.group_of.get(clip.clip_id)
    return Member(
        clip.clip_id, clip.sha256, clip.source_id, clip.speaker_id, clip.split, near_group
    )


def _split_conflict(clip: Clip, detail: str) -> Refusal:
    return Refusal(
        clip.clip_id,
        clip.media_path,
        Reason.SPLIT_CONFLICT,
        detail,
        DATASET_RULE,
        clip.other_paths,
    )


def _with_own_ids(
    rejected: Sequence[Refusal], refused: Sequence[Refusal], accepted: Mapping[str, str]
) -> list[Refusal]:
    """All refusals, sorted. Inputs that bring an id which is taken get ``#2``, ``#3``, … after it.

    Only refused inputs can: two rows of a manifest with one id, one of which became the clip.
    """
    taken = {*accepted, *(refusal.clip_id for refusal in rejected)}
    every = list(rejected)
    for refusal in sorted(refused, key=lambda r: (r.clip_id, r.media_path, r.reason, r.detail)):
        name, number = str(refusal.clip_id), 1
        while name in taken:
            number += 1
            name = f"{refusal.clip_id}#{number}"
        taken.add(name)
        every.append(replace(refusal, clip_id=ClipId(name)))
    return sorted(every, key=lambda refusal: refusal.clip_id)


def _check_each_once(clips: Sequence[Clip], refused: Sequence[Refusal], plan: Plan) -> None:
    """Every input ends exactly once; anything else is a fault of ours, and nothing is written."""
    ends = [*plan.accepted, *(refusal.clip_id for refusal in plan.rejected)]
    missing = {clip.clip_id for clip in clips} - set(ends)
    if missing or len(ends) != len(set(ends)) or len(ends) != len(clips) + len(refused):
        raise AssertionError(
            f"{len(clips)} clips and {len(refused)} refused inputs end in {len(ends)} places, "
            f"{len(set(ends))} of them distinct; without a place: {sorted(missing)[:5]}"
        )
