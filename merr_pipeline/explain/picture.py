"""Draws a story: frames with boxes, Action Units, the peak search under three rules, the sound."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from merr_pipeline.explain.story import Found, Story, mouth_of
from merr_pipeline.media import read_frames
from merr_pipeline.schema import Row
from merr_pipeline.stage import is_ok

FRAMES = 7  # of the strip, evenly spaced
WIDTH_IN, AXES_WIDTH_IN = 16.0, 14.2  # of the whole, and of what stands over the time axis
HIGHEST_STRIP_IN = 2.8
FRAME_HEIGHT_PX = 240
MAIN_COLOUR, OTHER_COLOUR = (0, 200, 80), (170, 170, 170)  # RGB
RULE_COLOURS = {"emotion_aus": "tab:green", "paper": "tab:purple", "all_aus": "tab:orange"}
RULE_NAMES = {"emotion_aus": "ours", "paper": "the paper's", "all_aus": "all Action Units"}
MOST_UNITS = 8  # curves that an eye can tell apart


def draw(story: Story, path: Path) -> None:
    """Write the picture; the suffix says its format (png, svg, pdf)."""
    matplotlib.use("Agg")
    probe = story.rows["probe"]
    strip_in = min(HIGHEST_STRIP_IN, AXES_WIDTH_IN / FRAMES * probe["height"] / probe["width"])
    heights = (strip_in, 3.0, 3.0, 2.0)
    figure = Figure(figsize=(WIDTH_IN, sum(heights) + 1.8), layout="constrained")
    strip, units, peaks, sound = figure.subplots(4, 1, sharex=True, height_ratios=heights)
    _strip(strip, story)
    _units(units, story)
    _peaks(peaks, story)
    _sound(sound, story)
    for axes in (strip, units, peaks, sound):
        _shots(axes, probe)
    sound.set_xlim(0, max(probe["duration_s"], 1e-3))
    sound.set_xlabel("seconds")
    figure.suptitle(_title(story), fontsize=11, ha="left", x=0.01)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def _title(story: Story) -> str:
    label, face = story.rows.get("label", {}), story.rows["face"]
    said = story.rows.get("transcript", {}).get("transcript")
    lines = [
        f"{story.clip.clip_id}    label: {label.get('label') or 'undecided'}"
        f" ({label.get('label_source') or label.get('reason') or 'no row'})"
        f"    face tool: {face['face_tool']}, {face['au_scale']}"
    ]
    if is_ok(story.rows, "moment"):
        moment = story.rows["moment"]
        person = moment["main_person"]
        speaks = "not known" if person["speaking"] is None else f"{person['speaking']:.2f}"
        lines.append(
            f"main person: track {person['track']}, sure {person['sure']:.2f}, mouth with sound "
            f"{speaks}; {len(moment['others'])} other tracks; peak {moment['peak_verdict']} "
            f"at {moment['peak_time_s']:.2f} s (frame {moment['peak_frame_index']})"
        )
    else:
        lines.append(f"no face was chosen: {story.rows['moment']['reason']}")
    return "\n".join([*lines, *([f"words: {said}"] if said else [])])


def _strip(axes: Axes, story: Story) -> None:
    """Frames at their place on the time axis, all faces boxed, the main person's in green."""
    probe = story.rows["probe"]
    width_s = probe["duration_s"] / FRAMES
    times_s = np.array(probe["frame_times_s"])
    wanted = {int(np.abs(times_s - (n + 0.5) * width_s).argmin()): n for n in range(FRAMES)}
    for index, image in _frames(story, set(wanted)):
        place = wanted[index]
        axes.imshow(image, extent=(place * width_s, (place + 1) * width_s, 0.0, 1.0), aspect="auto")
        axes.annotate(
            f"{times_s[index]:.2f} s", ((place + 0.5) * width_s, 1.02), ha="center", fontsize=8
        )
    axes.set(ylim=(0, 1), yticks=[], ylabel="faces")


