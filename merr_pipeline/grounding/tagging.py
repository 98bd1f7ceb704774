"""Words of a sentence and the patterns of the lexicon that are found in them.

A pattern is written as a row of words: ``"lip|mouth corner*"``. ``a|b`` is either word, ``glad*``
any word that begins so, ``lift~`` any form of a regular verb (lift, lifts, lifted, lifting), a
place that ends in ``?`` may be empty, and ``(a lot|greatly)`` is a choice of several words.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

MANY = ("thing", "quality")  # kinds whose meaning is a tuple: of one word all meanings count

_TOKEN = re.compile(r"\w+(?:[.'-]\w+)*|[,;:()–—]|(?<=\s)-(?=\s)")
_GROUP = re.compile(r"\(([^()]*)\)(\??)")
_CONTRARY = ("free", "less", "proof")  # "frown-free" has no frown
_ONE_VOWEL_THEN_ONE_CONSONANT = re.compile(r"[^aeiou]*[aeiou][^aeiouwxy]")


def words_of(text: str) -> list[str]:
    """Small words, numbers and hyphenated words; punctuation falls away."""
    return re.findall(r"\w+(?:[.'-]\w+)*", text.lower().replace("’", "'"))


class Sought(NamedTuple):
    """A row of words to find."""

    places: tuple[tuple[str, ...], ...]  # alternatives for each
    words: frozenset[str]  # of all places
    last: frozenset[str] | None  # None where there is one place, or one of these is a stem

    @classmethod
    def of(cls, places: tuple[tuple[str, ...], ...]) -> Sought:
        """With what is looked at first."""
        words = frozenset(word for place in places for word in place)
        is_plain = len(places) > 1 and not any(one.endswith("*") for one in places[-1])
        return cls(places, words, frozenset(places[-1]) if is_plain else None)


class Pattern(NamedTuple):
    """A row of words to find, and what finding it means."""

    sought: Sought
    kind: str
    meaning: Any

    @property
    def words(self) -> tuple[tuple[str, ...], ...]:
        """The alternatives for each place."""
        return self.sought.places

    @classmethod
    def read(cls, text: str, kind: str, meaning: Any) -> Pattern:
        """From the notation of the file, which may leave no place empty here."""
        return cls(_read(text), kind, meaning)


@lru_cache(1 << 14)  # evidence lists say the same things over and over
def _read(text: str) -> Sought:
    places = (place.split("|") for place in text.lower().split())
    return Sought.of(tuple(tuple(form for one in place for form in forms(one)) for place in places))


@lru_cache(1 << 10)  # by a text and its cues
def runs_of(words: tuple[str, ...], shortest: int, longest: int) -> tuple[Sought, ...]:
    """All rows of so many of the words, as they follow each other."""
    return tuple(
        Sought.of(tuple((word,) for word in words[start:end]))
        for start in range(len(words))
        for end in range(start + shortest, min(start + longest, len(words)) + 1)
    )


def patterns_of(text: str, kind: str, meaning: Any) -> Iterator[Pattern]:
    """All patterns that a text of the file stands for: one for each choice it leaves."""
    if group := _GROUP.search(text):
        choices = group[1].split("|")
        words = "|".join(choice for choice in choices if " " not in choice)  # one place for all
        choices = [choice for choice in choices if " " in choice]
        for choice in [*([words] if words else []), *choices, *([""] if group[2] else [])]:
            yield from patterns_of(
                text[: group.start()] + choice + text[group.end() :], kind, meaning
            )
        return
    places = text.split()
    for number, place in enumerate(places):
        if place.endswith("?"):
            before, after = places[:number], places[number + 1 :]
            yield from patterns_of(" ".join([*before, *after]), kind, meaning)
            yield from patterns_of(" ".join([*before, place[:-1], *after]), kind, meaning)
            return
    if places:
        yield Pattern.read(text, kind, meaning)


def forms(word: str) -> tuple[str, ...]:
    """``lift~``: lift, lifts, lifted, lifting; any other word is its own only form."""
    if not word.endswith("~"):
        return (word,)
    verb = word[:-1]
    third = verb + ("es" if verb.endswith(("s", "sh", "ch", "x", "z", "o")) else "s")
    if verb.endswith("e"):
        return verb, third, f"{verb}d", f"{verb[:-1]}ing"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb, f"{verb[:-1]}ies", f"{verb[:-1]}ied", f"{verb}ing"
    if _ONE_VOWEL_THEN_ONE_CONSONANT.fullmatch(verb):
        return verb, third, f"{verb}{verb[-1]}ed", f"{verb}{verb[-1]}ing"
    return verb, third, f"{verb}ed", f"{verb}ing"


@dataclass(frozen=True)
class Token:
    """A word, and in which part of its sentence it stands: parts end at punctuation."""

    word: str
    part: int


def tokens_of(text: str) -> list[Token]:
    """The words of a sentence, each with the number of its part."""
    tokens, part = [], 0
    for found in _TOKEN.findall(text.lower().replace("’", "'")):
        if found[0].isalnum() or found[0] == "_":
            tokens.append(Token(found, part))
        else:
            part += 1
    return tokens


@dataclass(frozen=True)
class Tag:
    """Words that are read together, and all that they may mean, by kind. Ends before ``end``."""

    start: int
    end: int
    part: int
    text: str
    readings: Mapping[str, Any]
    degree: str | None = None  # an adverb inside

    def __contains__(self, kind: str) -> bool:
        return kind in self.readings


class PatternIndex:
    """Patterns, to be looked up by the word that they begin with."""

    def __init__(self, patterns: Iterable[Pattern], *, across: bool = False) -> None:
        """``across``: a pattern may go on behind a comma, as "a bright, forceful timbre" does."""
        self.across = across
        self._exact: dict[str, list[Pattern]] = {}
        self._stems: dict[str, list[Pattern]] = {}  # by the first two letters
        self._words: set[str] = set()
        for pattern in patterns:
            self._words |= pattern.sought.words
            for one in pattern.sought.places[0]:
                if one[-1] == "*":
                    self._stems.setdefault(one[:2], []).append(pattern)
                else:
                    self._exact.setdefault(one, []).append(pattern)

    def beginning_with(self, word: str, sentence: Collection[str]) -> Iterator[Pattern]:
        """The patterns that may begin with that word in a sentence of these words."""
        for patterns in (self._exact.get(word, ()), self._stems.get(word[:2], ())):
            for pattern in patterns:  # most lack their last word, and need no closer look
                last = pattern.sought.last
                if last is None or not last.isdisjoint(sentence):
                    yield pattern

    def knows(self, word: str) -> bool:
        """Whether the word is in a pattern."""
        return word in self._words or any(
            is_one_of(word, pattern.words[0]) for pattern in self._stems.get(word[:2], ())
        )


@dataclass(frozen=True)
class Tagger:
    """Finds the patterns of several indexes; of two that reach as far, both are readings."""

    indexes: Sequence[PatternIndex]
    skipped: frozenset[str]  # may stand between two words of a pattern
    degrees: frozenset[str]  # so may one of these

    def tags(self, text: str) -> list[Tag]:
        """Everything in a sentence, in order; a word that fits no pattern has no reading."""
        tokens = [part for token in tokens_of(text) for part in self._known_parts(token)]
        words = {token.word for token in tokens}
        tags: list[Tag] = []
        while (start := tags[-1].end if tags else 0) < len(tokens):
            tags.append(self._tag_at(tokens, words, start))
        return tags

    def _known_parts(self, token: Token) -> list[Token]:
        """``bright-eyed`` is two words where both are known and the whole is not."""
        word = token.word
        if self._knows(word):
            return [token]
        if word.endswith("'s") and self._knows(word[:-2]):
            return [Token(word[:-2], token.part)]
        parts = word.split("-")
        if len(parts) > 1 and parts[-1] not in _CONTRARY and all(map(self._knows, parts)):
            return [Token(part, token.part) for part in parts]
        return [token]

    def _knows(self, word: str) -> bool:
        return word in self.skipped or any(index.knows(word) for index in self.indexes)

    def _tag_at(self, tokens: Sequence[Token], words: Collection[str], start: int) -> Tag:
        """The patterns that reach farthest from here, all of the first index that has some."""
        end, degree = start + 1, None
        readings: dict[str, Any] = {}
        for index in self.indexes:
            found = self._farthest(index, tokens, words, start)
            if found is not None and (not readings or found[0] > end):
                end, readings, degree = found
        if "fact" in readings:  # a thing that the evidence's own words name may be more than that
            things = (
                self._farthest(self.indexes[-1], tokens, words, place)
                for place in range(start, end)
            )
            inside = [one for one in things if one and "thing" in one[1] and one[0] <= end]
            readings["thing"] = tuple(thing for one in inside for thing in one[1]["thing"])
        said = " ".join(token.word for token in tokens[start:end])
        return Tag(start, end, tokens[start].part, said, readings, degree)

    def _farthest(
        self, index: PatternIndex, tokens: Sequence[Token], words: Collection[str], start: int
    ) -> tuple[int, dict[str, Any], str | None] | None:
        end, degree = start, None
        readings: dict[str, Any] = {}
        for pattern in index.beginning_with(tokens[start].word, words):
            match = self._match(tokens, start, pattern)
            if match is None or match[0] < end:
                continue
            if not index.across and tokens[match[0] - 1].part != tokens[start].part:
                continue
            if match[0] > end:
                readings = {}
            end, degree = match
            if pattern.kind in MANY and pattern.kind in readings:
                readings[pattern.kind] += pattern.meaning
            readings.setdefault(pattern.kind, pattern.meaning)
        return (end, readings, degree) if readings else None

    def _match(
        self, tokens: Sequence[Token], start: int, pattern: Pattern
    ) -> tuple[int, str | None] | None:
        """Where the pattern ends, and the adverb that stands in it; None if it is not there."""
        place, degree = start, None
        for number, alternatives in enumerate(pattern.words):
            while place < len(tokens) and not is_one_of(tokens[place].word, alternatives):
                word = tokens[place].word
                if number == 0 or not (word in self.skipped or word in self.degrees):
                    return None
                degree = word if word in self.degrees else degree
                place += 1
            if place == len(tokens):
                return None
            place += 1
        return place, degree


def is_one_of(word: str, alternatives: Sequence[str]) -> bool:
    """Whether a word is one of these, some of which may be stems: ``glad*``."""
    if word in alternatives:
        return True
    for one in alternatives:  # noqa: SIM110  asked a thousand times for each text, any() is slow
        if one[-1:] == "*" and _begins_with(word, one[:-1]):
            return True
    return False


def _begins_with(word: str, stem: str) -> bool:
    """``fearful`` begins with ``fear``; ``fearless`` and ``fear-free`` say its contrary."""
    if not word.startswith(stem):
        return False
    ending = word.removeprefix(stem).replace("'", "")
    return (ending == "" or ending.isalpha()) and not ending.endswith(
        ("less", "lessly", "lessness", "free", "proof")
    )
