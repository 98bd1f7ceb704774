"""A model on several ranks: whole on each (DDP), or its weights spread over them (FSDP2).

PyTorch's own wrappers, put on here and not by accelerate, which silently makes DDP of FSDP on CPUs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel


class Sharded(nn.Module):
    """Stands around a model whose weights are spread, so that nobody wraps it once more."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *given: Any, **named: Any) -> Any:
        """The model's."""
        return self.module(*given, **named)


def shard(model: nn.Module, layers: nn.ModuleList, ranks: int, device: torch.device) -> None:
    """Spread the weights of each layer, and all other weights, over the ranks; in place.

    Args:
        model: the root.
        layers: those of the language model, gathered one at a time.
        ranks: all of them.
        device: of this rank.
    """
    mesh = init_device_mesh(device.type, (ranks,))
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)


def replicated(model: nn.Module, device: torch.device) -> DistributedDataParallel:
    """The same weights on every rank; every projector has a gradient in every forward."""
    own = [device.index or 0] if device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=own)


@contextmanager
def gradients_met(model: nn.Module, now: bool) -> Iterator[None]:
    """A forward and its way back, after which ranks share their gradients, or do not yet."""
    if isinstance(model, Sharded):
        inner: Any = model.module
        inner.set_requires_gradient_sync(now)
        yield
    elif isinstance(model, DistributedDataParallel) and not now:
        with model.no_sync():
            yield
    else:
        yield


def whole(value: Any) -> Any:
    """A state dictionary with every spread tensor put together, on the CPU. All ranks must call."""
    if isinstance(value, dict):
        return {key: whole(one) for key, one in value.items()}
    if isinstance(value, list):
        return [whole(one) for one in value]
    if isinstance(value, DTensor):
        value = value.full_tensor()
    return value.cpu() if isinstance(value, Tensor) else value


def load_spread(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give an optimizer of spread parameters the state that `whole` made."""
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    moments = {
        number: {
            name: distribute_tensor(
                one.to(parameter.device), parameter.device_mesh, parameter.placements
            )
            if isinstance(one, Tensor) and one.shape == parameter.shape
            else one
            for name, one in state["state"][number].items()
        }
        for number, parameter in enumerate(parameters)
        if number in state["state"]
    }
    optimizer.load_state_dict({**state, "state": moments})
