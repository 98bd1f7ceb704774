"""What a run came to, and what the store holds of a request: counts, and a line for each clip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from merr_pipeline.pipeline import State
from merr_pipeline.schema import STAGE_SCHEMAS, Refusal, Status
from merr_pipeline.store import Entry

if TYPE_CHECKING:  # it imports the SDK
    from merr_pipeline.llm.ledger import Account

EXIT_DONE, EXIT_SOME_FAILED = 0, 1


@dataclass(frozen=True)
class ModelUse:
    """What one stage asked of one model in a run."""

    stage: str
    model: str
    requests: int  # sent, whatever came of them
    unanswered: int  # of these
    from_cache: int  # answers that cost nothing now
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None  # of the answers; null where the model has no price
    unknown_cost: int = 0  # unanswered requests that the server may bill all the same
    unknown_usd: float | None = 0.0  # the most that these may have cost; null as ``cost_usd``


@dataclass(frozen=True)
class Summary:
    """What a run came to; ``<out>/runs/<started>.json`` holds it."""

    started: str
    seconds: float
    profile: str
    asked: dict[str, Any]  # as `history` reads it again
    settings: dict[str, Any]  # that were in force, from wherever
    inputs: int  # files found or listed, further copies of the same bytes included
    clips: int
    worked_on: int  # clips that had something pending when the run began
    made: dict[str, dict[str, int]]  # rows made by this run: stage -> status -> clips
    stages: dict[str, dict[str, int]]  # rows that hold now
    reasons: dict[str, int]  # "stage:reason" -> clips, of rows not ok and of inputs refused
    seconds_per_stage: dict[str, float]  # summed over workers
    accepted: int
    rejected: int
    splits: dict[str, int]
    damaged_parts: list[str]  # "stage/name"; set aside when the next run finds them
    copies: int  # inputs that hold the bytes of another clip
    failures: list[str]  # "clip: stage reason: detail", one for each that failed
    left_out: list[str]  # the same, one for each clip rejected without having failed
    unfinished: list[str]  # "clip: why", one for each with a stage that has no row yet
    failed_clips: int  # clips with a failed stage, and inputs refused at the door
    unfinished_clips: int  # clips with a stage that has no row yet
    verdicts: dict[str, int] = field(default_factory=dict)  # clips in the dataset, by verdict
    fine_selection: dict[str, int] = field(default_factory=dict)  # empty where all are taken
    models: list[ModelUse] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # of the door to models

    @property
    def exit_code(self) -> int:
        """0 when all was done, 1 when some clips failed; a clip without a face has not failed."""
        return EXIT_SOME_FAILED if self.failed_clips or self.unfinished_clips else EXIT_DONE


@dataclass(frozen=True)
class View:
    """What the store holds for a request, without building anything."""

    inputs: int
    clips: int
    pending_clips: int
    pending: dict[str, int]  # stage -> clips it has yet to see
    stages: dict[str, dict[str, int]]  # stage -> status -> clips
    reasons: dict[str, int]  # as in `Summary`, and so the next two
    failures: list[str]
    left_out: list[str]
    waiting: list[str]  # "clip: stage, stage", one for each with something to do


def uses_of(accounts: Iterable[Account]) -> list[ModelUse]:
    """The accounts of a run's ledger, as the summary keeps them."""
    return [
        ModelUse(
            stage=account.stage,
            model=account.model,
            requests=account.requests,
            unanswered=account.unanswered,
            from_cache=account.from_cache,
            prompt_tokens=account.usage.prompt,
            completion_tokens=account.usage.completion,
            cost_usd=None if account.cost_usd is None else round(account.cost_usd, 6),
            unknown_cost=account.unknown_cost,
            unknown_usd=None if account.price is None else round(account.unknown_usd, 6),
        )
        for account in accounts
    ]


def count_statuses(pairs: Iterable[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """``stage -> status -> clips`` from pairs of stage and status."""
    counts: dict[str, Counter[str]] = {stage: Counter() for stage in STAGE_SCHEMAS}
    for stage, status in pairs:
        counts[stage][status] += 1
    return {stage: dict(sorted(count.items())) for stage, count in counts.items() if count}


def count_rows(states: Iterable[State]) -> dict[str, dict[str, int]]:
    """The rows that hold: ``stage -> status -> clips``."""
    return count_statuses(
        (s, entry.status) for state in states for s, entry in state.entries.items()
    )


def count_reasons(states: Iterable[State], refused: Iterable[Refusal]) -> dict[str, int]:
    """``stage:reason -> clips`` of all rows that are not ok, and of inputs refused at the door."""
    counts = Counter(
        f"{stage}:{entry.reason}"
        for state in states
        for stage, entry in state.entries.items()
        if entry.status != Status.OK
    )
    counts.update(f"{refusal.stage}:{refusal.reason}" for refusal in refused)
    return dict(sorted(counts.items()))


def failures_of(states: Iterable[State], refused: Iterable[Refusal]) -> list[str]:
    """One line for each stage that failed on a clip, and for each input refused at the door."""
    found = [
        _line(state.clip.clip_id, stage, entry.reason, entry.detail, state.clip.other_paths)
        for state in states
        for stage, entry in state.entries.items()
        if entry.status == Status.FAILED
    ]
    return found + [_line(r.clip_id, r.stage, r.reason, r.detail, r.other_paths) for r in refused]


def left_out_of(states: Sequence[State], rejected: Iterable[Refusal]) -> list[str]:
    """One line for each finished clip that was rejected for something that is no failure."""
    entries = {state.clip.clip_id: state.entries for state in states if not state.pending}
    return [
        _line(r.clip_id, r.stage, r.reason, r.detail, r.other_paths)
        for r in rejected
        if r.clip_id in entries and not _has_failed(entries[r.clip_id].get(r.stage))
    ]


def unfinished_of(states: Iterable[State], unsteady: Mapping[str, str]) -> list[str]:
    """One line for each clip that has a stage without a row, with what changed meanwhile."""
    return [
        f"{state.clip.clip_id}: {unsteady.get(state.clip.clip_id, 'the run was cut short')}"
        for state in states
        if state.pending
    ]


def waiting_of(planned: Iterable[State]) -> list[str]:
    """One line for each clip that a build would work on, with the stages to come."""
    return [
        f"{state.clip.clip_id}: {', '.join(state.pending)}" for state in planned if state.pending
    ]


def _has_failed(entry: Entry | None) -> bool:
    return entry is not None and entry.status == Status.FAILED


def _line(
    clip_id: str, stage: str, reason: str | None, detail: str | None, copies: Sequence[str]
) -> str:
    line = f"{clip_id}: {stage} {reason}" + (f": {detail}" if detail else "")
    return line + (f" (the same bytes: {', '.join(copies)})" if copies else "")
