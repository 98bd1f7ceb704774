"""What the training benchmark runs: models of random weights, examples of random numbers."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from transformers import Blip2VisionConfig, LlamaConfig

from merr_pipeline.emotion_llama.configuration import EmotionLlamaConfig
from merr_pipeline.emotion_llama.layout import PLACEHOLDERS, PUBLISHED, Layout
from merr_pipeline.emotion_llama.loss import IGNORED, supervised_loss
from merr_pipeline.emotion_llama.modeling import EmotionLlamaForConditionalGeneration
from merr_pipeline.training.packing import Step, StepCollator

STREAMS = ("face", "temporal", "audio")
POOL = 64
"""Clips whose features are made; examples take turns with them."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a model and of its examples."""

    text: dict[str, Any]
    layout: Layout
    image_width: int
    stream_width: int
    sample_tokens: int
    row_tokens: int

    @property
    def vocabulary(self) -> int:
        """Tokens that the language model knows; placeholders come behind."""
        found: int = self.text["vocab_size"]
        return found

    @property
    def prefix(self) -> int:
        """Tokens of features in a prompt."""
        return self.layout.picture_tokens + 1 + len(STREAMS)


SHAPES = {
    "7b": Shape({"vocab_size": 32000}, PUBLISHED, 1408, 1024, 600, 8192),  # LlamaConfig's own
    "tiny": Shape(
        {
            "vocab_size": 512,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
        },
        Layout(**{**PUBLISHED.as_dict(), "picture_px": 112, "grid": 8}),  # 16 tokens
        48,
        32,
        60,
        256,
    ),
}
"""Llama-2-7B with the published features; and one that a CPU does in a moment."""


def made_config(shape: Shape, encodes: bool = False) -> EmotionLlamaConfig:
    """``encodes``: with EVA-CLIP-g in the model, which reads pictures in each step."""
    tokens = {f"{name}_token_id": shape.vocabulary + n for n, name in enumerate(PLACEHOLDERS)}
    widths = {f"{name}_width": shape.stream_width for name in STREAMS}
    eva = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    eva |= {"intermediate_size": 96, "image_size": shape.layout.picture_px}
    picture = Blip2VisionConfig(**(eva if shape.image_width == 48 else {}))
    return EmotionLlamaConfig(
        text_config=LlamaConfig(**shape.text),
        image_config=picture if encodes else None,
        image_width=None if encodes else shape.image_width,
        layout=shape.layout.as_dict(),
        **widths,
        **tokens,
    )


def made_model(
    config: EmotionLlamaConfig, device: torch.device, dtype: torch.dtype
) -> EmotionLlamaForConditionalGeneration:
    """Random weights, made where they stay; nothing is fetched."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            model = EmotionLlamaForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(before)
    return model.requires_grad_(False)


class MadeExamples(Dataset[dict[str, Any]]):
    """Prompts and answers of random tokens, with features of random numbers.

    ``lengths`` are tokens of each example, features included; half of what is no feature, or
    ``supervised`` tokens, is the answer.
    """

    def __init__(
        self,
        shape: Shape,
        lengths: list[int],
        supervised: int | None = None,
        encodes: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._shape, self._lengths, self._supervised = shape, lengths, supervised
        random_numbers = torch.Generator().manual_seed(0)
        px, grid = shape.layout.picture_px, shape.layout.grid

        def some(*size: int) -> Tensor:
            return torch.randn(POOL, *size, generator=random_numbers).to(dtype)

        streams = {f"{name}_features": some(1, shape.stream_width) for name in STREAMS}
        picture = (
            {"image_values": some(1, 3, px, px)}
            if encodes
            else {"image_features": some(1, 1 + grid**2, shape.image_width)}
        )
        self._pool = {**picture, **streams}

    def __len__(self) -> int:
        return len(self._lengths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """As `training_data.data.Examples` gives them."""
        shape, length = self._shape, self._lengths[index]
        draw = random.Random(index)
        counts = {"image": shape.layout.picture_tokens} | dict.fromkeys((*STREAMS, "cls"), 1)
        ids = [
            shape.vocabulary + PLACEHOLDERS.index(name)
            for name, count in counts.items()
            for _ in range(count)
        ]
        words = length - len(ids)
        supervised = self._supervised or words // 2
        ids += [draw.randrange(3, shape.vocabulary) for _ in range(words)]
        labels = [IGNORED] * (length - supervised) + ids[length - supervised :]
        clip = {name: values[index % POOL] for name, values in self._pool.items()}
        return {"input_ids": ids, "labels": labels, **clip}


def merr_like_lengths(count: int, shape: Shape, seed: int = 0) -> list[int]:
    """A mix as MERR's: one-word answers, captions, reasons; scaled to the shape."""
    draw = random.Random(seed)
    scale = shape.sample_tokens / 600
    kinds = ((75, 20), (190, 60), (310, 90))  # words of prompt and answer, and their spread
    found = []
    for _ in range(count):
        mean, spread = draw.choice(kinds)
        words = max(8, round(scale * draw.gauss(mean, spread)))
        found.append(min(shape.prefix + words, shape.row_tokens))
    return found


def steps(
    examples: MadeExamples, collate: StepCollator, samples: int, workers: int, on_gpu: bool
) -> Iterator[Step]:
    """As the training loader gives them."""
    loader: DataLoader[Any] = DataLoader(
        examples,
        batch_size=samples,
        collate_fn=collate,
        num_workers=workers,
        pin_memory=on_gpu,
        drop_last=True,
    )
    return iter(loader)


def learn(
    model: nn.Module, step: Step, device: torch.device, precision: torch.dtype | None = None
) -> float:
    """Forward and back of all parts of a step; gives the loss."""
    total = torch.zeros((), device=device)
    for batch in step.batches:
        given = _moved(batch, device)
        with torch.autocast(device.type, precision, enabled=precision is not None):
            loss = model(**given, num_items_in_batch=step.supervised).loss
        loss.backward()
        total += loss.detach()
    return float(total)


def _moved(batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    return {
        name: one.to(device, non_blocking=True) if isinstance(one, Tensor) else one
        for name, one in batch.items()
    }


def full_loss(hidden: Tensor, head: nn.Module, labels: Tensor) -> Tensor:
    """As a causal language model has it: logits of all positions, in fp32."""
    logits = head(hidden).float()
    targets = functional.pad(labels, (0, 1), value=IGNORED)[..., 1:]
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


LOSSES: dict[str, Callable[[Tensor, nn.Module, Tensor], Tensor]] = {
    "full logits": full_loss,
    "supervised positions": supervised_loss,
}


def timed(run: Callable[[], object]) -> float:
    """Seconds of the processor, so that a busy machine does not count."""
    begin = time.process_time()
    run()
    return time.process_time() - begin
