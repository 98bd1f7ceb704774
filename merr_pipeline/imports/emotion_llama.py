"""The annotation files of MERR, as they were released for Emotion-LLaMA.

==================  =============================================================================
their field         ours, in ``clips``
==================  =============================================================================
the name            ``clip_id``
AU_list and         ``evidence``, one entry for each pair: ``"AU04 Brow Lowerer"``, modality face
visual_prior_list
audio_prior_list    ``tone``
peak_index          ``peak_frame_index``
peak_AU_list        ``action_units``, without values
pseu_emotion        ``label``; as it was written also in ``open_labels``, where that is different
text                ``transcript``
smp_reason_caption  ``fine_caption``
caption             ``coarse_caption``
all else            ``imported``: by file, granularity and name, as JSON
==================  =============================================================================

The TXT lists give ``frame_count`` (and a fourth number, to ``imported``), the transcription CSV
``transcript``. What a column cannot hold exactly is put aside in ``imported``, and what the export
would write and the file had not is noted there, so that importing and exporting again gives the
same JSON. A clip of both files is one row.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from merr_pipeline.encodings import decode
from merr_pipeline.exports.emotion_llama import CAPTION_KEYS, VALENCE, plain_record
from merr_pipeline.imports.found import MOST_FRAMES, Found, SourceFile, keep, texts_of
from merr_pipeline.imports.lenient_json import read_json
from merr_pipeline.schema import MerrError, Row

ALIASES = {
    "visual_expression_description": "visual_prior_list",
    "audio_description": "audio_prior_list",
    "true_label": "pseu_emotion",
    "transcript": "text",
}
"""Keys of a copy that circulates as a list of records."""

NAME_KEYS = ("video_id", "video_name", "name")
LABEL = "pseu_emotion"
_CODE = re.compile(r"AU\d+")
_FRAME = re.compile(r"0|[1-9]\d{0,9}")

Origin = tuple[SourceFile, str, Mapping[str, Any]]  # file, granularity, record


def read(paths: Sequence[Path]) -> Found:
    """Read all of the files, annotations before lists.

    Raises:
        MerrError: a file cannot be read, or has none of the three forms.
    """
    found = Found("emotion-llama")
    origins: list[tuple[str, Origin]] = []
    for path in sorted(paths, key=_order):
        file = found.file(path, path.name)
        if path.suffix.lower() == ".json":
            origins += _read_records(path, file, found)
        elif path.suffix.lower() == ".txt":
            _read_list(path, file, found)
        elif path.suffix.lower() == ".csv":
            _read_transcripts(path, file, found)
        else:
            raise MerrError(f"{path} is neither .json, .txt nor .csv.")
    for clip_id, origin in origins:
        _keep_the_rest(found.rows[clip_id], origin, found)
    return found


def _order(path: Path) -> int:
    kinds = (".json", ".txt", ".csv")
    return kinds.index(path.suffix.lower()) if path.suffix.lower() in kinds else len(kinds)


def _read_records(path: Path, file: SourceFile, found: Found) -> Iterator[tuple[str, Origin]]:
    data, warnings = read_json(path)
    found.warnings += [f"{file.name}: {warning}" for warning in warnings]
    seen: set[tuple[str, str]] = set()
    for name, record in _named(data, path):
        if not isinstance(record, dict) or not name:
            found.reject(name or f"{file.name}:?", file, "it is no record with a name")
            continue
        granularity = _granularity(record, file.name)
        if (name, granularity) in seen:
            found.warnings.append(f"{file.name}: {name!r} is there twice, the first counts")
            continue
        seen.add((name, granularity))
        _fill(found.row(name, file), record, found)
        yield name, (file, granularity, record)


def _named(data: Any, path: Path) -> Iterable[tuple[str, Any]]:
    """``(name, record)`` of a file in either form."""
    if isinstance(data, dict):
        return data.items()
    if isinstance(data, list):
        return [_from_list(record) for record in data]
    raise MerrError(f"{path} holds neither records by name nor a list of them.")


def _from_list(record: Any) -> tuple[str, Any]:
    if not isinstance(record, dict):
        return "", record
    key = next((key for key in NAME_KEYS if isinstance(record.get(key), str)), None)
    rest = {ALIASES.get(k, k): value for k, value in record.items() if k != key}
    return (Path(record[key]).stem if key else ""), rest


def _granularity(record: Mapping[str, Any], name: str) -> str:
    for granularity in ("fine", "coarse"):
        if CAPTION_KEYS[granularity] in record:
            return granularity
    return "fine" if "fine" in name.lower() else "coarse"


def _fill(row: Row, record: Mapping[str, Any], found: Found) -> None:
    """Put a record's fields where the row has none yet."""
    if row["evidence"] is None:
        row["evidence"] = _evidence(record)
    if row["action_units"] is None and (units := texts_of(record.get("peak_AU_list"))) is not None:
        row["action_units"] = [found.unit(code) for code in units]
    index = record.get("peak_index")
    if row["peak_frame_index"] is None and isinstance(index, str) and _FRAME.fullmatch(index):
        row["peak_frame_index"] = int(index) if int(index) <= MOST_FRAMES else None
    found.set_text(row, "tone", record.get("audio_prior_list"))
    found.set_text(row, "transcript", record.get("text"))
    found.set_text(row, "fine_caption", record.get(CAPTION_KEYS["fine"]))
    found.set_text(row, "coarse_caption", record.get(CAPTION_KEYS["coarse"]))
    found.set_label(row, record.get(LABEL))


