"""Speech recognisers with random weights, in the file formats of the real ones.

They are small, know no word, and give each sound the same babble every time; different sounds get
different babble. The vocabulary is made here: 256 bytes, then made words.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path

import torch
from ctranslate2.converters import TransformersConverter
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GenerationConfig,
    Qwen2Tokenizer,
    Qwen3ASRConfig,
    Qwen3ASRFeatureExtractor,
    Qwen3ASRForConditionalGeneration,
    Qwen3ASRProcessor,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)
from transformers.models.whisper.tokenization_whisper import LANGUAGES
from whisper.model import ModelDimensions, Whisper

from merr_pipeline.speech.asr.qwen3 import MARKER

TEXT_TOKENS = 50257  # as many as Whisper has: its programs tell the kind of model by the count
LANGUAGE_CODES = list(LANGUAGES)[:100]
SPECIAL = [
    "<|endoftext|>",
    "<|startoftranscript|>",
    *(f"<|{code}|>" for code in LANGUAGE_CODES),
    *("<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>"),
    *("<|nospeech|>", "<|notimestamps|>"),
]
TIMES = [f"<|{0.02 * number:.2f}|>" for number in range(1501)]
VOCABULARY_SIZE = TEXT_TOKENS + len(SPECIAL) + len(TIMES)


def made_words() -> Iterator[str]:
    """ " bababa", " babade" and so on, as a byte-level tokenizer spells them."""
    syllables = [f"{a}{b}" for a, b in product("bdfgklmnprstvz", "aeiou")]
    for parts in product(syllables, syllables, syllables):
        yield "Ġ" + "".join(parts)


def write_tokenizer(folder: Path) -> None:
    """A tokenizer.json."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = made_words()
    tokens = [*letters, *(next(words) for _ in range(TEXT_TOKENS - len(letters) - 1))]
    tokens.append("")  # the sign by which CTranslate2 tells a model of many languages
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in [*SPECIAL, *TIMES]])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))


def write_whisper(folder: Path, seed: int = 0, width: int = 32, layers: int = 2) -> Path:
    """A Whisper as transformers keeps it: config.json, model.safetensors, tokenizer.json …

    ``layers`` are those of the decoder; the encoder has half of them. OpenAI's tiny one is 384
    wide and has 4 of each.
    """
    torch.manual_seed(seed)
    first_special = TEXT_TOKENS
    ids = {token: first_special + number for number, token in enumerate(SPECIAL)}
    config = WhisperConfig(
        vocab_size=VOCABULARY_SIZE,
        d_model=width,
        encoder_layers=layers // 2,
        decoder_layers=layers,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
        pad_token_id=ids["<|endoftext|>"],
        bos_token_id=ids["<|endoftext|>"],
        eos_token_id=ids["<|endoftext|>"],
        decoder_start_token_id=ids["<|startoftranscript|>"],
    )
    model = WhisperForConditionalGeneration(config).eval()
    _make_babble(model, ids["<|endoftext|>"])
    model.generation_config = GenerationConfig(
        is_multilingual=True,
        alignment_heads=[[1, 0], [1, 1]],
        lang_to_id={f"<|{code}|>": ids[f"<|{code}|>"] for code in LANGUAGE_CODES},
        task_to_id={task: ids[f"<|{task}|>"] for task in ("translate", "transcribe")},
        no_timestamps_token_id=ids["<|notimestamps|>"],
        prev_sot_token_id=ids["<|startofprev|>"],
        max_initial_timestamp_index=50,
        max_length=448,
        decoder_start_token_id=config.decoder_start_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
        bos_token_id=config.bos_token_id,
        suppress_tokens=[],
        begin_suppress_tokens=[220, config.eos_token_id],
    )
    model.save_pretrained(folder)
    write_tokenizer(folder)
    WhisperTokenizer.from_pretrained(folder).save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    return folder


