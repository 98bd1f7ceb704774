"""The ``scene`` stage as measured facts: shot scale, faces, facing, light, motion, colour.

It says nothing about the place or about objects, for nothing here has seen them. Without a face
light and motion are still said. The status is always ``ok``; what was not measured is null.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from merr_pipeline.scene.words import SceneWords, load_scene_words, word_for
from merr_pipeline.schema import SCENE, Reason, Row, Status
from merr_pipeline.settings import Settings
from merr_pipeline.stage import Identity, Stage, Work, each

FACE_WITH_HAIR = 1.5
"""The face box is made this many times larger before it is left out of the colours."""

LEAST_COLOUR_SHARE = 0.2
"""With less of the picture left beside the face, nothing is said of its colours."""


class SceneStage(Stage):
    """One row per clip: what is to be seen, in numbers, in words, in one sentence."""

    name = "scene"
    needs = ("probe", "face", "moment")
    schema = SCENE

    def __init__(self, settings: Settings) -> None:
        self._words = load_scene_words(settings.templates)

    def identity(self) -> Identity:
        """Words and thresholds are in the template; OpenCV decodes the peak picture."""
        return Identity(
            stage=self.name,
            version=2,
            tool="opencv",
            tool_version=f"{cv2.__version__}, numpy {np.__version__}",
            template=self._words.sha256,
        )

    def annotate(self, batch: Sequence[Work]) -> list[Row]:
        """One row per clip."""
        return each(batch, self.annotate_one)

    def annotate_one(self, work: Work) -> Row:
        """The payload for one clip; null where nothing was measured."""
        facts = measured_facts(work, self._words)
        return {
            "scene": sentence(
                facts, self._words, person=work.ok("moment"), several=several_at_peak(work)
            ),
            "scene_source": "measured_facts",
            "scene_facts": facts,
        }


_NO_PERSON = dict.fromkeys(
    (
        *("shot_scale", "facing", "position", "face_height_share"),
        *("colour", "saturation", "warmth"),
    )
)


def measured_facts(work: Work, words: SceneWords) -> Row:
    """All of `schema.SCENE_FACTS` for one clip; null where nothing was measured."""
    return {
        **light_and_motion(work.seen["probe"], words),
        **_face_facts(work),
        **(main_person(work, words) if work.ok("moment") else _NO_PERSON),
    }


def light_and_motion(probe: Row, words: SceneWords) -> Row:
    """What the probe measured over the whole clip."""
    is_video = probe["kind"] == "video"
    return {
        "light": _light(probe, words),
        "motion": word_for(probe["motion"], words.motion) if is_video else None,
        "cuts": len(probe["shots"]) - 1 if is_video else None,
        "brightness": probe["brightness"],
        "contrast": probe["contrast"],
        "motion_value": probe["motion"] if is_video else None,
    }


def _light(probe: Row, words: SceneWords) -> str | None:
    light = word_for(probe["brightness"], words.light)
    if light is None:
        return None
    contrast = word_for(probe["contrast"], words.contrast)
    dark, partly = probe["dark_share"], words.partly_dark
    changing = partly.word if dark is not None and partly.above <= dark <= partly.below else None
    return " ".join(filter(None, (light, contrast))) + (f", {changing}" if changing else "")


def _face_facts(work: Work) -> Row:
    """How many faces were in view at the peak, and at most; null where nobody counted.

    A tool may count more faces than it tracks. Where as many are tracked as ever are, there may be
    more of them, and their number is not known.
    """
    face = work.seen["face"]
    if face["status"] == Status.SKIPPED and face["reason"] == Reason.NO_FACE:
        return {"faces_in_view": 0, "faces_most": 0}
    if not work.ok("face") or face["face_count"] is None:  # some tools see one face
        return {"faces_in_view": None, "faces_most": None}
    at_peak = None
    if work.ok("moment"):
        tracked = tracked_faces(face)
        at_peak = tracked[work.seen["moment"]["peak_frame_index"]]
        if at_peak == max(tracked.values()) < face["face_count"]:
            at_peak = None
    return {"faces_in_view": at_peak, "faces_most": face["face_count"]}


def tracked_faces(face: Row) -> Counter[int]:
    """How many tracks show a face in each frame, by the frame's index."""
    return Counter(index for track in face["tracks"] for index in track["frame_index"])


def several_at_peak(work: Work) -> bool:
    """Whether more than one face was in view at the peak, also where their number is not known."""
    if not work.ok("moment"):
        return False
    return tracked_faces(work.seen["face"])[work.seen["moment"]["peak_frame_index"]] > 1


