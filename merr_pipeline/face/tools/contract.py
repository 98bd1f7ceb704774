"""What every face tool is to the face stage: one small contract, one table.

A tool gives the payload of `schema.FACE` but for ``face_tool``, ``tool_version`` and ``au_scale``,
which the stage fills in. Tracks are built by `face/tracks.py` from its sightings, so that no track
ever crosses a cut, whatever the tool believes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from merr_pipeline.schema import Clip, Row


@dataclass(frozen=True)
class Making:
    """What shapes a tool's rows; it goes into the stage's fingerprint."""

    versions: str = ""  # of all programs that have a part in a number
    model: str = ""  # the names or content hashes of its weights
    settings: Mapping[str, Any] = field(default_factory=dict)  # those that shape the result
    templates: tuple[str, ...] = ()  # content hashes


class FaceTool(Protocol):
    """One way of seeing faces and Action Units."""

    @property
    def version(self) -> str | None:
        """Of the program that measures; None where nothing says so."""
        ...

    def making(self) -> Making:
        """What shapes its rows; cheap, and the same in every process."""
        ...

    def facts(self, clip: Clip) -> Mapping[str, Any]:
        """What of the files beside a clip it reads (JSON values)."""
        ...

    def start(self) -> None:
        """Load models, start programs; called before the first clip."""
        ...

    def measure(self, clip: Clip, probe: Row) -> Row:
        """The payload of the face row of a clip.

        Raises:
            NotOk: skipped with ``NO_FACE``; failed with ``NO_OPENFACE_CSV`` or a ``TOOL_*`` reason.
        """
        ...

    def close(self) -> None:
        """End programs, free models."""
        ...
