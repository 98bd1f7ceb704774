"""Examples for the model: the records of a dataset, and the media or features of their clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from merr_pipeline.emotion_llama.configuration import ENCODERS
from merr_pipeline.emotion_llama.layout import STREAMS
from merr_pipeline.emotion_llama.processing import EmotionLlamaProcessor, Question
from merr_pipeline.schema import MerrError, Row
from merr_pipeline.training_data.order import Order, Position
from merr_pipeline.training_data.records import Record, Records

OfClip = Callable[[Row], Mapping[str, Tensor]]
"""``<encoder>_features`` or ``<encoder>_values`` of a clip: `ClipMedia.values`, or a cache."""


class Examples(Dataset[dict[str, Any]]):
    """One example for each record: ``input_ids``, ``labels``, and the tensors of its clip."""

    def __init__(
        self,
        records: Records,
        processor: EmotionLlamaProcessor,
        of_clip: OfClip,
        longest: int = 1024,
    ) -> None:
        """Nothing is read yet.

        Args:
            records: what there is to learn.
            processor: of the model.
            of_clip: what the model is shown of a clip.
            longest: tokens of an example; a longer one is refused and never cut, for half a text
                that reasons is a wrong one.
        """
        self._records, self._clips = records.records, records.clips
        self._processor, self._of_clip, self._longest = processor, of_clip, longest

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The example of a record.

        Raises:
            MerrError: it is longer than ``longest``, or its clip cannot be read.
        """
        record = self._records[index]
        tensors = dict(self._of_clip(self._clips[record.clip_id]))
        tokens = self._processor.example(
            question_of(record), record.answer, vectors_of(self._processor, tensors)
        )
        length = len(tokens["input_ids"])
        if length > self._longest:
            raise MerrError(
                f"{record.record_id} has {length} tokens, and {self._longest} is the most."
            )
        return {**tokens, **tensors}


class Stream(IterableDataset[dict[str, Any]]):
    """Examples in their order from a position on, without an end, for one rank.

    The workers of a loader take turns by batch, so ``batch`` must be the loader's ``batch_size``;
    then the batches are the same for every number of workers.
    """

    def __init__(
        self,
        examples: Examples,
        order: Order,
        batch: int,
        start: Position | None = None,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        super().__init__()
        self._examples, self._order, self._batch = examples, order, batch
        self._start, self._rank, self._ranks = start or Position(), rank, ranks

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        indices = self._order.from_position(self._start, self._rank, self._ranks)
        for place, index in enumerate(indices):
            if place // self._batch % workers == number:
                yield self._examples[index]


def question_of(record: Record) -> Question:
    """What a record asks."""
    return Question(record.question, record.task, record.transcript)


def vectors_of(processor: EmotionLlamaProcessor, tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """How many vectors the model will have of each kind, by what it is shown of a clip."""
    found = {}
    for name in ENCODERS:
        if f"{name}_features" in tensors:
            found[name] = len(tensors[f"{name}_features"])
        elif f"{name}_values" in tensors:
            made = processor.layout[name] if name in STREAMS else None
            found[name] = len(tensors[f"{name}_values"]) if made is None else made
    return found
