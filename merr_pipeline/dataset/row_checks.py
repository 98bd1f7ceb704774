"""What must hold of the rows of a dataset.

=====================  =========================================================================
every clip             once, in ``clips`` or in ``rejected``; in the shard and split of its file;
                       rows sorted by clip_id
every source, speaker  in one split
pictures               decode
both captions          every claim points to the clip's evidence (`grounding.check`); one in
                       Chinese is what that evidence gives when it is made again
every record           once; its clip is in the same shard of ``clips``, with the same facts; a
                       question, then an answer that the reference trainer does not cut
media                  where the input folder is given: there, with the clip's sha256
=====================  =========================================================================
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image, UnidentifiedImageError

from merr_pipeline.dataset.chinese import ChineseWords, chinese_caption, load_chinese_words
from merr_pipeline.dataset.coarse import check_caption
from merr_pipeline.dataset.columns import PICTURES
from merr_pipeline.dataset.folder import sha256_of
from merr_pipeline.dataset.instructions import is_selected
from merr_pipeline.dataset.problems import REMAKE, Problem
from merr_pipeline.dataset.shards import ROW_GROUP_SIZE, shard_index
from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.emotion.rules import load_rules
from merr_pipeline.fuse.form import TRAINER_WORDS
from merr_pipeline.fuse.judge import label_of_text
from merr_pipeline.grounding.check import Grounding, check_text
from merr_pipeline.grounding.lexicon import load_lexicon
from merr_pipeline.schema import MerrError, Reason, Row

IMPORTED = "imported"
"""``text_source`` of texts that somebody else wrote: they are not held to our rules of writing."""

_COPIED = ("label", "label_source", "transcript", "media_path", "sha256", "split")
"""Columns of a record that repeat its clip's."""

_CLIP_COLUMNS = (
    *("clip_id", "other_paths", "source_id", "speaker_id", "coarse_caption"),
    *("visual_expression", "coarse_form", "coarse_language"),
    *("fine_caption", "evidence", "text_source", "llm_label"),
    *(*_COPIED, *PICTURES),
)
_KNOWN_COLUMNS = ("text_source", "clip_id", "fine_selection", *_COPIED)
_RECORD_COLUMNS = ("record_id", "clip_id", "granularity", "messages", *_COPIED)
_TEXT_TODO = "Give `merr validate` the templates it was made with, or build again."
_MEDIA_TODO = "Put the file back, or build again without it."
_FILE = re.compile(r"(?P<subset>\w+)/(?P<split>\w+)-(?P<index>\d{5})-of-(?P<count>\d{5})\.parquet")


@dataclass(frozen=True)
class _Parts:
    """What a file's name says."""

    subset: str
    split: str
    index: int
    count: int


