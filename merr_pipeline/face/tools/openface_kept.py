"""The CSVs that OpenFace has written for us, kept so that it never looks at a clip twice.

A changed threshold or template makes the face row anew, and OpenFace is by far the dearest part of
that. A file is named by the clip's bytes and by what OpenFace wrote it, and holds what it wrote.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from merr_pipeline.face.tools.openface_program import OUTPUTS, Program
from merr_pipeline.files import write_atomically
from merr_pipeline.stage import digest


class KeptCsvs:
    """A folder of them; None keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def find(self, clip_sha256: str, program: Program) -> bytes | None:
        """What this program wrote for these bytes; None if it has not, or the file is damaged."""
        if self._folder is None:
            return None
        try:
            kept = self._path(self._folder, clip_sha256, program).read_bytes()
            return gzip.decompress(kept) or None
        except (OSError, EOFError, zlib.error):
            return None

    def keep(self, clip_sha256: str, program: Program, content: bytes) -> None:
        """Put it away, whole or not at all."""
        if self._folder is not None:
            path = self._path(self._folder, clip_sha256, program)
            write_atomically(path, gzip.compress(content, mtime=0))

    @staticmethod
    def _path(folder: Path, clip_sha256: str, program: Program) -> Path:
        made_by = digest([program.version, program.models, OUTPUTS])[:16]
        return folder / f"{clip_sha256}-{made_by}.csv.gz"
