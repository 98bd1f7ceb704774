"""A made model server in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SERVER = Path(__file__).parents[2] / "tests" / "model_server.py"


@contextmanager
def serving(latency_s: float, answer: Any) -> Iterator[str]:
    """Answers everything with this value, after so long; gives its address."""
    command = [sys.executable, str(SERVER), "--latency", str(latency_s)]
    command += ["--answer", json.dumps(answer)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
