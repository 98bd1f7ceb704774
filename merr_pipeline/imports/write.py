"""An imported dataset: the same folder as a build leaves, so that all else reads it alike.

Rows have the columns of a build; what nobody has measured is null. ``text_source``,
``label_source`` and their like are ``imported``, ``provenance`` names the file and its sha256, and
``sources.json`` lists all files. Nobody drew splits, so all clips are in one. Instruction records
are drawn as for a build, from the same questions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from merr_pipeline.clips.manifest import STILL_SUFFIXES, VIDEO_SUFFIXES
from merr_pipeline.dataset.draft import Draft, Shard
from merr_pipeline.dataset.folder import CARD, DATASET, Manifest, read_manifest, recover, sha256_of
from merr_pipeline.dataset.instructions import Questions, instruction_records, load_questions
from merr_pipeline.dataset.shards import file_name, in_shards
from merr_pipeline.imports.card import card
from merr_pipeline.imports.found import Found
from merr_pipeline.schema import MerrError, Row
from merr_pipeline.settings import DatasetSettings
from merr_pipeline.stage import digest

SOURCES = "sources.json"
VERSION = 1  # of how fields are placed


def write_dataset(found: Found, to: Path, split: str, clips: Path | None = None) -> Path:
    """Write ``<to>/dataset``; it appears whole or not at all. Gives its folder.

    Args:
        found: what was read.
        to: like the ``--out`` of a build.
        split: of all clips.
        clips: a folder of clips, each called as its record; gives ``media_path`` and ``sha256``.

    Raises:
        MerrError: nothing was read, or ``to`` holds a build.
    """
    if not found.rows:
        raise MerrError("there is not one record to import in what was given.")
    _refuse_build(to)
    to.mkdir(parents=True, exist_ok=True)
    recover(to)
    if clips is not None:
        _find_clips(found, clips)
    sources = {
        "format": found.format,
        "version": VERSION,
        "files": [asdict(file) for file in found.files],
        "warnings": found.warnings,
        "unknown_labels": dict(sorted(found.unknown.items())),
    }
    draft = Draft(to, Manifest(""), digest(sources))
    questions = load_questions()
    for shard in _shards(sorted(found.rows), split, ("clips", "coarse", "fine")):
        draft.write(shard, _rows(found, shard, questions))
    rejected = {row["clip_id"]: row for row in found.rejected}
    for shard in _shards(sorted(rejected), "all", ("rejected",)):
        draft.write(shard, ({"rejected": [rejected[clip_id]]} for clip_id in shard.clip_ids))
    draft.drop_empty()
    listed = json.dumps(sources, indent=2, ensure_ascii=False)
    draft.finish({CARD: card(found, draft.rows()), SOURCES: f"{listed}\n"})
    return to / DATASET


def _refuse_build(to: Path) -> None:
    manifest = read_manifest(to / DATASET)
    if (to / "annotations").exists() or (manifest is not None and SOURCES not in manifest.files):
        raise MerrError(f"{to} holds a build, which an import would replace; name another --to.")


def _shards(clip_ids: list[str], split: str, subsets: tuple[str, ...]) -> Iterator[Shard]:
    every = in_shards(clip_ids, DatasetSettings().clips_per_shard)
    for index, inside in enumerate(every):
        names = {subset: file_name(subset, split, index, len(every)) for subset in subsets}
        yield Shard(names, inside, split, digest([VERSION, inside]))


def _rows(found: Found, shard: Shard, questions: Questions) -> Iterator[Mapping[str, list[Row]]]:
    for clip_id in shard.clip_ids:
        row = {**found.rows[clip_id], "split": shard.split}
        row["imported"] = row["imported"] or None
        records = instruction_records(row, questions)
        of_kind = {
            kind: [record for record in records if record["granularity"] == kind]
            for kind in ("coarse", "fine")
        }
        yield {"clips": [row], **of_kind}


def _find_clips(found: Found, folder: Path) -> None:
    """Give each row the file that is called as it is; names that two files have fit none."""
    by_name: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in VIDEO_SUFFIXES | STILL_SUFFIXES and path.is_file():
            by_name.setdefault(path.stem, []).append(path)
    without = 0
    for clip_id, row in found.rows.items():
        paths = by_name.get(clip_id, [])
        if len(paths) != 1:
            without += 1
            continue
        row["media_path"] = paths[0].relative_to(folder).as_posix()
        row["sha256"] = sha256_of(paths[0])
        row["kind"] = "still" if paths[0].suffix.lower() in STILL_SUFFIXES else "video"
    if without:
        found.warnings.append(f"{without} of {len(found.rows)} records have no clip in the folder")
