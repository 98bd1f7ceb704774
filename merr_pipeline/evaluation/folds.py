"""Scores by fold, as DFEW's five official ones: mean and spread.

A fold file is a CSV with the columns ``clip_id`` and ``fold``; or name the folder with DFEW's own
lists of test clips, ``set_1.csv`` to ``set_5.csv``, whose first column names the clips.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from merr_pipeline.evaluation.labels import HEADLINE, Labelled, headline
from merr_pipeline.schema import MerrError

_LIST = re.compile(r"set_(\d+)\.csv")
DIGITS = 5  # of DFEW's file names: clip 7 is 00007.mp4


@dataclass(frozen=True)
class FoldScores:
    """By fold; `spread` is the standard deviation of the folds (n - 1)."""

    by_fold: dict[str, dict[str, float]]
    clips: dict[str, int]
    mean: dict[str, float]
    spread: dict[str, float | None]
    without_fold: tuple[str, ...]  # clips that were scored and are in no fold


def read_folds(path: Path, known: frozenset[str]) -> dict[str, str]:
    """Clip -> fold, of clips that the dataset has.

    Raises:
        MerrError: it cannot be read, a clip is in two folds, or none is of this dataset.
    """
    try:
        pairs = _lists(path) if path.is_dir() else _file(path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MerrError(f"{path} cannot be read: {error}") from error
    folds: dict[str, str] = {}
    for written, fold in pairs:
        clip_id = written if written in known else written.zfill(DIGITS)
        if folds.setdefault(clip_id, fold) != fold:
            raise MerrError(f"{path}: {written} is in the folds {folds[clip_id]} and {fold}.")
    ours = {clip_id: fold for clip_id, fold in folds.items() if clip_id in known}
    if not ours:
        raise MerrError(
            f"{path} names no clip of this dataset (it has {min(known)}, for instance)."
        )
    return ours


def score_folds(labelled: Labelled, folds: dict[str, str]) -> FoldScores:
    """`HEADLINE` of each fold that has clips, in the order of their names."""
    places: dict[str, list[int]] = {}
    without = []
    for place, clip_id in enumerate(labelled.clip_ids):
        if clip_id in folds:
            places.setdefault(folds[clip_id], []).append(place)
        else:
            without.append(clip_id)
    names = sorted(places, key=lambda name: (len(name), name))
    scores = {name: headline(labelled.counts(np.array(places[name]))) for name in names}
    table = np.array(list(scores.values())).reshape(len(names), len(HEADLINE))
    deviation = table.std(axis=0, ddof=1) if len(names) > 1 else [None] * len(HEADLINE)
    return FoldScores(
        {name: _named(score) for name, score in scores.items()},
        {name: len(places[name]) for name in names},
        _named(table.mean(axis=0)) if names else {},
        {
            k: None if v is None else round(float(v), 6)
            for k, v in zip(HEADLINE, deviation, strict=True)
        },
        tuple(without),
    )


def _named(scores: object) -> dict[str, float]:
    return {n: round(float(v), 6) for n, v in zip(HEADLINE, np.asarray(scores), strict=True)}


def _file(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if not {"clip_id", "fold"} <= set(rows.fieldnames or ()):
            raise MerrError(f"{path} must have the columns clip_id and fold.")
        return [_pair(path, rows.line_num, row["clip_id"], row["fold"]) for row in rows]


def _lists(folder: Path) -> list[tuple[str, str]]:
    pairs = []
    for path in sorted(folder.iterdir()):
        if found := _LIST.fullmatch(path.name):
            with path.open(encoding="utf-8-sig", newline="") as file:
                rows = list(csv.reader(file))[1:]
            pairs += [(row[0].strip(), found[1]) for row in rows if row]
    if not pairs:
        raise MerrError(f"{folder} holds no set_1.csv, set_2.csv, ...")
    return pairs


def _pair(path: Path, line: int, clip_id: str | None, fold: str | None) -> tuple[str, str]:
    if not (clip_id or "").strip() or not (fold or "").strip():
        raise MerrError(f"{path}, line {line}: clip_id or fold is empty.")
    return str(clip_id).strip(), str(fold).strip()
