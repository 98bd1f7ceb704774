"""The pictures of a story: frames along the time axis, and those that the rules have chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from merr_pipeline.explain.story import Story
from merr_pipeline.media import read_frames
from merr_pipeline.schema import Row
from merr_pipeline.stage import is_ok

Image = npt.NDArray[np.uint8]

MOST_FRAMES = 7  # of the strip, evenly spaced
FRAME_HEIGHT_PX = 320
MAIN_COLOUR, OTHER_COLOUR = (0, 200, 80), (170, 170, 170)  # RGB
RULE_COLOURS = {"emotion_aus": "tab:green", "paper": "tab:purple", "all_aus": "tab:orange"}
RULE_NAMES = {"emotion_aus": "ours", "paper": "the paper's", "all_aus": "all Action Units"}


@dataclass(frozen=True)
class Pictures:
    """Frames of the clip with boxes, by their index; and when each frame is shown."""

    images: Mapping[int, Image]
    times_s: Sequence[float]
    strip: Sequence[int]  # the frames of the strip, one for each place
    chosen: Mapping[int, Sequence[str]]  # frame -> the rules that chose it, the record's first


def read_pictures(story: Story, places: int = MOST_FRAMES) -> Pictures:
    """Decode the clip once, and keep what is drawn of it."""
    times_s = story.rows["probe"]["frame_times_s"]
    strip = _evenly(story, times_s, min(places, len(times_s)))
    chosen: dict[int, list[str]] = {}
    for found in sorted(story.found, key=lambda found: found.rule != story.rule):
        assert story.series is not None
        frame = int(story.series.frame_index[found.moment.main.position])
        chosen.setdefault(frame, []).append(found.rule)
    images = dict(_frames(story, {*strip, *chosen}))
    return Pictures(images, times_s, [index for index in strip if index in images], chosen)


def draw_strip(axes: Axes, pictures: Pictures, begin_s: float, end_s: float) -> None:
    """Frames at their place on the time axis, each under its time, all faces boxed."""
    axes.set(ylim=(0, 1), yticks=[], ylabel="faces")
    for place, index in enumerate(pictures.strip):
        width_s = (end_s - begin_s) / len(pictures.strip)
        middle_s = begin_s + (place + 0.5) * width_s
        beside = (middle_s - width_s / 2, 0, width_s, 1)
        inset = axes.inset_axes(beside, transform=axes.transData, zorder=0)
        inset.imshow(pictures.images[index])
        inset.axis("off")
        axes.annotate(
            f"{pictures.times_s[index]:.2f} s",
            (middle_s, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )


def draw_chosen(axes: Axes, story: Story, pictures: Pictures) -> None:
    """The frame that each rule shows, and the face as the record keeps it."""
    axes.axis("off")
    shown: list[tuple[Image, str, str]] = []
    for frame, rules in pictures.chosen.items():
        if frame in pictures.images:
            names = ", ".join(RULE_NAMES[rule] for rule in rules)
            title = f"{names}: {pictures.times_s[frame]:.2f} s"
            shown.append((pictures.images[frame], title, RULE_COLOURS[rules[0]]))
    moment = story.rows.get("moment", {})
    if is_ok(story.rows, "moment") and moment["face_crop"]:
        crop = cv2.imdecode(np.frombuffer(moment["face_crop"], np.uint8), cv2.IMREAD_COLOR)
        if crop is not None:
            face = cv2.cvtColor(crop, cv2.COLOR_BGR2RGB).astype(np.uint8)
            shown.insert(1, (face, "the face in the record", "black"))
    for place, (image, title, colour) in enumerate(shown):
        inset = axes.inset_axes((place / 4, 0, 0.98 / 4, 0.9))
        inset.imshow(image)
        inset.axis("off")
        inset.set_title(title, fontsize=9, color=colour)


def _evenly(story: Story, times_s: Sequence[float], places: int) -> list[int]:
    """Frames in the middle of equal parts of the clip; near ones in which faces were looked for."""
    if not places:
        return []
    duration_s = story.rows["probe"]["duration_s"]
    at_s = np.array(times_s)
    seen = sorted({i for t in story.rows["face"]["tracks"] or [] for i in t["frame_index"]})
    found = []
    for place in range(places):
        nearest = int(np.abs(at_s - (place + 0.5) * duration_s / places).argmin())
        found.append(_looked_at(nearest, seen, story))
    return list(dict.fromkeys(found))


def _looked_at(index: int, seen: Sequence[int], story: Story) -> int:
    """The nearest frame with a face, where faces were not looked for in every frame."""
    looked_at = story.rows["face"]["looked_at"] or 0
    count = len(story.rows["probe"]["frame_times_s"])
    if not seen or not looked_at or looked_at >= count:
        return index
    nearest = min(seen, key=lambda other: abs(other - index))
    return nearest if abs(nearest - index) <= count / looked_at else index


def _frames(story: Story, wanted: set[int]) -> Iterator[tuple[int, Image]]:
    boxes = _boxes(story)
    for frame in read_frames(story.clip.path, "rgb24"):
        if frame.index in wanted:
            image = frame.image.copy()
            thick = max(1, image.shape[0] // 120)
            for number, box, colour in boxes.get(frame.index, []):
                corner = round(box["x"]), round(box["y"])
                far = round(box["x"] + box["width"]), round(box["y"] + box["height"])
                cv2.rectangle(image, corner, far, colour, thick)
                size = image.shape[0] / 500
                text_at = corner[0] + 2 * thick, far[1] - 2 * thick
                cv2.putText(
                    image, str(number), text_at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, thick
                )
            scale = FRAME_HEIGHT_PX / image.shape[0]
            small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            yield frame.index, small.astype(np.uint8)


def _boxes(story: Story) -> dict[int, list[tuple[int, Row, tuple[int, int, int]]]]:
    """By frame, track and box of all faces; the main person's last, so that it lies on top."""
    main = (story.rows.get("moment", {}).get("main_person") or {}).get("track")
    tracks = story.rows["face"]["tracks"] or []
    found: dict[int, list[tuple[int, Row, tuple[int, int, int]]]] = {}
    for track in sorted(tracks, key=lambda track: track["track"] == main):
        colour = MAIN_COLOUR if track["track"] == main else OTHER_COLOUR
        for index, box in zip(track["frame_index"], track["box"], strict=True):
            if box is not None:
                found.setdefault(index, []).append((track["track"], box, colour))
    return found
