"""A training run from its recipe to its output folder."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
import transformers

from merr_pipeline.emotion_llama.configuration import ENCODERS
from merr_pipeline.emotion_llama.processing import EmotionLlamaProcessor
from merr_pipeline.files import write_atomically
from merr_pipeline.recipe import Recipe, load_recipe
from merr_pipeline.schema import MerrError
from merr_pipeline.training.computing import prepare, training_arguments
from merr_pipeline.training.learned import LearningData, Ranks, dataset_hash
from merr_pipeline.training.lora import quiet_peft, trained_parameters
from merr_pipeline.training.packing import StepCollator
from merr_pipeline.training.saved import (
    CHECKPOINTS,
    read_summary,
    write_adapter,
    write_merged,
    write_recipe,
    write_summary,
)
from merr_pipeline.training.speed import Sizes, Speed, measured_peak_tflops, sizes_of, synchronize
from merr_pipeline.training.start import RECIPE, completed, trainable
from merr_pipeline.training.trainer import (
    SPEED,
    STAGING,
    EmotionLlamaTrainer,
    checkpoints,
    step_of,
    trained_state,
)
from merr_pipeline.training_data.data import OfClip
from merr_pipeline.training_data.shown import shown

FREE = ("to", "keep", "batch.workers", "batch.peak_tflops")
"""What may differ when a run goes on: it changes nothing that is learned."""

DATASET = "dataset.json"


def train(
    recipe: Recipe, of_clip: OfClip | None = None, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Train, or go on from the last checkpoint, or say that it is done; give the summary.

    Under ``python -m torch.distributed.run`` every process calls it.

    Args:
        recipe: as loaded.
        of_clip: what the model is shown of a clip; by default what ``recipe.data`` says.
        say: told how it goes, on the first rank.

    Raises:
        MerrError: the recipe lacks something, or the output folder holds another run.
    """
    begin = time.perf_counter()
    recipe = completed(recipe)
    assert recipe.to is not None
    place = Ranks(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
    tell = say if place.rank == 0 else _nothing
    check_folder(recipe)
    if (summary := read_summary(recipe.to)) is not None:
        tell(f"{recipe.to} is done: {recipe.learn.steps} steps. For another run set another `to`.")
        return summary
    trainer, processor, sizes = _trainer(recipe, of_clip, place, tell)
    if place.rank == 0:
        shutil.rmtree(recipe.to / CHECKPOINTS / STAGING, ignore_errors=True)
        write_recipe(recipe.to, recipe)
        found = {"manifest_sha256": dataset_hash(recipe)}
        write_atomically(recipe.to / CHECKPOINTS / DATASET, json.dumps(found).encode())
    trainer.wait_for_all()
    _learn(trainer, recipe, place, tell)
    speed = trainer.whole_speed()
    state = trained_state(trainer.model)
    if place.rank == 0:
        write_adapter(recipe.to, trainer.model, processor, state)
        if recipe.keep.merge:
            write_merged(recipe.to, recipe, processor)
        peak = recipe.batch.peak_tflops or measured_peak_tflops(
            trainer.args.device, getattr(torch, recipe.model.dtype)
        )
        summary = _summary(recipe, trainer, speed.report(sizes, peak, place.ranks))
        summary["wall_time_s"] = round(time.perf_counter() - begin, 1)
        write_summary(recipe.to, summary)
        tell(_end(summary))
    trainer.wait_for_all()
    return read_summary(recipe.to) or {}


def check_folder(recipe: Recipe) -> None:
    """Refuse to go on with another recipe, or another dataset, than a run began with.

    Raises:
        MerrError: naming what differs, and what to do.
    """
    assert recipe.to is not None
    if not (recipe.to / RECIPE).is_file():
        if recipe.to.is_dir() and any(recipe.to.iterdir()):
            raise MerrError(f"{recipe.to} holds other files than those of a run: set another `to`.")
        return
    before, now = (_flat(one) for one in (load_recipe(str(recipe.to / RECIPE)), recipe))
    differing = [
        f"{key} {before.get(key)} -> {now.get(key)}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and not any(_within(key, one) for one in FREE)
    ]
    if differing:
        raise MerrError(
            f"{recipe.to} holds a run of another recipe ({'; '.join(differing)}). "
            "Set another `to`, or delete the folder to begin anew."
        )
    noted = recipe.to / CHECKPOINTS / DATASET
    if noted.is_file() and read_summary(recipe.to) is None:
        manifest = json.loads(noted.read_text("utf-8"))["manifest_sha256"]
        if manifest != dataset_hash(recipe):
            raise MerrError(
                f"the dataset in {recipe.data.out} has changed since the run in {recipe.to} began. "
                "Set another `to`, or delete the folder to begin anew."
            )


def _trainer(
    recipe: Recipe, of_clip: OfClip | None, place: Ranks, tell: Callable[[str], None]
) -> tuple[EmotionLlamaTrainer, EmotionLlamaProcessor, Sizes]:
    """All that learns, ready to begin."""
    assert recipe.to is not None
    model, processor = trainable(recipe)
    sizes, inner = sizes_of(model), model.get_base_model()
    if of_clip is None:
        widths = {name: getattr(inner.config, f"{name}_width") for name in ENCODERS}
        of_clip = shown(recipe, processor, list(inner.model.encoders), widths)
    pad = processor.tokenizer.pad_token_id
    collate = StepCollator(inner.config, pad, recipe.batch.row_tokens, recipe.batch.packed)
    data = LearningData(recipe, processor, of_clip, collate, place)
    prepare(model, recipe)
    arguments = training_arguments(
        recipe, recipe.to / CHECKPOINTS, place.ranks, bool(data.validation)
    )
    counts = trained_parameters(model)
    tell(
        f"{len(data.training.records)} records of {len(data.training.clips)} clips, "
        f"{sum(map(len, data.validation.values()))} to validate; learning {counts['lora']:,} "
        f"parameters of LoRA and {counts['projector']:,} of projectors, on {arguments.device} "
        f"x {place.ranks}"
    )
    for clip_id, why in data.lost.items():
        tell(f"{clip_id} is left out: {why}")
    if not data.validation:
        tell("the dataset has no records in the split validation: nothing is validated")
    with quiet_peft():
        trainer = EmotionLlamaTrainer(model, arguments, recipe, data, place, tell)
    return trainer, processor, sizes


def _learn(
    trainer: EmotionLlamaTrainer, recipe: Recipe, place: Ranks, tell: Callable[[str], None]
) -> None:
    """All steps that are not done yet."""
    assert recipe.to is not None
    last = next(reversed(checkpoints(recipe.to / CHECKPOINTS)), None)
    torch.manual_seed(recipe.learn.seed * 1000 + place.rank)  # of dropout, other on every rank
    if last is not None:
        trainer.steps_done = step_of(last)
        if place.rank == 0:  # holds the sums of all
            trainer.speed = Speed.of(json.loads((last / SPEED).read_text("utf-8")))
        tell(f"going on from step {trainer.steps_done}")
    with quiet_peft():
        trainer.train(resume_from_checkpoint=str(last) if last else None)
        synchronize(trainer.args.device)
        trainer.end_step()
        if trainer.eval_dataset and not _validated_last(trainer):
            trainer.evaluate()


def _validated_last(trainer: EmotionLlamaTrainer) -> bool:
    seen = [one["step"] for one in trainer.state.log_history if "eval_loss" in one]
    return bool(seen) and seen[-1] == trainer.state.global_step


def _summary(
    recipe: Recipe, trainer: EmotionLlamaTrainer, speed: Mapping[str, Any]
) -> dict[str, Any]:
    """What ``summary.json`` holds."""
    history = trainer.state.log_history
    inner = trainer.accelerator.unwrap_model(trainer.model).get_base_model()
    losses = [[one["step"], round(one["loss"], 6)] for one in history if "loss" in one]
    validation = [
        {
            "step": one["step"],
            **{k.removeprefix("eval_"): round(v, 6) for k, v in one.items() if "eval_" in k},
        }
        for one in history
        if "eval_loss" in one
    ]
    device = trainer.args.device
    memory = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return {
        "steps": recipe.learn.steps,
        "samples": recipe.learn.steps * recipe.batch.samples,
        "loss": losses[-1][1] if losses else None,
        "losses": losses,
        "validation": validation,
        "trained_parameters": trained_parameters(trainer.model),
        **speed,
        "attention": inner.model.language_model.config._attn_implementation,
        "device": torch.cuda.get_device_name(device) if memory is not None else "cpu",
        "peak_memory_gb": None if memory is None else round(memory / 1e9, 2),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _end(summary: Mapping[str, Any]) -> str:
    used, waited = 100 * summary["mfu"], 100 * summary["data_wait_share"]
    return (
        f"done: loss {summary['loss']}, {summary['tokens_per_s']:,} tokens/s, "
        f"{summary['samples_per_s']:,} samples/s, MFU {used:.1f} % of {summary['peak_tflops']:,} "
        f"TFLOP/s, waited for data {waited:.1f} % of the time, {summary['wall_time_s']:,} s in all"
    )


def _flat(recipe: Recipe) -> dict[str, Any]:
    """Values by dotted key, as JSON has them."""
    found: dict[str, Any] = {}

    def visit(key: str, value: Any) -> None:
        if isinstance(value, dict) and value:
            for name, inner in value.items():
                visit(f"{key}.{name}" if key else name, inner)
        else:
            found[key] = value

    visit("", recipe.model_dump(mode="json"))
    return found


def _within(key: str, section: str) -> bool:
    return key == section or key.startswith(f"{section}.")


def _nothing(text: str) -> None:
    del text
