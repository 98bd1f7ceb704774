"""What a tiny model can learn in seconds: a dataset, features of its clips, a language model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from builds import rows
from made_emotion_llama import ASKED, WIDTH, made_tokenizer, text_config
from made_rows import MadeStore, made_clip, made_identities
from transformers import AutoModelForCausalLM

from merr_pipeline.dataset.assemble import assemble
from merr_pipeline.dataset.shards import SubsetWriter
from merr_pipeline.recipe import Recipe, load_recipe
from merr_pipeline.settings import load_settings

Row = dict[str, Any]
LABELS = ("happy", "sad", "neutral", "doubt")
STREAMS = ("face", "temporal", "audio")


def made_dataset(out: Path, splits: Mapping[str, int], answer: Callable[[int], str]) -> Path:
    """One record a clip; all ask the same, and only ``answer`` of the clip's number differs.

    Numbers go on from split to split, so no two clips have the same.
    """
    store, clips = MadeStore(), []
    names = [split for split, count in splits.items() for _ in range(count)]
    for number, split in enumerate(names):
        clips.append(made_clip(number, split=split, source_id=f"show {number}"))
        store.add(clips[-1])
    assemble(out, clips, store, [], load_settings(environment={}), made_identities())
    for path in (out / "dataset").glob("fine/*.parquet"):
        path.unlink()
    for path in (out / "dataset").glob("coarse/*.parquet"):
        split = path.name.partition("-")[0]
        ids = {clip.clip_id for clip, name in zip(clips, names, strict=True) if name == split}
        kept = [
            _record(row, answer(number_of(row)))
            for row in rows(out, "coarse")
            if row["clip_id"] in ids and row["task"] == "emotion"
        ]
        with SubsetWriter(path, "coarse", "made") as writer:
            writer.add(kept)
    return out


def number_of(row: Row) -> int:
    """The number of a clip, from its row or a record of it."""
    return int(row["clip_id"].removeprefix("clip_"))


def _record(row: Row, answer: str) -> Row:
    said = [{"role": "user", "content": ASKED.question}, {"role": "assistant", "content": answer}]
    return {**row, "transcript": None, "messages": said}


def features_of(clip: Row) -> dict[str, torch.Tensor]:
    """Three vectors that are this clip's alone."""
    return random_features(f"clip {number_of(clip)}")


def random_features(seed: str) -> dict[str, torch.Tensor]:
    """Three vectors, others for each seed."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4])
    random = torch.Generator().manual_seed(number)
    return {f"{name}_features": torch.randn(1, WIDTH, generator=random) for name in STREAMS}


def made_language_model(folder: Path, family: str = "llama") -> Path:
    """With random weights, and its tokenizer, as somebody published it.

    The weights are larger than fresh ones are: through those, which stay as they are, no adapter
    could make a token likely.
    """
    torch.manual_seed(0)
    tokenizer = made_tokenizer()
    model = AutoModelForCausalLM.from_config(text_config(family, tokenizer))
    for name, weight in model.named_parameters():
        if weight.ndim == 2:
            weight.data *= 25 if "lm_head" in name else 6
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


EVERY_MODULE = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Random weights know nothing that q and v alone could bring forth."""


def tiny_recipe(to: Path, out: Path, language_model: Path, *overrides: str) -> Recipe:
    """All that must be said; the rest small enough for a CPU."""
    return load_recipe(
        "stage1",
        [
            f"to={to}",
            f"data.out={out}",
            f"model.language_model={language_model}",
            "model.dtype=float32",
            f"model.widths={dict.fromkeys(('image', *STREAMS), WIDTH)}",
            "model.layout_changes={picture_px: 56, grid: 4}",
            "data.longest=256",
            "lora.rank=16",
            "lora.alpha=32",
            "lora.dropout=0",
            f"lora.modules=[{', '.join(EVERY_MODULE)}]",
            "learn.steps=6",
            "learn.learning_rate=0.003",
            "learn.least_learning_rate=0.0003",
            "learn.warmup_steps=2",
            "learn.warmup_learning_rate=0.0003",
            "batch.samples=8",
            "batch.row_tokens=512",
            "batch.workers=0",
            "batch.peak_tflops=0.05",
            "keep.log_every=1",
            "keep.merge=false",
            *overrides,
        ],
    )
