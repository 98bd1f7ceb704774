"""The contracts of the house: clips, reasons, and the row that each stage writes.

This module imports nothing of ours, so every room may read it. The stage schemas below are what the
annotation store holds; what a finished dataset holds is in ``dataset/columns.py``.

Units: times end in ``_s`` (seconds on the clip's own clock, 0 at its first frame), levels in
``_db``, pitch in ``_hz`` or ``_st`` (semitones), angles in ``_deg``. Boxes are pixels of the frame
as it is shown (rotation applied), ``x`` and ``y`` at the top left. Missing is null, never 0 or -1.
Numbers are float64 rounded to 1e-3 of their unit (`stage.rounded`), so that a row read back from
disk is the row that was written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NewType

import pyarrow as pa

SCHEMA_VERSION = "1.0"

Stamp = tuple[int, int, int]
"""Size in bytes, mtime in ns and inode of a file: while they stay, its bytes stay."""

ClipId = NewType("ClipId", str)
"""Made in `clips.manifest` alone; unique in a build, stable while the file keeps its place."""

SPLITS = ("train", "validation", "test")
"""In the order of the shares of ``dataset.split_shares``."""

Row = dict[str, Any]
"""One row of a stage table, or what will become one."""


class MerrError(Exception):
    """An error that the user can mend. Its text says what was found, wanted, and what to do."""


class Status(StrEnum):
    """How a stage ended for one clip."""

    OK = "ok"  # measured; single fields may still be null
    SKIPPED = "skipped"  # there was nothing to measure, and that is a fact about the clip
    FAILED = "failed"  # there was something, and we could not measure it


class Reason(StrEnum):
    """Why a row is not ``ok``. These values are in the data: add, never rename."""

    # the file
    NOT_FOUND = "not_found"  # the manifest names a path that is not there
    UNREADABLE = "unreadable"  # it is there, and may not be read
    OUTSIDE_ROOT = "outside_root"  # the path leaves the input root
    BAD_PATH = "bad_path"  # no file can have this path, or its name is no text
    UNKNOWN_SPLIT = "unknown_split"  # the manifest's split is none of train, validation, test
    BAD_OFFSET = "bad_offset"  # the manifest's source_offset_s is no number of seconds
    EMPTY_FILE = "empty_file"  # 0 bytes
    NOT_MEDIA = "not_media"  # no container that we know, or a playlist
    NO_VIDEO = "no_video"  # sound only
    DECODE_ERROR = "decode_error"  # not one frame could be read, or most are broken
    TOO_LONG = "too_long"  # over probe.max_duration_s
    TOO_SMALL = "too_small"  # a side under probe.min_side_px
    TOO_LARGE = "too_large"  # more pixels than probe.max_pixels
    # an imported file
    BAD_RECORD = "bad_record"  # it, or this record of it, cannot be read as what it should be
    # the sound
    NO_AUDIO_STREAM = "no_audio_stream"  # the file has no sound; silence is NO_SPEECH
    AUDIO_DECODE_ERROR = "audio_decode_error"  # there is a sound stream, and it cannot be read
    NO_SPEECH = "no_speech"  # sound without a detected voice
    SPEECH_UNCERTAIN = "speech_uncertain"  # the same, and it may hold one: crying, shouting, music
    LITTLE_SPEECH = "little_speech"  # too little voiced speech to describe
    NO_TRANSCRIPT = "no_transcript"  # no source gives words
    REJECTED_HALLUCINATION = "rejected_hallucination"  # asr wrote words that were hardly said
    LOW_CONFIDENCE = "low_confidence"  # asr is too unsure of its words
    BAD_SIDECAR = "bad_sidecar"  # a sidecar is there, and cannot be read as subtitles
    # the face
    STILL = "still"  # one frame: nothing moves, nothing sounds
    NO_FACE = "no_face"  # frames were read, none showed a face
    NO_OPENFACE_CSV = "no_openface_csv"  # face.openface.csv_dir has none for it
    TOOL_MISSING = "tool_missing"  # the face tool is not installed; merr doctor says how
    TOOL_CRASHED = "tool_crashed"  # the face tool died on this clip (one that stays warm: twice)
    TOOL_TIMEOUT = "tool_timeout"  # the face tool ran out of its time for this clip
    TOOL_OUTPUT_INVALID = "tool_output_invalid"  # the tool's table does not fit the clip
    # the label and the texts
    LABEL_UNDECIDED = "label_undecided"  # no source gave a label that is sure enough
    LABEL_UNKNOWN = "label_unknown"  # the manifest's label is in no label space we were given
    NO_EVIDENCE = "no_evidence"  # nothing was measured that a text could point to
    UNGROUNDED = "ungrounded"  # the text claims what no evidence shows
    NOT_OBJECTIVE = "not_objective"  # the model says more of a picture than is to be seen, twice
    # a model that is asked
    MODEL_TIMEOUT = "model_timeout"  # no answer within its time limit, at every try
    MODEL_RATE_LIMIT = "model_rate_limit"  # the server let us in at no try (429)
    MODEL_SERVER_ERROR = "model_server_error"  # it answered with a fault of its own at every try
    MODEL_UNREACHABLE = "model_unreachable"  # no connection, or it broke, at every try
    BUDGET_EXHAUSTED = "budget_exhausted"  # llm.max_usd or llm.max_calls was reached before it
    REQUEST_TOO_LARGE = "request_too_large"  # more than the server or the model takes
    REQUEST_REJECTED = "request_rejected"  # the server refuses this request; detail holds its words
    MODEL_REFUSED = "model_refused"  # the model, or a filter in front of it, will not answer
    ANSWER_EMPTY = "answer_empty"  # it answered nothing
    ANSWER_CUT = "answer_cut"  # the answer is longer than max_tokens
    ANSWER_INVALID = "answer_invalid"  # not of the wanted shape, asked for a second time too
    # the run
    UPSTREAM = "upstream"  # a stage that this one needs has no usable row
    WORKER_CRASHED = "worker_crashed"  # the process that worked on this clip died twice
    DECODE_TIMEOUT = "decode_timeout"  # a stage took longer than engine.clip_limit_s for this clip
    OUT_OF_MEMORY = "out_of_memory"  # it took more than engine.memory_limit_mb, or all there is
    STAGE_ERROR = "stage_error"  # a fault in our code; detail holds its place
    # the dataset
    LOW_FACE_COVERAGE = "low_face_coverage"  # the main person is seen in too few frames
    NO_WORDS_NO_VOICE = "no_words_no_voice"  # sound is there; neither words nor voice came of it
    LOW_SNR = "low_snr"  # the voice is nearer to the background than dataset.min_snr_db
    DUPLICATE_CONFLICT = "duplicate_conflict"  # the same bytes with different labels
    TAKEN_DOWN = "taken_down"  # it was removed by `merr takedown`, and must not come back
    LABEL_CONFLICT = "label_conflict"  # by dataset.agreement, others contradict its label
    SPLIT_CONFLICT = "split_conflict"  # joins groups that lie in two splits


PASSES_WITH_TIME = frozenset(
    {
        Reason.TOOL_TIMEOUT,
        Reason.TOOL_MISSING,
        Reason.WORKER_CRASHED,
        Reason.DECODE_TIMEOUT,
        Reason.OUT_OF_MEMORY,
        Reason.MODEL_TIMEOUT,
        Reason.MODEL_RATE_LIMIT,
        Reason.MODEL_SERVER_ERROR,
        Reason.MODEL_UNREACHABLE,
        Reason.BUDGET_EXHAUSTED,
    }
)
"""Failures that the next run tries again by itself; all others wait for ``--retry``.

