"""The model at the start of a run: put together from its parts, or as an earlier run left it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoConfig, AutoTokenizer

from merr_pipeline.emotion_llama.configuration import EmotionLlamaConfig
from merr_pipeline.emotion_llama.layout import PRESETS
from merr_pipeline.emotion_llama.modeling import EmotionLlamaForConditionalGeneration
from merr_pipeline.emotion_llama.parts import from_parts
from merr_pipeline.emotion_llama.preprocessing import pixels_for
from merr_pipeline.emotion_llama.processing import EmotionLlamaProcessor
from merr_pipeline.recipe import Recipe, load_recipe
from merr_pipeline.schema import MerrError
from merr_pipeline.training.lora import quiet_peft, with_lora

ADAPTER, PROCESSOR, RECIPE = "adapter", "processor", "recipe.yaml"
"""Of the output folder of a run."""

SAME = ("rank", "alpha", "modules")
"""What adapters that go on learning cannot change."""


def completed(recipe: Recipe) -> Recipe:
    """The recipe with absolute paths, and the model of ``model.start`` filled in.

    Raises:
        MerrError: it does not say where the model, the data or the output is, or a folder is not
            there, or the adapters of the earlier run are others than this recipe wants.
    """
    for key, path in (("to", recipe.to), ("data.out", recipe.data.out)):
        if path is None:
            raise MerrError(f"{key} is not set: write it in the recipe, or --set {key}=FOLDER.")
    values = recipe.model_dump()
    if recipe.model.start is not None:
        values["model"] = _model_of(recipe.model.start, recipe)
    elif recipe.model.language_model is None:
        raise MerrError(
            "model.language_model is not set: --set model.language_model=FOLDER of a causal "
            "language model, or --set model.start=FOLDER of an earlier run."
        )
    found = Recipe.model_validate(_absolute(values))
    wanted = [found.model.language_model, found.data.out, *found.model.encoders.folders().values()]
    for folder in wanted:
        if folder is not None and not folder.is_dir():
            raise MerrError(f"{folder} is not a folder.")
    return found


def base_model(
    recipe: Recipe,
) -> tuple[EmotionLlamaForConditionalGeneration, EmotionLlamaProcessor]:
    """The frozen model of a completed recipe, without adapters, on the CPU; and its processor.

    Raises:
        MerrError: the folder of the language model holds none.
    """
    folder = recipe.model.language_model
    assert folder is not None  # of a completed recipe
    dtype = getattr(torch, recipe.model.dtype)
    try:
        if AutoConfig.from_pretrained(folder, local_files_only=True).model_type == (
            EmotionLlamaConfig.model_type
        ):
            model = EmotionLlamaForConditionalGeneration.from_pretrained(folder, dtype=dtype)
            return model, EmotionLlamaProcessor.from_pretrained(folder)
        processor = _processor(recipe, folder)
        torch.manual_seed(recipe.learn.seed)  # projectors are random
        model = from_parts(
            folder, processor, recipe.model.encoders.folders(), recipe.model.widths, dtype
        )
    except (OSError, ValueError) as error:
        raise MerrError(f"{folder} and the encoders give no model: {error}") from error
    return model, processor


def trainable(recipe: Recipe) -> tuple[PeftModel, EmotionLlamaProcessor]:
    """The model that a completed recipe trains: adapters and projectors learn, all else is frozen.

    Raises:
        MerrError: no model, or one without the modules that adapters are wanted for.
    """
    model, processor = base_model(recipe)
    model.requires_grad_(False)
    start = recipe.model.start
    if start is not None and (start / ADAPTER).is_dir():
        return with_adapter(model, start / ADAPTER, learns=True), processor
    torch.manual_seed(recipe.learn.seed + 1)  # the same adapters with any projectors
    try:
        return with_lora(model, recipe.lora), processor
    except ValueError as error:
        raise MerrError(f"lora.modules: {error}") from error


def with_adapter(
    model: EmotionLlamaForConditionalGeneration, folder: Path, learns: bool = False
) -> PeftModel:
    """The model with saved adapters and projectors."""
    model.model.projector.float()  # their dtype is that of what they replace
    with quiet_peft():
        return PeftModel.from_pretrained(model, folder, is_trainable=learns)


def _model_of(start: Path, recipe: Recipe) -> dict[str, Any]:
    """The section ``model`` of a run that goes on from ``start``."""
    if (start / ADAPTER).is_dir() and (start / RECIPE).is_file():
        earlier = load_recipe(str(start / RECIPE))
        for name in SAME:
            before, now = getattr(earlier.lora, name), getattr(recipe.lora, name)
            if before != now:
                raise MerrError(
                    f"lora.{name} is {now}, and {start} was trained with {before}. Use the same, "
                    f"or put new adapters on the merged model: model.start={start / 'model'}."
                )
        return {**earlier.model.model_dump(), "start": start}
    if (start / "config.json").is_file():
        return {**recipe.model.model_dump(), "start": start, "language_model": start}
    raise MerrError(f"model.start: {start} holds neither a finished run nor a model.")


def _processor(recipe: Recipe, folder: Path) -> EmotionLlamaProcessor:
    layout = {**PRESETS[recipe.model.layout].as_dict(), **recipe.model.layout_changes}
    sizes_px = {
        name: getattr(AutoConfig.from_pretrained(encoder), "image_size", None)
        for name, encoder in recipe.model.encoders.folders().items()
    }
    pixels = pixels_for(layout["picture_px"], sizes_px)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token  # padding is masked; any token will do
    return EmotionLlamaProcessor(tokenizer, layout=layout, pixels=pixels)


def _absolute(values: Any) -> Any:
    """With every path absolute, so that a folder of a run can be read from anywhere."""
    if isinstance(values, Mapping):
        return {key: _absolute(value) for key, value in values.items()}
    return values.absolute() if isinstance(values, Path) else values
