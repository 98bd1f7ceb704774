"""Some clips in full: chosen by hash, label by label in turn, so that every label is seen."""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import pyarrow.compute as pc

from merr_pipeline.report.claims import LinkedText, Linker
from merr_pipeline.report.curves import Chart, chart_of
from merr_pipeline.report.sounds import Heard, heard
from merr_pipeline.report.source import Finished, opened
from merr_pipeline.schema import Row

MOST_PICTURE_BYTES = 6_000_000
"""JPEG bytes of the whole gallery, base64 adds a third; what comes after has no picture."""

COLUMNS = (
    *("clip_id", "split", "kind", "duration_s", "width", "height", "shots", "media_path", "sha256"),
    *("label", "label_source", "label_confidence", "label_candidates", "llm_label", "text_source"),
    *("second_label", "peak_time_s", "peak_verdict", "peak_frame", "face_track", "action_units"),
    *("au_series", "au_scale", "face_tool", "transcript", "transcript_source"),
    *("transcript_status", "text_language", "original_transcript", "segments", "tone"),
    *("tone_status", "prosody", "scene", "coarse_caption", "coarse_language", "fine_caption"),
    *("evidence", "cues", "conflicts", "flags", "quality", "licence", "near_duplicates"),
)


@dataclass(frozen=True)
class Box:
    """The face at the peak, in pixels of the clip."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Shown:
    """One clip of the gallery."""

    number: int  # from 1; begins the ids of its evidence on the page
    row: Row
    picture: str | None  # data URI
    box: Box | None
    chart: Chart | None
    heard: Heard | None
    fine: LinkedText | None
    coarse: LinkedText | None
    readings: Mapping[str, str]  # evidence id -> what the text makes of it

    def anchor(self, evidence_id: str) -> str:
        """The id on the page of one item of its evidence; ids of the data are not trusted."""
        ids = [item["id"] for item in self.row["evidence"] or []]
        return f"clip-{self.number}-evidence-{ids.index(evidence_id) + 1}"


def gallery(dataset: Finished, most: int, media: Path | None = None) -> list[Shown]:
    """Up to ``most`` clips; the same dataset gives the same ones.

    Args:
        dataset: the finished one.
        most: so many clips.
        media: the input folder of the build, which spectrograms are drawn from.

    Raises:
        MerrError: the dataset, or the templates it was made with, cannot be read.
    """
    places = _choose(_places(dataset), most)
    if not places:
        return []
    linker = Linker(dataset.templates)
    rows = {row["clip_id"]: row for row in _read(dataset, places)}
    left, shown = MOST_PICTURE_BYTES, []
    for number, place in enumerate(places, start=1):
        row = rows[place.clip_id]
        jpeg = (row.pop("peak_frame") or {}).get("bytes") or b""
        picture = jpeg if len(jpeg) <= left else b""
        left -= len(picture)
        shown.append(_show(number, row, picture, heard(row, media), linker))
    return shown


@dataclass(frozen=True)
class _Place:
    """Where a clip lies."""

    clip_id: str
    label: str
    path: Path
    group: int


def _places(dataset: Finished) -> Iterator[_Place]:
    columns = ["clip_id", "label"]
    for path in dataset.files("clips"):
        with opened(path, columns) as file:
            for group in range(file.num_row_groups):
                for row in file.read_row_group(group, columns).to_pylist():
                    yield _Place(row["clip_id"], row["label"] or "", path, group)


def _choose(places: Iterable[_Place], most: int) -> list[_Place]:
    """Of each label in turn the clip whose id has the lowest hash; an undecided one ends a turn."""
    by_label: dict[str, list[_Place]] = defaultdict(list)
    for place in places:
        by_label[place.label].append(place)
    for same in by_label.values():
        same.sort(key=lambda place: hashlib.sha256(place.clip_id.encode()).hexdigest())
    order = sorted(by_label, key=lambda label: (label == "", label))
    turns = zip_longest(*(by_label[label] for label in order))
    return [place for turn in turns for place in turn if place is not None][: max(most, 0)]


def _read(dataset: Finished, places: Iterable[_Place]) -> Iterator[Row]:
    """The rows of these clips, one row group at a time."""
    wanted: dict[Path, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for place in places:
        wanted[place.path][place.group].append(place.clip_id)
    for path, groups in sorted(wanted.items()):
        with opened(path, COLUMNS) as file:
            for group, clip_ids in sorted(groups.items()):
                table = file.read_row_group(group, list(COLUMNS))
                yield from table.filter(pc.field("clip_id").isin(clip_ids)).to_pylist()


def _show(number: int, row: Row, jpeg: bytes, sound: Heard | None, linker: Linker) -> Shown:
    encoded = base64.b64encode(jpeg).decode()
    return Shown(
        number,
        row,
        f"data:image/jpeg;base64,{encoded}" if jpeg else None,
        _box_at_peak(row),
        chart_of(row),
        sound,
        linker.fine(row),
        linker.coarse(row),
        {cue["evidence_id"]: cue["reading"] for cue in row["cues"] or []},
    )


def _box_at_peak(row: Row) -> Box | None:
    """The box of the face track that is nearest in time to the peak."""
    peak_s = row["peak_time_s"]
    seen = [one for one in row["face_track"] or [] if one["box"] and one["time_s"] is not None]
    if peak_s is None or not seen:
        return None
    box = min(seen, key=lambda one: abs(one["time_s"] - peak_s))["box"]
    return Box(*(round(box[name], 1) for name in ("x", "y", "width", "height")))
