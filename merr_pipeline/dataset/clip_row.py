"""One row of ``clips``: everything known of a clip, joined from the rows of its stages.

What a stage measured is taken also from a row that is not ``ok`` (a silent clip still has a
loudness); what it decided, a label or a text, only from an ``ok`` row. Where a column has a
``_status`` beside it, that holds ``ok`` or the reason; for the rest the flags do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from merr_pipeline.dataset.accept import HEAD, Rows, flags_of, why_not_ok
from merr_pipeline.dataset.columns import PICTURES
from merr_pipeline.dataset.quality import quality
from merr_pipeline.schema import STAGE_SCHEMAS, Clip, Row
from merr_pipeline.stage import Identity, is_ok

_IDENTITY = ("clip_id", "media_path", "sha256", "source_id", "speaker_id", "licence")
_MEASURED: dict[str, Sequence[str]] = {
    "probe": ("kind", "duration_s", "fps", "width", "height", "frame_count", "has_sound", "shots"),
    "voice": ("egemaps",),
    "face": ("face_tool", "au_scale", "face_count"),
    "moment": (
        *("main_person", "face_coverage", "face_track", "head_pose"),
        *("gaze", "others", "action_units", "au_series"),
        *("peak_frame_index", "peak_time_s", "peak_score", "peak_verdict", "peaks", *PICTURES),
    ),
    "label": (*("label_space", "label_candidates", "label_runner_up", "label_margin"),),
    "scene": ("scene_facts",),
    "fine": ("evidence", "cues", "conflicts"),
}
_DECIDED: dict[str, Sequence[str]] = {
    "transcript": (
        *("transcript", "transcript_source", "text_language", "spoken_language", "is_translation"),
        *("original_transcript", "original_source", "segments", "turns"),
    ),
    "tone": ("tone", "tone_source"),
    "scene": ("scene", "scene_source", "burned_in_text", "burned_in_status"),
    "label": ("label", "label_source", "label_confidence"),
    "fine": (
        *("fine_caption", "text_source", "llm_label", "llm_confidence", "llm_agrees"),
        *("llm_votes", "second_label", "second_agrees"),
    ),
}
_READ_ELSE = {
    "voice": ("prosody", "pauses", "speech_s"),
    "tone": ("arousal", "rate_syll_s", "rate_source"),
    "label": ("open_labels",),
    "fine": ("grounding", "open_labels"),
}
"""Read below, or for the quality scores."""


def _columns_of(stage: str) -> tuple[str, ...]:
    own = [*_MEASURED.get(stage, ()), *_DECIDED.get(stage, ()), *_READ_ELSE.get(stage, ())]
    return (*HEAD, *own, *(["flags"] if "flags" in STAGE_SCHEMAS[stage].names else []))


FULL_LOOK: dict[str, Sequence[str]] = {stage: _columns_of(stage) for stage in STAGE_SCHEMAS}
"""The columns that a row of ``clips`` is made of: no face tracks, no frame times."""


def clip_row(clip: Clip, rows: Rows, split: str, provenance: Sequence[Row]) -> Row:
    """Join what is known; ``provenance`` has the entries of the stages, of which some have a row.

    What the clips together decide is not in it yet (``review``, ``fine_selection``,
    ``near_duplicates``), nor what is rendered at assembly (``coarse_caption``,
    ``visual_expression``, ``open_label_groups``).
    """
    row: Row = {name: getattr(clip, name) for name in _IDENTITY}
    row |= {"other_paths": list(clip.other_paths), "split": split}
    for stage, names in _MEASURED.items():
        row |= {name: rows.get(stage, {}).get(name) for name in names}
    for stage, names in _DECIDED.items():
        row |= {name: rows[stage][name] if is_ok(rows, stage) else None for name in names}
    row |= {name: _picture(row[name], f"{clip.clip_id}/{name}.jpg") for name in PICTURES}
    row |= {f"{stage}_status": _status(rows, stage) for stage in ("transcript", "tone")}
    return row | {
        "open_labels": _open_labels(rows),
        "prosody": _prosody(rows),
        "flags": flags_of(rows),
        "quality": quality(rows),
        "provenance": [
            entry
            for entry in provenance
            if entry["stage"] in rows or entry["stage"] not in STAGE_SCHEMAS
        ],
        "imported": None,
    }


def provenance_of(identities: Mapping[str, Identity], *assembly: Identity) -> list[Row]:
    """One entry per stage, in the order in which the stages run, then those of the assembly."""
    ran = [identities[stage] for stage in STAGE_SCHEMAS if stage in identities]
    return [_entry(identity) for identity in [*ran, *assembly]]


def _entry(identity: Identity) -> Row:
    return {
        "stage": identity.stage,
        "tool": identity.tool or None,
        "version": identity.tool_version or None,
        "model": identity.model or None,
        "revision": identity.revision or None,
        "template": identity.template or None,
        "fingerprint": identity.fingerprint(),
    }


def _picture(jpeg: bytes | None, name: str) -> dict[str, Any] | None:
    return None if jpeg is None else {"bytes": jpeg, "path": name}


def _status(rows: Rows, stage: str) -> str:
    return "ok" if is_ok(rows, stage) else why_not_ok(rows, stage)


def _open_labels(rows: Rows) -> list[str]:
    """The manifest's own word for the label, then those of a model, each once."""
    given = rows.get("label", {}).get("open_labels") or []
    found = (rows["fine"]["open_labels"] or []) if is_ok(rows, "fine") else []
    return list(dict.fromkeys([*given, *found]))


def _prosody(rows: Rows) -> Row | None:
    """The voice's measures; tempo and arousal come from the tone stage, which reads the words."""
    voice, tone = rows.get("voice", {}), rows.get("tone", {})
    if voice.get("prosody") is None and voice.get("speech_s") is None:
        return None
    prosody = dict(voice.get("prosody") or {})
    prosody["rate_source"] = None if prosody.get("rate_syll_s") is None else "nuclei"
    if tone.get("rate_syll_s") is not None:
        prosody |= {"rate_syll_s": tone["rate_syll_s"], "rate_source": tone["rate_source"]}
    extra = {"pauses": voice.get("pauses"), "speech_s": voice.get("speech_s")}
    return prosody | extra | {"arousal": tone.get("arousal")}
