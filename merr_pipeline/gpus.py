"""The GPUs of this machine, as programs that compute on them count them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus(
    environment: Mapping[str, str] = os.environ, devices: Path = Path("/dev")
) -> list[str]:
    """What to put into ``CUDA_VISIBLE_DEVICES`` for each GPU that this process may use.

    Those that the variable names, where it is set (nothing and -1 name none); else a number for
    each NVIDIA device file. Loads no driver.
    """
    named = environment.get(VARIABLE)
    if named is None:
        count = sum(1 for path in devices.glob("nvidia*") if path.name[6:].isdigit())
        return [str(number) for number in range(count)]
    gpus: list[str] = []
    for name in map(str.strip, named.split(",")):
        if not name or name.startswith("-"):
            break  # as CUDA reads it: what comes after a bad name is not seen
        gpus.append(name)
    return gpus
