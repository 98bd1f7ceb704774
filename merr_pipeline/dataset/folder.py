"""The dataset folder as a whole: its manifest, and how a new one takes its place.

A new dataset is built in the sibling ``.dataset-next``; its ``manifest.json`` is written last, so a
folder with a manifest is whole. In the swap the two trade names in one step, so that whoever looks
finds the old dataset or the new one; then the old one is deleted.

A file system that cannot do that step (some network ones) takes two renames::

    dataset       -> .dataset-old
    .dataset-next -> dataset

There a kill between them leaves both, whole, under other names; the next `recover` (every build and
every assembly begins with it) finishes the swap. Half-built and left-over siblings are deleted
there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from merr_pipeline.files import exchange, sync, write_atomically
from merr_pipeline.schema import SCHEMA_VERSION, MerrError

DATASET, NEXT, OLD = "dataset", ".dataset-next", ".dataset-old"
MANIFEST, CARD, TEMPLATES = "manifest.json", "README.md", "templates"


@dataclass(frozen=True)
class FileFacts:
    """What the manifest says of a file. ``rows`` and ``shard_key`` are those of Parquet files."""

    sha256: str
    rows: int | None = None
    shard_key: str | None = None  # what the shard was made from; equal keys, equal bytes


@dataclass(frozen=True)
class Manifest:
    """``manifest.json``: no times, no hosts, so that the same inputs give the same bytes."""

    config_hash: str
    files: Mapping[str, FileFacts] = field(default_factory=dict)
    schema_version: str = SCHEMA_VERSION

    def to_json(self) -> str:
        """The text of the file; files by name."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    def rows_by_split(self) -> dict[str, dict[str, int]]:
        """``subset -> split -> rows``, as the file names and row counts tell."""
        counts: dict[str, dict[str, int]] = {}
        for name, facts in self.files.items():
            if facts.rows is not None:
                subset, _, file = name.partition("/")
                splits = counts.setdefault(subset, {})
                split = file.partition("-")[0]
                splits[split] = splits.get(split, 0) + facts.rows
        return counts


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a dataset folder; None where there is none.

    Raises:
        MerrError: it is there and is not one of ours, or of a newer major version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_bytes())
        version = str(found["schema_version"])
        if int(version.split(".")[0]) <= int(SCHEMA_VERSION.split(".")[0]):
            files = {name: FileFacts(**facts) for name, facts in found["files"].items()}
            return Manifest(found["config_hash"], files, version)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise MerrError(
            f"{path} is no manifest of a merr dataset ({error}).\n"
            "Move the folder away and build again, or choose another --out."
        ) from error
    raise MerrError(
        f"{folder} has records of schema version {version}; this program reads {SCHEMA_VERSION}.\n"
        "Install a newer merr_pipeline."
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, after everything it names has reached the disk."""
    for inner in (folder, *(path for path in folder.iterdir() if path.is_dir())):
        sync(inner)
    write_atomically(folder / MANIFEST, manifest.to_json().encode())


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def recover(out: Path) -> None:
    """Finish a swap that was cut short, and delete what earlier builds left behind.

    Raises:
        MerrError: ``dataset`` is a link, or holds something that no build has written; it is left
            alone.
    """
    dataset, following, old = out / DATASET, out / NEXT, out / OLD
    if dataset.is_symlink():
        raise MerrError(
            f"{dataset} is a link, which a new dataset would replace.\n"
            "Remove the link, and let --out name a folder on the disk that is meant."
        )
    if not dataset.exists() and old.exists():
        whole = (following / MANIFEST).is_file()
        (following if whole else old).rename(dataset)
        sync(out)
    if dataset.exists() and any(dataset.iterdir()) and read_manifest(dataset) is None:
        raise MerrError(
            f"{dataset} holds files but no {MANIFEST}, so no build has finished it.\n"
            "Move it away and build again, or choose another --out."
        )
    _sweep(out)


def swap_in(out: Path) -> None:
    """Let the finished ``.dataset-next`` take the place of ``dataset``."""
    dataset, following = out / DATASET, out / NEXT
    if not (dataset.exists() and exchange(following, dataset)):
        if dataset.exists():
            dataset.rename(out / OLD)
        following.rename(dataset)
    sync(out)
    _sweep(out)


def _sweep(out: Path) -> None:
    for left_over in (out / NEXT, out / OLD):
        if left_over.exists():
            shutil.rmtree(left_over)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name; where the file system cannot, a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        sync(target)
