"""Pretrained parts of Emotion-LLaMA of random weights, as folders: what a recipe names.

Pictures, crops and sound are of the published sizes; widths and depths are tiny.
"""

from __future__ import annotations

from pathlib import Path

import torch
from made_emotion_llama import WIDTH, encoder_configs, made_tokenizer, text_config
from transformers import (
    AutoModelForCausalLM,
    Blip2VisionConfig,
    PreTrainedConfig,
    VideoMAEConfig,
    ViTMAEConfig,
)

from merr_pipeline.emotion_llama.encoders import build_encoder
from merr_pipeline.emotion_llama.modeling import EmotionLlamaForConditionalGeneration
from merr_pipeline.emotion_llama.parts import from_parts
from merr_pipeline.emotion_llama.processing import EmotionLlamaProcessor

TOKENS = 4096
"""As far as the language model counts; its tokenizer has few words, so texts are long."""


def write_parts(folder: Path) -> dict[str, Path]:
    """``language_model`` and the four encoders, each in a folder of its own."""
    torch.manual_seed(0)
    tokenizer = made_tokenizer()
    config = text_config("llama", tokenizer)
    config.max_position_embeddings = TOKENS
    places = {"language_model": folder / "language_model"}
    AutoModelForCausalLM.from_config(config).save_pretrained(places["language_model"])
    tokenizer.save_pretrained(places["language_model"])
    for name, encoder in published_sizes().items():
        places[name] = folder / name
        build_encoder(encoder).save_pretrained(places[name])
    return places


def published_sizes() -> dict[str, PreTrainedConfig]:
    """Tiny encoders that read what the published ones do."""
    tiny = {
        "hidden_size": WIDTH,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    return {
        "image": Blip2VisionConfig(**tiny, image_size=224, patch_size=14, initializer_range=0.02),
        "face": ViTMAEConfig(**tiny, image_size=224, patch_size=56),
        "temporal": VideoMAEConfig(**tiny, image_size=224, patch_size=56, num_frames=16),
        "audio": encoder_configs()["audio_config"],
    }


def read_parts(
    places: dict[str, Path],
) -> tuple[EmotionLlamaForConditionalGeneration, EmotionLlamaProcessor]:
    """The model before its training."""
    processor = EmotionLlamaProcessor(made_tokenizer())
    encoders = {name: path for name, path in places.items() if name != "language_model"}
    torch.manual_seed(0)
    return from_parts(places["language_model"], processor, encoders), processor
