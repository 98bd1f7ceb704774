"""What is known of the clips: ``truth/<clip_id>.json``, and the manifest that a build reads."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from generator.clips import FPS, Clip, Speech
from generator.portraits import Portrait


def write_truth(path: Path, clip: Clip, speech_end_s: float | None) -> None:
    """Write what is known of a clip; ``speech_end_s`` is None when nobody speaks."""
    truth = json.dumps(truth_of(clip, speech_end_s), indent=2, ensure_ascii=False)
    path.write_text(truth + "\n", "utf-8")


def truth_of(clip: Clip, speech_end_s: float | None) -> dict[str, object]:
    """What is known of a clip; frames count from 0."""
    movement = clip.movement
    return {
        "clip_id": clip.clip_id,
        "expression": clip.expression,
        "action_units": list(clip.action_units),
        "frame_count": clip.frame_count,
        "fps": FPS,
        "onset_frame": movement.onset_frame if movement else None,
        "apex_frame": movement.apex_frame if movement else None,
        "offset_frame": movement.offset_frame if movement else None,
        "cut_frame": clip.cut_frame,
        "blink_frame": clip.blink.apex_frame if clip.blink else None,
        "speech": _truth_of_speech(clip.speech, speech_end_s) if clip.speech else None,
        "has_sound": clip.speech is not None,
        "label": clip.label,
    }


def _truth_of_speech(speech: Speech, end_s: float) -> dict[str, object]:
    return {
        "text": speech.text,
        "language": speech.language,
        "start_s": speech.start_s,
        "end_s": round(end_s, 3),
        "words_in": speech.words_in,
    }


def write_manifest(path: Path, clips: Sequence[Clip], portraits: Mapping[str, Portrait]) -> None:
    """One row for each clip."""
    rows = [manifest_row(clip, portraits[clip.speaker_id]) for clip in clips]
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def manifest_row(clip: Clip, portrait: Portrait) -> dict[str, str]:
    """What the manifest says of a clip; an empty cell says nothing."""
    speech = clip.speech
    return {
        "clip_id": clip.clip_id,
        "path": f"clips/{clip.clip_id}.mp4",
        "label": clip.label or "",
        "transcript": speech.text if speech and speech.words_in == "manifest" else "",
        "language": speech.language if speech else "",
        "speaker_id": clip.speaker_id,
        "source_id": portrait.source_id,
        "licence": "public-domain",
    }
