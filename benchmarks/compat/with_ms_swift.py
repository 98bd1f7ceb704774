# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["ms-swift==4.6.0", "torch==2.13.0"]
# ///
"""Does ms-swift read what ``merr export ms-swift`` wrote? Its own code, no model.

    uv run --script benchmarks/compat/with_ms_swift.py FOLDER

Every file goes through its `load_dataset` in strict mode, then each row through `StdTemplateInputs`
(what its templates encode), where tags and files are counted; the files must be there. A row for
GRPO must keep its ``solution``. Exit code 1 where a row is refused, dropped or changed.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "MODELSCOPE_CACHE": tempfile.mkdtemp()}

from swift.dataset import load_dataset
from swift.template.template_inputs import StdTemplateInputs


def check(row: dict, written: dict, folder: Path) -> None:
    """Raise where the row is not what was written, as ms-swift reads it."""
    inputs, _ = StdTemplateInputs.from_dict(dict(row)), None
    inputs = inputs[0] if isinstance(inputs, tuple) else inputs
    text = "".join(message["content"] for message in written["messages"])
    for kind in ("image", "video", "audio"):
        files = written[f"{kind}s"]
        assert len(getattr(inputs, f"{kind}s")) == len(files) == text.count(f"<{kind}>"), row
        assert all((folder / path).is_file() for path in files), files
    assert [dict(m)["content"] for m in row["messages"]] == [
        m["content"] for m in written["messages"]
    ]
    assert row.get("solution") == written.get("solution")


def main() -> None:
    """Load every file of the folder."""
    folder = Path(sys.argv[1])
    paths = sorted(folder.glob("*.jsonl"))
    assert paths, "no .jsonl there; give the folder of `merr export ms-swift`"
    for path in paths:
        written = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        rows, _ = load_dataset(
            str(path), strict=True, remove_unused_columns=False, load_from_cache_file=False
        )
        assert len(rows) == len(written), (len(rows), len(written))
        for row, line in zip(rows, written, strict=True):
            check(row, line, folder)
        print(f"{path.name}: {len(rows)} rows, accepted by ms-swift")


if __name__ == "__main__":
    main()
