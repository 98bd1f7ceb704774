"""The one model file that no package carries: what it is, where it lies, how it is got."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from merr_pipeline.files import write_atomically
from merr_pipeline.schema import MerrError

WAIT_S = 20.0  # for the server, each time it is silent


@dataclass(frozen=True)
class ModelFile:
    """A published file, known by its content."""

    name: str
    url: str
    sha256: str
    size: int  # bytes
    setting: str  # that names another place for it

    def default_path(self) -> Path:
        """In the user's cache folder."""
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(cache) / "merr-pipeline" / self.name

    def problem(self, path: Path) -> str | None:
        """Why this is not the file, and what to do; None if it is."""
        try:
            content = path.read_bytes()
        except OSError:
            return f"{path} is not there or cannot be read. {self._how_to_get_it()}"
        if not self.is_it(content):
            found = hashlib.sha256(content).hexdigest()
            return f"{path} is another file (sha256 {found}). {self._how_to_get_it()}"
        return None

    def download(self) -> Path:
        """Put it where it belongs, unless it is there; gives the place.

        Raises:
            MerrError: it cannot be fetched, or what came is something else.
        """
        path = self.default_path()
        if self.problem(path) is None:
            return path
        try:
            with urlopen(self.url, timeout=WAIT_S) as answer:
                content: bytes = answer.read(self.size + 1)
        except (OSError, HTTPException) as error:
            why = getattr(error, "reason", error)
            raise MerrError(
                f"{self.name} could not be fetched ({why}). {self._how_to_get_it()}"
            ) from error
        if not self.is_it(content):
            raise MerrError(f"{self.url} gave another file than {self.name} of that address.")
        write_atomically(path, content)
        return path

    def is_it(self, content: bytes) -> bool:
        """Whether these are the bytes of the file."""
        return hashlib.sha256(content).hexdigest() == self.sha256

    def _how_to_get_it(self) -> str:
        return (
            f"Put {self.name} ({self.size} bytes, sha256 {self.sha256}, from {self.url}) at "
            f"{self.default_path()}, or name its place in {self.setting}."
        )


# Address: mediapipe's documentation, "Face landmark detection guide", models, version 1 (float16).
FACE_LANDMARKER = ModelFile(
    name="face_landmarker.task",
    url="https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/"
    "float16/1/face_landmarker.task",
    sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    size=3_758_596,
    setting="face.blendshapes.model",
)
