"""Builds of made clips with made OpenFace CSVs beside them: quick, and rules may decide a label."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from made_clips import at_rate, texture, write_clip
from test_face_openface import made_csv, made_row

FRAMES = 14
FACES: dict[str, dict[str, float]] = {
    "smile": {"AU06": 2.6, "AU12": 3.0},
    "frown": {"AU04": 2.8, "AU07": 2.6, "AU23": 1.4},
    "grief": {"AU01": 2.6, "AU04": 2.6, "AU15": 2.4},
    "wrinkle": {"AU09": 3.0, "AU10": 2.4, "AU04": 1.2},
    "still": {},
}
"""What each face shows at its apex, in OpenFace's intensities."""


def write_corpus(folder: Path, clips: Sequence[Mapping[str, str]]) -> Path:
    """``folder/clips`` and ``folder/csv``; each clip has a ``face`` and columns of the manifest."""
    for name in ("clips", "csv"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number, clip in enumerate(clips):
        name = clip["clip_id"]
        seed = sum(name.encode()) * 1000 + number
        write_clip(folder / "clips" / f"{name}.mp4", at_rate([texture(seed, 320, 240)] * FRAMES))
        rising = [min(i, FRAMES - 1 - i) / (FRAMES // 2 - 1) for i in range(FRAMES)]
        rows = [
            made_row(i + 1, **{au: value * at for au, value in FACES[clip["face"]].items()})
            for i, at in enumerate(rising)
        ]
        (folder / "csv" / f"{name}.csv").write_text(made_csv(rows))
    columns = ["clip_id", "path", "label", "transcript", "language", "split"]
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows({**clip, "path": f"{clip['clip_id']}.mp4"} for clip in clips)
    return folder


def overrides(folder: Path, *more: str) -> tuple[str, ...]:
    """What a build of the corpus needs to be told."""
    return ("face.tool=openface", f"face.openface.csv_dir={folder / 'csv'}", *more)
