"""Two faces on one screen: the sound says whose clip it is, whatever their sizes."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from made_clips import at_rate, write_clip

from merr_pipeline.clips.probe import ProbeStage
from merr_pipeline.face.stage import FaceStage
from merr_pipeline.media import read_sound
from merr_pipeline.moment.stage import MomentStage
from merr_pipeline.schema import Clip, ClipId
from merr_pipeline.settings import load_settings
from merr_pipeline.speech import levels
from merr_pipeline.speech.voice import VoiceStage
from merr_pipeline.stage import Work

SAMPLES = Path(__file__).parent.parent / "data" / "samples" / "clips"
RATE_HZ = 16_000
LENGTH_S = 3.0
LEAD_S = 0.12  # a mouth opens before it is heard
SMALL, LARGE = (60, 90, 150), (330, 30, 300)  # left, top, height


@pytest.fixture(scope="module")
def stages(facemesh_environment):
    settings = load_settings(environment={})
    made = {"probe": ProbeStage(settings), "voice": VoiceStage(settings)}
    made |= {"face": FaceStage(settings), "moment": MomentStage(settings)}
    for stage in made.values():
        stage.setup()
    yield made
    made["face"].close()


@pytest.fixture(scope="module")
def mouths() -> list[np.ndarray]:
    """One portrait, from a closed mouth to a wide open one."""
    with av.open(SAMPLES / "surprise.mp4") as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return frames[30:49]  # truth/surprise.json: onset at 32, apex at 48


def spoken(name: str, start_s: float) -> np.ndarray:
    sound = read_sound(SAMPLES / f"{name}.mp4", RATE_HZ).samples
    return sound[round(start_s * RATE_HZ) :][: round(LENGTH_S * RATE_HZ)]


SPEECH = {"one": ("two_people_cut", 0.5), "other": ("neutral", 0.6)}


def openings(sound: np.ndarray) -> np.ndarray:
    """How far a mouth is open in each frame that says this, 0 to 1."""
    loud = 10 ** (levels.envelope_db(sound, RATE_HZ) / 40)
    at_s = np.arange(round(LENGTH_S * 25)) / 25 + LEAD_S
    step_s = levels.ENVELOPE_STEP_S
    return np.interp(at_s, (np.arange(len(loud)) + 0.5) * step_s, loud / loud.max())


def scene(mouths, small_says: str, large_says: str) -> list[np.ndarray]:
    frames = []
    courses = [openings(spoken(*SPEECH[name])) for name in (small_says, large_says)]
    for shares in zip(*courses, strict=True):
        canvas = np.full((360, 640, 3), 90, np.uint8)
        for (left, top, height), share in zip((SMALL, LARGE), shares, strict=True):
            face = mouths[round(share * (len(mouths) - 1))]
            width = round(height * face.shape[1] / face.shape[0])
            face = cv2.resize(face, (width, height), interpolation=cv2.INTER_AREA)
            visible = min(width, 640 - left)
            canvas[top : top + height, left : left + visible] = face[:, :visible]
        frames.append(canvas)
    return frames


def moment_of(stages, path: Path):
    clip, seen = Clip(ClipId(path.stem), path, path.name, "0" * 64), {}
    for name, stage in stages.items():
        seen[name] = stage.annotate([Work(clip, seen)])[0]
    assert seen["face"]["face_count"] == 2, seen["face"]
    return seen


@pytest.mark.parametrize(("heard", "speaker"), [("one", "small"), ("other", "large")])
def test_the_face_whose_mouth_follows_the_sound_is_the_main_person(
    stages, mouths, tmp_path, heard, speaker
):
    frames = scene(mouths, small_says="one", large_says="other")
    sound = spoken(*SPEECH[heard])

    seen = moment_of(stages, write_clip(tmp_path / "two.mp4", at_rate(frames), sound=sound))

    row = seen["moment"]
    box = row["face_track"][0]["box"]
    assert ("small" if box["x"] < 320 else "large") == speaker
    [other] = [other for other in row["others"] if other["end_s"] - other["start_s"] > 1]
    assert row["main_person"]["speaking"] > other["speaking"] + 0.2
