"""Commands that need the extra ``train``: they parse, call and print, as those of `cli`."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from merr_pipeline.schema import MerrError

app = typer.Typer()
console = Console(soft_wrap=True)  # lines in a log stay whole

Profile = Annotated[str, typer.Option(help="A shipped profile, or a .yaml of your own.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="One setting, key=value; may be repeated.")
]


def need_train(*packages: str) -> None:
    """Say how to install what is missing.

    Raises:
        MerrError: one of these, which the extra ``train`` brings, is not installed.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise MerrError(
            f"{', '.join(missing)} is not installed: pip install 'merr-pipeline[train]'."
        )


@app.command()
def evaluate(
    out: Annotated[Path, typer.Argument(help="Output folder of a finished build.")],
    to: Annotated[Path, typer.Option(help="Folder for results.json, results.md and figures.")],
    answers: Annotated[
        list[Path] | None,
        typer.Option(help="JSONL of a model's answers; may be repeated, all against the first."),
    ] = None,
    run: Annotated[
        list[Path] | None,
        typer.Option(help="Output folder of a training run, which answers first; repeatable."),
    ] = None,
    split: Annotated[str, typer.Option(help="train, validation, test or all.")] = "test",
    reading: Annotated[
        str, typer.Option(help="rules, or last_word as the published evaluation reads.")
    ] = "rules",
    folds: Annotated[
        Path | None, typer.Option(help="CSV clip_id,fold, or DFEW's folder of set_1.csv, ...")
    ] = None,
    wheels: Annotated[
        Path | None, typer.Option(help="MERTools' folder emotion_wheel, for the EW metric.")
    ] = None,
    judge: Annotated[
        list[str] | None,
        typer.Option(help="Role of a model that judges: text, second; repeatable."),
    ] = None,
    show: Annotated[
        list[str] | None, typer.Option(help="Clip whose label probabilities are drawn; repeatable.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Draws for the intervals.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of these draws.")] = 0,
    profile: Profile = "embedded",
    overrides: Overrides = None,
) -> None:
    """Score answers against a dataset; exits 1 if a clip has no answer, or a judge failed."""
    from merr_pipeline.evaluation.run import evaluate as score
    from merr_pipeline.evaluation.run import make_options
    from merr_pipeline.evaluation.score import Draws
    from merr_pipeline.exports.wanted import named
    from merr_pipeline.settings import load_settings

    options = make_options(
        split, reading, folds, wheels, judge or (), show or (), Draws(seed, rounds)
    )
    files = [*(answers or ()), *(_answered(folder, out, split, to) for folder in run or ())]
    found = score(out, files, to, options, load_settings(profile, overrides or ()))
    for note in found.notes:
        console.print(note, highlight=False, markup=False)
    for one in found.scores:
        if one.missing:
            told = named(list(one.missing))
            line = f"{one.name}: no answer to {len(one.missing)} clips: {told}"
            console.print(line, highlight=False, markup=False)
    for path in found.files:
        console.print(str(path), highlight=False, markup=False)
    if not found.is_whole:
        raise typer.Exit(1)


def _answered(run: Path, out: Path, split: str, to: Path) -> Path:
    """Let the model of a run answer a split; gives the answers file."""
    if split == "all":
        raise MerrError("--run answers one split: name it with --split.")
    need_train("torch", "transformers", "peft", "accelerate")
    from merr_pipeline.training.answering import answer_split

    path = to / f"{run.resolve().name}.jsonl"
    answer_split(out, run, split, path)
    return path


@app.command()
def ablate(
    grid: Annotated[str, typer.Argument(help="YAML of an ablation, or paper, which is shipped.")],
    to: Annotated[Path, typer.Option(help="Folder for cells, table and figure.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="One value of the base recipe, key=value; may be repeated."),
    ] = None,
) -> None:
    """Train and score every cell of a grid; a rerun does what is missing. Exits 1 if one fails."""
    need_train("torch", "transformers", "peft", "accelerate")
    from merr_pipeline.evaluation.ablation import Steps, run_grid
    from merr_pipeline.evaluation.ablation_page import write_ablation
    from merr_pipeline.evaluation.grid import load_grid
    from merr_pipeline.training.answering import answer_split
    from merr_pipeline.training.loop import train
    from merr_pipeline.training.recipe import load_recipe

    wanted = load_grid(grid, overrides or ())
    say = partial(console.print, highlight=False, markup=False)
    scores = run_grid(wanted, to, Steps(load_recipe, train, answer_split), say)
    for path in write_ablation(wanted, scores, to):
        say(str(path))
    if any(one.failure is not None for one in scores):
        raise typer.Exit(1)
