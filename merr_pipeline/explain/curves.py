"""The curves of a story: Action Units, the peak search under three rules, sound and mouth."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from merr_pipeline.explain.frames import RULE_COLOURS, RULE_NAMES
from merr_pipeline.explain.story import Found, Story, mouth_of
from merr_pipeline.moment.frames import BLINKS
from merr_pipeline.moment.series import Floats, Trace
from merr_pipeline.schema import Row

MOST_UNITS = 8  # curves that an eye can tell apart
HIGHEST = {"probability": 1.0}  # of a scale; all others end at 5
GATE_COLOURS = {
    "not measured": "0.6",
    "edge of the track": "0.35",
    "turned away": "tab:brown",
    "blink": "tab:cyan",
}
MOST_POINTS = 15
MOST_TIMES = 6  # of one reason in the legend


def draw_units(axes: Axes, story: Story) -> None:
    """The Action Units that rise highest and those of the label, on the whole of their scale."""
    scale = story.rows["face"]["au_scale"]
    axes.set_ylabel(f"Action Units\n({scale})" if scale else "Action Units")
    known = [] if story.series is None else _telling(story)
    if story.series is None or not known:
        _say(axes, why_no_units(story))
        return
    shown = known[:MOST_UNITS]
    for number, trace in enumerate(shown):
        _one_unit(axes, story, trace, f"C{number}")
    axes.set_ylim(0, HIGHEST.get(scale, 5.0))
    if story.active_at is not None:
        axes.axhline(story.active_at, color="0.5", linestyle=":", linewidth=1)
        axes.annotate(
            "active",
            (0, story.active_at),
            xycoords=("axes fraction", "data"),
            xytext=(2, 2),
            textcoords="offset points",
            fontsize=8,
            color="0.4",
        )
    more = len(known) - len(shown)
    _legend(axes, f"{more} more are not drawn" if more else None)


def why_no_units(story: Story) -> str:
    """Why there is no curve, in words."""
    for name in ("face", "moment"):
        row = story.rows.get(name, {})
        if row.get("status") != "ok" and row.get("reason") not in (None, "upstream"):
            detail = f": {row['detail']}" if row.get("detail") else ""
            return f"{name}: {row['reason']}{detail}"
    if story.series is None:
        return "no face was chosen"
    turned = np.nanmedian(story.series.turn_deg) if len(story.series.turn_deg) else np.nan
    if np.isfinite(turned):
        return f"no Action Unit could be measured (the face is turned by {turned:.0f} degrees)"
    return "no Action Unit could be measured"


def _telling(story: Story) -> list[Trace]:
    """Those with values: of the label first, blinks last, by height."""
    assert story.series is not None
    known = [t for t in story.series.traces if np.isfinite(_best(t)).any()]
    return sorted(
        known,
        key=lambda t: (t.au not in story.signs, t.au in BLINKS, -float(np.nanmax(_best(t))), t.au),
    )


def _best(trace: Trace) -> Any:
    return (
        trace.value if np.isfinite(trace.value).any() or trace.absolute is None else trace.absolute
    )


def _one_unit(axes: Axes, story: Story, trace: Trace, colour: str) -> None:
    assert story.series is not None
    time_s = story.series.time_s
    blinks = trace.au in BLINKS
    colour, width = ("0.7", 0.8) if blinks else (colour, 1.5)
    style = "-" if trace.reliability == "moderate" else "--"
    named = f"{trace.au} {story.names.get(trace.au, '')} ({trace.reliability})"
    _curve(axes, time_s, trace.value, style, color=colour, linewidth=width, label=named)
    if trace.absolute is not None and np.isfinite(trace.absolute).any():
        named = f"{trace.au} without the shot's own rest"
        _curve(axes, time_s, trace.absolute, ":", color=colour, linewidth=width, label=named)
    for unit in story.rows["moment"]["action_units"]:
        if unit["au"] == trace.au and not blinks:
            for name, sign in (("onset_s", "|"), ("apex_s", "^"), ("offset_s", "|")):
                if unit[name] is not None:
                    height = np.interp(unit[name], time_s, np.nan_to_num(trace.value))
                    axes.plot(unit[name], height, sign, color=colour, markersize=9)


def _curve(axes: Axes, time_s: Floats, values: Floats, style: str, **how: Any) -> None:
    """A line; where few frames have a value, with a point at each, for lines need two."""
    few = np.isfinite(values).sum() < MOST_POINTS
    axes.plot(time_s, values, style, marker="." if few else None, **how)


def draw_peaks(axes: Axes, story: Story) -> None:
    """How far each frame stands out under each rule; what was chosen, and what was passed over."""
    axes.set_ylabel("strength\n(robust z)")
    if story.series is None or not any(np.isfinite(f.moment.strength).any() for f in story.found):
        _say(axes, "no frame has a strength" if story.series is not None else "")
        return
    for found in story.found:
        _one_rule(axes, story, found)
    _gates(axes, story)
    axes.margins(y=0.15)
    _legend(axes)


def _one_rule(axes: Axes, story: Story, found: Found) -> None:
    assert story.series is not None
    colour, name, time_s = RULE_COLOURS[found.rule], RULE_NAMES[found.rule], story.series.time_s
    axes.plot(time_s, found.moment.strength, color=colour, alpha=0.7, linewidth=1)
    others = [peak.position for peak in found.moment.peaks]
    axes.plot(time_s[others], found.moment.strength[others], "o", color=colour, markersize=5)
    main = found.moment.main
    height = 0.0 if main.strength is None or not np.isfinite(main.strength) else main.strength
    record = " (the record's)" if found.rule == story.rule else ""
    is_peak = main.verdict != "none"
    axes.plot(
        time_s[main.position],
        height,
        "*",
        color=colour,
        markersize=16,
        markerfacecolor=colour if is_peak else "none",
        clip_on=False,
        label=f"{name}{record}: {time_s[main.position]:.2f} s, "
        f"{main.verdict if is_peak else 'no peak'}\n{_wrapped(found.why)}",
    )
    axes.axvline(time_s[main.position], color=colour, linewidth=1, alpha=0.5)
    by_reason = defaultdict(list)
    for passed in found.passed:
        by_reason[passed.reason].append(passed)
    for reason, those in by_reason.items() if found.rule != "paper" else ():
        at = [passed.position for passed in those]
        axes.plot(
            time_s[at],
            [passed.strength for passed in those],
            _mark_of(reason),
            color=colour if found.rule == "all_aus" else "black",
            markersize=6,
            label=f"{name}, passed over: {_wrapped(reason)}\n  at {_times(time_s[at])}",
        )


def _gates(axes: Axes, story: Story) -> None:
    """Where no peak of ours may lie, as bars along the bottom."""
    assert story.series is not None
    time_s = story.series.time_s
    half_s = float(np.median(np.diff(time_s))) / 2 if len(time_s) > 1 else 0.5
    for level, (name, mask) in enumerate(story.closed.items()):
        for number, position in enumerate(np.flatnonzero(mask)):
            at = float(time_s[position])
            axes.axvspan(
                at - half_s,
                at + half_s,
                ymin=0.025 * level,
                ymax=0.025 * (level + 1),
                color=GATE_COLOURS[name],
                linewidth=0,
                label=f"no peak may lie: {name}" if number == 0 else None,
            )


def draw_sound(axes: Axes, story: Story) -> None:
    """The level of the speech band, where somebody speaks, and how far the mouth is open."""
    voice: Row = story.rows.get("voice", {})
    axes.set_ylabel("speech band\n(dBFS)")
    levels = voice.get("envelope_db")
    if levels:
        at_s = (np.arange(len(levels)) + 0.5) * voice["envelope_step_s"]
        shown = np.array([np.nan if level is None else level for level in levels])
        axes.plot(at_s, shown, color="tab:blue", linewidth=1, label="sound")
        axes.set_ylim(-70, 0)
        if np.nanmax(shown) < -70:
            _say(axes, f"all of it is below -70 dBFS ({voice.get('reason') or 'no speech'})")
        for number, segment in enumerate(voice["segments"] or []):
            axes.axvspan(
                segment["start_s"],
                segment["end_s"],
                color="tab:blue",
                alpha=0.15,
                label="speech" if number == 0 else None,
            )
    else:
        _say(axes, voice.get("reason") or "no sound")
    if story.series is not None:
        mouth: Any = axes.twinx()
        _curve(mouth, story.series.time_s, mouth_of(story), "-", color="tab:red", linewidth=1)
        mouth.set_ylabel("mouth open\n(eye distances)", color="tab:red", fontsize=8)
        axes.plot([], [], color="tab:red", linewidth=1, label="mouth of the main person")
    _legend(axes, offset=1.05)


def _legend(axes: Axes, title: str | None = None, offset: float = 1.0) -> None:
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            loc="upper left",
            bbox_to_anchor=(offset, 1.0),
            fontsize=7.5,
            title=title,
            title_fontsize=7.5,
            frameon=False,
        )


def _say(axes: Axes, text: str) -> None:
    axes.annotate(text, (0.5, 0.5), xycoords="axes fraction", ha="center", va="center", fontsize=10)


def _mark_of(reason: str) -> str:
    return {"blink": "x", "edge of the track": "|", "turned away": "v"}.get(reason, "+")


def _times(times_s: Floats) -> str:
    shown = ", ".join(f"{time_s:.2f}" for time_s in times_s[:MOST_TIMES])
    more = len(times_s) - MOST_TIMES
    return f"{shown} s" + (f" and {more} more" if more > 0 else "")


def _wrapped(text: str, width: int = 48) -> str:
    return "\n".join(textwrap.wrap(text, width))
