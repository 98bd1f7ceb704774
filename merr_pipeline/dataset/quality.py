"""How much there is to go by in a clip: one score per modality, each 0..1.

Every score is the mean of named parts. A part that was not measured counts 0, so what is missing
lowers a score and never fills it. Where no part was measured, or the stage has no ``ok`` row, there
is no score (null), and that counts 0 in ``overall``, the mean of all five. The scores say how well
a clip was measured, not how expressive it is; the steps below are ours and are tuned on nothing.

===========  ====================================================================================
score        mean of
===========  ====================================================================================
face         face_coverage; mean confidence of the face track; verdict (clear 1, weak 1/2, none 0)
voice        speech up to 1 s; signal to noise up to 20 dB; 1 - share of octave outliers
words        text (1, or the mean confidence of a recogniser); times of its own (1 or 0)
agreement    share of the other sources whose best label is the label; 1 / (1 + conflicts)
grounding    share of the text's claims that point to evidence
===========  ====================================================================================

The other sources of a label are the manifest or the Action Unit rules, a language model that was
not told the label, and the second model.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from merr_pipeline.dataset.accept import HEAD, Rows
from merr_pipeline.fuse.judge import BLIND
from merr_pipeline.schema import Row
from merr_pipeline.stage import is_ok, rounded

QUALITY_LOOK: dict[str, Sequence[str]] = {
    "voice": (*HEAD, "speech_s", "prosody"),
    "transcript": (*HEAD, "transcript_source", "segments", "flags"),
    "moment": (*HEAD, "face_coverage", "face_track", "peak_verdict"),
    "label": (*HEAD, "label", "label_source", "label_candidates"),
    "fine": (*HEAD, "conflicts", "grounding", "text_source", "llm_label", "second_label"),
}
"""The columns that the scores are made of."""

FULL_SPEECH_S = 1.0
FULL_SNR_DB = 20.0
TIMES_FROM_VOICE = "times_from_voice"  # flag of the transcript stage: when speech is, not words
VERDICT_SCORE = {"clear": 1.0, "weak": 0.5, "none": 0.0}


def quality(rows: Rows) -> Row:
    """The ``quality`` struct of a clip."""
    scores: dict[str, float | None] = {
        "face": _mean(_face_parts(rows["moment"])) if is_ok(rows, "moment") else None,
        "voice": _mean(_voice_parts(rows["voice"])) if is_ok(rows, "voice") else None,
        "words": _mean(_word_parts(rows["transcript"])) if is_ok(rows, "transcript") else None,
        "agreement": _mean(_agreement_parts(rows)) if is_ok(rows, "label") else None,
        "grounding": rows["fine"]["grounding"] if is_ok(rows, "fine") else None,
    }
    scores["overall"] = _mean(list(scores.values())) or 0.0
    return dict(rounded(scores))


def _mean(parts: Sequence[float | None]) -> float | None:
    if all(part is None for part in parts):
        return None
    return fmean(0.0 if part is None else min(max(part, 0.0), 1.0) for part in parts)


def _face_parts(moment: Row) -> list[float | None]:
    seen = [point["confidence"] for point in moment["face_track"] or []]
    known = [confidence for confidence in seen if confidence is not None]
    return [
        moment["face_coverage"],
        fmean(known) if known else None,
        VERDICT_SCORE.get(moment["peak_verdict"]),
    ]


def _voice_parts(voice: Row) -> list[float | None]:
    prosody = voice["prosody"] or {}
    noise, outliers = prosody.get("snr_db"), prosody.get("octave_outlier_share")
    speech_s = voice["speech_s"]
    return [
        None if speech_s is None else speech_s / FULL_SPEECH_S,
        None if noise is None else noise / FULL_SNR_DB,
        None if outliers is None else 1 - outliers,
    ]


def _word_parts(transcript: Row) -> list[float | None]:
    segments = transcript["segments"] or []
    timed = bool(segments) and all(segment["start_s"] is not None for segment in segments)
    if TIMES_FROM_VOICE in (transcript["flags"] or []):
        timed = False
    if transcript["transcript_source"] != "asr":
        return [1.0, float(timed)]  # written by a person, who leaves no confidence
    known = [s["confidence"] for s in segments if s["confidence"] is not None]
    return [fmean(known) if known else None, float(timed)]


def _agreement_parts(rows: Rows) -> list[float | None]:
    label, fine = rows["label"], rows["fine"] if is_ok(rows, "fine") else {}
    others = [c for c in label["label_candidates"] or [] if c["source"] != label["label_source"]]
    best = max(others, key=lambda c: c["score"] or 0.0, default={"label": None})
    blind = fine["llm_label"] if fine.get("text_source") == BLIND else None
    named = [name for name in (best["label"], blind, fine.get("second_label")) if name is not None]
    conflicts = fine.get("conflicts")
    return [
        fmean(float(name == label["label"]) for name in named) if named else None,
        None if conflicts is None else 1 / (1 + len(conflicts)),
    ]
