"""Draws a story: frames with boxes, Action Units, the peak search under three rules, the sound."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from merr_pipeline.explain.curves import draw_peaks, draw_sound, draw_units, why_no_units
from merr_pipeline.explain.frames import draw_chosen, draw_strip, read_pictures
from merr_pipeline.explain.story import Story
from merr_pipeline.schema import MerrError, Row
from merr_pipeline.stage import is_ok

WIDTH_IN, AXES_WIDTH_IN = 18.0, 13.0  # of the whole, and of what stands over the time axis
LEAST_STRIP_IN, MOST_STRIP_IN, CHOSEN_IN = 1.2, 2.8, 2.6
STILL_S = 1.0  # how wide the time axis of a clip of one frame is
LETTERS_A_LINE, MOST_LINES = 150, 4  # of the words; letters of double width count two
FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Micro Hei"),
    *("WenQuanYi Zen Hei", "Microsoft YaHei", "SimHei", "PingFang SC", "Hiragino Sans GB"),
    *("Arial Unicode MS", "Droid Sans Fallback", "Noto Sans Arabic", "Noto Sans Devanagari"),
)
"""For letters that matplotlib's own font lacks; of these, what is installed is used."""


def draw(story: Story, path: Path) -> None:
    """Write the picture; the suffix says its format (png, svg, pdf).

    Raises:
        MerrError: there is no such format, or the place cannot be written.
    """
    matplotlib.use("Agg")
    # words that were said may hold dollar signs and backslashes, which are no formulas
    with matplotlib.rc_context({"font.family": _fonts(), "text.parse_math": False}):
        figure = figure_of(story)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, dpi=90)
        except ValueError as error:
            raise MerrError(f"{path}: {error}.\nUse .png, .svg or .pdf.") from error
        except OSError as error:
            raise MerrError(f"{path} cannot be written: {error.strerror}.") from error


def figure_of(story: Story) -> Figure:
    """The whole picture, not yet drawn; its axes are labelled by what they show."""
    probe = story.rows["probe"]
    pictures, duration_s = read_pictures(story), probe["duration_s"] or STILL_S
    width_in = AXES_WIDTH_IN / max(1, len(pictures.strip))
    strip_in = min(MOST_STRIP_IN, max(LEAST_STRIP_IN, width_in * probe["height"] / probe["width"]))
    heights = {"chosen": CHOSEN_IN, "strip": strip_in, "units": 2.8, "peaks": 2.8, "sound": 1.8}
    if not pictures.chosen:
        del heights["chosen"]
    figure = Figure(figsize=(WIDTH_IN, sum(heights.values()) + 2.0), layout="constrained")
    rows = figure.subplots(len(heights), 1, height_ratios=list(heights.values()), squeeze=False)
    axes = dict(zip(heights, rows[:, 0], strict=True))
    if "chosen" in axes:
        draw_chosen(axes["chosen"], story, pictures)
    begin_s = 0.0 if probe["duration_s"] else -STILL_S / 2  # so that a still stands in the middle
    draw_strip(axes["strip"], pictures, begin_s, begin_s + duration_s)
    draw_units(axes["units"], story)
    draw_peaks(axes["peaks"], story)
    draw_sound(axes["sound"], story)
    for name in ("strip", "units", "peaks", "sound"):
        axes[name].set_xlim(begin_s, begin_s + duration_s)
        axes[name].set_label(name)
        _shots(axes[name], probe)
        if not probe["duration_s"]:
            axes[name].set_xticks([])
    axes["sound"].set_xlabel("seconds" if probe["duration_s"] else "a still picture")
    figure.suptitle("\n".join(_title(story)), fontsize=11, ha="left", x=0.01)
    return figure


def _title(story: Story) -> Iterator[str]:
    label, face = story.rows.get("label", {}), story.rows["face"]
    yield (
        f"{_shown(story.clip.clip_id)}    label: {label.get('label') or 'undecided'}"
        f" ({label.get('label_source') or label.get('reason') or 'no row'})"
        f"    face tool: {face['face_tool']}, {face['au_scale']}"
    )
    if is_ok(story.rows, "moment"):
        moment = story.rows["moment"]
        yield _person(moment, story.speaking_by_chance)
        if moment["flags"]:
            yield f"flags: {', '.join(moment['flags'])}"
    else:
        yield f"no face was chosen; {why_no_units(story)}"
    said = story.rows.get("transcript", {}).get("transcript")
    if said:
        yield from _words(_shown(f"words: {said}"))


def _person(moment: Row, by_chance: float | None) -> str:
    person, pose = moment["main_person"], moment["head_pose"] or {}
    speaks = "not known"
    if person["speaking"] is not None:
        speaks = f"{person['speaking']:.2f}"
        speaks += "" if by_chance is None else f" (by chance up to {by_chance:.2f})"
    turned = ", ".join(
        f"{name} {pose[key]:.0f}°"
        for name, key in (("pitch", "pitch_deg"), ("yaw", "yaw_deg"), ("roll", "roll_deg"))
        if pose.get(key) is not None
    )
    return (
        f"main person: track {person['track']}, sure {person['sure']:.2f}, mouth with sound "
        f"{speaks}; {len(moment['others'])} other tracks; peak {moment['peak_verdict']} at "
        f"{moment['peak_time_s']:.2f} s (frame {moment['peak_frame_index']})"
        + (f"; head {turned}" if turned else "")
    )


def _shots(axes: Axes, probe: Row) -> None:
    """Cuts as dashed lines, fades as grey spans."""
    for shot in probe["shots"][1:]:
        axes.axvline(shot["start_s"], color="black", linestyle="--", linewidth=1)
    for shot in probe["shots"]:
        if shot["fade_frames"]:
            last = shot["start_frame"] + shot["fade_frames"] - 1
            axes.axvspan(shot["start_s"], probe["frame_times_s"][last], color="grey", alpha=0.3)


# --- letters -------------------------------------------------------------------------------------


def _fonts() -> list[str]:
    known = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in FONTS if name in known)]


def _shown(text: str) -> str:
    """The text on one line; where no font has its letters, that is said instead of boxes."""
    plain = " ".join(text.split())
    files = [font_manager.get_font(font_manager.findfont(name)) for name in _fonts()]
    lacking = {c for c in plain if not any(file.get_char_index(ord(c)) for file in files)}
    if not lacking:
        return plain
    kinds = {unicodedata.name(c, "unknown").split()[0].lower() for c in lacking}
    note = f"[letters without a font here: {', '.join(sorted(kinds))}; install Noto Sans CJK, say]"
    return " ".join(["".join(c for c in plain if c not in lacking).strip(), note])


def _words(text: str) -> list[str]:
    """Lines that fit the picture."""
    widths = [2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text]
    width = max(20, LETTERS_A_LINE * len(text) // max(1, sum(widths)))
    return textwrap.wrap(text, width, max_lines=MOST_LINES, placeholder=" …")
