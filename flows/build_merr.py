"""The flow ``build-merr``: plan, then one task run per batch, then publish.

Prefect gives the run a page with progress and tables, a schedule, a worker on another machine. What
has to be done is decided by the annotation store alone, never by a Prefect cache, and the bytes are
those of ``merr build``.

``flows/run_local.py`` runs it with an API inside the process, which is what ``make build-merr``
does; ``prefect.yaml`` deploys it::

    prefect deployment run build-merr/bulk -p 'request={"clips": "/clips", "out": "/merr"}'
"""

from __future__ import annotations

import queue
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Failed
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console

from flows.run_page import LOOK_EVERY_S, RunCancelledError, RunPage, show_report, show_table
from merr_pipeline.build import Build, open_build
from merr_pipeline.engine.local import StoppedError
from merr_pipeline.pipeline import BatchReport
from merr_pipeline.report.write import summary_of
from merr_pipeline.request import Request, as_overrides
from merr_pipeline.running import print_plan, print_summary
from merr_pipeline.schema import MerrError, Status
from merr_pipeline.summary import Summary


class BuildRequest(BaseModel):
    """What the deployment takes; checked before anything is scheduled."""

    model_config = ConfigDict(extra="forbid")

    clips: Path = Field(description="Folder that holds the clips, on the worker.")
    out: Path = Field(Path("data/merr"), description="Output folder, on the worker.")
    manifest: Path | None = Field(None, description="CSV, JSONL or Parquet that lists the clips.")
    mapping: str = Field("", description="Its columns in ours: name=clip_id,discrete=label.")
    preset: str = Field("", description="How a known table reads: mer2023, dfew, meld.")
    profile: str = Field("embedded", description="A shipped profile, or a .yaml file.")
    overrides: list[str] = Field([], description="Settings as key=value.")
    workers: int | None = Field(None, ge=1, le=256, description="Processes; null: one per CPU.")
    batch_size: int | None = Field(None, ge=1, le=4096, description="Most clips of a batch.")
    budget_usd: float | None = Field(None, ge=0, description="Most US dollars for models.")
    max_calls: int | None = Field(None, ge=0, description="Most requests to models.")
    retry: bool = Field(False, description="Try all failed clips again.")
    rehash: bool = Field(False, description="Read every file anew, trust no date.")

    @classmethod
    def of(cls, request: Request) -> BuildRequest:
        """The parameters that ask for the same as the command line does."""
        given = asdict(request) | {"overrides": list(request.overrides)}
        return cls.model_validate(given)

    def for_build(self) -> Request:
        """The same in the core's words."""
        named = {
            "engine.workers": self.workers,
            "engine.batch_size": self.batch_size,
            "llm.max_usd": self.budget_usd,
            "llm.max_calls": self.max_calls,
        }
        other = {"overrides", "workers", "batch_size", "budget_usd", "max_calls"}
        own = self.model_dump(exclude=other)
        return Request(**own, overrides=(*self.overrides, *as_overrides(named)))


class SomeClipsFailed(Exception):  # noqa: N818 - the name of the state, too
    """The dataset is published, and some clips are not in it because they failed."""

    def __init__(self, summary: Summary) -> None:
        super().__init__(headline(summary))
        self.summary = summary


RUNNER: Any = ThreadPoolTaskRunner()
"""Threads, since a task only waits for a worker process of the engine (process tasks cost 12 x)."""


@flow(name="build-merr", task_runner=RUNNER, persist_result=False)
def build_merr(request: BuildRequest) -> Summary | State[Any]:
    """Build the dataset, and publish it also when some clips failed; the run then ends as failed.

    A build that cannot run ends as failed too, with what to do as the message of its state.
    """
    console = Console(soft_wrap=True)
    try:
        with open_build(request.for_build()) as build:
            print_plan(build, console)
            if build.pending:
                annotate_all(build)
            summary = build.publish()
    except RunCancelledError as cancelled:
        return Cancelled(message=str(cancelled), data=cancelled)
    except MerrError as error:
        return Failed(message=str(error), data=error)
    print_summary(summary, build.request, console)
    show_table(table_of(summary), headline(summary))
    show_report(summary_of(request.out))
    if summary.exit_code:
        failure = SomeClipsFailed(summary)
        return Failed(name="SomeClipsFailed", message=str(failure), data=failure)
    return summary


def annotate_all(build: Build) -> None:
    """One task run per batch, never more of them under way than there are workers.

    Raises:
        RunCancelledError: somebody has cancelled the run.
        MerrError: the build cannot go on.
    """
    batches = build.batches()
    total, done = len(build.pending), 0
    page = RunPage(total)
    finished: queue.SimpleQueue[PrefectFuture[BatchReport]] = queue.SimpleQueue()
    with build.engine() as engine:

        @task(task_run_name="annotate batch {number}", cache_policy=NO_CACHE)
        def annotate(number: int) -> Any:  # a report, or the state in which the task run ends
            try:
                return engine.run(batches[number])
            except StoppedError:
                return Cancelled(message="The run was stopped; finished stages are kept.")
            except MerrError as error:
                return Failed(message=str(error), data=error)

        waiting = list(range(len(batches)))
        running: dict[PrefectFuture[BatchReport], int] = {}
        while waiting or running:
            while waiting and len(running) < build.at_once:
                number = waiting.pop(0)
                future = annotate.submit(number)
                running[future] = number
                future.add_done_callback(finished.put)
            with suppress(queue.Empty):
                future = finished.get(timeout=LOOK_EVERY_S)
                done += len(batches[running.pop(future)])
                build.count(future.result())
                page.show(100.0 * done / total)
            page.check_wanted()


def table_of(summary: Summary) -> list[dict[str, Any]]:
    """One row per stage: how many clips ended how, and the seconds of this run."""
    return [
        {"stage": stage, **{s.value: counts.get(s, 0) for s in Status}}
        | {"made now": sum(summary.made.get(stage, {}).values())}
        | {"worker seconds": summary.seconds_per_stage.get(stage, 0.0)}
        for stage, counts in summary.stages.items()
    ]


def headline(summary: Summary) -> str:
    """One sentence on how the run ended."""
    return (
        f"{summary.inputs} inputs: {summary.accepted} clips in the dataset, "
        f"{summary.rejected} rejected, {summary.failed_clips} failed."
    )
