"""The facemesh tool itself, on the project's own samples: what moves when is in truth/*.json."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from made_clips import texture, write_clip
from test_face_process import CHILD

from merr_pipeline.clips.probe import ProbeStage
from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.face.stage import FaceStage
from merr_pipeline.face.tools import environment, facemesh
from merr_pipeline.face.tools.environment import installed_version
from merr_pipeline.schema import Clip, ClipId
from merr_pipeline.settings import load_settings
from merr_pipeline.stage import Work

REPO = Path(__file__).parent.parent
SAMPLES = REPO / "data" / "samples"
MESH_UNITS = list(load_action_units().tools["facemesh"].aus)


@pytest.fixture(scope="module")
def stage(facemesh_environment):
    stage = FaceStage(load_settings("embedded", environment={}))
    stage.setup()
    yield stage
    stage.close()


def work_on(path: Path) -> Work:
    clip = Clip(ClipId(path.stem), path, path.name, "0" * 64)
    probe = ProbeStage(load_settings("embedded", environment={}))
    return Work(clip, {"probe": probe.annotate([Work(clip, {})])[0]})


@pytest.fixture(scope="module")
def measure(stage):
    """Truth, probe row and face row of a sample, measured once."""
    known = {}

    def run(name):
        if name not in known:
            work = work_on(SAMPLES / "clips" / f"{name}.mp4")
            truth = json.loads((SAMPLES / "truth" / f"{name}.json").read_text())
            known[name] = truth, work.seen["probe"], stage.annotate([work])[0]
        return known[name]

    return run


@pytest.fixture(scope="module")
def portrait():
    """One frame of a sample: a face at rest, RGB."""
    return frames_of("neutral", 1)[0]


def frames_of(name: str, count: int) -> list[np.ndarray]:
    with av.open(SAMPLES / "clips" / f"{name}.mp4") as container:
        frames = container.decode(video=0)
        return [next(frames).to_ndarray(format="rgb24") for _ in range(count)]


def values(track, unit, kind="value"):
    trace = next(item for item in track["action_units"] if item["au"] == unit)
    return np.array([np.nan if value is None else value for value in trace[kind]])


@pytest.mark.parametrize("name", ["smile", "two_people_cut", "blink_then_smile"])
def test_a_smile_is_largest_at_its_apex_and_absent_before_it(measure, name):
    truth, _, row = measure(name)
    track = row["tracks"][-1]
    smile = values(track, "AU12")
    frames = np.array(track["frame_index"])

    assert abs(int(frames[smile.argmax()]) - truth["apex_frame"]) <= 2
    assert smile.max() > 2
    assert smile[frames < truth["onset_frame"]].max() < 0.5


def test_raised_brows_and_an_open_mouth_are_seen_at_their_apex(measure):
    truth, _, row = measure("surprise")
    (track,) = row["tracks"]
    for unit, least in (("AU01", 1), ("AU25", 4)):
        series = values(track, unit)
        assert series[truth["apex_frame"]] > least
        assert series[: truth["onset_frame"]].max() < 0.5


def test_a_blink_is_seen_where_it_is_and_nowhere_else(measure):
    truth, _, row = measure("blink_then_smile")
    blink = values(row["tracks"][0], "AU45")
    assert abs(int(blink.argmax()) - truth["blink_frame"]) <= 2
    assert np.delete(blink, range(truth["blink_frame"] - 4, truth["blink_frame"] + 5)).max() < 0.5


def test_a_face_at_rest_shows_nothing_that_counts(measure):
    _, _, row = measure("neutral")
    active_at = load_action_units().scales["proxy_0_5"].active_at
    assert max(values(row["tracks"][0], unit).max() for unit in MESH_UNITS) < active_at


def test_two_people_with_a_cut_between_them_are_two_tracks(measure):
    truth, _, row = measure("two_people_cut")
    before, after = row["tracks"]
    assert before["frame_index"] == list(range(truth["cut_frame"]))
    assert after["frame_index"] == list(range(truth["cut_frame"], truth["frame_count"]))
    assert (before["shot"], after["shot"]) == (0, 1)
    assert row["face_count"] == 1


def test_what_was_before_a_cut_does_not_change_what_is_measured_after_it(stage, tmp_path, portrait):
    """The tracker starts afresh; a lossless codec keeps the pixels after the cut the same."""
    other = cv2.resize(frames_of("two_people_cut", 60)[-1], portrait.shape[1::-1])
    rows = []
    for name, before in (("one", np.roll(other, 60, axis=1)), ("two", np.zeros_like(portrait))):
        path = write_lossless(tmp_path / f"{name}.mkv", [before] * 12 + [portrait] * 12)
        work = work_on(path)
        assert [shot["start_frame"] for shot in work.seen["probe"]["shots"]] == [0, 12]
        rows.append(stage.annotate([work])[0])
    assert [len(row["tracks"]) for row in rows] == [2, 1]
    after = [{**row["tracks"][-1], "track": None} for row in rows]
    assert after[0] == after[1]


def write_lossless(path: Path, pictures: list[np.ndarray]) -> Path:
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "bgr0"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return path


def test_two_faces_beside_each_other_are_two_tracks(stage, tmp_path):
    people = zip(frames_of("two_people_cut", 1) * 12, frames_of("smile", 12), strict=True)
    other = frames_of("two_people_cut", 60)[-1]
    pictures = [np.hstack([one, cv2.resize(other, one.shape[1::-1])]) for _, one in people]
    path = write_clip(tmp_path / "pair.mp4", {40 * i: p for i, p in enumerate(pictures)})

    row = stage.annotate([work_on(path)])[0]

    assert row["face_count"] == 2
    assert "more_faces_than_tracked" not in row["flags"]
    assert [len(track["frame_index"]) for track in row["tracks"]] == [12, 12]


def test_more_faces_than_are_tracked_are_counted_all_the_same(tmp_path):
    face = frames_of("smile", 1)[0]
    other = cv2.resize(frames_of("two_people_cut", 60)[-1], face.shape[1::-1])
    crowd = np.vstack([np.hstack([face, other, face]), np.hstack([other, face, other])])
    path = write_clip(tmp_path / "crowd.mp4", dict.fromkeys((0, 40, 80), crowd))

    stage = FaceStage(load_settings("embedded", environment={}))
    row = stage.annotate([work_on(path)])[0]
    stage.close()

    assert row["face_count"] == 6
    assert len(row["tracks"]) == 3
    assert "more_faces_than_tracked" in row["flags"]


def test_a_small_face_that_the_tracker_misses_is_found_by_a_closer_look(stage, tmp_path, portrait):
    scene = np.repeat(texture(3, 640, 360, 40)[:, :, None] // 3, 3, axis=2)
    face = cv2.resize(portrait, (120, round(120 * portrait.shape[0] / portrait.shape[1])))
    scene[100 : 100 + face.shape[0], 400:520] = face
    path = write_clip(tmp_path / "far.mp4", {40 * i: scene for i in range(6)})

    (track,) = stage.annotate([work_on(path)])[0]["tracks"]

    assert len(track["frame_index"]) == 6
    assert 400 < track["box"][0]["x"] < 520


def test_a_clip_without_a_face_is_skipped(stage, tmp_path):
    path = write_clip(tmp_path / "blocks.mp4", {40 * i: texture(7) for i in range(5)})
    row = stage.annotate([work_on(path)])[0]
    assert (row["status"], row["reason"], row["face_count"]) == ("skipped", "no_face", 0)


def test_a_still_has_a_place_and_absolute_values_only(stage, tmp_path, portrait):
    path = tmp_path / "still.png"
    cv2.imwrite(str(path), portrait[:, :, ::-1])

    row = stage.annotate([work_on(path)])[0]

    (track,) = row["tracks"]
    assert row["flags"] == ["track_without_rest"]
    assert track["frame_index"] == [0]
    rests = {item["au"]: item["rest"] for item in track["action_units"]}
    assert {code for code, rest in rests.items() if rest == "common"} == {"AU12", "AU25"}
    for item in track["action_units"]:
        assert item["value"] == (item["absolute"] or [None])
    assert values(track, "AU12")[0] < 1


def test_boxes_are_in_the_picture_as_it_is_shown(stage, tmp_path, portrait):
    upright = write_clip(tmp_path / "upright.mp4", {40 * i: portrait for i in range(3)})
    stored = np.ascontiguousarray(np.rot90(portrait))
    turned = write_clip(
        tmp_path / "turned.mp4", {40 * i: stored for i in range(3)}, clockwise_deg=90
    )

    boxes = [
        stage.annotate([work_on(path)])[0]["tracks"][0]["box"][0] for path in (upright, turned)
    ]

    assert boxes[1] == pytest.approx(boxes[0], abs=4)


def test_with_a_variable_rate_each_frame_keeps_its_own_time(stage, tmp_path, portrait):
    path = write_clip(tmp_path / "vfr.mp4", dict.fromkeys((0, 40, 400, 440, 520), portrait))
    (first, second) = stage.annotate([work_on(path)])[0]["tracks"]  # .36 s is too long a gap
    assert first["time_s"] == [0.0, 0.04]
    assert second["time_s"] == pytest.approx([0.4, 0.44, 0.52], abs=0.002)


@pytest.mark.parametrize(
    ("rate_hz", "frames"),
    [
        (5, list(range(0, 40, 5))),
        # due every 2.5 frames, so after 0 and 5 the third is the next one
        (10, [index for index in range(40) if index % 5 in (0, 3)]),
        (50, list(range(40))),
    ],
)
def test_a_wanted_rate_measures_that_many_frames_a_second_and_still_one_track(
    tmp_path, portrait, rate_hz, frames
):
    clip = write_clip(tmp_path / "clip.mp4", dict.fromkeys(range(0, 1600, 40), portrait))
    stage = FaceStage(load_settings("embedded", [f"face.facemesh.rate_hz={rate_hz}"], {}))
    row = stage.annotate([work_on(clip)])[0]
    stage.close()
    (track,) = row["tracks"]
    assert track["frame_index"] == frames
    assert row["looked_at"] == len(frames)


def test_a_file_that_cannot_be_read_fails_with_a_reason_and_the_next_clip_is_fine(stage, tmp_path):
    good = work_on(SAMPLES / "clips" / "neutral.mp4")
    path = tmp_path / "broken.mp4"
    path.write_text("no media")
    bad = Work(Clip(ClipId("broken"), path, path.name, "0" * 64), good.seen)

    rows = stage.annotate([bad, good])

    assert (rows[0]["status"], rows[0]["reason"]) == ("failed", "not_media")
    assert rows[1]["status"] == "ok"


def test_another_number_of_frames_than_probe_saw_is_refused(stage):
    work = work_on(SAMPLES / "clips" / "neutral.mp4")
    probe = {**work.seen["probe"], "frame_count": 99}
    row = stage.annotate([Work(work.clip, {"probe": probe})])[0]
    assert (row["reason"], row["detail"]) == (
        "tool_output_invalid",
        "facemesh read 100 frames, probe 99",
    )


def test_a_clip_that_takes_too_long_fails_and_the_next_one_is_fine(stage):
    impatient = FaceStage(load_settings("embedded", ["face.timeout_s=0.05"], {}))
    row = impatient.annotate([work_on(SAMPLES / "clips" / "neutral.mp4")])[0]
    impatient.close()
    assert (row["status"], row["reason"]) == ("failed", "tool_timeout")


def test_a_clip_that_kills_the_tool_twice_is_given_up(monkeypatch, tmp_path):
    program, starts = tmp_path / "dies.py", tmp_path / "starts"
    count = f"open({str(starts)!r}, 'a').write('x')\n"
    program.write_text(count + CHILD.replace("json.loads(line)", '{"die": True}'))
    monkeypatch.setattr(facemesh, "command", lambda name: [sys.executable, str(program)])
    stage = FaceStage(load_settings("embedded", environment={}))
    row = stage.annotate([work_on(SAMPLES / "clips" / "neutral.mp4")])[0]
    assert (row["status"], row["reason"]) == ("failed", "tool_crashed")
    assert starts.read_text() == "xx"


def test_a_tool_that_is_not_installed_is_missing_and_the_row_says_how_to_get_it(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path))
    stage = FaceStage(load_settings("embedded", environment={}))
    row = stage.annotate([work_on(SAMPLES / "clips" / "neutral.mp4")])[0]
    assert (row["status"], row["reason"]) == ("failed", "tool_missing"), row["detail"]
    assert "merr tools install facemesh" in row["detail"]
    assert installed_version("facemesh") is None


def test_the_version_is_the_one_that_the_program_pins(stage):
    program = environment.PROGRAMS["facemesh"].read_text()
    assert re.search(r'"mediapipe==([\d.]+)"', program)[1] == facemesh.VERSION
    assert installed_version("facemesh") == facemesh.VERSION


def test_the_fingerprint_names_all_that_the_program_pins_and_what_measures_the_mesh(stage):
    named = stage.identity().tool_version
    for package in ("mediapipe 0.10.21", "numpy 1.26.4", "av 18.1.0"):
        assert package in named
    assert "opencv-contrib-python-headless 4.11" in named
    assert named.endswith(f"measured with numpy {np.__version__}")


def test_what_shapes_the_result_is_in_the_fingerprint_and_the_time_limit_is_not():
    def fingerprint(*overrides):
        return FaceStage(load_settings("embedded", overrides, {})).identity().fingerprint()

    assert fingerprint("face.timeout_s=9") == fingerprint()
    assert fingerprint("face.facemesh.max_yaw_deg=30") != fingerprint()
    assert fingerprint("face.tool=openface") != fingerprint()


# --- real clips --------------------------------------------------------------------------------


@pytest.mark.shared
def test_a_bald_head_from_behind_is_no_face_and_the_small_face_beside_it_is_one(stage, shared):
    row = stage.annotate([work_on(shared / "clips" / "sample_00000338.mp4")])[0]
    (track,) = row["tracks"]
    assert len(track["frame_index"]) == 114
    assert max(box["x"] + box["width"] for box in track["box"]) < 320  # she stands on the left


@pytest.mark.shared
def test_head_pose_and_blinks_agree_with_openface(stage, shared):
    tree = load_settings("openface", [f"face.openface.csv_dir={shared / 'openface'}"], {})
    work = work_on(shared / "clips" / "samplenew_00051251.mp4")
    mesh, openface = (tool.annotate([work])[0]["tracks"] for tool in (stage, FaceStage(tree)))

    assert [track["frame_index"] for track in mesh] == [t["frame_index"] for t in openface]
    for angle, least_r in (("yaw_deg", 0.5), ("pitch_deg", 0.9), ("roll_deg", 0.9)):
        one, other = mesh[0][angle], openface[0][angle]
        assert np.corrcoef(one, other)[0, 1] > least_r
        assert abs(np.median(np.subtract(one, other))) < 15
    for unit in ("AU01", "AU45"):
        one, other = values(mesh[0], unit), values(openface[0], unit)
        both = np.isfinite(one) & np.isfinite(other)  # beside a cut OpenFace's are null
        assert both.mean() > 0.8
        assert np.corrcoef(one[both], other[both])[0, 1] > 0.5
