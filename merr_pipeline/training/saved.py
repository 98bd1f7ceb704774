"""The output folder of a run: written when it ends, read by whoever wants answers.

::

    adapter/      PEFT adapter, with the projectors in it
    model/        the whole model with the adapter merged, and the processor (keep.merge)
    processor/    tokenizer, layout, preprocessing
    recipe.yaml   as used, every value
    summary.json  losses and speed; written last, so a folder that has it is finished
    checkpoints/  what a run that was interrupted goes on from
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from peft import PeftModel
from torch import Tensor
from transformers import AutoConfig

from merr_pipeline.emotion_llama.configuration import EmotionLlamaConfig
from merr_pipeline.emotion_llama.modeling import EmotionLlamaForConditionalGeneration
from merr_pipeline.emotion_llama.processing import EmotionLlamaProcessor
from merr_pipeline.files import sync, write_atomically
from merr_pipeline.recipe import Recipe, load_recipe
from merr_pipeline.schema import MerrError
from merr_pipeline.training.start import ADAPTER, PROCESSOR, RECIPE, base_model, with_adapter

MODEL, SUMMARY, CHECKPOINTS = "model", "summary.json", "checkpoints"


def load_run(
    folder: Path, device: str | torch.device | None = None
) -> tuple[EmotionLlamaForConditionalGeneration, EmotionLlamaProcessor]:
    """The model of a finished run with its adapters merged, or of a plain model folder.

    Args:
        folder: of a run, or of a model as ``save_pretrained`` leaves it.
        device: null: the GPU where there is one.

    Raises:
        MerrError: it holds no model, or the language model it was trained on is not there.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    whole = [one for one in (folder / MODEL, folder) if (one / "config.json").is_file()]
    if whole:
        model, processor = _plain(whole[0])
    elif (folder / ADAPTER).is_dir() and (folder / RECIPE).is_file():
        base, _ = base_model(load_recipe(str(folder / RECIPE)))
        model = with_adapter(base, folder / ADAPTER).merge_and_unload()
        processor = EmotionLlamaProcessor.from_pretrained(folder / PROCESSOR)
    else:
        raise MerrError(f"{folder} holds no trained model: give the output folder of `merr train`.")
    return model.to(device).eval(), processor


def _plain(folder: Path) -> tuple[EmotionLlamaForConditionalGeneration, EmotionLlamaProcessor]:
    try:
        kind = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
    except (OSError, ValueError) as error:
        raise MerrError(f"{folder} holds no model: {error}") from error
    if kind != EmotionLlamaConfig.model_type:
        raise MerrError(f"{folder} holds a model of the kind {kind}, not emotion_llama.")
    model = EmotionLlamaForConditionalGeneration.from_pretrained(folder, dtype="auto")
    return model, EmotionLlamaProcessor.from_pretrained(folder)


def write_adapter(
    to: Path, model: PeftModel, processor: EmotionLlamaProcessor, state: Mapping[str, Tensor]
) -> None:
    """Write ``adapter/`` and ``processor/``; ``state`` holds what was trained, whole, by name."""
    _whole(to / PROCESSOR, lambda folder: processor.save_pretrained(folder))
    _whole(
        to / ADAPTER,
        lambda folder: model.save_pretrained(folder, state_dict=dict(state)),
    )


def write_merged(to: Path, recipe: Recipe, processor: EmotionLlamaProcessor) -> None:
    """Write ``model/``: a fresh base with the adapter of ``to`` merged, made on the CPU."""
    base, _ = base_model(recipe)
    merged = with_adapter(base, to / ADAPTER).merge_and_unload()

    def write(folder: Path) -> None:
        merged.save_pretrained(folder)
        processor.save_pretrained(folder)

    _whole(to / MODEL, write)


def write_recipe(to: Path, recipe: Recipe) -> None:
    """Write ``recipe.yaml``."""
    text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)
    write_atomically(to / RECIPE, text.encode())


def write_summary(to: Path, summary: Mapping[str, Any]) -> None:
    """Write ``summary.json``, last of all."""
    write_atomically(to / SUMMARY, (json.dumps(summary, indent=2) + "\n").encode())


def read_summary(to: Path) -> dict[str, Any] | None:
    """Of a finished run; null where it is not finished."""
    path = to / SUMMARY
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def _whole(folder: Path, write: Callable[[Path], object]) -> None:
    """A folder that is there whole or not at all."""
    temporary = folder.with_name(f".tmp-{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    write(temporary)
    settle(temporary, folder)


def settle(temporary: Path, folder: Path) -> None:
    """Give a finished folder its name, after its content has reached the disk."""
    for path in sorted(temporary.rglob("*")):
        sync(path)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)
    sync(folder.parent)
