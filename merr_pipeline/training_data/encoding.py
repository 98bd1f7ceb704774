"""Frozen encoders on their own, without a language model: what fills a feature cache.

Features are those of `EmotionLlamaModel.encode`, whose functions these are. Clips that are encoded
together may differ from clips encoded one by one in the last bits, as matrix products of other
shapes do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig

from merr_pipeline.emotion_llama import encoders
from merr_pipeline.emotion_llama.layout import PRESETS, Layout, layout_from
from merr_pipeline.emotion_llama.parts import load_encoder
from merr_pipeline.emotion_llama.preprocessing import PixelValues, pixels_for
from merr_pipeline.moment.pictures import CROP_SCALE
from merr_pipeline.recipe import ModelRecipe
from merr_pipeline.schema import MerrError
from merr_pipeline.training_data.feature_files import Encoded, MadeBy, content_hash, revision_of
from merr_pipeline.training_data.media import (
    CROPS,
    LEAST_SOUND_S,
    RATE_HZ,
    WhichFrame,
    name_of_frames,
)

PREPROCESSING_VERSION = 1
"""Raised when the same clip and settings come to give another input, or other features of it."""


class FrozenEncoders:
    """Pretrained encoders by name, and the pixels that they read."""

    def __init__(self, folders: Mapping[str, Path], model: ModelRecipe, device: str) -> None:
        """Load them.

        Args:
            folders: by ``image``, ``face``, ``temporal`` and ``audio``.
            model: says layout and dtype.
            device: such as ``cpu`` or ``cuda``.

        Raises:
            MerrError: a folder holds no encoder, or one that cannot read what it would be shown.
        """
        changed = {**PRESETS[model.layout].as_dict(), **model.layout_changes}
        self.layout: Layout = layout_from(changed)
        self.folders, self._dtype, self._device = dict(folders), model.dtype, device
        self._configs = {name: _config(name, path) for name, path in self.folders.items()}
        sizes_px = {name: _size_px(config) for name, config in self._configs.items()}
        self.pixels = PixelValues(pixels_for(self.layout.picture_px, sizes_px))
        self._check()
        self._encoders = {name: self._loaded(path) for name, path in self.folders.items()}

    def made_by(self, frame: WhichFrame) -> MadeBy:
        """What says by what features were made; reads all weights once."""
        facts = {
            name: Encoded(
                model=config.model_type,
                revision=revision_of(self.folders[name]),
                preprocessing=content_hash(PREPROCESSING_VERSION, self._preprocessing(name)),
                shape=self._shape(name, self.layout.pictures if frame == "several" else 1),
                dtype=self._dtype,
            )
            for name, config in self._configs.items()
        }
        return MadeBy(name_of_frames(frame, self.layout.pictures), facts)

    def encode(self, name: str, values: Sequence[Tensor]) -> list[Tensor]:
        """Features of several clips, each as the shape of `made_by` has it, on the CPU."""
        with torch.inference_mode():
            on_device = [one.to(self._device) for one in values]
            return [one.cpu() for one in self._encode(name, on_device)]

    def _encode(self, name: str, values: list[Tensor]) -> Sequence[Tensor]:
        encoder = self._encoders[name]
        if name == "image":
            together = encoders.encode_pictures(encoder, torch.cat(values), affine_norm=False)
            pictures: tuple[Tensor, ...] = together.split([len(one) for one in values])
            return pictures
        vectors = getattr(self.layout, name)
        if name == "audio":  # of other lengths, and a padded sound gives other features
            return [encoders.encode_audio(encoder, one, vectors) for one in values]
        if len(values) == 1:
            encode = encoders.encode_face if name == "face" else encoders.encode_temporal
            return [encode(encoder, values[0], vectors)]
        if name == "face":
            crops = encoders.encode_face(encoder, torch.cat(values), sum(map(len, values)))
            steps = crops.split([len(one) for one in values])
        else:
            steps = tuple(encoders.temporal_steps(encoder, torch.stack(values)))
        return [encoders.over_time(one, vectors) for one in steps]

    def _loaded(self, folder: Path) -> torch.nn.Module:
        encoder = load_encoder(folder, getattr(torch, self._dtype))
        if hasattr(encoder.config, "mask_ratio"):
            encoder.config.mask_ratio = 0.0  # as EmotionLlamaConfig has it
        return encoder.requires_grad_(False).eval().to(self._device)

    def _shape(self, name: str, pictures: int) -> tuple[int, ...]:
        width = self._configs[name].hidden_size
        if name == "image":
            return (pictures, 1 + self.layout.grid**2, width)
        return (getattr(self.layout, name), width)

    def _preprocessing(self, name: str) -> dict[str, Any]:
        if name == "image":
            return {**self.pixels.pixels["image"], "affine_norm": False}
        if name == "audio":
            return {"rate_hz": RATE_HZ, "least_s": LEAST_SOUND_S}
        return {**self.pixels.pixels[name], "crops": CROPS, "scale": CROP_SCALE}

    def _check(self) -> None:
        image, temporal = (self._configs.get(name) for name in ("image", "temporal"))
        if image is not None and self.layout.picture_px // image.patch_size != self.layout.grid:
            raise MerrError(
                f"{self.folders['image']} makes patches of {image.patch_size} pixels, and the "
                f"layout has {self.layout.grid} on a side of {self.layout.picture_px}: set "
                "model.layout_changes.grid and picture_px."
            )
        if temporal is not None and temporal.num_frames != CROPS:
            raise MerrError(
                f"{self.folders['temporal']} reads {temporal.num_frames} frames; clips are shown "
                f"in {CROPS}."
            )


def _config(name: str, folder: Path) -> Any:
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise MerrError(f"model.encoders.{name}: {folder} holds no encoder: {error}") from error


def _size_px(config: Any) -> int | None:
    return getattr(config, "image_size", None)
