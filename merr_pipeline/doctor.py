"""What is installed, what is missing, for which profile, and how to get it; downloads nothing."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass

from merr_pipeline.face.tools.environment import installed_version
from merr_pipeline.face.tools.model_file import FACE_LANDMARKER
from merr_pipeline.face.tools.openface_program import find_binary, find_image, find_program
from merr_pipeline.face.tools.pyfeat_weights import TERMS, find_weights
from merr_pipeline.gpus import visible_gpus
from merr_pipeline.schema import MerrError
from merr_pipeline.settings import OpenFaceSettings, Settings
from merr_pipeline.speech import egemaps
from merr_pipeline.speech.asr.contract import AsrError
from merr_pipeline.speech.asr.models import find_model, versions

OPENFACE_FROM = (
    "--set face.openface.csv_dir=FOLDER for CSVs already made, or put OpenFace's FeatureExtraction "
    "on PATH, or --set face.openface.binary=ITS_PATH, or docker pull algebr/openface and "
    "--set face.openface.docker_image=algebr/openface; it is for non-commercial research"
)


@dataclass(frozen=True)
class Need:
    """One row of ``merr doctor``."""

    what: str
    found: str | None  # a version or place; None when missing
    needed: bool  # by the settings at hand
    get: str  # what to do when it is missing


def examine(settings: Settings) -> list[Need]:
    """Everything that a build with these settings needs, and what other settings would."""
    tools = [need for needs in TOOL_NEEDS.values() for need in needs(settings)]
    return [
        *(_machine(), _python(), *tools, *_asr(settings), _egemaps(settings)),
        *_models(settings),
    ]


def check_ready(settings: Settings) -> None:
    """Refuse to start a build that cannot work; a model that is only named is fetched here.

    Raises:
        MerrError: something that these settings need is missing; it says how to get it.
    """
    tool = TOOL_NEEDS[settings.face.tool](settings)
    asr = _asr(settings, fetch=True) if _is_asr_asked(settings) else []
    needs = [_machine(), _python(), *tool, *asr, _egemaps(settings), *_models(settings)]
    missing = [need for need in needs if need.needed and need.found is None]
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


def _facemesh(settings: Settings) -> list[Need]:
    return [_program("facemesh", settings)]


def _blendshapes(settings: Settings) -> list[Need]:
    """The program and its model, which comes from elsewhere."""
    path = settings.face.blendshapes.model or FACE_LANDMARKER.default_path()
    problem = FACE_LANDMARKER.problem(path)
    model = Need(
        "model of blendshapes",
        None if problem else str(path),
        settings.face.tool == "blendshapes",
        problem or "",
    )
    return [_program("blendshapes", settings), model]


def _program(name: str, settings: Settings) -> Need:
    return Need(
        f"face tool {name}",
        installed_version(name),
        settings.face.tool == name,
        f"merr tools install {name}",
    )


def _pyfeat(settings: Settings) -> list[Need]:
    """The program and its weights, which come apart: nothing here downloads weights."""
    own, needed = settings.face.pyfeat, settings.face.tool == "pyfeat"
    try:
        files = find_weights(own.weights, own.detector)
        found, get = f"{len(files)} files of {own.detector} in {own.weights}. {TERMS}", ""
    except MerrError as error:
        found, get = None, str(error)
    return [_program("pyfeat", settings), Need("weights of pyfeat", found, needed, get)]


def _openface(settings: Settings) -> list[Need]:
    """What there is of OpenFace, in the order in which it is used; one of the three will do."""
    own = settings.face.openface
    found = []
    if own.csv_dir is not None and own.csv_dir.is_dir():
        found.append(f"{sum(1 for _ in own.csv_dir.rglob('*.csv'))} CSVs already made")
    found += [f"{p} ({p.version})" for p in (find_binary(own), find_image(own)) if p is not None]
    wrong = _wrong_place(own)
    openface = Need(
        "face tool openface",
        None if wrong or not found else "; ".join(found),
        settings.face.tool == "openface",
        wrong or OPENFACE_FROM,
    )
    return [openface]


def _wrong_place(own: OpenFaceSettings) -> str | None:
    """A place that is named and is not there is a slip, whatever else is at hand."""
    if own.csv_dir is not None and not own.csv_dir.is_dir():
        return f"face.openface.csv_dir: {own.csv_dir} is not a folder"
    if own.binary is not None and find_binary(own) is None:
        return f"face.openface.binary: {own.binary} is not a program that can be run"
    if own.docker_image is not None and find_program(own) is None and own.csv_dir is None:
        return (
            f"face.openface.docker_image: docker does not answer, or has no {own.docker_image}; "
            f"try docker pull {own.docker_image}"
        )
    return None


def _is_asr_asked(settings: Settings) -> bool:
    return "asr" in settings.transcript.sources


def _asr(settings: Settings, *, fetch: bool = False) -> list[Need]:
    """The speech recogniser: its package and its model, and a GPU where it is to have one."""
    own, needed = settings.transcript.asr, _is_asr_asked(settings)
    what = f"speech recognition by {own.backend}"
    try:
        place = find_model(own, fetch=fetch)
        needs = [Need(what, f"{versions(own)}; model {place}", needed, "")]
    except AsrError as error:
        needs = [Need(what, None, needed, str(error))]
    if needed and own.device == "cuda":
        gpus = visible_gpus()
        found = f"{len(gpus)} visible" if gpus else None
        needs.append(Need("GPU", found, True, "--set transcript.asr.device=cpu, or a GPU"))
    return needs


def _egemaps(settings: Settings) -> Need:
    found = egemaps.installed_version()
    return Need(
        "openSMILE (eGeMAPS)",
        None if found is None else f"{found}. {egemaps.TERMS}",
        settings.voice.egemaps,
        egemaps.HOW,
    )


def _models(settings: Settings) -> list[Need]:
    """The models that stages ask: each has a name, a server, and its key where it wants one."""
    needs = []
    for role, asking in settings.asking().items():
        what = f"model for {role} ({', '.join(asking)})"
        try:
            own = settings.llm.of(role)
        except MerrError as error:
            needs.append(Need(what, None, True, str(error)))
            continue
        has_key = own.key_env is None or bool(os.environ.get(own.key_env))
        found = f"{own.model} at {own.base_url}" if has_key else None
        needs.append(Need(what, found, True, f"put its key into the variable {own.key_env}"))
    return needs


TOOL_NEEDS: dict[str, Callable[[Settings], list[Need]]] = {
    "facemesh": _facemesh,
    "blendshapes": _blendshapes,
    "pyfeat": _pyfeat,
    "openface": _openface,
}
"""By the names that ``face.tool`` takes. Asking costs a second or more for each tool."""
