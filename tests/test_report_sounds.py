"""The spectrogram of a clip in the report: of the right file, at the right pitch and time."""

from __future__ import annotations

import base64
import hashlib
import wave
from pathlib import Path

import cv2
import numpy as np
import pytest
from builds import merr, rows

from merr_pipeline.report.sounds import HIGHEST_HZ, LOWEST_HZ, Heard, heard

RATE_HZ = 16_000


def sound(path: Path, samples: np.ndarray) -> dict[str, object]:
    """Write a sound; the columns of ``clips`` that lead to it."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((samples * 20_000).astype("<i2").tobytes())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"media_path": path.name, "sha256": digest, "duration_s": len(samples) / RATE_HZ}


def voice(pitch_hz: float) -> np.ndarray:
    """Half a second of silence, a second of ten harmonics, half a second of silence."""
    at_s = np.arange(RATE_HZ) / RATE_HZ
    tone = sum(np.sin(2 * np.pi * pitch_hz * n * at_s) / n for n in range(1, 11)) / 3
    rest = np.zeros(RATE_HZ // 2)
    return np.concatenate([rest, tone, rest])


def points(found: Heard) -> np.ndarray:
    pairs = " ".join(found.pitch).split()
    return np.array([[float(number) for number in pair.split(",")] for pair in pairs])


def picture(found: Heard) -> np.ndarray:
    content = base64.b64decode(found.picture.partition(",")[2])
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)


@pytest.mark.parametrize("pitch_hz", [110.0, 220.0])
def test_pitch_stands_where_it_was_sung(tmp_path, pitch_hz):
    found = heard(sound(tmp_path / "a.wav", voice(pitch_hz)), tmp_path)

    assert found is not None
    assert found.duration_s == 2.0
    across, down = points(found).T
    assert across.min() == pytest.approx(250, abs=15)
    assert across.max() == pytest.approx(750, abs=15)
    height = 100 * np.log(HIGHEST_HZ / pitch_hz) / np.log(HIGHEST_HZ / LOWEST_HZ)
    assert np.median(down) == pytest.approx(height, abs=0.5)


def test_the_picture_is_bright_at_the_pitch_and_dark_in_silence(tmp_path):
    found = heard(sound(tmp_path / "a.wav", voice(220.0)), tmp_path)

    assert found is not None
    shades = picture(found)
    assert shades.shape == (128, 720)
    rows_hz = np.geomspace(HIGHEST_HZ, LOWEST_HZ, 128)
    at_pitch = int(np.argmin(np.abs(rows_hz - 220)))
    assert shades[at_pitch - 2 : at_pitch + 3, 300:420].max() > 200
    assert shades[:, :150].max() < 30
    assert shades[:, 570:].max() < 30


def test_another_file_under_the_name_is_not_shown(tmp_path):
    row = sound(tmp_path / "a.wav", voice(220.0))
    sound(tmp_path / "a.wav", voice(110.0))

    assert heard(row, tmp_path) is None


@pytest.mark.parametrize(
    "samples", [np.zeros(RATE_HZ), np.ones(100)], ids=["silence", "6 milliseconds"]
)
def test_what_cannot_be_heard_is_not_drawn(tmp_path, samples):
    assert heard(sound(tmp_path / "a.wav", samples), tmp_path) is None


def test_without_the_clips_nothing_is_drawn(tmp_path):
    row = sound(tmp_path / "a.wav", voice(220.0))
    (tmp_path / "a.wav").unlink()

    assert heard(row, tmp_path) is None
    assert heard(row, None) is None
    assert heard({**row, "media_path": None}, tmp_path) is None


@pytest.mark.long
def test_a_build_shows_the_sound_of_its_clips(samples_build, tmp_path):
    merr("report", samples_build, "--to", tmp_path / "page.html")

    page = (tmp_path / "page.html").read_text("utf-8")
    with_sound = [row for row in rows(samples_build, "clips") if row["has_sound"]]
    assert page.count('class="plot sound"') == len(with_sound) > 0
