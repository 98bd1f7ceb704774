"""Stages that want a GPU get one warm worker on each; all others keep every processor."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from toy_stages import gpu_pipeline

from merr_pipeline.clips.manifest import read_inputs
from merr_pipeline.engine.local import LocalEngine
from merr_pipeline.gpus import visible_gpus
from merr_pipeline.pipeline import BatchReport

pytestmark = pytest.mark.long  # workers are started over and over


def run(folder: Path, gpus: list[str], *extra: str) -> dict[str, dict[str, dict]]:
    """Eight clips and more, two at a time; the rows of each, by stage."""
    clips, out = folder / "clips", folder / "out"
    clips.mkdir(exist_ok=True)
    for content in (*"abcdefgh", *extra):
        (clips / f"{content}.mp4").write_text(content)
    pipeline = gpu_pipeline(out)
    states = [pipeline.plan(clip) for clip in read_inputs(clips).clips]
    batches = [states[start : start + 2] for start in range(0, len(states), 2)]
    opener = partial(gpu_pipeline, out)
    report = BatchReport()
    with LocalEngine(opener, 2, pipeline, gpus=gpus) as engine, ThreadPoolExecutor(4) as threads:
        for part in threads.map(engine.run, batches):
            report.add(part)
    after = gpu_pipeline(out)
    ended = {state.clip.clip_id: after.settled(state.clip) for state in states}
    made = [(o.clip_id, o.stage) for o in report.outcomes]
    assert len(made) == len(set(made))  # nothing was made twice
    return {
        clip: {stage: after.store.read(stage, [entry])[0] for stage, entry in state.entries.items()}
        for clip, state in ended.items()
    }


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return run(tmp_path_factory.mktemp("gpus"), ["3", "GPU-5"], "empty", "kill_on_gpu")


def test_each_gpu_has_one_worker_that_sees_no_other(rows):
    seen = {(r["transcript"]["gpu"], r["transcript"]["process"]) for r in whole(rows).values()}

    assert {gpu for gpu, _ in seen} == {"3", "GPU-5"}
    processes = [process for _, process in seen]
    assert len(processes) == len(set(processes)) <= 3  # one more took over after the kill


def test_stages_that_want_no_gpu_run_where_none_is_seen(rows):
    assert {row["fine"]["gpu"] for row in whole(rows).values()} == {""}


def test_every_clip_gets_through_all_lanes(rows):
    assert sorted(whole(rows)) == list("abcdefgh")
    assert all(
        {row["status"] for row in stages.values()} == {"ok"} for stages in whole(rows).values()
    )


def test_a_clip_whose_gate_is_closed_goes_into_no_other_lane(rows):
    assert [(s, row["reason"]) for s, row in rows["empty"].items()] == [("probe", "empty_file")]


def test_a_clip_that_kills_the_worker_of_a_gpu_fails_alone_and_goes_on(rows):
    reasons = {stage: row["reason"] for stage, row in rows["kill_on_gpu"].items()}

    assert reasons == {"probe": None, "transcript": "worker_crashed", "fine": None}


def test_without_a_gpu_one_worker_does_it_all(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    rows = run(tmp_path, [])

    assert {row["transcript"]["gpu"] for row in rows.values()} == {None}
    assert all(list(row) == ["probe", "transcript", "fine"] for row in rows.values())


def whole(rows):
    return {clip: stages for clip, stages in rows.items() if len(clip) == 1}


@pytest.mark.parametrize(
    ("named", "gpus"),
    [
        ("0,1", ["0", "1"]),
        (" GPU-1 , MIG-2", ["GPU-1", "MIG-2"]),
        ("", []),
        ("-1", []),
        ("2,-1,3", ["2"]),
    ],
)
def test_the_variable_names_the_gpus(named, gpus, tmp_path):
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": named}, tmp_path) == gpus


def test_without_the_variable_device_files_are_counted(tmp_path):
    for name in ("nvidia0", "nvidia3", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()

    assert visible_gpus({}, tmp_path) == ["0", "1"]
