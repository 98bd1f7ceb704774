"""Small media with known truth: each test makes its own clip, so that it knows every frame."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from scipy.signal import lfilter

MILLISECOND = Fraction(1, 1000)
VIDEO_CODECS = {".webm": "libvpx", ".avi": "mpeg4"}  # else H.264
SOUND_CODECS = {".webm": "libopus", ".avi": "pcm_s16le", ".mkv": "pcm_s16le", ".mov": "pcm_s16le"}
SUBTITLE_CODECS = {".mp4": "mov_text", ".mov": "mov_text", ".mkv": "subrip"}

Picture = int | np.ndarray
"""A flat grey (0 to 255), or uint8: height x width (grey) or height x width x 3 (RGB)."""


def write_clip(
    path: Path,
    frames: Mapping[int, Picture],
    *,
    size: tuple[int, int] = (64, 48),
    sound: np.ndarray | None = None,
    sound_rate_hz: int = 16_000,
    sound_start_ms: int = 0,
    subtitles: Sequence[tuple[int, int, str]] = (),
    subtitle_language: str = "eng",
    clockwise_deg: int = 0,
    mirrored: bool = False,
    pixel_format: str = "yuv420p",
) -> Path:
    """Write a video; its container and codecs follow the suffix (.mp4 .mov .mkv .webm .avi).

    ``frames`` gives for each time in ms a picture; ``size`` is width and height of flat ones.
    ``sound`` is float, samples or channels x samples. Subtitles are (start ms, end ms, text).
    ``clockwise_deg`` and ``mirrored`` (.mp4, .mov) are how a player shall turn the stored picture.
    """
    pictures = {time_ms: _rgb(picture, size) for time_ms, picture in frames.items()}
    with av.open(path, "w") as container:
        video = _video_stream(container, path.suffix, next(iter(pictures.values())))
        video.pix_fmt = pixel_format
        audio = None if sound is None else _sound_stream(container, path, sound, sound_rate_hz)
        text = _subtitle_stream(container, path.suffix, subtitle_language) if subtitles else None
        for time_ms, picture in pictures.items():
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = time_ms, MILLISECOND
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None and sound is not None:
            _write_sound(container, audio, sound, sound_rate_hz, sound_start_ms)
        for cue in subtitles:
            container.mux(_subtitle_packet(text, cue))
    if clockwise_deg or mirrored:
        _set_display_matrix(path, clockwise_deg, mirrored)
    return path


def at_rate(pictures: Sequence[Picture], rate: float = 25, start_ms: int = 0) -> dict[int, Picture]:
    """Pictures one after another: ``at_rate([20] * 25)`` is a second of one grey."""
    return {start_ms + round(1000 * i / rate): picture for i, picture in enumerate(pictures)}


def texture(seed: int, width: int = 128, height: int = 96, grain: int = 8) -> np.ndarray:
    """A still grey picture with blocks of ``grain`` pixels; another seed is another scene."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(30, 220, (-(-height // grain), -(-width // grain)), dtype=np.uint8)
    return np.kron(blocks, np.ones((grain, grain), np.uint8))[:height, :width]


def write_sound(path: Path, sound: np.ndarray, rate_hz: int = 16_000) -> Path:
    """Write a file of sound alone (.wav .m4a .mp3 .flac)."""
    codec = {".wav": "pcm_s16le", ".mp3": "mp3", ".flac": "flac"}.get(path.suffix, "aac")
    with av.open(path, "w") as container:
        stream = _sound_stream(container, path, sound, rate_hz, codec)
        _write_sound(container, stream, sound, rate_hz, 0)
    return path


def sine(frequency_hz: float, duration_s: float, level: float = 0.3, rate_hz: int = 16_000):
    """A pure tone with amplitude ``level``."""
    times_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    return (level * np.sin(2 * np.pi * frequency_hz * times_s)).astype(np.float32)


def silence(duration_s: float, rate_hz: int = 16_000) -> np.ndarray:
    """Digital silence."""
    return np.zeros(round(duration_s * rate_hz), np.float32)


def noise(duration_s: float, level: float = 0.01, seed: int = 0, rate_hz: int = 16_000):
    """White noise with standard deviation ``level``."""
    rng = np.random.default_rng(seed)
    return (level * rng.standard_normal(round(duration_s * rate_hz))).astype(np.float32)


