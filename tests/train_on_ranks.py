"""What `test_training_parallel` starts once for each rank: a tiny run whose recipe is a file."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from made_learning import features_of

from merr_pipeline.recipe import load_recipe
from merr_pipeline.training.loop import train

if __name__ == "__main__":
    torch.set_num_threads(1)
    train(load_recipe(sys.argv[1], sys.argv[2:]), features_of)
    Path(f"{sys.argv[1]}.ended").touch()
