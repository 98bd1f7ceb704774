"""``merr ablate``: trains, asks and scores every cell of a grid, and puts them side by side.

::

    DIR/cells/<name>-<hash>/run             what `merr train` writes
    DIR/cells/<name>-<hash>/answers.jsonl   the answers of its model
    DIR/cells/<name>-<hash>/done.json       written last: this cell is not run again
    DIR/cells/<name>-<hash>/failure.txt     why it is not done
    DIR/ablation.md, .csv, .png, .svg

The hash is that of the cell's recipe and of its datasets, so a cell that is told something else is
another cell. Scores are made from the answers at the end of every call, for all cells alike.
Training comes from outside (`Steps`): this room knows no torch.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from merr_pipeline.dataset.folder import DATASET, sha256_of
from merr_pipeline.emotion.spaces import load_label_space
from merr_pipeline.evaluation.answers import read_answers
from merr_pipeline.evaluation.bootstrap import Value, differences
from merr_pipeline.evaluation.grid import Cell, Grid, cells_of, folder_name
from merr_pipeline.evaluation.labels import HEADLINE, headline
from merr_pipeline.evaluation.reading import Reader, load_rules
from merr_pipeline.evaluation.score import Draws, LabelScores, Scorer
from merr_pipeline.evaluation.truth import Truth, read_truth
from merr_pipeline.files import write_atomically
from merr_pipeline.schema import MerrError
from merr_pipeline.stage import digest

DONE, FAILURE, ANSWERS, RUN = "done.json", "failure.txt", "answers.jsonl", "run"
HASH_LETTERS = 10


@dataclass(frozen=True)
class Steps:
    """What training is, for who runs the cells.

    Attributes:
        recipe: reads a recipe by name, with overrides; its dump has ``data.out`` and ``to``.
        train: trains it and fills the folder ``to``; goes on where it was stopped.
        answer: ``(out, run folder, split, file)`` writes the answers of that model.
    """

    recipe: Callable[[str, Sequence[str]], BaseModel]
    train: Callable[[Any], object]
    answer: Callable[[Path, Path, str, Path], object]


@dataclass(frozen=True)
class Job:
    """A cell that can be run."""

    cell: Cell
    folder: Path
    recipe: BaseModel

    @property
    def is_done(self) -> bool:
        """Whether it was run to its end before."""
        return (self.folder / DONE).is_file()


@dataclass(frozen=True)
class CellScore:
    """What became of a cell: scores, or a failure."""

    cell: Cell
    values: dict[str, Value]  # `HEADLINE`; empty where it failed
    less_base: Value | None  # in the grid's score; null for the base itself
    without_answer: int
    failure: str | None


def run_grid(
    grid: Grid, to: Path, steps: Steps, say: Callable[[str], None] = lambda line: None
) -> list[CellScore]:
    """Run the cells that are not done, one after another, and score all; the base comes first.

    A cell that fails is named, and the others go on.

    Raises:
        MerrError: the grid is wrong, or the dataset that is asked about cannot be used; nothing has
            been trained then.
    """
    jobs = [_job(grid, cell, to, steps) for cell in cells_of(grid)]
    out = grid.out or _out_of(jobs[0].recipe)
    truth = read_truth(out, grid.split)
    failures: dict[str, str] = {}
    for number, job in enumerate(jobs, start=1):
        state = "done before" if job.is_done else "runs"
        say(f"{number} of {len(jobs)}: {job.cell.name}: {state}")
        if not job.is_done and (failure := _run(job, out, grid.split, steps)):
            failures[job.cell.name] = failure
            say(f"{job.cell.name} failed: {failure}")
    return _scored(grid, truth, jobs, failures)


def _job(grid: Grid, cell: Cell, to: Path, steps: Steps) -> Job:
    told = steps.recipe(grid.base, cell.overrides).model_dump(mode="json", exclude={"to"})
    out = _out_of(steps.recipe(grid.base, cell.overrides))
    shaping = {"recipe": told, "datasets": [_mark(out), _mark(grid.out or out)]}
    mark = digest({**shaping, "split": grid.split})[:HASH_LETTERS]
    folder = to / "cells" / f"{folder_name(cell.name)}-{mark}"
    recipe = steps.recipe(grid.base, (*cell.overrides, f"to={json.dumps(str(folder / RUN))}"))
    return Job(cell, folder, recipe)


def _out_of(recipe: BaseModel) -> Path:
    out = recipe.model_dump()["data"]["out"]
    if out is None:
        raise MerrError(
            "data.out is not set: name the output folder of a build, for instance\n"
            "in the grid as `set: [data.out=merr-out]`, or by --set data.out=merr-out."
        )
    return Path(out)


def _mark(out: Path) -> str:
    manifest = out / DATASET / "manifest.json"
    if not manifest.is_file():
        raise MerrError(f"{out} holds no finished dataset; give the --out of `merr build`.")
    return sha256_of(manifest)


def _run(job: Job, out: Path, split: str, steps: Steps) -> str | None:
    """Train and ask; gives in one line why that failed."""
    failure = job.folder / FAILURE
    job.folder.mkdir(parents=True, exist_ok=True)
    try:
        steps.train(job.recipe)
        steps.answer(out, job.folder / RUN, split, job.folder / ANSWERS)
        read_answers(job.folder / ANSWERS)
    except Exception as error:  # of any kind: the other cells go on
        write_atomically(failure, traceback.format_exc().encode())
        first = (str(error).strip() or "no further word").splitlines()[0]
        return first if isinstance(error, MerrError) else f"{type(error).__name__}: {first}"
    failure.unlink(missing_ok=True)
    done = {"cell": job.cell.name, "choices": job.cell.choices}
    write_atomically(job.folder / DONE, f"{json.dumps(done, indent=2)}\n".encode())
    return None


def _scored(
    grid: Grid, truth: Truth, jobs: Sequence[Job], failures: dict[str, str]
) -> list[CellScore]:
    draws = Draws(grid.seed)
    scorer = _scorer(truth, draws)
    base: LabelScores | None = None
    found = []
    for job in jobs:
        name, failure, scores = job.cell.name, failures.get(job.cell.name), None
        if failure is None:
            try:
                answers = read_answers(job.folder / ANSWERS)
                scores = scorer.score(name, "", answers).emotion
                failure = None if scores else "it answers no question for an emotion"
            except MerrError as error:
                failure = str(error).splitlines()[0]
        base = scores if job is jobs[0] else base
        less = _less(scores, base, grid.score, draws) if job is not jobs[0] else None
        values = scores.values if scores else {}
        found.append(
            CellScore(job.cell, values, less, len(scores.missing) if scores else 0, failure)
        )
    return found


def _scorer(truth: Truth, draws: Draws) -> Scorer:
    space, sentiments, rules = (
        load_label_space(truth.space),
        load_label_space("sentiment"),
        load_rules(),
    )
    readers = Reader(space, rules), Reader(sentiments, rules)
    return Scorer(truth, readers[0], space.labels, readers[1], sentiments.labels, (), draws=draws)


def _less(
    ours: LabelScores | None, base: LabelScores | None, score: str, draws: Draws
) -> Value | None:
    """The difference to the base, on the same draws."""
    if ours is None or base is None:
        return None
    mine, theirs, place = ours.labelled, base.labelled, HEADLINE.index(score)
    return differences(
        lambda chosen: headline(mine.counts(chosen))[[place]],
        lambda chosen: headline(theirs.counts(chosen))[[place]],
        len(mine.clip_ids),
        draws.seed,
        draws.rounds,
    )[0]
