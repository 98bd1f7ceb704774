"""Which clips show the same footage, though their bytes differ: another size, another cut, a copy.

Candidates are clips that share part of a hash at the same distance in time; each is then compared
over the whole of that alignment. So it costs about as much as there is to find, not the square of
the clips. What is compared and where the edges lie: ``near_duplicates.yaml``. Stills are not
compared: portraits cut to the face are all alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from merr_pipeline.schema import Row
from merr_pipeline.stage import Identity
from merr_pipeline.templates import load_model

TEMPLATE = "near_duplicates.yaml"
NEAR_STAGE = "near_duplicates"
SOUND, PICTURES, LOOKS_ALIKE = "sound", "pictures", "looks_alike"
TIES = (SOUND, PICTURES)
MOST_NAMED = 20  # clips that are named beside one
SOUND_STEPS_A_PICTURE = 0.5 / 0.046
PICTURE_KEYS = tuple((shift, 16) for shift in (0, 16, 32, 48))  # of 63 bits; shift and length
SOUND_KEYS = ((0, 22), (10, 22))  # of 32 bits
NO_HASH = -1

Hashes = np.ndarray
"""int64, one for each step in time; `NO_HASH` where there is nothing to compare."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PictureEdges(_Table):
    """When pictures are alike."""

    at_most_bits: float = Field(ge=0, le=63)
    at_least: int = Field(ge=1)


class SoundEdges(_Table):
    """When a sound is the same, and when it is another."""

    at_most_error: float = Field(ge=0, le=1)
    other_from: float = Field(ge=0, le=1)
    at_least: int = Field(ge=1)


class NearRules(_Table):
    """The whole file."""

    sha256: str
    version: int
    pictures: PictureEdges
    sound: SoundEdges
    least_overlap: float = Field(gt=0, le=1)
    common_from: int = Field(ge=2)

    def identity(self) -> Identity:
        """Named as a stage is, so that provenance says how ``near_duplicates`` was made."""
        return Identity(stage=NEAR_STAGE, version=1, tool=NEAR_STAGE, template=self.sha256)


def load_near_rules(templates: Path | None = None) -> NearRules:
    """Read the rules.

    Raises:
        MerrError: the file is missing, or says something that cannot be.
    """
    return load_model(NearRules, TEMPLATE, templates)


class Footage(NamedTuple):
    """What a clip is known by."""

    clip_id: str
    sha256: str
    pictures: Hashes
    sound: Hashes

    @classmethod
    def of(cls, clip_id: str, sha256: str, rows: Mapping[str, Row]) -> Footage:
        """From the rows of ``probe`` and ``voice``; a still has no pictures to compare."""
        probe, voice = rows.get("probe", {}), rows.get("voice", {})
        pictures = [] if probe.get("kind") == "still" else probe.get("picture_hashes")
        return cls(clip_id, sha256, _hashes(pictures), _hashes(voice.get("sound_hashes")))


def _hashes(found: Sequence[int | None] | None) -> Hashes:
    return np.array([NO_HASH if one is None else one for one in found or []], np.int64)


@dataclass(frozen=True)
class Near:
    """What was found. ``group_of`` names the group of clips that must lie in one split."""

    links: Mapping[str, Sequence[tuple[str, str]]]  # clip_id -> (clip_id, by what), sorted
    group_of: Mapping[str, str]

    def among(self, clip_ids: Collection[str]) -> Near:
        """What of it is about these clips alone."""
        links = {
            name: [link for link in others if link[0] in clip_ids]
            for name, others in self.links.items()
            if name in clip_ids
        }
        return Near(links, self.group_of)

    def rows_of(self, clip_id: str) -> list[Row]:
        """As the column ``near_duplicates`` has them; some, where there are very many."""
        found = self.links.get(clip_id, ())[:MOST_NAMED]
        return [{"clip_id": other, "by": by} for other, by in found]


def find_near(footage: Iterable[Footage], rules: NearRules) -> Near:
    """Compare all clips; the order in which they come does not matter."""
    found = sorted(footage, key=lambda one: one.clip_id)
    different, links = _without_equals(found, rules)
    links += _compare(different, rules)
    by_clip: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for one, other, by in links:
        by_clip[one].add((other, by))
        by_clip[other].add((one, by))
    sha256s = {one.clip_id: one.sha256 for one in found}
    ties = [(one, other) for one, other, by in links if by in TIES]
    return Near({name: sorted(others) for name, others in by_clip.items()}, _groups(ties, sha256s))


Link = tuple[str, str, str]


def _without_equals(
    footage: Sequence[Footage], rules: NearRules
) -> tuple[list[Footage], list[Link]]:
    """Clips of the same hashes are compared no further: the first stands for all."""
    first: dict[tuple[bytes, bytes], Footage] = {}
    links: list[Link] = []
    for one in footage:
        known = first.setdefault((one.pictures.tobytes(), one.sound.tobytes()), one)
        if known is not one and (by := _equal_by(one, rules)):
            links.append((known.clip_id, one.clip_id, by))
    return list(first.values()), links


def _equal_by(one: Footage, rules: NearRules) -> str | None:
    """What says that a clip of the same hashes is the same footage; None where it is too little."""
    if _compared(one.pictures) >= rules.pictures.at_least:
        return PICTURES
    return SOUND if _compared(one.sound) >= rules.sound.at_least else None


