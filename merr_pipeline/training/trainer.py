"""The HF Trainer, taught our steps: several forwards each, timed, with a loss for each task."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from merr_pipeline.files import write_atomically
from merr_pipeline.recipe import Recipe
from merr_pipeline.schema import MerrError
from merr_pipeline.training.learned import LearningData, Ranks
from merr_pipeline.training.optimizer import make_optimizer, make_schedule
from merr_pipeline.training.packing import Step, unlearned
from merr_pipeline.training.parallel import (
    Sharded,
    gradients_met,
    load_spread,
    replicated,
    shard,
    whole,
)
from merr_pipeline.training.saved import settle
from merr_pipeline.training.speed import Speed, synchronize

SPEED, OPTIMIZER, SCHEDULE = "speed.json", "optimizer.pt", "schedule.pt"
STAGING = ".tmp-staging"


class EmotionLlamaTrainer(Trainer):
    """Steps of the optimizer over `Step`s.

    The loss of a step is the mean over all supervised tokens of all its forwards on all ranks, so
    it does not depend on how examples are packed or spread.
    """

    control: Any  # the Trainer's own, as are these
    optimizer: Any
    lr_scheduler: Any

    def __init__(
        self,
        model: nn.Module,
        arguments: TrainingArguments,
        recipe: Recipe,
        data: LearningData,
        place: Ranks,
        say: Callable[[str], None],
    ) -> None:
        super().__init__(model=model, args=arguments, eval_dataset=[0] if data.validation else None)
        self.remove_callback(PrinterCallback)
        self._recipe, self._data, self._place, self._say = recipe, data, place, say
        self._spread = place.ranks > 1 and recipe.batch.parallel == "fsdp"
        self._mixed = recipe.model.dtype == "bfloat16"
        self._staging: Path | None = None
        self.steps_done = 0  # before this process began
        self.speed = Speed()
        self._first: tuple[Any, ...] | None = None  # the step in which workers start
        self._begun_s = self._aside_s = self._waited_s = 0.0
        self._step: Step | None = None

    # ---- data

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Ours: what a rank learns is decided by the order alone, not by accelerate."""
        return self._data.training_loader(self.steps_done)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Step], num_batches: int, device: torch.device
    ) -> tuple[list[Step], Tensor | None]:
        """The next step of this rank, and the supervised tokens of all ranks."""
        del num_batches
        if self.state.global_step >= self.args.max_steps:  # killed after its last checkpoint
            return [], None
        self.end_step()
        self._begun_s = time.perf_counter()
        try:
            step = next(epoch_iterator)
        except MerrError as error:
            raise MerrError(_of_worker(str(error))) from error
        self._waited_s, self._aside_s = time.perf_counter() - self._begun_s, 0.0
        self._step = step
        items, forwards = self._of_all(step, device)
        spare = [unlearned(step.batches[-1])] * (forwards - len(step.batches))
        return [Step([*step.batches, *spare], step.lengths, step.supervised)], items

    def _of_all(self, step: Step, device: torch.device) -> tuple[Tensor, int]:
        """Supervised tokens of all ranks, and the most forwards of any."""
        items = torch.tensor(step.supervised, device=device)
        if self._place.ranks == 1:
            return items, len(step.batches)
        forwards = torch.tensor(len(step.batches), device=device)
        torch.distributed.all_reduce(items)
        torch.distributed.all_reduce(forwards, op=torch.distributed.ReduceOp.MAX)
        return items, int(forwards)

    # ---- learning

    def training_step(
        self,
        model: nn.Module,
        inputs: Step,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Forward and back for each part of the step; ranks meet at the last one."""
        model.train()
        total = torch.zeros((), device=self.args.device)
        for number, batch in enumerate(inputs.batches):
            last = number == len(inputs.batches) - 1
            with gradients_met(model, now=last):
                # Gradients of ranks are averaged, and their losses are parts of one mean.
                loss = self._loss(model, batch, num_items_in_batch) * self._place.ranks
                loss.backward()
            total += loss.detach()
        return total

    def _loss(self, model: nn.Module, batch: dict[str, Any], items: Any, **how: Any) -> Tensor:
        """Of one forward: in bf16 where the model is, but for what must be more exact."""
        given = self._prepare_inputs(batch)
        with torch.autocast(self.args.device.type, torch.bfloat16, self._mixed):
            loss: Tensor = model(**given, num_items_in_batch=items, **how).loss
        return loss

    def _clip_grad_norm(self, model: nn.Module) -> Tensor:
        """The norm of all gradients, from before they were clipped."""
        norm = nn.utils.clip_grad_norm_(model.parameters(), self.args.max_grad_norm)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def _wrap_model(self, model: nn.Module, *_: Any, **__: Any) -> nn.Module:
        """For several ranks."""
        if self._place.ranks == 1 or isinstance(model, (Sharded, DistributedDataParallel)):
            return model
        return Sharded(model) if self._spread else replicated(model, self.args.device)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Three groups, of weights that are spread by now if they are to be."""
        if self.optimizer is None:
            if self._spread:
                layers = self.model.get_base_model().model.language_model.layers
                shard(self.model, layers, self._place.ranks, self.args.device)
            self.optimizer = make_optimizer(model or self.model, self._recipe.learn)
        made: torch.optim.Optimizer = self.optimizer
        return made

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> Any:
        """The published one."""
        del num_training_steps
        if self.lr_scheduler is None:
            self.lr_scheduler = make_schedule(optimizer or self.optimizer, self._recipe.learn)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted here: see `speed`."""
        del inputs
        return 0

    # ---- looking

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Loss on the validation split, of each task and of all."""
        with self.aside(), torch.no_grad():
            sums = {task: self._validated(task) for task in self._data.validation}
        found = {
            f"eval_loss_{task}": total / max(count, 1) for task, (total, count) in sums.items()
        }
        every = [sum(one[part] for one in sums.values()) for part in (0, 1)]
        found["eval_loss"] = every[0] / max(every[1], 1)
        self.log(found)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        return found

    def _validated(self, task: str) -> tuple[float, float]:
        """Sum of losses and number of supervised tokens, of all ranks."""
        self.model.eval()
        sums = torch.zeros(2, dtype=torch.float64, device=self.args.device)
        # Ranks that share one model's weights must do the same forwards: then each does all.
        apart = self._place.ranks > 1 and not self._spread
        for step in self._data.validation_loader(task, apart):
            for batch in step.batches:
                sums[0] += self._loss(self.model, batch, 1, logits_to_keep=1)
            sums[1] += step.supervised
        if apart:
            torch.distributed.all_reduce(sums)
        total, count = sums.tolist()
        return total, count

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Keep the numbers and say them, but for the Trainer's own summary.

        Raises:
            MerrError: the loss is no number any more.
        """
        if not math.isfinite(logs.get("loss", 0.0)):
            raise MerrError(
                f"the loss is {logs['loss']} at step {self.state.global_step}. Checkpoints from "
                "before are kept; a smaller learn.learning_rate is the first thing to try."
            )
        if "train_runtime" in logs:
            return
        super().log(logs, start_time)
        names = {"grad_norm": "gradient", "learning_rate": "rate"}
        told = ", ".join(
            f"{names.get(name, name).replace('eval_', 'validation ').replace('_', ' ')} {one:.4g}"
            for name, one in logs.items()
            if name != "epoch"
        )
        self._say(f"step {self.state.global_step}/{self._recipe.learn.steps}: {told}")

    # ---- time

    def end_step(self) -> None:
        """Count the step that was under way; the first one only if it stays the only one."""
        if self._step is None:
            return
        seconds = time.perf_counter() - self._begun_s - self._aside_s
        counted = (self._step.lengths, self._step.supervised, seconds, self._waited_s)
        self._step = None
        if self._first is None:
            self._first = counted
        else:
            self.speed.add(*counted)

    def whole_speed(self) -> Speed:
        """Of all ranks and all processes of this run so far. All ranks must call."""
        found = self.speed
        if not found.steps and self._first:
            found = Speed()
            found.add(*self._first)
        return found.of_all(self._place.ranks, self.args.device)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Time that is none of the steps'."""
        synchronize(self.args.device)
        begin = time.perf_counter()
        yield
        self._aside_s += time.perf_counter() - begin

    # ---- checkpoints

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """As the Trainer does, but in a folder that gets its name when it is whole."""
        folder = Path(self.args.output_dir)
        name = f"checkpoint-{self.state.global_step}"
        synchronize(self.args.device)
        self.end_step()
        with self.aside():
            self._staging = folder / STAGING
            try:
                super()._save_checkpoint(model, trial)
            finally:
                self._staging = None
            speed = self.whole_speed()
            self.wait_for_all()
            if self._place.rank == 0:
                written = folder / STAGING / name
                write_atomically(written / SPEED, json.dumps(speed.as_dict()).encode())
                settle(written, folder / name)
                written.parent.rmdir()
                for old in checkpoints(folder)[: -self._recipe.keep.checkpoints]:
                    shutil.rmtree(old)
            self.wait_for_all()

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """What was trained, and nothing else. All ranks must call."""
        state = trained_state(self.model)
        if self.args.should_save:
            self.model.save_pretrained(output_dir, state_dict=state)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """The same file for any number of ranks. All ranks must call."""
        state = whole(self.optimizer.state_dict())
        if self.args.should_save:
            torch.save(state, Path(output_dir) / OPTIMIZER)
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULE)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        state = torch.load(Path(checkpoint) / OPTIMIZER, map_location="cpu", weights_only=True)
        if self._spread:
            load_spread(self.optimizer.optimizer, state)
        else:
            self.optimizer.load_state_dict(state)
        schedule = torch.load(Path(checkpoint) / SCHEDULE, weights_only=True)
        self.lr_scheduler.load_state_dict(schedule)

    def _get_output_dir(self, trial: Any) -> str:
        found: str = super()._get_output_dir(trial)
        return found if self._staging is None else os.fspath(self._staging)

    def wait_for_all(self) -> None:
        """Until every rank is here."""
        if self._place.ranks > 1:
            self.accelerator.wait_for_everyone()


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """What was trained, by name, whole and on the CPU. All ranks must call."""
    if isinstance(model, FSDPModule):
        model.reshard()  # what a forward has gathered is not to be kept
    trained = {name: one.detach() for name, one in model.named_parameters() if one.requires_grad}
    found: dict[str, Tensor] = whole(trained)
    return found


def checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints, the oldest first."""
    return sorted(folder.glob("checkpoint-*"), key=step_of)


def step_of(checkpoint: Path) -> int:
    """After how many steps it was written."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def _of_worker(message: str) -> str:
    """What went wrong in a loader's process, without its traceback."""
    return message.rpartition("MerrError: ")[2].strip() or message
