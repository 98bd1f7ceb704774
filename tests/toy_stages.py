"""A pipeline of three toy stages, for tests of what runs any pipeline.

``length`` counts the bytes of a clip; ``words`` reads its transcript column; ``joined`` builds on
both. The clip's own bytes say what goes wrong: ``kill`` ends the process, ``raise`` raises,
``once`` fails for as long as the file's folder holds no ``healed``, ``empty`` closes the gate,
``sleep`` notes its process in ``pid`` and takes for ever, ``edit`` changes its own sidecar,
``hang`` takes for ever, as ``hang_in_c`` does without giving other threads a turn; ``hang_once``
does so the first time, and ``hang_late`` in the second stage. ``eat`` wants 2 GB of NumPy,
``eat_cv2`` of OpenCV.
"""

from __future__ import annotations

import os
import re
import signal
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from merr_pipeline.pipeline import Pipeline
from merr_pipeline.schema import CONTENT, ROW_HEAD, Clip, Reason
from merr_pipeline.stage import Identity, Resources, Stage, each, fail, skip


def is_first_time(clip: Clip) -> bool:
    mark = clip.path.with_suffix(".seen")
    first = not mark.exists()
    mark.touch()
    return first


def columns(**payload: pa.DataType) -> pa.Schema:
    return pa.schema(
        [*ROW_HEAD, CONTENT, *(pa.field(name, kind) for name, kind in payload.items())]
    )


class Length(Stage):
    name = "probe"  # the gate
    schema = columns(length=pa.int64())

    def identity(self):
        return Identity(self.name, 1, "toy")

    def annotate(self, batch):
        return each(batch, self.annotate_one)

    def annotate_one(self, work):
        content = work.clip.path.read_bytes()
        if content == b"empty":
            raise fail(Reason.EMPTY_FILE, "nothing in it")
        if content == b"sleep":
            (work.clip.path.parent / "pid").write_text(str(os.getpid()))
            time.sleep(120)
        if content == b"kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if content == b"hang" or (content == b"hang_once" and is_first_time(work.clip)):
            time.sleep(120)
        if content == b"hang_in_c":
            re.match(r"(a+)+$", "a" * 60 + "b")  # tries all 2 ** 60 ways
        if content == b"exit":
            raise SystemExit(0)  # as a library may that was made for the command line
        if content == b"eat":
            np.empty(2 << 30, np.uint8)
        if content == b"eat_cv2":
            cv2.resize(np.zeros((10, 10), np.uint8), (1 << 16, 1 << 15))
        return {"length": len(content)}


class Words(Stage):
    name = "transcript"
    needs = ("probe",)
    schema = columns(words=pa.int64())

    def __init__(self, version=1):
        self.version = version

    def identity(self):
        return Identity(self.name, self.version, "toy")

    def facts(self, clip: Clip):
        sidecar = clip.path.with_suffix(".txt")
        return {
            "transcript": clip.transcript,
            "sidecar": sidecar.read_text() if sidecar.exists() else None,
        }

    def annotate(self, batch):
        return each(batch, self.annotate_one)

    def annotate_one(self, work):
        content = work.clip.path.read_bytes()
        if content == b"edit":
            work.clip.path.with_suffix(".txt").write_text("changed while it was read")
        if content == b"hang_late":
            time.sleep(120)
        if content == b"raise":
            raise ZeroDivisionError("a fault of ours")
        if content == b"once" and not (work.clip.path.parent / "healed").exists():
            raise fail(Reason.TOOL_TIMEOUT, "not yet")
        if work.clip.transcript is None:
            raise skip(Reason.NO_TRANSCRIPT)
        return {"words": len(work.clip.transcript.split())}


class Joined(Stage):
    name = "fine"
    needs = ("probe", "transcript")
    schema = columns(text=pa.string())

    def identity(self):
        return Identity(self.name, 1, "toy")

    def annotate(self, batch):
        return each(batch, self.annotate_one)

    def annotate_one(self, work):
        words = work.seen["transcript"]["words"]
        return {"text": f"{work.seen['probe']['length']} bytes, {words} words"}


def toy_pipeline(out: Path, words_version: int = 1, *, retry: bool = False) -> Pipeline:
    pipeline = Pipeline([Length(), Words(words_version), Joined()], out, retry=retry)
    pipeline.store.refresh()
    return pipeline


def toy_opener(out: Path):
    """What a worker process calls to open the same pipeline."""
    return partial(toy_pipeline, out)


def broken_opener() -> Pipeline:
    """A worker that dies before it is ready."""
    os._exit(1)


class OnGpu(Words):
    """Wants a GPU, and tells in its row which one its process saw; ``kill_on_gpu`` ends that."""

    schema = columns(words=pa.int64(), gpu=pa.string(), process=pa.int64())
    resources = Resources(gpus=1)

    def annotate_one(self, work):
        if work.clip.path.read_bytes() == b"kill_on_gpu":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.05)  # so that one GPU cannot have them all
        seen = {"gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), "process": os.getpid()}
        return {"words": 0, **seen}


class SeesGpu(Joined):
    """Wants none, and tells which one its process saw."""

    schema = columns(gpu=pa.string())

    def annotate_one(self, work):
        return {"gpu": os.environ.get("CUDA_VISIBLE_DEVICES")}


def gpu_pipeline(out: Path) -> Pipeline:
    pipeline = Pipeline([Length(), OnGpu(), SeesGpu()], out)
    pipeline.store.refresh()
    return pipeline
