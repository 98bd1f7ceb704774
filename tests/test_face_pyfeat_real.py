"""The real py-feat, with weights of our making (see `made_pyfeat_weights.py`).

So nothing here tells how well it sees. It tells that the real package takes weights from our
folder, and that places, order, times, columns, units and empty frames come through as they are.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from made_pyfeat import CUT, FACES, TIMES_MS
from test_face_pyfeat import UNITS, series, settings

from merr_pipeline.clips.probe import ProbeStage
from merr_pipeline.face.stage import FaceStage
from merr_pipeline.face.tools.pyfeat_weights import FILES
from merr_pipeline.schema import Clip, ClipId
from merr_pipeline.stage import Work

pytestmark = [pytest.mark.extras, pytest.mark.long]


def measured(folder: Path, *overrides: str):
    clip = Clip(ClipId("clip"), folder / "clip.mkv", "clip.mkv", "0" * 64)
    tree = settings(f"face.pyfeat.weights={folder / 'weights'}", *overrides)
    probe = ProbeStage(tree).annotate([Work(clip, {})])[0]
    stage = FaceStage(tree)
    row = stage.annotate([Work(clip, {"probe": probe})])[0]
    stage.close()
    return probe, row


@pytest.fixture(scope="module", params=["v1", "v2"])
def run(request, real_pyfeat):
    """The detector, the rows of probe and face, and py-feat's own table."""
    overrides = (f"face.pyfeat.detector={request.param}", "face.pyfeat.batch_size=5")
    with (real_pyfeat / "weights" / f"{request.param}.csv").open(newline="") as table:
        own = list(csv.DictReader(table))
    return request.param, *measured(real_pyfeat, *overrides), own


def seen_in(row: dict) -> list[tuple[int, dict, int]]:
    """Frame, track and place in the track of every face."""
    return sorted(
        (
            (index, track, place)
            for track in row["tracks"]
            for place, index in enumerate(track["frame_index"])
        ),
        key=lambda seen: (seen[0], seen[1]["box"][seen[2]]["x"]),
    )


def test_each_face_is_found_in_its_frame_at_its_place_and_time(run):
    _, probe, row, _ = run
    assert [shot["start_frame"] for shot in probe["shots"]] == [0, CUT]
    found = [[] for _ in FACES]
    for index, track, place in seen_in(row):
        box = track["box"][place]
        centre = box["x"] + box["width"] / 2 - 8, box["y"] + box["height"] / 2 - 8
        found[index].append(tuple(round(side / 16) * 16 for side in centre))
        assert track["time_s"][place] == TIMES_MS[index] / 1000
    assert found == [sorted(places) for places in FACES]
    assert (row["status"], row["looked_at"], row["face_count"]) == ("ok", len(FACES), 2)


def test_no_track_crosses_the_cut_and_a_face_that_comes_back_goes_on(run):
    _, _, row, _ = run
    frames = [track["frame_index"] for track in row["tracks"]]
    assert frames == [[0, 1, 2, 3, 5, 6, 7], [6, 7], [8], [11]]
    assert [track["shot"] for track in row["tracks"]] == [0, 0, 1, 1]


def test_every_number_is_that_of_py_feat_itself(run):
    _, _, row, own = run
    theirs = sorted(
        (face for face in own if face["FaceRectX"]),
        key=lambda face: (int(face["frame"]), float(face["FaceRectX"])),
    )
    seen = seen_in(row)
    assert len(seen) == len(theirs) == sum(map(len, FACES))
    for (index, track, place), face_ in zip(seen, theirs, strict=True):
        told = {name: float(value) for name, value in face_.items() if name != "input" and value}
        assert told["frame"] == index
        assert track["confidence"][place] == pytest.approx(told["FaceScore"], abs=0.002)
        for name, column, sign in (
            ("pitch_deg", "Pitch", 1), ("yaw_deg", "Yaw", -1), ("roll_deg", "Roll", -1),
            ("gaze_pitch_deg", "gaze_pitch", 1), ("gaze_yaw_deg", "gaze_yaw", -1),
        ):  # fmt: skip
            degrees = sign * np.degrees(told[column])
            assert track[name][place] == pytest.approx(degrees, abs=0.1)
        lips = np.hypot(told["x_62"] - told["x_66"], told["y_62"] - told["y_66"])
        eyes = np.hypot(told["x_36"] - told["x_45"], told["y_36"] - told["y_45"])
        assert track["mouth_open"][place] == pytest.approx(lips / eyes, abs=0.002)
        for unit in UNITS:
            assert series(track, unit)[place] == pytest.approx(told[unit], abs=0.002)


def test_each_unit_has_the_column_of_its_own_classifier(run):
    detector, _, row, _ = run
    for track in row["tracks"]:
        for number, unit in enumerate(UNITS):
            values = series(track, unit)
            assert all(0 <= value <= 1 for value in values)
            if detector == "v1":  # there each classifier says always the same
                assert values == pytest.approx([0.1 + 0.04 * number] * len(values), abs=0.002)


def test_a_box_is_the_face_and_not_the_larger_crop_of_the_networks(run):
    detector, _, row, own = run
    crop = float(own[0]["FaceRectWidth"])
    width = row["tracks"][0]["box"][0]["width"]
    assert width == pytest.approx(crop / 1.2, abs=0.1) if detector == "v1" else width < crop


def test_a_wanted_rate_looks_at_fewer_frames_and_begins_anew_at_the_cut(real_pyfeat):
    _, row = measured(real_pyfeat, "face.pyfeat.rate_hz=10")
    looked_at = [frame for track in row["tracks"] for frame in track["frame_index"]]
    assert sorted(set(looked_at)) == [0, 3, 5, 7, 8, 11]
    assert row["looked_at"] == 6


def test_a_file_that_is_no_weights_fails_the_clip_with_what_py_feat_says(real_pyfeat, tmp_path):
    for file in FILES["v2"]:
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text("no weights")
    _, row = measured(real_pyfeat, f"face.pyfeat.weights={tmp_path}")
    assert (row["status"], row["reason"]) == ("failed", "tool_missing")
    assert "the detector cannot be made" in row["detail"]
