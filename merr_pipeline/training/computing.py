"""How a run is computed: arguments of the Trainer, attention, kernels, compilation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from peft import PeftModel
from transformers import TrainingArguments

from merr_pipeline.emotion_llama.modeling import EmotionLlamaForConditionalGeneration
from merr_pipeline.recipe import Recipe
from merr_pipeline.schema import MerrError
from merr_pipeline.training.attention import VARLEN, why_not_varlen
from merr_pipeline.training.lora import in_autocast


def training_arguments(
    recipe: Recipe, folder: Path, ranks: int, validated: bool
) -> TrainingArguments:
    """What the Trainer is told; it also finds the device and the other ranks.

    Args:
        recipe: of the run.
        folder: of checkpoints.
        ranks: processes.
        validated: whether there is a validation split.
    """
    steps = recipe.learn.steps
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=recipe.batch.samples // ranks,
        learning_rate=recipe.learn.learning_rate,
        max_grad_norm=recipe.learn.clip_norm,
        seed=recipe.learn.seed,
        use_cpu=not torch.cuda.is_available(),
        logging_steps=min(recipe.keep.log_every, steps),
        logging_nan_inf_filter=False,
        eval_strategy="steps" if validated else "no",
        eval_steps=min(recipe.keep.validate_every, steps),
        save_strategy="steps",
        save_steps=min(recipe.keep.save_every, steps),
        remove_unused_columns=False,
        ignore_data_skip=True,  # our order knows where to go on
        disable_tqdm=True,
        report_to="none",
    )


def prepare(model: PeftModel, recipe: Recipe) -> None:
    """Choose attention and kernels, in place.

    Raises:
        MerrError: what the recipe wants is not installed.
    """
    inner: EmotionLlamaForConditionalGeneration = model.get_base_model()
    language: Any = inner.model.language_model
    attention = recipe.batch.attention
    if attention == "auto":
        attention = _fastest(language, recipe)
    try:
        language.set_attn_implementation(VARLEN if attention == "varlen" else attention)
    except (ImportError, ValueError) as error:
        raise MerrError(f"batch.attention={attention}: {error}") from error
    if recipe.batch.liger:
        _use_liger(language)
    if recipe.model.dtype == "bfloat16":
        in_autocast(model)
    if recipe.batch.checkpointing:
        name = "activation_checkpointing_enable"  # transformers 5.17: gradient_...
        enable = getattr(language, name, None) or language.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    if recipe.batch.compile:
        for layer in language.layers:
            layer.compile()


def _fastest(language: Any, recipe: Recipe) -> Literal["varlen", "sdpa"]:
    """What ``auto`` stands for."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype: torch.dtype = getattr(torch, recipe.model.dtype)
    if not recipe.batch.packed or why_not_varlen(language.config, dtype, device):
        return "sdpa"
    return "varlen"


def _use_liger(language: Any) -> None:
    """Norm, rope and SwiGLU by liger-kernel, on the language model itself.

    It chooses by the model's type, and ours is unknown to it; its fused loss is not used.
    """
    try:
        from liger_kernel.transformers import _apply_liger_kernel_to_instance
    except ImportError as error:
        raise MerrError("batch.liger needs liger-kernel: pip install liger-kernel") from error
    if not torch.cuda.is_available():
        raise MerrError("batch.liger needs a GPU.")
    _apply_liger_kernel_to_instance(
        model=language,
        rope=True,
        rms_norm=True,
        swiglu=True,
        cross_entropy=False,
        fused_linear_cross_entropy=False,
    )
