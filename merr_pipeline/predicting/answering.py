"""A trained model answers the questions of a split: what ``merr evaluate --run`` scores.

Clips are read a window at a time, while the model answers about the window before. The batches are
the same whatever was answered before, so a run that goes on gives the answers of one that never
stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from torch import Tensor

from merr_pipeline.dataset.folder import DATASET
from merr_pipeline.dataset.instructions import TASKS
from merr_pipeline.dataset.shards import batched
from merr_pipeline.emotion_llama.configuration import ENCODERS
from merr_pipeline.emotion_llama.modeling import EmotionLlamaForConditionalGeneration
from merr_pipeline.emotion_llama.processing import EmotionLlamaProcessor
from merr_pipeline.history import last_clips
from merr_pipeline.predicting.answer_files import AnswerFile
from merr_pipeline.predicting.answerer import Answerer, Asked, How
from merr_pipeline.predicting.asking import ToAsk, to_ask
from merr_pipeline.recipe import Recipe, load_recipe
from merr_pipeline.schema import MerrError
from merr_pipeline.training.saved import load_run
from merr_pipeline.training_data.data import OfClip
from merr_pipeline.training_data.records import read_records
from merr_pipeline.training_data.shown import shown

WINDOW = 64
"""Clips that are in memory at one time, twice; with all values of four encoders some 25 MB each."""

READERS = 4  # threads that read clips


@dataclass
class Answered:
    """What came of it."""

    answers: int = 0  # in the file
    asked: int = 0  # of the model, just now
    cut: int = 0  # of these, so many were longer than they may be
    failed: list[dict[str, str]] = field(default_factory=list)  # clip_id, reason

    @property
    def exit_code(self) -> int:
        """1 where a clip could not be shown."""
        return 1 if self.failed else 0


def answer_split(
    out: Path,
    run_folder: Path,
    split: str,
    to: Path,
    clips: Path | None = None,
    features: Path | None = None,
    tasks: tuple[str, ...] = TASKS,
    device: str | None = None,
    how: How | None = None,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> Answered:
    """Write the answers of a model to all questions of a split.

    A question that has its answer in the file is not asked again.

    Args:
        out: the output folder of a build.
        run_folder: of a training run, or of a saved model.
        split: ``train``, ``validation`` or ``test``.
        to: the file of answers; see `answer_files` for what lies beside it.
        clips: the input folder of the build; by default that of its last run.
        features: folder of ``merr features``; by default that of the run, if of this dataset.
        tasks: of `dataset.instructions.TASKS`.
        device: of the model; the first GPU by default, where there is one.
        how: how answers are made.
        told: called with how many questions are through, of how many.

    Raises:
        MerrError: there is no such split, task, run or cache, or the file has other answers.
    """
    how = how or How()
    records = read_records(out, split)
    questions = to_ask(records, out, tasks)
    recipe = recipe_of(run_folder, out, clips or last_clips(out), features)
    file = AnswerFile(to, _asked_of(out, run_folder, split, recipe, how))
    model, processor = load_run(run_folder, device)
    of_clip = shown_to(model, processor, recipe)
    answerer, result, through = Answerer(model, processor, how), Answered(), 0
    with file, ThreadPoolExecutor(READERS) as readers:
        pending = {one.clip_id for one in questions if one.record_id not in file.found}

        def read(clip_id: str) -> Mapping[str, Tensor] | MerrError:
            try:
                return of_clip(records.clips[clip_id]) if clip_id in pending else {}
            except MerrError as error:
                return error

        for window, tensors in _windows(questions, read, readers):
            result.failed += [
                {"clip_id": clip_id, "reason": str(error)}
                for clip_id, error in tensors.items()
                if isinstance(error, MerrError)
            ]
            for batch in _batches(window, how.batch):
                _answer(batch, tensors, answerer, file, result)
            through += len(window)
            told(through, len(questions))
    file.publish([one.record_id for one in questions], result.failed)
    result.answers = len(file.found)
    return result


def recipe_of(
    run_folder: Path, out: Path | None, clips: Path | None, features: Path | None
) -> Recipe:
    """What a run was told, with other data; a plain model's recipe is all defaults."""
    path = run_folder / "recipe.yaml"
    recipe = load_recipe(str(path)) if path.is_file() else Recipe()
    data = recipe.data
    is_same = out is not None and data.out is not None and data.out.resolve() == out.resolve()
    features = features or (data.features if is_same else None)
    changed = data.model_copy(update={"out": out, "clips": clips, "features": features})
    return recipe.model_copy(update={"data": changed})


