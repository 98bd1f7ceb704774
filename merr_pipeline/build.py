"""A build from end to end, whoever runs it.

`merr build` and the Prefect flow both call this, and so leave the same bytes. A build is opened on
an output folder (one at a time: the folder is locked), says what is pending, runs it batch by batch
on an engine, and publishes the dataset.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any

from merr_pipeline.clips.hashes import HashMemory
from merr_pipeline.clips.manifest import Inputs, read_inputs
from merr_pipeline.clips.tables import read_columns
from merr_pipeline.dataset.assemble import AssembleReport, assemble
from merr_pipeline.dataset.folder import recover
from merr_pipeline.dataset.texts import check_templates
from merr_pipeline.doctor import check_ready
from merr_pipeline.engine.local import LocalEngine
from merr_pipeline.files import write_atomically
from merr_pipeline.history import asked
from merr_pipeline.pipeline import BatchReport, Pipeline, State, build_stages, open_pipeline
from merr_pipeline.request import Request
from merr_pipeline.schema import STAGE_SCHEMAS, MerrError, Refusal, Status
from merr_pipeline.settings import Settings, load_settings, with_places
from merr_pipeline.templates import check_folder

EXIT_DONE, EXIT_SOME_FAILED = 0, 1


class Build:
    """One build, with the output folder locked. Make it with `open_build`."""

    def __init__(self, request: Request, settings: Settings) -> None:
        self.request, self.settings, self.out = request, settings, request.out
        hashes = HashMemory(self.out / "cache" / "hashes.json", rehash=request.rehash)
        columns = read_columns(request.mapping, request.preset, settings.templates)
        self.inputs: Inputs = read_inputs(request.clips, request.manifest, columns, hashes)
        hashes.save()
        self.pipeline = Pipeline(build_stages(settings), self.out, retry=request.retry)
        self.pipeline.store.refresh()
        self.pipeline.store.set_damaged_aside()
        self.pending: list[State] = [
            state for clip in self.inputs.clips if (state := self.pipeline.plan(clip)).pending
        ]
        self.workers = settings.engine.workers or len(os.sched_getaffinity(0))
        self._started = datetime.now(UTC)
        self._done = BatchReport()

    def pending_counts(self) -> dict[str, int]:
        """How many clips each stage has yet to see, in the order of the stages."""
        counts = Counter(stage for state in self.pending for stage in state.pending)
        return {stage.name: counts[stage.name] for stage in self.pipeline.stages}

    def batches(self) -> list[list[State]]:
        """The pending clips in batches, small enough to keep every worker busy to the end."""
        fair = -(-len(self.pending) // (self.workers * 4))
        size = max(1, min(self.settings.engine.batch_size, fair))
        return [self.pending[i : i + size] for i in range(0, len(self.pending), size)]

    def engine(self) -> LocalEngine:
        """Workers for `LocalEngine.run`; to be closed (``with build.engine() as engine``)."""
        opener = partial(open_pipeline, self.settings, self.out)
        return LocalEngine(opener, self.workers, self.pipeline)

    def count(self, report: BatchReport) -> None:
        """Take a finished batch into the run's summary."""
        self._done.add(report)

    def publish(self) -> Summary:
        """Assemble the dataset from all that the store now holds, and write the run's summary."""
        self.pipeline.store.refresh()
        states = {clip.clip_id: self.pipeline.settled(clip) for clip in self.inputs.clips}
        assembled = assemble(
            self.out,
            self.inputs.clips,
            lambda clips, columns: self.pipeline.rows(
                [states[clip.clip_id] for clip in clips], columns
            ),
            self.inputs.refusals,
            self.settings,
            self.pipeline.identities,
        )
        summary = self._summary(list(states.values()), assembled)
        started = self._started.strftime("%Y%m%dT%H%M%S.%fZ")
        content = json.dumps(asdict(summary), indent=2, ensure_ascii=False).encode()
        write_atomically(self.out / "runs" / f"{started}.json", content)
        return summary

    def _summary(self, states: Sequence[State], assembled: AssembleReport) -> Summary:
        return Summary(
            started=self._started.isoformat(timespec="seconds"),
            seconds=round((datetime.now(UTC) - self._started).total_seconds(), 1),
            profile=self.settings.profile,
            asked=asked(self.request),
            settings=self.settings.model_dump(mode="json"),
            inputs=self.inputs.file_count,
            clips=len(self.inputs.clips),
            worked_on=len(self.pending),
            made=_count_statuses((o.stage, o.status) for o in self._done.outcomes),
            stages=_count_statuses(
                (stage, entry.status) for state in states for stage, entry in state.entries.items()
            ),
            reasons=_count_reasons(states),
            seconds_per_stage={s: round(v, 2) for s, v in self._done.seconds.items()},
            accepted=assembled.accepted,
            rejected=assembled.rejected,
            splits=dict(assembled.rows.get("clips", {})),
            damaged_parts=[_part(path) for path in self.pipeline.store.damaged],
            copies=self.inputs.copies,
            failures=_failures(states, self.inputs.refusals),
            unfinished=_unfinished(states, self._done.unsteady),
            failed_clips=sum(state.failed for state in states) + len(self.inputs.refusals),
            unfinished_clips=sum(bool(state.pending) for state in states),
        )


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
    reasons: dict[str, int]  # "stage:reason" -> clips, of rows that are not ok
    seconds_per_stage: dict[str, float]  # summed over workers
    accepted: int
    rejected: int
    splits: dict[str, int]
    damaged_parts: list[str]  # "stage/name"; set aside when the next run finds them
    copies: int  # inputs that hold the bytes of another clip
    failures: list[str]  # "clip: stage reason: detail", one for each that failed
    unfinished: list[str]  # "clip: why", one for each with a stage that has no row yet
    failed_clips: int  # clips with a failed stage, and inputs refused at the door
    unfinished_clips: int  # clips with a stage that has no row yet

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
    reasons: dict[str, int]


