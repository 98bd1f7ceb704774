"""How one clip and its question become one prompt: the same for training and for inference.

A prompt is made of parts, each a text with slots::

    <video>{image}</video>                            256 tokens of one picture
    <feature>{face}{temporal}{audio}{cls}</feature>   3 + 1 tokens
    The person in video says: {transcript}.
    [{task}] {question}

A part all of whose slots are empty is left out, so a modality that is missing has no token at all;
a zero vector would tell the model of a face or a voice that nobody saw or heard.

The words are part of a trained model's format, as a chat template is: they are saved with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from string import Formatter
from typing import Any

STREAMS = ("face", "temporal", "audio")
"""One vector each, or several in the order of time: ViT-MAE, VideoMAE, HuBERT as published."""

PLACEHOLDERS = ("image", "cls", *STREAMS)
"""Slots that hold vectors; each has a special token of its own."""

TEXTS = ("transcript", "task", "question")
"""Slots that hold words."""


@dataclass(frozen=True)
class Layout:
    """Vectors and words of a prompt.

    The patches of a picture are merged in blocks of ``merge_rows`` x ``merge_columns``: their
    features are put one behind another, row by row, and projected to one token.
    """

    picture_px: int  # width and height of a picture
    grid: int  # patches on each side of it
    merge_rows: int
    merge_columns: int
    pictures: int  # at most, of one clip
    face: int  # vectors of a stream that an encoder makes; features from a file may have others
    temporal: int
    audio: int
    parts: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raise ValueError where the blocks do not cover the grid, or a slot is unknown."""
        if self.grid % self.merge_rows or self.grid % self.merge_columns:
            raise ValueError(
                f"blocks of {self.merge_rows} x {self.merge_columns} patches do not cover a grid "
                f"of {self.grid} x {self.grid}"
            )
        slots = [slot for part in self.parts for _, slot in pieces(part) if slot]
        if unknown := sorted(set(slots) - {*PLACEHOLDERS, *TEXTS}):
            raise ValueError(f"unknown slots: {', '.join(unknown)}")
        if len(set(slots)) < len(slots):
            raise ValueError("a slot stands twice in the parts")

    @property
    def picture_tokens(self) -> int:
        """Tokens of one picture, without its class token."""
        return self.grid**2 // (self.merge_rows * self.merge_columns)

    def counts(self, vectors: Mapping[str, int]) -> dict[str, int]:
        """Tokens of each placeholder.

        Args:
            vectors: how many pictures (``image``) and how many vectors of each stream there are.
        """
        pictures = vectors.get("image", 0)
        streams = {name: vectors.get(name, 0) for name in STREAMS}
        return {"image": pictures * self.picture_tokens, "cls": pictures, **streams}

    def filled(
        self, counts: Mapping[str, int], texts: Mapping[str, str | None]
    ) -> list[tuple[str, str]]:
        """The prompt in pieces ``(kind, content)``.

        ``kind`` is a name of `PLACEHOLDERS` (and ``content`` empty), ``"words"`` of the layout, or
        ``"said"``: words that came from outside, which are never to be read as a special token.
        """
        found: list[tuple[str, str]] = []
        for part in self.parts:
            slots = [slot for _, slot in pieces(part) if slot]
            if slots and not any(counts.get(slot) or texts.get(slot) for slot in slots):
                continue
            for words, slot in pieces(part):
                if words:
                    found.append(("words", words))
                if slot in TEXTS:
                    found.append(("said", texts.get(slot) or ""))
                elif slot:
                    found.append((slot, ""))
        return found

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        return {**asdict(self), "parts": list(self.parts)}


def pieces(part: str) -> list[tuple[str, str | None]]:
    """``"[{task}] {question}"`` -> ``[("[", "task"), ("] ", "question")]``."""
    return [(words, slot) for words, slot, _, _ in Formatter().parse(part)]


def layout_from(data: Mapping[str, Any]) -> Layout:
    """The layout that `Layout.as_dict` wrote."""
    return Layout(**{**data, "parts": tuple(data["parts"])})


PUBLISHED = Layout(
    picture_px=448,
    grid=32,
    merge_rows=1,  # four patches beside each other
    merge_columns=4,
    pictures=1,
    face=1,
    temporal=1,
    audio=1,
    parts=(
        "<video>{image}</video> ",
        "<feature>{face}{temporal}{audio}{cls}</feature> ",
        "The person in video says: {transcript}.  ",
        "[{task}] {question}",
    ),
)
"""256 + 3 + 1 tokens, as Emotion-LLaMA was trained (and not as its own inference has it)."""

MODERN = Layout(
    picture_px=224,
    grid=16,
    merge_rows=2,  # a square of patches
    merge_columns=2,
    pictures=4,
    face=4,
    temporal=4,
    audio=8,
    parts=(
        "<video>{image}{cls}</video>\n",
        "<face>{face}{temporal}</face>\n",
        "<voice>{audio}</voice>\n",
        "The person says: {transcript}\n",
        "[{task}] {question}",
    ),
)
"""Four pictures in 4 x 64 + 4 tokens, and the course of face and voice in 4 + 4 + 8."""

PRESETS = {"published": PUBLISHED, "modern": MODERN}
