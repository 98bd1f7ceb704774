"""The local engine: warm worker processes on this machine.

Each worker is a process of its own (spawned, never forked) that keeps its tools and models warm
from batch to batch, with one thread per math library. A worker that dies takes only its batch with
it: the batch's unfinished clips are run again one by one in a fresh worker, and a clip that kills
that one too ends as ``worker_crashed`` in the stage it was in.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType

import cv2

from merr_pipeline.pipeline import BatchReport, Outcome, Pipeline, State
from merr_pipeline.schema import Clip, MerrError

_ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


class LocalEngine:
    """Runs batches on ``workers`` processes; `run` may be called from as many threads.

    ``open_pipeline`` is called once in each worker (so it must be picklable); ``pipeline`` is the
    parent's: after a crash it says what is left of a clip.
    """

    def __init__(
        self, open_pipeline: Callable[[], Pipeline], workers: int, pipeline: Pipeline
    ) -> None:
        self._pipeline = pipeline
        self._one_at_a_time = threading.Lock()  # the parent's pipeline is not made for threads
        self._free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for _ in range(workers):
            self._free.put(_Worker(open_pipeline, pipeline.marks))
        self._workers = workers

    def run(self, states: Sequence[State]) -> BatchReport:
        """Run one batch on a free worker and wait for it."""
        worker = self._free.get()
        try:
            return worker.run(states)
        except BrokenProcessPool:
            worker.close()
            return self._one_by_one(worker, [state.clip for state in states])
        finally:
            self._free.put(worker)

    def close(self) -> None:
        """Stop the workers and the tools they started."""
        for _ in range(self._workers):
            self._free.get().close()

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _one_by_one(self, worker: _Worker, clips: Sequence[Clip]) -> BatchReport:
        report = BatchReport()
        for clip in clips:
            while (state := self._left_of(clip)).pending:
                try:
                    report.add(worker.run([state]))
                    break
                except BrokenProcessPool:
                    worker.close()
                    report.outcomes.append(self._give_up(clip))
        return report

    def _give_up(self, clip: Clip) -> Outcome:
        state = self._left_of(clip)
        with self._one_at_a_time:
            return self._pipeline.give_up(state)

    def _left_of(self, clip: Clip) -> State:
        with self._one_at_a_time:
            self._pipeline.store.refresh()
            return self._pipeline.settled(clip)


class _Worker:
    """One process with a pipeline in it, started with its first batch."""

    def __init__(self, open_pipeline: Callable[[], Pipeline], marks: object) -> None:
        self._open_pipeline, self._marks = open_pipeline, marks
        self._pool: ProcessPoolExecutor | None = None

    def run(self, states: Sequence[State]) -> BatchReport:
        return self._start().submit(_run, list(states), self._marks).result()

    def close(self) -> None:
        if self._pool is not None:
            with contextlib.suppress(BrokenProcessPool):  # gone already, and its tools with it
                self._pool.submit(_close).result()
            self._pool.shutdown()
            self._pool = None

    def _start(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # a child reads these when it first imports numpy, so they must stand before it starts
            os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
            self._pool = ProcessPoolExecutor(
                max_workers=1,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_prepare,
                initargs=(self._open_pipeline,),
            )
        return self._pool


# Of this worker process; both are kept from batch to batch.
_open_pipeline: Callable[[], Pipeline] | None = None
_pipeline: Pipeline | None = None


def _prepare(open_pipeline: Callable[[], Pipeline]) -> None:
    global _open_pipeline
    _open_pipeline = open_pipeline
    cv2.setNumThreads(1)  # it has threads of its own, which spin


def _run(states: list[State], marks: object) -> BatchReport:
    """Run a batch in this worker; opened here, so that an error reaches the parent as itself."""
    global _pipeline
    if _pipeline is None:
        assert _open_pipeline is not None
        _pipeline = _open_pipeline()
    if _pipeline.marks != marks:
        raise MerrError(
            "a template or the code changed while the build ran; what was made is kept.\n"
            "Run it again: it makes what depends on the change."
        )
    return _pipeline.run(states)


def _close() -> None:
    if _pipeline is not None:
        _pipeline.close()
