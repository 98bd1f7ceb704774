"""Emotion-LLaMA with random weights and a tokenizer made on the spot; no download."""

from __future__ import annotations

from dataclasses import replace

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Blip2VisionConfig,
    HubertConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
    VideoMAEConfig,
    ViTMAEConfig,
)

from merr_pipeline.emotion_llama.configuration import EmotionLlamaConfig
from merr_pipeline.emotion_llama.layout import MODERN, PUBLISHED, Layout
from merr_pipeline.emotion_llama.modeling import EmotionLlamaForConditionalGeneration
from merr_pipeline.emotion_llama.processing import EmotionLlamaProcessor, Question

WIDTH = 32  # of every encoder
ANSWERS = [
    "happy",
    "sad",
    "The person frowns and raises his voice, so the emotion is angry.",
    "neutral",
    "Her brows rise and the tone trembles, which suggests worry.",
    "surprise",
    "A slight lip corner pull on one side shows contempt.",
    "doubt",
]
ASKED = Question("What is the emotion of the person?", "reason", "fine, go on")
SMALL = replace(PUBLISHED, picture_px=56, grid=4)  # 4 tokens of a picture
SMALL_MODERN = replace(MODERN, picture_px=56, grid=4)  # 4 tokens too, of squares

CHAT = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
"""As chat models have it, with special tokens of their own."""


def made_tokenizer(chat: str | None = None) -> PreTrainedTokenizerFast:
    """Knows all bytes and the pieces of the answers."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<pad>", "<s>", "</s>", "<|start|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(
        [*ANSWERS, ASKED.question, "[INST] [/INST] <video></video>"], trainer
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="<|end|>" if chat else "</s>",
        pad_token="<pad>",
        chat_template=chat,
    )


def made_processor(layout: Layout = SMALL, chat: str | None = None) -> EmotionLlamaProcessor:
    return EmotionLlamaProcessor(made_tokenizer(chat), layout=layout.as_dict())


def text_config(family: str, tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
    """The vocabulary of the language model: without placeholders, as pretrained ones are."""
    sizes = {
        "vocab_size": tokenizer.vocab_size,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if family == "llama":
        return LlamaConfig(**sizes)
    return Qwen3Config(**sizes, head_dim=16, tie_word_embeddings=family == "qwen3-tied")


def encoder_configs() -> dict[str, PreTrainedConfig]:
    """Two layers each, of the published kinds."""
    sizes = {
        "hidden_size": WIDTH,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    sound = {
        "conv_dim": (16, 16),
        "conv_stride": (5, 4),
        "conv_kernel": (10, 8),
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 2,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "conv_bias": True,
    }
    return {
        "image_config": Blip2VisionConfig(
            **sizes, image_size=56, patch_size=14, initializer_range=0.02
        ),
        "face_config": ViTMAEConfig(**sizes, image_size=32, patch_size=16),
        "temporal_config": VideoMAEConfig(**sizes, image_size=32, patch_size=16, num_frames=8),
        "audio_config": HubertConfig(**sizes, **sound),
    }


def made_model(
    processor: EmotionLlamaProcessor, family: str = "llama", encoders: bool = False, seed: int = 0
) -> EmotionLlamaForConditionalGeneration:
    torch.manual_seed(seed)
    widths = {f"{name}_width": WIDTH for name in ("image", "face", "temporal", "audio")}
    config = EmotionLlamaConfig(
        text_config=text_config(family, processor.tokenizer),
        **(encoder_configs() if encoders else widths),
        **processor.config_fields(),
    )
    return EmotionLlamaForConditionalGeneration(config).eval()


def made_features(seed: int, layout: Layout = SMALL, pictures: int = 1) -> dict[str, torch.Tensor]:
    """As encoders give them."""
    random = torch.Generator().manual_seed(seed)
    streams = {name: getattr(layout, name) for name in ("face", "temporal", "audio")}
    return {
        "image_features": torch.randn(pictures, 1 + layout.grid**2, WIDTH, generator=random),
        **{
            f"{name}_features": torch.randn(count, WIDTH, generator=random)
            for name, count in streams.items()
        },
    }


def vectors(features: dict[str, torch.Tensor]) -> dict[str, int]:
    return {name.removesuffix("_features"): len(value) for name, value in features.items()}


def made_example(
    processor: EmotionLlamaProcessor,
    features: dict[str, torch.Tensor],
    answer: str,
    asked: Question = ASKED,
) -> dict[str, object]:
    return {**processor.example(asked, answer, vectors(features)), **features}


def made_prompt(
    processor: EmotionLlamaProcessor, features: dict[str, torch.Tensor], asked: Question = ASKED
) -> dict[str, object]:
    return {"input_ids": processor.prompt_ids(asked, vectors(features)), **features}
