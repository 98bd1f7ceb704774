"""Rows of the voice and transcript stages: a voice that is ordinary in all that is not named."""

from __future__ import annotations

from typing import Any

from merr_pipeline.schema import Row

ORDINARY = {
    "f0_median_hz": 210.0,
    "f0_sd_st": 2.5,
    "contour_st": 0.0,
    "ending_st": 0.0,
    "voiced_s": 1.5,
    "octave_outlier_share": 0.0,
    "rate_syll_s": 4.9,
    "effort_db": -11.0,
    "hnr_db": 12.0,
    "loudness_lufs": -23.0,
    "level_dbfs": -25.0,
    "snr_db": 25.0,
    "snr_method": "gaps",
}


def voice_row(speech_s=2.0, pauses=(), flags=(), status="ok", reason=None, **prosody: Any) -> Row:
    """A row of the voice stage; ordinary in all that is not named."""
    return {
        "status": status,
        "reason": reason,
        "speech_s": speech_s,
        "speech_uncertain": False,
        "pauses": list(pauses),
        "prosody": {**ORDINARY, **prosody},
        "flags": list(flags),
    }


def transcript_row(text=None, language=None, **further):
    status = "skipped" if text is None else "ok"
    nobody_said = dict.fromkeys(("spoken_language", "is_translation", "original_transcript"))
    return {
        "status": status,
        "transcript": text,
        "text_language": language,
        **nobody_said,
        **further,
    }
