"""Attention within each clip of a packed row, by PyTorch's own kernel: nothing else to install.

With ``sdpa`` a packed row of 8192 tokens has a mask of 8192 x 8192 and pays for all of it; here
each clip costs its own length squared, and nothing is made for the others.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface

VARLEN = "varlen"


def varlen_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """As transformers calls attention: ``[1, heads, tokens, width]`` -> ``[1, tokens, heads, ..]``.

    Raises:
        ValueError: it is not told where clips begin, or is to do what it does not.
    """
    del module
    if cu_seq_lens_q is None or max_length_q is None or len(query) != 1:
        raise ValueError("varlen attention is for packed rows alone")
    if attention_mask is not None or dropout:
        raise ValueError("varlen attention has neither mask nor dropout")
    window = kwargs.get("sliding_window")
    if kwargs.get("softcap") or kwargs.get("s_aux") is not None or (window or 1e9) < max_length_q:
        raise ValueError("varlen attention has no sliding window, soft cap or sinks")
    rows = [one[0].transpose(0, 1) for one in (query, key, value)]
    if query.is_cuda:
        return _by_kernel(rows, cu_seq_lens_q, max_length_q, scaling)[None], None
    return _one_by_one(rows, cu_seq_lens_q, scaling)[None], None


def _by_kernel(rows: list[Tensor], begins: Tensor, longest: int, scaling: float | None) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn  # new in torch 2.10

    known = inspect.signature(varlen_attn).parameters
    how: dict[str, Any] = {"scale": scaling}
    how |= {"is_causal": True} if "is_causal" in known else {"window_size": (-1, 0)}
    query, key, value = rows
    if query.dtype not in {torch.bfloat16, torch.float16}:
        raise ValueError("varlen attention on a GPU needs model.dtype=bfloat16")
    if query.shape[1] != key.shape[1]:
        if "enable_gqa" in known:
            how["enable_gqa"] = True
        else:
            times = query.shape[1] // key.shape[1]
            key, value = (one.repeat_interleave(times, 1) for one in (key, value))
    found: Tensor = varlen_attn(query, key, value, begins, begins, longest, longest, **how)
    return found


def _one_by_one(rows: list[Tensor], begins: Tensor, scaling: float | None) -> Tensor:
    sizes = begins.diff().tolist()
    grouped = rows[0].shape[1] != rows[1].shape[1]
    parts = []
    for clip in zip(*(row.split(sizes) for row in rows), strict=True):
        query, key, value = (one.transpose(0, 1)[None] for one in clip)
        found = functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scaling, enable_gqa=grouped
        )
        parts.append(found[0].transpose(0, 1))
    return torch.cat(parts)


def why_not_varlen(config: Any, dtype: torch.dtype, device: torch.device) -> str | None:
    """What speaks against it for a language model on this machine; None if nothing does.

    Its kernel is tried on two short clips, and must say what `sdpa` says of each.
    """
    if getattr(config, "attention_dropout", 0.0):
        return "the language model drops out attention"
    heads = config.num_attention_heads
    of_keys = getattr(config, "num_key_value_heads", None) or heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    draw = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, count, 24, width, generator=draw).to(device, dtype)
        for count in (heads, of_keys, of_keys)
    )
    begins = torch.tensor([0, 7, 24], dtype=torch.int32, device=device)
    try:
        found, _ = varlen_attention(
            nn.Module(),
            query,
            key,
            value,
            scaling=width**-0.5,
            cu_seq_lens_q=begins,
            max_length_q=17,
        )
    except Exception as error:  # whatever a kernel raises that this machine cannot run
        return f"{type(error).__name__}: {error}"
    rows = [one[0].transpose(0, 1) for one in (query, key, value)]
    expected = _one_by_one(rows, begins, width**-0.5)
    off = (found[0] - expected).abs().max().item()
    return None if off < 0.02 else f"it is {off:.3f} off"


AttentionInterface.register(VARLEN, varlen_attention)
