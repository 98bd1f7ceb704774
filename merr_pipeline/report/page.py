"""The page: what was counted and chosen, put into ``page.html``.

It loads nothing from elsewhere: style, script, drawings and pictures are in it, and its content
security policy forbids the rest, any script but ours included. All text of the data is escaped.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from merr_pipeline.report.gallery import Shown
from merr_pipeline.report.leaks import ALLOWED, KINDS, MOST_NAMED, WORDS
from merr_pipeline.report.published import ASPECTS, Compared
from merr_pipeline.report.source import Finished
from merr_pipeline.report.spent import Spent, total_usd
from merr_pipeline.report.survey import UNDECIDED, Survey, quantiles
from merr_pipeline.report.voices import VOICES, voices_of
from merr_pipeline.schema import Row

_HERE = Path(__file__).parent

SECTIONS = (
    ("h-labels", "Labels"),
    ("h-units", "Action Units"),
    ("h-durations", "Durations"),
    ("h-coverage", "Coverage"),
    ("h-agreement", "Agreement"),
    ("h-quality", "Quality"),
    ("h-rejected", "Left out"),
    ("h-leaks", "Leaks"),
    ("h-cost", "Cost"),
    ("h-comparison", "Comparison"),
    ("h-gallery", "Gallery"),
)
_MEASURES = {
    "f0_median_hz": ("pitch", "Hz"),
    "f0_sd_st": ("varies by", "semitones"),
    "rate_syll_s": ("tempo", "syllables/s"),
    "loudness_lufs": ("loudness", "LUFS"),
    "snr_db": ("over the background by", "dB"),
    "speech_s": ("speech", "s"),
}


def page(
    dataset: Finished,
    ours: Survey,
    beside: Sequence[Survey],
    comparison: Sequence[Compared],
    spent: Sequence[Spent],
    clips: Sequence[Shown],
) -> str:
    """The whole file."""
    script = (_HERE / "page.js").read_text("utf-8")
    sha256 = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template("page.html")
        .render(
            css=Markup((_HERE / "page.css").read_text("utf-8")),
            script=Markup(script),
            script_hash=f"sha256-{sha256}",
            sections=SECTIONS,
            schema_version=dataset.manifest.schema_version,
            config_hash=dataset.manifest.config_hash,
            undecided=UNDECIDED,
            ours=ours,
            beside=list(beside),
            side_labels=_side_labels([ours, *beside]),
            numbers=_numbers(ours),
            unit_rows=_unit_rows(ours),
            durations=quantiles(ours.durations_s),
            together=_together(sum(ours.durations_s)),
            coverage=[
                ("coverage", "Fields of a clip", list(ours.coverages.fields.values())),
                ("measures", "Measures of the voice", list(ours.coverages.measures.values())),
            ],
            voices=VOICES,
            quality=[(name, len(found), quantiles(found)) for name, found in ours.scores.items()],
            leak_kinds=KINDS,
            leak_words=WORDS,
            leaks_allowed=ALLOWED,
            leaks_named=MOST_NAMED,
            spent=spent,
            usd=total_usd(list(spent)),
            aspects=ASPECTS,
            comparison=comparison,
            clips=clips,
            facts=_facts,
            alt=_picture_alt,
            chart_alt=_chart_alt,
            prosody=_prosody,
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= {
        "whole": lambda count: f"{count:,}",
        "clips": lambda count: "1 clip" if count == 1 else f"{count:,} clips",
        "decimal": lambda value: f"{value:.2f}",
        "percent": lambda share: f"{100 * share:.1f}\N{NO-BREAK SPACE}%",
        "number": lambda value: "–" if value is None else f"{value:.3g}",
        "width": lambda percent: f"{percent:.3g}",
    }
    return environment


def _numbers(ours: Survey) -> list[tuple[str, str]]:
    records = {name: sum(ours.rows.get(name, {}).values()) for name in ("coarse", "fine")}
    faults = ours.leaks.faults() if ours.leaks else 0
    return [
        ("clips", f"{ours.clips:,}"),
        ("with a label", f"{ours.decided:,}"),
        ("coarse records", f"{records['coarse']:,}"),
        ("fine records", f"{records['fine']:,}"),
        ("left out", f"{ours.rejected:,}"),
        ("leaks across splits", f"{faults:,}"),
    ]


def _unit_rows(ours: Survey) -> list[tuple[str, int]]:
    names = ours.unit_names
    return [(f"{au} {names.get(au, '').lower()}", ours.units[au]) for au in ours.unit_order()]


def _side_labels(surveys: Sequence[Survey]) -> list[str]:
    """Labels of all, in the order of the first that has them."""
    order = (label for one in surveys for label in one.label_order() if label != UNDECIDED)
    return list(dict.fromkeys(order))


def _together(seconds: float) -> str:
    hours = seconds >= 3600
    return f"{seconds / 3600:,.1f} hours" if hours else f"{seconds / 60:.1f} minutes"


def _facts(clip: Shown) -> list[str]:
    """Where the label comes from and who says what; split, length, quality, licence."""
    row = clip.row
    said = ", ".join(f"{voice} {label}" for voice, label in voices_of(row).items())
    is_timed = row["kind"] != "still" and row["duration_s"] is not None
    facts = [
        f"label from {row['label_source']}" if row["label_source"] else "label undecided",
        f"voices: {said}" if said else "",
        row["split"],
        f"{row['duration_s']:.2f} s" if is_timed else row["kind"] or "",
        f"quality {row['quality']['overall']:.2f}" if row["quality"] else "",
        f"licence {row['licence']}" if row["licence"] else "",
    ]
    return [fact for fact in facts if fact]


def _picture_alt(clip: Shown) -> str:
    """What the picture shows, in the words of the data."""
    seen = clip.row["scene"] or "The frame of the peak."
    return f"{seen} The face is in a box." if clip.box else str(seen)


def _chart_alt(clip: Shown) -> str:
    chart = clip.chart
    if chart is None or not chart.curves:
        return "No Action Unit has a value."
    highest = ", ".join(f"{curve.au} up to {curve.highest:.3g}" for curve in chart.curves)
    return f"Action Units over {chart.duration_s:.3g} s: {highest}."


def _prosody(row: Row) -> list[str]:
    """The voice in numbers; what was not measured is left out."""
    measured: Mapping[str, Any] = row["prosody"] or {}
    return [
        f"{name} {measured[key]:.3g} {unit}"
        for key, (name, unit) in _MEASURES.items()
        if measured.get(key) is not None
    ]
