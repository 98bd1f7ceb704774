"""The card of an imported dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import yaml

from merr_pipeline.dataset.card import LOADED_AS
from merr_pipeline.dataset.columns import SUBSETS
from merr_pipeline.imports.found import Found
from merr_pipeline.schema import SCHEMA_VERSION


def card(found: Found, rows: Mapping[str, Mapping[str, int]]) -> str:
    """The text of ``README.md``; ``rows`` gives ``subset -> split -> rows``."""
    configs = [_config(subset, rows[subset]) for subset in SUBSETS if subset in rows]
    front = {"pretty_name": f"Imported {found.format} records", "license": "unknown"}
    labels = Counter(row["label"] or "(undecided)" for row in found.rows.values())
    files = "\n".join(f"| {f.name} | {f.size} | {f.sha256} |" for f in found.files[:20])
    more = len(found.files) - 20
    return (
        f"---\n{yaml.safe_dump({**front, 'configs': configs}, sort_keys=False)}---\n\n"
        f"# Imported {found.format} records\n\n"
        f"{len(found.rows)} clips, imported by merr_pipeline, record schema {SCHEMA_VERSION}. "
        "Nothing here was measured by it: labels and texts are those of the files below, and what "
        "they do not say is null. They stay under the terms of those who made them.\n\n"
        f"| file | bytes | sha256 |\n| --- | --- | --- |\n{files}\n"
        + (f"\nand {more} more, listed in sources.json\n" if more > 0 else "")
        + "\n| label | clips |\n| --- | --- |\n"
        + "".join(f"| {label} | {count} |\n" for label, count in sorted(labels.items()))
    )


def _config(subset: str, splits: Mapping[str, int]) -> dict[str, object]:
    files = [
        {"split": name, "path": f"{subset}/{split}-*.parquet"}
        for split, name in LOADED_AS.items()
        if split in splits
    ]
    return {"config_name": subset, "data_files": files} | (
        {"default": True} if subset == "clips" else {}
    )
