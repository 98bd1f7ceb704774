# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "torch>=2.10", "transformers>=5.17,<6", "peft>=0.18", "accelerate>=1.10",
#   "numpy", "pillow", "pyarrow", "pydantic>=2", "pyyaml", "scipy",
# ]
# ///
"""How fast the model learns, and in how much memory.

::

    python benchmarks/training.py [--rounds 3]                     on a CPU: ratios
    uv run --script benchmarks/training.py --gpu                   on a GPU, with nothing installed
    python benchmarks/training.py --gpu [--variant varlen+compile]   the same in an environment

Without ``--gpu`` tiny models: packed rows against padded ones, and the loss over supervised
positions against that over all. Every way runs in a process of its own, in turns over several
rounds, and on one core: seconds are those of the processor. Ratios compare within their round.
Memory is the most that the process had, less what it had before the step.

With ``--gpu``: Llama-2-7B's shape with random weights made on the device, LoRA of rank 64 on query
and value, rows of 8192 tokens packed with 600-token samples (300 of them supervised, 260 from
features). Nothing is fetched. The peak is that of a bf16 matrix product measured in the same
process. Target: 25 samples/s on one H200, data wait under 2 %.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # also where nothing is installed

NEEDED = ("torch", "transformers", "peft", "accelerate")
WANTED_SAMPLES_PER_S, WANTED_TOKENS, MOST_WAIT = 25, 600, 0.02
VARIANTS = ("sdpa", "varlen", "varlen+compile")
"""Attention, and what else; ``+liger`` and ``+checkpointing`` are known too."""

ROWS_CPU = 24  # examples of a step
LOSS_TOKENS, LOSS_SUPERVISED, LOSS_WIDTH, LOSS_VOCABULARY = 2048, 300, 256, 32000

# --- on a CPU: ways ------------------------------------------------------------------------------


def run_step(packing: str) -> dict[str, float]:
    """A step of a small model: ``in order`` is padded as the records come, 8 at a time."""
    import torch
    from measuring.training_steps import (
        SHAPES,
        MadeExamples,
        learn,
        made_config,
        made_model,
        merr_like_lengths,
        timed,
    )

    from merr_pipeline.emotion_llama.collate import PaddingCollator
    from merr_pipeline.training.attention import VARLEN
    from merr_pipeline.training.packing import Step, StepCollator

    shape = SHAPES["tiny"]
    text = {**shape.text, "hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 4}
    shape = type(shape)(text, shape.layout, 48, 32, 600, 2048)
    config = made_config(shape)
    model = made_model(config, torch.device("cpu"), torch.float32)
    model.model.projector.requires_grad_(True)
    if packing == "packed, varlen":
        model.model.language_model.set_attn_implementation(VARLEN)
    model.train()
    data = MadeExamples(shape, merr_like_lengths(ROWS_CPU, shape))
    examples = [data[index] for index in range(len(data))]
    if packing == "padded in order":
        groups = [examples[start : start + 8] for start in range(0, len(examples), 8)]
        lengths = [len(one["input_ids"]) for one in examples]
        supervised = sum(label >= 0 for one in examples for label in one["labels"][1:])
        step = Step([PaddingCollator(0)(group) for group in groups], lengths, supervised)
    else:
        packed = packing.startswith("packed")
        step = StepCollator(config, 0, shape.row_tokens, packed)(examples)
    before = peak_mb()
    loss = learn(model, step, torch.device("cpu"))
    memory = peak_mb() - before
    seconds = min(timed(lambda: learn(model, step, torch.device("cpu"))) for _ in range(3))
    used = sum(step.lengths) / sum(batch["input_ids"].numel() for batch in step.batches)
    return {"seconds": seconds, "mb": memory, "used": used, "loss": loss}


def run_loss(way: str) -> dict[str, float]:
    """Loss and gradient of 2048 positions, of which 300 are supervised, over 32,000 words."""
    import torch
    from measuring.training_steps import LOSSES, timed

    torch.manual_seed(0)
    head = torch.nn.Linear(LOSS_WIDTH, LOSS_VOCABULARY, bias=False).requires_grad_(False)
    hidden = torch.randn(1, LOSS_TOKENS, LOSS_WIDTH, requires_grad=True)
    labels = torch.full((1, LOSS_TOKENS), -100)
    labels[:, -LOSS_SUPERVISED:] = torch.randint(0, LOSS_VOCABULARY, (LOSS_SUPERVISED,))

    def once() -> float:
        loss = LOSSES[way](hidden, head, labels)
        loss.backward()
        return float(loss.detach())

    before = peak_mb()
    loss = once()
    memory = peak_mb() - before
    return {"seconds": min(timed(once) for _ in range(3)), "mb": memory, "used": 1.0, "loss": loss}


STEPS = ("padded in order", "padded by length", "packed, sdpa", "packed, varlen")
LOSS_WAYS = ("full logits", "supervised positions")


def peak_mb() -> float:
    """The most memory that this process has had, megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


