"""The data of a run: the records of its splits, in their order, and how they are loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Subset

from merr_pipeline.dataset.folder import DATASET, MANIFEST
from merr_pipeline.emotion_llama.processing import EmotionLlamaProcessor
from merr_pipeline.recipe import Recipe
from merr_pipeline.schema import MerrError
from merr_pipeline.training.packing import StepCollator
from merr_pipeline.training_data.data import Examples, OfClip, Stream
from merr_pipeline.training_data.order import Order, Position
from merr_pipeline.training_data.records import NoRecordsError, Records, read_records
from merr_pipeline.training_data.shown import without_lost


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is."""

    rank: int
    ranks: int


class LearningData:
    """Training and validation examples of one rank."""

    def __init__(
        self,
        recipe: Recipe,
        processor: EmotionLlamaProcessor,
        of_clip: OfClip,
        collate: StepCollator,
        place: Ranks,
    ) -> None:
        """Read the records.

        Raises:
            MerrError: the dataset has no training records, or as many examples of a step cannot
                be shared among the ranks.
        """
        self._recipe, self._collate, self._place = recipe, collate, place
        if recipe.batch.samples % place.ranks:
            raise MerrError(
                f"batch.samples is {recipe.batch.samples}, which {place.ranks} ranks cannot share."
            )
        self.training, self.lost = without_lost(training_records(recipe), of_clip)
        self._examples = Examples(self.training, processor, of_clip, recipe.data.longest)
        found = self.training.records
        self.order = Order(
            [one.record_id for one in found],
            [one.kind for one in found],
            recipe.data.mixture,
            recipe.learn.seed,
        )
        checked = validation_records(recipe)
        self.validation: dict[str, list[int]] = {}
        if checked is not None:
            checked, lost = without_lost(checked, of_clip)
            self.lost = {**self.lost, **lost}
            self._checked = Examples(checked, processor, of_clip, recipe.data.longest)
            self.validation = by_task(checked, recipe.keep.validate_most)

    def training_loader(self, steps_done: int) -> DataLoader[Any]:
        """One `Step` after another, from where a run is, without an end."""
        share = self._recipe.batch.samples // self._place.ranks
        done = steps_done * self._recipe.batch.samples
        start = Position().after(done, self.order.epoch_length)
        stream = Stream(
            self._examples, self.order, share, start, self._place.rank, self._place.ranks
        )
        return self._loader(stream, share)

    def validation_loader(self, task: str, apart: bool) -> DataLoader[Any]:
        """The `Step`s of a task; ``apart``: those of this rank alone."""
        every = self.validation[task]
        mine = every[self._place.rank :: self._place.ranks] if apart else every
        return self._loader(Subset(self._checked, mine), self._recipe.batch.samples)

    def _loader(self, examples: Dataset[dict[str, Any]], size: int) -> DataLoader[Any]:
        workers = self._recipe.batch.workers
        return DataLoader(
            examples,
            batch_size=size,
            collate_fn=self._collate,
            num_workers=workers,
            pin_memory=torch.cuda.is_available(),
            # With the generator of all, a run that goes on would draw one number more from it.
            generator=torch.Generator().manual_seed(0),
        )


def training_records(recipe: Recipe) -> Records:
    """Those of the split ``train``, of the share of clips that the recipe wants."""
    found = _read(recipe, "train")
    clips = {name: clip for name, clip in found.clips.items() if of_share(name, recipe.data.share)}
    records = [record for record in found.records if record.clip_id in clips]
    if not records:
        raise MerrError(f"data.share={recipe.data.share} leaves no clip of {len(found.clips)}.")
    return Records(records, clips)


def validation_records(recipe: Recipe) -> Records | None:
    """Those of the split ``validation``; null where there are none."""
    assert recipe.data.out is not None
    try:
        return _read(recipe, "validation")
    except NoRecordsError:
        return None


def dataset_hash(recipe: Recipe) -> str:
    """Of the manifest, which holds the hash of every file."""
    assert recipe.data.out is not None
    return hashlib.sha256((recipe.data.out / DATASET / MANIFEST).read_bytes()).hexdigest()


def of_share(clip_id: str, share: float) -> bool:
    """Whether a clip is in a share of all; a larger share has all clips of a smaller one."""
    return _number(f"share\0{clip_id}") < share


def by_task(records: Records, most: int) -> dict[str, list[int]]:
    """Indices of the records of each task, at most so many, chosen by hash, in their order."""
    found: dict[str, list[int]] = {}
    for index, record in enumerate(records.records):
        found.setdefault(record.task, []).append(index)
    return {task: _chosen(found[task], records, most) for task in sorted(found)}


def _chosen(indices: Sequence[int], records: Records, most: int) -> list[int]:
    ranked: Iterable[int] = sorted(
        indices, key=lambda index: _number(f"validation\0{records.records[index].record_id}")
    )
    return sorted(list(ranked)[:most])


def _number(text: str) -> float:
    """From 0 to 1, the same for the same text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def _read(recipe: Recipe, split: str) -> Records:
    assert recipe.data.out is not None
    pictures = "image" in recipe.data.streams and recipe.data.features is None
    return read_records(recipe.data.out, split, recipe.data.granularities, pictures)