class RowChecks:
    """Checks the files of one dataset, one after the other; holds what earlier ones have shown."""

    def __init__(
        self, dataset: Path, media_root: Path | None, templates: Path | None = None
    ) -> None:
        self._dataset, self._media_root, self._templates = dataset, media_root, templates
        table = load_action_units(templates)
        self._rules, self._lexicon = load_rules(table, templates), load_lexicon(table, templates)
        self._place: dict[str, str] = {}  # clip_id -> file
        self._splits: dict[str, dict[str, str]] = {}  # source or speaker -> split -> a clip
        self._records: dict[str, str] = {}  # record_id -> file

    def run(self, names: Sequence[str]) -> Iterator[Problem]:
        """Problems of the rows of these files, whose bytes and schemas are right already."""
        for name in names:
            parts = _parts(name)
            if parts is None:
                yield Problem(name, None, "is not named as a shard is", REMAKE)
            elif parts.subset == "clips":
                yield from self._check_clips(name, parts)
            elif parts.subset == "rejected":
                yield from self._check_rejected(name, parts)
            else:
                yield from self._check_records(name, parts, names)
        yield from self._check_splits()

    def _check_clips(self, name: str, parts: _Parts) -> Iterator[Problem]:
        last = ""
        for row in self._read(name, _CLIP_COLUMNS):
            if row["clip_id"] < last:
                yield Problem(name, row["clip_id"], "is not in the order of clip_id", REMAKE)
            last = row["clip_id"]
            yield from self._check_place(name, parts, row["clip_id"])
            if row["split"] != parts.split:
                yield Problem(name, row["clip_id"], f"its split is {row['split']}", REMAKE)
            for column in PICTURES:
                yield from _check_picture(name, row, column)
            for kind in ("source", "speaker"):
                if (value := row[f"{kind}_id"]) is not None:
                    splits = self._splits.setdefault(f"{kind} {value}", {})
                    splits.setdefault(row["split"], row["clip_id"])
            yield from self._check_captions(name, row)
            yield from self._check_media(name, row)

    def _check_captions(self, name: str, row: Row) -> Iterator[Problem]:
        if row["text_source"] == IMPORTED:
            return  # somebody else's words, on evidence that nobody here has measured
        fine, coarse, evidence = row["fine_caption"], row["coarse_caption"], row["evidence"] or []
        proofs: dict[str, Grounding] = {}
        if fine is not None:
            label = label_of_text(row)
            proofs["fine"] = check_text(fine, evidence, label, self._lexicon, self._rules)
        if coarse is not None and row["coarse_language"] == "zh":
            yield from self._check_chinese(name, row)
        elif coarse is not None:
            proofs["coarse"] = check_caption(coarse, evidence, self._rules, self._lexicon)
        for which, proof in proofs.items():
            for claim in proof.ungrounded:
                what = f"its {which} caption claims {claim.text!r}: {claim.why}"
                yield Problem(name, row["clip_id"], what, _TEXT_TODO)

    def _check_chinese(self, name: str, row: Row) -> Iterator[Problem]:
        """No checker reads it, so it is made from the evidence again."""
        try:
            made = chinese_caption(
                row["evidence"] or [], row["sha256"], self._chinese, row["coarse_form"]
            )
        except MerrError as error:
            yield Problem(name, row["clip_id"], f"its coarse caption: {error}", _TEXT_TODO)
            return
        for column, expected in zip(("visual_expression", "coarse_caption"), made, strict=True):
            if row[column] != expected:
                what = f"its {column} is {row[column]!r}; its evidence gives {expected!r}"
                yield Problem(name, row["clip_id"], what, _TEXT_TODO)

    @cached_property
    def _chinese(self) -> ChineseWords:
        return load_chinese_words(self._templates)

    def _check_rejected(self, name: str, parts: _Parts) -> Iterator[Problem]:
        for row in self._read(name, ("clip_id", "stage", "reason")):
            yield from self._check_place(name, parts, row["clip_id"])
            if not row["stage"] or row["reason"] not in set(Reason):
                what = (
                    f"is rejected by {row['stage']} for {row['reason']}, which is no known reason"
                )
                yield Problem(name, row["clip_id"], what, REMAKE)

    def _check_place(self, name: str, parts: _Parts, clip_id: str) -> Iterator[Problem]:
        """Once in the dataset, and in the shard that its id names."""
        if clip_id in self._place:
            yield Problem(name, clip_id, f"is in {self._place[clip_id]} too", REMAKE)
        self._place[clip_id] = name
        index = shard_index(clip_id, parts.count)
        if index != parts.index:
            yield Problem(name, clip_id, f"belongs in shard {index}", REMAKE)

    def _check_splits(self) -> Iterator[Problem]:
        for key, splits in sorted(self._splits.items()):
            if len(splits) > 1:
                where = ", ".join(f"{split} ({clip})" for split, clip in sorted(splits.items()))
                yield Problem("clips", None, f"{key} is in several splits: {where}", REMAKE)

    def _check_media(self, name: str, row: Row) -> Iterator[Problem]:
        if self._media_root is None or row["media_path"] is None:
            return  # of what was imported without its clips there is nothing to compare
        for media_path in (row["media_path"], *(row["other_paths"] or [])):
            path = self._media_root / media_path
            if not path.is_file():
                yield Problem(name, row["clip_id"], f"{media_path} is not there", _MEDIA_TODO)
            elif sha256_of(path) != row["sha256"]:
                yield Problem(name, row["clip_id"], f"{media_path} has changed", _MEDIA_TODO)

    def _check_records(self, name: str, parts: _Parts, names: Sequence[str]) -> Iterator[Problem]:
        counterpart = name.replace(parts.subset, "clips", 1)
        if counterpart not in names:
            yield Problem(name, None, f"has no sound {counterpart} beside it", REMAKE)
            return
        known = {row["clip_id"]: row for row in self._read(counterpart, _KNOWN_COLUMNS)}
        for row in self._read(name, _RECORD_COLUMNS):
            record_id = row["record_id"]
            if record_id in self._records:
                what = f"record {record_id} is in {self._records[record_id]} too"
                yield Problem(name, row["clip_id"], what, REMAKE)
            self._records[record_id] = name
            for what in _faults_of_record(row, parts, known.get(row["clip_id"])):
                yield Problem(name, row["clip_id"], f"record {record_id} {what}", REMAKE)

    def _read(self, name: str, columns: Sequence[str]) -> Iterator[Row]:
        with pq.ParquetFile(self._dataset / name) as file:
            for batch in file.iter_batches(ROW_GROUP_SIZE, columns=list(columns)):
                yield from batch.to_pylist()


def _parts(name: str) -> _Parts | None:
    found = _FILE.fullmatch(name)
    if found is None:
        return None
    return _Parts(found["subset"], found["split"], int(found["index"]), int(found["count"]))


def _check_picture(name: str, row: Row, column: str) -> Iterator[Problem]:
    if row[column] is None:
        return
    try:
        with Image.open(io.BytesIO(row[column]["bytes"] or b"")) as picture:
            picture.load()
    except (OSError, UnidentifiedImageError) as error:
        what = f"{column} is no picture that decodes ({error})"
        yield Problem(name, row["clip_id"], what, REMAKE)


def _is_cut_by_the_trainer(record: Row, clip: Row | None) -> bool:
    """Whether a fine text of ours is too long.

    A caption quotes all that is said, and an imported text is somebody else's.
    """
    if record["granularity"] != "fine" or (clip and clip["text_source"] == IMPORTED):
        return False
    return len(record["messages"][-1]["content"].split()) > TRAINER_WORDS


def _faults_of_record(record: Row, parts: _Parts, clip: Row | None) -> Iterator[str]:
    if record["granularity"] != parts.subset:
        yield f"is {record['granularity']}"
    if clip is None:
        yield "belongs to no clip of this shard"
    else:
        if parts.subset == "fine" and not is_selected(clip):
            yield f"belongs to a clip that the selection left out ({clip['fine_selection']})"
        for column in _COPIED:
            if record[column] != clip[column]:
                yield f"has {column} {record[column]!r}, its clip {clip[column]!r}"
    if [message["role"] for message in record["messages"]] != ["user", "assistant"]:
        yield "is no question with an answer"
    else:
        question, answer = (message["content"] for message in record["messages"])
        if not question or not answer:
            yield "has an empty question or answer"
        elif _is_cut_by_the_trainer(record, clip):
            yield f"has an answer over {TRAINER_WORDS} words, which the reference trainer cuts"
