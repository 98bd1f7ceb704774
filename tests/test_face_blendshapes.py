"""The blendshapes tool. With a program that gives made faces; with the real model where it is."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import cv2
import numpy as np
import pytest
from made_clips import texture, write_clip
from made_faces import make_probe, times
from made_mesh import made_mesh
from test_face_facemesh import SAMPLES, frames_of, values, work_on, write_lossless

from merr_pipeline import doctor
from merr_pipeline.cli import guarded
from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.face.coefficients import sides_of
from merr_pipeline.face.geometry import load_geometry
from merr_pipeline.face.stage import FaceStage
from merr_pipeline.face.tools import blendshapes, environment
from merr_pipeline.face.tools.model_file import FACE_LANDMARKER, ModelFile
from merr_pipeline.schema import Clip, ClipId, MerrError
from merr_pipeline.settings import load_settings
from merr_pipeline.stage import Work

CONTENT = b"stands for the model"
SMALL = ModelFile(
    name="small.task",
    url="http://127.0.0.1:9/small.task",  # where nobody answers
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    size=len(CONTENT),
    setting="face.blendshapes.model",
)


def settings_with(*overrides):
    return load_settings("embedded", ["face.tool=blendshapes", *overrides], {})


# --- a program that gives made faces -----------------------------------------------------------

PROGRAM = """
import pickle, sys
import pyarrow as pa
from merr_pipeline.face.tools.meshes import FACE_FIELDS
from merr_pipeline.face.tools.program import serve

