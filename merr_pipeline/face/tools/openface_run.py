"""One run of OpenFace on one clip, in a private folder, and whether its CSV may be believed.

OpenFace ends with exit code 0 whatever it made of the clip, and while it runs its CSV grows with
raw values that look like results. So a CSV counts only after the end, and only if all signs agree.
What each sign means was seen on OpenFace 2.0.6.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from merr_pipeline.face.tools.environment import environment
from merr_pipeline.face.tools.openface_program import NAME, Program
from merr_pipeline.schema import Reason
from merr_pipeline.stage import NotOk, fail, without_folders

CLOSED = "Closed successfully"  # the CSV is complete then, and its values are put right after it
NO_LANDMARK_MODEL = "Could not load the landmark detector"
NO_MEMORY = ("bad_alloc", "Insufficient memory")  # the second is OpenCV's
NO_UNIT_MODELS = "no Action Unit models found"
CANNOT_START = (125, 126, 127)  # docker's own failure; no such program, or it may not be run
REMOVAL_LIMIT_S = 30.0
SAID_BYTES = 20_000  # of its last words

# Becomes "$@", so that its exit code is this one's. When the pipe at its stdin ends, for whoever
# started it is gone, everything goes: program, container, folder.
GUARD = """
folder=$1 container=$2; shift 2
exec 3<&0
(cat <&3; kill -9 $$; [ "$container" ] && docker rm --force "$container"; rm -rf "$folder"
 kill -9 -$$) >/dev/null 2>&1 &
exec "$@" </dev/null 3<&-
"""


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: int  # negative: the signal that ended it
    said: str  # on stdout and stderr


def run_openface(program: Program, clip: Path, limit_s: float) -> bytes:
    """The finished CSV of a clip.

    Raises:
        NotOk: failed with ``NOT_FOUND`` or ``UNREADABLE`` (the clip), ``TOOL_MISSING``,
            ``TOOL_CRASHED``, ``TOOL_TIMEOUT``, ``TOOL_OUTPUT_INVALID`` or ``OUT_OF_MEMORY``.
    """
    clip = clip.absolute()
    if not clip.is_file():  # OpenFace would take the name for a pipeline or a camera
        raise fail(Reason.NOT_FOUND, "the clip is not there any more")
    if not os.access(clip, os.R_OK):
        raise fail(Reason.UNREADABLE, "the clip may not be read")
    with tempfile.TemporaryDirectory("", "merr-openface-", ignore_cleanup_errors=True) as private:
        folder = Path(private)
        out = folder / "out"
        out.mkdir()
        ended = _run(program, clip, folder, limit_s)
        if (failure := _what_failed(ended, clip, folder)) is not None:
            raise failure
        return _finished_csv(out / f"{NAME}.csv", ended)


def _run(program: Program, clip: Path, folder: Path, limit_s: float) -> Ended:
    name = f"merr-openface-{uuid.uuid4().hex}"
    container = name if program.is_container else ""
    guard = ["sh", "-c", GUARD, "guard", str(folder), container]
    log = folder / "log"
    with log.open("wb") as words:
        child = subprocess.Popen(
            [*guard, *program.command(clip, folder / "out", name)],
            cwd=folder,  # it writes to ./processed when it feels like it
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=words,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        code = child.wait(limit_s)
    except subprocess.TimeoutExpired:
        raise fail(Reason.TOOL_TIMEOUT, f"OpenFace took longer than {limit_s:g} s") from None
    finally:
        _end(child, container)
    return Ended(code, _last_words(log))


def _end(child: subprocess.Popen[bytes], container: str) -> None:
    """End whatever still runs; the guard's watch on the pipe always does."""
    went_by_itself = child.returncode is not None
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert child.stdin is not None
    child.stdin.close()
    if container and not went_by_itself:  # docker's client is dead, the container is not
        with suppress(OSError, subprocess.TimeoutExpired):
            removal = ["docker", "rm", "--force", container]
            subprocess.run(removal, capture_output=True, timeout=REMOVAL_LIMIT_S, check=False)


def _what_failed(ended: Ended, clip: Path, folder: Path) -> NotOk | None:
    """What the exit code and the words of a run say; None if it may have gone well."""
    last = _last_line(ended.said, clip, folder)
    signal_number = -ended.code if ended.code < 0 else ended.code - 128  # docker and shells add it
    if ended.code in CANNOT_START:
        return fail(Reason.TOOL_MISSING, f"OpenFace cannot be started: {last}")
    if NO_LANDMARK_MODEL in ended.said:
        return fail(
            Reason.TOOL_MISSING,
            "OpenFace does not find its landmark model; its download_models.sh gets it",
        )
    if NO_UNIT_MODELS in ended.said:
        return fail(
            Reason.TOOL_MISSING,
            "OpenFace finds no Action Unit models: the folder AU_predictors belongs beside it",
        )
    if any(words in ended.said for words in NO_MEMORY):
        return fail(Reason.OUT_OF_MEMORY, "OpenFace got no more memory; see engine.memory_limit_mb")
    if signal_number in set(signal.Signals):
        return fail(Reason.TOOL_CRASHED, _how_it_died(signal_number, ended.said, last))
    if ended.code != 0:
        return fail(Reason.TOOL_CRASHED, f"OpenFace ended with exit code {ended.code}: {last}")
    return None


def _how_it_died(number: int, said: str, last: str) -> str:
    died = f"OpenFace was ended by {signal.Signals(number).name}"
    if number in (signal.SIGKILL, signal.SIGTERM):
        return f"{died}, from outside: too little memory, or somebody stopped it"
    if CLOSED in said:
        return f"{died} after it had closed the clip: perhaps it could decode no frame of it"
    return f"{died}: {last}"


def _finished_csv(path: Path, ended: Ended) -> bytes:
    if "Failed to open" in ended.said and not path.exists():
        raise fail(Reason.TOOL_OUTPUT_INVALID, "OpenFace could not open the clip, and wrote no CSV")
    if not path.is_file():
        raise fail(Reason.TOOL_OUTPUT_INVALID, "OpenFace ended as if all were well, without a CSV")
    if CLOSED not in ended.said:
        raise fail(Reason.TOOL_OUTPUT_INVALID, f"OpenFace never said {CLOSED!r}")
    content = path.read_bytes()
    lines = content.splitlines()
    if not content.endswith(b"\n") or lines[-1].count(b",") != lines[0].count(b","):
        raise fail(Reason.TOOL_OUTPUT_INVALID, "the last row of OpenFace's CSV is cut short")
    return content


def _last_words(log: Path) -> str:
    with log.open("rb") as words:
        words.seek(max(0, log.stat().st_size - SAID_BYTES))
        return words.read().decode("utf-8", errors="replace")


def _last_line(said: str, clip: Path, folder: Path) -> str:
    """The last thing it said, without what differs from machine to machine."""
    lines = [line for line in re.sub(r"[^\x20-\x7e\n]", " ", said).splitlines() if line.strip()]
    if not lines:
        return "it said nothing"
    last = lines[-1].replace(str(clip), clip.name).replace(str(folder), "")
    return without_folders(last).strip()[:200]
