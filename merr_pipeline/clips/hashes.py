"""The sha256 of each clip, remembered so that a rerun need not read every byte again.

A remembered hash holds while path, size, mtime and inode are the same; ``--rehash`` forgets them.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from merr_pipeline.files import write_atomically


class HashMemory:
    """Hashes by relative path; with a ``file`` they outlive the process (call `save`)."""

    def __init__(self, file: Path | None = None, *, rehash: bool = False) -> None:
        self._file = file
        self._known: dict[str, list[int | str]] = {}
        if file and file.is_file() and not rehash:
            self._known = _load(file)
        self._used: dict[str, list[int | str]] = {}

    def sha256(self, path: Path, name: str) -> str:
        """Hex sha256 of the file's bytes; ``name`` is its place under the input root.

        Raises:
            OSError: the file cannot be read.
        """
        stat = path.stat()
        stamp: list[int | str] = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        known = self._known.get(name)
        digest = str(known[3]) if known and known[:3] == stamp else _sha256(path)
        self._used[name] = [*stamp, digest]
        return digest

    def save(self) -> None:
        """Write what was asked for since the start; what was not asked for is forgotten."""
        if self._file and self._used != self._known:
            text = json.dumps(self._used, ensure_ascii=False, sort_keys=True, indent=0)
            write_atomically(self._file, text.encode())


def _load(file: Path) -> dict[str, list[int | str]]:
    try:
        known = json.loads(file.read_text("utf-8"))
    except ValueError:
        return {}  # a memory that cannot be read is no memory
    return known if isinstance(known, dict) else {}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
