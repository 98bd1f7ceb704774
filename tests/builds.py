"""Running builds in tests as a user does, and looking at what they leave."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

SAMPLES = Path(__file__).parent.parent / "data" / "samples"


def merr(*arguments: str | Path, code: int = 0) -> str:
    """Run the command and check its exit code; gives what it printed."""
    command = [sys.executable, "-m", "merr_pipeline.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def build(out: Path, *more: str, clips: Path = SAMPLES, code: int = 0) -> str:
    """``merr build`` of the samples, or of a changed copy of them."""
    manifest = clips / "manifest.csv"
    return merr("build", clips, "--manifest", manifest, "--out", out, *more, code=code)


def hashes(out: Path) -> dict[str, str]:
    """sha256 of every file of the dataset."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((out / "dataset").rglob("*"))
        if path.is_file()
    }


def rows(out: Path, subset: str) -> list[dict[str, Any]]:
    """All rows of a subset of the dataset, of all splits."""
    files = sorted((out / "dataset" / subset).glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file, partitioning=None).to_pylist()]


def made(out: Path) -> dict[str, int]:
    """Rows that the last run made, by stage."""
    last = max((out / "runs").glob("*.json"))
    counts = json.loads(last.read_text("utf-8"))["made"]
    return {stage: sum(statuses.values()) for stage, statuses in counts.items()}
