"""The clips that the benchmarks run on, and what else may lie beside the checkout."""

from __future__ import annotations

import struct
from pathlib import Path

ROOT = Path(__file__).parents[2]


def default_clips() -> Path:
    """Real clips, where they lie beside the checkout; else the samples."""
    real = ROOT.parent / "shared" / "clips"
    return real if real.is_dir() else ROOT / "data" / "samples"


def face_landmarker() -> Path | None:
    """The model of the blendshapes tool, where it lies beside the checkout."""
    model = ROOT.parent / "shared" / "models" / "face_landmarker.task"
    return model if model.is_file() else None


def manifest_of(clips: Path) -> Path | None:
    """The manifest in a folder of clips, if there is one."""
    manifest = clips / "manifest.csv"
    return manifest if manifest.is_file() else None


def find_clips(clips: Path) -> list[Path]:
    """The clips that `write_copy` can copy, smallest first."""
    fit = (path for path in clips.rglob("*.*") if path.suffix.lower() in {".mp4", ".mov", ".m4v"})
    return sorted(fit, key=lambda path: (path.stat().st_size, path.name))


def write_copy(clip: Path, copy: Path, number: int) -> None:
    """Copy an MP4 or QuickTime file so that it shows and sounds the same, with bytes of its own.

    A box ``free`` that holds ``number`` goes behind its last one; players pass over it.
    """
    copy.write_bytes(clip.read_bytes() + struct.pack(">I4sQ", 16, b"free", number))
