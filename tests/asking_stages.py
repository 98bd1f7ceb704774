"""A pipeline with a toy stage that asks a model: workers before and after it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pyarrow as pa
from pydantic import BaseModel
from toy_stages import Joined, Length, columns

from merr_pipeline.llm.messages import user
from merr_pipeline.llm.questions import Question
from merr_pipeline.llm.stage import CallStage
from merr_pipeline.pipeline import Pipeline
from merr_pipeline.schema import Reason
from merr_pipeline.stage import Identity, skip


class Count(BaseModel):
    words: int


class AskedWords(CallStage):
    """Asks how many words a clip has; a clip named ``mute…`` is not asked about."""

    name = "transcript"
    needs = ("probe",)
    schema = columns(words=pa.int64())
    roles = ("text",)

    def identity(self):
        return Identity(self.name, 1, "toy")

    def questions(self, work):
        if work.clip.clip_id.startswith("mute"):
            raise skip(Reason.NO_TRANSCRIPT)
        length = work.seen["probe"]["length"]
        prompt = (user(f"{work.clip.clip_id} has {length} bytes"),)
        return [Question("text", self.name, prompt, Count)]

    def row(self, work, answers):
        (answer,) = answers
        return {"words": answer.value.words}


def asking_pipeline(out: Path, *, retry: bool = False) -> Pipeline:
    pipeline = Pipeline([Length(), AskedWords(), Joined()], out, retry=retry)
    pipeline.store.refresh()
    return pipeline


def asking_opener(out: Path):
    """What a worker process calls to open the same pipeline."""
    return partial(asking_pipeline, out)
