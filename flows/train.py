"""The flow ``train-merr``: a training run, after a build if one is asked for.

The run is the command ``merr train`` in a process of its own (one for each GPU, where there are
several): a deployment's worker needs no torch, and a run that is cancelled or fails takes nothing
with it. A rerun goes on from the last checkpoint::

    prefect deployment run train-merr/stage -p 'request={"recipe": "stage1", "overrides": [
        "to=/runs/one", "data.out=/merr", "model.language_model=/models/llama"]}'
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.states import Failed
from pydantic import BaseModel, ConfigDict, Field

from flows.build_merr import BuildRequest, SomeClipsFailed, build_merr
from merr_pipeline.recipe import load_recipe
from merr_pipeline.schema import MerrError


class TrainRequest(BaseModel):
    """What the deployment takes; checked before anything is started."""

    model_config = ConfigDict(extra="forbid")

    recipe: str = Field("stage1", description="A shipped recipe, or a .yaml file on the worker.")
    overrides: list[str] = Field([], description="Values as key=value, as --set has them.")
    build: BuildRequest | None = Field(
        None, description="Runs first; its folders are then those of the data, if none are said."
    )
    gpus: int = Field(1, ge=1, le=64, description="Processes, one for each GPU of the worker.")

    def chosen(self) -> list[str]:
        """Overrides, with the folders of the build before those that were said."""
        if self.build is None:
            return list(self.overrides)
        folders = [f"data.out={self.build.out}", f"data.clips={self.build.clips}"]
        return [*folders, *self.overrides]

    def command(self) -> list[str]:
        """What is run."""
        ranks = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(self.gpus), "-m"]
        values = [part for one in self.chosen() for part in ("--set", one)]
        several = ranks if self.gpus > 1 else []
        return [
            *(sys.executable, "-m", *several),
            *("merr_pipeline.cli", "train", self.recipe, *values),
        ]


@flow(name="train-merr", persist_result=False)
def train_merr(request: TrainRequest) -> Any:
    """Build if that is asked for, then train; the output folder, or the state of what failed.

    Clips that failed in the build do not keep the others from being learned.
    """
    try:
        recipe = load_recipe(request.recipe, request.chosen())
    except MerrError as error:
        return Failed(message=str(error), data=error)
    if request.build is not None:
        built = build_merr(request.build, return_state=True)
        failure: object = built.result(raise_on_failure=False)
        if not built.is_completed() and not isinstance(failure, SomeClipsFailed):
            return built
    code, last = run_command(request.command())
    if code:
        failed = MerrError(last or f"merr train ended with exit code {code}.")
        return Failed(message=str(failed), data=failed)
    return str(recipe.to)


_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def _end_with_parent() -> None:
    """In the child before it begins; a worker that is killed cannot end what it has started."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def run_command(command: list[str]) -> tuple[int, str]:
    """Run it with its lines printed; exit code and last line.

    It ends with this process: when a run is cancelled, and on Linux also when it is killed.
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    last: deque[str] = deque(maxlen=1)
    with subprocess.Popen(
        command,
        cwd=Path(__file__).parent.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=_end_with_parent,
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                print(line, end="", flush=True)  # noqa: T201 - as the command itself would
                if line.strip():
                    last.append(line.strip())
        except BaseException:  # cancelled: with all ranks and loaders
            os.killpg(process.pid, signal.SIGTERM)
            raise
    return process.returncode, last[0] if last else ""
