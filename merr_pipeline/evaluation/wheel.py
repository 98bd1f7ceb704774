"""Words for emotions in classes: by the emotion wheels of MER-OV, or by our own groups.

The metric of MER-OV and MER-UniBench takes a word to its base form (``format.csv``: name, format),
that to the words of the wheels that it is a synonym of (``synonym.xlsx``: word_run1, synonym_run1,
... of eight runs), and the first of these, by the alphabet, that is on a wheel to its inner class
(``wheel1.xlsx`` to ``wheel5.xlsx``: level1, level2, level3, an empty cell as the one above it).
The files belong to MERTools (``MER2026/MER2026_Track2/emotion_wheel``) and are read from where the
user has them. A word that is not in them belongs to no class; "neutral" is such a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from merr_pipeline.emotion.spaces import LabelSpace, plain
from merr_pipeline.evaluation.sheets import read_table
from merr_pipeline.schema import MerrError

WHEELS = 5
RUNS = 8
NEUTRAL = "neutral"


@dataclass(frozen=True)
class Classes:
    """One or several ways to put words into classes; a metric is the mean over them."""

    name: str  # emotion_wheel | label_groups
    maps: tuple[Mapping[str, str], ...]  # plain word -> class

    def of(self, words: Iterable[str]) -> list[frozenset[str]]:
        """The classes of these words, by each map; a word without a class is left out."""
        looked = [plain(word) for word in words]
        return [frozenset(one[word] for word in looked if word in one) for one in self.maps]

    def knows(self, word: str) -> bool:
        """Whether it is in any map."""
        return any(plain(word) in one for one in self.maps)


def label_groups(space: LabelSpace) -> Classes:
    """The labels of a space and the groups of ``emotion_words.yaml``; here neutral is a class."""
    groups = {word: group for word, (_, group) in space.bases.items()}
    labels = {word: plain(label) for word, label in space.spellings.items()}
    return Classes("label_groups", ({**groups, **labels},))


def load_wheels(folder: Path) -> Classes:
    """Read the mapping files.

    Raises:
        MerrError: one is missing or is not as described above.
    """
    if not folder.is_dir():
        raise MerrError(f"--wheels {folder} is not a folder; name MERTools' emotion_wheel.")
    bases = _base_forms(folder)
    wheels = [_wheel(folder, number) for number in range(1, WHEELS + 1)]
    synonyms = _synonyms(folder, frozenset().union(*wheels))
    return Classes("emotion_wheel", tuple(_map(bases, synonyms, wheel) for wheel in wheels))


def _map(
    bases: Mapping[str, list[str]], synonyms: Mapping[str, set[str]], wheel: Mapping[str, str]
) -> dict[str, str]:
    """Every form of a word that leads to this wheel, and its class there."""
    found = {}
    for form, names in bases.items():
        raws = sorted(raw for name in names for raw in synonyms.get(name, ()))
        inner = next((wheel[raw] for raw in raws if raw in wheel), None)
        if inner is not None:
            found[plain(form)] = inner
    return found


def _base_forms(folder: Path) -> dict[str, list[str]]:
    """Form -> the base words that it is a form of."""
    found: dict[str, list[str]] = {}
    for row in _rows(folder, "format", ("name", "format")):
        name = _word(row["name"])
        for form in {*_listed(row["format"]), name}:
            found.setdefault(form, []).append(name)
    return found


def _synonyms(folder: Path, on_wheels: frozenset[str]) -> dict[str, set[str]]:
    """Word -> the words of the wheels that it is a synonym of; each of those of itself, too."""
    columns = [(f"word_run{run}", f"synonym_run{run}") for run in range(1, RUNS + 1)]
    found: dict[str, set[str]] = {}
    for row in _rows(folder, "synonym", columns[0]):
        for word_column, synonym_column in columns:
            raw = _word(row.get(word_column, ""))
            if raw in on_wheels:
                for word in (raw, *_listed(row.get(synonym_column, ""))):
                    found.setdefault(word, set()).add(raw)
    return found


def _wheel(folder: Path, number: int) -> dict[str, str]:
    """Every word of a wheel -> its inner class."""
    found: dict[str, str] = {}
    level = {"level1": "", "level2": "", "level3": ""}
    for row in _rows(folder, f"wheel{number}", tuple(level)):
        level = {name: _word(row[name]) or above for name, above in level.items()}
        for word in level.values():
            if word:
                found[word] = level["level1"]
    return found


def _rows(folder: Path, stem: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
    rows = read_table(folder, stem)
    if not rows or (missing := [name for name in columns if name not in rows[0]]):
        lacking = ", ".join(columns if not rows else missing)
        raise MerrError(f"{folder / stem}: there is no column {lacking}.")
    return rows


def _word(cell: str) -> str:
    return cell.strip().lower()


def _listed(cell: str) -> list[str]:
    """``"['a', 'b']"`` or ``"a, b"`` -> words."""
    bare = re.sub(r"^[\[(]|[\])]$", "", cell.strip())
    return [word for part in bare.split(",") if (word := part.strip(" \"'\n").lower())]