The limits of time, memory and money are in no key: with larger ones the row may come out well.
"""


@dataclass(frozen=True)
class Clip:
    """One media file and what the user said of it.

    The same bytes twice are one clip; the further places are in ``other_paths``.
    """

    clip_id: ClipId
    path: Path  # absolute
    media_path: str  # relative to the input root, with forward slashes
    sha256: str  # of the file's bytes
    other_paths: tuple[str, ...] = ()
    label: str | None = None  # as the manifest spells it
    transcript: str | None = None
    language: str | None = None  # of the transcript; of the speech too, unless that is named
    spoken_language: str | None = None
    original_transcript: str | None = None  # what is said, where the transcript is a translation
    source_offset_s: float | None = None  # where the clip begins in the film it was cut from
    speaker_id: str | None = None
    source_id: str | None = None
    licence: str | None = None
    split: str | None = None
    stamp: Stamp | None = field(default=None, compare=False)  # just before it was hashed


@dataclass(frozen=True)
class Refusal:
    """An input that never became a clip, with the reason; it ends in ``rejected``."""

    clip_id: ClipId
    media_path: str
    reason: Reason
    detail: str
    stage: str = "manifest"
    other_paths: tuple[str, ...] = ()  # further files with the same bytes


def _struct(**fields: pa.DataType) -> pa.StructType:
    return pa.struct([pa.field(name, kind) for name, kind in fields.items()])


_text, _int, _float, _bool, _bytes = (
    pa.string(),
    pa.int32(),
    pa.float64(),
    pa.bool_(),
    pa.binary(),
)

BOX = _struct(x=_float, y=_float, width=_float, height=_float)
SPAN = _struct(start_s=_float, end_s=_float)
SHOT = _struct(start_s=_float, end_s=_float, start_frame=_int, end_frame=_int, fade_frames=_int)
"""Half open: ``end_frame``, ``end_s`` belong to the next shot (the last ends at the duration).
The first ``fade_frames`` frames still show the shot before, mixed in; 0 after a hard cut."""
SEGMENT = _struct(start_s=_float, end_s=_float, text=_text, speaker=_text, confidence=_float)
"""``confidence`` is that of asr: the mean probability of the words, or of a token."""
TURN = _struct(speaker=_text, start_s=_float, end_s=_float)
"""One person speaks; ``speaker`` as the subtitles name them, null where they name nobody."""
PEAK = _struct(frame_index=_int, time_s=_float, score=_float, verdict=_text)
EVIDENCE = _struct(
    id=_text,
    modality=_text,  # face | voice | words | scene | missing
    text=_text,
    time_s=_float,
    value=_float,
    scale=_text,
    reliability=_text,
)
CUE = _struct(evidence_id=_text, reading=_text)
VOTE = _struct(label=_text, count=_int)
CANDIDATE = _struct(label=_text, score=_float, source=_text)

ROW_HEAD: tuple[pa.Field, ...] = (
    pa.field("clip_id", _text, nullable=False),
    pa.field("input_key", _text, nullable=False),
    pa.field("row_hash", _text, nullable=False),
    pa.field("status", _text, nullable=False),
    pa.field("reason", _text),
    pa.field("detail", _text),
)
"""Stands before the payload of every stage table. The stage fills the last three."""

CONTENT = pa.field("sha256", _text)
"""Of the clip's bytes: what a row is about, whatever its clip was called when it was made."""


