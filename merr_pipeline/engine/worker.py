"""One worker: a process that keeps its tools and models warm from batch to batch.

It is spawned, never forked, and has one thread per math library. The parent starts it, gives it
batches, and looks on: a process that takes too long for a clip is killed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

import cv2

from merr_pipeline.engine.watch import InHand, Limits, Watch, limit_memory
from merr_pipeline.gpus import VARIABLE as GPU_VARIABLE
from merr_pipeline.pipeline import BatchReport, Pipeline, State
from merr_pipeline.schema import MerrError, Reason
from merr_pipeline.stage import NotOk, fail

ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
PLAIN_MEMORY = {"ARROW_DEFAULT_MEMORY_POOL": "system"}  # its own one sets 1 GB aside in advance
LOOK_EVERY_S = 0.5  # at what a worker has in hand
LIVES = 2  # workers that a clip may cost


class WorkerDiedError(Exception):
    """A worker ended in mid batch; ``why`` is what that makes of the clip it had in hand."""

    def __init__(self, in_hand: InHand, why: NotOk) -> None:
        super().__init__()
        self.in_hand, self.why = in_hand, why


class Worker:
    """One process with a pipeline in it, started with its first batch."""

    def __init__(
        self,
        open_pipeline: Callable[[], Pipeline],
        marks: object,
        limits: Limits,
        gpu: str | None = None,
    ) -> None:
        self._open_pipeline, self._marks, self._limits = open_pipeline, marks, limits
        self._gpu = gpu  # the only one it sees; "" hides all, None leaves it be
        self._watch = Watch(limits.clip_s)
        self._pool: ProcessPoolExecutor | None = None
        self._pid: int | None = None

    def start(self) -> None:
        """Start the process if there is none, and wait until it is ready."""
        if self._pool is not None:
            return
        # a child reads these when it first imports numpy, so they must stand before it starts
        os.environ.update(dict.fromkeys(ONE_THREAD, "1") | PLAIN_MEMORY)
        self._watch = Watch(self._limits.clip_s)
        pool = ProcessPoolExecutor(
            1,
            multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(self._watch, self._limits.memory_mb, self._gpu),
        )
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

    def run(self, states: Sequence[State], stages: Collection[str] | None = None) -> BatchReport:
        """Run a batch and wait for it, as long as no clip takes more than its time.

        ``stages`` is as in `Pipeline.run`.

        Raises:
            WorkerDiedError: the process is gone, by itself or because it took too long.
        """
        assert self._pool is not None
        why = fail(Reason.WORKER_CRASHED, f"the process died {LIVES} times on this clip")
        try:
            running = self._pool.submit(_run, list(states), stages)
            while not wait([running], LOOK_EVERY_S).done:
                if self._watch.is_overdue():
                    limit = f"engine.clip_limit_s = {self._limits.clip_s:g}"
                    why = fail(Reason.DECODE_TIMEOUT, f"took longer than {limit} in this stage")
                    self.kill()
                    break
            return running.result()
        except BrokenProcessPool as error:
            raise WorkerDiedError(self._watch.in_hand(), why) from error

    def kill(self) -> None:
        """End the process now; its tools end when they miss it."""
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def close(self) -> None:
        """Let the process stop its tools, and end."""
        if self._pool is not None:
            with contextlib.suppress(BrokenProcessPool):  # gone already, and its tools with it
                self._pool.submit(_close).result()
            self._pool.shutdown()
            self._pool = self._pid = None


_pipeline: Pipeline | None = None  # of this worker process, kept from batch to batch
_watch: Watch | None = None  # likewise


def _begin(watch: Watch, memory_limit_mb: int | None, gpu: str | None) -> None:
    """The first thing that a worker does."""
    global _watch
    if gpu is not None:
        os.environ[GPU_VARIABLE] = gpu  # it is read when something first looks for GPUs
    _watch = watch
    limit_memory(memory_limit_mb)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)  # it has threads of its own, which spin


def _open(open_pipeline: Callable[[], Pipeline], marks: object) -> int:
    """Get this worker ready; its process id."""
    global _pipeline
    _pipeline = open_pipeline()
    if _watch is not None:
        _pipeline.holding = _watch.holding
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


def _run(states: list[State], stages: Collection[str] | None) -> BatchReport:
    assert _pipeline is not None
    try:
        return _pipeline.run(states, stages)
    except MemoryError:  # between two clips, so no one clip's row can say so
        os._exit(1)


def _close() -> None:
    if _pipeline is not None:
        _pipeline.close()
