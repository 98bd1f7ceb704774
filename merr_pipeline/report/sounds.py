"""What a clip of the gallery sounds like: its spectrogram, and the pitch that was followed in it.

The dataset keeps numbers and no sound, so this is drawn from the clips themselves, where they are
still at hand and still the ones that the dataset was made of.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import scipy.signal

from merr_pipeline.media import read_sound
from merr_pipeline.schema import Row
from merr_pipeline.speech.pitch import PitchTrack, track_pitch
from merr_pipeline.stage import NotOk

RATE_HZ = 16_000
LOWEST_HZ, HIGHEST_HZ = 60.0, 8_000.0  # of the picture, whose height is logarithmic
PITCH_FLOOR_HZ, PITCH_CEILING_HZ = 75.0, 600.0  # as `voice` searches unless told otherwise
WINDOW_S, RANGE_DB = 0.04, 70.0
WIDTH_PX, HEIGHT_PX, QUALITY = 720, 128, 80
UNITS_ACROSS, UNITS_DOWN = 1000.0, 100.0  # of the drawing over it
LONGEST_S = 60.0
"""A longer clip has no spectrogram: nobody can read one so narrow."""


@dataclass(frozen=True)
class Heard:
    """One spectrogram."""

    picture: str  # data URI
    pitch: list[str]  # points of polylines, 1000 across and 100 down
    duration_s: float
    lowest_hz: float = LOWEST_HZ
    highest_hz: float = HIGHEST_HZ


def heard(row: Row, clips: Path | None) -> Heard | None:
    """The spectrogram of a clip; None without sound, without its file, or of another file.

    Args:
        row: of ``clips``, with ``media_path`` and ``sha256``.
        clips: the input folder of the build, if it is at hand.
    """
    if clips is None or not row["media_path"] or (row["duration_s"] or 0) > LONGEST_S:
        return None
    path = clips / row["media_path"]
    try:
        if hashlib.sha256(path.read_bytes()).hexdigest() != row["sha256"]:
            return None
        samples = read_sound(path, RATE_HZ).samples
    except (OSError, NotOk):
        return None
    if len(samples) < WINDOW_S * RATE_HZ or not samples.any():
        return None
    duration_s = len(samples) / RATE_HZ
    track = track_pitch(samples, RATE_HZ, PITCH_FLOOR_HZ, PITCH_CEILING_HZ)
    return Heard(_picture(samples), _lines(track, duration_s), round(duration_s, 3))


def _picture(samples: np.ndarray) -> str:
    """Power in dB under the loudest, low tones below."""
    size = int(WINDOW_S * RATE_HZ)
    padded = np.pad(samples.astype(np.float64), size // 2)
    step = max(1, len(samples) // WIDTH_PX)
    _, _, spectrum = scipy.signal.stft(
        padded, RATE_HZ, nperseg=size, noverlap=size - min(step, size), boundary=None, padded=False
    )
    level_db = 20 * np.log10(np.abs(spectrum) + 1e-9)
    rows_hz = np.geomspace(HIGHEST_HZ, LOWEST_HZ, HEIGHT_PX)
    level_db = level_db[np.round(rows_hz * size / RATE_HZ).astype(int)]
    shades = np.clip((level_db - level_db.max()) / RANGE_DB + 1, 0, 1) * 255
    sized = cv2.resize(shades.astype(np.uint8), (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_AREA)
    coloured = cv2.applyColorMap(sized, cv2.COLORMAP_INFERNO)
    written, content = cv2.imencode(".jpg", coloured, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert written
    return f"data:image/jpeg;base64,{base64.b64encode(content.tobytes()).decode()}"


def _lines(track: PitchTrack, duration_s: float) -> list[str]:
    """One line for each stretch with a pitch."""
    edges = np.flatnonzero(np.diff(np.r_[False, track.voiced, False]))
    height = np.log(HIGHEST_HZ / np.maximum(track.f0_hz, LOWEST_HZ)) / np.log(
        HIGHEST_HZ / LOWEST_HZ
    )
    across, down = track.time_s / duration_s * UNITS_ACROSS, height * UNITS_DOWN
    return [
        " ".join(f"{across[i]:.1f},{down[i]:.1f}" for i in range(first, last))
        for first, last in zip(edges[::2], edges[1::2], strict=True)
        if last - first > 1
    ]