def _stage(**payload: pa.DataType) -> pa.Schema:
    fields = (pa.field(name, kind) for name, kind in payload.items())
    return pa.schema([*ROW_HEAD, CONTENT, *fields])


PROBE = _stage(
    kind=_text,  # video | still
    container=_text,
    video_codec=_text,
    duration_s=_float,
    fps=_float,  # mean rate: (frames - 1) / (last time - first time)
    width=_int,
    height=_int,
    rotation_deg=_int,
    frame_count=_int,  # frames that decode
    frame_times_s=pa.list_(_float),
    broken_frames=_int,  # frames lost to decode errors
    has_sound=_bool,
    sound_codec=_text,
    sound_rate_hz=_int,
    sound_channels=_int,
    subtitle_streams=_int,
    shots=pa.list_(SHOT),
    brightness=_float,  # mean luma, 0..1
    contrast=_float,  # mean over frames of the luma SD, 0..1
    dark_share=_float,  # share of frames with a mean luma under .2
    motion=_float,  # mean |luma difference| of neighbouring frames inside shots, 0..1
    bars=_struct(top=_int, bottom=_int, left=_int, right=_int),  # black borders, pixels
    picture_hashes=pa.list_(pa.int64()),  # `clips.likeness`, one for each half second
    flags=pa.list_(_text),
)

PROSODY = _struct(
    f0_median_hz=_float,
    f0_sd_st=_float,
    contour_st=_float,  # median of the last quarter minus the first
    ending_st=_float,  # within the last stretch of voice, .25 s at most: later half minus earlier
    voiced_s=_float,
    octave_outlier_share=_float,
    rate_syll_s=_float,  # from syllable nuclei; the transcript's own rate is made in tone
    effort_db=_float,  # alpha ratio of voiced frames
    hnr_db=_float,
    jitter_percent=_float,  # of steady voice in a quiet place alone, as Praat's local ones
    shimmer_percent=_float,
    steady_voice_s=_float,
    loudness_lufs=_float,
    level_dbfs=_float,
    clipped_share=_float,  # of the samples, at full scale
    snr_db=_float,
    snr_method=_text,  # gaps | quiet_frames
    tonal_gap_share=_float,  # of the gaps, with a pitch: music or another voice, which is not told
    not_measured=pa.list_(_struct(measure=_text, reason=_text)),  # why a field above is null
)

