"""The files of a clip: an mp4, and a sidecar with the words.

``bitexact`` keeps the version of the program and the time of day out of the files, and one thread
keeps the encoder from depending on the machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from generator.clips import FPS, HEIGHT_PX, WIDTH_PX
from generator.speech import SAMPLE_RATE_HZ

# FFmpeg makes mov_text from ASS, whose header names the fields of a line ("Dialogue").
ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,16

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


@dataclass(frozen=True)
class Caption:
    """A line of English text and when it is shown."""

    text: str
    start_s: float
    end_s: float


def write_clip(
    path: Path, frames: Iterable[np.ndarray], sound: np.ndarray | None, caption: Caption | None
) -> None:
    """Write an mp4: H.264, AAC if there is sound, mov_text if there is a caption.

    ``frames`` are RGB, uint8, height x width x 3; ``sound`` is mono float32 in -1..1.
    """
    options = {"fflags": "+bitexact", "movflags": "+faststart"}
    with av.open(str(path), "w", options=options) as container:
        # All streams must be known before the first packet is written.
        video = _add_video(container)
        audio = _add_audio(container) if sound is not None else None
        subtitles = _add_subtitles(container) if caption else None
        _mux_frames(container, video, frames)
        if audio:
            _mux_sound(container, audio, sound)
        if subtitles:
            container.mux(_encode_caption(subtitles, caption))


def _add_video(container: av.container.OutputContainer) -> av.video.stream.VideoStream:
    stream = container.add_stream("libx264", rate=FPS, width=WIDTH_PX, height=HEIGHT_PX)
    stream.pix_fmt = "yuv420p"
    stream.options = {"crf": "23", "preset": "slow", "threads": "1", "flags": "+bitexact"}
    return stream


def _add_audio(container: av.container.OutputContainer) -> av.audio.stream.AudioStream:
    stream = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
    stream.bit_rate = 64_000
    stream.options = {"flags": "+bitexact"}
    return stream


def _add_subtitles(container: av.container.OutputContainer) -> av.subtitles.stream.SubtitleStream:
    stream = container.add_stream("mov_text")
    stream.metadata["language"] = "eng"  # mp4 wants ISO 639-2
    stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
    stream.codec_context.subtitle_header = ASS_HEADER
    return stream


def _mux_frames(
    container: av.container.OutputContainer,
    stream: av.video.stream.VideoStream,
    pictures: Iterable[np.ndarray],
) -> None:
    for index, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, "rgb24")
        frame.pts, frame.time_base = index, Fraction(1, FPS)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _mux_sound(
    container: av.container.OutputContainer,
    stream: av.audio.stream.AudioStream,
    sound: np.ndarray,
) -> None:
    frame = av.AudioFrame.from_ndarray(sound[None], "fltp", "mono")
    frame.pts, frame.sample_rate = 0, SAMPLE_RATE_HZ
    frame.time_base = Fraction(1, SAMPLE_RATE_HZ)
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _encode_caption(stream: av.subtitles.stream.SubtitleStream, caption: Caption) -> av.Packet:
    dialogue = f"0,0,Default,,0,0,0,,{caption.text}".encode()
    subtitle = av.subtitles.subtitle.SubtitleSet.create(
        text=dialogue, start=0, end=round(1000 * (caption.end_s - caption.start_s))
    )
    packet = stream.codec_context.encode_subtitle(subtitle)
    packet.pts = packet.dts = round(1000 * caption.start_s)
    packet.time_base, packet.stream = Fraction(1, 1000), stream
    return packet


def write_srt(path: Path, caption: Caption) -> None:
    """One caption as a SubRip file."""
    times = f"{_srt_time(caption.start_s)} --> {_srt_time(caption.end_s)}"
    path.write_text(f"1\n{times}\n{caption.text}\n", "utf-8")


def _srt_time(time_s: float) -> str:
    """Hours, minutes, seconds and milliseconds: ``00:00:02,145``."""
    seconds, milliseconds = divmod(round(1000 * time_s), 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d},{milliseconds:03d}"
