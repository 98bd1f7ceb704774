# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["llamafactory==0.9.5", "torch==2.13.0"]
# ///
"""Does LLaMA-Factory read what ``merr export llama-factory`` wrote? Its own code, no model.

    uv run --script benchmarks/compat/with_llama_factory.py FOLDER

Every data set of dataset_info.json goes through its parser, loader and converter; then each row
through the check of its media plugin that tags are as many as files, and the files must be there.
Exit code 1 where a row is refused, dropped, or names a file that is not there.
"""

import json
import os
import sys
from pathlib import Path

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_CACHE": "/dev/shm/merr-compat",
    "DISABLE_VERSION_CHECK": "1",
}

from llamafactory.data.loader import _load_single_dataset
from llamafactory.data.mm_plugin import BasePlugin
from llamafactory.data.parser import get_dataset_list
from llamafactory.hparams import DataArguments, ModelArguments
from transformers import Seq2SeqTrainingArguments


def check(row: dict, plugin: BasePlugin) -> None:
    """Raise where LLaMA-Factory would."""
    media = [row[f"_{kind}"] or [] for kind in ("images", "videos", "audios")]
    plugin._validate_messages(row["_prompt"] + row["_response"], *media)
    roles = [turn["role"] for turn in row["_prompt"] + row["_response"]]
    assert roles == ["user", "assistant"], roles
    for files in media:
        assert all(Path(path).is_file() for path in files), files


def main() -> None:
    """Load every data set of the folder."""
    folder = sys.argv[1]
    names = list(json.loads((Path(folder) / "dataset_info.json").read_text("utf-8")))
    assert names, "no data sets there; give the folder of `merr export llama-factory`"
    data = DataArguments(dataset=",".join(names), dataset_dir=folder, overwrite_cache=True)
    data.media_dir = data.media_dir or folder
    training = Seq2SeqTrainingArguments(output_dir="unused", use_cpu=True)
    plugin = BasePlugin(image_token=None, video_token=None, audio_token=None)
    for attributes in get_dataset_list(names, folder):
        model = ModelArguments(model_name_or_path="none")
        rows = _load_single_dataset(attributes, model, data, training)
        written = json.loads((Path(folder) / attributes.dataset_name).read_text("utf-8"))
        assert len(rows) == len(written), (len(rows), len(written))
        for row in rows:
            check(row, plugin)
        print(f"{attributes.dataset_name}: {len(rows)} rows, accepted by LLaMA-Factory")


if __name__ == "__main__":
    main()
