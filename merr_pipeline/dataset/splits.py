"""Which clip goes to train, validation or test, so that no source, speaker or footage is in two.

Clips that share a source or a speaker, or show the same footage (`near`), directly or through
others, are one group, and a group lies in one split. A group that nothing ties to a split is drawn
by a hash of the seed and its smallest key, so the shares of ``dataset.split_shares`` are met on
average over many groups; with a handful of groups everything may well land in train.

Ties, strongest first: the split of an earlier build, the ``split`` column. A clip that would join
two splits is left out as ``split_conflict``. Among clips of equal rank train is placed before
validation before test: where a given column cuts through a speaker, it is the evaluation clips
that are left out, never the training made to look at them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from merr_pipeline.schema import SPLITS


@dataclass(frozen=True)
class Member:
    """What the splits need to know of a clip. ``given`` is one of `SPLITS` or None."""

    clip_id: str
    sha256: str
    source_id: str | None = None
    speaker_id: str | None = None
    given: str | None = None
    near_group: str | None = None  # of clips with the same footage

    @property
    def keys(self) -> tuple[str, ...]:
        """What ties this clip to others; a clip without any of it stands alone."""
        named = [
            ("source", self.source_id),
            ("speaker", self.speaker_id),
            ("footage of", self.near_group),
        ]
        shared = tuple(f"{kind} {value}" for kind, value in named if value is not None)
        return shared or (f"clip {self.sha256}",)


@dataclass(frozen=True)
class Assignment:
    """``split_of`` every placed clip; ``conflicts`` says of every other why it has no place."""

    split_of: dict[str, str]
    conflicts: dict[str, str]


def assign_splits(
    members: Iterable[Member],
    earlier: Mapping[str, str],
    shares: Sequence[float],
    seed: int,
) -> Assignment:
    """Place every member; the order in which they come does not matter.

    Args:
        members: clips that are otherwise accepted.
        earlier: ``clip_id -> split`` of the dataset that is there already; a clip keeps it unless
            its ``given`` split says otherwise.
        shares: shares of train, validation and test; they sum to 1.
        seed: draws the groups that nothing ties to a split.
    """
    groups = _Groups()
    conflicts: dict[str, str] = {}
    placed: list[Member] = []
    for member, split in _by_rank(members, earlier):
        problem = groups.add(member, split)
        if problem:
            conflicts[member.clip_id] = problem
        else:
            placed.append(member)
    smallest: dict[str, str] = {}
    for member in placed:
        root = groups.root(member.keys[0])
        smallest[root] = min(smallest.get(root, member.keys[0]), *member.keys)
    split_of = {}
    for member in placed:
        root = groups.root(member.keys[0])
        split_of[member.clip_id] = groups.split.get(root) or draw(smallest[root], shares, seed)
    return Assignment(split_of, conflicts)


def draw(key: str, shares: Sequence[float], seed: int) -> str:
    """The split of a free group, from ``sha256(seed, key)`` read as a number in 0..1."""
    number = int.from_bytes(hashlib.sha256(f"{seed}\n{key}".encode()).digest()[:8]) / 2**64
    reached = 0.0
    for split, share in zip(SPLITS, shares, strict=True):
        reached += share
        if number < reached:
            return split
    return max(zip(shares, SPLITS, strict=True))[1]  # the shares sum to a hair under 1


def _by_rank(
    members: Iterable[Member], earlier: Mapping[str, str]
) -> list[tuple[Member, str | None]]:
    """Members with the split they are tied to: of an earlier build, then given, then free."""

    def rank(item: tuple[Member, str | None]) -> tuple[int, int, str]:
        member, split = item
        if split is None:
            return 2, 0, member.clip_id
        was_there = earlier.get(member.clip_id) == split
        return 0 if was_there else 1, SPLITS.index(split), member.clip_id

    tied = [(member, member.given or earlier.get(member.clip_id)) for member in members]
    return sorted(tied, key=rank)


@dataclass
class _Groups:
    """Connected components of keys (union-find); ``split`` holds the tie of a root, if any."""

    parent: dict[str, str] = field(default_factory=dict)
    split: dict[str, str] = field(default_factory=dict)

    def root(self, key: str) -> str:
        self.parent.setdefault(key, key)
        while self.parent[key] != key:
            self.parent[key] = self.parent[self.parent[key]]
            key = self.parent[key]
        return key

    def add(self, member: Member, split: str | None) -> str | None:
        """Join the member's keys, or say which splits that would bridge and change nothing."""
        roots = [self.root(key) for key in member.keys]
        ties = {self.split[root] for root in roots if root in self.split}
        if len(ties | ({split} - {None})) > 1:
            return self._explain(member, split)
        for root in roots[1:]:
            self.parent[root] = roots[0]
        if tie := split or next(iter(ties), None):
            self.split[roots[0]] = tie
        return None

    def _explain(self, member: Member, split: str | None) -> str:
        ties = [(key, self.split.get(self.root(key))) for key in member.keys]
        parts = [f"{key} is in {tie}" for key, tie in ties if tie]
        own = [f"the clip is given to {split}"] if split else []
        return ", ".join([*parts, *own])