def _compare(footage: Sequence[Footage], rules: NearRules) -> list[Link]:
    links: dict[tuple[int, int], str] = {}
    sounds, pictures = [one.sound for one in footage], [one.pictures for one in footage]
    for one, other, shift in _candidates(sounds, SOUND_KEYS, 2, 32, rules):
        if _is_same_sound(sounds[one], sounds[other], [shift], rules):
            links[one, other] = SOUND
    for one, other, shift in _candidates(pictures, PICTURE_KEYS, 1, 20, rules):
        if links.get((one, other)) in TIES:
            continue
        if _are_alike(pictures[one], pictures[other], shift, rules):
            links[one, other] = _tie(footage[one], footage[other], shift, rules)
    return [(footage[a].clip_id, footage[b].clip_id, by) for (a, b), by in links.items()]


def _tie(one: Footage, other: Footage, shift: int, rules: NearRules) -> str:
    """What the sound says of two clips whose pictures are alike."""
    middle = shift * SOUND_STEPS_A_PICTURE
    around = range(int(middle - SOUND_STEPS_A_PICTURE), int(middle + SOUND_STEPS_A_PICTURE) + 1)
    if _is_same_sound(one.sound, other.sound, around, rules):
        return SOUND
    errors = [found for s in around if (found := _sound_error(one.sound, other.sound, s, rules))]
    speaks_against = errors and round(min(errors), 3) >= rules.sound.other_from
    return LOOKS_ALIKE if speaks_against else PICTURES


def _is_same_sound(one: Hashes, other: Hashes, shifts: Iterable[int], rules: NearRules) -> bool:
    errors = (_sound_error(one, other, shift, rules) for shift in shifts)
    return any(e is not None and round(e, 3) <= rules.sound.at_most_error for e in errors)


def _sound_error(one: Hashes, other: Hashes, shift: int, rules: NearRules) -> float | None:
    """Share of bits that differ; None where too little can be compared."""
    bits = _differing_bits(one, other, shift)
    if len(bits) < max(rules.sound.at_least, rules.least_overlap * _shorter(one, other)):
        return None
    return float(bits.mean()) / 32


def _are_alike(one: Hashes, other: Hashes, shift: int, rules: NearRules) -> bool:
    bits = _differing_bits(one, other, shift)
    enough = max(rules.pictures.at_least, rules.least_overlap * _shorter(one, other))
    return len(bits) >= enough and round(float(bits.mean()), 3) <= rules.pictures.at_most_bits


def _shorter(one: Hashes, other: Hashes) -> int:
    return min(_compared(one), _compared(other))


def _compared(hashes: Hashes) -> int:
    return int((hashes != NO_HASH).sum())


def _differing_bits(one: Hashes, other: Hashes, shift: int) -> np.ndarray:
    """Of each pair of hashes that lie upon one another when ``other`` begins ``shift`` steps in."""
    a, b = one[max(0, shift) :], other[max(0, -shift) :]
    both = min(len(a), len(b))
    a, b = a[:both], b[:both]
    there = (a != NO_HASH) & (b != NO_HASH)
    return np.asarray(np.bitwise_count(a[there] ^ b[there]))


def _candidates(
    sequences: Sequence[Hashes],
    keys: Sequence[tuple[int, int]],
    at_least: int,
    at_most_bits: int,
    rules: NearRules,
) -> Iterator[tuple[int, int, int]]:
    """Pairs of clips, the first before the second, with the shift that brings equal parts together.

    Of each pair all shifts with ``at_least`` meetings whose hashes differ in no more bits.
    """
    if not any(map(len, sequences)):
        return
    clip = np.repeat(np.arange(len(sequences)), [len(one) for one in sequences])
    place = np.concatenate([np.arange(len(one)) for one in sequences])
    value = np.concatenate(sequences)
    there = value != NO_HASH
    clip, place, value = clip[there], place[there], value[there]
    found = [
        meetings
        for shift, length in keys
        for meetings in _meetings(clip, place, value, (value >> shift) & ((1 << length) - 1), rules)
        if len(meetings)
    ]
    if not found:
        return
    met = np.unique(np.concatenate(found), axis=0)  # one meeting may be found by several keys
    met = met[met[:, 4] <= at_most_bits]
    pairs, counts = np.unique(met[:, :3], axis=0, return_counts=True)
    found_often: list[tuple[int, int, int]] = pairs[counts >= at_least].tolist()
    yield from found_often


def _meetings(
    clip: np.ndarray, place: np.ndarray, value: np.ndarray, key: np.ndarray, rules: NearRules
) -> Iterator[np.ndarray]:
    """Rows of clip, clip, shift, place, bits: for all hashes of two clips that share this key."""
    order = np.lexsort((place, clip, key))
    clip, place, value, key = clip[order], place[order], value[order], key[order]
    _, number, sizes = np.unique(key, return_inverse=True, return_counts=True)
    rare = sizes[number] < rules.common_from
    clip, place, value, key = clip[rare], place[rare], value[rare], key[rare]
    for lag in range(1, rules.common_from):
        here = np.flatnonzero(key[lag:] == key[:-lag])
        if not len(here):
            return
        here = here[clip[here] != clip[here + lag]]
        there = here + lag
        bits = np.bitwise_count(value[here] ^ value[there]).astype(np.int64)
        shift = place[here] - place[there]
        yield np.column_stack((clip[here], clip[there], shift, place[here], bits))


def _groups(ties: Iterable[tuple[str, str]], sha256s: Mapping[str, str]) -> dict[str, str]:
    """Connected components, each named by its smallest sha256."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for one, other in ties:
        parent[root(one)] = root(other)
    named: dict[str, str] = {}
    for name in parent:
        own, top = sha256s[name], root(name)
        named[top] = min(named.get(top, own), own)
    return {name: named[root(name)] for name in parent}
