"""How fast a run was: tokens, samples, how much of the device's peak, and waiting for data.

MFU by the convention for adapters on a frozen model: the frozen weights cost a forward and the way
back to their inputs, 4 operations a weight and token; the head the same at supervised positions
alone; adapters all of 6; causal attention 2 operations a pair of tokens and width forward and 5
back. Encoders and projectors are not counted.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import nn

from merr_pipeline.training.lora import trained_parameters

MFU_FORMULA = (
    "(4*P_linear*tokens + 4*P_head*supervised + 3.5*layers*2*sum(length^2)*width "
    "+ 6*P_lora*tokens) / (seconds * peak * ranks)"
)


@dataclass(frozen=True)
class Sizes:
    """What the formula knows of a model."""

    linear: int  # frozen weights of the layers, which every token passes
    head: int
    lora: int
    layers: int
    width: int


def sizes_of(model: nn.Module) -> Sizes:
    """Of the model with its adapters, before it is spread over ranks."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    language: Any = inner.model.language_model
    config = inner.config.text_config
    frozen = sum(
        one.numel()
        for name, one in language.layers.named_parameters()
        if one.ndim >= 2 and ".lora_" not in name
    )
    attended = config.num_attention_heads * (
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )
    lora = trained_parameters(model)["lora"]
    return Sizes(frozen, inner.lm_head.weight.numel(), lora, config.num_hidden_layers, attended)


@dataclass
class Speed:
    """Sums over steps, of one rank or of all; kept in checkpoints, so they span interruptions."""

    steps: int = 0
    samples: int = 0
    tokens: int = 0
    supervised: int = 0
    squares: int = 0  # of the examples' lengths
    seconds: float = 0.0
    waited_s: float = 0.0  # for the loader

    def add(self, lengths: Sequence[int], supervised: int, seconds: float, waited_s: float) -> None:
        """One step."""
        self.steps += 1
        self.samples += len(lengths)
        self.tokens += sum(lengths)
        self.supervised += supervised
        self.squares += sum(length * length for length in lengths)
        self.seconds += seconds
        self.waited_s += waited_s

    def of_all(self, ranks: int, device: torch.device) -> Speed:
        """Counts summed over ranks; the longest time and the longest wait. All ranks must call."""
        if ranks == 1:
            return self
        kind = torch.float64 if device.type != "mps" else torch.float32
        counts = torch.tensor(
            [self.samples, self.tokens, self.supervised, self.squares], dtype=kind, device=device
        )
        times = torch.tensor([self.seconds, self.waited_s], dtype=kind, device=device)
        torch.distributed.all_reduce(counts)
        torch.distributed.all_reduce(times, op=torch.distributed.ReduceOp.MAX)
        return Speed(self.steps, *(int(one) for one in counts.tolist()), *times.tolist())

    def report(self, sizes: Sizes, peak_tflops: float, ranks: int) -> dict[str, Any]:
        """Numbers for a person."""
        seconds = max(self.seconds, 1e-9)
        operations = (
            4 * sizes.linear * self.tokens
            + 4 * sizes.head * self.supervised
            + 3.5 * sizes.layers * 2 * self.squares * sizes.width
            + 6 * sizes.lora * self.tokens
        )
        return {
            "steps_measured": self.steps,
            "tokens_per_s": round(self.tokens / seconds, 1),
            "samples_per_s": round(self.samples / seconds, 3),
            "tokens_per_sample": round(self.tokens / max(self.samples, 1), 1),
            "mfu": round(operations / seconds / (peak_tflops * 1e12 * ranks), 4),
            "mfu_formula": MFU_FORMULA,
            "peak_tflops": round(peak_tflops, 3),
            "ranks": ranks,
            "data_wait_share": round(self.waited_s / seconds, 4),
        }

    def as_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)

    @classmethod
    def of(cls, values: dict[str, Any]) -> Speed:
        """What `as_dict` gave."""
        return cls(**{field.name: values[field.name] for field in fields(cls)})


def measured_peak_tflops(device: torch.device, dtype: torch.dtype) -> float:
    """10^12 operations per second of one matrix product; the best of five, some milliseconds."""
    side = 8192 if device.type == "cuda" else 512
    one, other = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(5):
        synchronize(device)
        begin = time.perf_counter()
        torch.mm(one, other)
        synchronize(device)
        best = min(best, time.perf_counter() - begin)
    return 2 * side**3 / best / 1e12


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
