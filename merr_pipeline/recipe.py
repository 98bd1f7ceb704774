"""What a training run is told: one YAML file, whose every value ``--set key=value`` may replace.

The shipped recipes ``stage1`` and ``stage2`` are the two stages of the paper; ``modern`` shows more
of a clip.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from merr_pipeline.settings.loading import load_tree
from merr_pipeline.settings.section import Section

RECIPES = Path(__file__).parent / "recipes"

Granularity = Literal["coarse", "fine"]


class EncoderFolders(Section):
    """Folders of pretrained encoders; null: not in the model, its features come from a cache."""

    image: Path | None = Field(None, description="EVA-CLIP-g (blip_2_vision_model) as published.")
    face: Path | None = Field(None, description="ViT-MAE as published.")
    temporal: Path | None = Field(None, description="VideoMAE as published.")
    audio: Path | None = Field(None, description="HuBERT as published.")

    def folders(self) -> dict[str, Path]:
        """Those that there are, by name."""
        return {name: path for name, path in self if path is not None}


class ModelRecipe(Section):
    """What the model is made of."""

    start: Path | None = Field(
        None, description="Output of an earlier run to go on from; all below is then taken from it."
    )
    language_model: Path | None = Field(None, description="Folder of any causal language model.")
    encoders: EncoderFolders = EncoderFolders()
    layout: Literal["published", "modern"] = Field("published", description="Of a prompt.")
    layout_changes: dict[str, int] = Field(
        default_factory=dict, description="Numbers of the layout that differ, such as audio: 8."
    )
    widths: dict[str, int] = Field(
        default_factory=dict, description="Of features of absent encoders, if not the published."
    )
    dtype: Literal["bfloat16", "float32"] = Field(
        "bfloat16", description="Of what is frozen; projectors and LoRA are always float32."
    )


class DataRecipe(Section):
    """What is learned from."""

    out: Path | None = Field(None, description="Output folder of a build.")
    clips: Path | None = Field(None, description="Its input folder; cached features need none.")
    features: Path | None = Field(None, description="Folder that `merr features` wrote.")
    granularities: tuple[Granularity, ...] = Field(("coarse", "fine"), min_length=1)
    mixture: dict[str, float] = Field(
        default_factory=dict,
        description="How often a kind comes in an epoch, such as fine:reason: 2.",
    )
    share: float = Field(
        1.0, gt=0, le=1, description="Of the training clips, chosen by hash: for ablations."
    )
    frame: Literal["peak", "first", "middle", "random", "several"] = Field(
        "peak",
        description="The picture; all but peak are read from the clips. several: the peak and "
        "others over the clip, as many as the layout has (modern: four).",
    )
    streams: tuple[Literal["image", "face", "temporal", "audio"], ...] = Field(
        ("image", "face", "temporal", "audio"), description="What the model is shown of a clip."
    )
    longest: int = Field(1024, ge=16, description="Tokens; a longer example is refused, not cut.")


class LoraRecipe(Section):
    """Low-rank adapters, in the language model alone."""

    rank: int = Field(64, ge=1)
    alpha: float = Field(16, gt=0)
    dropout: float = Field(0.05, ge=0, lt=1)
    modules: tuple[str, ...] = Field(
        ("q_proj", "v_proj"), min_length=1, description="Of each layer of the language model."
    )


class LearnRecipe(Section):
    """How long, how fast."""

    steps: int = Field(3000, ge=1, description="Steps of the optimizer.")
    learning_rate: float = Field(1e-5, gt=0, description="Of LoRA, at its peak.")
    projector_learning_rate: float | None = Field(None, gt=0, description="Null: as LoRA's.")
    least_learning_rate: float = Field(1e-6, ge=0, description="Where the cosine ends.")
    warmup_steps: int = Field(0, ge=0)
    warmup_learning_rate: float = Field(1e-6, ge=0, description="Where the warm-up begins.")
    weight_decay: float = Field(0.05, ge=0, description="Of matrices; norms and biases have none.")
    clip_norm: float = Field(1.0, gt=0, description="Of all gradients together.")
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _warmup_ends(self) -> LearnRecipe:
        if self.warmup_steps >= self.steps:
            raise ValueError("warmup_steps must be fewer than steps")
        return self


class BatchRecipe(Section):
    """What is in one step, and how it is computed."""

    samples: int = Field(40, ge=1, description="Examples of one step, on all ranks together.")
    packed: bool = Field(True, description="Several examples in one row, none padded.")
    row_tokens: int = Field(8192, ge=64, description="Most tokens of one forward.")
    workers: int = Field(4, ge=0, description="Processes that read ahead, of each rank.")
    attention: Literal["auto", "sdpa", "varlen", "flash_attention_2", "eager"] = Field(
        "auto",
        description="varlen: PyTorch's flash kernel for packed rows, on a CPU clip by clip; auto: "
        "varlen where it works, else sdpa, which pays for all pairs of a row.",
    )
    compile: bool = Field(False, description="Compile each layer of the language model.")
    liger: bool = Field(False, description="Liger's norm, rope and SwiGLU; needs liger-kernel.")
    checkpointing: bool = Field(False, description="Less memory for a third more time.")
    parallel: Literal["ddp", "fsdp"] = Field("ddp", description="With several ranks (torchrun).")
    peak_tflops: float | None = Field(
        None, gt=0, description="Of the device, for MFU; null: a matrix product is timed."
    )

    @model_validator(mode="after")
    def _attention_fits(self) -> BatchRecipe:
        if self.attention in {"varlen", "flash_attention_2"} and not self.packed:
            raise ValueError(f"attention {self.attention} needs packed rows: set batch.packed=true")
        return self


class KeepRecipe(Section):
    """What is looked at and written on the way."""

    validate_every: int = Field(500, ge=1, description="Steps between two validations.")
    validate_most: int = Field(500, ge=1, description="Records of each task, chosen by hash.")
    save_every: int = Field(500, ge=1, description="Steps between two checkpoints.")
    checkpoints: int = Field(2, ge=1, description="The last so many are kept.")
    log_every: int = Field(10, ge=1, description="Steps between two lines.")
    merge: bool = Field(True, description="Write the model with its adapters merged, too.")


class Recipe(Section):
    """The whole file."""

    to: Path | None = Field(None, description="Output folder of the run.")
    model: ModelRecipe = ModelRecipe()
    data: DataRecipe = DataRecipe()
    lora: LoraRecipe = LoraRecipe()
    learn: LearnRecipe = LearnRecipe()
    batch: BatchRecipe = BatchRecipe()
    keep: KeepRecipe = KeepRecipe()

    @model_validator(mode="after")
    def _examples_fit(self) -> Recipe:
        if self.data.longest > self.batch.row_tokens:
            raise ValueError("data.longest must be at most batch.row_tokens: an example is not cut")
        return self


def load_recipe(name: str, overrides: Iterable[str] = ()) -> Recipe:
    """Read a shipped recipe by its name, or the path of a YAML file of your own.

    Raises:
        SettingsError: no such file, unknown key (the nearest known one is named), bad value.
    """
    shipped = RECIPES / f"{Path(name).stem}.yaml"
    path = shipped if not Path(name).is_file() and shipped.is_file() else Path(name)
    return load_tree(Recipe, path, overrides)
