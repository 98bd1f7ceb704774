"""Builds as somebody for whom file modes hold: root ignores them, here also without being told."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

PR_CAPBSET_DROP = 24  # of <linux/prctl.h>
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2  # of <linux/capability.h>: what makes modes void


def obey_modes() -> None:
    """For ``preexec_fn``: let what is run next obey file modes, also when it is root's.

    It stays the same user, so that it may read what the tests made, unless a mode forbids it; a
    capability that is out of the bounding set is lost at the next ``exec``: capabilities(7).
    """
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def modes_are_obeyed(folder: Path) -> bool:
    """Whether a process so started is refused a file without any mode."""
    locked = folder / "modes"
    locked.touch(0)
    command = [sys.executable, "-c", "open(__import__('sys').argv[1]).close()", locked]
    done = subprocess.run(command, preexec_fn=obey_modes, capture_output=True, check=False)
    locked.unlink()
    return done.returncode != 0