def look_at(request: Request) -> View:
    """How far a build has come (``merr status``); writes nothing.

    Raises:
        MerrError: the inputs or the settings cannot be read.
    """
    settings = load_settings(request.profile, request.overrides)
    columns = read_columns(request.mapping, request.preset, settings.templates)
    hashes = HashMemory(request.out / "cache" / "hashes.json")
    inputs = read_inputs(request.clips, request.manifest, columns, hashes)
    pipeline = Pipeline(build_stages(settings), request.out)
    pipeline.store.refresh()
    planned = [pipeline.plan(clip) for clip in inputs.clips]
    settled = [pipeline.settled(clip) for clip in inputs.clips]
    pending = Counter(stage for state in planned for stage in state.pending)
    return View(
        inputs=inputs.file_count,
        clips=len(inputs.clips),
        pending_clips=sum(bool(state.pending) for state in planned),
        pending={stage.name: pending[stage.name] for stage in pipeline.stages},
        stages=_count_statuses(
            (stage, entry.status) for state in settled for stage, entry in state.entries.items()
        ),
        reasons=_count_reasons(settled),
    )


@contextmanager
def open_build(request: Request) -> Iterator[Build]:
    """Lock the output folder, read settings and inputs, find out what is pending.

    Raises:
        MerrError: anything that keeps the build from starting; it says what to do.
    """
    settings = with_places(load_settings(request.profile, request.overrides), request.out)
    if settings.templates is not None:
        check_folder(settings.templates)
    check_templates(settings)
    if request.manifest is None and (request.mapping or request.preset):
        raise MerrError("--map and --preset say how to read a manifest; give one with --manifest.")
    check_ready(settings)
    try:
        request.out.mkdir(parents=True, exist_ok=True)
        lock = (request.out / ".lock").open("a+")
    except OSError as error:
        raise MerrError(f"--out {request.out} cannot be written: {error.strerror}") from error
    with lock:
        _hold(lock, request.out)
        recover(request.out)
        for left_over in request.out.rglob(".tmp-*"):  # of a write that was killed
            left_over.unlink(missing_ok=True)
        yield Build(request, settings)


def _hold(lock: IO[str], out: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        raise MerrError(
            f"another build works on {out} (process {lock.read().strip() or 'unknown'}).\n"
            "Wait for it to end, or give another --out."
        ) from error
    except OSError as error:
        raise MerrError(
            f"--out {out} lies where no file can be locked: {error.strerror}.\n"
            "Give one on a local disk."
        ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()


def _count_statuses(pairs: Iterable[tuple[str, str]]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {stage: Counter() for stage in STAGE_SCHEMAS}
    for stage, status in pairs:
        counts[stage][status] += 1
    return {stage: dict(sorted(count.items())) for stage, count in counts.items() if count}


def _failures(states: Iterable[State], refusals: Iterable[Refusal]) -> list[str]:
    found = [
        _failure(state.clip.clip_id, stage, entry.reason, entry.detail)
        for state in states
        for stage, entry in state.entries.items()
        if entry.status == Status.FAILED
    ]
    return found + [_failure(r.clip_id, r.stage, r.reason, r.detail) for r in refusals]


def _part(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _unfinished(states: Iterable[State], unsteady: Mapping[str, str]) -> list[str]:
    return [
        f"{state.clip.clip_id}: {unsteady.get(state.clip.clip_id, 'the run was cut short')}"
        for state in states
        if state.pending
    ]


def _failure(clip_id: str, stage: str, reason: str | None, detail: str | None) -> str:
    return f"{clip_id}: {stage} {reason}" + (f": {detail}" if detail else "")


def _count_reasons(states: Iterable[State]) -> dict[str, int]:
    counts = Counter(
        f"{stage}:{entry.reason}"
        for state in states
        for stage, entry in state.entries.items()
        if entry.status != Status.OK
    )
    return dict(sorted(counts.items()))