def _make_babble(model: WhisperForConditionalGeneration, end: int) -> None:
    """Random weights, such that the words hang on the sound, and end after some ten of them."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and "embed" not in name:
                weight.normal_(0, weight[0].numel() ** -0.5)
            if "encoder_attn" in name and weight.ndim > 1:  # much depends on what is heard
                weight.mul_(3)
        decoder = model.model.decoder
        decoder.embed_tokens.weight.normal_(0, 2)
        decoder.embed_positions.weight.normal_(0, 5)
        steps = torch.arange(len(decoder.embed_positions.weight), dtype=torch.float32)
        decoder.embed_tokens.weight[:, 0] = 0
        decoder.embed_tokens.weight[end, 0] = 12
        decoder.embed_positions.weight[:, 0] = 2 * (steps - 8)


def write_openai(whisper_folder: Path, path: Path) -> Path:
    """The same model as OpenAI's program keeps it: one .pt."""
    model = WhisperForConditionalGeneration.from_pretrained(whisper_folder)
    own = model.config
    dims = {
        "n_mels": own.num_mel_bins,
        "n_audio_ctx": own.max_source_positions,
        "n_audio_state": own.d_model,
        "n_audio_head": own.encoder_attention_heads,
        "n_audio_layer": own.encoder_layers,
        "n_vocab": own.vocab_size,
        "n_text_ctx": own.max_target_positions,
        "n_text_state": own.d_model,
        "n_text_head": own.decoder_attention_heads,
        "n_text_layer": own.decoder_layers,
    }
    state = {_openai_name(name): w for name, w in model.model.state_dict().items()}
    Whisper(ModelDimensions(**dims)).load_state_dict(state)
    torch.save({"dims": dims, "model_state_dict": state}, path)
    return path


def _openai_name(name: str) -> str:
    for theirs, ours in (
        ("layers.", "blocks."),
        ("encoder_attn_layer_norm", "cross_attn_ln"),
        ("self_attn_layer_norm", "attn_ln"),
        ("final_layer_norm", "mlp_ln"),
        ("encoder_attn", "cross_attn"),
        ("self_attn", "attn"),
        ("q_proj", "query"),
        ("k_proj", "key"),
        ("v_proj", "value"),
        ("out_proj", "out"),
        ("fc1", "mlp.0"),
        ("fc2", "mlp.2"),
        ("embed_tokens", "token_embedding"),
        ("embed_positions.weight", "positional_embedding"),
        ("encoder.layer_norm", "encoder.ln_post"),
        ("decoder.layer_norm", "decoder.ln"),
    ):
        name = name.replace(theirs, ours)
    return name


def write_ctranslate2(whisper_folder: Path, folder: Path) -> Path:
    """The same model as faster-whisper reads it: a folder of CTranslate2."""
    files = ["tokenizer.json", "preprocessor_config.json"]
    TransformersConverter(str(whisper_folder), copy_files=files).convert(str(folder))
    return folder


QWEN_SPECIAL = [
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    *("<|audio_start|>", "<|audio_end|>", "<|audio_pad|>"),
]
QWEN_TEMPLATE = (  # as the real one frames what is said
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}{% if part.type == 'audio' %}"
    "<|audio_start|><|audio_pad|><|audio_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}"
    "{% if not loop.last %}<|im_end|>\n{% endif %}{% endfor %}"
)


def write_qwen3_asr(folder: Path, seed: int = 0) -> Path:
    """A Qwen3-ASR as transformers keeps it."""
    torch.manual_seed(seed)
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *islice(made_words(), 500)]
    tokenizer = Qwen2Tokenizer(
        vocab={token: number for number, token in enumerate(tokens)},
        merges=[],
        extra_special_tokens={
            "audio_token": "<|audio_pad|>",
            "audio_bos_token": "<|audio_start|>",
            "audio_eos_token": "<|audio_end|>",
        },
    )
    tokenizer.add_special_tokens({"additional_special_tokens": QWEN_SPECIAL})
    tokenizer.add_tokens([MARKER])
    ids = tokenizer.get_vocab()
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "max_position_embeddings": 4096,
        "model_type": "qwen3",
    }
    audio = {
        "encoder_layers": 1,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 64,
        "d_model": 32,
        "output_dim": 32,
        "downsample_hidden_size": 8,
        "model_type": "qwen3_asr_encoder",
    }
    config = Qwen3ASRConfig(
        text_config=text,
        audio_config=audio,
        audio_token_id=ids["<|audio_pad|>"],
        pad_token_id=ids["<|endoftext|>"],
        eos_token_id=[ids["<|endoftext|>"], ids["<|im_end|>"]],
    )
    model = Qwen3ASRForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(0, 1 if "embed" in name else 3 * weight[0].numel() ** -0.5)
        model.get_input_embeddings().weight[[ids[t] for t in (MARKER, *QWEN_SPECIAL[3:])]] = 0
    model.save_pretrained(folder)
    Qwen3ASRProcessor(Qwen3ASRFeatureExtractor(), tokenizer, QWEN_TEMPLATE).save_pretrained(folder)
    return folder


def write_all(folder: Path) -> Path:
    """``whisper`` and ``qwen3_asr`` of transformers, ``ctranslate2``, ``whisper.pt`` of OpenAI."""
    write_qwen3_asr(folder / "qwen3_asr")
    write_whisper(folder / "whisper")
    write_ctranslate2(folder / "whisper", folder / "ctranslate2")
    write_openai(folder / "whisper", folder / "whisper.pt")
    return folder
