"""The page of this run on the Prefect server: shows how far it is, and says whether to go on.

A server that is away never holds a build up: what cannot be told is not told.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast
from uuid import UUID

import httpx
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectException
from prefect.runtime import flow_run
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from merr_pipeline.schema import MerrError

LOOK_EVERY_S = 5.0
"""How often to look whether the run is still wanted."""
AWAY = (httpx.HTTPError, PrefectException)
"""What comes of asking a server that is away, or that has forgotten the run."""


class RunCancelledError(MerrError):
    """The server does not show this run as running any more: somebody has cancelled it."""

    def __init__(self) -> None:
        super().__init__("The run was cancelled; what it had made is kept. Run it again to go on.")


class RunPage:
    """Of the flow run that makes it."""

    def __init__(self, clips: int) -> None:
        self._run = UUID(str(flow_run.id))
        self._looked_s = time.monotonic()
        self._progress: UUID | None = None
        with _one_try():  # the cast, because here it is no coroutine
            self._progress = cast(
                UUID, create_progress_artifact(0.0, "build-merr-clips", f"{clips} clips")
            )

    def show(self, percent: float) -> None:
        """Move the progress bar."""
        if self._progress is not None:
            with _one_try():
                update_progress_artifact(self._progress, percent)

    def check_wanted(self) -> None:
        """Look, now and then, whether the run is still shown as running.

        It is the Prefect worker that ends a cancelled run. One that was killed cannot, nor can one
        that has lost sight of the server for half a minute.

        Raises:
            RunCancelledError: it is not.
        """
        if time.monotonic() - self._looked_s < LOOK_EVERY_S:
            return
        self._looked_s = time.monotonic()
        with _one_try():
            state = get_client(sync_client=True).read_flow_run(self._run).state
            if state is not None and not state.is_running():
                raise RunCancelledError


def show_table(rows: list[dict[str, Any]], headline: str) -> None:
    """Put the table of stages on the page; waits for a server that is away, but not for ever."""
    with suppress(*AWAY):
        create_table_artifact(rows, key="build-merr-stages", description=headline)


def show_report(markdown: str) -> None:
    """Put what the dataset holds on the page; waits as `show_table` does."""
    with suppress(*AWAY):
        create_markdown_artifact(markdown, key="build-merr-report")


@contextmanager
def _one_try() -> Iterator[None]:
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}), suppress(*AWAY):
        yield
