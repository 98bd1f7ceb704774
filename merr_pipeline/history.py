"""What an output folder was last built from: the request and settings that each run writes down.

So that a command about a finished build needs nothing but its folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from merr_pipeline.request import Request
from merr_pipeline.schema import MerrError
from merr_pipeline.settings import Settings


def asked(request: Request) -> dict[str, Any]:
    """What of a request says which inputs there are, with absolute paths."""
    return {
        "clips": str(request.clips.absolute()),
        "manifest": None if request.manifest is None else str(request.manifest.absolute()),
        "mapping": request.mapping,
        "preset": request.preset,
    }


def last_run(out: Path) -> tuple[Request, Settings]:
    """The inputs and settings of the last run that published.

    Raises:
        MerrError: there is no such run, or it was written by another version.
    """
    runs = sorted((out / "runs").glob("*.json"))
    if not runs:
        raise MerrError(f"{out} holds no finished build; give the --out of one.")
    try:
        run = json.loads(runs[-1].read_text("utf-8"))
        settings = Settings.model_validate(run["settings"])
        inputs = run["asked"]
        manifest = None if inputs["manifest"] is None else Path(inputs["manifest"])
        request = Request(Path(inputs["clips"]), out, manifest, inputs["mapping"], inputs["preset"])
    except (KeyError, TypeError, ValueError, ValidationError, OSError) as error:
        raise MerrError(
            f"{runs[-1].name} does not say what was built; run the build again: what is done stays."
        ) from error
    return request, settings


def last_clips(out: Path) -> Path | None:
    """The input folder of the last run; None where there is none, or it is no longer there."""
    try:
        clips = last_run(out)[0].clips
    except MerrError:
        return None
    return clips if clips.is_dir() else None
