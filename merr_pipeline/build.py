"""A build from end to end, whoever runs it.

`merr build` and the Prefect flow both call this, and so leave the same bytes. A build is opened on
an output folder (one at a time: the folder is locked), says what is pending, runs it batch by batch
on an engine, and publishes the dataset.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from merr_pipeline.clips.hashes import HashMemory
from merr_pipeline.clips.manifest import Inputs, read_inputs
from merr_pipeline.clips.tables import read_columns
from merr_pipeline.dataset.accept import FIRST_LOOK, judge
from merr_pipeline.dataset.agreement import Policy, conflict_of, decide, load_policy, opinions_of
from merr_pipeline.dataset.assemble import AssembleReport, assemble
from merr_pipeline.dataset.decisions import Decisions
from merr_pipeline.dataset.folder import recover
from merr_pipeline.dataset.plan import LOOK_SIZE
from merr_pipeline.dataset.shards import batched
from merr_pipeline.dataset.texts import check_templates
from merr_pipeline.doctor import check_ready
from merr_pipeline.engine.calls import Caller
from merr_pipeline.engine.local import LocalEngine
from merr_pipeline.engine.watch import Limits
from merr_pipeline.files import write_atomically
from merr_pipeline.gpus import visible_gpus
from merr_pipeline.history import asked
from merr_pipeline.llm.prices import load_prices
from merr_pipeline.llm.stage import CallStage
from merr_pipeline.pipeline import BatchReport, Pipeline, State, build_stages, open_pipeline
from merr_pipeline.request import Request
from merr_pipeline.schema import MerrError, Refusal
from merr_pipeline.settings import DatasetSettings, Settings, load_settings, with_places
from merr_pipeline.summary import (
    ModelUse,
    Summary,
    View,
    count_reasons,
    count_rows,
    count_statuses,
    failures_of,
    left_out_of,
    unfinished_of,
    uses_of,
    waiting_of,
)
from merr_pipeline.takedown.record import read_record, without_taken_down
from merr_pipeline.templates import check_folder

if TYPE_CHECKING:
    from merr_pipeline.llm.client import Door

ANSWERS = Path("cache") / "llm.sqlite"  # in the output folder: what models have answered


class Build:
    """One build, with the output folder locked. Make it with `open_build`."""

    def __init__(self, request: Request, settings: Settings) -> None:
        self.request, self.settings, self.out = request, settings, request.out
        hashes = HashMemory(self.out / "cache" / "hashes.json", rehash=request.rehash)
        columns = read_columns(request.mapping, request.preset, settings.templates)
        found = read_inputs(request.clips, request.manifest, columns, hashes)
        self.inputs: Inputs = without_taken_down(found, read_record(self.out))
        hashes.save()
        self.pipeline = Pipeline(build_stages(settings), self.out, retry=request.retry)
        self.pipeline.store.refresh()
        self.pipeline.store.set_damaged_aside()
        self.pending: list[State] = [
            state for clip in self.inputs.clips if (state := self.pipeline.plan(clip)).pending
        ]
        self.workers = settings.engine.workers or len(os.sched_getaffinity(0))
        self.gpus = visible_gpus() if any(s.resources.gpus for s in self.pipeline.stages) else []
        stages = self.pipeline.stages
        self.roles = {r for s in stages if isinstance(s, CallStage) for r in s.roles}
        processes = self.workers + len(self.gpus)
        fair = -(-len(self.pending) // (processes * 4))
        self.batch_size = max(1, min(settings.engine.batch_size, fair))
        # batches under way: one for each process, and enough that wait for answers of models
        calls = sum(settings.llm.of(role).concurrency for role in self.roles)
        self.at_once = processes + -(-2 * calls // self.batch_size)
        self.caller: Caller | None = None
        self._started = datetime.now(UTC)
        self._done = BatchReport()

    def pending_counts(self) -> dict[str, int]:
        """How many clips each stage has yet to see, in the order of the stages."""
        counts = Counter(stage for state in self.pending for stage in state.pending)
        return {stage.name: counts[stage.name] for stage in self.pipeline.stages}

    def batches(self) -> list[list[State]]:
        """The pending clips in batches, small enough to keep every worker busy to the end."""
        size = self.batch_size
        return [self.pending[i : i + size] for i in range(0, len(self.pending), size)]

    def engine(self) -> LocalEngine:
        """Workers for `LocalEngine.run`; to be closed (``with build.engine() as engine``)."""
        opener = partial(open_pipeline, self.settings, self.out)
        own = self.settings.engine
        limits = Limits(clip_s=own.clip_limit_s, memory_mb=own.memory_limit_mb)
        self.caller = Caller(self._open_door) if self.roles else None
        return LocalEngine(opener, self.workers, self.pipeline, limits, self.gpus, self.caller)

    def _open_door(self) -> Door:
        from merr_pipeline.llm.client import Door  # it takes a second

        own, prices = self.settings, load_prices(self.settings.templates)
        return Door(own.llm, self.roles, self.out / ANSWERS, prices)

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

    def _models(self) -> list[ModelUse]:
        return [] if self.caller is None else uses_of(self.caller.door.ledger.accounts)

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
            made=count_statuses((o.stage, o.status) for o in self._done.outcomes),
            stages=count_rows(states),
            reasons=count_reasons(states, self.inputs.refusals),
            seconds_per_stage={s: round(v, 2) for s, v in self._done.seconds.items()},
            accepted=assembled.accepted,
            rejected=assembled.rejected,
            splits=dict(assembled.rows.get("clips", {})),
            verdicts=dict(assembled.verdicts),
            fine_selection=dict(assembled.fine_selection),
            damaged_parts=[_part(path) for path in self.pipeline.store.damaged],
            copies=self.inputs.copies,
            failures=failures_of(states, self.inputs.refusals),
            left_out=left_out_of(states, assembled.refusals),
            unfinished=unfinished_of(states, self._done.unsteady),
            failed_clips=sum(state.failed for state in states) + len(self.inputs.refusals),
            unfinished_clips=sum(bool(state.pending) for state in states),
            models=self._models(),
            notes=[] if self.caller is None else self.caller.door.notes,
        )


def look_at(request: Request) -> View:
    """How far a build has come (``merr status``); writes nothing.

    Raises:
        MerrError: the inputs or the settings cannot be read.
    """
    settings = load_settings(request.profile, request.overrides)
    columns = read_columns(request.mapping, request.preset, settings.templates)
    hashes = HashMemory(request.out / "cache" / "hashes.json")
    found = read_inputs(request.clips, request.manifest, columns, hashes)
    inputs = without_taken_down(found, read_record(request.out))
    pipeline = Pipeline(build_stages(settings), request.out)
    pipeline.store.refresh()
    policy = load_policy(settings.dataset.agreement, settings.templates)
    planned = [pipeline.plan(clip) for clip in inputs.clips]
    settled = [pipeline.settled(clip) for clip in inputs.clips]
    pending = Counter(stage for state in planned for stage in state.pending)
    return View(
        inputs=inputs.file_count,
        clips=len(inputs.clips),
        pending_clips=sum(bool(state.pending) for state in planned),
        pending={stage.name: pending[stage.name] for stage in pipeline.stages},
        stages=count_rows(settled),
        reasons=count_reasons(settled, inputs.refusals),
        failures=failures_of(settled, inputs.refusals),
        left_out=left_out_of(settled, _rejected(pipeline, settled, settings.dataset, policy)),
        waiting=waiting_of(planned),
    )


def _rejected(
    pipeline: Pipeline, states: Iterable[State], settings: DatasetSettings, policy: Policy
) -> Iterator[Refusal]:
    """The finished clips that a build would leave out of the dataset."""
    for batch in batched((state for state in states if not state.pending), LOOK_SIZE):
        for state, rows in zip(batch, pipeline.rows(batch, FIRST_LOOK), strict=True):
            decision = decide(opinions_of(rows), policy)
            refusal = judge(state.clip, rows, settings) or conflict_of(state.clip, rows, decision)
            if refusal:
                yield refusal


@contextmanager
def open_build(request: Request) -> Iterator[Build]:
    """Lock the output folder, read settings and inputs, find out what is pending.

    Raises:
        MerrError: anything that keeps the build from starting, and what keeps it from writing
            while it runs (a full disk, say); it says what to do.
    """
    settings = with_places(load_settings(request.profile, request.overrides), request.out)
    if settings.templates is not None:
        check_folder(settings.templates)
    check_templates(settings)
    Decisions.load(settings)
    if request.manifest is None and (request.mapping or request.preset):
        raise MerrError("--map and --preset say how to read a manifest; give one with --manifest.")
    check_ready(settings)
    with _telling_what_to_do(request.out):
        request.out.mkdir(parents=True, exist_ok=True)
        with held(request.out):
            try:
                yield Build(request, settings)
            except OSError:
                _tidy(request.out)
                raise


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Nobody else works on this output folder meanwhile; what a killed write left is taken away.

    Raises:
        MerrError: somebody else does, or the folder cannot be locked.
    """
    with (out / ".lock").open("a+") as lock:
        _hold(lock, out)
        _tidy(out)
        yield


