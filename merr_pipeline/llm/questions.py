"""What a stage asks a model, and what it gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel

from merr_pipeline.llm.messages import Message
from merr_pipeline.llm.prices import Usage
from merr_pipeline.schema import Clip
from merr_pipeline.settings import Role
from merr_pipeline.stage import NotOk

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Question(Generic[M]):
    """What a stage asks a model.

    ``check`` looks at an answer of the right shape and gives back what is wrong with it, if
    anything: the model is told its detail and may mend the answer once; if it is still wrong, it
    is raised. ``sample`` tells several answers to one question apart. ``clip`` is whom it is about;
    it shapes no answer, but the cache notes whose an answer is.
    """

    role: Role
    stage: str
    messages: tuple[Message, ...]
    answer: type[M]
    check: Callable[[M], NotOk | None] | None = None
    sample: int = 0
    clip: Clip | None = None


@dataclass(frozen=True)
class Answer(Generic[M]):
    """An answer that fits, and what it took (also when that was paid in an earlier run)."""

    value: M
    text: str  # as the model wrote it
    model: str
    usage: Usage
    from_cache: bool
    repaired: bool
