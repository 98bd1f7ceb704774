"""The Prefect flow: the same bytes as `merr build`, clean output, true exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from builds import SAMPLES, hashes
from pydantic import ValidationError
from typer.testing import CliRunner

from flows.build_merr import BuildRequest
from merr_pipeline.cli import build_command
from merr_pipeline.settings import load_settings

REPO = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def prefect_home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("prefect")


def run_flow(home: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    return subprocess.run(
        [sys.executable, "-m", "flows.run_local", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=REPO,
        env=environment | {"PREFECT_HOME": str(home)},
        timeout=300,
        check=False,
    )


@pytest.mark.long
def test_the_flow_leaves_the_bytes_of_merr_build_and_clean_output(
    prefect_home, samples_build, tmp_path
):
    manifest = SAMPLES / "manifest.csv"

    done = run_flow(prefect_home, SAMPLES, "--manifest", manifest, "--out", tmp_path)

    assert done.returncode == 0, done.stderr
    assert "8 clips in the dataset" in done.stdout
    assert done.stderr == ""
    assert hashes(tmp_path) == hashes(samples_build)


@pytest.mark.long
def test_failed_clips_are_in_the_exit_code_and_the_dataset_is_there(prefect_home, tmp_path):
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "empty.mp4").write_bytes(b"")

    done = run_flow(prefect_home, clips, "--out", tmp_path / "out")

    assert done.returncode == 1
    assert "probe:empty_file 1" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert (tmp_path / "out" / "dataset" / "manifest.json").is_file()


@pytest.mark.long
def test_what_cannot_run_says_why_without_a_traceback(prefect_home, tmp_path):
    done = run_flow(prefect_home, tmp_path / "nowhere", "--out", tmp_path / "out")

    assert done.returncode == 2
    assert "nowhere is not a folder" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_parameters_are_checked_and_reach_the_core():
    request = BuildRequest(
        clips=Path("a"), workers=3, batch_size=7, overrides=["face.tool=openface"]
    )

    assert request.for_build().overrides == (
        *("face.tool=openface", "engine.workers=3", "engine.batch_size=7"),
    )


def test_the_budget_is_a_parameter_and_an_option_and_reaches_the_core():
    budget = ("llm.max_usd=2.5", "llm.max_calls=7")
    parameters = BuildRequest(clips=Path("a"), budget_usd=2.5, max_calls=7)
    told = []
    app = typer.Typer()
    app.command()(build_command(lambda request: told.append(request) or 0))
    options = ["a", "--set", "seed=1", "--budget-usd", "2.5", "--max-calls", "7"]

    assert parameters.for_build().overrides == budget
    assert BuildRequest(clips=Path("a"), max_calls=0).for_build().overrides == ("llm.max_calls=0",)
    assert CliRunner().invoke(app, options).exit_code == 0
    assert CliRunner().invoke(app, ["a"]).exit_code == 0
    assert [request.overrides for request in told] == [("seed=1", *budget), ()]
    settings = load_settings(overrides=budget, environment={})
    assert (settings.llm.max_usd, settings.llm.max_calls) == (2.5, 7)


@pytest.mark.parametrize("wrong", [{"budget_usd": -1}, {"max_calls": -1}, {"max_calls": 1.5}])
def test_a_budget_that_cannot_be_is_refused_before_anything_is_scheduled(wrong):
    with pytest.raises(ValidationError):
        BuildRequest(clips=Path("a"), **wrong)
    for bad in ({"workers": 0}, {"batch_size": -1}, {"clip": "a"}):
        with pytest.raises(ValidationError):
            BuildRequest(**{"clips": "a"} | bad)
