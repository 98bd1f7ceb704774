"""The order in which things were said: ``first asks about the cake, then tells of the table``.

What a clause retells stands somewhere in the transcript. The words of order cut the clause into
parts; that a transcript has these parts in such an order is found by where their words stand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product

from merr_pipeline.grounding.clause import Clause, Found
from merr_pipeline.grounding.entries import ANY_WORDS
from merr_pipeline.grounding.lexicon import Lexicon, Words
from merr_pipeline.grounding.tagging import Tag, patterns_of, words_of
from merr_pipeline.grounding.view import EvidenceView

_SENTENCE = re.compile(r"[(\[][^)\]]*[)\]]|[^.!?…;。！？(\[]+[.!?…;。！？]*")
_NOTE = re.compile(r"[(\[][^)\]]*[)\]]")
_ROW = 'transcript (): "'
_SHORT = 2  # letters; shorter words stand anywhere
_ANYWHERE = {"quotationmark", "word", "words", "sentence", "question", "speaker", "person", "line"}


@dataclass(frozen=True)
class SaidOrder:
    """Where in one transcript something was said."""

    view: EvidenceView
    lexicon: Lexicon

    @cached_property
    def sentences(self) -> list[str]:
        """What was said, sentence by sentence; a note such as "(laughs)" is one too."""
        return [one.strip() for one in _SENTENCE.findall(self.view.said) if words_of(one)]

    @cached_property
    def _notes(self) -> int:
        """How many notes the transcript begins with."""
        spoken = (at for at, one in enumerate(self.sentences) if not _NOTE.match(one))
        return next(spoken, len(self.sentences))

    @cached_property
    def _stems(self) -> list[tuple[int, str]]:
        """The words, each with the number of its sentence."""
        stem = self.lexicon.thesaurus.stem
        return [
            (number, stem(word))
            for number, one in enumerate(self.sentences)
            for word in words_of(one)
        ]

    @cached_property
    def _places(self) -> dict[int | str, list[int]]:
        """Of each stem, and each group of synonyms, the places where it begins."""
        places: dict[int | str, list[int]] = {}
        thesaurus = self.lexicon.thesaurus
        for place, (number, stem) in enumerate(self._stems):
            row = [one for of, one in self._stems[place : place + 4] if of == number]
            runs = [tuple(row[:length]) for length in range(1, len(row) + 1)]
            runs += [(row[0], row[2])] if len(row) > 2 else []  # "let me go"
            groups: frozenset[int] = frozenset().union(*map(thesaurus.groups, runs))
            keys: set[int | str] = {stem, *groups}
            for key in keys:
                places.setdefault(key, []).append(place)
        return places

    def times_said(self, words: str) -> int:
        """In how many sentences a word stands, or another for it."""
        return len({self._number(place) for place in self._places_of(words)})

    def is_told(self, tag: Tag) -> bool:
        """Whether it is a word of its own that the transcript has, or another for it."""
        return self._is_content(tag) and bool(self._places_of(tag.text))

    def is_in_sentence(self, quotation: str, *, first: bool) -> bool:
        """Whether it is quoted from the first sentence, or the last."""
        spoken = self.sentences[self._notes :]
        if not spoken:
            return False
        sentence = " ".join(words_of(spoken[0 if first else -1]))
        return " ".join(words_of(quotation)) in sentence

    def disagrees(self, item: Found, clause: Clause, quotes: Sequence[str]) -> bool:
        """Whether the transcript has in another order what stands around this word of order."""
        if item.text in self.lexicon.listed:
            return not self._is_row([tag for tag in clause.tags if tag.end <= item.start])
        quoted = self._quoted(clause, quotes)
        before, behind = self._parts_around(item, clause, quoted)
        if quoted and not self._compares(item):
            return False  # where a quotation stands is known better
        one, other = self._within(before, quoted), self._within(behind, quoted)
        if self._is_said(item.text, other):
            return False
        if item.text in self.lexicon.earlier:
            return self._is_later(one, other)
        if item.text in self.lexicon.later:
            return self._is_later(other, one)
        if item.text in self.lexicon.next:
            return self._is_later(one, other) or self._is_first(other or one)
        if item.text in ways_of(self.lexicon.start):
            return bool(mine := other or one) and self._number(min(mine)) > self._notes
        if item.text in ways_of(self.lexicon.finish):
            return bool(mine := other or one) and self._number(max(mine)) < len(self.sentences) - 1
        return False

    def _is_row(self, tags: Sequence[Tag]) -> bool:
        """Whether all that is told was said in the order of these."""
        last = -1
        for tag in tags:
            if places := self._places_told(tag):
                last = next((place for place in places if place > last), len(self._stems))
        return last < len(self._stems)

    def _is_said(self, order: str, places: Sequence[int]) -> bool:
        """Whether the word of order is itself said, right before: ``after twelve years``."""
        stem = self.lexicon.thesaurus.stem(order)
        return any(self._stems[place - 1][1] == stem for place in places if place)

    def _is_later(self, one: Sequence[int], other: Sequence[int]) -> bool:
        """Whether the first stands behind the second, which is not told where a note is all."""
        if one and other:
            return min(one) > max(other)
        return bool(other) and self._is_note(other)

    def _is_note(self, places: Sequence[int]) -> bool:
        """Whether it is what the transcript notes before any word."""
        return bool(places) and self._number(max(places)) < self._notes

    def _is_first(self, places: Sequence[int]) -> bool:
        """Whether it is a note with nothing before it."""
        return self._is_note(places) and not self._number(max(places))

    def _number(self, place: int) -> int:
        return self._stems[place][0]

    def _quoted(self, clause: Clause, quotes: Sequence[str]) -> dict[int, list[int]]:
        """The places of each quotation, by where it stands in the clause."""
        marks = [tag.start for tag in clause.tags if "quotationmark" in tag.text]
        return {
            mark: self._places_of_run(quote) for mark, quote in zip(marks, quotes, strict=False)
        }

    def _places_of_run(self, quotation: str) -> list[int]:
        wanted = list(self.lexicon.thesaurus.stems(quotation))
        said = [stem for _, stem in self._stems]
        starts = [at for at in range(len(said)) if said[at : at + len(wanted)] == wanted]
        return [place for at in starts for place in range(at, at + len(wanted))]

    def _parts_around(
        self, item: Found, clause: Clause, quoted: Mapping[int, list[int]]
    ) -> tuple[list[Tag], list[Tag]]:
        """What stands between this word of order and the next ones; a comma and "and" cut too.

        ``Before A, B``: what comes after the comma is what comes first.
        """
        cuts = {one.start for one in clause.of("order")}
        before: list[Tag] = []
        behind: list[Tag] = []
        front: list[Tag] = []
        for tag in clause.tags:
            if tag.start >= item.end:
                if tag.start in cuts or (behind and tag.part != behind[0].part):
                    front = [one for one in clause.tags if one.start >= tag.start]
                    break
                behind.append(tag)
        for tag in reversed([one for one in clause.tags if one.end <= item.start]):
            if tag.start in cuts or (before and tag.part != before[0].part):
                break
            before.insert(0, tag)
        if not self._within(before, quoted) and self._compares(item):
            before = front
        return before, behind

    def _compares(self, item: Found) -> bool:
        return item.text in self.lexicon.earlier or item.text in self.lexicon.later

    def _within(self, tags: Sequence[Tag], quoted: Mapping[int, list[int]]) -> list[int]:
        """Where the words of these tags stand: all in one sentence, where there is such a one."""
        found = [
            places for tag in tags if (places := quoted.get(tag.start) or self._places_told(tag))
        ]
        if not found:
            return []
        numbers = [{self._number(place) for place in places} for places in found]
        common = set.intersection(*numbers) or set.union(*numbers)
        return sorted(p for places in found for p in places if self._number(p) in common)

    def _places_told(self, tag: Tag) -> list[int]:
        """Of a question, all the words of all questions."""
        if needs := self._needs_of(tag):
            fitting = {
                at for at, one in enumerate(self.sentences) if re.search(needs, f'{_ROW}{one}"')
            }
            return [place for place, (number, _) in enumerate(self._stems) if number in fitting]
        return self._places_of(tag.text) if self._is_content(tag) else []

    @staticmethod
    def _needs_of(tag: Tag) -> str | None:
        """What must be in a sentence that is such a one: a question, a laugh."""
        if "speech" in tag:
            needs = tag.readings["speech"].needs
            return None if needs == ANY_WORDS else needs
        wholes = (one.has.text for one in tag.readings.get("thing", ()) if one.has)
        return next((text for text in wholes if text and text.startswith("^transcript")), None)

    def _is_content(self, tag: Tag) -> bool:
        return (
            len(tag.text) > _SHORT
            and tag.text not in _ANYWHERE
            and tag.text not in self.lexicon.glue_words
            and not {"order", "degree", "speech"} & set(tag.readings)
        )

    def _places_of(self, text: str) -> list[int]:
        thesaurus = self.lexicon.thesaurus
        stems = thesaurus.stems(text)
        keys: list[int | str] = [*thesaurus.groups(stems)]
        keys += stems if len(stems) == 1 else []
        found = {place for key in keys for place in self._places.get(key, ())}
        if len(stems) > 1 and all(one in self._places for one in stems):
            found |= set(self._places[stems[0]])
        return sorted(found)


@cache
def ways_of(sayings: Words) -> frozenset[str]:
    """All ways of saying these, with and without "the"."""
    patterns = (one for saying in sayings for one in patterns_of(saying, "order", None))
    said = {" ".join(words) for one in patterns for words in product(*one.words)}
    return frozenset(
        said | {re.sub(r"^(at|in|towards|toward|by|from|to) ", r"\1 the ", one) for one in said}
    )
