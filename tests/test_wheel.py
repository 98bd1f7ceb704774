"""The wheel carries all it needs: templates, profiles, samples, the face tool's program."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import uv

REPO = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [uv.find_uv_bin(), "build", "--wheel", "--no-build-isolation", "--offline", "--quiet"]
    subprocess.run([*command, "--out-dir", folder, REPO], check=True, timeout=120)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_every_template_profile_and_sample(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())

    def shipped(folder: Path, inside: str, pattern: str) -> set[str]:
        return {f"{inside}/{path.relative_to(folder)}" for path in folder.rglob(pattern)}

    assert (
        shipped(REPO / "annotation_templates", "merr_pipeline/annotation_templates", "*.yaml")
        <= names
    )
    assert shipped(REPO / "merr_pipeline/profiles", "merr_pipeline/profiles", "*.yaml") <= names
    assert shipped(REPO / "data/samples", "merr_pipeline/samples", "*.mp4") <= names
    assert "merr_pipeline/face/tools/facemesh_program.py" in names
    assert {f"merr_pipeline/report/page.{suffix}" for suffix in ("html", "css", "js")} <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "data/"))]
    assert not [
        name for name in names if name.startswith("merr_pipeline/samples/") and "py" in name
    ]


@pytest.mark.long
def test_an_installed_wheel_builds_outside_the_clone(wheel, tmp_path):
    install = [uv.find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--offline"]
    subprocess.run([*install, "--target", tmp_path / "site", wheel], check=True, timeout=60)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "PYTHONSAFEPATH": "1"}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    place = run("-c", "import merr_pipeline; print(merr_pipeline.__file__)").strip()
    assert Path(place).is_relative_to(tmp_path / "site")
    assert "8 clips" in run("-m", "merr_pipeline.cli", "samples", "clips")
    (tmp_path / "one").mkdir()
    (tmp_path / "clips" / "clips" / "smile.mp4").rename(tmp_path / "one" / "smile.mp4")
    run("-m", "merr_pipeline.cli", "build", "one", "--out", "out")

    (row,) = pq.read_table(next(tmp_path.glob("out/dataset/clips/*.parquet"))).to_pylist()
    assert row["clip_id"] == "smile"
    assert abs(row["peak_frame_index"] - 46) <= 2
