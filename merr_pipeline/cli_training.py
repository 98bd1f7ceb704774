"""The commands of ``merr`` that need the extra ``train``; joined to the others in `cli`."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from merr_pipeline.schema import MerrError

app = typer.Typer()
console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
notes = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)

Profile = Annotated[str, typer.Option(help="A shipped profile, or a .yaml of your own.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="One setting, key=value; may be repeated.")
]


@app.command()
def features(
    out: Annotated[
        Path | None, typer.Argument(help="Output folder of a build; as data.out.")
    ] = None,
    recipe: Annotated[str, typer.Option(help="A shipped recipe, or a .yaml of your own.")] = (
        "stage1"
    ),
    clips: Annotated[
        Path | None, typer.Option(help="Input folder of the build; as data.clips.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="The cache; as data.features.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="One value, key=value; may be repeated.")
    ] = None,
    image_features: Annotated[
        bool, typer.Option("--image-features", help="Also of pictures: some 3 MB a clip.")
    ] = False,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Clips encoded together; else 16 on a GPU, 1 without.")
    ] = None,
) -> None:
    """Encode each clip of a finished dataset once; a rerun does only what is missing."""
    _check_extra()
    from merr_pipeline.recipe import load_recipe
    from merr_pipeline.training_data.caching import make_features

    chosen = load_recipe(recipe, overrides or ())
    named = {"out": out, "clips": clips, "features": to}
    said = {key: path for key, path in named.items() if path is not None}
    chosen = chosen.model_copy(update={"data": chosen.data.model_copy(update=said)})
    done = make_features(chosen, image_features, batch, notes.print)
    console.print(f"{chosen.data.features}: {done.clips} clips, {done.made} made now")
    for clip_id, why in sorted(done.failed.items()):
        notes.print(f"{clip_id}: {why}")
    if done.failed:
        console.print(
            f"{len(done.failed)} clips could not be read and are not in it; mend them and run it "
            "again"
        )
        raise typer.Exit(1)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="stage1, stage2, or a .yaml of your own.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="One value, key=value; may be repeated.")
    ] = None,
) -> None:
    """Fine-tune the model on a dataset; a rerun goes on from the last checkpoint.

    On N GPUs: python -m torch.distributed.run --nproc-per-node N -m merr_pipeline.cli train ...
    """
    _check_extra()
    from merr_pipeline.recipe import load_recipe

    read = load_recipe(recipe, overrides or ())  # before seconds go into importing torch
    from merr_pipeline.training.loop import train as run

    run(read, say=console.print)


@app.command()
def predict(
    clips: Annotated[list[Path], typer.Argument(help="Clips, or folders of clips.")],
    run: Annotated[Path, typer.Option(help="Output folder of `merr train`, or a saved model.")],
    question: Annotated[
        str | None, typer.Option(help="Asked in place of a question for the reasons.")
    ] = None,
    transcript: Annotated[
        str | None,
        typer.Option(help="What is said in it; else its sidecar or subtitles say."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="FILE.json for the predictions, or a folder for them and for what was measured."
        ),
    ] = None,
    profile: Profile = "embedded",
    overrides: Overrides = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FOLDER of one that the model was trained without; repeatable."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1; else what is there.")] = (
        None
    ),
    beams: Annotated[int, typer.Option(min=1, help="1 is greedy.")] = 1,
    longest: Annotated[int, typer.Option(min=1, help="Tokens of an answer, at most.")] = 512,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask a trained model about clips: label, probabilities, reasons; exits 1 if one is refused."""
    _check_extra()
    from merr_pipeline.files import write_atomically
    from merr_pipeline.predicting.answerer import How
    from merr_pipeline.predicting.predicting import as_text
    from merr_pipeline.predicting.predicting import predict as run_on

    is_file = out is not None and out.suffix == ".json"
    found = run_on(
        clips,
        run,
        question,
        None if is_file else out,
        profile,
        overrides or (),
        transcript,
        _by_name(encoder or ()),
        device,
        How(beams=beams, longest=longest),
        lambda line: notes.print(line, markup=False, highlight=False),
    )
    content = json.dumps([asdict(one) for one in found], indent=2, ensure_ascii=False) + "\n"
    if as_json:
        sys.stdout.write(content)
    else:
        for one in found:
            console.print(as_text(one))
    if out is not None:
        write_atomically(out if is_file else out / "predictions.json", content.encode())
    if any(one.refused is not None for one in found):
        raise typer.Exit(1)


def _by_name(given: list[str] | tuple[str, ...]) -> dict[str, Path]:
    pairs = [one.partition("=") for one in given]
    if wrong := [name for name, equals, path in pairs if not equals or not path]:
        raise MerrError(f"--encoder {wrong[0]}: say NAME=FOLDER.")
    return {name: Path(path) for name, _, path in pairs}


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
        console.print(note)
    for one in found.scores:
        if one.missing:
            told = named(list(one.missing))
            line = f"{one.name}: no answer to {len(one.missing)} clips: {told}"
            console.print(line)
    for path in found.files:
        console.print(str(path))
    if not found.is_whole:
        raise typer.Exit(1)


def _answered(run: Path, out: Path, split: str, to: Path) -> Path:
    """Let the model of a run answer a split; gives the answers file."""
    if split == "all":
        raise MerrError("--run answers one split: name it with --split.")
    _check_extra()
    from merr_pipeline.predicting.answering import answer_split

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
    _check_extra()
    from merr_pipeline.evaluation.ablation import Steps, run_grid
    from merr_pipeline.evaluation.ablation_page import write_ablation
    from merr_pipeline.evaluation.grid import load_grid
    from merr_pipeline.predicting.answering import answer_split
    from merr_pipeline.recipe import load_recipe
    from merr_pipeline.training.loop import train

    wanted = load_grid(grid, overrides or ())
    say = console.print
    scores = run_grid(wanted, to, Steps(load_recipe, train, answer_split), say)
    for path in write_ablation(wanted, scores, to):
        say(str(path))
    if any(one.failure is not None for one in scores):
        raise typer.Exit(1)


def _check_extra() -> None:
    """Raise MerrError where torch or transformers are not installed."""
    packages = ("torch", "transformers", "peft", "accelerate")
    if missing := [name for name in packages if importlib.util.find_spec(name) is None]:
        raise MerrError(
            f"{', '.join(missing)} is missing: .venv/bin/uv pip install -e '.[train]' "
            "-c constraints.txt"
        )
