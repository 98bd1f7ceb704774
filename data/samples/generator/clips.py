"""What a clip is: who is seen, how the face moves, what is said. The clips: make_samples.py."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

WIDTH_PX, HEIGHT_PX, FPS = 400, 448, 25  # of every clip


@dataclass(frozen=True)
class Speech:
    """Words for espeak-ng and the time at which they begin."""

    text: str
    language: str  # ISO 639-1, as the manifest gives it
    voice: str  # espeak-ng -v
    words_per_minute: int  # espeak-ng -s
    pitch: int  # espeak-ng -p, 0..99
    start_s: float
    words_in: str  # where the clip carries its words: manifest, sidecar, embedded, nowhere


@dataclass(frozen=True)
class Movement:
    """Actions that begin at the onset, are full at the apex and gone at the offset.

    ``actions`` gives the full strength of each action by its name in ``actions.ACTIONS``: 1 is the
    whole displacement, a negative strength goes the other way.
    """

    actions: Mapping[str, float]
    onset_frame: int
    apex_frame: int
    offset_frame: int

    def strength(self, frame: int) -> float:
        """Share of the full strength, 0..1: a raised cosine on either side of the apex."""
        if not self.onset_frame < frame < self.offset_frame:
            return 0.0
        side = self.onset_frame if frame < self.apex_frame else self.offset_frame
        way_from_apex = (frame - self.apex_frame) / (side - self.apex_frame)
        return round(0.5 + 0.5 * math.cos(math.pi * way_from_apex), 4)


@dataclass(frozen=True)
class Clip:
    """One sample; frames count from 0.

    ``portraits`` has two entries when there is a cut. ``action_units`` are those that the movement
    imitates, in the names of FACS (Ekman, Friesen and Hager 2002).
    """

    clip_id: str
    portraits: tuple[str, ...]
    expression: str
    action_units: tuple[str, ...]
    label: str | None
    movement: Movement | None
    speech: Speech | None
    frame_count: int = 95
    blink: Movement | None = None
    cut_frame: int | None = None  # first frame of the second shot

    @property
    def speaker_id(self) -> str:
        """Who moves and speaks."""
        return self.portraits[-1]

    def portrait_at(self, frame: int) -> str:
        """Who is in the picture."""
        before_cut = self.cut_frame is None or frame < self.cut_frame
        return self.portraits[0] if before_cut else self.portraits[1]

    def strengths(self, frame: int) -> dict[str, float]:
        """Actions at a frame; a movement belongs to the last portrait alone."""
        if self.portrait_at(frame) != self.speaker_id:
            return {}
        total: dict[str, float] = {}
        for movement in filter(None, (self.movement, self.blink)):
            for name, full in movement.actions.items():
                total[name] = total.get(name, 0.0) + full * movement.strength(frame)
        return {name: strength for name, strength in total.items() if strength}
