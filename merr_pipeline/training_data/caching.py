"""Fills a feature cache: every clip of a finished dataset is encoded once.

Clips come in the order of the dataset. So many of them make a shard, which is written when it is
whole: a run that was killed has lost that one at most, and the next run makes the same bytes. What
could not be read is noted in the shard of its turn; when a cache is finished, a further run tries
those again. Clips that the dataset has no more, or has otherwise now, are taken out of their shard.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from merr_pipeline.dataset.shards import batched
from merr_pipeline.exports.source import Source
from merr_pipeline.exports.wanted import Wanted
from merr_pipeline.recipe import Recipe
from merr_pipeline.schema import MerrError, Row
from merr_pipeline.training_data.encoding import FrozenEncoders
from merr_pipeline.training_data.feature_files import (
    MANIFEST,
    MadeBy,
    Manifest,
    content_hash,
    read_shard,
    shard_name,
    shard_numbers,
    thin_shard,
    write_shard,
)
from merr_pipeline.training_data.media import ClipMedia
from merr_pipeline.training_data.records import COLUMNS

SHARD_CLIPS = 128
PICTURE_BYTES = 40_000  # about
GPU_BATCH = 16  # clips that are encoded together; on a CPU one by one, which is as fast there


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    clips: int  # of the dataset
    made: int  # now
    failed: dict[str, str]  # all that the cache has not, and why


@dataclass(frozen=True)
class _Plan:
    wanted: dict[str, str]  # clip_id -> made_from, of all clips of the dataset
    pending: set[str]
    known: dict[str, str]  # those that failed in earlier runs, and why
    number: int  # of the next shard


def make_features(
    recipe: Recipe,
    image_features: bool = False,
    batch: int | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Outcome:
    """Fill the cache ``recipe.data.features`` from ``recipe.data.out`` and ``recipe.data.clips``.

    Args:
        recipe: whose model and data it is for; all streams that ``model.encoders`` names are made.
        image_features: also those of the image encoder, some 3 MB a clip as published.
        batch: clips that are encoded together; 16 on a GPU, else 1.
        tell: is told how far it is, after each shard.

    Raises:
        MerrError: a folder is not named or not there, or the cache was made by something else.
    """
    out, to = _named(recipe.data.out, "data.out"), _named(recipe.data.features, "data.features")
    folders = recipe.model.encoders.folders()
    if not folders:
        raise MerrError(
            "no encoder is named: --set model.encoders.audio=FOLDER, and face, temporal, image."
        )
    if not _named(recipe.data.clips, "data.clips").is_dir():
        raise MerrError(f"{recipe.data.clips} is no folder. Give the input folder of the build.")
    source = Source(out, Wanted())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    encoded = {name: path for name, path in folders.items() if name != "image" or image_features}
    encoders = FrozenEncoders(encoded, recipe.model, device)
    made_by = encoders.made_by(recipe.data.frame)
    media = ClipMedia(
        encoders.pixels,
        sorted(encoded),
        recipe.data.clips,
        frame=recipe.data.frame,
        pictures=encoders.layout.pictures,
    )
    to.mkdir(parents=True, exist_ok=True)
    with _alone(to):
        for left_over in to.glob(".tmp-*"):  # of a run that was killed
            left_over.unlink()
        plan = _planned(to, made_by, _wanted(source))
        _check_space(to, made_by, len(plan.pending))
        rows = _rows(source, plan.pending)
        reads = _reads(media, recipe.data.clips, rows, recipe.batch.workers)
        together = batch or (GPU_BATCH if device == "cuda" else 1)
        made, failed = _fill(to, made_by, encoders, plan, reads, together, tell)
        _write_manifest(to, made_by)
    return Outcome(len(plan.wanted), made, failed)


def _named(path: Path | None, key: str) -> Path:
    if path is None:
        raise MerrError(f"{key} is not set: say it on the command line or in the recipe.")
    return path


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other runs out of the folder."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise MerrError(f"another run is filling {folder}; wait for it.") from error
        yield


# --- what there is to do -------------------------------------------------------------------------


def _clips(source: Source) -> Iterator[Row]:
    for split in source.splits():
        yield from source.clips(split, (*COLUMNS, "sha256", "peak_frame"))


def _check_space(folder: Path, made_by: MadeBy, clips: int) -> None:
    """Raise MerrError where the disk cannot hold so many clips."""
    each = PICTURE_BYTES + sum(facts.size_bytes for facts in made_by.encoders.values())
    free = shutil.disk_usage(folder).free
    if clips * each > free:
        raise MerrError(
            f"features of {clips} clips take {clips * each / 1e9:.1f} GB, and {folder} has "
            f"{free / 1e9:.1f} GB free. Without --image-features they are small."
        )


def _rows(source: Source, pending: set[str]) -> Iterator[Row]:
    return (clip for clip in _clips(source) if clip["clip_id"] in pending)


def _wanted(source: Source) -> dict[str, str]:
    return {clip["clip_id"]: _made_from(clip) for clip in _clips(source)}


def _made_from(clip: Row) -> str:
    """Hash of all that a row of the cache is made from, but for the encoders."""
    picture = clip["peak_frame"]["bytes"].hex() if clip["peak_frame"] else None
    file = clip["sha256"] or clip["media_path"]  # an import may know of no hash
    return content_hash(file, clip["frame_count"], clip["has_sound"], clip["face_track"], picture)


def _planned(folder: Path, made_by: MadeBy, wanted: dict[str, str]) -> _Plan:
    """Look at the shards that are there, and take out what no longer holds.

    Raises:
        MerrError: they were made by something else.
    """
    shards = [(number, read_shard(folder / shard_name(number))) for number in shard_numbers(folder)]
    for number, facts in shards:
        if difference := facts.made_by.difference(made_by):
            raise MerrError(
                f"{folder / shard_name(number)} has {difference}.\nA cache is made by one set of "
                "encoders: give another --to, or move this folder away."
            )
    done: set[str] = set()
    known: dict[str, str] = {}
    for number, facts in shards:
        good = {one for one, made_from in facts.made_from.items() if wanted.get(one) == made_from}
        if len(good) < len(facts.made_from) or not facts.failed.keys() <= wanted.keys():
            failed = {one: why for one, why in facts.failed.items() if one in wanted}
            thin_shard(folder / shard_name(number), good, failed)
        done |= good
        known |= facts.failed
    known = {one: why for one, why in known.items() if one in wanted and one not in done}
    finished = (folder / MANIFEST).is_file()
    pending = wanted.keys() - done - (set() if finished else known.keys())
    return _Plan(wanted, pending, known, max((n for n, _ in shards), default=-1) + 1)


# --- doing it ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Read:
    """A clip as encoders are shown it, or why it cannot be."""

    clip_id: str
    picture: bytes | None = None
    values: dict[str, Tensor] = field(default_factory=dict)
    why: str | None = None


class _Reader(Dataset[_Read]):
    """Reads the clip of a row, in a worker of a loader."""

    def __init__(self, media: ClipMedia, clips: Path | None) -> None:
        self._media, self._clips = media, clips

    def __getitem__(self, clip: Row) -> _Read:
        try:
            values, picture = self._media.values(clip), self._media.picture(clip)
        except (MerrError, OSError) as error:
            return _Read(clip["clip_id"], why=str(error).replace(f"{self._clips}/", ""))
        return _Read(clip["clip_id"], picture, values)


def _reads(
    media: ClipMedia, clips: Path | None, rows: Iterator[Row], workers: int
) -> Iterator[_Read]:
    """The clips of the rows in their order, read ahead by so many processes."""
    # The rows themselves are what a loader calls its indices: they are read as they are needed.
    loader = DataLoader(
        _Reader(media, clips),
        sampler=rows,
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_it_is,
    )
    return iter(loader)


def _as_it_is(read: _Read) -> _Read:
    return read


def _fill(
    folder: Path,
    made_by: MadeBy,
    encoders: FrozenEncoders,
    plan: _Plan,
    reads: Iterator[_Read],
    together: int,
    tell: Callable[[str], None],
) -> tuple[int, dict[str, str]]:
    """Write the shards; how many clips were made, and all that failed."""
    made, seen, failed, number = 0, 0, dict(plan.known), plan.number
    while True:
        rows: list[Row] = []
        lost: dict[str, str] = {}
        for group in batched(islice(reads, SHARD_CLIPS), together):
            lost |= {one.clip_id: one.why for one in group if one.why is not None}
            good = [one for one in group if one.why is None]
            rows += _encoded(encoders, good, plan.wanted)
        if not rows and not lost:
            return made, failed
        if rows or not lost.items() <= plan.known.items():
            write_shard(folder / shard_name(number), made_by, rows, lost)
            number += 1
        for row in rows:
            failed.pop(row["clip_id"], None)
        failed |= lost
        made, seen = made + len(rows), seen + len(rows) + len(lost)
        tell(f"{seen} of {len(plan.pending)} clips")


def _encoded(
    encoders: FrozenEncoders, reads: Sequence[_Read], made_from: dict[str, str]
) -> list[Row]:
    rows: list[Row] = [
        {"clip_id": one.clip_id, "made_from": made_from[one.clip_id], "picture": one.picture}
        for one in reads
    ]
    for name in encoders.folders:
        there = [n for n, one in enumerate(reads) if f"{name}_values" in one.values]
        values = [reads[n].values[f"{name}_values"] for n in there]
        for n, features in zip(there, encoders.encode(name, values) if values else [], strict=True):
            rows[n][f"{name}_features"] = features.contiguous().view(torch.uint8).numpy().tobytes()
    return rows


def _write_manifest(folder: Path, made_by: MadeBy) -> None:
    shards = {}
    for name in map(shard_name, shard_numbers(folder)):
        facts = read_shard(folder / name)
        size_bytes = (folder / name).stat().st_size
        shards[name] = {"bytes": size_bytes, "clips": len(facts.made_from)}
    Manifest(made_by, shards).write(folder)
