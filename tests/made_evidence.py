"""Stage rows for the room that writes texts: faces, voices and scenes that a test spells out.

``rows = clip_rows({"AU12": 3.0}, says="Hello.")`` is a clip whose person smiles and speaks; a
stage that is left out has a row that says so, as the stages themselves would.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from merr_pipeline.emotion.facs import load_action_units

TABLE = load_action_units()
OPENFACE = TABLE.tools["openface"].aus
FACEMESH = TABLE.tools["facemesh"].aus

VOICE = {
    "pitch_level": ("raised", 236.0, "Hz"),
    "intonation": ("lively", 3.5, "st"),
    "tempo": ("fast", 6.1, "syll/s"),
    "pauses": ("one pause", 1.0, "pauses"),
    "effort": ("gentle", -15.0, "dB"),
}


def ok(**payload: Any) -> dict[str, Any]:
    return {"status": "ok", "reason": None, "detail": None, **payload}


def missing(reason: str, status: str = "skipped") -> dict[str, Any]:
    return {"status": status, "reason": reason, "detail": None}


def moment_row(
    units: dict[str, float | None],
    tool: str = "openface",
    *,
    peak: str = "clear",
    held: Collection[str] = (),
    yaw_deg: float = 3.0,
    pitch_deg: float = -2.0,
) -> dict[str, Any]:
    """Every unit that the tool supports has a value, 0 where ``units`` gives none.

    ``peak="held"`` is an expression that is kept up: verdict ``weak``, and no peak.
    """
    verdict = "weak" if peak == "held" else peak
    maximum = {"frame_index": 31, "time_s": 1.24, "score": 2.4, "verdict": verdict}
    supported = TABLE.tools[tool].aus
    return ok(
        action_units=[
            {
                "au": code,
                "name": TABLE.units[code].name,
                "value_at_peak": units.get(code, 0.0),
                "mean": 0.1,
                "max": units.get(code, 0.0),
                "onset_s": None,
                "offset_s": None,
                "rest": "own" if tool == "facemesh" else None,
                "held": code in held,
                "reliability": support.reliability,
            }
            for code, support in supported.items()
        ],
        peak_time_s=1.24,
        peak_verdict=verdict,
        peaks=[maximum] if peak in {"clear", "weak"} else [],
        peak_score=2.4,
        face_coverage=0.9,
        head_pose={"pitch_deg": pitch_deg, "yaw_deg": yaw_deg, "roll_deg": 0.0},
    )


def tone_row(
    arousal: str = "high",
    words: dict[str, tuple[str, float, str]] | None = None,
    cautions: tuple[str, ...] = (),
) -> dict[str, Any]:
    return ok(
        tone="raised pitch; fast tempo",
        words=[
            {"feature": name, "word": word, "value": value, "unit": unit}
            for name, (word, value, unit) in (VOICE if words is None else words).items()
        ],
        arousal=0.41,
        arousal_word=arousal,
        cautions=list(cautions),
    )


def clip_rows(
    units: dict[str, float | None] | None = None,
    *,
    tool: str = "openface",
    scale: str = "intensity_0_5",
    peak: str = "clear",
    held: Collection[str] = (),
    yaw_deg: float = 3.0,
    pitch_deg: float = -2.0,
    tone: dict[str, Any] | None = None,
    says: str | None = None,
    facts: dict[str, Any] | None = None,
    label: str | None = None,
    source: str = "manifest",
) -> dict[str, dict[str, Any]]:
    """Rows of the eight stages that the fine text is made from."""
    moment = moment_row(
        units or {}, tool, peak=peak, held=held, yaw_deg=yaw_deg, pitch_deg=pitch_deg
    )
    seen = units is not None
    return {
        "probe": ok(),
        "voice": ok() if tone else missing("no_audio_stream"),
        "transcript": words_row(says) if says else missing("no_transcript"),
        "face": ok(face_tool=tool, au_scale=scale) if seen else missing("no_face"),
        "moment": moment if seen else missing("no_face"),
        "tone": tone or missing("no_audio_stream"),
        "scene": ok(
            scene="Close-up of one person, in dim light.",
            scene_source="measured_facts",
            scene_facts=facts or {},
        ),
        "label": ok(label=label, label_source=source) if label else missing("label_undecided"),
    }


def words_row(says: str) -> dict[str, Any]:
    return ok(
        transcript=says,
        transcript_source="sidecar",
        text_language="en",
        is_translation=None,
        segments=[],
        turns=[],
    )