def main_person(work: Work, words: SceneWords) -> Row:
    """Scale, place and facing of the main person at the peak, and the colours around them."""
    probe, moment = work.seen["probe"], work.seen["moment"]
    box = next(
        seen["box"] for seen in moment["face_track"] if seen["time_s"] == moment["peak_time_s"]
    )
    say_facing = {"facing": facing(moment["head_pose"], words)}
    if box is None:
        return {**_NO_PERSON, **say_facing}
    left, top, right, bottom = picture_area(probe)
    share = round(box["height"] / (bottom - top), 3)
    across = (box["x"] + box["width"] / 2 - left) / (right - left)
    return {
        "shot_scale": word_for(share, words.shot_scale),
        "position": word_for(min(1.0, max(0.0, across)), words.position),
        **say_facing,
        "face_height_share": share,
        **colours(moment["peak_frame"], box, probe, words),
    }


def picture_area(probe: Row) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the picture without its black bars, in pixels."""
    bars = probe["bars"] or {"left": 0, "top": 0, "right": 0, "bottom": 0}
    return (
        bars["left"],
        bars["top"],
        probe["width"] - bars["right"],
        probe["height"] - bars["bottom"],
    )


def facing(head_pose: Row | None, words: SceneWords) -> str | None:
    """Where the head points, seen from the camera; None where the pose is not known."""
    if head_pose is None or head_pose["yaw_deg"] is None or head_pose["pitch_deg"] is None:
        return None
    yaw_deg, pitch_deg, say = head_pose["yaw_deg"], head_pose["pitch_deg"], words.facing
    turned = say.camera
    if abs(yaw_deg) >= say.profile_from_deg:
        turned = say.right_profile if yaw_deg > 0 else say.left_profile
    elif abs(yaw_deg) >= say.camera_within_deg:
        turned = say.right if yaw_deg > 0 else say.left
    if abs(pitch_deg) < say.tilt_from_deg:
        return turned
    return f"{turned} {say.raised if pitch_deg > 0 else say.lowered}"


def colours(jpeg: bytes, box: Row, probe: Row, words: SceneWords) -> Row:
    """Saturation and warmth of the peak picture outside the bars and the face."""
    pixels = _around_the_face(jpeg, box, probe)
    if pixels is None:
        return {"colour": None, "saturation": None, "warmth": None}
    highest, lowest = pixels.max(axis=1), pixels.min(axis=1)
    saturation = round(float((highest - lowest).sum() / max(1.0, highest.sum())), 3)
    blue_green_red = pixels.mean(axis=0)
    difference = float(blue_green_red[2] - blue_green_red[0])
    warmth = round(difference / max(1.0, float(blue_green_red.mean())), 3)
    word = word_for(saturation, words.colour)
    tint = word_for(warmth, words.warmth) if saturation >= words.colour[-2].at_least else None
    return {
        "colour": " ".join(filter(None, (word, tint))),
        "saturation": saturation,
        "warmth": warmth,
    }


def _around_the_face(jpeg: bytes, box: Row, probe: Row) -> Any | None:
    """(pixels, 3) Blue, green, red as float; None where the face leaves too little."""
    picture: Any = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    scale = picture.shape[1] / probe["width"]
    keep = np.zeros(picture.shape[:2], dtype=bool)
    left, top, right, bottom = (round(edge * scale) for edge in picture_area(probe))
    keep[top:bottom, left:right] = True
    whole = int(keep.sum())
    grown_x = box["width"] * (FACE_WITH_HAIR - 1) / 2
    grown_y = box["height"] * (FACE_WITH_HAIR - 1) / 2
    x0, x1 = box["x"] - grown_x, box["x"] + box["width"] + grown_x
    y0, y1 = box["y"] - grown_y, box["y"] + box["height"] + grown_y
    keep[
        max(0, round(y0 * scale)) : max(0, round(y1 * scale)),
        max(0, round(x0 * scale)) : max(0, round(x1 * scale)),
    ] = False
    if int(keep.sum()) < LEAST_COLOUR_SHARE * max(1, whole):
        return None
    return picture[keep].astype(np.float64)


def sentence(facts: Row, words: SceneWords, *, person: bool, several: bool) -> str:
    """One plain sentence that says only what is in the facts."""
    count = facts["faces_in_view"]
    rest = (facts["motion"], facts["colour"], _cuts(facts, words))
    return words.render(
        {
            "person": person,
            "scale": facts["shot_scale"],
            "faces": None if count is None else words.number(count),
            "several": several,
            "position": facts["position"],
            "facing": facts["facing"],
            "light": facts["light"],
            "rest": [part for part in rest if part],
        }
    )


def _cuts(facts: Row, words: SceneWords) -> str | None:
    cuts = facts["cuts"]
    return f"{words.number(cuts)} {'cut' if cuts == 1 else 'cuts'}" if cuts else None
