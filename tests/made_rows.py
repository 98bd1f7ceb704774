"""Stage rows made by hand, as the annotation store gives them, for tests of what comes after.

``made_clip(7)`` and ``made_rows(clip)`` are a clip like any other: a face in 80 % of the frames, a
peak, words, a voice, a scene, a label, a text. A test changes what it is about::

    rows = made_rows(clip, moment={"face_coverage": 0.1}, voice=not_ok("skipped", "no_speech"))
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from merr_pipeline.schema import STAGE_SCHEMAS, Clip, ClipId, Row
from merr_pipeline.stage import Identity, digest

LABELS = ("happy", "sad", "angry", "surprise", "neutral")
FRAMES = 25


def made_clip(number: int, **facts: Any) -> Clip:
    """Clip ``clip_0007`` of the folder ``media``; ``facts`` are further fields of `Clip`."""
    clip_id = f"clip_{number:04d}"
    sha256 = hashlib.sha256(clip_id.encode()).hexdigest()
    media_path = f"media/{clip_id}.mp4"
    defaults: dict[str, Any] = {"licence": "cc-by-4.0"}
    return Clip(
        ClipId(clip_id), Path("/nowhere") / media_path, media_path, sha256, **defaults | facts
    )


def made_rows(clip: Clip, **changes: Mapping[str, Any] | None) -> dict[str, Row]:
    """Rows of all stages; per stage ``changes`` overrides columns, or leaves the row out (None)."""
    rows = {}
    for stage, payload in _payloads(clip).items():
        change = changes.get(stage, {})
        if change is not None:
            head = {"clip_id": clip.clip_id, "status": "ok", "input_key": f"{stage}-key"}
            row = {**head, **payload, **change}
            rows[stage] = _as_stored(stage, {**row, "row_hash": digest(row)})
    return rows


def not_ok(status: str, reason: str, detail: str | None = None) -> dict[str, Any]:
    """Columns of a row that a stage skipped or failed."""
    return {"status": status, "reason": reason, "detail": detail}


def made_identities() -> dict[str, Identity]:
    """An identity for every stage."""
    return {
        stage: Identity(stage, version=1, tool=f"{stage} tool", tool_version="1.2")
        for stage in STAGE_SCHEMAS
    }


@dataclass
class MadeStore:
    """Stands for the annotation store: answers `RowsOf` calls and remembers them."""

    rows: dict[str, dict[str, Row]] = field(default_factory=dict)
    calls: list[tuple[int, Mapping[str, Sequence[str]]]] = field(default_factory=list)

    def add(self, *clips: Clip, **changes: Mapping[str, Any] | None) -> None:
        for clip in clips:
            self.rows[clip.clip_id] = made_rows(clip, **changes)

    def __call__(
        self, clips: Sequence[Clip], columns: Mapping[str, Sequence[str]]
    ) -> Iterable[dict[str, Row]]:
        self.calls.append((len(clips), columns))
        for clip in clips:
            rows = self.rows[clip.clip_id]
            yield {
                stage: {name: rows[stage][name] for name in names}
                for stage, names in columns.items()
                if stage in rows
            }


def made_jpeg(seed: str, side_px: int) -> bytes:
    """A small picture that is another for every seed."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4])
    pixels = np.random.default_rng(number).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).resize((side_px, side_px)).save(sink, "JPEG", quality=90)
    return sink.getvalue()


def _as_stored(stage: str, row: Row) -> Row:
    (stored,) = pa.Table.from_pylist([row], schema=STAGE_SCHEMAS[stage]).to_pylist()
    return stored


