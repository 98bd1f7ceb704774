"""The answers file: what any model said of the clips of a dataset, one JSON object a line.

::

    {"clip_id": "a", "task": "emotion", "record_id": null, "question": null, "answer": "happy",
     "label_probabilities": {"happy": 0.8, "sad": 0.2}}

``clip_id`` and ``answer`` must be there; ``task`` is ``emotion`` where nothing else is said. Empty
lines count for nothing. All that is wrong is told at once, by line, and then nothing is scored: a
score over half a file would look like any other.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from merr_pipeline.schema import MerrError

Task = Literal["emotion", "reason", "describe", "sentiment"]
SHOWN = 5  # faults told in full

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class ModelAnswer(BaseModel):
    """One line."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    clip_id: Annotated[str, Field(min_length=1)]
    answer: str
    task: Task = "emotion"
    record_id: str | None = None
    question: str | None = None
    label_probabilities: dict[str, Share] | None = None


@dataclass(frozen=True)
class Answers:
    """A file that was read whole."""

    path: Path
    lines: dict[int, ModelAnswer]  # by line number, from 1

    def of(self, task: Task) -> dict[str, ModelAnswer]:
        """The answers to a task, by clip.

        Raises:
            MerrError: a clip has two, to different records.
        """
        found: dict[str, tuple[int, ModelAnswer]] = {}
        for number, one in self.lines.items():
            if one.task == task:
                first = found.setdefault(one.clip_id, (number, one))
                if first[0] != number:
                    raise MerrError(
                        f"{self.path}: lines {first[0]} and {number} both answer the task {task} "
                        f"for {one.clip_id}; leave one of them out."
                    )
        return {clip_id: one for clip_id, (_, one) in found.items()}

    def check_known(self, clip_ids: Collection[str]) -> None:
        """Refuse a file about clips that the dataset has not.

        Raises:
            MerrError: there are such lines; they are named.
        """
        faults = [
            f"line {number}: the dataset has no clip {one.clip_id!r}"
            for number, one in self.lines.items()
            if one.clip_id not in clip_ids
        ]
        _raise(self.path, faults)


def read_answers(path: Path) -> Answers:
    """Read a file whole.

    Raises:
        MerrError: it cannot be read, is empty, or has lines that are no answers or answer twice.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MerrError(f"{path} cannot be read: {error.strerror}.") from error
    lines: dict[int, ModelAnswer] = {}
    seen: dict[tuple[str, str, str | None], int] = {}
    faults = []
    for number, line in _numbered(content):
        try:
            one = _answer(line)
        except ValueError as error:
            faults.append(f"line {number}: {error}")
            continue
        first = seen.setdefault((one.clip_id, one.task, one.record_id), number)
        if first != number:
            faults.append(f"line {number}: {one.clip_id} ({one.task}) was answered in line {first}")
        lines[number] = one
    _raise(path, faults)
    if not lines:
        raise MerrError(f"{path} holds no answer.")
    return Answers(path, lines)


def _numbered(content: bytes) -> Iterator[tuple[int, bytes]]:
    """By line feeds alone: a text may hold any other sign that Python takes for a line's end."""
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if line.strip():
            yield number, line


def _answer(line: bytes) -> ModelAnswer:
    """One line; raises ValueError with what is wrong, in one line."""
    try:
        value: Any = json.loads(line)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"it is no JSON ({getattr(error, 'msg', 'too deep')})") from None
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    try:
        return ModelAnswer.model_validate(value)
    except ValidationError as error:
        told = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ValueError("; ".join(told)) from None


def _raise(path: Path, faults: list[str]) -> None:
    if faults:
        more = f"\nand {len(faults) - SHOWN} more lines" if len(faults) > SHOWN else ""
        raise MerrError(f"{path}:\n" + "\n".join(faults[:SHOWN]) + more)
