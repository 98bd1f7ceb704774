"""From pictures, face crops, frames and sound to features, by encoders that are never trained.

One clip at a time: a clip's features never depend on what else is in the batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, Blip2VisionModel

NATIVE = {"blip_2_vision_model": Blip2VisionModel}
"""Encoders that AutoModel does not know (and on transformers 5.17 cannot be taught)."""


def build_encoder(config: Any) -> nn.Module:
    """An encoder with random weights."""
    known = NATIVE.get(config.model_type)
    made: nn.Module = known(config) if known else AutoModel.from_config(config)
    return made


def encode_pictures(encoder: nn.Module, pixels: Tensor, affine_norm: bool) -> Tensor:
    """``[pictures, 3, height, width]`` -> ``[pictures, 1 + patches, width]``, class token first.

    Pictures may be larger than those the encoder learned from: its positions are interpolated.
    """
    output = encoder(_as(encoder, pixels), output_hidden_states=True, interpolate_pos_encoding=True)
    if affine_norm:
        normed: Tensor = output.last_hidden_state
        return normed
    states: Tensor = output.hidden_states[-1]  # of the last block, before any norm
    return functional.layer_norm(states, states.shape[-1:])


def encode_face(encoder: nn.Module, crops: Tensor, vectors: int) -> Tensor:
    """``[crops, 3, height, width]``, in the order of time -> ``[vectors, width]``."""
    in_order = {}
    if getattr(encoder.config, "model_type", "") == "vit_mae":
        patches = (encoder.config.image_size // encoder.config.patch_size) ** 2
        # It shuffles patches even where it hides none; by this noise it leaves them in place.
        in_order = {"noise": torch.arange(patches, device=crops.device).expand(len(crops), -1)}
    states: Tensor = encoder(_as(encoder, crops), **in_order).last_hidden_state
    return over_time(states[:, 1:].mean(1), vectors)


def encode_temporal(encoder: nn.Module, frames: Tensor, vectors: int) -> Tensor:
    """``[frames, 3, height, width]``, as many as the encoder reads -> ``[vectors, width]``."""
    if len(frames) != encoder.config.num_frames:
        raise ValueError(
            f"temporal: {len(frames)} frames; the encoder reads {encoder.config.num_frames}"
        )
    return over_time(temporal_steps(encoder, frames[None])[0], vectors)


def temporal_steps(encoder: nn.Module, clips: Tensor) -> Tensor:
    """``[clips, frames, 3, height, width]`` -> ``[clips, steps of time, width]``."""
    states: Tensor = encoder(_as(encoder, clips)).last_hidden_state
    steps = encoder.config.num_frames // encoder.config.tubelet_size
    return states.reshape(len(clips), steps, -1, states.shape[-1]).mean(2)


def encode_audio(encoder: nn.Module, samples: Tensor, vectors: int) -> Tensor:
    """``[samples]`` at 16 kHz -> ``[vectors, width]``."""
    states: Tensor = encoder(_as(encoder, samples)[None]).last_hidden_state[0]
    return over_time(states, vectors)


def over_time(states: Tensor, vectors: int) -> Tensor:
    """``[steps, width]`` -> ``[vectors, width]``: means over as many equal spans of time.

    One vector is the mean of all. Where there are fewer steps than vectors, steps are repeated.
    """
    return functional.adaptive_avg_pool1d(states.T[None], vectors)[0].T


def _as(encoder: nn.Module, values: Tensor) -> Tensor:
    return values.to(next(encoder.parameters()).dtype)