serve(
    lambda request: pickle.load(open(sys.argv[1], "rb")),
    pa.schema([*FACE_FIELDS, ("blendshapes", pa.list_(pa.float32()))]),
    "made",
)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Runs the tool on faces that a program made by hand gives; see `sighting` for a face.

    The program is started once for each way to set the tool.
    """
    folder = tmp_path_factory.mktemp("made")
    (folder / "small.task").write_bytes(CONTENT)
    (folder / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(folder / "program.py"), str(folder / "rows")]
    stages = {}

    def run(faces, probe, *overrides, model=folder / "small.task"):
        named = (f"face.blendshapes.model={model}", *overrides)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(blendshapes, "FACE_LANDMARKER", SMALL)
            patch.setattr(blendshapes, "command", lambda name: command)
            if named not in stages:
                stages[named] = FaceStage(settings_with(*named))
            clip = Clip(ClipId("clip"), folder / "clip.mp4", "clip.mp4", "0" * 64)
            asked = stages[named].tool.request(clip, probe)
            rows = [as_row(asked, probe, face) for face in faces]
            counts = {"frames": probe["frame_count"], "looked_at": probe["frame_count"]}
            (folder / "rows").write_bytes(pickle.dumps((rows, counts)))
            return stages[named].annotate([Work(clip, {"probe": probe})])[0]

    yield run
    for stage in stages.values():
        stage.close()


def sighting(frame, *, x=100.0, faces=1, **shapes):
    """One face in one frame; coefficients that are not named are .1."""
    return frame, x, faces, shapes


def as_row(asked, probe, face):
    frame, x, faces, shapes = face
    points = made_mesh(load_geometry())
    for outer, inner, iris in ((33, 133, 468), (263, 362, 473)):
        points[iris] = (points[outer] + points[inner]) / 2
    mesh = np.array([points[point] for point in asked["points"]]) * 100 + (x + 50, 150, 0)
    return {
        "frame_index": frame,
        "time_s": probe["frame_times_s"][frame],
        "x": x, "y": 100.0, "width": 100.0, "height": 120.0, "score": 0.9,
        "faces": faces,
        "landmarks": mesh.ravel(),
        "blendshapes": [shapes.get(name, 0.1) for name in asked["blendshapes"]],
    }  # fmt: skip


def test_rows_become_one_track_with_units_asymmetry_gaze_and_mouth(made):
    smile = {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.6}
    faces = [sighting(n, **(smile if 14 <= n < 18 else {})) for n in range(30)]

    row = made(faces, make_probe(times(30)))

    assert (row["status"], row["face_tool"], row["tool_version"]) == ("ok", "blendshapes", "1.2.2")
    assert (row["au_scale"], row["face_count"], row["looked_at"]) == ("proxy_0_5", 1, 30)
    assert row["flags"] == []
    (track,) = row["tracks"]
    assert track["frame_index"] == list(range(30))
    assert values(track, "AU12")[[13, 15, 18]].tolist() == [0, 3, 0]
    assert values(track, "AU12", "absolute")[[13, 15]].tolist() == [0.5, 3.5]
    assert values(track, "AU12", "asymmetry")[[13, 15]].tolist() == [0, 1]
    assert {trace["au"] for trace in track["action_units"] if trace["asymmetry"] is None} == {
        "AU01",
        "AU25",
    }
    assert track["box"][0] == {"x": 100.0, "y": 100.0, "width": 100.0, "height": 120.0}
    assert track["mouth_open"][0] == pytest.approx(0.01, abs=0.001)
    assert track["yaw_deg"][0] == pytest.approx(0, abs=0.01)
    straight = blendshapes.load_blendshapes().gaze
    level = -np.degrees(np.arcsin(-straight.straight[1] / straight.eyeball))
    assert track["gaze_pitch_deg"][0] == pytest.approx(level, abs=0.01)
    assert track["gaze_yaw_deg"][0] == pytest.approx(0, abs=0.01)


def test_where_shut_eyes_look_is_null(made):
    shut = dict.fromkeys(sides_of("eyeBlink"), 0.9)
    faces = [sighting(n, **(shut if n == 5 else {})) for n in range(12)]
    (track,) = made(faces, make_probe(times(12)))["tracks"]
    assert [at for at, yaw in enumerate(track["gaze_yaw_deg"]) if yaw is None] == [5]
    assert track["yaw_deg"][5] is not None


def test_what_is_seen_in_two_frames_was_no_face_and_is_not_counted(made):
    faces = [
        face
        for n in range(20)
        for face in (
            [sighting(n, faces=2), sighting(n, x=400, faces=2)] if n in (7, 8) else [sighting(n)]
        )
    ]
    row = made(faces, make_probe(times(20)))
    assert [len(track["frame_index"]) for track in row["tracks"]] == [20]
    assert row["face_count"] == 1


def test_a_face_that_nobody_is_free_to_follow_is_counted(made):
    faces = [sighting(n, faces=5) for n in range(20)]
    row = made(faces, make_probe(times(20)))
    assert row["face_count"] == 5
    assert row["flags"] == ["more_faces_than_tracked"]


def test_glimpses_alone_are_no_face(made):
    row = made([sighting(3), sighting(9)], make_probe(times(20)))
    assert (row["status"], row["reason"]) == ("skipped", "no_face")
    assert (row["face_count"], row["looked_at"]) == (0, 20)


def test_a_clip_without_a_face_is_skipped(made):
    row = made([], make_probe(times(5)))
    assert (row["status"], row["reason"], row["face_count"]) == ("skipped", "no_face", 0)


@pytest.mark.parametrize(
    ("probe", "overrides"),
    [
        (make_probe(times(1)), ()),
        (make_probe(times(20), cuts=(1,)), ()),
        (make_probe(times(20)), ("face.blendshapes.rate_hz=1",)),
    ],
)
def test_a_face_in_every_frame_that_was_looked_at_is_a_face_however_few(made, probe, overrides):
    (track,) = made([sighting(0)], probe, *overrides)["tracks"]
    assert track["frame_index"] == [0]


# --- the model file ----------------------------------------------------------------------------


def work_without_clip(tmp_path):
    clip = Clip(ClipId("clip"), tmp_path / "clip.mp4", "clip.mp4", "0" * 64)
    return Work(clip, {"probe": make_probe(times(3))})


@pytest.mark.parametrize("content", [None, b"another model"])
def test_without_the_right_model_a_clip_waits_for_it_and_no_program_starts(
    monkeypatch, tmp_path, content
):
    monkeypatch.setattr(blendshapes, "command", lambda name: ["/bin/false"])
    path = tmp_path / "face_landmarker.task"
    if content is not None:
        path.write_bytes(content)
    stage = FaceStage(settings_with(f"face.blendshapes.model={path}"))
    stage.setup()
    row = stage.annotate([work_without_clip(tmp_path)])[0]
    assert (row["status"], row["reason"]) == ("failed", "tool_missing")
    assert "face_landmarker.task is missing or another file" in row["detail"]
    assert str(tmp_path) not in row["detail"]


def test_a_model_that_was_put_there_meanwhile_is_used(made, tmp_path):
    faces, probe = [sighting(n) for n in range(5)], make_probe(times(5))
    model = tmp_path / "small.task"
    assert made(faces, probe, model=model)["reason"] == "tool_missing"
    model.write_bytes(CONTENT)
    assert made(faces, probe, model=model)["status"] == "ok"


def test_the_model_is_in_the_fingerprint_and_its_place_is_not(tmp_path):
    identity = FaceStage(settings_with()).identity()
    assert identity.model == f"face_landmarker.task {FACE_LANDMARKER.sha256}"
    moved = FaceStage(settings_with(f"face.blendshapes.model={tmp_path}")).identity()
    assert moved.fingerprint() == identity.fingerprint()
    for other in ("face.blendshapes.search_s=1", "face.blendshapes.max_faces=1"):
        assert FaceStage(settings_with(other)).identity().fingerprint() != identity.fingerprint()
    assert "mediapipe 1.2.2" in identity.tool_version
    assert "numpy 2.4.6" in identity.tool_version


def test_the_version_is_the_one_that_the_program_pins():
    program = environment.PROGRAMS["blendshapes"].read_text()
    assert re.search(r'"mediapipe==([\d.]+)"', program)[1] == blendshapes.VERSION


@pytest.mark.extras
@pytest.mark.long
def test_the_environment_can_be_made_without_the_model(blendshapes_environment):
    assert environment.installed_version("blendshapes") == blendshapes.VERSION


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "merr-pipeline" / "small.task"


@pytest.fixture
def server():
    """Gives ``content`` to whoever asks; counts how often that was."""

    class Answer(BaseHTTPRequestHandler):
        content, asked = CONTENT, 0

        def do_GET(self):
            Answer.asked += 1
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.content)

        def log_message(self, *_):
            pass

    running = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    Answer.url = f"http://127.0.0.1:{running.server_port}/small.task"
    yield Answer
    running.shutdown()
    thread.join()
    running.server_close()


def at(url):
    return ModelFile(SMALL.name, url, SMALL.sha256, SMALL.size, SMALL.setting)


def test_a_model_is_downloaded_once_into_the_cache_folder(cache, server):
    assert at(server.url).download() == cache
    assert cache.read_bytes() == CONTENT
    at(server.url).download()
    assert server.asked == 1


@pytest.mark.parametrize("content", [b"<html>log in</html>", CONTENT + b"and more", b""])
def test_what_is_not_the_model_is_not_kept(cache, server, content):
    server.content = content
    with pytest.raises(MerrError, match="gave another file"):
        at(server.url).download()
    assert not cache.exists()


def test_without_a_network_the_message_says_what_to_put_where(cache):
    with pytest.raises(MerrError) as error:
        SMALL.download()
    for word in ("could not be fetched", SMALL.url, SMALL.sha256, str(cache), SMALL.setting):
        assert word in str(error.value)


def test_installing_without_a_network_ends_with_that_message(cache, monkeypatch, capsys):
    monkeypatch.setattr(environment, "build", lambda name: "1.2.2")
    monkeypatch.setitem(environment.MODELS, "blendshapes", SMALL)
    assert guarded(lambda: environment.install("blendshapes")) == 2
    said = capsys.readouterr().err
    assert "blendshapes 1.2.2 is installed, its model is not" in said
    assert "Put small.task" in said


def test_doctor_names_program_and_model_and_a_build_without_them_does_not_start(cache, monkeypatch):
    monkeypatch.setattr(doctor, "FACE_LANDMARKER", SMALL)
    monkeypatch.setattr(doctor, "installed_version", lambda name: "1.2.2")
    with pytest.raises(MerrError, match=r"model of blendshapes is missing: .*Put small.task"):
        doctor.check_ready(settings_with())
    cache.parent.mkdir()
    cache.write_bytes(CONTENT)
    doctor.check_ready(settings_with())

    monkeypatch.setattr(doctor, "installed_version", lambda name: None)
    with pytest.raises(MerrError, match="merr tools install blendshapes"):
        doctor.check_ready(settings_with())


# --- the real model, on the project's own samples ----------------------------------------------


@pytest.fixture(scope="module")
def stage(face_landmarker, blendshapes_environment):
    stage = FaceStage(settings_with(f"face.blendshapes.model={face_landmarker}"))
    stage.setup()
    yield stage
    stage.close()


@pytest.fixture(scope="module")
def measure(stage):
    """Truth and face row of a sample, measured once."""
    known = {}

    def run(name):
        if name not in known:
            truth = json.loads((SAMPLES / "truth" / f"{name}.json").read_text())
            known[name] = truth, stage.annotate([work_on(SAMPLES / "clips" / f"{name}.mp4")])[0]
        return known[name]

    return run


@pytest.mark.shared
@pytest.mark.parametrize("name", ["smile", "two_people_cut", "blink_then_smile"])
def test_a_smile_is_largest_at_its_apex_and_less_before_it(measure, name):
    """For this tool the portrait smiles a little all the time, so that is measured as it is."""
    truth, row = measure(name)
    track = row["tracks"][-1]
    smile = values(track, "AU12")
    frames = np.array(track["frame_index"])
    assert smile[np.abs(frames - truth["apex_frame"]) <= 3].max() == smile.max()
    assert smile[frames < truth["onset_frame"]].max() < smile.max() - 1


@pytest.mark.shared
def test_a_blink_is_seen_where_it_is(measure):
    truth, row = measure("blink_then_smile")
    blink = values(row["tracks"][0], "AU45")
    frame = truth["blink_frame"]
    assert abs(int(blink[: frame + 8].argmax()) - frame) <= 2
    assert blink[frame - 4 : frame + 5].max() > 1.5


@pytest.mark.shared
def test_two_people_with_a_cut_between_them_are_two_tracks(measure):
    truth, row = measure("two_people_cut")
    before, after = row["tracks"]
    assert before["frame_index"] == list(range(truth["cut_frame"]))
    assert after["frame_index"] == list(range(truth["cut_frame"], truth["frame_count"]))
    assert row["face_count"] == 1


@pytest.mark.shared
def test_what_was_before_a_cut_does_not_change_what_is_measured_after_it(stage, tmp_path):
    """Windows and trackers start afresh; a lossless codec keeps the pixels after the cut."""
    portrait = frames_of("neutral", 1)[0]
    other = cv2.resize(frames_of("two_people_cut", 60)[-1], portrait.shape[1::-1])
    after = []
    for name, before in (("one", np.roll(other, 60, axis=1)), ("two", np.zeros_like(portrait))):
        path = write_lossless(tmp_path / f"{name}.mkv", [before] * 12 + [portrait] * 12)
        row = stage.annotate([work_on(path)])[0]
        after.append({**row["tracks"][-1], "track": None})
    assert after[0]["frame_index"] == list(range(12, 24))
    assert after[0] == after[1]


@pytest.mark.shared
def test_the_person_who_raises_one_corner_of_the_mouth_has_an_asymmetry_of_that_side(
    stage, tmp_path
):
    """Left half of the picture from a smile: the person's right side smiles."""
    frames = frames_of("smile", 60)
    rest, smile = frames[0], frames[json_of("smile")["apex_frame"]]
    middle = rest.shape[1] // 2
    signs = []
    for side in (slice(None, middle), slice(middle, None)):
        half = rest.copy()
        half[:, side] = smile[:, side]
        path = write_lossless(tmp_path / f"{side.start}.mkv", [rest] * 12 + [half] * 6)
        (track,) = stage.annotate([work_on(path)])[0]["tracks"]
        signs.append(values(track, "AU12", "asymmetry")[-3])
    assert signs[0] < 0 < signs[1]


