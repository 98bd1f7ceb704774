"""The words in a line of subtitles: without markup, notes on sounds, and speakers' names.

The same for sidecars and embedded tracks.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Cue:
    """A piece of text with its times on the clip's clock; null where the file has none."""

    start_s: float | None
    end_s: float | None
    text: str
    speaker: str | None = None
    is_ass: bool = False  # the text has ASS markup


VOICE_TAG = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]{1,80})>", re.IGNORECASE)  # WebVTT
TAG = re.compile(r"</?[A-Za-z][^<>]{0,200}>|<\d[\d:.]*>")
OVERRIDE = re.compile(r"\{\\[^}]*\}")
COMMENT = re.compile(r"\{[^}]*\}")
DRAWING = re.compile(r"\{[^}]*\\p[1-9][^}]*\}")  # the text is the outline of a shape
SOUNDS = re.compile(
    r"\[[^\]]{0,200}\]|\([^)]{0,200}\)|（[^）]{0,200}）|【[^】]{0,200}】|[♪♫][^♪♫]*[♪♫]*"
)
NAME = re.compile(r"(?:[-–—]\s*)?([A-ZÀ-ÖØ-Þ][A-ZÀ-ÖØ-Þ0-9 .'’-]{0,30}):(?:\s+|$)")
DASH = re.compile(r"^[-–—]\s*(?!\d)")


def cues_of(raw: Cue) -> tuple[list[Cue], int]:
    """The words of a raw cue, one cue per named speaker, and how many sounds were left out."""
    text, speaker = raw.text, raw.speaker
    if raw.is_ass:
        text = "" if DRAWING.search(text) else COMMENT.sub("", text)
        text = text.replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")
    voice = VOICE_TAG.search(text)
    speaker = voice[1].strip() if voice else speaker
    text = html.unescape(TAG.sub("", OVERRIDE.sub("", text)))
    text, sounds = SOUNDS.subn(" ", text)
    spoken = _by_speaker(text, speaker)
    cues = [replace(raw, text=said, speaker=who, is_ass=False) for who, said in spoken if said]
    return cues, sounds


def _by_speaker(text: str, speaker: str | None) -> list[tuple[str | None, str]]:
    """Lines put together until another ``NAME:`` speaks; dashes at the start of lines go."""
    parts: list[tuple[str | None, list[str]]] = [(speaker, [])]
    for line in map(str.strip, text.split("\n")):
        named = NAME.match(line)
        if named:
            parts.append((named[1].strip(), []))
        parts[-1][1].append(line[named.end() :] if named else DASH.sub("", line))
    return [(who, tidy(" ".join(lines))) for who, lines in parts]


def tidy(text: str) -> str:
    """Every run of white space as one blank, none at the ends."""
    return " ".join(text.split())
