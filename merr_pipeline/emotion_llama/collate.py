"""Examples of several clips as one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import get_worker_info

from merr_pipeline.emotion_llama.configuration import ENCODERS
from merr_pipeline.emotion_llama.loss import IGNORED

Example = Mapping[str, Any]
"""``input_ids``, ``labels`` (or none) and tensors ``<encoder>_features`` or ``<encoder>_values``
of one clip, without a clip dimension; what a clip has not is not there."""


class PaddingCollator:
    """One row for each clip, as long as the longest.

    Learning pads on the right; `generate` wants prompts padded on the left.
    """

    def __init__(self, pad_id: int, side: Literal["left", "right"] = "right") -> None:
        self._pad_id, self._side = pad_id, side

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Tensors for `EmotionLlamaForConditionalGeneration.forward`."""
        ids = [torch.as_tensor(example["input_ids"]) for example in examples]
        batch = {
            "input_ids": self._padded(ids, self._pad_id),
            "attention_mask": self._padded([torch.ones_like(row) for row in ids], 0),
        }
        if all("labels" in example for example in examples):
            labels = [torch.as_tensor(example["labels"]) for example in examples]
            batch["labels"] = self._padded(labels, IGNORED)
        return {**batch, **media_of(examples)}

    def _padded(self, rows: list[Tensor], value: int) -> Tensor:
        return pad_sequence(rows, batch_first=True, padding_value=value, padding_side=self._side)


def media_of(examples: Sequence[Example]) -> dict[str, Tensor]:
    """Features or values of all clips, with a mask for each kind that any clip has.

    Raises:
        ValueError: some clips have features and others values of one kind.
    """
    found: dict[str, Tensor] = {}
    for name in ENCODERS:
        kinds = [
            kind
            for kind in (f"{name}_features", f"{name}_values")
            if any(example.get(kind) is not None for example in examples)
        ]
        if len(kinds) > 1:
            raise ValueError(f"{name}: features and values in one batch")
        for kind in kinds:
            there = [example.get(kind) for example in examples]
            some = next(one for one in there if one is not None)
            rows = [some[:0] if one is None else one for one in there]
            found[kind] = _together(rows)
            lengths = torch.tensor([len(row) for row in rows])
            found[f"{name}_mask"] = torch.arange(found[kind].shape[1])[None] < lengths[:, None]
    return found


def _together(rows: list[Tensor]) -> Tensor:
    """As `pad_sequence`.

    In the worker of a loader rows of one length are put straight into shared memory, or they would
    be copied there once more: 3 MB a clip for image features.
    """
    if get_worker_info() is None or len({len(row) for row in rows}) > 1:
        return pad_sequence(rows, batch_first=True)
    first, numbers = rows[0], sum(row.numel() for row in rows)
    shared = first.untyped_storage()._new_shared(numbers * first.element_size())
    together = first.new_empty(0).set_(shared, 0, (len(rows), *first.shape))
    return torch.stack(rows, out=together)