def _frames(story: Story, wanted: set[int]) -> Iterator[tuple[int, np.ndarray]]:
    boxes = _boxes(story)
    for frame in read_frames(story.clip.path, "rgb24"):
        if frame.index in wanted:
            image = frame.image.copy()
            thick = max(1, image.shape[0] // 120)
            for box, colour in boxes.get(frame.index, []):
                corner = round(box["x"]), round(box["y"])
                far = round(box["x"] + box["width"]), round(box["y"] + box["height"])
                cv2.rectangle(image, corner, far, colour, thick)
            scale = FRAME_HEIGHT_PX / image.shape[0]
            yield frame.index, cv2.resize(image, None, fx=scale, fy=scale)


def _boxes(story: Story) -> dict[int, list[tuple[Row, tuple[int, int, int]]]]:
    """By frame, the boxes of all tracks; the main person's last, so that it lies on top."""
    main = (story.rows.get("moment", {}).get("main_person") or {}).get("track")
    tracks = story.rows["face"]["tracks"] or []
    found: dict[int, list[tuple[Row, tuple[int, int, int]]]] = {}
    for track in sorted(tracks, key=lambda track: track["track"] == main):
        colour = MAIN_COLOUR if track["track"] == main else OTHER_COLOUR
        for index, box in zip(track["frame_index"], track["box"], strict=True):
            if box is not None:
                found.setdefault(index, []).append((box, colour))
    return found


def _units(axes: Axes, story: Story) -> None:
    """The curves of the Action Units that rise highest, at their own scale."""
    axes.set_ylabel(story.rows["face"]["au_scale"] or "Action Units")
    if story.series is None:
        return
    known = [t for t in story.series.traces if np.isfinite(t.value).any()]
    known.sort(key=lambda trace: (-float(np.nanmax(trace.value)), trace.au))
    for trace in known[:MOST_UNITS]:
        style = "-" if trace.reliability == "moderate" else ":"
        axes.plot(story.series.time_s, trace.value, style, label=f"{trace.au} {trace.reliability}")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)


def _peaks(axes: Axes, story: Story) -> None:
    """How far each frame stands out under each rule; what was chosen, and what was passed over."""
    axes.set_ylabel("strength (robust z)")
    if story.series is None:
        return
    for found in story.found:
        _one_rule(axes, story, found)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)


def _one_rule(axes: Axes, story: Story, found: Found) -> None:
    assert story.series is not None
    colour, name, time_s = RULE_COLOURS[found.rule], RULE_NAMES[found.rule], story.series.time_s
    axes.plot(time_s, found.moment.strength, color=colour, alpha=0.7, label=name)
    others = [peak.position for peak in found.moment.peaks]
    axes.plot(time_s[others], found.moment.strength[others], "o", color=colour, markersize=5)
    main = found.moment.main
    height = 0.0 if main.strength is None else main.strength
    axes.plot(time_s[main.position], height, "*", color=colour, markersize=16)
    axes.axvline(time_s[main.position], color=colour, linewidth=1, alpha=0.5)
    axes.annotate(
        f"{name}: {main.verdict}",
        (time_s[main.position], height),
        xytext=(6, 6),
        textcoords="offset points",
        color=colour,
        fontsize=9,
    )
    if found.rule == "emotion_aus":
        for passed in found.passed:
            axes.plot(time_s[passed.position], passed.strength, "x", color="black")
            axes.annotate(
                passed.reason,
                (time_s[passed.position], passed.strength),
                xytext=(4, -10),
                textcoords="offset points",
                fontsize=8,
            )


def _sound(axes: Axes, story: Story) -> None:
    """The level of the speech band, where somebody speaks, and how far the mouth is open."""
    voice = story.rows.get("voice", {})
    axes.set_ylabel("speech band, dBFS")
    if voice.get("envelope_db"):
        step_s = voice["envelope_step_s"]
        at_s = (np.arange(len(voice["envelope_db"])) + 0.5) * step_s
        axes.plot(at_s, voice["envelope_db"], color="tab:blue", label="sound")
        axes.set_ylim(-70, 0)
        for segment in voice["segments"] or []:
            axes.axvspan(segment["start_s"], segment["end_s"], color="tab:blue", alpha=0.15)
    else:
        reason = voice.get("reason") or "no sound"
        axes.annotate(reason, (0.5, 0.5), xycoords="axes fraction", ha="center")
    if story.series is not None:
        mouth: Any = axes.twinx()
        mouth.plot(story.series.time_s, mouth_of(story), color="tab:red", linewidth=1)
        mouth.set_ylabel("mouth open, eye distances", color="tab:red")


def _shots(axes: Axes, probe: Row) -> None:
    """Cuts as dashed lines, fades as grey spans."""
    for shot in probe["shots"][1:]:
        axes.axvline(shot["start_s"], color="black", linestyle="--", linewidth=1)
    for shot in probe["shots"]:
        if shot["fade_frames"]:
            last = shot["start_frame"] + shot["fade_frames"] - 1
            axes.axvspan(shot["start_s"], probe["frame_times_s"][last], color="grey", alpha=0.3)
