"""How many clips have a field, and for what reason the others do not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from merr_pipeline.schema import Row

FIELDS: dict[str, tuple[str, str | None]] = {
    "label": ("label", "label"),
    "face and peak": ("peak_time_s", "moment"),
    "face picture": ("face_crop", "moment"),
    "transcript": ("transcript", "transcript"),
    "tone": ("tone", "tone"),
    "scene": ("scene", "scene"),
    "visual expression": ("visual_expression", "moment"),
    "coarse caption": ("coarse_caption", "dataset"),
    "fine caption": ("fine_caption", "fine"),
    "source": ("source_id", None),
    "speaker": ("speaker_id", None),
    "licence": ("licence", None),
}
"""What the page calls a field -> its column, and the stage whose flag says why it is null."""

MEASURES = {
    "pitch": "f0_median_hz",
    "intonation": "f0_sd_st",
    "tempo": "rate_syll_s",
    "timbre": "effort_db",
    "harmonicity": "hnr_db",
    "jitter": "jitter_percent",
    "shimmer": "shimmer_percent",
    "loudness": "loudness_lufs",
    "signal to noise": "snr_db",
}
"""Measures of the voice, whose reasons stand in ``prosody.not_measured``."""

NOT_SAID = "no reason kept"
NOTHING_SHOWN = "no facial action to name"


@dataclass
class Coverage:
    """One field: how many have it, and why others do not."""

    name: str
    filled: int = 0
    clips: int = 0
    why_not: Counter[str] = field(default_factory=Counter)

    @property
    def share(self) -> float:
        """Of all clips, 0..1."""
        return self.filled / self.clips if self.clips else 0.0

    def reasons(self) -> list[tuple[str, int]]:
        """Most frequent first."""
        return sorted(self.why_not.items(), key=lambda one: (-one[1], one[0]))

    def add(self, value: object, why: str) -> None:
        """Count one clip."""
        self.clips += 1
        if value is None or value == "":
            self.why_not[why] += 1
        else:
            self.filled += 1


class Coverages:
    """All fields, in the order of the page."""

    def __init__(self) -> None:
        self.fields = {name: Coverage(name) for name in FIELDS}
        self.measures = {name: Coverage(name) for name in MEASURES}

    def add(self, row: Row) -> None:
        """Count a row of ``clips``."""
        flags = row["flags"] or []
        for name, (column, stage) in FIELDS.items():
            self.fields[name].add(row[column], _why(row, column, stage, flags))
        prosody = row["prosody"] or {}
        reasons = {one["measure"]: one["reason"] for one in prosody.get("not_measured") or []}
        no_voice = _why(row, "prosody", "voice", flags)
        for name, measure in MEASURES.items():
            why = reasons.get(measure) or (NOT_SAID if prosody else no_voice)
            self.measures[name].add(prosody.get(measure), why)


def _why(row: Row, column: str, stage: str | None, flags: list[str]) -> str:
    status = row.get(f"{column}_status")
    if status and status != "ok":
        return str(status)
    if stage is None:
        return "not given" if column in ("source_id", "speaker_id", "licence") else NOT_SAID
    own = (flag.partition(":")[2] for flag in flags if flag.startswith(f"{stage}:"))
    return next(own, NOTHING_SHOWN if column == "visual_expression" else NOT_SAID)
