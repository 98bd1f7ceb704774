"""The examples of one optimizer step as a few forwards, packed or padded.

A packed row has several clips one behind another, of which none reads another: ``position_ids``
start again with each, there is no ``attention_mask``, and the model's forward never caches in
training. Attention by kernels for sequences of various lengths is told where each begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from merr_pipeline.emotion_llama.collate import Example, PaddingCollator, media_of
from merr_pipeline.emotion_llama.configuration import ENCODERS, EmotionLlamaConfig
from merr_pipeline.emotion_llama.layout import layout_from
from merr_pipeline.emotion_llama.loss import IGNORED


@dataclass(frozen=True)
class Step:
    """What one rank learns in one step."""

    batches: list[dict[str, Any]]  # one for each forward
    lengths: list[int]  # tokens of each example, without padding
    supervised: int  # tokens that are learned

    def pin_memory(self) -> Step:
        """For a loader that copies to a GPU while it computes."""
        pinned = [
            {name: one.pin_memory() if isinstance(one, Tensor) else one for name, one in b.items()}
            for b in self.batches
        ]
        return Step(pinned, self.lengths, self.supervised)


class StepCollator:
    """Examples of a step to its forwards."""

    def __init__(
        self,
        config: EmotionLlamaConfig,
        pad_id: int,
        row_tokens: int,
        packed: bool = True,
    ) -> None:
        """Say how.

        Args:
            config: of the model; its widths.
            pad_id: any token.
            row_tokens: most tokens of one forward, padding counted.
            packed: one row for each forward; else padded rows of about the same length.
        """
        self._empty = empty_features(config)
        self._row_tokens, self._packed = row_tokens, packed
        self._pad = PaddingCollator(pad_id)

    def __call__(self, examples: Sequence[Example]) -> Step:
        """The step of one rank."""
        lengths = [len(example["input_ids"]) for example in examples]
        rows = (best_fit_decreasing if self._packed else of_like_length)(lengths, self._row_tokens)
        batches = []
        for row in rows:
            members = [examples[index] for index in row]
            batch = packed_row(members) if self._packed else self._pad(members)
            batches.append(with_all_streams(batch, self._empty, len(members)))
        return Step(batches, lengths, sum(supervised_tokens(one) for one in examples))


def best_fit_decreasing(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Indices of each row: the longest first, each into the fullest row that still has room.

    Raises:
        ValueError: one is longer than a row.
    """
    rows: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda one: (-lengths[one], one)):
        length = lengths[index]
        if length > capacity:
            raise ValueError(f"an example of {length} tokens in rows of {capacity}")
        fitting = [row for row, left in enumerate(room) if left >= length]
        if fitting:
            best = min(fitting, key=room.__getitem__)
            rows[best].append(index)
            room[best] -= length
        else:
            rows.append([index])
            room.append(capacity - length)
    return [sorted(row) for row in rows]


def of_like_length(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Indices of each forward of padded rows, so that rows times longest is within capacity."""
    batches: list[list[int]] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda one: (-lengths[one], one)):
        if not batches or (len(batches[-1]) + 1) * longest > capacity:
            batches.append([])
            longest = lengths[index]
        batches[-1].append(index)
    return [sorted(batch) for batch in batches]


def packed_row(examples: Sequence[Example]) -> dict[str, Any]:
    """One row of all examples, as `EmotionLlamaForConditionalGeneration.forward` takes it.

    ``cu_seq_lens_*`` are where clips begin, and the end, and ``max_length_*`` the longest: what
    attention kernels for sequences of various lengths want to know. Others never look at them.
    """
    ids = [torch.as_tensor(example["input_ids"]) for example in examples]
    lengths = torch.tensor([len(row) for row in ids], dtype=torch.int32)
    begins = functional.pad(lengths.cumsum(0, dtype=torch.int32), (1, 0))
    longest = int(lengths.max())
    labels = [torch.as_tensor(example["labels"]) for example in examples]
    return {
        "input_ids": torch.cat(ids)[None],
        "labels": torch.cat(labels)[None],
        "position_ids": torch.cat([torch.arange(len(row)) for row in ids])[None],
        "cu_seq_lens_q": begins,
        "cu_seq_lens_k": begins,
        "max_length_q": longest,
        "max_length_k": longest,
        **media_of(examples),
    }


def unlearned(batch: Mapping[str, Any]) -> dict[str, Any]:
    """The same forward with nothing to learn: for a rank that has fewer forwards than others."""
    return {**batch, "labels": torch.full_like(batch["labels"], IGNORED)}


def supervised_tokens(example: Example) -> int:
    """Tokens of an example that are learned; the first token of a row never is."""
    return sum(label != IGNORED for label in list(example["labels"])[1:])


def empty_features(config: EmotionLlamaConfig) -> dict[str, Tensor]:
    """Features of a clip that has nothing, by encoder."""
    patches = 1 + layout_from(config.layout).grid ** 2
    widths = {name: getattr(config, f"{name}_width") for name in ENCODERS}
    return {
        name: torch.zeros((0, patches, width) if name == "image" else (0, width))
        for name, width in widths.items()
    }


def with_all_streams(
    batch: dict[str, Any], empty: Mapping[str, Tensor], clips: int
) -> dict[str, Any]:
    """A batch in which also streams that no clip has are there, with no vector.

    So every projector has a gradient (of zeros) in every forward, and ranks that wait for each
    other's gradients do so for the same ones, whatever clips each has.
    """
    lacking = {
        f"{name}_features": none[None].expand(clips, *none.shape)
        for name, none in empty.items()
        if f"{name}_features" not in batch and f"{name}_values" not in batch
    }
    return {**batch, **lacking}
