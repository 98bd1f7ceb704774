"""File names for clips: a clip's id may hold slashes, dots and blanks, which formats split at."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

MOST_BYTES = 120  # of a name; file systems take 255, with suffixes


def file_names(clip_ids: Iterable[str]) -> dict[str, str]:
    """``clip_id -> name``: letters, digits, ``_`` and ``-`` alone; no two alike.

    A name that had to be changed and now stands for several clips, or is too long, ends in eight
    digits of the hash of its clip's id.
    """
    plain = {clip_id: re.sub(r"[^\w-]", "_", clip_id) or "_" for clip_id in clip_ids}
    often = Counter(name.casefold() for name in plain.values())
    return {
        clip_id: name
        if often[name.casefold()] == 1 and len(name.encode()) <= MOST_BYTES
        else f"{_cut(name)}-{hashlib.sha256(clip_id.encode()).hexdigest()[:8]}"
        for clip_id, name in plain.items()
    }


def _cut(name: str) -> str:
    return name.encode()[:MOST_BYTES].decode(errors="ignore")
