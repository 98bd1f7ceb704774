"""The columns of a finished dataset: ``clips``, ``coarse``, ``fine`` and ``rejected``.

Each is a `datasets.Features`, so that the Parquet files carry the schema key ``huggingface``:
without it a picture column reads as ``{bytes, path}`` and not as a picture. Two keys of our own
stand beside it, ``merr.schema_version`` and ``merr.config_hash``.

Scalars are float64 as in the stage tables; the two series, one value a frame, are float32.
"""

from __future__ import annotations

import pyarrow as pa
from datasets import Features, Image

from merr_pipeline.schema import (
    CANDIDATE,
    CUE,
    EVIDENCE,
    MOMENT,
    PEAK,
    PROSODY,
    SCENE_FACTS,
    SCHEMA_VERSION,
    SEGMENT,
    SPAN,
    TURN,
    VOICE,
    VOTE,
)

PICTURES = ("peak_frame", "face_crop")
"""JPEG as the moment stage wrote it; stored uncompressed, for zstd gains 4 % on JPEG."""

VERSION_KEY, CONFIG_KEY = b"merr.schema_version", b"merr.config_hash"

_text, _int, _float, _series, _bool = (
    pa.string(),
    pa.int32(),
    pa.float64(),
    pa.float32(),
    pa.bool_(),
)


def _struct(**fields: pa.DataType) -> pa.StructType:
    return pa.struct(list(fields.items()))


CLIP_PROSODY = pa.struct(
    [
        *PROSODY,
        *_struct(rate_source=_text, pauses=pa.list_(_float), speech_s=_float, arousal=_float),
    ]
)
FACE_TRACK = _struct(
    time_s=_series,
    box=_struct(x=_series, y=_series, width=_series, height=_series),
    confidence=_series,
)
AU_SERIES = _struct(
    time_s=pa.list_(_series),
    values=pa.list_(_struct(au=_text, value=pa.list_(_series))),
)
QUALITY = _struct(
    face=_float, voice=_float, words=_float, agreement=_float, grounding=_float, overall=_float
)
NEAR = _struct(clip_id=_text, by=_text)  # by: sound | pictures | looks_alike
REVIEW = _struct(ratings=pa.list_(_int), mean=_float, verdict=_text, why=_text)
"""``verdict`` is that of ``dataset.agreement`` while ``ratings``, those of people, are null."""
OPEN_LABEL = _struct(word=_text, base=_text, label=_text)
PROVENANCE = _struct(
    stage=_text,
    tool=_text,
    version=_text,
    model=_text,
    revision=_text,
    template=_text,
    fingerprint=_text,
)

IMPORTED = _struct(
    file=_text,  # name of the file it came from
    granularity=_text,  # coarse | fine, where that file tells them apart
    field=_text,  # as that file calls it
    value=_text,  # as JSON; null where the file has no such field
)
"""A field of an imported record that no column above holds exactly."""

