"""A model put together from a pretrained language model and pretrained encoders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from merr_pipeline.emotion_llama.configuration import ENCODERS, EmotionLlamaConfig
from merr_pipeline.emotion_llama.encoders import NATIVE
from merr_pipeline.emotion_llama.modeling import EmotionLlamaForConditionalGeneration, Projector
from merr_pipeline.emotion_llama.processing import EmotionLlamaProcessor
from merr_pipeline.schema import MerrError


def from_parts(
    language_model: Path,
    processor: EmotionLlamaProcessor,
    encoders: Mapping[str, Path] | None = None,
    widths: Mapping[str, int] | None = None,
    dtype: torch.dtype = torch.float32,
) -> EmotionLlamaForConditionalGeneration:
    """The model before its training: all is pretrained but the projectors, which are random.

    Projectors are fp32 whatever the rest is: steps of a small learning rate are lost in bf16.
    Nothing is fetched. The vocabulary stays as it is, for placeholders need no embeddings.

    Args:
        language_model: folder of a causal language model.
        processor: made with its tokenizer.
        encoders: folders by ``image``, ``face``, ``temporal`` and ``audio``.
        widths: of the features of encoders that are not there, where not the published ones.
        dtype: of language model and encoders.

    Raises:
        ValueError: the head of the language model has a bias, which this model has no place for.
    """
    text = AutoModelForCausalLM.from_pretrained(language_model, dtype=dtype, local_files_only=True)
    head = text.get_output_embeddings()
    if getattr(head, "bias", None) is not None:
        raise ValueError(f"the head of {language_model} has a bias")
    loaded = {name: load_encoder(path, dtype) for name, path in (encoders or {}).items()}
    config = EmotionLlamaConfig(
        text_config=text.config,
        **{f"{name}_config": encoder.config for name, encoder in loaded.items()},
        **{f"{name}_width": width for name, width in (widths or {}).items()},
        **processor.config_fields(),
    )
    with torch.device("meta"):  # takes no memory; every part is replaced
        model = EmotionLlamaForConditionalGeneration(config)
    model.model.language_model, model.lm_head = text.base_model, head
    model.model.encoders.update(loaded)
    model.model.encoders.requires_grad_(False)
    model.model.projector = Projector(config)
    never = model.generation_config.suppress_tokens
    model.generation_config = text.generation_config
    model.generation_config.suppress_tokens = never
    model.eval()
    return model


def load_encoder(folder: Path, dtype: torch.dtype) -> torch.nn.Module:
    """A pretrained encoder; nothing is fetched."""
    kind = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
    made: torch.nn.Module = NATIVE.get(kind, AutoModel).from_pretrained(
        folder, dtype=dtype, local_files_only=True
    )
    return made


def add_encoder(
    model: EmotionLlamaForConditionalGeneration,
    processor: EmotionLlamaProcessor,
    name: str,
    folder: Path,
) -> None:
    """Put an encoder into a model that was trained without, on features that it had made.

    Raises:
        MerrError: there is no encoder of this name, the model has it, or its features are of
            another width than those that the model learned from.
    """
    if name not in ENCODERS or name in model.model.encoders:
        why = "the model has it" if name in ENCODERS else f"there is {', '.join(ENCODERS)}"
        raise MerrError(f"encoder {name}: {why}.")
    try:
        encoder = load_encoder(folder, model.lm_head.weight.dtype).to(model.device).eval()
    except (OSError, ValueError) as error:
        raise MerrError(f"encoder {name}: {folder} holds none: {error}") from error
    found, width = encoder.config.hidden_size, getattr(model.config, f"{name}_width")
    if found != width:
        raise MerrError(
            f"encoder {name}: {folder} makes features of width {found}, and the model learned from "
            f"{width}."
        )
    if hasattr(encoder.config, "mask_ratio"):
        encoder.config.mask_ratio = 0.0  # as EmotionLlamaConfig has it
    if name in processor.pixels and name != "image":
        processor.pixels[name]["size_px"] = encoder.config.image_size
    model.model.encoders[name] = encoder.requires_grad_(False)
    setattr(model.config, f"{name}_config", encoder.config)
