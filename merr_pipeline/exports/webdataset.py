"""WebDataset: tar shards, one sample for each clip.

A sample is ``NAME.json`` (all that is known of the clip but its pictures and series, and its
instruction records), ``NAME.jpg`` (the peak frame), ``NAME.face.jpg`` and the clip's own file.
Names hold no dot, for the format takes what follows the first dot for the kind. Members have no
time, owner or mode of their own: the same dataset gives the same bytes.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from merr_pipeline.dataset.columns import PICTURES
from merr_pipeline.dataset.shards import batched
from merr_pipeline.exports.media import check_media
from merr_pipeline.exports.plan import Plan, Report
from merr_pipeline.exports.source import WITHOUT_SERIES, Sample, Source
from merr_pipeline.exports.wanted import Media, Wanted
from merr_pipeline.schema import MerrError

SAMPLES_PER_SHARD = 500
COLUMNS = tuple(name for name in WITHOUT_SERIES if name not in PICTURES)
MEMBERS = {"peak_frame": "jpg", "face_crop": "face.jpg"}


def write(folder: Path, source: Source, wanted: Wanted, plan: Plan) -> Report:
    """Shards of `SAMPLES_PER_SHARD` clips for each split."""
    if wanted.media is Media.LINK:
        raise MerrError("a tar file cannot hold links; say --media copy, or --media path.")
    report = Report()
    if wanted.images:
        check_media(plan.every, wanted)
    columns = (*COLUMNS, *PICTURES) if wanted.images else COLUMNS
    for split in plan.clips:
        samples = source.samples(split, columns)
        for index, batch in enumerate(batched(samples, SAMPLES_PER_SHARD)):
            name = f"{split}-{index:06d}.tar"
            with tarfile.open(folder / name, "w", format=tarfile.PAX_FORMAT) as tar:
                for sample in batch:
                    for member, content in _members(sample, plan.names, wanted):
                        _add(tar, member, content)
            report.rows[name] = len(batch)
    return report


def _members(sample: Sample, names: Any, wanted: Wanted) -> Iterator[tuple[str, bytes | Path]]:
    clip = sample.clip
    name = names[clip["clip_id"]]
    facts = {key: value for key, value in clip.items() if key not in PICTURES}
    known = {**facts, "records": sample.records}
    if not wanted.images or wanted.clips is None:
        yield f"{name}.json", _json(known)
        return
    source = (wanted.clips / clip["media_path"]).absolute()
    if wanted.media is Media.PATH:
        known["media"] = str(source)
    yield f"{name}.json", _json(known)
    for column, suffix in MEMBERS.items():
        if clip[column]:
            yield f"{name}.{suffix}", clip[column]["bytes"]
    if wanted.media is Media.COPY:
        suffix = source.suffix.lower().lstrip(".")
        yield f"{name}.{'still.' if suffix == 'jpg' else ''}{suffix}", source


def _json(known: dict[str, Any]) -> bytes:
    return json.dumps(known, ensure_ascii=False).encode()


def _add(tar: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    """Add a member that says nothing of who wrote it when."""
    member = tarfile.TarInfo(name)
    if isinstance(content, bytes):
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
        return
    with content.open("rb") as file:
        member.size = content.stat().st_size
        tar.addfile(member, file)
