"""The pyfeat tool: our side of it, with a made program in the place of py-feat."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from merr_pipeline import doctor
from merr_pipeline.doctor import check_ready, examine
from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.face.stage import FaceStage
from merr_pipeline.face.tools import environment, pyfeat
from merr_pipeline.face.tools.pyfeat_weights import FILES, find_weights
from merr_pipeline.schema import FACE, Clip, ClipId, MerrError
from merr_pipeline.settings import load_settings
from merr_pipeline.stage import Work

UNITS = list(load_action_units().tools["pyfeat_v2"].aus)


def settings(*overrides: str):
    return load_settings("embedded", ["face.tool=pyfeat", *overrides], {})


# --- weights -----------------------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path):
    """A folder with a file for each file of weights."""
    return write_weights(tmp_path / "weights")


def write_weights(folder: Path) -> Path:
    for file in {file for files in FILES.values() for file in files}:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"the weights {file}")
    return folder


@pytest.mark.parametrize("detector", ["v1", "v2"])
def test_a_missing_file_of_weights_is_named_with_its_source_and_its_place(weights, detector):
    first, last = FILES[detector][0], FILES[detector][-1]
    (weights / last).unlink()

    with pytest.raises(MerrError) as error:
        find_weights(weights, detector)

    page, name = last.split("/")
    assert f"https://huggingface.co/py-feat/{page}/resolve/main/{name}" in str(error.value)
    assert str(weights / page / name) in str(error.value)
    assert first not in str(error.value)
    assert "non-commercial" in str(error.value)


def test_without_a_folder_all_files_of_the_detector_are_named():
    with pytest.raises(MerrError, match=r"face\.pyfeat\.weights=FOLDER") as error:
        find_weights(None, "v1")
    assert str(error.value).count("https://") == len(FILES["v1"]) == 6


def test_weights_are_found_in_a_cache_of_hugging_face_at_the_revision_that_main_names(tmp_path):
    for revision, content in (("old", "a"), ("new", "b")):
        for file in FILES["v2"]:
            page, name = file.split("/")
            path = tmp_path / f"models--py-feat--{page}" / "snapshots" / revision / name
            path.parent.mkdir(parents=True)
            path.write_text(content)
            (tmp_path / f"models--py-feat--{page}" / "refs").mkdir(exist_ok=True)
            (tmp_path / f"models--py-feat--{page}" / "refs" / "main").write_text("new\n")

    found = find_weights(tmp_path, "v2")

    assert list(found) == list(FILES["v2"])
    assert {path.read_text() for path in found.values()} == {"b"}


def test_a_build_without_weights_is_refused_with_all_that_is_to_be_done():
    with pytest.raises(MerrError, match="face_multitask_v28"):
        check_ready(settings())
    with pytest.raises(MerrError, match="face_multitask_v28"):
        FaceStage(settings()).identity()


def test_doctor_finds_the_weights_and_says_their_terms(weights, monkeypatch):
    monkeypatch.setattr(doctor, "installed_version", lambda name: None)
    needs = {need.what: need for need in examine(settings(f"face.pyfeat.weights={weights}"))}
    assert "2 files of v2" in needs["weights of pyfeat"].found
    assert "non-commercial" in needs["weights of pyfeat"].found
    assert needs["weights of pyfeat"].needed
    assert needs["face tool pyfeat"].get == "merr tools install pyfeat"


def test_the_fingerprint_names_the_content_of_the_weights_and_not_their_place(weights, tmp_path):
    def identity(folder, *overrides):
        tree = settings(f"face.pyfeat.weights={folder}", *overrides)
        return FaceStage(tree).identity()

    first = identity(weights).fingerprint()
    moved = weights.rename(tmp_path / "elsewhere")
    assert identity(moved).fingerprint() == first

    (moved / FILES["v1"][1]).write_text("v2 does not load this one")
    assert identity(moved).fingerprint() == first
    (moved / FILES["v2"][1]).write_text("other weights")
    assert identity(moved).fingerprint() != first
    assert "face_multitask_v2/face_multitask_v28.safetensors sha256:" in identity(moved).model
    assert "py-feat 2.1.5, torch 2.15.0" in identity(moved).tool_version


@pytest.mark.parametrize("setting", ["detector=v1", "device=cuda", "batch_size=2", "rate_hz=5"])
def test_what_shapes_the_result_is_in_the_fingerprint(weights, setting):
    named = f"face.pyfeat.weights={weights}"
    changed = FaceStage(settings(named, f"face.pyfeat.{setting}")).identity()
    assert changed.fingerprint() != FaceStage(settings(named)).identity().fingerprint()


# --- our side, with a made program -------------------------------------------------------------

MADE_PROGRAM = """
import json, sys
from pathlib import Path
from merr_pipeline.face.tools.program import serve
from merr_pipeline.face.tools.pyfeat_program import SCHEMA
from merr_pipeline.schema import Reason
from merr_pipeline.stage import fail

