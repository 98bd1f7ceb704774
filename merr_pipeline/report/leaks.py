"""What two splits share: a source, a speaker, footage, the words of a longer sentence."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from merr_pipeline.dataset.near import LOOKS_ALIKE, TIES
from merr_pipeline.schema import SPLITS, Row

WORDS = 5
"""Shorter transcripts ("No, no!") are equal by chance."""
MOST_NAMED = 10

_WORD = re.compile(r"[぀-ヿ㐀-鿿豈-﫿]|[^\W_぀-ヿ㐀-鿿豈-﫿]+")
"""A word; of Chinese and Japanese each character counts as one."""

KINDS = {
    "source": "clips of one source",
    "speaker": "clips of one speaker",
    "near_duplicate": "near-duplicates (same sound, or same pictures and no other sound)",
    "looks_alike": "like pictures with another sound (allowed: another cut, or chance)",
    "transcript": f"equal transcripts of {WORDS} words or more",
}
ALLOWED = {"looks_alike", "transcript"}
"""What a build does not keep apart: to be looked at, not necessarily wrong."""


@dataclass(frozen=True)
class Leak:
    """Something that lies in more than one split."""

    kind: str
    what: str
    clips: tuple[tuple[str, str], ...]  # split, one clip of it

    def __str__(self) -> str:
        """One line for a person."""
        where = ", ".join(f"{split}: {clip}" for split, clip in self.clips)
        return f"{self.what} ({where})"


@dataclass(frozen=True)
class LeakReport:
    """All leaks of a dataset, and how alike its clips are within the splits too."""

    leaks: dict[str, list[Leak]]  # every kind of `KINDS`
    near: dict[str, int]  # sound | pictures | looks_alike -> pairs of clips
    clips_with_near: int
    equal_transcripts: int  # of `WORDS` or more, that several clips have, in whatever split
    splits: tuple[str, ...]

    def faults(self) -> int:
        """Leaks of a kind that a build keeps apart: there must be none."""
        return sum(len(found) for kind, found in self.leaks.items() if kind not in ALLOWED)


class LeakFinder:
    """Takes the clips one by one; a clip costs some hundred bytes."""

    def __init__(self) -> None:
        self._split: dict[str, str] = {}
        self._holders: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        self._heard: Counter[str] = Counter()
        self._near: set[tuple[str, str, str]] = set()

    def add(self, row: Row) -> None:
        """Take note of a row of ``clips``."""
        clip_id, split = row["clip_id"], row["split"]
        self._split[clip_id] = split
        for kind in ("source", "speaker"):
            if row[f"{kind}_id"]:
                self._holders[kind, row[f"{kind}_id"]].setdefault(split, clip_id)
        if words := long_words(row["transcript"]):
            self._holders["transcript", words].setdefault(split, clip_id)
            self._heard[words] += 1
        for near in row["near_duplicates"] or []:
            one, other = sorted((clip_id, near["clip_id"]))
            self._near.add((one, other, near["by"]))

    def report(self) -> LeakReport:
        """What was found, in an order of its own."""
        leaks: dict[str, list[Leak]] = {kind: [] for kind in KINDS}
        for leak in [*self._shared(), *self._near_leaks()]:
            leaks[leak.kind].append(leak)
        for found in leaks.values():
            found.sort(key=lambda leak: (leak.what, leak.clips))
        return LeakReport(
            leaks,
            dict(sorted(Counter(by for *_, by in self._near).items())),
            len({name for one, other, _ in self._near for name in (one, other)}),
            sum(count > 1 for count in self._heard.values()),
            tuple(split for split in SPLITS if split in self._split.values()),
        )

    def _shared(self) -> Iterator[Leak]:
        for (kind, value), holders in self._holders.items():
            if len(holders) > 1:
                yield Leak(kind, value, tuple(sorted(holders.items())))

    def _near_leaks(self) -> Iterator[Leak]:
        for one, other, by in self._near:
            splits = self._split.get(one), self._split.get(other)
            if None not in splits and splits[0] != splits[1]:
                kind = "near_duplicate" if by in TIES else LOOKS_ALIKE
                clips = ((str(splits[0]), one), (str(splits[1]), other))
                yield Leak(kind, f"{one} and {other}, by {by}", tuple(sorted(clips)))


def long_words(transcript: str | None) -> str:
    """The words without case and punctuation; empty where they are fewer than `WORDS`."""
    words = _WORD.findall((transcript or "").casefold())
    return " ".join(words) if len(words) >= WORDS else ""
