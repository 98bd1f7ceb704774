"""Commands that need the extra ``train``: they parse, call and print, as those of `cli`."""

from __future__ import annotations

import importlib.util
from typing import Annotated

import typer
from rich.console import Console

from merr_pipeline.schema import MerrError

app = typer.Typer()
console = Console(soft_wrap=True)  # lines in a log stay whole

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
