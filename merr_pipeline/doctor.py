"""What is installed, what is missing, for which profile, and how to get it; downloads nothing."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from merr_pipeline.face.tools.environment import installed_version
from merr_pipeline.schema import MerrError
from merr_pipeline.settings import Settings


@dataclass(frozen=True)
class Need:
    """One row of ``merr doctor``."""

    what: str
    found: str | None  # a version or place; None when missing
    needed: bool  # by the settings at hand
    get: str  # what to do when it is missing


def examine(settings: Settings) -> list[Need]:
    """Everything that a build with these settings needs, and what other settings would."""
    return [_machine(), _python(), _facemesh(settings), _openface(settings)]


def check_ready(settings: Settings) -> None:
    """Refuse to start a build that cannot work.

    Raises:
        MerrError: something that these settings need is missing; it says how to get it.
    """
    missing = [need for need in examine(settings) if need.needed and need.found is None]
    if missing:
        lines = [f"{need.what} is missing: {need.get}" for need in missing]
        raise MerrError("\n".join([*lines, "`merr doctor` shows all needs of this profile."]))


def _machine() -> Need:
    system, machine = platform.system(), platform.machine()
    fits = system == "Linux" and machine == "x86_64"
    return Need("Linux on x86_64", f"{system} {machine}" if fits else None, True, "run it there")


def _python() -> Need:
    version = platform.python_version()
    fits = (3, 11) <= sys.version_info[:2] < (3, 13)
    return Need("Python 3.11 or 3.12", version if fits else None, True, "make setup with one")


def _facemesh(settings: Settings) -> Need:
    return Need(
        "face tool facemesh",
        installed_version("facemesh"),
        settings.face.tool == "facemesh",
        "merr tools install facemesh",
    )


def _openface(settings: Settings) -> Need:
    folder: Path | None = settings.face.openface.csv_dir
    found = None
    if folder is not None and folder.is_dir():
        found = f"{sum(1 for _ in folder.glob('*.csv'))} files"
    return Need(
        "OpenFace CSVs",
        found,
        settings.face.tool == "openface",
        f"{folder} is not a folder" if folder else "--set face.openface.csv_dir=FOLDER",
    )