def _evidence(record: Mapping[str, Any]) -> list[Row] | None:
    units = texts_of(record.get("AU_list"))
    phrases = texts_of(record.get("visual_prior_list"))
    if units is None or phrases is None or len(units) != len(phrases):
        return None
    if not all(_CODE.fullmatch(unit) for unit in units):
        return None
    unknown = dict.fromkeys(("time_s", "value", "scale", "reliability"))
    return [
        {"id": f"E{number}", "modality": "face", "text": f"{unit} {phrase}", **unknown}
        for number, (unit, phrase) in enumerate(zip(units, phrases, strict=True), start=1)
    ]


def _keep_the_rest(row: Row, origin: Origin, found: Found) -> None:
    """Put aside what the row does not hold as the record had it."""
    file, granularity, record = origin
    written = plain_record(row, granularity)
    for name in record.keys() - {LABEL} | written.keys() - {LABEL}:
        if name not in record:
            entry = {"file": file.name, "granularity": granularity, "field": name, "value": None}
            row["imported"].append(entry)
        elif name not in written or not _same(written[name], record[name]):
            keep(row, file, granularity, name, record[name])
    said = record.get(LABEL)
    meant = found.label_of(said) if isinstance(said, str) else None
    if meant is not None and meant[1] != row["label"]:
        keep(row, file, granularity, LABEL, meant[1])
    row["imported"].sort(key=lambda e: (e["file"], e["granularity"] or "", e["field"]))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return type(one) is type(other) and bool(one == other)
    return json.dumps(one) == json.dumps(other)


def _read_list(path: Path, file: SourceFile, found: Found) -> None:
    """``name frames label [number]``, in lines."""
    granularity = "fine" if "fine" in path.name.lower() else "coarse"
    for number, line in enumerate(_text(path).splitlines(), start=1):
        parts = line.strip().split(" ")
        if len(parts) < 3:
            if line.strip():
                found.reject(f"{file.name}:{number}", file, f"{line!r} is no name, frames, label")
            continue
        row = found.row(parts[0], file)
        if row["frame_count"] is None and parts[1].isascii() and parts[1].isdigit():
            row["frame_count"] = int(parts[1]) or None  # 0 is written where nobody counted
        found.set_label(row, parts[2])
        if len(parts) > 3:
            rest = " ".join(parts[3:])
            entry = {"file": file.name, "granularity": granularity, "field": VALENCE, "value": rest}
            row["imported"].append(entry)


def _read_transcripts(path: Path, file: SourceFile, found: Found) -> None:
    """``name,sentence`` with a head."""
    table = csv.DictReader(_text(path).splitlines(keepends=True))
    if not {"name", "sentence"} <= set(table.fieldnames or ()):
        raise MerrError(f"{path} has no columns name and sentence.")
    for line in table:
        if not line["name"]:
            found.reject(f"{file.name}:{table.line_num}", file, "it has no name")
        elif (line["sentence"] or "").strip():
            found.set_text(found.row(line["name"], file), "transcript", line["sentence"])


def _text(path: Path) -> str:
    try:
        return decode(path.read_bytes())[0]
    except (OSError, ValueError) as error:
        raise MerrError(f"{path} cannot be read: {error}") from error
