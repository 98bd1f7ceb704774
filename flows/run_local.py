"""Run the flow ``build-merr`` here, with Prefect's API inside this process.

::

    python -m flows.run_local data/samples --manifest data/samples/manifest.csv

Exit codes as of ``merr build``: 0 all done, 1 some clips failed, 2 could not run. With
``PREFECT_API_URL`` set, the run is told to that server instead.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from merr_pipeline.build import Summary
from merr_pipeline.cli import Clips, Manifest, Mapping, Out, Overrides, Preset, Profile, guarded

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # a first start takes up to 45 s
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # what goes wrong is told once, by `guarded`
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_CLI_WRAP_LINES": "false",
}
"""Read by prefect when it is first imported; what the user has set stays."""


def run(
    clips: Clips,
    out: Out = Path("data/merr"),
    manifest: Manifest = None,
    mapping: Mapping = "",
    preset: Preset = "",
    profile: Profile = "embedded",
    overrides: Overrides = None,
    retry: Annotated[bool, typer.Option(help="Try all failed clips again.")] = False,
    rehash: Annotated[bool, typer.Option(help="Read every file anew, trust no date.")] = False,
) -> int:
    """Build a MERR dataset by the Prefect flow build-merr, in this process."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from flows.build_merr import BuildRequest, SomeClipsFailed, build_merr

    request = BuildRequest(
        clips=clips,
        out=out,
        manifest=manifest,
        mapping=mapping,
        preset=preset,
        profile=profile,
        overrides=overrides or [],
        retry=retry,
        rehash=rehash,
    )
    result: object = build_merr(request, return_state=True).result(raise_on_failure=False)
    if isinstance(result, SomeClipsFailed):
        result = result.summary  # it is printed already
    if isinstance(result, Exception):
        raise result
    assert isinstance(result, Summary)
    return result.exit_code


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(run)
    raise SystemExit(guarded(lambda: app(standalone_mode=False)))
