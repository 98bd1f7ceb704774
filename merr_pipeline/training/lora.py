"""What is trained: low-rank adapters in the language model, and the projectors whole."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer

from merr_pipeline.emotion_llama.modeling import EmotionLlamaForConditionalGeneration
from merr_pipeline.recipe import LoraRecipe


def lora_pattern(modules: Sequence[str]) -> str:
    """Names of modules that get adapters: those of the language model, never of an encoder.

    Encoders have modules of the same names; by their bare names most adapters would land there.
    """
    return rf"model\.language_model\..*\.({'|'.join(map(re.escape, modules))})"


def with_lora(model: EmotionLlamaForConditionalGeneration, recipe: LoraRecipe) -> PeftModel:
    """The model with fresh adapters, which change nothing yet; all else but projectors is frozen.

    Raises:
        ValueError: the language model has no such modules.
    """
    model.model.projector.float()  # PEFT trains a copy, of the same dtype
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=lora_pattern(recipe.modules),
        modules_to_save=["projector"],
        task_type="CAUSAL_LM",
    )
    with quiet_peft():
        return get_peft_model(model, config)


def in_autocast(model: PeftModel) -> None:
    """Leave it to autocast what adapters compute in.

    PEFT turns the input of each adapter into fp32, which costs memory traffic and is undone by
    autocast at once.
    """
    for module in model.modules():
        if isinstance(module, BaseTunerLayer) and hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = False


def trained_parameters(model: torch.nn.Module) -> dict[str, int]:
    """How many parameters are trained: of ``lora``, and of ``projector``."""
    counts = {"lora": 0, "projector": 0}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            counts["lora" if ".lora_" in name else "projector"] += parameter.numel()
    return counts


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Without the warning that peft 0.21 draws from transformers 5.23 by an old name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        yield
