"""One contract for all face tools: the same columns, times, scales and nulls, whoever measured."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from test_face_facemesh import SAMPLES, work_on
from test_face_openface import made_csv, made_row

from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.face.stage import FaceStage, tiers_of
from merr_pipeline.face.tools.environment import build
from merr_pipeline.schema import FACE
from merr_pipeline.settings import Settings, load_settings


def facemesh(folder: Path, request: pytest.FixtureRequest) -> Settings:
    build("facemesh")
    return load_settings("embedded", environment={})


def openface_csvs(folder: Path, request: pytest.FixtureRequest) -> Settings:
    rows = [made_row(n, success=int(n != 20), AU12=n / 40) for n in range(1, 101)]
    (folder / "two_people_cut.csv").write_text(made_csv(rows))
    return load_settings("openface", [f"face.openface.csv_dir={folder}"], {})


def blendshapes(folder: Path, request: pytest.FixtureRequest) -> Settings:
    build("blendshapes")
    model = request.getfixturevalue("shared") / "models" / "face_landmarker.task"
    return load_settings(
        "embedded", ["face.tool=blendshapes", f"face.blendshapes.model={model}"], {}
    )


# What makes each tool ready for the clip with a cut; a new tool joins with one line here.
TOOLS = [
    facemesh,
    openface_csvs,
    pytest.param(blendshapes, marks=pytest.mark.shared),
]


SINGLE = ("track", "shot", "action_units")  # all else of a track has one value per frame
KINDS = ("value", "absolute", "asymmetry")


@pytest.fixture(scope="module", params=TOOLS)
def any_tool(request, tmp_path_factory):
    """Settings, probe and face row of the clip with a cut, by each tool."""
    settings = request.param(tmp_path_factory.mktemp("tool"), request)
    work = work_on(SAMPLES / "clips" / "two_people_cut.mp4")
    stage = FaceStage(settings)
    row = stage.annotate([work])[0]
    stage.close()
    return settings, work.seen["probe"], row


def test_every_tool_writes_rows_that_fit_the_schema_and_come_back_unchanged(any_tool):
    *_, row = any_tool
    head = {"clip_id": "a", "input_key": "b", "row_hash": "c"}
    table = pa.Table.from_pylist([{**head, **row}], schema=FACE)
    table.validate(full=True)
    assert table.to_pylist() == [{**head, **row}]
    assert set(row) == set(FACE.names) - set(head)


def test_every_tool_gives_tracks_in_order_inside_one_shot_with_the_times_of_probe(any_tool):
    _, probe, row = any_tool
    assert [track["track"] for track in row["tracks"]] == list(range(len(row["tracks"])))
    for track in row["tracks"]:
        shot = probe["shots"][track["shot"]]
        frames = track["frame_index"]
        assert shot["start_frame"] <= frames[0] <= frames[-1] < shot["end_frame"]
        assert all(one < other for one, other in pairwise(frames))
        assert track["time_s"] == [probe["frame_times_s"][index] for index in frames]


def test_every_tool_gives_every_series_of_a_track_the_same_length(any_tool):
    *_, row = any_tool
    for track in row["tracks"]:
        length = len(track["frame_index"])
        series = [value for name, value in track.items() if name not in SINGLE]
        traces = [trace[kind] for trace in track["action_units"] for kind in KINDS]
        series += [trace for trace in traces if trace is not None]
        assert {len(item) for item in series} == {length}


def test_every_tool_names_its_scale_its_tiers_and_nothing_that_it_cannot_see(any_tool):
    settings, _, row = any_tool
    support = load_action_units().tools[tiers_of(settings.face)]
    assert row["face_tool"] == settings.face.tool
    assert row["au_scale"] == support.scale
    for track in row["tracks"]:
        tiers = {trace["au"]: trace["reliability"] for trace in track["action_units"]}
        assert tiers == {code: entry.reliability for code, entry in support.aus.items()}


def test_every_tool_gives_values_within_its_scale_or_null(any_tool):
    *_, row = any_tool
    top = load_action_units().scales[row["au_scale"]].max
    given = [
        value for track in row["tracks"] for trace in track["action_units"]
        for value in trace["value"] + (trace["absolute"] or []) if value is not None
    ]  # fmt: skip
    assert given
    assert all(0 <= value <= top for value in given)


def test_every_tool_keeps_boxes_inside_the_picture(any_tool):
    _, probe, row = any_tool
    for box in (box for track in row["tracks"] for box in track["box"]):
        assert min(box["x"], box["y"]) >= 0
        assert box["x"] + box["width"] <= probe["width"] + 0.002
        assert box["y"] + box["height"] <= probe["height"] + 0.002