def json_of(name):
    return json.loads((SAMPLES / "truth" / f"{name}.json").read_text())


@pytest.mark.shared
def test_a_small_face_at_the_edge_is_found_in_every_frame_of_the_shot(stage, tmp_path):
    portrait = frames_of("neutral", 1)[0]
    scene = np.repeat(texture(3, 1280, 720, 40)[:, :, None] // 3, 3, axis=2)
    face = cv2.resize(portrait, (120, round(120 * portrait.shape[0] / portrait.shape[1])))
    scene[560 : 560 + face.shape[0], 1100:1220] = face
    path = write_clip(tmp_path / "far.mp4", {40 * i: scene for i in range(6)})

    (track,) = stage.annotate([work_on(path)])[0]["tracks"]

    assert len(track["frame_index"]) == 6
    assert 1100 < track["box"][0]["x"] < 1220


@pytest.mark.shared
def test_faces_beside_each_other_are_tracked_up_to_the_limit_and_counted_beyond_it(stage, tmp_path):
    face = frames_of("smile", 1)[0]
    other = cv2.resize(frames_of("two_people_cut", 60)[-1], face.shape[1::-1])
    pair = write_clip(tmp_path / "pair.mp4", {40 * i: np.hstack([face, other]) for i in range(12)})
    crowd = np.vstack([np.hstack([face, other, face]), np.hstack([other, face, other])])
    many = write_clip(tmp_path / "crowd.mp4", dict.fromkeys((0, 40, 80, 120), crowd))

    two, six = stage.annotate([work_on(pair), work_on(many)])

    assert [len(track["frame_index"]) for track in two["tracks"]] == [12, 12]
    assert (two["face_count"], two["flags"]) == (2, [])
    assert len(six["tracks"]) == 3
    assert six["face_count"] == 6
    assert "more_faces_than_tracked" in six["flags"]


@pytest.mark.shared
def test_a_face_that_walks_through_the_picture_stays_one_track(stage, tmp_path):
    face = frames_of("neutral", 1)[0]
    face = cv2.resize(face, (200, round(200 * face.shape[0] / face.shape[1])))
    frames = {}
    for step in range(30):
        scene = np.full((480, 854, 3), 60, np.uint8)
        left = 20 * step
        scene[100 : 100 + face.shape[0], left : left + 200] = face
        frames[40 * step] = scene
    (track,) = stage.annotate([work_on(write_clip(tmp_path / "walk.mp4", frames))])[0]["tracks"]
    assert track["frame_index"] == list(range(30))
    assert track["box"][-1]["x"] - track["box"][0]["x"] == pytest.approx(29 * 20, abs=8)


@pytest.mark.shared
def test_a_clip_with_no_face_in_it_is_skipped(stage, tmp_path):
    path = write_clip(tmp_path / "blocks.mp4", {40 * i: texture(7) for i in range(5)})
    row = stage.annotate([work_on(path)])[0]
    assert (row["status"], row["reason"], row["face_count"]) == ("skipped", "no_face", 0)


@pytest.mark.shared
def test_a_still_has_a_place_and_absolute_values_only(stage, tmp_path):
    path = tmp_path / "still.png"
    cv2.imwrite(str(path), frames_of("neutral", 1)[0][:, :, ::-1])
    row = stage.annotate([work_on(path)])[0]
    (track,) = row["tracks"]
    assert row["flags"] == ["track_without_rest"]
    for item in track["action_units"]:
        assert item["value"] == (item["absolute"] or [None])
    assert values(track, "AU12")[0] < 1


@pytest.mark.shared
def test_a_broken_file_fails_with_a_reason_and_the_next_clip_is_fine(stage, tmp_path):
    good = work_on(SAMPLES / "clips" / "neutral.mp4")
    path = tmp_path / "broken.mp4"
    path.write_text("no media")
    bad = Work(Clip(ClipId("broken"), path, path.name, "0" * 64), good.seen)
    rows = stage.annotate([bad, good])
    assert (rows[0]["status"], rows[0]["reason"]) == ("failed", "not_media")
    assert rows[1]["status"] == "ok"
    active_at = load_action_units().scales["proxy_0_5"].active_at
    units = rows[1]["tracks"][0]["action_units"]
    assert max(max(trace["value"]) for trace in units) < active_at  # a face at rest


# --- the real model, on real clips -------------------------------------------------------------


@pytest.mark.shared
def test_a_small_face_is_seen_in_every_frame_and_the_back_of_a_bald_head_never(stage, shared):
    row = stage.annotate([work_on(shared / "clips" / "sample_00000338.mp4")])[0]
    (track,) = row["tracks"]
    assert len(track["frame_index"]) == 114
    assert max(box["x"] + box["width"] for box in track["box"]) < 320  # she stands on the left
    assert row["face_count"] == 1


@pytest.mark.shared
def test_a_face_that_looks_down_is_seen_in_every_frame_beside_bars(stage, shared):
    row = stage.annotate([work_on(shared / "clips" / "samplenew_00004251.mp4")])[0]
    (track,) = row["tracks"]
    assert len(track["frame_index"]) == 64
    assert np.median(track["pitch_deg"]) < -15


@pytest.mark.shared
def test_a_dark_face_is_seen_in_more_than_half_of_the_frames(stage, shared):
    row = stage.annotate([work_on(shared / "clips" / "sample_00000727.mp4")])[0]
    assert sum(len(track["frame_index"]) for track in row["tracks"]) > 257 / 2
    assert row["face_count"] == 1


@pytest.mark.shared
def test_head_pose_and_blinks_agree_with_openface(stage, shared):
    tree = load_settings("openface", [f"face.openface.csv_dir={shared / 'openface'}"], {})
    work = work_on(shared / "clips" / "samplenew_00051251.mp4")
    ours, openface = (tool.annotate([work])[0]["tracks"] for tool in (stage, FaceStage(tree)))
    assert [track["frame_index"] for track in ours] == [t["frame_index"] for t in openface]
    for angle, least_r in (("yaw_deg", 0.5), ("pitch_deg", 0.9), ("roll_deg", 0.9)):
        assert np.corrcoef(ours[0][angle], openface[0][angle])[0, 1] > least_r
    one, other = (values(tracks[0], "AU45") for tracks in (ours, openface))
    known = np.isfinite(one) & np.isfinite(other)
    assert np.corrcoef(one[known], other[known])[0, 1] > 0.5
