"""What is installed, what is missing, for which profile, and how to get it; downloads nothing."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from merr_pipeline.face.tools import installed_version
from merr_pipeline.schema import MerrError
from merr_pipeline.settings import Settings

_EXTRAS = {
    "asr": ("faster-whisper", "words by faster-whisper"),
    "whisper": ("openai-whisper", "words by openai-whisper"),
    "hf": ("transformers", "Hugging Face models"),
    "train": ("peft", "training"),
}


@dataclass(frozen=True)
class Need:
    """One row of ``merr doctor``."""

    what: str
    found: str | None  # a version or place; None when missing
    needed: bool  # by the settings at hand
    get: str  # what to do when it is missing


def examine(settings: Settings) -> list[Need]:
    """Everything that a build with these settings needs, then what other profiles could use."""
    return [_machine(), _python(), *_face_tools(settings), *_extras()]


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


def _face_tools(settings: Settings) -> Sequence[Need]:
    facemesh = Need(
        "face tool facemesh",
        installed_version("facemesh"),
        settings.face.tool == "facemesh",
        "merr tools install facemesh",
    )
    return [facemesh, _openface(settings)]


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


def _extras() -> list[Need]:
    return [
        Need(f"{package} ({use})", _version(package), False, f"uv pip install -e '.[{extra}]'")
        for extra, (package, use) in _EXTRAS.items()
    ] + [Need("nvidia-smi (a GPU for models)", shutil.which("nvidia-smi"), False, "a GPU machine")]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
