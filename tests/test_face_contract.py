"""One contract for all face tools: the same columns, times, scales and nulls, whoever measured."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from fake_openface import write_fake
from made_clips import write_clip
from made_pyfeat import picture
from test_face_facemesh import SAMPLES, frames_of, work_on
from test_face_openface import made_csv, made_row

from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.face.stage import FaceStage, tiers_of
from merr_pipeline.schema import FACE, Row
from merr_pipeline.settings import Settings, load_settings
from merr_pipeline.stage import Work

CLIP = SAMPLES / "clips" / "two_people_cut.mp4"


@dataclass
class Ready:
    """How a tool is set, and a clip with a cut in which it sees faces on both sides."""

    settings: Settings
    clip: Path
    other: np.ndarray = field(default_factory=lambda: frames_of("smile", 1)[0])
    """A picture with a face, which is not in the clip."""


def facemesh(folder: Path, request: pytest.FixtureRequest) -> Ready:
    request.getfixturevalue("facemesh_environment")
    return Ready(load_settings("embedded", environment={}), CLIP)


def blendshapes(folder: Path, request: pytest.FixtureRequest) -> Ready:
    model = request.getfixturevalue("face_landmarker")  # first: without it nothing is installed
    request.getfixturevalue("blendshapes_environment")
    words = ["face.tool=blendshapes", f"face.blendshapes.model={model}"]
    return Ready(load_settings("embedded", words, {}), CLIP)


def openface_csvs(folder: Path, request: pytest.FixtureRequest) -> Ready:
    (folder / f"{CLIP.stem}.csv").write_text(openface_csv())
    return Ready(load_settings("openface", [f"face.openface.csv_dir={folder}"], {}), CLIP)


def openface_program(folder: Path, request: pytest.FixtureRequest) -> Ready:
    program = write_fake(folder, openface_csv())
    return Ready(load_settings("openface", [f"face.openface.binary={program}"], {}), CLIP)


def openface_csv() -> str:
    return made_csv([made_row(n, success=int(n != 20), AU12=n / 40) for n in range(1, 101)])


def pyfeat_v1(folder: Path, request: pytest.FixtureRequest) -> Ready:
    return pyfeat("v1", request.getfixturevalue("real_pyfeat"))


def pyfeat_v2(folder: Path, request: pytest.FixtureRequest) -> Ready:
    return pyfeat("v2", request.getfixturevalue("real_pyfeat"))


def pyfeat(detector: str, made: Path) -> Ready:
    words = [f"face.pyfeat.weights={made / 'weights'}", f"face.pyfeat.detector={detector}"]
    settings = load_settings("embedded", ["face.tool=pyfeat", *words], {})
    return Ready(settings, made / "clip.mkv", picture(7))  # in a photo made weights see thousands


real_package = [pytest.mark.extras, pytest.mark.long]
# What makes each tool ready; a new tool joins with one line here.
TOOLS = [
    facemesh,
    pytest.param(blendshapes, marks=pytest.mark.shared),
    openface_csvs,
    openface_program,
    pytest.param(pyfeat_v1, marks=real_package),
    pytest.param(pyfeat_v2, marks=real_package),
]

SINGLE = ("track", "shot", "action_units")  # all else of a track has one value per frame
KINDS = ("value", "absolute", "asymmetry")


@dataclass
class Measured:
    """A tool that has measured its clip once, and is still running."""

    ready: Ready
    stage: FaceStage
    work: Work
    row: Row

    @property
    def settings(self) -> Settings:
        return self.ready.settings

    @property
    def probe(self) -> Row:
        return self.work.seen["probe"]


@pytest.fixture(scope="module", params=TOOLS)
def measured(request, tmp_path_factory):
    ready = request.param(tmp_path_factory.mktemp("tool"), request)
    work = work_on(ready.clip)
    stage = FaceStage(ready.settings)
    stage.setup()
    yield Measured(ready, stage, work, stage.annotate([work])[0])
    stage.close()


def test_every_tool_writes_rows_that_fit_the_schema_and_come_back_unchanged(measured):
    row = measured.row
    head = {"clip_id": "a", "input_key": "b", "row_hash": "c", "sha256": "d"}
    table = pa.Table.from_pylist([{**head, **row}], schema=FACE)
    table.validate(full=True)
    assert table.to_pylist() == [{**head, **row}]
    assert set(row) == set(FACE.names) - set(head)


def test_every_tool_gives_tracks_in_order_inside_one_shot_with_the_times_of_probe(measured):
    probe, row = measured.probe, measured.row
    assert [track["track"] for track in row["tracks"]] == list(range(len(row["tracks"])))
    for track in row["tracks"]:
        shot = probe["shots"][track["shot"]]
        frames = track["frame_index"]
        assert shot["start_frame"] <= frames[0] <= frames[-1] < shot["end_frame"]
        assert all(one < other for one, other in pairwise(frames))
        assert track["time_s"] == [probe["frame_times_s"][index] for index in frames]


def test_every_tool_gives_every_series_of_a_track_the_same_length(measured):
    row = measured.row
    for track in row["tracks"]:
        length = len(track["frame_index"])
        series = [value for name, value in track.items() if name not in SINGLE]
        traces = [trace[kind] for trace in track["action_units"] for kind in KINDS]
        series += [trace for trace in traces if trace is not None]
        assert {len(item) for item in series} == {length}


def test_every_tool_names_its_scale_its_tiers_and_nothing_that_it_cannot_see(measured):
    settings, row = measured.settings, measured.row
    support = load_action_units().tools[tiers_of(settings.face)]
    assert row["face_tool"] == settings.face.tool
    assert row["au_scale"] == support.scale
    for track in row["tracks"]:
        tiers = {trace["au"]: trace["reliability"] for trace in track["action_units"]}
        assert tiers == {code: entry.reliability for code, entry in support.aus.items()}


def test_every_tool_gives_values_within_its_scale_or_null(measured):
    row = measured.row
    top = load_action_units().scales[row["au_scale"]].max
    given = [
        value for track in row["tracks"] for trace in track["action_units"]
        for value in trace["value"] + (trace["absolute"] or []) if value is not None
    ]  # fmt: skip
    assert given
    assert all(0 <= value <= top for value in given)


def test_every_tool_keeps_boxes_inside_the_picture(measured):
    probe, row = measured.probe, measured.row
    for box in (box for track in row["tracks"] for box in track["box"]):
        assert min(box["x"], box["y"]) >= 0
        assert box["x"] + box["width"] <= probe["width"] + 0.002
        assert box["y"] + box["height"] <= probe["height"] + 0.002


def test_every_tool_begins_new_tracks_at_the_cut_and_counts_what_it_looked_at(measured):
    probe, row = measured.probe, measured.row
    assert {track["shot"] for track in row["tracks"]} == {0, 1}
    if row["face_tool"] == "openface":  # it follows one face and says nothing of others
        assert row["face_count"] is None
    else:
        assert row["face_count"] >= 1
    assert row["looked_at"] == probe["frame_count"]


def test_every_tool_leaves_out_frames_without_the_person_and_fills_in_nothing(measured):
    seen = {frame for track in measured.row["tracks"] for frame in track["frame_index"]}
    unseen = {"openface": {19}, "pyfeat": {4, 9, 10}}.get(measured.settings.face.tool, set())
    assert seen == set(range(measured.probe["frame_count"])) - unseen


def test_every_tool_gives_angles_and_confidences_that_can_be(measured):
    for track in measured.row["tracks"]:
        assert all(0 <= value <= 1 for value in track["confidence"])
        assert all(value is None or value >= 0 for value in track["mouth_open"])
        for angle in ("pitch_deg", "yaw_deg", "roll_deg", "gaze_pitch_deg", "gaze_yaw_deg"):
            assert all(value is None or -180 <= value <= 180 for value in track[angle])


def test_every_tool_says_the_same_of_the_same_clip_whatever_came_before(measured, tmp_path):
    other = dict.fromkeys(range(0, 400, 40), measured.ready.other)
    before = write_clip(tmp_path / "before.mp4", other)
    assert measured.stage.annotate([work_on(before), measured.work])[1] == measured.row


def test_every_tool_says_what_shaped_its_rows_the_same_in_every_process(measured):
    identity = measured.stage.identity()
    assert identity.tool == measured.settings.face.tool
    assert identity.fingerprint() == FaceStage(measured.settings).identity().fingerprint()
    facts = measured.stage.facts(measured.work.clip)
    assert identity.tool_version or facts  # a CSV does not name what wrote it: its content counts
    assert json.loads(json.dumps(facts)) == facts
