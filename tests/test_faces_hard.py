"""Faces as films have them: hidden, leaving, in profile, beside black bars; and still pictures."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from builds import merr, rows
from made_clips import at_rate, write_clip

from merr_pipeline.clips.probe import ProbeStage
from merr_pipeline.face.stage import FaceStage
from merr_pipeline.moment.stage import MomentStage
from merr_pipeline.schema import Clip, ClipId
from merr_pipeline.settings import load_settings
from merr_pipeline.speech.voice import VoiceStage
from merr_pipeline.stage import Work

SAMPLES = Path(__file__).parent.parent / "data" / "samples"
FACE = (slice(120, 365), slice(85, 310))  # rows and columns that hold the face in `neutral`


@pytest.fixture(scope="module")
def look(facemesh_environment):
    """Probe, voice, face and moment of a file."""
    settings = load_settings(environment={})
    stages = {"probe": ProbeStage(settings), "voice": VoiceStage(settings)}
    stages |= {"face": FaceStage(settings), "moment": MomentStage(settings)}
    for stage in stages.values():
        stage.setup()

    def run(path: Path) -> dict:
        clip, seen = Clip(ClipId(path.stem), path, path.name, "0" * 64), {}
        for name, stage in stages.items():
            seen[name] = stage.annotate([Work(clip, seen)])[0]
        return seen

    yield run
    stages["face"].close()


def frames_of(name: str) -> list[np.ndarray]:
    with av.open(SAMPLES / "clips" / f"{name}.mp4") as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def covered(first: int, end: int) -> list[np.ndarray]:
    """The still portrait, with something before the face in some frames."""
    frames = [frame.copy() for frame in frames_of("neutral")[:60]]
    for frame in frames[first:end]:
        frame[FACE] = cv2.blur(frame[FACE], (101, 101))  # of the face's own light: it is no cut
    return frames


@pytest.mark.parametrize(("hidden", "tracks"), [(5, 1), (15, 2)])
def test_a_face_that_is_hidden_for_a_moment_is_one_track_and_for_long_it_is_two(
    look, tmp_path, hidden, tracks
):
    clip = write_clip(tmp_path / "hidden.mp4", at_rate(covered(20, 20 + hidden)))

    seen = look(clip)

    assert seen["probe"]["shots"][0]["end_frame"] == 60  # it is one shot
    assert len(seen["face"]["tracks"]) == tracks
    shown = {index for track in seen["face"]["tracks"] for index in track["frame_index"]}
    assert not shown & set(range(21, 20 + hidden - 1))
    assert seen["moment"]["peak_frame_index"] in shown


def test_a_face_that_leaves_is_there_as_long_as_it_is(look, tmp_path):
    frames = covered(30, 60)
    clip = write_clip(tmp_path / "leaves.mp4", at_rate(frames))

    row = look(clip)["moment"]

    assert row["face_coverage"] == pytest.approx(0.5, abs=0.05)
    assert max(seen["time_s"] for seen in row["face_track"]) == pytest.approx(29 / 25, abs=0.05)


def test_black_bars_at_the_sides_change_neither_face_nor_smile(look, tmp_path):
    plain = frames_of("smile")
    barred = [cv2.copyMakeBorder(f, 0, 0, 160, 160, cv2.BORDER_CONSTANT) for f in plain]

    bare, framed = (
        look(write_clip(tmp_path / f"{name}.mp4", at_rate(frames)))
        for name, frames in (("bare", plain), ("framed", barred))
    )

    assert (framed["probe"]["bars"]["left"], framed["probe"]["bars"]["right"]) == (160, 160)
    one, other = bare["moment"], framed["moment"]
    assert abs(one["peak_frame_index"] - other["peak_frame_index"]) <= 2
    moved = [
        b["box"]["x"] - a["box"]["x"]
        for a, b in zip(one["face_track"], other["face_track"], strict=True)
    ]
    assert np.median(moved) == pytest.approx(160, abs=3)


@pytest.mark.long
def test_pictures_and_videos_are_built_together(tmp_path):
    """Still images are clips of one frame: no voice, no words, no motion, and all else."""
    clips = tmp_path / "clips"
    clips.mkdir()
    smile = frames_of("smile")
    truth = json.loads((SAMPLES / "truth" / "smile.json").read_text())
    apex = smile[truth["apex_frame"]]
    cv2.imwrite(str(clips / "laughing.png"), apex[:, :, ::-1])
    cv2.imwrite(str(clips / "at rest.jpg"), smile[0][:, :, ::-1])
    write_clip(clips / "moving.mp4", at_rate(smile))

    merr("build", clips, "--out", tmp_path / "out")

    built = {row["clip_id"]: row for row in rows(tmp_path / "out", "clips")}
    assert sorted(built) == ["at rest", "laughing", "moving"]
    assert [built[name]["kind"] for name in sorted(built)] == ["still", "still", "video"]
    for name in ("at rest", "laughing"):
        assert built[name]["frame_count"] == 1
        assert (built[name]["peak_frame_index"], built[name]["peak_verdict"]) == (0, "none")
        assert "visual_only" in built[name]["flags"]
        assert built[name]["face_crop"] is not None
        assert built[name]["prosody"] is None
        assert built[name]["fine_caption"]
    assert built["moving"]["peak_verdict"] == "clear"


@pytest.mark.shared
def test_a_dark_profile_has_no_action_units_and_no_clear_peak(look, shared):
    seen = look(shared / "clips" / "sample_00000727.mp4")

    turned = np.abs([yaw for track in seen["face"]["tracks"] for yaw in track["yaw_deg"]])
    assert np.median(turned) > 40
    assert seen["moment"]["peak_verdict"] != "clear"


@pytest.mark.shared
@pytest.mark.parametrize(("clip", "shot"), [("face_noface.mov", 0), ("noface_face.mov", 1)])
def test_a_face_in_one_of_several_shots_is_looked_at_there(look, shared, clip, shot):
    row = look(shared / "clips" / clip)["moment"]

    assert row["shot"] == shot
    assert row["face_coverage"] > 0.95


@pytest.mark.shared
def test_the_record_names_the_speaker_and_not_the_listener_after_the_cut(look, shared):
    seen = look(shared / "clips" / "samplenew_00051251.mp4")

    row = seen["moment"]
    assert (row["shot"], row["main_person"]["speaking"] > 0.5) == (0, True)
    assert row["face_track"][-1]["time_s"] < seen["probe"]["shots"][1]["start_s"]
    assert [other["shot"] for other in row["others"]] == [1]
