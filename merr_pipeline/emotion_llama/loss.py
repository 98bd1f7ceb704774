"""Cross entropy over supervised positions alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

IGNORED = -100
"""Label of a position that nothing is learned from."""


def supervised_loss(
    hidden: Tensor,
    head: nn.Module,
    labels: Tensor,
    items: Tensor | int | None = None,
    chunk: int = 4096,
) -> Tensor:
    """Mean cross entropy of the next token, where there is a label for it.

    The other positions never meet the head, whose logits are most of a step's memory: 16k tokens
    of a vocabulary of 152k are 10 GB in fp32.

    Args:
        hidden: ``[rows, tokens, width]``.
        head: from a hidden state to logits.
        labels: ``[rows, tokens]``, not shifted; `IGNORED` where nothing is to be learned.
        items: divides the sum in place of the number of labels here: those of all parts of a
            batch whose gradients are added up.
        chunk: so many positions have logits at one time.
    """
    targets = functional.pad(labels, (0, 1), value=IGNORED)[..., 1:]
    wanted = targets != IGNORED
    hidden, targets = hidden[wanted], targets[wanted]
    if targets.numel() == 0:
        return hidden.sum() * 0.0  # still has a gradient: ranks wait for each other's

    def part(states: Tensor, answers: Tensor) -> Tensor:
        return functional.cross_entropy(head(states).float(), answers, reduction="sum")

    total = hidden.new_zeros((), dtype=torch.float32)
    for start in range(0, targets.numel(), chunk):
        states, answers = hidden[start : start + chunk], targets[start : start + chunk]
        again = states.requires_grad  # logits are made again on the way back, not kept
        total = total + (
            checkpoint(part, states, answers, use_reentrant=False)
            if again
            else part(states, answers)
        )
    return total / (targets.numel() if items is None else items)