VOICE = _stage(
    duration_s=_float,
    segments=pa.list_(SPAN),  # speech, by voice activity detection with hysteresis
    speech_s=_float,
    vad_max=_float,  # highest speech probability seen
    speech_uncertain=_bool,  # sound that is no clear speech: crying, shouting, music
    pauses=pa.list_(_float),  # seconds, gaps between segments of at least .25 s
    envelope_db=pa.list_(_float),  # level of the speech band, dBFS; the n-th is that of
    envelope_step_s=_float,  # n times this from the start, and this long
    prosody=PROSODY,
    egemaps=pa.list_(_struct(name=_text, value=_float)),  # where voice.egemaps asks for them
    sound_hashes=pa.list_(pa.int64()),  # `speech.fingerprint`, one for each 46 ms
    flags=pa.list_(_text),
)

TRANSCRIPT = _stage(
    transcript=_text,
    transcript_source=_text,  # manifest | sidecar | embedded | asr
    text_language=_text,
    spoken_language=_text,
    is_translation=_bool,  # of what is said; null where nobody says which language that is in
    original_transcript=_text,  # what is said, in its own language, where a source has that too
    original_source=_text,  # manifest | sidecar | embedded
    segments=pa.list_(SEGMENT),
    turns=pa.list_(TURN),
    words=pa.list_(_struct(start_s=_float, end_s=_float, text=_text, probability=_float)),  # asr
    rejected_text=_text,  # what asr wrote and the gates refused; no other stage may read it
    asr=_struct(  # what the gates judged by; of several pieces of a long clip the worst
        language_probability=_float,
        avg_logprob=_float,  # per token
        no_speech_prob=_float,
        compression_ratio=_float,
    ),
    flags=pa.list_(_text),
)

AU_TRACE = _struct(
    au=_text,  # "AU12"
    reliability=_text,  # moderate | low (unsupported AUs have no trace)
    value=pa.list_(_float),  # one per frame of the track, null where not seen
    absolute=pa.list_(_float),  # without the track's baseline, where the tool has that; else null
    asymmetry=pa.list_(_float),  # the person's left side minus the right, same scale, else null
    rest=_text,  # of value: own | common | raised | short (`face.action_units.Rest`), else null
)
TRACK = _struct(
    track=_int,
    shot=_int,  # index into probe.shots; a track never crosses a cut
    frame_index=pa.list_(_int),  # frames of the probe, in order; gaps where the face was not seen
    time_s=pa.list_(_float),
    box=pa.list_(BOX),
    confidence=pa.list_(_float),
    pitch_deg=pa.list_(_float),  # up positive
    yaw_deg=pa.list_(_float),  # to the viewer's right positive
    roll_deg=pa.list_(_float),  # clockwise, as the viewer sees it, positive
    gaze_pitch_deg=pa.list_(_float),  # of the eyes against the camera, up positive; null if unseen
    gaze_yaw_deg=pa.list_(_float),  # to the viewer's right positive
    mouth_open=pa.list_(_float),  # between the inner lips, in distances of the outer eye corners
    action_units=pa.list_(AU_TRACE),
)

FACE = _stage(
    face_tool=_text,
    tool_version=_text,
    au_scale=_text,  # intensity_0_5 | probability | proxy_0_5
    tracks=pa.list_(TRACK),
    face_count=_int,  # most faces seen in one frame, those without a track too
    looked_at=_int,  # frames in which faces were looked for
    flags=pa.list_(_text),
)

OTHER_PERSON = _struct(
    track=_int,
    shot=_int,
    start_s=_float,
    end_s=_float,
    face_height=_float,  # median, as a share of the picture's height
    speaking=_float,  # as of the main person
    yaw_deg=_float,  # median
    gaze_yaw_deg=_float,  # median; null where the tool sees no gaze
    action_units=pa.list_(_struct(au=_text, mean=_float, max=_float, reliability=_text)),
)
MOMENT = _stage(
    main_person=_struct(
        track=_int,
        score=_float,
        speaking=_float,
        sure=_float,
        searched=_float,  # share of the frames of the shot on this track: no peak lies elsewhere
    ),
    shot=_int,
    face_coverage=_float,  # share of the frames of that shot in which the main person is seen
    head_pose=_struct(pitch_deg=_float, yaw_deg=_float, roll_deg=_float),  # at the peak
    face_track=pa.list_(_struct(time_s=_float, box=BOX, confidence=_float)),
    others=pa.list_(OTHER_PERSON),  # the tracks that are not the main person's, largest first
    gaze=_struct(pitch_deg=_float, yaw_deg=_float),  # at the peak, against the camera
    action_units=pa.list_(
        _struct(
            au=_text,
            name=_text,
            value_at_peak=_float,
            mean=_float,
            max=_float,
            onset_s=_float,
            apex_s=_float,
            offset_s=_float,
            duration_s=_float,  # offset less onset; null where one of them is not seen
            asymmetry_at_peak=_float,  # the person's left side minus the right, same scale
            rest=_text,  # as in the track: what values are measured against, or why there are none
            held=_bool,  # active through most of the track
            reliability=_text,
        )
    ),
    au_series=_struct(
        time_s=pa.list_(_float),
        values=pa.list_(_struct(au=_text, value=pa.list_(_float))),
    ),
    peaks=pa.list_(PEAK),
    peak_frame_index=_int,
    peak_time_s=_float,
    peak_score=_float,
    peak_verdict=_text,  # clear | weak | none
    peak_frame=_bytes,  # JPEG, at most 448 px on the long side
    face_crop=_bytes,  # JPEG, 224 x 224
    flags=pa.list_(_text),
)

