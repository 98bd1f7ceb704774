"""What a user asks of a build; light, so that a command line is there at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Request:
    """What a user asks for, as the command line and the flow's parameters say it."""

    clips: Path  # the folder that holds the clips
    out: Path = Path("data/merr")
    manifest: Path | None = None
    mapping: str = ""  # --map
    preset: str = ""
    profile: str = "embedded"
    overrides: tuple[str, ...] = ()  # --set
    retry: bool = False
    rehash: bool = False