def _payloads(clip: Clip) -> dict[str, Row]:
    number = int(clip.sha256[:6], 16)
    times = [round(i / 25, 3) for i in range(FRAMES)]
    box = {"x": 10.0, "y": 8.0, "width": 30.0, "height": 36.0}
    label = LABELS[number % len(LABELS)]
    smile = [round(2.0 + np.sin(time + number), 3) for time in times]
    return {
        "probe": {
            "kind": "video",
            "duration_s": 1.0,
            "fps": 25.0,
            "width": 64,
            "height": 48,
            "frame_count": FRAMES,
            "frame_times_s": times,
            "has_sound": True,
            "shots": [
                {
                    "start_s": 0.0,
                    "end_s": 1.0,
                    "start_frame": 0,
                    "end_frame": FRAMES,
                    "fade_frames": 0,
                }
            ],
        },
        "voice": {
            "speech_s": 0.8,
            "pauses": [0.3],
            "prosody": {
                "f0_median_hz": 180.0,
                "octave_outlier_share": 0.1,
                "rate_syll_s": 4.0,
                "snr_db": 15.0,
            },
            "flags": ["music"],
        },
        "transcript": {
            "transcript": f"words of {clip.clip_id}",
            "transcript_source": "sidecar",
            "text_language": "en",
            "spoken_language": "en",
            "is_translation": False,
            "segments": [{"start_s": 0.1, "end_s": 0.9, "text": f"words of {clip.clip_id}"}],
            "turns": [{"speaker": None, "start_s": 0.1, "end_s": 0.9}],
        },
        "face": {"face_tool": "made", "au_scale": "intensity_0_5", "face_count": 1},
        "moment": {
            "main_person": {
                "track": 0,
                "score": 0.9,
                "speaking": None,
                "sure": 1.0,
                "searched": 0.9,
            },
            "shot": 0,
            "face_coverage": 0.8,
            "head_pose": {"pitch_deg": 1.0, "yaw_deg": -2.0, "roll_deg": 0.0},
            "face_track": [{"time_s": time, "box": box, "confidence": 0.9} for time in times],
            "action_units": [
                {
                    "au": "AU12",
                    "name": "lip corner puller",
                    "value_at_peak": max(smile),
                    "mean": 2.0,
                    "max": max(smile),
                    "onset_s": 0.2,
                    "offset_s": None,
                    "reliability": "moderate",
                }
            ],
            "au_series": {"time_s": times, "values": [{"au": "AU12", "value": smile}]},
            "peaks": [{"frame_index": 12, "time_s": 0.48, "score": 2.5, "verdict": "clear"}],
            "peak_frame_index": 12,
            "peak_time_s": 0.48,
            "peak_score": 2.5,
            "peak_verdict": "clear",
            "peak_frame": made_jpeg(f"{clip.clip_id} frame", 64),
            "face_crop": made_jpeg(f"{clip.clip_id} crop", 32),
        },
        "tone": {
            "tone": "a raised pitch",
            "tone_source": "prosody_rules",
            "arousal": 0.6,
            "rate_syll_s": 4.4,
            "rate_source": "transcript",
        },
        "scene": {
            "scene": "A person who faces the camera",
            "scene_source": "measured_facts",
            "scene_facts": {"faces_in_view": 1, "light": "even", "facing": "faces the camera"},
        },
        "label": {
            "label_space": "merr9",
            "label": label,
            "label_source": "manifest",
            "label_confidence": 1.0,
            "label_candidates": [
                {"label": label, "score": 1.0, "source": "manifest"},
                {"label": "happy", "score": 0.7, "source": "au_rules"},
            ],
            "open_labels": [],
        },
        "fine": {
            "evidence": [
                {
                    "id": "E1",
                    "modality": "face",
                    "text": f"AU12 lip corner puller: {max(smile):.2f} of 5 at 0.48 s",
                    "time_s": 0.48,
                    "value": max(smile),
                    "scale": "intensity_0_5",
                    "reliability": "moderate",
                },
                {"id": "E2", "modality": "voice", "text": "pitch level: raised (180 Hz)"},
                {
                    "id": "E3",
                    "modality": "words",
                    "text": f'transcript (sidecar, en): "words of {clip.clip_id}"',
                    "time_s": 0.1,
                },
                {"id": "E4", "modality": "scene", "text": "facing: faces the camera"},
            ],
            "cues": [{"evidence_id": "E1", "reading": "described, not interpreted"}],
            "conflicts": [],
            "fine_caption": "In the video, the person's face shows lip corners pulled up. "
            f'The words are "words of {clip.clip_id}".',
            "text_source": "composer",
            "grounding": 1.0,
            **dict.fromkeys(("llm_label", "llm_confidence", "llm_agrees", "llm_votes")),
            **dict.fromkeys(("second_label", "second_agrees", "open_labels")),
        },
    }
