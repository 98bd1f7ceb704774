"""The face tools that are Python programs: where each runs, and how that is made.

Each program is one file that names its own requirements (PEP 723). ``uv`` builds an environment
for it in its cache, beside the project's own and apart from it, and takes care that two processes
do not build it at once. Nothing is written next to the program, so a read-only install works.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from uv import find_uv_bin

from merr_pipeline.face.tools.model_file import FACE_LANDMARKER
from merr_pipeline.schema import MerrError

PROGRAMS = {
    name: Path(__file__).with_name(f"{name}_program.py")
    for name in ("facemesh", "blendshapes", "pyfeat")
}
MODELS = {"blendshapes": FACE_LANDMARKER}  # that no package carries
PYTHONS = ((3, 11), (3, 12))  # mediapipe 0.10.21 has wheels up to 3.12

# Workers share the cores, so each child keeps to one; its libraries read these when they load.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
ONE_HEAP = {"MALLOC_ARENA_MAX": "1"}  # glibc's heap per thread takes a quarter more, for no speed
QUIET = {"GLOG_minloglevel": "3", "TF_CPP_MIN_LOG_LEVEL": "3", "MPLBACKEND": "Agg"}
OURS = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")  # they name our environment, not the tool's


def install(name: str) -> str:
    """Build a tool's environment and fetch its model, if not there yet; gives what now runs.

    Raises:
        MerrError: no such tool, uv could not build it (its message has been shown), or its model
            cannot be fetched.
    """
    version = build(name)
    if name in MODELS:
        try:
            MODELS[name].download()
        except MerrError as error:
            raise MerrError(f"{name} {version} is installed, its model is not: {error}") from error
    return version


def build(name: str) -> str:
    """Build the environment of a tool, if it is not there yet; gives the version that now runs.

    Downloads about 200 MB the first time (pyfeat: 3 GB); progress goes to stderr.

    Raises:
        MerrError: no such tool, or uv could not build it (its message has been shown).
    """
    done = subprocess.run(
        [*command(name, offline=False), "--version"],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise MerrError(
            f"the face tool {name} could not be installed; the lines above say why.\n"
            "It needs Python 3.11 or 3.12 on Linux x86_64 and a package index that can be reached; "
            "then run `merr tools install " + name + "` again."
        )
    return done.stdout.strip()


def installed_version(name: str) -> str | None:
    """The version of an installed tool, None if it is not installed; never downloads."""
    done = subprocess.run(
        [*command(name), "--version"],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else None


def pinned_versions(name: str) -> list[str]:
    """``mediapipe 0.10.21`` and so on: what the program pins, in the order in which it says it."""
    pins = re.findall(r'^#   "([\w-]+)==([\w.]+)"', PROGRAMS[name].read_text("utf-8"), re.MULTILINE)
    return [f"{package} {version}" for package, version in pins]


def command(name: str, offline: bool = True) -> list[str]:
    """The command that runs a tool in its environment, without touching the network if offline.

    Raises:
        MerrError: there is no tool of that name.
    """
    if name not in PROGRAMS:
        raise MerrError(
            f"{name} is no tool that can be installed here; there is {', '.join(PROGRAMS)}."
        )
    python = ["--python", sys.executable] if sys.version_info[:2] in PYTHONS else []
    flags = ["--offline", "--quiet"] if offline else []
    return [find_uv_bin(), "run", *flags, *python, "--script", str(PROGRAMS[name])]


def environment() -> dict[str, str]:
    """The variables a tool runs under: ours, without what names our environment, one thread."""
    kept = {name: value for name, value in os.environ.items() if name not in OURS}
    return {**kept, **ONE_THREAD, **ONE_HEAP, **QUIET}
