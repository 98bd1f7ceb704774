"""Commands that need the extra ``train``: they parse, call and print, as those of `cli`."""

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
console = Console(soft_wrap=True)  # lines in a log stay whole
notes = Console(stderr=True, soft_wrap=True)

RecipeValues = Annotated[
    list[str] | None, typer.Option("--set", help="One value, key=value; may be repeated.")
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
def train(
    recipe: Annotated[str, typer.Argument(help="stage1, stage2, or a .yaml of your own.")],
    overrides: RecipeValues = None,
) -> None:
    """Fine-tune the model on a dataset; a rerun goes on from the last checkpoint.

    On several GPUs: python -m torch.distributed.run --nproc-per-node N -m merr_pipeline.cli train …
    """
    from merr_pipeline.training.recipe import load_recipe

    need_train("torch", "transformers", "peft", "accelerate")
    read = load_recipe(recipe, overrides or ())
    from merr_pipeline.training.loop import train as run

    run(read, say=lambda text: console.print(text, highlight=False, markup=False))


@app.command()
def predict(
    clips: Annotated[list[Path], typer.Argument(help="Clips, or folders of clips.")],
    run: Annotated[Path, typer.Option(help="Output folder of `merr train`, or a saved model.")],
    question: Annotated[
        str | None, typer.Option(help="Asked in place of a question for the reasons.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="FILE.json for the predictions, or a folder for them and for what was measured."
        ),
    ] = None,
    profile: Annotated[str, typer.Option(help="How the clips are looked at; as a build's.")] = (
        "embedded"
    ),
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="One setting, key=value; may be repeated.")
    ] = None,
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
    need_train("torch", "transformers", "peft", "accelerate")
    from merr_pipeline.files import write_atomically
    from merr_pipeline.training.answerer import How
    from merr_pipeline.training.predicting import as_text
    from merr_pipeline.training.predicting import predict as run_on

    is_file = out is not None and out.suffix == ".json"
    found = run_on(
        clips,
        run,
        question,
        None if is_file else out,
        profile,
        overrides or (),
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
            console.print(as_text(one), highlight=False, markup=False, emoji=False)
    if out is not None:
        write_atomically(out if is_file else out / "predictions.json", content.encode())
    if any(one.refused is not None for one in found):
        raise typer.Exit(1)


def _by_name(given: list[str] | tuple[str, ...]) -> dict[str, Path]:
    pairs = [one.partition("=") for one in given]
    if wrong := [name for name, equals, path in pairs if not equals or not path]:
        raise MerrError(f"--encoder {wrong[0]}: say NAME=FOLDER.")
    return {name: Path(path) for name, _, path in pairs}
