# /// script
# requires-python = ">=3.11"
# dependencies = ["webdataset==1.0.2", "numpy", "pillow"]
# ///
"""Does webdataset read what ``merr export webdataset`` wrote?

    uv run --script benchmarks/compat/with_webdataset.py FOLDER

Every sample is decoded by the library: the facts from JSON, the pictures by Pillow; each clip comes
once, and has as many samples as ``export.json`` says. Exit code 1 where that does not hold.
"""

import json
import sys
from pathlib import Path

import webdataset as wds


def main() -> None:
    """Read every shard."""
    folder = Path(sys.argv[1])
    said = json.loads((folder / "export.json").read_text("utf-8"))["rows"]
    assert said, "no shards there; give the folder of `merr export webdataset`"
    for name, count in said.items():
        # its own name for "one process, in order"
        shard = wds.WebDataset(str(folder / name), shardshuffle=False).decode("pil")
        samples = list(shard)
        ids = {sample["json"]["clip_id"] for sample in samples}
        assert len(samples) == len(ids) == count, (len(samples), len(ids), count)
        pictures = [sample["jpg"].size for sample in samples if "jpg" in sample]
        films = [len(sample["mp4"]) for sample in samples if "mp4" in sample]
        print(f"{name}: {count} clips, {len(pictures)} peaks, {len(films)} films of {sum(films)} B")


if __name__ == "__main__":
    main()
