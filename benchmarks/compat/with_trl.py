# /// script
# requires-python = ">=3.11"
# dependencies = ["trl==1.16.0", "torch==2.13.0", "transformers>=5.17,<6", "pillow"]
# ///
"""Does TRL read what ``merr export trl`` wrote? TRL's own code, no model, no network.

    uv run --script benchmarks/compat/with_trl.py FOLDER

Every row of every file passes `prepare_multimodal_messages` (which counts images against their
places), the chat template and the tokenizer, by TRL's `apply_chat_template`. The tokenizer is made
here from bytes, so that nothing is fetched. Exit code 1 where a row is refused.
"""

import os
import sys
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}

from datasets import load_dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from trl.data_utils import apply_chat_template, is_conversational, prepare_multimodal_messages

TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|image|>{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each byte: any text is encoded, nothing has to be downloaded."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = ["<|user|>", "<|assistant|>", "<|image|>", "<|end|>"]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, additional_special_tokens=special)
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def check(row: dict, tokenizer: PreTrainedTokenizerFast) -> int:
    """Tokens of the row; raises where TRL does."""
    assert is_conversational(row)
    images = row.get("images", [])
    prompt = prepare_multimodal_messages(row["prompt"], images=images)
    shown = [part["image"] for part in prompt[0]["content"] if part["type"] == "image"]
    assert [image.size for image in shown] == [image.size for image in images]
    completion = prepare_multimodal_messages(row["completion"])
    said = apply_chat_template({"prompt": prompt, "completion": completion}, tokenizer)
    assert said["prompt"].count("<|image|>") == len(images)
    answer = row["completion"][0]["content"][0]["text"]
    assert said["completion"] == f"{answer}<|end|>", said["completion"]
    return len(tokenizer(said["prompt"] + said["completion"])["input_ids"])


def main() -> None:
    """Check every Parquet file of the folder."""
    tokenizer = byte_tokenizer()
    paths = sorted(Path(sys.argv[1]).glob("*/*.parquet"))
    assert paths, "no Parquet files there; give the folder of `merr export trl`"
    for path in paths:
        rows = load_dataset("parquet", data_files=str(path), split="train")
        tokens = [check(row, tokenizer) for row in rows]
        print(f"{path}: {len(rows)} rows, {sum(tokens)} tokens, accepted by TRL")


if __name__ == "__main__":
    main()
