"""The local engine: warm worker processes on this machine.

A worker that dies takes only its batch with it: the batch's unfinished clips are run again one by
one in a fresh worker. A clip that was in hand when a worker died, and again when the next one did,
ends as failed in the stage it was in: as ``decode_timeout`` where the worker was killed because the
clip took too long, otherwise as ``worker_crashed``. What is left of it then goes on.

Stages that want a GPU have workers of their own, one for each GPU: a batch goes from lane to lane,
and the stages that need none keep all processors. Stages that ask models have a lane without
workers: a batch waits there in the parent, while the workers see to others.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from itertools import groupby
from types import TracebackType

from merr_pipeline.engine.calls import Caller
from merr_pipeline.engine.watch import NO_LIMITS, Limits
from merr_pipeline.engine.worker import LIVES, Worker, WorkerDiedError
from merr_pipeline.llm.stage import CallStage
from merr_pipeline.pipeline import BatchReport, Outcome, Pipeline, State
from merr_pipeline.schema import Clip


class StoppedError(Exception):
    """The engine was stopped while this batch ran; the rows of finished stages are kept."""


@dataclass(frozen=True)
class Lane:
    """Stages that run one after another on one worker, and the workers that are free for them.

    Without workers they run in the parent.
    """

    stages: frozenset[str]
    free: queue.SimpleQueue[Worker] | None


class LocalEngine:
    """Runs batches on ``workers`` processes; `run` may be called from as many threads.

    ``open_pipeline`` is called once in each worker (so it must be picklable); ``pipeline`` is the
    parent's: between lanes and after a crash it says what is left of a clip. Each of ``gpus``, a
    value of ``CUDA_VISIBLE_DEVICES``, gets one worker more, for the stages that want a GPU.
    ``caller`` asks models, for stages that do.
    """

    def __init__(
        self,
        open_pipeline: Callable[[], Pipeline],
        workers: int,
        pipeline: Pipeline,
        limits: Limits = NO_LIMITS,
        gpus: Sequence[str] = (),
        caller: Caller | None = None,
    ) -> None:
        self._pipeline, self._caller = pipeline, caller
        if caller is not None:
            pipeline.asking = caller.annotate
        self._stopping = threading.Event()
        wanting = {stage.name for stage in pipeline.stages if stage.resources.gpus and gpus}
        hidden = "" if wanting else None
        plain = [Worker(open_pipeline, pipeline.marks, limits, hidden) for _ in range(workers)]
        on_gpu = [Worker(open_pipeline, pipeline.marks, limits, gpu) for gpu in gpus if wanting]
        self._workers = plain + on_gpu
        free, free_gpus = _queue_of(plain), _queue_of(on_gpu)
        self._pools = ((free, len(plain)), (free_gpus, len(on_gpu)))
        asking = {stage.name for stage in pipeline.stages if isinstance(stage, CallStage)}
        places = dict.fromkeys(asking) | dict.fromkeys(wanting, free_gpus)
        self._lanes = [
            Lane(frozenset(group), place)
            for place, group in groupby(
                [stage.name for stage in pipeline.stages], lambda name: places.get(name, free)
            )
        ]

    def run(self, states: Sequence[State]) -> BatchReport:
        """Run one batch, in each lane on a free worker, and wait for it.

        Raises:
            StoppedError: `stop` was called.
            MerrError: no worker can start, or what it sees is not what the parent planned with.
        """
        report = BatchReport()
        for number, lane in enumerate(self._lanes):
            if number:
                states = self._rest_of(states, number, report)
            todo = [state for state in states if not lane.stages.isdisjoint(state.pending)]
            if lane.free is None:
                report.add(self._ask(lane, todo))
            elif todo or not states:
                report.add(self._run_in(lane, lane.free, todo))
        return report

    def _ask(self, lane: Lane, states: Sequence[State]) -> BatchReport:
        self._check_stop()
        try:
            return self._pipeline.run(states, lane.stages)
        except CancelledError:
            raise StoppedError from None

    def _run_in(
        self, lane: Lane, free: queue.SimpleQueue[Worker], states: Sequence[State]
    ) -> BatchReport:
        worker = free.get()
        try:
            worker.start()
            self._check_stop()
            return worker.run(states, lane.stages)
        except WorkerDiedError as death:
            worker.close()
            self._check_stop()  # it was we who killed it
            return self._one_by_one(worker, lane, [state.clip for state in states], death)
        finally:
            free.put(worker)

    def stop(self) -> None:
        """End all work now: kill the workers. What they had written is in the store."""
        self._stopping.set()
        for worker in self._workers:
            worker.kill()
        if self._caller is not None:
            self._caller.stop()

    def close(self) -> None:
        """Stop the workers and the tools they started; close the door to models."""
        if self._caller is not None:
            self._caller.close()
        for free, count in self._pools:
            for _ in range(count):
                free.get().close()

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.stop()
        self.close()

    def _rest_of(self, states: Sequence[State], lane: int, report: BatchReport) -> list[State]:
        """What the lanes from this one on get of a batch; a clip that changed waits."""
        later = frozenset().union(*(one.stages for one in self._lanes[lane:]))
        with self._pipeline.lock:
            self._pipeline.store.refresh()
            rests = [
                self._pipeline.rest_of(state, later)
                for state in states
                if state.clip.clip_id not in report.unsteady
            ]
        return [rest for rest in rests if rest is not None]

    def _one_by_one(
        self, worker: Worker, lane: Lane, clips: Sequence[Clip], death: WorkerDiedError
    ) -> BatchReport:
        report = BatchReport()
        # what failed in a lane before is not tried again in this one: it lacks what that needs
        again = self._pipeline.plan if lane is self._lanes[0] else self._pipeline.settled
        in_hand = death.in_hand.sha256
        deaths = Counter(clip.clip_id for clip in clips if in_hand in (None, clip.sha256))
        for clip in clips:
            state = self._left_of(clip, again)
            while not lane.stages.isdisjoint(state.pending):
                try:
                    worker.start()
                    self._check_stop()
                    report.add(worker.run([state], lane.stages))
                    break
                except WorkerDiedError as next_death:
                    worker.close()
                    self._check_stop()
                    deaths[clip.clip_id] += 1
                    if deaths[clip.clip_id] < LIVES:
                        state = self._left_of(clip, again)
                    else:
                        report.outcomes += self._give_up(clip, next_death)
                        state = self._left_of(clip, self._pipeline.settled)
        return report

    def _give_up(self, clip: Clip, death: WorkerDiedError) -> list[Outcome]:
        state = self._left_of(clip, self._pipeline.settled)
        if death.in_hand.stage not in (None, *state.pending):
            return []  # it was trying again what had failed in an earlier run; that row stands
        with self._pipeline.lock:
            return [self._pipeline.give_up(state, death.why)] if state.pending else []

    def _left_of(self, clip: Clip, ask: Callable[[Clip], State]) -> State:
        with self._pipeline.lock:
            self._pipeline.store.refresh()
            return ask(clip)

    def _check_stop(self) -> None:
        if self._stopping.is_set():
            raise StoppedError


def _queue_of(workers: Sequence[Worker]) -> queue.SimpleQueue[Worker]:
    free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    for worker in workers:
        free.put(worker)
    return free
