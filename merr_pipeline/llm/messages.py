"""What a model is told: messages of text, pictures and sound, as they are sent and as they count.

Token counts made here are estimates, for limits, budgets and forecasts; what a server says it used
replaces them as soon as it answers.
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import PIL.Image

from merr_pipeline.llm.prices import Usage

AudioPart = Literal["input_audio", "audio_url"]

ASCII_PER_TOKEN = 4  # of English; other letters count one token each
PATCH_PX = 28  # one token for each patch of this side (Qwen's vision models; others are near it)
TOKENS_PER_S = 25  # of sound (Qwen's audio models; OpenAI's take 10)
TOKENS_PER_MESSAGE = 4  # what chat templates put around each


@dataclass(frozen=True)
class Picture:
    """An encoded picture: the bytes of a JPEG or PNG file."""

    data: bytes
    kind: Literal["jpeg", "png"] = "jpeg"


@dataclass(frozen=True)
class Sound:
    """Encoded sound: the bytes of a WAV or MP3 file, and how long it is."""

    data: bytes
    duration_s: float
    kind: Literal["wav", "mp3"] = "wav"


Part = str | Picture | Sound


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[Part, ...]


_STEERS = re.compile(r"[<>`]|\[(?=\s*/?\s*[A-Z])|[^ -~]")


def as_plain(text: str) -> str:
    """The text with what could steer a chat template, or a terminal, written as escapes of JSON.

    These are ``<``, ``>``, the backtick, a bracket that opens a word in capitals (``[/INST]``), and
    all that does not print: control and format characters, line ends, blanks of other widths.
    """
    return _STEERS.sub(lambda found: _escaped(found[0]), text)


def _escaped(letter: str) -> str:
    if letter.isprintable() and letter not in "<>`[":
        return letter
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n]:02x}{units[n + 1]:02x}" for n in range(0, len(units), 2))


def system(text: str) -> Message:
    """What the model is told to be and do."""
    return Message("system", (text,))


def user(*parts: Part) -> Message:
    """What it is asked, in the order in which it reads it."""
    return Message("user", parts)


def as_sent(messages: Sequence[Message], audio_part: AudioPart) -> list[dict[str, Any]]:
    """The messages as the chat completions protocol has them; media inline, as base64."""
    return [
        {"role": message.role, "content": _content(message.parts, audio_part)}
        for message in messages
    ]


def as_hashed(messages: Sequence[Message]) -> list[Mapping[str, Any]]:
    """The messages as canonical JSON has them (see `stage.digest`, which hashes the media)."""
    return [
        {"role": message.role, "parts": [_hashed(part) for part in message.parts]}
        for message in messages
    ]


def estimate_prompt(messages: Sequence[Message]) -> Usage:
    """About how many tokens a model reads, and how many of them are sound."""
    parts = [part for message in messages for part in message.parts]
    audio = sum(_sound_tokens(part) for part in parts if isinstance(part, Sound))
    rest = sum(_part_tokens(part) for part in parts if not isinstance(part, Sound))
    return Usage(prompt=TOKENS_PER_MESSAGE * len(messages) + rest + audio, audio=audio)


def text_tokens(text: str) -> int:
    """About how many tokens a text is."""
    ascii_letters = len(text.encode("ascii", "ignore"))
    return math.ceil(ascii_letters / ASCII_PER_TOKEN) + len(text) - ascii_letters


def _content(parts: Sequence[Part], audio_part: AudioPart) -> str | list[dict[str, Any]]:
    """A lone text stays a plain string, which every server understands."""
    if len(parts) == 1 and isinstance(parts[0], str):
        return parts[0]
    return [_part(part, audio_part) for part in parts]


def _part(part: Part, audio_part: AudioPart) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    data = base64.b64encode(part.data).decode("ascii")
    if isinstance(part, Picture):
        return {"type": "image_url", "image_url": {"url": f"data:image/{part.kind};base64,{data}"}}
    if audio_part == "input_audio":
        return {"type": "input_audio", "input_audio": {"data": data, "format": part.kind}}
    kind = "mpeg" if part.kind == "mp3" else part.kind
    return {"type": "audio_url", "audio_url": {"url": f"data:audio/{kind};base64,{data}"}}


def _hashed(part: Part) -> Any:
    if isinstance(part, str):
        return part
    return {"kind": part.kind, "data": part.data}


def _sound_tokens(sound: Sound) -> int:
    return math.ceil(sound.duration_s * TOKENS_PER_S)


def _part_tokens(part: str | Picture) -> int:
    if isinstance(part, str):
        return text_tokens(part)
    with PIL.Image.open(io.BytesIO(part.data)) as picture:  # reads the header alone
        width, height = picture.size
    return math.ceil(width / PATCH_PX) * math.ceil(height / PATCH_PX)
