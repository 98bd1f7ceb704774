"""What `validate` finds."""

from __future__ import annotations

from dataclasses import dataclass

REBUILD = "Run `merr build` again: it makes again what does not hold."
REPLACE = (
    "Put the file back from a copy; without one, delete the dataset folder and build again: "
    "the rows are kept, but all splits are drawn anew."
)
REMAKE = "No build leaves it so: delete the dataset folder and build again."


@dataclass(frozen=True)
class Problem:
    """One thing that does not hold: where, which clip if it is about one, what, what to do."""

    file: str  # inside the dataset folder
    clip_id: str | None
    what: str
    todo: str

    def __str__(self) -> str:
        """One line for a person."""
        clip = f" {self.clip_id}" if self.clip_id else ""
        return f"{self.file}{clip}: {self.what}. {self.todo}"
