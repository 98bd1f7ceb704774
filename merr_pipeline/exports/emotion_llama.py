"""The files of Emotion-LLaMA: annotations as MERR was released, and the folders its loader wants.

::

    MERR_coarse_grained.json   {name: {AU_list, visual_prior_list, audio_prior_list, peak_index,
                               peak_AU_list, pseu_emotion, caption}}
    MERR_fine_grained.json     the same with text and smp_reason_caption
    MERR_….txt                 ``name frames label`` for each of its names
    transcription_en_all.csv   ``name,sentence`` for every name
    video/NAME.mp4             the clips
    peak_frames/NAME.jpg       our pictures of the peaks; the loader itself takes the first frame

Rules of its loader (minigpt4/datasets/datasets/first_face.py, commits 2172ee4 and later): a line of
a txt is split at blanks, column 2 is one of nine labels; ``video/NAME`` ends in .mp4 or .avi;
pandas reads the CSV with its defaults and must find the name, else IndexError. Its three feature
folders (mae_340_UTT, maeV_399_UTT, HL-UTT) are not made here.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from merr_pipeline.exports.media import check_media, put
from merr_pipeline.exports.plan import Plan, Report
from merr_pipeline.exports.source import Source
from merr_pipeline.exports.wanted import Media, Wanted, named
from merr_pipeline.fuse.form import TRAINER_WORDS
from merr_pipeline.schema import MerrError, Row

LABELS = (
    *("happy", "sad", "neutral", "angry", "worried"),
    *("surprise", "fear", "contempt", "doubt"),
)
CAPTION_KEYS = {"coarse": "caption", "fine": "smp_reason_caption"}
CAPTIONS = {"coarse": "coarse_caption", "fine": "fine_caption"}
TRANSCRIPTS = "transcription_en_all.csv"
COLUMNS = (
    *("clip_id", "label", "media_path", "frame_count", "transcript", "tone", "evidence"),
    *("action_units", "peak_frame_index", *CAPTIONS.values(), "text_source", "imported"),
)
VALENCE = "txt column 4"
"""What some txt lines hold behind the label; kept where it was imported."""

_UNIT = re.compile(r"(AU\d+) (.*)", re.DOTALL)


def write(folder: Path, source: Source, wanted: Wanted, plan: Plan) -> Report:
    """Write all of it; every wanted split goes into the same files.

    Raises:
        MerrError: a label that the loader has no number for, or clips that are not there.
    """
    report = Report()
    _check_labels(source, plan, wanted)
    if wanted.images and wanted.clips is not None:
        check_media(plan.every, wanted)
    names = _names([row["clip_id"] for row in plan.every], report)
    columns = (*COLUMNS, "peak_frame") if wanted.images else COLUMNS
    files: dict[str, dict[str, Any]] = {subset: {} for subset in wanted.subsets}
    lines: dict[str, list[str]] = {subset: [] for subset in wanted.subsets}
    sentences, long_texts = {}, 0
    for split in plan.clips:
        for clip in source.clips(split, columns):
            name = names[clip["clip_id"]]
            for subset in wanted.subsets:
                if (record := record_of(clip, subset)) is not None:
                    files[subset][name] = record
                    lines[subset].append(_line(name, clip, subset, record))
                    long_texts += len(_words(record, subset)) > TRAINER_WORDS
                    sentences[name] = clip["transcript"] or ""
            if name in sentences:
                _write_media(folder, clip, name, wanted)
    for subset in wanted.subsets:
        stem = f"MERR_{subset}_grained"
        records = dict(sorted(files[subset].items()))
        _write(folder / f"{stem}.json", json.dumps(records, indent=4, ensure_ascii=False))
        _write(folder / f"{stem}.txt", "".join(f"{line}\n" for line in sorted(lines[subset])))
        report.rows[f"{stem}.json"] = len(files[subset])
    _write(folder / TRANSCRIPTS, _transcripts(dict(sorted(sentences.items()))))
    report.rows[TRANSCRIPTS] = len(sentences)
    report.note(len(plan.every) - len(sentences), "clips without a label or text are left out")
    if wanted.images and (wanted.clips is None or wanted.media is Media.PATH):
        report.notes.append("no clips are written; set vis_root to where they lie as NAME.mp4")
    report.note(long_texts, f"texts are over {TRAINER_WORDS} words, where its loader cuts them")
    return report


def record_of(clip: Row, granularity: str) -> dict[str, Any] | None:
    """The record of a clip in the released form; None where it has no label or no such text."""
    label = _label_in(clip, granularity)
    if label is None:
        return None
    record = {**plain_record(clip, granularity), "pseu_emotion": label}
    for name, value in _kept(clip, granularity).items():
        if value is None:
            record.pop(name, None)
        else:
            record[name] = json.loads(value)
    return record


def _label_in(clip: Row, granularity: str) -> str | None:
    """The label that a clip's record has in one of the files; None where it has no record there.

    A label of its own is kept where an imported clip has two, a coarse and a fine one.
    """
    kept = _kept(clip, granularity)
    if clip[CAPTIONS[granularity]] is None and not kept:
        return None
    label: str | None = json.loads(kept.get("pseu_emotion") or "null") or clip["label"]
    return label


def plain_record(clip: Row, granularity: str) -> dict[str, Any]:
    """The same from the columns alone, without what an import has kept aside."""
    units = [found.groups() for item in _face(clip) if (found := _UNIT.fullmatch(item["text"]))]
    is_ours = clip["text_source"] != "imported"
    at_peak = [unit["au"] for unit in clip["action_units"] or []]
    index = clip["peak_frame_index"]
    record: dict[str, Any] = {
        "AU_list": [unit for unit, _ in units],
        "visual_prior_list": [_phrase(said) if is_ours else said for _, said in units],
        "audio_prior_list": clip["tone"] or "",
        "peak_index": "" if index is None else str(index),
        "peak_AU_list": sorted({unit for unit, _ in units}) if is_ours else at_peak,
        "pseu_emotion": clip["label"],
    }
    if granularity == "fine":
        record["text"] = clip["transcript"] or ""
    record[CAPTION_KEYS[granularity]] = clip[CAPTIONS[granularity]]
    return record


def _face(clip: Row) -> list[Row]:
    return [item for item in clip["evidence"] or [] if item["modality"] == "face"]


def _phrase(said: str) -> str:
    """``"Lip corner puller"`` of ``"lip corner puller: 3.58 on a scale …"``."""
    name = said.partition(":")[0]
    return name[:1].upper() + name[1:]


def _kept(clip: Row, granularity: str) -> dict[str, str | None]:
    """Fields that no column holds exactly, as JSON; None where the file had no such field."""
    entries = clip["imported"] or []
    return {
        entry["field"]: entry["value"]
        for entry in entries
        if entry["granularity"] == granularity and entry["field"] != VALENCE
    }


def _words(record: Mapping[str, Any], subset: str) -> list[str]:
    return str(record.get(CAPTION_KEYS[subset]) or "").split()


def _line(name: str, clip: Row, subset: str, record: Mapping[str, Any]) -> str:
    """``name frames label``, and the fourth number where one was imported.

    The loader reads the first and the third; frames that nobody counted are 0 there.
    """
    entries = clip["imported"] or []
    fourth = [e["value"] for e in entries if (e["granularity"], e["field"]) == (subset, VALENCE)]
    return " ".join([name, str(clip["frame_count"] or 0), record["pseu_emotion"], *fourth])


def _check_labels(source: Source, plan: Plan, wanted: Wanted) -> None:
    """Raise MerrError for every label outside the nine, with how many clips have it."""
    found: Counter[str] = Counter()
    columns = ("clip_id", "label", *CAPTIONS.values(), "imported")
    for split in plan.clips:
        for clip in source.clips(split, columns):
            said = {label for subset in wanted.subsets if (label := _label_in(clip, subset))}
            found.update(said - set(LABELS))
    if found:
        told = ", ".join(f"{label} ({count} clips)" for label, count in sorted(found.items()))
        leave_out = " ".join(f"--without-label {label}" for label in sorted(found))
        raise MerrError(
            f"Emotion-LLaMA knows the labels {', '.join(LABELS)}; the dataset also has {told}.\n"
            f"Build with --set label.space=merr9, or leave those clips out: {leave_out}."
        )


def _names(clip_ids: list[str], report: Report) -> dict[str, str]:
    """The ids themselves, but for what the loader would not find again."""
    names = {clip_id: re.sub(r"\s", "_", clip_id) for clip_id in clip_ids}
    report.note(
        sum(names[clip_id] != clip_id for clip_id in names),
        "clip ids have blanks, at which the loader splits; they are written with _",
    )
    if _misread(list(names.values())):
        names = {clip_id: f"clip_{name}" for clip_id, name in names.items()}
        report.notes.append("the ids are numbers to pandas, so that each name begins with clip_")
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise MerrError(f"several clips would be called {named(twice)}; rename them.")
    return names


def _misread(names: list[str]) -> bool:
    """Whether pandas, reading as the loader does, takes names for numbers or for nothing."""
    found = pd.read_csv(io.StringIO(_transcripts(dict.fromkeys(names, "x"))))["name"]
    return found.tolist() != names


def _transcripts(sentences: Mapping[str, str]) -> str:
    """The CSV; a sentence that pandas would take for a missing value gets a blank behind it."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["name", "sentence"])
    for name, sentence in sentences.items():
        table.writerow([name, f"{sentence} " if sentence in _MISSING else sentence])
    return text.getvalue()


_MISSING = frozenset(
    {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"}
    | {"<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"}
)


def _write_media(folder: Path, clip: Row, name: str, wanted: Wanted) -> None:
    if not wanted.images:
        return
    if clip["peak_frame"]:
        picture = folder / "peak_frames" / f"{_inside(name)}.jpg"
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(clip["peak_frame"]["bytes"])
    if wanted.clips is not None and wanted.media is not Media.PATH:
        source = (wanted.clips / clip["media_path"]).absolute()
        suffix = ".avi" if source.suffix.lower() == ".avi" else ".mp4"  # it looks for no other
        put(source, folder / "video" / f"{_inside(name)}{suffix}", wanted.media)


def _inside(name: str) -> str:
    """The name, if it stays in its folder; MerrError else."""
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts or "\0" in name:
        raise MerrError(f"{name!r} cannot be the name of a file; rename the clip.")
    return name


def _write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8", newline="")
