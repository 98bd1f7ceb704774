"""What encoders read: pictures as normalised pixels, sound as normalised samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Pixels:
    """How pictures become the input of an encoder.

    They are resized to a square whatever their shape, as in the published training: nothing at
    the edge of a picture is lost, and a face becomes a little narrower.
    """

    size_px: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def of(self, pictures: Sequence[Image.Image]) -> Tensor:
        """``[pictures, 3, size_px, size_px]``, float32."""
        return torch.stack([self._one(picture) for picture in pictures])

    def _one(self, picture: Image.Image) -> Tensor:
        size = (self.size_px, self.size_px)
        resized = picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)
        normal = cv2.LUT(np.asarray(resized), self._normal)
        return torch.from_numpy(normal.transpose(2, 0, 1).copy())

    @cached_property
    def _normal(self) -> np.ndarray:
        """``[256, 1, 3]``: each value of a byte, normalised; looked up, not computed per pixel."""
        values = np.arange(256, dtype=np.float32)[:, None] / 255
        normal = (values - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return normal[:, None]


@dataclass(frozen=True)
class PixelValues:
    """The pixels of each encoder: that part of a processor which needs no tokenizer."""

    pixels: Mapping[str, Mapping[str, Any]]  # fields of `Pixels` by encoder

    def picture_values(self, name: str, pictures: Sequence[Image.Image]) -> Tensor:
        """What the encoder ``name`` reads: ``[pictures, 3, height, width]``."""
        return Pixels(**self.pixels[name]).of(pictures)


def default_pixels(picture_px: int) -> dict[str, dict[str, Any]]:
    """By encoder: EVA-CLIP-g reads pictures as CLIP does, both MAEs as ImageNet's models do."""
    return {
        "image": {"size_px": picture_px, "mean": list(CLIP_MEAN), "std": list(CLIP_STD)},
        "face": {"size_px": 224, "mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)},
        "temporal": {"size_px": 224, "mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)},
    }


def pixels_for(picture_px: int, sizes_px: Mapping[str, int | None]) -> dict[str, dict[str, Any]]:
    """The same for face encoders that read other sizes, by name; null is as published."""
    found = default_pixels(picture_px)
    for name in ("face", "temporal"):
        found[name]["size_px"] = sizes_px.get(name) or found[name]["size_px"]
    return found


def sound_values(samples: np.ndarray) -> Tensor:
    """Mono samples at 16 kHz with mean 0 and variance 1, float32, as HuBERT reads them."""
    values = samples.astype(np.float64)
    normal = (values - values.mean()) / np.sqrt(values.var() + 1e-7)
    return torch.from_numpy(normal.astype(np.float32))
