"""What a clip must have to be in the dataset (``dataset.require_*``), and what it is flagged with.

=====================================  ==========================================================
the clip                               ends
=====================================  ==========================================================
``probe`` is not ok                    rejected with the stage and reason of that row
``face`` or ``moment`` is not ok       the same, unless ``require_face_coverage`` is 0
main person in too few frames          rejected, ``low_face_coverage``
a still, or no sound stream            accepted, flag ``visual_only``
neither words nor voice, one failed    rejected with the stage and reason of the failed row
no words, and sound that may be a      accepted, flag ``voice:speech_uncertain``: it may be
voice                                  crying; no text says that it is, or that it is not
a voice too near to its background     rejected, ``low_snr``, where ``min_snr_db`` asks for more
neither words nor voice, none failed   rejected, ``no_words_no_voice``
a label that others contradict         rejected, ``label_conflict``, where the policy of
                                       ``dataset.agreement`` says so (`agreement`)
a stage it needs has no row yet        rejected, ``upstream``: the next run fills it
anything else is missing               accepted; null there, and the flag ``stage:reason``
=====================================  ==========================================================

So sound that cannot be decoded costs a clip its voice, not its place, as long as it has words. A
clip whose label is undecided is accepted too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from merr_pipeline.schema import STAGE_SCHEMAS, Clip, Reason, Refusal, Row, Status
from merr_pipeline.settings import DatasetSettings
from merr_pipeline.stage import is_ok

DATASET_RULE = "dataset"
"""Stands for the stage where it is no stage but a rule of this module that rejects."""

VISUAL_ONLY = "visual_only"

Rows = Mapping[str, Row]
"""The rows of one clip by stage; a stage that has none is absent."""

HEAD = ("row_hash", "status", "reason", "detail")
FIRST_LOOK: dict[str, Sequence[str]] = {
    **dict.fromkeys(STAGE_SCHEMAS, HEAD),
    "probe": (*HEAD, "kind", "has_sound", "picture_hashes"),
    "transcript": (*HEAD, "text_language"),
    "voice": (*HEAD, "prosody", "sound_hashes"),
    "face": (*HEAD, "au_scale"),
    "moment": (*HEAD, "face_coverage"),
    "label": (*HEAD, "label", "label_source", "label_candidates", "label_margin"),
    "fine": (*HEAD, "text_source", "llm_label", "llm_confidence", "llm_votes", "second_label"),
}
"""The columns that judging and counting need: no pictures, no series."""


def is_visual_only(rows: Rows) -> bool:
    """A still, or a video without a sound stream: there is nothing to hear."""
    return rows["probe"]["kind"] == "still" or rows["probe"]["has_sound"] is False


def judge(clip: Clip, rows: Rows, settings: DatasetSettings) -> Refusal | None:
    """Why the clip is left out, or None. Reads only the columns of `FIRST_LOOK`."""
    needed = ["probe"] if settings.require_face_coverage == 0 else ["probe", "face", "moment"]
    for stage in needed:
        if not is_ok(rows, stage):
            return _for_row(clip, rows, stage)
    return (
        _judge_face(clip, rows, settings)
        or _judge_sound(clip, rows, settings)
        or _judge_background(clip, rows, settings)
    )


def flags_of(rows: Rows) -> list[str]:
    """``visual_only``, then per stage ``stage:reason`` if it is not ok, then the stage's own."""
    flags = [VISUAL_ONLY] if is_visual_only(rows) else []
    for stage in STAGE_SCHEMAS:
        flags += [] if is_ok(rows, stage) else [f"{stage}:{why_not_ok(rows, stage)}"]
        flags += rows.get(stage, {}).get("flags") or []
    return list(dict.fromkeys(flags))


def why_not_ok(rows: Rows, stage: str) -> str:
    """The reason of a row that is not ok; ``upstream`` where there is no row at all."""
    return str(rows[stage]["reason"]) if stage in rows else Reason.UPSTREAM.value


def _judge_face(clip: Clip, rows: Rows, settings: DatasetSettings) -> Refusal | None:
    wanted = settings.require_face_coverage
    if wanted == 0:
        return None
    coverage = rows["moment"]["face_coverage"]
    if coverage is not None and coverage >= wanted:
        return None
    seen = "an unknown share" if coverage is None else f"{coverage:.0%}"
    detail = f"the main person is seen in {seen} of the shot's frames; {wanted:.0%} are asked for"
    return _refuse(clip, DATASET_RULE, Reason.LOW_FACE_COVERAGE, detail)


def _judge_sound(clip: Clip, rows: Rows, settings: DatasetSettings) -> Refusal | None:
    if not settings.require_words_or_voice or is_visual_only(rows):
        return None
    if is_ok(rows, "transcript") or is_ok(rows, "voice"):
        return None
    if "voice" in rows and rows["voice"]["reason"] == Reason.SPEECH_UNCERTAIN:
        return None
    for stage in ("voice", "transcript"):
        if stage not in rows or rows[stage]["status"] == Status.FAILED:
            return _for_row(clip, rows, stage)
    reasons = ", ".join(f"{stage}: {rows[stage]['reason']}" for stage in ("voice", "transcript"))
    reasons += "; dataset.require_words_or_voice=false would keep it"
    return _refuse(clip, DATASET_RULE, Reason.NO_WORDS_NO_VOICE, reasons)


def _judge_background(clip: Clip, rows: Rows, settings: DatasetSettings) -> Refusal | None:
    """Only a voice that was measured can be too near to what else is heard."""
    wanted = settings.min_snr_db
    if wanted is None or not is_ok(rows, "voice"):
        return None
    prosody = rows["voice"]["prosody"] or {}
    found, method = prosody.get("snr_db"), prosody.get("snr_method")
    if found is not None and found >= wanted:
        return None
    measured = "unknown" if found is None else f"{found:.1f} dB (measured in {method})"
    detail = f"signal to noise is {measured}; dataset.min_snr_db asks for {wanted:g}"
    return _refuse(clip, DATASET_RULE, Reason.LOW_SNR, detail)


def _for_row(clip: Clip, rows: Rows, stage: str) -> Refusal:
    if stage not in rows:
        return _refuse(clip, stage, Reason.UPSTREAM, "no row yet; build again to make it")
    row = rows[stage]
    return _refuse(clip, stage, Reason(row["reason"]), row["detail"] or "")


def _refuse(clip: Clip, stage: str, reason: Reason, detail: str) -> Refusal:
    return Refusal(clip.clip_id, clip.media_path, reason, detail, stage, clip.other_paths)
