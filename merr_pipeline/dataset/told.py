"""What an evidence list says of a clip, read back from its rows: words by feature and by fact.

For captions that are made from the evidence alone, and made again from it to prove them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass, field

from merr_pipeline.fuse.evidence import HEARD_ALONE
from merr_pipeline.schema import Row
from merr_pipeline.speech.sidecar import primary_language

_UNIT = re.compile(r"(AU\d\d) ")
_HEARD = re.compile(r"(?P<name>[^:]+): (?P<word>.+?)(?: \([^()]*\))?")
_QUOTED = re.compile(r'(?:transcript|original words) \((?P<notes>.*?)\): "(?P<said>.*)"')


@dataclass
class Told:
    """The items of an evidence list that a caption may use."""

    units: list[str] = field(default_factory=list)  # sure enough to be named, strongest first
    is_unsure: bool = False  # the units are proxies
    voice: dict[str, str] = field(default_factory=dict)  # by feature; ``arousal`` too
    heard_alone: set[str] = field(default_factory=set)  # features that nobody measured
    sounds: list[str] = field(default_factory=list)
    scene: dict[str, str] = field(default_factory=dict)  # measured facts
    quotations: list[tuple[set[str], str]] = field(default_factory=list)  # languages, words

    def quotation(self, languages: Set[str]) -> str:
        """What is said: as it stands in one of these languages, else as the transcript has it."""
        own = [said for written, said in self.quotations if written & languages]
        return next(iter([*own, *(said for _, said in self.quotations)]), "")


def read_told(evidence: Sequence[Row], sounds: str, facts: Sequence[str]) -> Told:
    """Read the rows of an evidence list.

    Args:
        evidence: rows of `schema.EVIDENCE`, as the ``fine`` stage numbered them.
        sounds: the feature under which sounds that are no speech stand.
        facts: names of the scene's measured facts; what else a scene says is a model's English.
    """
    told = Told()
    for row in evidence:
        if row["modality"] == "face":
            _read_face(row, told)
        elif row["modality"] == "voice":
            _read_voice(row, told, sounds)
        elif row["modality"] == "words":
            _read_words(row, told)
        elif row["modality"] == "scene":
            name, _, word = row["text"].partition(": ")
            if (fact := name.replace(" ", "_")) in facts:
                told.scene[fact] = word
    return told


def _read_face(row: Row, told: Told) -> None:
    """Action Units of low reliability are left out, as in the English caption."""
    if (unit := _UNIT.match(row["text"])) and row["reliability"] != "low":
        told.units.append(unit[1])
        told.is_unsure = told.is_unsure or row["scale"] == "proxy_0_5"


def _read_voice(row: Row, told: Told, sounds: str) -> None:
    if named := _HEARD.fullmatch(row["text"]):
        feature = named["name"].removeprefix("vocal ").replace(" ", "_")
        if feature == sounds:
            told.sounds.append(named["word"])
            return
        told.voice[feature] = named["word"]
        if row["text"].endswith(HEARD_ALONE):
            told.heard_alone.add(feature)


def _read_words(row: Row, told: Told) -> None:
    if quoted := _QUOTED.fullmatch(row["text"]):
        notes = {primary_language(note) or "" for note in quoted["notes"].split(", ")}
        told.quotations.append((notes, quoted["said"]))