def shown_to(
    model: EmotionLlamaForConditionalGeneration, processor: EmotionLlamaProcessor, recipe: Recipe
) -> OfClip:
    """What this model is shown of a clip."""
    widths = {name: getattr(model.config, f"{name}_width") for name in ENCODERS}
    return shown(recipe, processor, list(model.model.encoders), widths)


Tensors = dict[str, Mapping[str, Tensor] | MerrError]


def _windows(
    questions: Sequence[ToAsk],
    read: Callable[[str], Mapping[str, Tensor] | MerrError],
    readers: ThreadPoolExecutor,
) -> Iterator[tuple[list[ToAsk], Tensors]]:
    """Questions about some clips, and what is shown of these; the next are read meanwhile."""
    by_clip = {clip: list(some) for clip, some in groupby(questions, lambda one: one.clip_id)}
    windows = list(batched(by_clip, WINDOW))
    coming = [readers.submit(read, clip) for clip in windows[0]]
    for number, window in enumerate(windows):
        now, later = coming, windows[number + 1 :][:1]
        coming = [readers.submit(read, clip) for some in later for clip in some]
        tensors = {clip: one.result() for clip, one in zip(window, now, strict=True)}
        yield [one for clip in window for one in by_clip[clip]], tensors


def _batches(window: Sequence[ToAsk], size: int) -> Iterator[list[ToAsk]]:
    """Questions of one task and one set of labels, of about one length."""

    def kind(one: ToAsk) -> tuple[str, tuple[str, ...]]:
        return one.task, tuple(one.labels)

    ordered = sorted(window, key=lambda one: (kind(one), _length(one), one.record_id))
    for _, some in groupby(ordered, kind):
        yield from batched(some, size)


def _length(one: ToAsk) -> int:
    return len(one.question.question) + len(one.question.transcript or "")


def _answer(
    batch: Sequence[ToAsk],
    tensors: Tensors,
    answerer: Answerer,
    file: AnswerFile,
    result: Answered,
) -> None:
    there = [
        (one, shown)
        for one in batch
        if one.record_id not in file.found
        and not isinstance(shown := tensors[one.clip_id], MerrError)
    ]
    if not there:
        return
    asked = [Asked(one.question, shown) for one, shown in there]
    answers = answerer.answers(asked)
    spoken = list(batch[0].labels)
    weighed = answerer.label_probabilities(asked, spoken) if spoken else [None] * len(asked)
    result.asked += len(there)
    result.cut += sum(answer.cut for answer in answers)
    file.add(
        [
            _row(one, answer.text, weights)
            for (one, _), answer, weights in zip(there, answers, weighed, strict=True)
        ]
    )


def _row(one: ToAsk, text: str, weights: list[float] | None) -> dict[str, Any]:
    probabilities = None
    if weights is not None:
        labels = one.labels.values()
        probabilities = {
            label: round(weight, 6) for label, weight in zip(labels, weights, strict=True)
        }
    return {
        "clip_id": one.clip_id,
        "task": one.task,
        "record_id": one.record_id,
        "question": one.question.question,
        "answer": text,
        "label_probabilities": probabilities,
    }


def _asked_of(out: Path, run_folder: Path, split: str, recipe: Recipe, how: How) -> dict[str, Any]:
    """What makes the answers what they are; tasks may be asked one after another."""
    manifest = (out / DATASET / "manifest.json").read_bytes()
    return {
        "model": _mark_of_model(run_folder),
        "dataset": hashlib.sha256(manifest).hexdigest(),
        "split": split,
        "shown": {"frame": recipe.data.frame, "streams": list(recipe.data.streams)},
        "generation": {"beams": how.beams, "longest": how.longest},
    }


def _mark_of_model(folder: Path) -> str:
    """Of its weights' names, sizes and times: to hash 13 GB would take too long."""
    weights = sorted(
        path for path in folder.rglob("*.safetensors") if "checkpoints" not in path.parts
    )
    stats = [(path.relative_to(folder).as_posix(), path.stat()) for path in weights]
    marks = [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats]
    return hashlib.sha256("\n".join(marks).encode()).hexdigest()
