"""The folder that an export writes: whole, or not at all.

It is made in a sibling (``.NAME.exporting``) and takes its name in one step at the end. In it
``export.json`` says what it is and holds the sha256 of every file; only a folder that has one is
replaced.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from merr_pipeline.dataset.folder import sha256_of
from merr_pipeline.files import exchange, sync, write_atomically
from merr_pipeline.schema import MerrError

MARK = "export.json"


@contextmanager
def whole_folder(to: Path, facts: Callable[[], Mapping[str, Any]]) -> Iterator[Path]:
    """Give an empty sibling to write to; when the block ends well, it becomes ``to``.

    ``facts`` are asked for at the end, and stand in `MARK`.

    Raises:
        MerrError: ``to`` is there and is no earlier export.
    """
    refuse_foreign(to)
    draft = to.with_name(f".{to.name}.exporting")
    _remove(draft)
    draft.mkdir(parents=True)
    try:
        yield draft
        _seal(draft, facts())
        if not (to.exists() and exchange(draft, to)):
            _remove(to)
            draft.rename(to)
        sync(to.parent)
    finally:
        _remove(draft)


def refuse_foreign(to: Path) -> None:
    """Raise MerrError if ``to`` holds anything but an earlier export."""
    if to.is_symlink() or (to.exists() and not to.is_dir()):
        raise MerrError(f"{to} is not a folder; name one that is not there yet.")
    if to.is_dir() and any(to.iterdir()) and not (to / MARK).is_file():
        raise MerrError(
            f"{to} holds files and no {MARK}, so no export has written it.\n"
            "Name a folder that is not there yet."
        )


def _seal(draft: Path, facts: Mapping[str, Any]) -> None:
    """Bring all to the disk and write `MARK`, last."""
    files: dict[str, str | None] = {}
    folders = [draft]
    for path in sorted(draft.rglob("*")):
        name = path.relative_to(draft).as_posix()
        if path.is_symlink():
            files[name] = None  # where it points to is this machine's own
        elif path.is_dir():
            folders.append(path)
        else:
            sync(path)
            files[name] = sha256_of(path)
    for folder in reversed(folders):
        sync(folder)
    text = json.dumps({**facts, "files": files}, indent=2, ensure_ascii=False)
    write_atomically(draft / MARK, f"{text}\n".encode())


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
