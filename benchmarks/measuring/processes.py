"""What running processes have used, as Linux tells in ``/proc``: processor time and memory."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def descendants(pid: int) -> list[int]:
    """The living processes that a process has started, and those that they have."""
    children: dict[int, list[int]] = defaultdict(list)
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            children[int(_stat(int(folder.name))[1])].append(int(folder.name))
        except OSError:  # it has just ended
            continue
    found = list(children[pid])
    for child in found:  # which grows meanwhile
        found += children[child]
    return found


def cpu_s(pid: int) -> float:
    """Processor seconds of a living process, without its children's; in steps of 10 ms."""
    user, system = _stat(pid)[11:13]
    return (int(user) + int(system)) / TICKS_PER_S


def peak_mb(pid: int) -> float:
    """The most memory that a living process has ever had in RAM, megabytes (10^6 bytes)."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024 / 1e6


def command_line(pid: int) -> str:
    """Its program and arguments, by blanks."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")


def _stat(pid: int) -> list[str]:
    """The fields behind the program's name (which may hold blanks and brackets), state first."""
    return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
