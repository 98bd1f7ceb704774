"""Prove a finished dataset, from its files alone (``merr validate``).

Files: the manifest is there, every file it names has its sha256, rows, schema and keys, no other
file lies beside them, the card's configs name what is there. Rows: see `row_checks`. Media, where
the input folder is given: every path exists under it and has the clip's sha256.

Nothing is changed, and no check stops another: all problems are returned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from merr_pipeline.dataset.columns import SUBSETS
from merr_pipeline.dataset.folder import (
    CARD,
    DATASET,
    MANIFEST,
    OLD,
    TEMPLATES,
    FileFacts,
    Manifest,
    read_manifest,
    sha256_of,
)
from merr_pipeline.dataset.problems import REBUILD, REPLACE, Problem
from merr_pipeline.dataset.row_checks import RowChecks
from merr_pipeline.dataset.shards import stored_schema
from merr_pipeline.schema import SCHEMA_VERSION, MerrError
from merr_pipeline.takedown.record import read_record


def validate(
    out: Path, media_root: Path | None = None, templates: Path | None = None
) -> list[Problem]:
    """Every problem of ``<out>/dataset``; none if it is whole.

    Args:
        out: the build's folder.
        media_root: the input folder, to check the clips' files too.
        templates: read the texts by these; None is by those that the dataset was made with.
    """
    dataset = out / DATASET
    try:
        manifest = read_manifest(dataset)
    except MerrError as error:
        return [Problem(MANIFEST, None, *str(error).split("\n", 1))]
    if manifest is None:
        return [_no_manifest(out)]
    problems = [*_check_manifest(manifest), *_check_strays(dataset, manifest)]
    readable: list[str] = []
    for name, facts in sorted(manifest.files.items()):
        found = list(_check_file(dataset, name, facts, manifest))
        problems += found
        if _is_table(name) and not found:
            readable.append(name)
    problems += _check_card(dataset, manifest)
    problems += _check_taken_down(out, readable)
    made_with = dataset / TEMPLATES
    own = templates or (made_with if made_with.is_dir() else None)
    problems += RowChecks(dataset, media_root, own).run(readable)
    return problems


def _check_taken_down(out: Path, readable: Sequence[str]) -> Iterator[Problem]:
    """Nothing of a clip that was taken down is in the dataset, nor in the store beside it."""
    record = read_record(out)
    if not record.removed:
        return
    tables = [f"{DATASET}/{name}" for name in readable]
    tables += [
        path.relative_to(out).as_posix() for path in out.glob("annotations/*/part-*.parquet")
    ]
    for name in sorted(tables):
        if "sha256" in pq.read_schema(out / name).names:
            column = pq.read_table(out / name, columns=["sha256"], partitioning=None)[0]
            if any(record.holds(sha256) for sha256 in column.unique().to_pylist() if sha256):
                what = "holds a clip that was taken down"
                yield Problem(name.removeprefix(f"{DATASET}/"), None, what, "Take it down again.")


def _is_table(name: str) -> bool:
    """Whether a file of the dataset holds rows."""
    return name.endswith(".parquet")


def _no_manifest(out: Path) -> Problem:
    if (out / OLD).exists():
        what = "a build was stopped while it swapped the new dataset in; both are whole"
        return Problem(DATASET, None, what, "Run `merr build` again: it finishes the swap.")
    if (out / DATASET).exists():
        what = f"{out / DATASET} has none, so no build has finished it"
        return Problem(MANIFEST, None, what, "Move that folder away, then run `merr build`.")
    return Problem(DATASET, None, f"there is none in {out}", "Run `merr build`.")


def _check_manifest(manifest: Manifest) -> Iterator[Problem]:
    if manifest.schema_version != SCHEMA_VERSION:
        what = f"schema version {manifest.schema_version}, but this program reads {SCHEMA_VERSION}"
        yield Problem(MANIFEST, None, what, "Build again, or use the version that wrote it.")
    if CARD not in manifest.files:
        yield Problem(MANIFEST, None, f"does not name {CARD}", REBUILD)


def _check_strays(dataset: Path, manifest: Manifest) -> Iterator[Problem]:
    """Parquet files that the manifest does not name would be loaded all the same."""
    for path in sorted(dataset.rglob("*.parquet")):
        name = path.relative_to(dataset).as_posix()
        if name not in manifest.files:
            yield Problem(name, None, "is not in the manifest", "Delete it.")


def _check_file(
    dataset: Path, name: str, facts: FileFacts, manifest: Manifest
) -> Iterator[Problem]:
    path = dataset / name
    todo = REPLACE if name.startswith("clips/") else REBUILD  # a build reads the splits there
    if not path.is_file():
        yield Problem(name, None, "is in the manifest, but not there", todo)
    elif sha256_of(path) != facts.sha256:
        yield Problem(name, None, "its bytes are not those of the manifest's sha256", todo)
    elif _is_table(name):
        yield from _check_parquet(path, name, facts, manifest)


def _check_parquet(
    path: Path, name: str, facts: FileFacts, manifest: Manifest
) -> Iterator[Problem]:
    subset = name.partition("/")[0]
    try:
        file = pq.ParquetFile(path)
        schema, rows = file.schema_arrow, file.metadata.num_rows
    except (OSError, pa.ArrowException) as error:
        yield Problem(name, None, f"is no Parquet file: {error}", REBUILD)
        return
    if subset not in SUBSETS:
        yield Problem(name, None, f"lies in none of {', '.join(SUBSETS)}", REBUILD)
    elif not schema.equals(stored_schema(subset, manifest.config_hash), check_metadata=True):
        yield Problem(name, None, "its columns or schema keys are not those of the schema", REBUILD)
    if rows != facts.rows:
        what = f"holds {rows} rows, the manifest says {facts.rows}"
        yield Problem(name, None, what, REBUILD)


def _check_card(dataset: Path, manifest: Manifest) -> Iterator[Problem]:
    """The configs of the front matter name every Parquet file once, and only what is there."""
    path = dataset / CARD
    if not path.is_file():
        return  # told of already
    try:
        front = yaml.safe_load(path.read_text("utf-8").split("---\n")[1])
        patterns = [file["path"] for c in front["configs"] for file in c["data_files"]]
    except (yaml.YAMLError, IndexError, KeyError, TypeError) as error:
        yield Problem(CARD, None, f"its front matter has no readable configs: {error!r}", REBUILD)
        return
    for pattern in patterns:
        if not any(dataset.glob(pattern)):
            yield Problem(CARD, None, f"names {pattern}, which is not there", REBUILD)
    named = [
        p.relative_to(dataset).as_posix() for pattern in patterns for p in dataset.glob(pattern)
    ]
    for name in sorted(set(filter(_is_table, manifest.files)) - set(named)):
        yield Problem(CARD, None, f"does not name {name}", REBUILD)
