"""What a stage is: the small contract between a room and the pipeline.

A stage gets clips with the rows of the stages it needs, and gives back one row per clip. It never
raises for a bad clip: `each` turns `NotOk` into a row with a reason, and any other exception into
``out_of_memory`` or ``stage_error``. It never writes to the store; the pipeline does.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

import pyarrow as pa

from merr_pipeline.schema import Clip, Reason, Row, Status


class NotOk(Exception):  # noqa: N818 - it ends a clip's turn in a stage; it is no error of ours
    """This clip has no ``ok`` row in this stage, and here is why.

    ``payload`` holds what was measured all the same (a silent clip still has a loudness).
    """

    def __init__(
        self, status: Status, reason: Reason, detail: str = "", payload: Row | None = None
    ) -> None:
        super().__init__(detail or reason.value)
        self.status, self.reason, self.detail = status, reason, detail
        self.payload = payload or {}


def skip(reason: Reason, detail: str = "", payload: Row | None = None) -> NotOk:
    """There is nothing to measure here; to be raised."""
    return NotOk(Status.SKIPPED, reason, detail, payload)


def fail(reason: Reason, detail: str = "", payload: Row | None = None) -> NotOk:
    """There is something to measure, and it went wrong; to be raised."""
    return NotOk(Status.FAILED, reason, detail, payload)


@dataclass(frozen=True)
class Resources:
    """What one worker of a stage occupies. A stage with GPUs gets one worker on each of them."""

    gpus: int = 0


@dataclass(frozen=True)
class Identity:
    """How a stage works: its fingerprint is the hash of all of this, its provenance shows it.

    ``settings`` holds what shapes the result. Concurrency, time limits, budgets, prices and paths
    do not belong in it; the content of a file that a path names does.
    """

    stage: str
    version: int
    tool: str
    tool_version: str = ""
    model: str = ""
    revision: str = ""
    template: str = ""  # content hash of the templates it reads
    settings: Mapping[str, Any] = field(default_factory=dict)

    def fingerprint(self) -> str:
        """Hex sha256 of the whole identity."""
        return digest(asdict(self))


@dataclass(frozen=True)
class Work:
    """One clip for one stage, with the rows it may read: ``seen["voice"]["speech_s"]``.

    Every stage in ``needs`` has a row in ``seen``; its ``status`` may be any.
    """

    clip: Clip
    seen: Mapping[str, Row]

    def ok(self, stage: str) -> bool:
        """Whether that stage has an ``ok`` row for this clip."""
        return is_ok(self.seen, stage)


def is_ok(rows: Mapping[str, Row], stage: str) -> bool:
    """Whether a clip, given by its rows, has an ``ok`` row of this stage."""
    return stage in rows and bool(rows[stage]["status"] == Status.OK)


class BatchStage(Protocol):
    """A stage that runs in the engine's workers; `setup` is called once per worker, before work."""

    @property
    def name(self) -> str:
        """As `schema.STAGE_SCHEMAS` spells it."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """The stages whose rows it reads."""
        ...

    @property
    def reads(self) -> Mapping[str, tuple[str, ...]]:
        """Of which of them it gets some columns alone, beside those that every row begins with."""
        ...

    @property
    def schema(self) -> pa.Schema:
        """The columns of its rows."""
        ...

    @property
    def resources(self) -> Resources:
        """What one worker of it occupies."""
        ...

    @property
    def at_once(self) -> int:
        """How many clips `annotate` gets at a time; they share their time limits."""
        ...

    def identity(self) -> Identity:
        """How this stage works; cheap, and the same in every process."""
        ...

    def facts(self, clip: Clip) -> Mapping[str, Any]:
        """What of the manifest and of files beside the clip this stage reads (JSON values)."""
        ...

    def setup(self) -> None:
        """Load models, start tools. May be slow."""
        ...

    def annotate(self, batch: Sequence[Work]) -> list[Row]:
        """One row per work, in order: payload columns, ``status``, ``reason``, ``detail``."""
        ...

    def close(self) -> None:
        """Stop tools, free models."""
        ...


class Stage:
    """Defaults for a `BatchStage` that has nothing to warm up and reads no facts."""

    needs: tuple[str, ...] = ()
    reads: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    resources = Resources()
    at_once = 1

    def facts(self, clip: Clip) -> Mapping[str, Any]:
        """Nothing beyond the clip's bytes."""
        del clip
        return {}

    def setup(self) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """Nothing to free."""


def each(batch: Sequence[Work], annotate_one: Callable[[Work], Row]) -> list[Row]:
    """Run a stage's function on one clip after another; every clip ends as a row."""
    return [one(annotate_one, work) for work in batch]


def one(annotate_one: Callable[[Work], Row], work: Work) -> Row:
    """The row of one clip, also when the function raises."""
    try:
        return ok_row(annotate_one(work))
    except NotOk as ended:
        return not_ok_row(ended)
    except (Exception, SystemExit) as error:  # a fault must cost one clip, not the run
        return not_ok_row(fault(error))


def fault(error: Exception | SystemExit) -> NotOk:
    """What an exception that no stage expects makes of a clip: memory that ran out, or our fault.

    NumPy, Arrow and PyAV say ``MemoryError``; OpenCV and CUDA have one error for all.

    Raises:
        OSError: the disk is full, which is no fault of any clip; it ends the build.
    """
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        raise error
    if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
        return fail(Reason.OUT_OF_MEMORY, f"{describe(error)}; see engine.memory_limit_mb")
    return fail(Reason.STAGE_ERROR, describe(error))


def ok_row(payload: Row) -> Row:
    """A finished row: rounded, status ``ok``."""
    return {**rounded(payload), "status": Status.OK.value, "reason": None, "detail": None}


def not_ok_row(ended: NotOk) -> Row:
    """The row of a clip that was skipped or failed."""
    return {
        **rounded(ended.payload),
        "status": ended.status.value,
        "reason": ended.reason.value,
        "detail": ended.detail or None,
    }


NO_MEMORY = ("Insufficient memory", "out of memory")  # as OpenCV and CUDA say it
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_FOLDERS = re.compile(r"(?<![\w.])/(?:[^/\s'\"]+/)+")  # of absolute paths, which differ by machine


def describe(error: BaseException) -> str:
    """One line for ``detail``: the error, and where in our code it arose (no path of a machine)."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "merr_pipeline" in frame.filename] or list(frames)
    place = ""
    if ours:
        module = ours[-1].filename.rpartition("merr_pipeline/")[2]
        place = f" at {module}:{ours[-1].lineno}"
    return f"{type(error).__name__}: {without_folders(str(error))}{place}"


def without_folders(text: str) -> str:
    """A message with the names of files and without the folders they lie in."""
    return _FOLDERS.sub("", text)


class Exact(float):
    """A number that is already as round as it is to be: `rounded` leaves its digits alone."""


def rounded(value: Any, digits: int = 3) -> Any:
    """The value with every float in it rounded to ``digits`` decimals; NaN and inf become null.

    Also turns numpy scalars and tuples into plain Python, so that rows compare and hash alike.
    """
    if isinstance(value, Exact):
        return float(value)
    if isinstance(value, float):
        return round(value, digits) + 0.0 if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item, digits) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return rounded(value.tolist(), digits)
    return value


def digest(value: Any) -> str:
    """Hex sha256 of canonical JSON (sorted keys, no blanks); bytes count by their own sha256."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"sha256": hashlib.sha256(value).hexdigest()}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no canonical form")
