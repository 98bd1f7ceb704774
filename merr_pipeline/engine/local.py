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
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType

import cv2

from merr_pipeline.pipeline import BatchReport, Outcome, Pipeline, State
from merr_pipeline.schema import Clip, MerrError

ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


class StoppedError(Exception):
    """The engine was stopped while this batch ran; the rows of finished stages are kept."""


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
        self._stopping = threading.Event()
        self._workers = [_Worker(open_pipeline, pipeline.marks) for _ in range(workers)]
        self._free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
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
        except BrokenProcessPool:
            worker.close()
            self._check_stop()  # it was we who killed it
            return self._one_by_one(worker, [state.clip for state in states])
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

    def _one_by_one(self, worker: _Worker, clips: Sequence[Clip]) -> BatchReport:
        report = BatchReport()
        for clip in clips:
            state = self._left_of(clip, self._pipeline.plan)
            while state.pending:
                try:
                    worker.start()
                    self._check_stop()
                    report.add(worker.run([state]))
                    break
                except BrokenProcessPool:
                    worker.close()
                    self._check_stop()
                    report.outcomes += self._give_up(clip)
                    state = self._left_of(clip, self._pipeline.settled)
        return report

    def _give_up(self, clip: Clip) -> list[Outcome]:
        state = self._left_of(clip, self._pipeline.settled)
        with self._one_at_a_time:
            return [self._pipeline.give_up(state)] if state.pending else []

    def _left_of(self, clip: Clip, ask: Callable[[Clip], State]) -> State:
        with self._one_at_a_time:
            self._pipeline.store.refresh()
            return ask(clip)

    def _check_stop(self) -> None:
        if self._stopping.is_set():
            raise StoppedError


class _Worker:
    """One process with a pipeline in it, started with its first batch."""

    def __init__(self, open_pipeline: Callable[[], Pipeline], marks: object) -> None:
        self._open_pipeline, self._marks = open_pipeline, marks
        self._pool: ProcessPoolExecutor | None = None
        self._pid: int | None = None

    def start(self) -> None:
        """Start the process if there is none, and wait until it is ready."""
        if self._pool is not None:
            return
        # a child reads these when it first imports numpy, so they must stand before it starts
        os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
        pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        # a child inherits the mask: on Ctrl-C the parent alone decides what happens
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            opened = pool.submit(_open, self._open_pipeline, self._marks)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            self._pid = opened.result()
        except BrokenProcessPool as error:
            raise MerrError(
                "a worker process died before it saw a clip; is there enough memory?\n"
                "`merr doctor` shows what is missing; --set engine.workers=1 needs the least."
            ) from error
        self._pool = pool

    def run(self, states: Sequence[State]) -> BatchReport:
        assert self._pool is not None
        return self._pool.submit(_run, list(states)).result()

    def kill(self) -> None:
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def close(self) -> None:
        if self._pool is not None:
            with contextlib.suppress(BrokenProcessPool):  # gone already, and its tools with it
                self._pool.submit(_close).result()
            self._pool.shutdown()
            self._pool = self._pid = None


_pipeline: Pipeline | None = None  # of this worker process, kept from batch to batch


def _open(open_pipeline: Callable[[], Pipeline], marks: object) -> int:
    """Get this worker ready; its process id."""
    global _pipeline
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)  # it has threads of its own, which spin
    _pipeline = open_pipeline()
    if _pipeline.marks != marks:
        raise MerrError(
            "a template or the code changed while the build ran; what was made is kept.\n"
            "Run it again: it makes what depends on the change."
        )
    return os.getpid()


def _end_with_parent() -> None:
    """A parent that is killed cannot stop its workers: they must not outlive it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(states: list[State]) -> BatchReport:
    assert _pipeline is not None
    return _pipeline.run(states)


def _close() -> None:
    if _pipeline is not None:
        _pipeline.close()
