"""The sha256 of each clip, remembered so that a rerun need not read every byte again.

A remembered hash holds while path and `Stamp` (size, mtime, inode) are the same; ``--rehash``
forgets them. The stamp of a file is taken before its bytes are read: one that changes meanwhile (it
is still being copied) has another stamp afterwards, so that neither the hash nor what is made under
it is believed.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from merr_pipeline.files import open_regular, write_atomically
from merr_pipeline.schema import Clip, Stamp


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
        stamp: list[int | str] = [*stamp_of(path)]
        known = self._known.get(name)
        digest = str(known[3]) if known and known[:3] == stamp else _sha256(path)
        self._used[name] = [*stamp, digest]
        return digest

    def save(self) -> None:
        """Write what was asked for since the start; what was not asked for is forgotten."""
        if self._file and self._used != self._known:
            text = json.dumps(self._used, ensure_ascii=False, sort_keys=True, indent=0)
            write_atomically(self._file, text.encode())


def stamp_of(path: Path) -> Stamp:
    """What tells one content of a file from another without reading it.

    Raises:
        OSError: there is no such file.
    """
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def how_changed(clip: Clip) -> str | None:
    """What happened to a clip's file since its bytes were hashed; None if it is as it was.

    It is read again only when its stamp is another one: ``touch`` changes no bytes. A clip without
    a stamp is taken as it is.
    """
    if clip.stamp is None:
        return None
    try:
        same = stamp_of(clip.path) == clip.stamp or _sha256(clip.path) == clip.sha256
    except OSError:
        return "its file went away"
    return None if same else "its file changed"


def _load(file: Path) -> dict[str, list[int | str]]:
    try:
        known = json.loads(file.read_text("utf-8"))
    except ValueError:
        return {}  # a memory that cannot be read is no memory
    return known if isinstance(known, dict) else {}


def _sha256(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
