"""The commands of ``merr`` that need the extra ``train``; joined to the others in `cli`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from merr_pipeline.schema import MerrError

app = typer.Typer()
console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
notes = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)


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
    from merr_pipeline.training.caching import make_features
    from merr_pipeline.training.recipe import load_recipe

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
    from merr_pipeline.training.recipe import load_recipe

    read = load_recipe(recipe, overrides or ())  # before seconds go into importing torch
    from merr_pipeline.training.loop import train as run

    run(read, say=console.print)


def _check_extra() -> None:
    """Raise MerrError where torch or transformers are not installed."""
    packages = ("torch", "transformers", "peft", "accelerate")
    if missing := [name for name in packages if importlib.util.find_spec(name) is None]:
        raise MerrError(
            f"{', '.join(missing)} is missing: .venv/bin/uv pip install -e '.[train]' "
            "-c constraints.txt"
        )
