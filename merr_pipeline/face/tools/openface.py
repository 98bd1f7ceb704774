"""The ``openface`` tool: CSVs already made where there are some, else OpenFace, run by us."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from merr_pipeline.emotion.facs import ToolSupport
from merr_pipeline.face.tools.contract import Making
from merr_pipeline.face.tools.openface_csv import BadCsv, OpenFaceRows, parse_openface
from merr_pipeline.face.tools.openface_kept import KeptCsvs
from merr_pipeline.face.tools.openface_program import Program, find_program
from merr_pipeline.face.tools.openface_rows import face_row
from merr_pipeline.face.tools.openface_run import run_openface
from merr_pipeline.schema import Clip, Reason, Row
from merr_pipeline.settings import OpenFaceSettings
from merr_pipeline.stage import NotOk, fail

MAX_ROWS_APART = 1  # OpenFace now and then drops the last frame


class OpenFace:
    """Gets the CSV of each clip, and turns its rows into tracks."""

    version = None  # a CSV does not say what wrote it; of those that we made, `measure` does

    def __init__(self, settings: OpenFaceSettings, timeout_s: float, support: ToolSupport) -> None:
        self._settings, self._timeout_s, self._support = settings, timeout_s, support
        self._kept = KeptCsvs(settings.keep_dir)

    @cached_property
    def _program(self) -> Program | None:
        return find_program(self._settings)

    def start(self) -> None:
        """Nothing to load: each clip has a process of its own."""

    def close(self) -> None:
        """Nothing to free."""

    def making(self) -> Making:
        """What OpenFace is run, where it makes all rows.

        Beside CSVs already made it makes only some; `facts` says which, so that they are not made
        again when an OpenFace is installed.
        """
        settings = {"min_confidence": self._settings.min_confidence}
        if self._settings.csv_dir is not None or self._program is None:
            return Making(settings=settings)
        return Making(self._program.version, self._program.models, settings)

    def facts(self, clip: Clip) -> Mapping[str, Any]:
        """The content of the clip's CSV; without one, the OpenFace that would be run."""
        path = self._path(clip)
        if path is None and self._program is not None:
            return {"openface_csv": None, "openface": [self._program.version, self._program.models]}
        try:
            content = None if path is None else path.read_bytes()
        except OSError:
            content = None
        return {"openface_csv": None if content is None else hashlib.sha256(content).hexdigest()}

    def measure(self, clip: Clip, probe: Row) -> Row:
        """The payload of the face row of a clip.

        Raises:
            NotOk: skipped with ``NO_FACE``; failed with ``NO_OPENFACE_CSV``, a ``TOOL_*`` reason,
                or what is wrong with the clip.
        """
        path = self._path(clip)
        if path is not None:
            return self._face_row(_read_made(path, probe["frame_count"]), probe)
        if self._program is None:
            raise self._nothing_at_hand(clip)
        by_us = {"tool_version": self._program.version}
        try:
            rows = self._run(self._program, clip, probe["frame_count"])
            return {**by_us, **self._face_row(rows, probe)}
        except NotOk as ended:
            ended.payload = {**by_us, **ended.payload}
            raise

    def _face_row(self, rows: OpenFaceRows, probe: Row) -> Row:
        return face_row(rows, probe, self._support, self._settings.min_confidence)

    def _run(self, program: Program, clip: Clip, frame_count: int) -> OpenFaceRows:
        """The rows that OpenFace makes of a clip, or has made before."""
        kept = self._kept.find(clip.sha256, program)
        content = run_openface(program, clip.path, self._timeout_s) if kept is None else kept
        rows = _parse(content)
        if missing := sorted(set(self._support.aus) - set(rows.intensities)):
            raise fail(
                Reason.TOOL_OUTPUT_INVALID, f"OpenFace wrote no intensities of {', '.join(missing)}"
            )
        _check_frames(rows, frame_count, "OpenFace read another number of frames than there are")
        if kept is None:
            self._kept.keep(clip.sha256, program, content)
        return rows

    def _path(self, clip: Clip) -> Path | None:
        folder = self._settings.csv_dir
        if folder is None:
            return None
        inside = (folder / name for name in _names(clip) if not _leaves(name))
        return next((path for path in inside if _is_file(path)), None)

    def _nothing_at_hand(self, clip: Clip) -> NotOk:
        if self._settings.csv_dir is None:
            return fail(
                Reason.TOOL_MISSING, "no OpenFace is at hand; `merr doctor` says how to get one"
            )
        names, stem = _names(clip), f"{clip.path.stem}.csv"
        looked = f"no {' and no '.join(names)} in face.openface.csv_dir"
        if stem not in names:
            looked += f"; {stem} is not taken, for a clip of another folder may have that name too"
        return fail(Reason.NO_OPENFACE_CSV, looked)


def _read_made(path: Path, frame_count: int) -> OpenFaceRows:
    """The rows of a CSV already made."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise fail(Reason.TOOL_OUTPUT_INVALID, str(error.strerror)) from error
    rows = _parse(content)
    _check_frames(rows, frame_count, "the CSV was made from another video, or OpenFace was stopped")
    return rows


def _parse(content: bytes) -> OpenFaceRows:
    try:
        return parse_openface(content)
    except BadCsv as error:
        raise fail(Reason.TOOL_OUTPUT_INVALID, str(error)) from error


def _check_frames(rows: OpenFaceRows, frame_count: int, what_it_means: str) -> None:
    found, last = len(rows.frame_index), rows.frame_index[-1]
    if abs(found - frame_count) > MAX_ROWS_APART or last > frame_count:
        raise fail(
            Reason.TOOL_OUTPUT_INVALID,
            f"{found} rows up to frame {last} for {frame_count} frames: {what_it_means}",
        )


def _names(clip: Clip) -> list[str]:
    """What the CSV of a clip may be called, the more telling name first.

    The name of the file alone is enough only right under the input folder, where no other clip has
    it.
    """
    in_a_folder = "/" in clip.media_path
    by_stem = [] if in_a_folder else [f"{clip.path.stem}.csv"]
    return list(dict.fromkeys([f"{clip.clip_id}.csv", *by_stem]))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a clip id may be longer than the name of any file
        return False


def _leaves(name: str) -> bool:
    """Whether a name made of a clip id would lead out of the folder."""
    return Path(name).is_absolute() or ".." in Path(name).parts