folder = Path({folder!r})

def measure(request):
    (folder / "asked.json").write_text(json.dumps([sys.argv[1:], request]))
    answer = json.loads((folder / "answer.json").read_text())
    if "refused" in answer:
        raise fail(Reason.TOOL_MISSING, answer["refused"])
    return answer["rows"], answer["counts"]

serve(measure, SCHEMA, "2.1.5")
"""


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """The face row of what a made program answers; ``ask.asked()`` is what it was asked."""
    folder = tmp_path_factory.mktemp("made")
    program = folder / "program.py"
    program.write_text(MADE_PROGRAM.format(folder=str(folder)))
    weights = write_weights(folder / "weights")
    stages = {}
    probe = {
        "frame_count": 10,
        "frame_times_s": [round(0.04 * index, 3) for index in range(10)],
        "shots": [
            {"start_frame": 0, "end_frame": 6, "fade_frames": 0},
            {"start_frame": 6, "end_frame": 10, "fade_frames": 0},
        ],
        "status": "ok",
    }

    def run(rows=(), overrides=(), **answer):
        answer = answer or {"rows": list(rows), "counts": {"frames": 10, "looked_at": 10}}
        (folder / "answer.json").write_text(json.dumps(answer))
        clip = Clip(ClipId("a"), folder / "a.mp4", "a.mp4", "0" * 64)
        named = (f"face.pyfeat.weights={weights}", *overrides)
        if named not in stages:
            stages[named] = FaceStage(settings(*named))
        return stages[named].annotate([Work(clip, {"probe": probe})])[0]

    run.asked = lambda: json.loads((folder / "asked.json").read_text())
    run.weights = weights
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyfeat, "command", lambda name: [sys.executable, str(program)])
        yield run
        for stage in stages.values():
            stage.close()


def face(index: int, x: float = 10.0, **values) -> dict:
    """One row of the program: a face at rest, 40 pixels wide, at ``x``."""
    points = np.full((68, 2), (x + 20.0, 30.0))
    points[[36, 45], 0] = x + 5.0, x + 35.0
    place = {"x": x, "y": 10.0, "width": 40.0, "height": 40.0, "score": 0.9}
    angles = dict.fromkeys(("Pitch", "Roll", "Yaw", "gaze_pitch", "gaze_yaw"), 0.0)
    units = dict.fromkeys(UNITS, 0.25)
    head = {"frame_index": index, "time_s": 0.04 * index, "landmarks": points.ravel().tolist()}
    return {**head, **place, **angles, **units, **values}


def series(track, unit):
    return next(trace["value"] for trace in track["action_units"] if trace["au"] == unit)


def test_a_head_that_looks_up_and_to_its_own_right_looks_up_and_to_the_viewers_left(ask):
    (track,) = ask([face(0, Pitch=0.1, Yaw=0.2, Roll=0.3)])["tracks"]
    assert track["pitch_deg"] == [pytest.approx(5.73, abs=0.001)]
    assert track["yaw_deg"] == [pytest.approx(-11.459, abs=0.001)]
    assert track["roll_deg"] == [pytest.approx(-17.189, abs=0.001)]


def test_eyes_that_look_up_and_to_the_persons_right_look_to_the_viewers_left(ask):
    (track,) = ask([face(0, gaze_pitch=0.1, gaze_yaw=0.2)])["tracks"]
    assert track["gaze_pitch_deg"] == [pytest.approx(5.73, abs=0.001)]
    assert track["gaze_yaw_deg"] == [pytest.approx(-11.459, abs=0.001)]


def test_what_py_feat_could_not_tell_of_a_face_is_null(ask):
    (track,) = ask([face(0, AU12=None, Yaw=None, gaze_yaw=None), face(1, AU12=0.75)])["tracks"]
    assert series(track, "AU12") == [None, 0.75]
    assert track["yaw_deg"] == [None, 0.0]
    assert track["gaze_yaw_deg"] == [None, 0.0]


def test_the_mouth_is_as_open_as_its_inner_lips_are_apart_in_widths_of_the_eyes(ask):
    points = np.full((68, 2), 30.0)
    points[[36, 45], 0] = 20.0, 60.0
    points[[62, 66], 1] = 50.0, 60.0
    (track,) = ask([face(0, landmarks=points.ravel().tolist())])["tracks"]
    assert track["mouth_open"] == [0.25]


def test_probabilities_stay_probabilities_of_twenty_units(ask):
    row = ask([face(index, AU06=0.1 * index) for index in range(5)])
    (track,) = row["tracks"]
    assert row["au_scale"] == "probability"
    assert [trace["au"] for trace in track["action_units"]] == UNITS
    assert len(UNITS) == 20
    assert series(track, "AU06") == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert {trace["absolute"] for trace in track["action_units"]} == {None}


@pytest.mark.parametrize("detector", ["v1", "v2"])
def test_each_detector_has_its_own_tiers(ask, detector):
    row = ask([face(0)], [f"face.pyfeat.detector={detector}"])
    tiers = {trace["au"]: trace["reliability"] for trace in row["tracks"][0]["action_units"]}
    support = load_action_units().tools[f"pyfeat_{detector}"]
    assert tiers == {code: entry.reliability for code, entry in support.aus.items()}
    assert tiers["AU25"] == "moderate"
    assert tiers["AU01"] == {"v1": "low", "v2": "moderate"}[detector]
    assert tiers["AU20"] == tiers["AU28"] == "low"


def test_a_tier_is_moderate_only_where_half_the_codings_of_people_were_met():
    for detector in ("v1", "v2"):
        for entry in load_action_units().tools[f"pyfeat_{detector}"].aus.values():
            assert (entry.reliability == "moderate") == (entry.f1 is not None and entry.f1 >= 0.5)


def test_a_track_ends_at_a_cut_and_two_people_are_two_tracks(ask):
    rows = [face(index, x) for index in range(10) for x in (10.0, 100.0)]
    row = ask(rows)
    assert row["face_count"] == 2
    frames = [track["frame_index"] for track in row["tracks"]]
    assert frames == [list(range(6))] * 2 + [list(range(6, 10))] * 2
    assert [track["box"][0]["x"] for track in row["tracks"]] == [10, 100, 10, 100]
    assert row["tracks"][2]["time_s"] == [0.24, 0.28, 0.32, 0.36]


def test_a_row_fits_the_schema_and_all_series_of_a_track_are_of_one_length(ask):
    row = ask([face(index) for index in (0, 2, 3)])
    head = {"clip_id": "a", "input_key": "b", "row_hash": "c", "sha256": "d"}
    table = pa.Table.from_pylist([{**head, **row}], schema=FACE)
    assert table.to_pylist() == [{**head, **row}]
    (track,) = row["tracks"]
    named = [value for value in track.values() if isinstance(value, list)]
    traces = [trace["value"] for trace in track["action_units"]]
    assert {len(item) for item in [*named[:-1], *traces]} == {3}


def test_a_clip_without_a_face_is_skipped_and_says_where_it_was_looked_for(ask):
    row = ask([])
    assert (row["status"], row["reason"]) == ("skipped", "no_face")
    assert (row["face_count"], row["looked_at"]) == (0, 10)


def test_the_program_is_told_its_detector_its_weights_and_where_the_cuts_are(ask):
    ask([face(0)], ["face.pyfeat.detector=v1"])
    words, request = ask.asked()
    assert words[:4] == ["--detector", "v1", "--device", "cpu"]
    assert json.loads(words[5]) == {file: str(ask.weights / file) for file in FILES["v1"]}
    assert request["shot_starts"] == [0, 6]
    assert (request["rate_hz"], request["batch_size"], request["min_score"]) == (None, 4, 0.6)


def test_a_detector_that_cannot_be_made_fails_the_clip_with_its_reason(ask):
    row = ask(refused="the detector cannot be made: no CUDA here")
    assert (row["status"], row["reason"]) == ("failed", "tool_missing")
    assert "no CUDA here" in row["detail"]


def test_weights_that_went_away_fail_the_clip_and_say_what_to_do(ask):
    row = ask([face(0)], ["face.pyfeat.weights=gone"])
    assert (row["status"], row["reason"]) == ("failed", "tool_missing")
    assert "face_multitask_v28.safetensors" in row["detail"]


def test_the_program_knows_the_units_of_the_table_and_pins_the_version_that_is_named():
    told = subprocess.run(
        [sys.executable, "-c", "import json; from merr_pipeline.face.tools.pyfeat_program "
         "import AU_COLUMNS; print(json.dumps(AU_COLUMNS))"],
        capture_output=True, check=True,
    )  # fmt: skip
    tools = load_action_units().tools
    assert json.loads(told.stdout) == UNITS == list(tools["pyfeat_v1"].aus)
    assert f"py-feat {pyfeat.VERSION}" in environment.pinned_versions("pyfeat")
