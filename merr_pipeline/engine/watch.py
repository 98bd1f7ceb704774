"""What a worker may take for one clip, and what it has in hand: the worker notes, the parent looks.

The note lies in memory that both share. So the parent sees it also when the worker hangs in C code
that never gives Python a turn, and when the worker is dead.
"""

from __future__ import annotations

import ctypes
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.sharedctypes import RawValue

from merr_pipeline.schema import Clip


@dataclass(frozen=True)
class Limits:
    """Of one worker; None sets no limit."""

    clip_s: float | None = None  # one stage over one clip, the start of its tools not counted
    memory_mb: int | None = None  # of the worker, and again of each tool that it starts


NO_LIMITS = Limits()


class _Note(ctypes.Structure):
    _fields_ = (
        ("since_s", ctypes.c_double),  # on the monotonic clock, which all processes share
        ("clips", ctypes.c_int),  # how many are in hand together; 0 for none
        ("sha256", ctypes.c_char * 64),  # of the clip, if it is one
        ("stage", ctypes.c_char * 32),
    )


@dataclass(frozen=True)
class InHand:
    """What a worker was at when it died; None where that cannot be told."""

    sha256: str | None = None
    stage: str | None = None


class Watch:
    """The note of one worker process; to be made before it starts, and given to it."""

    def __init__(self, clip_limit_s: float | None) -> None:
        self._limit_s = clip_limit_s
        self._note = RawValue(_Note)

    @contextmanager
    def holding(self, stage: str, clips: Sequence[Clip]) -> Iterator[None]:
        """Note, in the worker, what is in hand while the block runs."""
        self._note.since_s = time.monotonic()
        self._note.stage = stage.encode()
        self._note.sha256 = clips[0].sha256.encode() if len(clips) == 1 else b""
        self._note.clips = len(clips)
        try:
            yield
        finally:
            self._note.clips = 0

    def is_overdue(self) -> bool:
        """Whether what is in hand has had more than its time; clips in hand together share it."""
        clips, since_s = self._note.clips, self._note.since_s
        if self._limit_s is None or not clips:
            return False
        return bool(time.monotonic() - since_s > self._limit_s * clips)

    def in_hand(self) -> InHand:
        """What the note says; sure only when the worker is dead."""
        if not self._note.clips:
            return InHand()
        return InHand(self._note.sha256.decode() or None, self._note.stage.decode())


def limit_memory(most_mb: int | None) -> None:
    """Refuse this process, and each that it starts, more private memory than that.

    The kernel counts what was asked for and may be written to, used or not: so it also refuses a
    clip whose header claims a huge picture. Who asks for more gets a ``MemoryError`` or dies.
    """
    if most_mb is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    set_before = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([most_mb << 20, *set_before]), hard))