def voice(
    f0_hz: float | np.ndarray,
    duration_s: float,
    *,
    syllables_per_s: float = 4.0,
    level: float = 0.3,
    rate_hz: int = 16_000,
) -> np.ndarray:
    """A voice-like sound: a pulse train through the formants of an "a", opened and closed.

    ``f0_hz`` is the pitch, or its course (any number of points, spread over the duration). The
    number of syllables is exact: ``round(syllables_per_s * duration_s)``.
    """
    count = round(duration_s * rate_hz)
    course = np.interp(
        np.linspace(0, 1, count), np.linspace(0, 1, np.size(f0_hz)), np.atleast_1d(f0_hz)
    )
    phase = np.cumsum(course / rate_hz)
    wave = np.diff(np.floor(phase), prepend=0.0)
    for frequency_hz, width_hz in ((700, 90), (1220, 110), (2600, 160), (3300, 250)):
        radius = np.exp(-np.pi * width_hz / rate_hz)
        pole = -2 * radius * np.cos(2 * np.pi * frequency_hz / rate_hz)
        wave = lfilter([1 + pole + radius**2], [1, pole, radius**2], wave)
    turns = round(syllables_per_s * duration_s) * np.arange(count) / count
    opening = np.sin(np.pi * (turns % 1)) ** 0.6
    wave = lfilter([1, -1], [1, -0.98], wave) * opening
    return (level * wave / np.abs(wave).max()).astype(np.float32)


def _rgb(picture: Picture, size: tuple[int, int]) -> np.ndarray:
    if isinstance(picture, np.ndarray):
        return picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2)
    return np.full((size[1], size[0], 3), picture, np.uint8)


def _video_stream(container, suffix: str, picture: np.ndarray):
    codec = VIDEO_CODECS.get(suffix, "libx264")
    rate = 25 if suffix == ".avi" else 1000  # AVI counts frames; it has no times
    stream = container.add_stream(codec, rate=rate)
    stream.height, stream.width = picture.shape[:2]
    stream.codec_context.time_base = Fraction(1, rate)
    if codec == "libx264":
        stream.options = {"preset": "veryfast", "crf": "8"}
    else:
        stream.bit_rate = 2_000_000
    return stream


def _sound_stream(container, path: Path, sound: np.ndarray, rate_hz: int, codec: str | None = None):
    stream = container.add_stream(codec or SOUND_CODECS.get(path.suffix, "aac"), rate=rate_hz)
    stream.layout = "stereo" if sound.ndim == 2 else "mono"
    return stream


def _write_sound(container, stream, sound: np.ndarray, rate_hz: int, start_ms: int) -> None:
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(np.atleast_2d(sound), np.float32), "fltp", stream.layout.name
    )
    frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
    frame.pts = round(start_ms * rate_hz / 1000)
    context = stream.codec_context
    context.open(strict=False)
    resampler = av.AudioResampler(
        context.format, context.layout, context.rate, frame_size=context.frame_size or None
    )
    for part in [*resampler.resample(frame), *resampler.resample(None)]:
        container.mux(stream.encode(part))
    container.mux(stream.encode(None))


ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,16

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def _subtitle_stream(container, suffix: str, language: str):
    stream = container.add_stream(SUBTITLE_CODECS[suffix])
    stream.codec_context.subtitle_header = ASS_HEADER
    stream.codec_context.time_base = stream.time_base = MILLISECOND
    stream.metadata["language"] = language
    return stream


def _subtitle_packet(stream, cue: tuple[int, int, str]):
    start_ms, end_ms, text = cue
    event = f"0,0,Default,,0,0,0,,{text}".encode()
    subtitle = av.subtitles.subtitle.SubtitleSet.create(event, 0, end_ms - start_ms)
    packet = stream.codec_context.encode_subtitle(subtitle)
    packet.stream, packet.time_base = stream, MILLISECOND
    packet.pts = packet.dts = start_ms
    packet.duration = end_ms - start_ms
    return packet


def _set_display_matrix(path: Path, clockwise_deg: int, mirrored: bool) -> None:
    """Overwrite the matrix in the header of the first track (``tkhd``, ISO 14496-12)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd")
    a, b, c, d = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[
        clockwise_deg
    ]
    if mirrored:
        a, c = -a, -c
    one = 1 << 16
    matrix = (a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    data[at + 44 : at + 80] = struct.pack(">9i", *matrix)
    path.write_bytes(data)