_CLIP_COLUMNS: dict[str, pa.DataType | None] = {  # None is a picture
    # identity
    "clip_id": _text,
    "media_path": _text,
    "other_paths": pa.list_(_text),
    "sha256": _text,
    "source_id": _text,
    "speaker_id": _text,
    "licence": _text,
    "split": _text,
    # media
    "kind": _text,
    "duration_s": _float,
    "fps": _float,
    "width": _int,
    "height": _int,
    "frame_count": _int,
    "has_sound": _bool,
    "shots": pa.list_(SPAN),
    # label
    "label_space": _text,
    "label": _text,
    "label_source": _text,
    "label_confidence": _float,
    "label_candidates": pa.list_(CANDIDATE),
    "label_runner_up": _text,
    "label_margin": _float,
    "open_labels": pa.list_(_text),
    "open_label_groups": pa.list_(OPEN_LABEL),  # by emotion_words.yaml; null where it is not there
    # face
    "face_tool": _text,
    "au_scale": _text,
    "face_count": _int,
    "face_coverage": _float,
    "main_person": MOMENT.field("main_person").type,
    "face_track": pa.list_(FACE_TRACK),
    "head_pose": MOMENT.field("head_pose").type,
    "gaze": MOMENT.field("gaze").type,
    "others": MOMENT.field("others").type,
    "action_units": MOMENT.field("action_units").type,
    "au_series": AU_SERIES,
    # moment
    "peak_frame_index": _int,
    "peak_time_s": _float,
    "peak_score": _float,
    "peak_verdict": _text,
    "peaks": pa.list_(PEAK),
    "peak_frame": None,
    "face_crop": None,
    # words
    "transcript": _text,
    "transcript_status": _text,
    "transcript_source": _text,
    "text_language": _text,
    "spoken_language": _text,
    "is_translation": pa.bool_(),
    "original_transcript": _text,
    "original_source": _text,
    "segments": pa.list_(SEGMENT),
    "turns": pa.list_(TURN),
    # voice
    "tone": _text,
    "tone_status": _text,
    "tone_source": _text,
    "prosody": CLIP_PROSODY,
    "egemaps": VOICE.field("egemaps").type,
    # scene
    "scene": _text,
    "scene_source": _text,
    "scene_facts": SCENE_FACTS,
    "burned_in_text": _text,  # the subtitle in the picture, as a model read it
    "burned_in_status": _text,
    # texts
    "visual_expression": _text,
    "coarse_caption": _text,
    "coarse_form": _text,  # template | raw; null without a caption, as is
    "coarse_language": _text,  # en | zh; that of visual_expression too
    "fine_caption": _text,
    "text_source": _text,  # composer | llm_blind | llm_told | imported
    "evidence": pa.list_(EVIDENCE),
    "cues": pa.list_(CUE),
    "conflicts": pa.list_(_text),
    "llm_label": _text,
    "llm_confidence": _float,
    "llm_agrees": _bool,
    "llm_votes": pa.list_(VOTE),
    "second_label": _text,
    "second_agrees": _bool,
    # quality
    "flags": pa.list_(_text),
    "quality": QUALITY,
    "review": REVIEW,
    "near_duplicates": pa.list_(NEAR),
    "fine_selection": _text,  # chosen, or why not; null where dataset.select takes all
    # provenance
    "provenance": pa.list_(PROVENANCE),
    "imported": pa.list_(IMPORTED),
}

_RECORD_COLUMNS: dict[str, pa.DataType | None] = {
    "record_id": _text,
    "clip_id": _text,
    "granularity": _text,  # coarse | fine
    "task": _text,  # emotion | reason | describe | sentiment
    "messages": pa.list_(_struct(role=_text, content=_text)),
    "label": _text,
    "label_source": _text,
    "transcript": _text,
    "media_path": _text,
    "sha256": _text,
    "split": _text,
}

_REJECTED_COLUMNS: dict[str, pa.DataType | None] = {
    "clip_id": _text,
    "media_path": _text,
    "other_paths": pa.list_(_text),  # further files with the same bytes, rejected with it
    "stage": _text,  # a stage, `manifest`, or `dataset` for the rules of what a clip must have
    "reason": _text,
    "detail": _text,
}


def _features(columns: dict[str, pa.DataType | None]) -> Features:
    plain = pa.schema([(name, kind) for name, kind in columns.items() if kind is not None])
    known = Features.from_arrow_schema(plain)
    return Features({name: known.get(name, Image()) for name in columns})


CLIPS = _features(_CLIP_COLUMNS)
RECORDS = _features(_RECORD_COLUMNS)
REJECTED = _features(_REJECTED_COLUMNS)

SUBSETS: dict[str, Features] = {
    "clips": CLIPS,
    "coarse": RECORDS,
    "fine": RECORDS,
    "rejected": REJECTED,
}
"""Folder and config name of each table, in the order of the card."""


def schema_of(subset: str, config_hash: str) -> pa.Schema:
    """The arrow schema of a subset's files, with the keys that make it readable and traceable."""
    schema = SUBSETS[subset].arrow_schema
    return schema.with_metadata(
        {
            **(schema.metadata or {}),
            VERSION_KEY: SCHEMA_VERSION.encode(),
            CONFIG_KEY: config_hash.encode(),
        }
    )
