"""What all tests share: where real clips lie, and when a skip is a failure."""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path

import pytest
from builds import build
from hypothesis import settings
from made_pyfeat import make_pyfeat

from merr_pipeline.face.tools.environment import build as build_environment
from merr_pipeline.face.tools.environment import install

settings.register_profile("here", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("here")  # a busy machine is no fault; CI tries the same examples every time

# A shell that starts us in the background makes us deaf to Ctrl-C, and all that we start with us.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPO = Path(__file__).parent.parent
SHARED = REPO.parent / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips",
        action="store_true",
        help="a skip is a failure, but for what needs a GPU, a browser, or real clips",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    allowed = any(item.get_closest_marker(name) for name in ("shared", "gpu", "browser"))
    if report.skipped and not allowed and item.config.getoption("--no-skips"):
        report.outcome = "failed"
        report.longrepr = f"skipped under --no-skips: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real clips; what asks for it skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the real clips are not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def asr_models(tmp_path_factory) -> Path:
    """A folder with speech recognisers of random weights, one for each backend."""
    pytest.importorskip("torch", reason="the extras asr, whisper and hf are not installed")
    import made_asr_models

    return made_asr_models.write_all(tmp_path_factory.mktemp("asr"))


@pytest.fixture(scope="session")
def samples_build(tmp_path_factory) -> Path:
    """One finished build of the samples, for all test processes; to be looked at, never changed."""
    here = tmp_path_factory.getbasetemp()
    shared = here.parent if "PYTEST_XDIST_WORKER" in os.environ else here
    folder = shared / "samples"
    with (shared / "samples.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "dataset").exists():
            build(folder)
    return folder


@pytest.fixture(scope="session")
def facemesh_environment() -> None:
    """The default face tool, installed; to look costs seconds, so once for all tests."""
    install("facemesh")


@pytest.fixture(scope="session")
def face_landmarker(shared: Path) -> Path:
    """The model of the blendshapes tool; what asks for it skips where it is absent."""
    path = shared / "models" / "face_landmarker.task"
    if not path.is_file():
        pytest.skip("face_landmarker.task is not beside this checkout")
    return path


@pytest.fixture(scope="session")
def blendshapes_environment() -> None:
    """The environment of the blendshapes tool; what asks for it has asked for the model before."""
    build_environment("blendshapes")


@pytest.fixture(scope="session")
def real_pyfeat(tmp_path_factory) -> Path:
    """The real py-feat, installed, with a clip and weights of our making (see `made_pyfeat`)."""
    return make_pyfeat(tmp_path_factory.mktemp("pyfeat"))
