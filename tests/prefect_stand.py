"""A Prefect server and a process worker, started by the commands that the README gives to users.

They run in a folder that looks like a checkout, so that nothing of the real one or of the user's
own Prefect is touched. Only the port is another one.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from stopped_build import Stop

HERE = Path(__file__).parent
REPO = HERE.parent
SECTION = "## Bulk annotation with Prefect"
README_PORT = "4200"
LIMIT_S = 300.0  # for anything to happen, on a busy machine
GONE_S = 60.0  # for processes to end

Json = dict[str, Any]


def readme_commands() -> list[str]:
    """The commands of the README's block, each on one line, as they stand there."""
    section = (REPO / "README.md").read_text("utf-8").split(SECTION)[1].split("\n## ")[0]
    block = section.split("```")[1].strip()
    return block.replace("\\\n", " ").splitlines()


def wait_for(condition: Callable[[], bool], limit_s: float = LIMIT_S) -> bool:
    until = time.monotonic() + limit_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.2)
    return condition()


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    output: str


class Stand:
    """The server, the worker, and the API; everything they start carries one tag.

    A clip whose name holds "held" is held by a build in its first stage, as long as `hold` says.
    """

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "checkout"
        self._logs = folder / "logs"
        self._tag = f"TEST_OF_DEPLOYMENT={uuid.uuid4().hex}"
        self._held, self._go = folder / "held", folder / "go"
        self._port = str(free_port())
        _make_checkout(self.checkout)
        self._logs.mkdir()
        self._go.touch()
        commands = [line.replace(README_PORT, self._port) for line in readme_commands()]
        exports = [line for line in commands if line.startswith("export ")]
        self.commands = [line for line in commands if line not in exports]
        self.environment = self._exported(exports)
        self._background: list[subprocess.Popen[bytes]] = []
        self.api = httpx.Client(base_url=self.environment["PREFECT_API_URL"], timeout=60.0)

    # --- commands ------------------------------------------------------------------------------

    def set_up(self) -> None:
        """All of the README's commands but the last, which is the run."""
        for line in self.commands[:-1]:
            self.begin(line)

    def begin(self, line: str) -> None:
        """Run a command of the README: to its end, or in the background where it says so."""
        if not line.endswith("&"):
            done = self.bash(line)
            assert done.code == 0, f"{line}\n{done.output}"
            return
        with self._new_log().open("wb") as log:
            command = "exec " + line.removesuffix("&")
            self._background.append(self._start(["bash", "-c", command], log))

    def bash(self, line: str) -> Done:
        """Run a command to its end."""
        path = self._new_log()
        with path.open("wb") as log:
            process = self._start(["bash", "-c", line], log)
            code = process.wait(2 * LIMIT_S)
        return Done(code, path.read_text("utf-8"))

    def python(self, *arguments: str | Path) -> tuple[subprocess.Popen[bytes], Path]:
        """Start a program of ours; the process, and the file of its output."""
        path = self._new_log()
        with path.open("wb") as log:
            return self._start([sys.executable, *map(str, arguments)], log), path

    def command(self, words: str) -> str:
        """The one command of the README that has these words in it."""
        (line,) = (line for line in self.commands if words in line)
        return line

    # --- runs ----------------------------------------------------------------------------------

    def run(self, request: Json | None = None) -> Done:
        """``prefect deployment run … --watch`` as in the README, or with another request."""
        return self.bash(self._run_command(request))

    def start_run(self, request: Json) -> str:
        """The same without watching it; the run's id."""
        done = self.bash(self._run_command(request).replace(" --watch", ""))
        assert done.code == 0, done.output
        return run_id(done)

    def _run_command(self, request: Json | None) -> str:
        line = self.command("deployment run")
        if request is None:
            return line
        return line.split(" -p ")[0] + " -p " + shlex.quote(f"request={json.dumps(request)}")

    def cancel(self, run: str) -> None:
        done = self.bash(f".venv/bin/prefect flow-run cancel {run}")
        assert done.code == 0, done.output

    def state(self, run: str) -> Json:
        found: Json = self.api.get(f"/flow_runs/{run}").raise_for_status().json()["state"]
        return found

    def wait_for_end(self, run: str) -> Json:
        """Wait until a run is over; its state."""
        over = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}
        assert wait_for(lambda: self.state(run)["type"] in over), self.state(run)
        return self.state(run)

    def filter(self, what: str, run: str | None = None) -> list[Json]:
        """All flow runs, or the task runs, artifacts or logs of a run."""
        about = {"logs": {"logs": {"flow_run_id": {"any_": [run]}}}}
        of_run = about.get(what, {"flow_runs": {"id": {"any_": [run]}}})
        reply = self.api.post(f"/{what}/filter", json=of_run if run else {})
        found: list[Json] = reply.raise_for_status().json()
        return found

    # --- holding a build in mid run ------------------------------------------------------------

    def hold(self) -> None:
        """From now on a build waits at a clip with "held" in its name."""
        self._go.unlink(missing_ok=True)
        self._held.unlink(missing_ok=True)

    def wait_until_held(self) -> None:
        assert wait_for(self._held.exists), "no build came to the clip"

    def let_go(self) -> None:
        self._go.touch()

    # --- processes -----------------------------------------------------------------------------

    def processes(self) -> dict[int, str]:
        """All that runs here, in whatever session: process id and command line."""
        found = {}
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and self._tag.encode() in (entry / "environ").read_bytes():
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    found[int(entry.name)] = b" ".join(words).decode()
        return found

    def kill(self, words: str, number: signal.Signals) -> None:
        """Send a signal to every process with these words in its command line."""
        hit = [pid for pid, command in self.processes().items() if words in command]
        assert hit, f"nothing runs as {words}"
        for pid in hit:
            os.kill(pid, number)
        assert wait_for(lambda: not set(hit) & set(self.processes()), GONE_S), f"{words} goes on"

    def close(self) -> None:
        """End the worker and the server, as ``kill %2 %1`` does, and see that nothing is left."""
        try:
            for process in reversed(self._background):
                if process.poll() is None:
                    process.terminate()
                    process.wait(GONE_S)
            assert wait_for(lambda: not self.processes(), GONE_S), self.processes()
        finally:
            for left in self.processes():
                with suppress(ProcessLookupError):
                    os.kill(left, signal.SIGKILL)
            for process in self._background:
                process.wait()
            self.api.close()

    def _start(self, command: Sequence[str], log: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            cwd=self.checkout,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def _new_log(self) -> Path:
        path = self._logs / f"{len(list(self._logs.iterdir())):03}"
        path.touch()
        return path

    def _exported(self, exports: Sequence[str]) -> dict[str, str]:
        """The environment that the README's ``export`` lines make."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MERR_"))}
        stop = Stop(
            "merr_pipeline.clips.probe:ProbeStage.annotate_one",
            arguments="*held*",
            note=str(self._held),
            go=str(self._go),
        )
        ours = {
            "PREFECT_SERVER_API_PORT": self._port,
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PYTHONPATH": str(HERE / "stopped_workers"),
            "STOP_AT": stop.to_json(),
        }
        done = subprocess.run(
            ["bash", "-c", "\n".join([*exports, "env -0"])],
            cwd=self.checkout,
            env=inherited | ours | dict([self._tag.split("=")]),
            capture_output=True,
            text=True,
            check=True,
        )
        return dict(entry.split("=", 1) for entry in done.stdout.split("\0") if entry)


def run_id(done: Done) -> str:
    """Of the run that a command has started."""
    found = re.search(r"UUID: (\S+)", done.output)
    assert found, done.output
    return found[1]


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def _make_checkout(folder: Path) -> None:
    """What the README's commands need of one."""
    (folder / "data").mkdir(parents=True)
    (folder / ".venv").symlink_to(sys.prefix)
    for name in ("flows", "prefect.yaml", "data/samples"):
        (folder / name).symlink_to(REPO / name)
