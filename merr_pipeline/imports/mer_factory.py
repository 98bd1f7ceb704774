"""What MER-Factory leaves in its output folder: one ``NAME_merr_data.json`` for each clip.

==============================  =================================================================
their field                     ours, in ``clips``
==============================  =================================================================
source_path                     its stem is the ``clip_id``; the path itself in ``imported``
overall_peak_frame_info         ``peak_frame_index`` (theirs count from 1), ``peak_time_s``,
                                ``action_units.value_at_peak`` on OpenFace's scale
visual_expression               ``visual_expression``
visual_objective                ``scene``
audio_analysis                  ``tone``; of a mapping: ``transcript`` and ``tone``
final_summary                   ``fine_caption``
ground_truth_label              ``label``
chronological_emotion_peaks     ``peaks`` by their times; their words in ``imported``
video_content and all else      ``imported``
==============================  =================================================================

A file that is empty or cut short, as its crashes leave them, ends in ``rejected``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from merr_pipeline.imports.found import MOST_FRAMES, Found, SourceFile, keep
from merr_pipeline.imports.lenient_json import read_json
from merr_pipeline.schema import MerrError, Row

ENDING = "_merr_data.json"
DESCRIPTIONS = {
    "visual_expression": "visual_expression",
    "visual_objective": "scene",
    "audio_analysis": "tone",
}
_PEAK = re.compile(r"Peak at\s+(\d+\.?\d*)s:")
_INTENSITY = re.compile(r"(AU\d\d)_r")


def read(paths: Sequence[Path]) -> Found:
    """Read files, and all such files of folders.

    Raises:
        MerrError: a folder has none.
    """
    found = Found("mer-factory")
    for path, name in _files(paths):
        file = found.file(path, name)
        clip_id = path.name.removesuffix(ENDING).removesuffix(".json")
        try:
            data, warnings = read_json(path)
        except MerrError as error:
            found.reject(clip_id, file, str(error).splitlines()[0])
            continue
        found.warnings += [f"{name}: {warning}" for warning in warnings]
        if not isinstance(data, dict) or not data:
            found.reject(clip_id, file, "it holds no record")
            continue
        clip_id = _clip_id(data.get("source_path"), clip_id)
        if clip_id in found.rows:
            found.reject(clip_id, file, "another file has a clip of this name")
            continue
        _fill(found.row(clip_id, file), data, file, found)
    return found


def _files(paths: Sequence[Path]) -> list[tuple[Path, str]]:
    """Files and their names, which for those of a folder are their places in it."""
    every: list[tuple[Path, str]] = []
    for path in paths:
        if not path.is_dir():
            every.append((path, path.name))
            continue
        inside = sorted(path.rglob(f"*{ENDING}"))
        if not inside:
            raise MerrError(f"{path} holds no *{ENDING}; give MER-Factory's output folder.")
        every += [(file, file.relative_to(path).as_posix()) for file in inside]
    return every


def _clip_id(source: Any, otherwise: str) -> str:
    if not isinstance(source, str) or not source:
        return otherwise
    kind = PureWindowsPath if "\\" in source else PurePosixPath
    return kind(source).stem or otherwise


def _fill(row: Row, data: Mapping[str, Any], file: SourceFile, found: Found) -> None:
    left = dict(data)
    peak = left.pop("overall_peak_frame_info", None)
    if isinstance(peak, dict):
        left |= {f"overall_peak_frame_info.{k}": v for k, v in _fill_peak(row, peak, found).items()}
    elif peak is not None:
        left["overall_peak_frame_info"] = peak
    said = left.pop("coarse_descriptions_at_peak", None)
    if isinstance(said, dict):
        rest = _fill_descriptions(row, said, found)
        left |= {f"coarse_descriptions_at_peak.{name}": value for name, value in rest.items()}
    elif said is not None:
        left["coarse_descriptions_at_peak"] = said
    row["peaks"] = _peaks(data.get("chronological_emotion_peaks"))
    for name, column in (("final_summary", "fine_caption"), ("ground_truth_label", "label")):
        value = data.get(name)
        if isinstance(value, str):
            del left[name]
            if column == "label":
                found.set_label(row, value)
            else:
                found.set_text(row, column, value)
    for name, value in left.items():
        keep(row, file, None, name, value)


def _fill_peak(row: Row, peak: Mapping[str, Any], found: Found) -> dict[str, Any]:
    """Fill in the peak; what is left of it is given back."""
    left = dict(peak)
    number, time_s = peak.get("frame_number"), peak.get("timestamp")
    if type(number) is int and 1 <= number <= MOST_FRAMES:
        row["peak_frame_index"] = left.pop("frame_number") - 1
    if _is_number(time_s):
        row["peak_time_s"] = float(left.pop("timestamp"))
    units = peak.get("top_aus_intensities")
    if isinstance(units, dict) and all(
        _INTENSITY.fullmatch(name) and _is_number(value) for name, value in units.items()
    ):
        del left["top_aus_intensities"]
        row["action_units"] = [
            found.unit(name.removesuffix("_r"), float(value)) for name, value in units.items()
        ]
        row["face_tool"], row["au_scale"] = "openface", "intensity_0_5"
    return left


def _fill_descriptions(row: Row, said: Mapping[str, Any], found: Found) -> dict[str, Any]:
    left = dict(said)
    for name, column in DESCRIPTIONS.items():
        value = said.get(name)
        if isinstance(value, str):
            found.set_text(row, column, left.pop(name))
        elif name == "audio_analysis" and isinstance(value, dict):
            left.pop(name)
            rest = dict(value)
            found.set_text(row, "transcript", rest.pop("transcript", None))
            found.set_text(row, "tone", rest.pop("tone_description", None))
            left |= {f"{name}.{key}": item for key, item in rest.items()}
    return left


def _peaks(said: Any) -> list[Row] | None:
    """The times of ``"Peak at 2.88s: angry (slight)"``."""
    if not isinstance(said, list):
        return None
    times = [found[1] for text in said if (found := _PEAK.match(str(text)))]
    unknown = dict.fromkeys(("frame_index", "score", "verdict"))
    return [{**unknown, "time_s": float(time)} for time in times]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
