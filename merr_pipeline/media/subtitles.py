"""Text subtitles inside a media file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merr_pipeline.media.container import Lost, decode, open_media, packets, video_stream


@dataclass(frozen=True)
class SubtitleCue:
    """A line of an embedded subtitle: text as stored (ASS markup), ``speaker`` if named."""

    start_s: float
    end_s: float | None
    text: str
    speaker: str | None = None


@dataclass(frozen=True)
class SubtitleTrack:
    """One embedded text subtitle stream. ``language`` as the file names it (often ISO 639-2)."""

    language: str | None
    codec: str
    cues: tuple[SubtitleCue, ...]


def read_subtitles(path: Path) -> list[SubtitleTrack]:
    """The embedded text subtitles of a clip, on its clock; pictures of text are left out.

    Raises:
        NotOk: as `open_media`.
    """
    lost = Lost()
    with open_media(path) as container:
        tracks = [s for s in container.streams.subtitles if s.codec_context is not None]
        if not tracks:
            return []
        video = video_stream(container)
        zero_s: float | None = None
        cues: dict[int, list[SubtitleCue]] = {stream.index: [] for stream in tracks}
        for packet in packets(container, [*tracks, *([video] if video else [])], lost):
            if packet.stream is not video:
                cues[packet.stream.index] += _cues(packet, lost)
            elif zero_s is None and video.codec_context is not None:
                zero_s = next((f.time for f in decode(packet, Lost())), None)
        moved = _mover(zero_s or 0.0)
        return [  # inside: streams die with their container
            SubtitleTrack(stream.language, stream.codec_context.name, tuple(map(moved, found)))
            for stream in tracks
            if (found := cues[stream.index])
        ]


def _cues(packet: Any, lost: Lost) -> list[SubtitleCue]:
    if not packet.size or packet.pts is None:
        return []
    start_s = float(packet.pts * packet.time_base)
    end_s = start_s + float(packet.duration * packet.time_base) if packet.duration else None
    found = []
    for item in decode(packet, lost):
        if item.type in (b"ass", b"text"):
            speaker, text = _ass_event(item)
            found += [SubtitleCue(start_s, end_s, text, speaker)] if text.strip() else []
    return found


def _ass_event(item: Any) -> tuple[str | None, str]:
    """Speaker and text of ``ReadOrder,Layer,Style,Name,MarginL,MarginR,MarginV,Effect,Text``."""
    parts = item.ass.decode("utf-8", "replace").split(",", 8)
    if len(parts) < 9:
        return None, item.text.decode("utf-8", "replace")
    return parts[3].strip() or None, parts[8].rstrip("\r\n")


def _mover(zero_s: float) -> Callable[[SubtitleCue], SubtitleCue]:
    def moved(cue: SubtitleCue) -> SubtitleCue:
        end_s = None if cue.end_s is None else cue.end_s - zero_s
        return SubtitleCue(cue.start_s - zero_s, end_s, cue.text, cue.speaker)

    return moved
