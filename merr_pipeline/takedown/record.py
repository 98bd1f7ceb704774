"""What is kept of a takedown: that something was removed, not what.

``<out>/takedowns.json`` holds a salt and, for each clip, the HMAC-SHA256 of the sha256 of its
bytes. Who has the file can tell that it is meant; who has only the record can tell nothing. So a
later build over the same inputs refuses the file, and `validate` can prove that it is nowhere.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from merr_pipeline.clips.manifest import Inputs
from merr_pipeline.files import write_atomically
from merr_pipeline.schema import ClipId, MerrError, Reason, Refusal

RECORD = "takedowns.json"
HOW_TO_END_IT = "an input that was taken down; delete its file from the input folder"


@dataclass(frozen=True)
class Record:
    """The clips that were removed, unnamed."""

    salt: str
    removed: frozenset[str]

    def holds(self, sha256: str) -> bool:
        """Whether a clip with these bytes was removed."""
        return bool(self.removed) and _mark(self.salt, sha256) in self.removed


def read_record(out: Path) -> Record:
    """The record of an output folder; an empty one where nothing was removed.

    Raises:
        MerrError: it is there and cannot be read; to go on could bring back who was removed.
    """
    path = out / RECORD
    if not path.exists():
        return Record(secrets.token_hex(16), frozenset())
    try:
        found = json.loads(path.read_text("utf-8"))
        return Record(str(found["salt"]), frozenset(map(str, found["removed"])))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise MerrError(
            f"{path} cannot be read ({error}); it says who must not come back.\n"
            "Put it back as it was. If nothing was ever taken down, delete it."
        ) from error


def add_to_record(out: Path, sha256s: Iterable[str]) -> None:
    """Note these clips, before anything of them is removed."""
    record = read_record(out)
    marks = record.removed | {_mark(record.salt, sha256) for sha256 in sha256s}
    text = json.dumps({"salt": record.salt, "removed": sorted(marks)}, indent=2)
    write_atomically(out / RECORD, f"{text}\n".encode())


def without_taken_down(inputs: Inputs, record: Record) -> Inputs:
    """Refuse the clips that were removed, under names that tell nothing of them."""
    kept = tuple(clip for clip in inputs.clips if not record.holds(clip.sha256))
    refusals = [
        Refusal(ClipId(f"taken_down_{number}"), "", Reason.TAKEN_DOWN, HOW_TO_END_IT)
        for number in range(1, len(inputs.clips) - len(kept) + 1)
    ]
    return replace(inputs, clips=kept, refusals=(*inputs.refusals, *refusals))


def _mark(salt: str, sha256: str) -> str:
    return hmac.new(bytes.fromhex(salt), sha256.encode(), hashlib.sha256).hexdigest()
