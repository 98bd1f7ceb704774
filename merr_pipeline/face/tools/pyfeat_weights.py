"""The weights of py-feat: which files each detector loads, where they lie, what they are.

No package carries them, and none is ever fetched from here. Sources and terms: the pages below
https://huggingface.co/py-feat, and ``LICENSES/`` in the package py-feat 2.1.5.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

from merr_pipeline.schema import MerrError

Detector = Literal["v1", "v2"]

OWNER = "py-feat"  # whose pages they lie on
_DETECTION = "retinaface_r34/model.safetensors"
FILES: Mapping[Detector, tuple[str, ...]] = {
    "v1": (
        _DETECTION,
        "mobilefacenet/mobilefacenet_model_best.pth.tar",  # 68 landmarks
        "pose_mlp_v2/pose_mlp_v2.safetensors",  # head pose from the landmarks
        "pose_mlp_v2/pose_mlp_v2.json",
        "xgb_au/xgb_au_classifier_v2.skops",  # Action Units
        "l2cs/l2cs_gaze360_resnet50.safetensors",  # gaze
    ),
    "v2": (_DETECTION, "face_multitask_v2/face_multitask_v28.safetensors"),
}
"""Page and file name of all that a detector loads, without emotions and identities."""

TERMS = (
    "Both detectors hold weights for non-commercial research only (the whole of v2; v1's gaze); "
    "py-feat's LICENSES/ names the terms of each."
)


def find_weights(folder: Path | None, detector: Detector) -> dict[str, Path]:
    """Where each file of a detector lies, by page and name.

    A file may lie as ``FOLDER/<page>/<name>``, or as the cache of Hugging Face keeps it.

    Raises:
        MerrError: some are not there; it says where to get each, and where to put it.
    """
    found = {file: _find(folder, file) if folder else None for file in FILES[detector]}
    if missing := [file for file, path in found.items() if path is None]:
        raise MerrError(_how_to_get(missing, folder, detector))
    return {file: path for file, path in found.items() if path is not None}


def content_hashes(weights: Mapping[str, Path]) -> str:
    """``retinaface_r34/model.safetensors sha256:…`` and so on, in the order of `FILES`."""
    return ", ".join(f"{file} sha256:{_sha256_of(path)}" for file, path in weights.items())


def _find(folder: Path, file: str) -> Path | None:
    page, name = file.split("/")
    places = [folder / page / name, *_in_cache(folder / f"models--{OWNER}--{page}", name)]
    return next((place.absolute() for place in places if place.is_file()), None)


def _in_cache(page: Path, name: str) -> list[Path]:
    """Where the cache of Hugging Face keeps a file: in the snapshot that ``refs/main`` names."""
    try:
        revision = (page / "refs" / "main").read_text("utf-8").strip()
    except OSError:
        return []
    return [page / "snapshots" / revision / name]


def _how_to_get(missing: list[str], folder: Path | None, detector: Detector) -> str:
    place = folder or Path("FOLDER")
    lines = [f"the face tool pyfeat ({detector}) needs weights that nothing here downloads:"]
    for file in missing:
        page, name = file.split("/")
        url = f"https://huggingface.co/{OWNER}/{page}/resolve/main/{name}"
        lines.append(f"  {url}\n    to {place / page / name}")
    if folder is None:
        lines.append("then name the folder: --set face.pyfeat.weights=FOLDER")
    return "\n".join([*lines, TERMS])


def _sha256_of(path: Path) -> str:
    stat = path.stat()
    return _hash_once(path, stat.st_size, stat.st_mtime_ns)


@lru_cache
def _hash_once(path: Path, size: int, changed_ns: int) -> str:
    """One hash per file and process: the largest has some 100 MB."""
    del size, changed_ns  # they tell a file that was exchanged
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