WHAT_TO_DO = {
    errno.ENOSPC: "Free some space",
    errno.EDQUOT: "Free some of your quota",
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f)",
    errno.EROFS: "Make it writable, or give another --out",
    errno.EACCES: "Make it writable, or give another --out",
    errno.EPERM: "Make it writable, or give another --out",
    errno.ENOENT: "Give another --out",
    errno.ENOTDIR: "Give another --out",
    errno.EEXIST: "Give another --out",
    errno.EIO: "Look after the disk",
}


@contextmanager
def _telling_what_to_do(out: Path) -> Iterator[None]:
    """Whatever touches ``out`` may meet a full disk or a missing right, here or in a worker."""
    try:
        yield
    except OSError as error:
        place = out if error.filename is None else Path(os.fsdecode(error.filename))
        if error.errno not in WHAT_TO_DO or not place.is_relative_to(out):
            raise  # not of our writing
        inside = place.parent if place.name.startswith(".tmp-") else place
        raise MerrError(
            f"--out {out} cannot be written: {os.strerror(error.errno)}"
            + (f" ({inside.relative_to(out)})" if inside != out else "")
            + f". {WHAT_TO_DO[error.errno]} and run it again; what was finished is kept."
        ) from error


def _tidy(out: Path) -> None:
    """Take away what a killed or failed write has left."""
    recover(out)
    for left_over in out.rglob(".tmp-*"):
        left_over.unlink(missing_ok=True)


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


def _part(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