# --- on a CPU: measuring -------------------------------------------------------------------------


def measured(way: str) -> dict[str, float]:
    """One way in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--way", way],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(rounds: int) -> None:
    """All ways in turns; prints medians and ratios."""
    every = [{way: measured(way) for way in (*STEPS, *LOSS_WAYS)} for _ in range(rounds)]
    for title, ways in (("a step of 24 examples", STEPS), ("a loss", LOSS_WAYS)):
        print(f"{title:26}{'s':>8}{'time':>8}{'MB':>8}{'memory':>8}{'tokens used':>13}{'loss':>10}")
        first = ways[0]
        for way in ways:
            one = {
                key: statistics.median(found[way][key] for found in every) for key in every[0][way]
            }
            ratios = [
                statistics.median(found[way][key] / found[first][key] for found in every)
                for key in ("seconds", "mb")
            ]
            print(
                f"{way:26}{one['seconds']:8.2f}{ratios[0]:8.2f}{one['mb']:8.0f}{ratios[1]:8.2f}"
                f"{one['used']:13.1%}{one['loss']:10.5f}"
            )
    print(f"(load {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores)")


# --- on a GPU ------------------------------------------------------------------------------------


def run_variant(name: str, given: argparse.Namespace, peak_tflops: float) -> dict[str, Any]:
    """Some steps of the whole model; what `Speed.report` says, and memory."""
    import torch
    from measuring.training_steps import SHAPES, MadeExamples, learn, made_config, made_model
    from measuring.training_steps import steps as loaded

    from merr_pipeline.recipe import BatchRecipe, DataRecipe, ModelRecipe, Recipe
    from merr_pipeline.training.computing import prepare
    from merr_pipeline.training.lora import with_lora
    from merr_pipeline.training.optimizer import make_optimizer
    from merr_pipeline.training.packing import StepCollator
    from merr_pipeline.training.speed import Speed, sizes_of, synchronize

    shape, device = SHAPES[given.shape], _device()
    attention, *more = name.split("+")
    batch = BatchRecipe(
        attention=attention, row_tokens=shape.row_tokens, **dict.fromkeys(more, True)
    )
    on_gpu = device.type == "cuda"
    dtype = torch.bfloat16 if on_gpu else torch.float32
    recipe = Recipe(
        model=ModelRecipe(dtype="bfloat16" if on_gpu else "float32"),
        data=DataRecipe(longest=shape.sample_tokens),
        batch=batch,
    )
    config = made_config(shape, given.encode)
    model = with_lora(made_model(config, device, dtype), recipe.lora)
    sizes = sizes_of(model)
    prepare(model, recipe)
    optimizer = make_optimizer(model, recipe.learn)
    samples = given.rows * (shape.row_tokens // shape.sample_tokens)
    count = samples * (given.steps + given.warm_up)
    examples = MadeExamples(
        shape,
        [shape.sample_tokens] * count,
        shape.sample_tokens // 2,
        given.encode,
        dtype,
    )
    collate = StepCollator(config, 0, shape.row_tokens)
    coming = loaded(examples, collate, samples, given.workers, on_gpu)
    model.train()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    speed, each_s, losses = Speed(), [], []
    for number in range(given.steps + given.warm_up):
        synchronize(device)
        begin = time.perf_counter()
        step = next(coming)
        waited_s = time.perf_counter() - begin
        losses.append(learn(model, step, device, torch.bfloat16 if on_gpu else None))
        trained = [one for group in optimizer.param_groups for one in group["params"]]
        torch.nn.utils.clip_grad_norm_(trained, recipe.learn.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        synchronize(device)
        seconds = time.perf_counter() - begin
        if number >= given.warm_up:
            speed.add(step.lengths, step.supervised, seconds, waited_s)
            each_s.append(seconds)
    found = speed.report(sizes, peak_tflops, ranks=1)
    memory = torch.cuda.max_memory_allocated() / 1e9 if on_gpu else peak_mb() / 1000
    return found | {
        "variant": name,
        "step_s_median": round(statistics.median(each_s), 4),
        "step_s_spread": [round(min(each_s), 4), round(max(each_s), 4)],
        "peak_memory_gb": round(memory, 2),
        "losses": [round(losses[0], 4), round(losses[-1], 4)],
    }


def _device() -> Any:
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def on_gpu(given: argparse.Namespace) -> None:
    """All variants, one after another; prints each when it is done, and JSON at the end."""
    import torch
    import transformers

    from merr_pipeline.training.speed import measured_peak_tflops

    device = _device()
    if device.type == "cpu" and given.shape != "tiny":
        sys.exit("there is no GPU; --shape tiny runs without one")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, transformers {transformers.__version__}")
    peak = measured_peak_tflops(device, torch.bfloat16 if device.type == "cuda" else torch.float32)
    print(f"a matrix product: {peak:.1f} TFLOP/s")
    every = []
    for variant in given.variant or VARIANTS:
        try:
            found = run_variant(variant, given, peak)
        except Exception as error:  # the others still say something
            print(f"{variant}: {type(error).__name__}: {error}")
            every.append({"variant": variant, "error": str(error)})
            continue
        every.append(found)
        print(
            f"{variant}: {found['samples_per_s']:.2f} samples/s, {found['tokens_per_s']:,.0f} "
            f"tokens/s, MFU {found['mfu']:.1%}, waiting for data {found['data_wait_share']:.1%}, "
            f"{found['peak_memory_gb']} GB, a step {found['step_s_median']} s, loss "
            f"{found['losses'][0]} -> {found['losses'][1]}"
        )
        if device.type == "cuda":
            torch.cuda.empty_cache()
    good = [one for one in every if "error" not in one]
    best = max(good, key=lambda one: one["samples_per_s"], default=None)
    if best and given.shape == "7b":
        met = "yes" if best["samples_per_s"] >= WANTED_SAMPLES_PER_S else "NO"
        few = "yes" if best["data_wait_share"] < MOST_WAIT else "NO"
        print(f"{WANTED_SAMPLES_PER_S} samples/s of {WANTED_TOKENS} tokens: {met}")
        print(f"data wait under {MOST_WAIT:.0%}: {few}")
    print(json.dumps(every))
    if not good:
        sys.exit(1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gpu", action="store_true", help="the whole model, on a GPU")
    parser.add_argument("--shape", choices=("7b", "tiny"), default="7b")
    parser.add_argument("--variant", action="append", help=f"of {', '.join(VARIANTS)}; repeatable")
    parser.add_argument("--encode", action="store_true", help="EVA-CLIP-g reads a picture a sample")
    parser.add_argument("--rows", type=int, default=4, help="rows of a step")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        print(f"nothing to measure: {', '.join(missing)} not installed (the extra train)")
    elif given.way:
        run = run_step if given.way in STEPS else run_loss
        print(json.dumps(run(given.way)))
    elif given.gpu:
        on_gpu(given)
    else:
        compare(given.rounds)


if __name__ == "__main__":
    main()
