"""Which parameters learn how fast: three groups, and the published schedule."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from merr_pipeline.recipe import LearnRecipe

BETAS = (0.9, 0.999)  # as published


def parameter_groups(model: nn.Module, learn: LearnRecipe) -> list[dict[str, Any]]:
    """LoRA, projectors, and what has no decay (biases); empty groups are left out."""
    members: dict[str, list[nn.Parameter]] = {"lora": [], "projector": [], "projector_biases": []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            whole = "projector" if parameter.ndim >= 2 else "projector_biases"
            members["lora" if ".lora_" in name else whole].append(parameter)
    rates = {"lora": learn.learning_rate}
    other = learn.projector_learning_rate or learn.learning_rate
    return [
        {
            "name": name,
            "params": parameters,
            "lr": rates.get(name, other),
            "weight_decay": 0.0 if name == "projector_biases" else learn.weight_decay,
        }
        for name, parameters in members.items()
        if parameters
    ]


def make_optimizer(model: nn.Module, learn: LearnRecipe) -> torch.optim.AdamW:
    """AdamW, in one kernel where the parameters are on a GPU."""
    groups = parameter_groups(model, learn)
    on_gpu = all(one.is_cuda for group in groups for one in group["params"])
    return torch.optim.AdamW(groups, lr=learn.learning_rate, betas=BETAS, fused=on_gpu or None)


def learning_rate(step: int, learn: LearnRecipe) -> float:
    """Of LoRA in a step, counted from 0.

    Linear up to the peak, then a cosine down to the least. As in the published code the phase of
    the cosine counts the steps of the warm-up, so the rate drops a little where they end.
    """
    if step < learn.warmup_steps:
        begin, risen = learn.warmup_learning_rate, step / learn.warmup_steps
        return min(learn.learning_rate, begin + (learn.learning_rate - begin) * risen)
    cosine = 0.5 * (1.0 + math.cos(math.pi * step / learn.steps))
    return learn.least_learning_rate + (learn.learning_rate - learn.least_learning_rate) * cosine


def make_schedule(optimizer: torch.optim.Optimizer, learn: LearnRecipe) -> LambdaLR:
    """The same course for every group, each from its own peak."""
    return LambdaLR(optimizer, lambda step: learning_rate(step, learn) / learn.learning_rate)
