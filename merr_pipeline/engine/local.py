"""The local engine: warm worker processes on this machine.

A worker that dies takes only its batch with it: the batch's unfinished clips are run again one by
one in a fresh worker. A clip that was in hand when a worker died, and again when the next one did,
ends as failed in the stage it was in: as ``decode_timeout`` where the worker was killed because the
clip took too long, otherwise as ``worker_crashed``. What is left of it then goes on.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType

from merr_pipeline.engine.watch import NO_LIMITS, Limits
from merr_pipeline.engine.worker import LIVES, Worker, WorkerDiedError
from merr_pipeline.pipeline import BatchReport, Outcome, Pipeline, State
from merr_pipeline.schema import Clip


class StoppedError(Exception):
    """The engine was stopped while this batch ran; the rows of finished stages are kept."""


class LocalEngine:
    """Runs batches on ``workers`` processes; `run` may be called from as many threads.

    ``open_pipeline`` is called once in each worker (so it must be picklable); ``pipeline`` is the
    parent's: after a crash it says what is left of a clip.
    """

    def __init__(
        self,
        open_pipeline: Callable[[], Pipeline],
        workers: int,
        pipeline: Pipeline,
        limits: Limits = NO_LIMITS,
    ) -> None:
        self._pipeline = pipeline
        self._one_at_a_time = threading.Lock()  # the parent's pipeline is not made for threads
        self._stopping = threading.Event()
        self._workers = [Worker(open_pipeline, pipeline.marks, limits) for _ in range(workers)]
        self._free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)

    def run(self, states: Sequence[State]) -> BatchReport:
        """Run one batch on a free worker and wait for it.

        Raises:
            StoppedError: `stop` was called.
            MerrError: no worker can start, or what it sees is not what the parent planned with.
        """
        worker = self._free.get()
        try:
            worker.start()
            self._check_stop()
            return worker.run(states)
        except WorkerDiedError as death:
            worker.close()
            self._check_stop()  # it was we who killed it
            return self._one_by_one(worker, [state.clip for state in states], death)
        finally:
            self._free.put(worker)

    def stop(self) -> None:
        """End all work now: kill the workers. What they had written is in the store."""
        self._stopping.set()
        for worker in self._workers:
            worker.kill()

    def close(self) -> None:
        """Stop the workers and the tools they started."""
        for _ in self._workers:
            self._free.get().close()

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

    def _one_by_one(
        self, worker: Worker, clips: Sequence[Clip], death: WorkerDiedError
    ) -> BatchReport:
        report = BatchReport()
        in_hand = death.in_hand.sha256
        deaths = Counter(clip.clip_id for clip in clips if in_hand in (None, clip.sha256))
        for clip in clips:
            state = self._left_of(clip, self._pipeline.plan)
            while state.pending:
                try:
                    worker.start()
                    self._check_stop()
                    report.add(worker.run([state]))
                    break
                except WorkerDiedError as again:
                    worker.close()
                    self._check_stop()
                    deaths[clip.clip_id] += 1
                    if deaths[clip.clip_id] < LIVES:
                        state = self._left_of(clip, self._pipeline.plan)
                    else:
                        report.outcomes += self._give_up(clip, again)
                        state = self._left_of(clip, self._pipeline.settled)
        return report

    def _give_up(self, clip: Clip, death: WorkerDiedError) -> list[Outcome]:
        state = self._left_of(clip, self._pipeline.settled)
        if death.in_hand.stage not in (None, *state.pending):
            return []  # it was trying again what had failed in an earlier run; that row stands
        with self._one_at_a_time:
            return [self._pipeline.give_up(state, death.why)] if state.pending else []

    def _left_of(self, clip: Clip, ask: Callable[[Clip], State]) -> State:
        with self._one_at_a_time:
            self._pipeline.store.refresh()
            return ask(clip)

    def _check_stop(self) -> None:
        if self._stopping.is_set():
            raise StoppedError
