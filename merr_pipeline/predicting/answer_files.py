"""The answers of a model on disk: JSON lines, while they come and when all are there.

::

    answers.jsonl              one answer a line, in the order of the records; appears whole
    answers.jsonl.part         those that have come so far, a batch at a time
    answers.jsonl.asked.json   who was asked what: answers of another model are never mixed in
    answers.failed.jsonl       clips that could not be shown, with the reason
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from merr_pipeline.files import write_atomically
from merr_pipeline.schema import MerrError


class AnswerFile:
    """One file of answers, with what an earlier run has left of it."""

    def __init__(self, to: Path, asked_of: Mapping[str, Any]) -> None:
        """Read what is there.

        Args:
            to: the file.
            asked_of: what makes the answers what they are: model, dataset, how they are made.

        Raises:
            MerrError: there are answers of another model, or to other questions.
        """
        self.to, self._asked_of = to, dict(asked_of)
        self._part = to.with_name(f"{to.name}.part")
        self._about = to.with_name(f"{to.name}.asked.json")
        self.failed = to.with_name(f"{to.stem}.failed.jsonl")
        self.found: dict[str, dict[str, Any]] = {}
        self._open: IO[bytes] | None = None
        self._check()
        for path in (to, self._part):
            if path.is_file():
                self.found |= {answer["record_id"]: answer for answer in _whole_lines(path)}

    def __enter__(self) -> AnswerFile:
        """Begin to write: say who is asked, before the first answer."""
        about = json.dumps(self._asked_of, indent=2, sort_keys=True)
        write_atomically(self._about, f"{about}\n".encode())
        # What a kill has left of a line goes.
        write_atomically(self._part, _lines(self.found.values()))
        self._open = self._part.open("ab")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close; what has come stays for the next run."""
        assert self._open is not None
        self._open.close()

    def add(self, answers: Sequence[dict[str, Any]]) -> None:
        """Keep the answers of a batch."""
        assert self._open is not None
        self._open.write(_lines(answers))
        self._open.flush()
        self.found |= {answer["record_id"]: answer for answer in answers}

    def publish(self, order: Iterable[str], failed: Sequence[Mapping[str, Any]]) -> None:
        """Write the file, in this order of record ids (others behind), and who is not in it."""
        known = dict.fromkeys([*order, *self.found])
        write_atomically(self.to, _lines(self.found[one] for one in known if one in self.found))
        if failed:
            write_atomically(self.failed, _lines(failed))
        else:
            self.failed.unlink(missing_ok=True)
        self._part.unlink(missing_ok=True)

    def _check(self) -> None:
        if self._about.is_file():
            before = json.loads(self._about.read_text("utf-8"))
            other = [name for name, value in self._asked_of.items() if before.get(name) != value]
            if other:
                raise MerrError(
                    f"{self.to} has answers of another {', '.join(other)}. Give another file, or "
                    f"delete it with {self._part.name} and {self._about.name}."
                )
        elif self.to.exists():
            raise MerrError(f"{self.to} is there, and not of our making. Give another file.")


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def _whole_lines(path: Path) -> Iterable[dict[str, Any]]:
    """All answers but one that a kill has cut."""
    for line in path.read_bytes().split(b"\n")[:-1]:
        answer: dict[str, Any] = json.loads(line)
        yield answer
