"""Run the flow ``build-merr`` here, with Prefect's API inside this process.

::

    python -m flows.run_local data/samples --manifest data/samples/manifest.csv

Exit codes as of ``merr build``: 0 all done, 1 some clips failed, 2 could not run. With
``PREFECT_API_URL`` set, the run is told to that server instead.
"""

from __future__ import annotations

import os
from pathlib import Path

import typer

from merr_pipeline.cli import build_command, guarded
from merr_pipeline.request import Request
from merr_pipeline.summary import Summary

QUIET = {
    "PREFECT_HOME": str(Path(".prefect").absolute()),  # not among the user's own flows
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # a first start takes up to 45 s
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # what goes wrong is told once, by `guarded`
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_CLI_WRAP_LINES": "false",
}
"""Read by prefect when it is first imported; what the user has set stays."""


def run_flow(request: Request) -> int:
    """Run the flow to its end; its exit code."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from flows.build_merr import BuildRequest, SomeClipsFailed, build_merr

    result: object = build_merr(BuildRequest.of(request), return_state=True).result(
        raise_on_failure=False
    )
    if isinstance(result, SomeClipsFailed):
        result = result.summary  # it is printed already
    if isinstance(result, Exception):
        raise result
    assert isinstance(result, Summary)
    return result.exit_code


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(build_command(run_flow))
    raise SystemExit(guarded(lambda: app(standalone_mode=False)))
