"""Rows of the ``probe`` and ``face`` stages made by hand, with known onset, apex and offset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from merr_pipeline.emotion.facs import load_action_units

UNITS = load_action_units()


def times(frames: int, fps: float = 25.0) -> list[float]:
    return [round(index / fps, 3) for index in range(frames)]


def bump(time_s: Sequence[float], onset_s: float, apex_s: float, offset_s: float, height: float):
    """A raised cosine from 0 up to ``height`` at the apex and down again."""
    at = np.asarray(time_s)
    rise = (1 - np.cos(np.pi * np.clip((at - onset_s) / (apex_s - onset_s), 0, 1))) / 2
    fall = (1 + np.cos(np.pi * np.clip((at - apex_s) / (offset_s - apex_s), 0, 1))) / 2
    return height * np.where(at <= apex_s, rise, fall)


def noise(frames: int, sd: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, sd, frames)


def make_probe(
    frame_times_s: Sequence[float],
    cuts: Sequence[int] = (),
    *,
    size: tuple[int, int] = (640, 480),
    **changes: Any,
) -> dict[str, Any]:
    """A probe row; ``cuts`` are the first frames of the later shots."""
    step_s = frame_times_s[-1] / max(1, len(frame_times_s) - 1)
    edges = [*frame_times_s, round(frame_times_s[-1] + step_s, 3)]
    borders = [0, *cuts, len(frame_times_s)]
    shots = [
        {"start_s": edges[a], "end_s": edges[b], "start_frame": a, "end_frame": b, "fade_frames": 0}
        for a, b in pairwise(borders)
    ]
    row = {
        "status": "ok",
        "reason": None,
        "detail": None,
        "kind": "video",
        "width": size[0],
        "height": size[1],
        "frame_count": len(frame_times_s),
        "frame_times_s": list(frame_times_s),
        "duration_s": edges[-1],
        "shots": shots,
        "brightness": 0.4,
        "contrast": 0.2,
        "dark_share": 0.0,
        "motion": 0.005,
        "bars": {"top": 0, "bottom": 0, "left": 0, "right": 0},
    }
    return {**row, **changes}


def make_track(
    time_s: Sequence[float],
    units: Mapping[str, Sequence[float | None]],
    *,
    first_frame: int = 0,
    absolute: Mapping[str, Sequence[float | None]] | None = None,
    box: tuple[float, float, float, float] = (220.0, 120.0, 200.0, 240.0),
    track: int = 0,
    shot: int = 0,
    confidence: float = 0.95,
    yaw_deg: Sequence[float | None] | None = None,
    mouth_open: Sequence[float | None] | None = None,
    tool: str = "openface",
) -> dict[str, Any]:
    """A face track; NaN and None are null, ``first_frame`` is the frame of the first time."""
    frames = len(time_s)
    supported = UNITS.tools[tool].aus
    return {
        "track": track,
        "shot": shot,
        "frame_index": list(range(first_frame, first_frame + frames)),
        "time_s": list(time_s),
        "box": [dict(zip(("x", "y", "width", "height"), box, strict=True))] * frames,
        "confidence": [confidence] * frames,
        "pitch_deg": [0.0] * frames,
        "yaw_deg": list(yaw_deg) if yaw_deg is not None else [0.0] * frames,
        "roll_deg": [0.0] * frames,
        "gaze_pitch_deg": [None] * frames,
        "gaze_yaw_deg": [None] * frames,
        "mouth_open": list(mouth_open) if mouth_open is not None else [None] * frames,
        "action_units": [
            {
                "au": au,
                "reliability": supported[au].reliability,
                "value": _nulls(values),
                "absolute": _nulls(absolute[au]) if absolute and au in absolute else None,
                "asymmetry": None,
                "rest": "own" if tool in ("facemesh", "blendshapes") else None,
            }
            for au, values in units.items()
        ],
    }


def make_face(
    tracks: Sequence[dict[str, Any]], *, tool: str = "openface", **changes: Any
) -> dict[str, Any]:
    row = {
        "status": "ok",
        "reason": None,
        "detail": None,
        "face_tool": tool,
        "tool_version": "1",
        "au_scale": UNITS.tools[tool].scale,
        "tracks": list(tracks),
        "face_count": 1,
        "looked_at": None,
        "flags": [],
    }
    return {**row, **changes}


def make_voice(
    envelope_db: Sequence[float] = (), segments: Sequence[tuple[float, float]] = ()
) -> dict[str, Any]:
    """A ``voice`` row with speech in those spans; without any, a clip without sound."""
    return {
        "status": "ok" if segments else "skipped",
        "reason": None if segments else "no_audio_stream",
        "segments": [{"start_s": start_s, "end_s": end_s} for start_s, end_s in segments],
        "speech_uncertain": False,
        "envelope_db": list(envelope_db),
        "envelope_step_s": 0.04,
    }


def no_face(status: str = "skipped", reason: str = "no_face") -> dict[str, Any]:
    return {"status": status, "reason": reason, "detail": None, "au_scale": None, "tracks": None}


def _nulls(values: Sequence[float | None]) -> list[float | None]:
    return [
        None if value is None or np.isnan(value) else round(float(value), 3) for value in values
    ]
