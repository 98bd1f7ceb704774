"""What a user asks of a build; light, so that a command line is there at once."""

from __future__ import annotations

from collections.abc import Mapping
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


def as_overrides(named: Mapping[str, object]) -> list[str]:
    """Settings that have an option or a parameter of their own, as ``--set``; null says nothing."""
    return [f"{key}={value}" for key, value in named.items() if value is not None]
