"""The one way to write a file: whole, or not at all; and to read one that others put there."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary sibling to write to; when the block ends well, it becomes ``path``.

    The content reaches the disk before the name does. A kill leaves the old file or the new one,
    and at worst a sibling that begins with ``.tmp-``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{uuid.uuid4().hex}-{path.name}")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` so that no reader ever sees half of it."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def open_regular(path: Path) -> BufferedReader:
    """Open for reading what a user has put there; never waits, as opening a pipe would.

    Raises:
        OSError: it cannot be opened, or is a folder, a pipe, a socket, a device.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(handle, "rb")


AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of <fcntl.h> and <linux/fs.h>


def exchange(one: Path, other: Path) -> bool:
    """Let two files or folders trade names, in one step that no kill can split.

    False where kernel or file system has no such step; nothing has changed then. See renameat2(2).
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "renameat2"):
        return False
    names = os.fsencode(one), os.fsencode(other)
    done: int = libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE)
    return done == 0


def sync(path: Path) -> None:
    """Force a file's content, or a folder's names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