TONE = _stage(
    tone=_text,  # a sentence fragment that reads after "the voice: ", without a full stop
    tone_source=_text,  # prosody_rules | audio_model
    words=pa.list_(
        _struct(
            feature=_text,
            word=_text,
            value=_float,  # null where a model heard it and nothing was measured
            unit=_text,
            reliability=_text,  # low: nobody but a model heard it; else null
        )
    ),
    arousal=_float,  # as measured
    arousal_word=_text,
    rate_syll_s=_float,
    rate_source=_text,  # transcript | nuclei
    cautions=pa.list_(_text),
    claims=pa.list_(  # what a model said of what can be measured; what contradicts is dropped
        _struct(feature=_text, claimed=_text, measured=_text, verdict=_text)
    ),  # verdict: agrees | adjacent | contradicts | not_measured
    background=pa.list_(_text),  # as a model heard it, as are the next two
    valence_hint=_text,  # pleasant | neither | unpleasant; in no text
    confidence=_text,  # low | medium | high, as the model says
)

SCENE_FACTS = _struct(
    shot_scale=_text,
    faces_in_view=_int,  # at the peak; null where a tool sees only one, or more than it tracks
    faces_most=_int,  # in one frame of the clip
    facing=_text,
    position=_text,
    light=_text,
    motion=_text,
    colour=_text,
    cuts=_int,
    face_height_share=_float,
    brightness=_float,
    contrast=_float,
    motion_value=_float,
    saturation=_float,  # of the peak picture without the face, 0..1
    warmth=_float,  # of the same pixels: (red - blue) / brightness, positive is warm
)

SCENE = _stage(
    scene=_text,
    scene_source=_text,  # measured_facts | vision_model
    scene_facts=SCENE_FACTS,
    scene_parts=_struct(  # as a model saw them
        people=_text,
        place=_text,
        posture=_text,
        gestures=pa.list_(_text),
        objects=pa.list_(_text),
    ),
    burned_in_text=_text,  # the subtitle in the picture, as a model read it: no evidence
    burned_in_status=_text,  # read | none_seen; null where nobody looked
)

LABEL = _stage(
    label_space=_text,
    label=_text,  # null when undecided
    label_source=_text,  # manifest | au_rules | llm_blind | review
    label_confidence=_float,
    label_candidates=pa.list_(CANDIDATE),
    label_runner_up=_text,  # the second candidate of the AU rules, and
    label_margin=_float,  # how far its score is behind the first
    open_labels=pa.list_(_text),
)

FINE = _stage(
    evidence=pa.list_(EVIDENCE),
    cues=pa.list_(CUE),
    conflicts=pa.list_(_text),
    fine_caption=_text,
    text_source=_text,  # composer | llm_blind | llm_told
    grounding=_float,  # share of claims that point to evidence, 0..1
    llm_label=_text,  # of the label space; what a model concludes from the evidence
    llm_confidence=_float,  # as it says, 0..1
    llm_agrees=_bool,  # with the label of the clip; null where there is none
    llm_votes=pa.list_(VOTE),  # most first; null where one answer was asked for
    second_label=_text,  # what the second model concludes from the same evidence
    second_agrees=_bool,  # with llm_label
    open_labels=pa.list_(_text),  # the model's own words, best first
    rejected_text=_text,  # what a model wrote and the check refused; no other stage may read it
    flags=pa.list_(_text),
)

STAGE_SCHEMAS: dict[str, pa.Schema] = {
    "probe": PROBE,
    "voice": VOICE,
    "transcript": TRANSCRIPT,
    "face": FACE,
    "moment": MOMENT,
    "tone": TONE,
    "scene": SCENE,
    "label": LABEL,
    "fine": FINE,
}
"""In the order in which the pipeline runs them."""
