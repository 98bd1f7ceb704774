"""Reads the label out of an answer, by the rules of ``answer_reading.yaml``.

An answer of one label is that label. Of a longer text the conclusion counts first ("therefore ...
she is sad"): the first label that is named there. Without a conclusion the text must name one label
and no other. Words that are negated ("not angry but sad") do not count.

``last_word`` is how the published evaluation of Emotion-LLaMA reads: the last word is the label.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from merr_pipeline.emotion.spaces import LabelSpace, plain
from merr_pipeline.evaluation.labels import OTHER, UNREAD
from merr_pipeline.templates import load_model

TEMPLATE = "answer_reading.yaml"
LONGEST_NAME_WORDS = 2  # of a piece in a list of emotions
REACH_WORDS, REACH_LETTERS = 6, 4  # of a negation; letters where words are not parted
NAMED_WITHIN_WORDS = 3
MOST_LETTERS = 20_000  # of an answer that is read, from its end
CLAUSE_LETTERS = 200  # before a word, in which its clause is looked for

_BREAKS = re.compile(r"[.;:!?,。；：！？，\n]")
_SENTENCE_END = re.compile(r"[.!?。！？]")
_PIECES = re.compile(r"[,;、，；/\n|]|\band\b")
_BARE = " \t\r\n.!?\"'“”‘’*_`#()[]{}<>-•。！"


class Way(StrEnum):
    """Which rules read."""

    RULES = "rules"
    LAST_WORD = "last_word"


class Why(StrEnum):
    """How a label was read, or why none was. These are in results: add, never rename."""

    ALONE = "alone"  # the answer is the label and nothing else
    CONCLUSION = "conclusion"  # it is named in the conclusion
    ONLY = "only"  # the text names no other
    LAST_WORD = "last_word"
    SEVERAL = "several"  # it names several and concludes on none: unread
    NONE = "none"  # it names no emotion: unread
    EMPTY = "empty"  # there is no answer in it: unread


class Rules(BaseModel):
    """The whole of ``answer_reading.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int
    thoughts: tuple[tuple[str, str], ...]
    answers: tuple[tuple[str, str], ...]
    keys: tuple[str, ...]
    conclusions: tuple[str, ...]
    naming: tuple[str, ...]
    negations: tuple[str, ...]
    not_negations: tuple[str, ...]
    clause_ends: tuple[str, ...]
    concessions: tuple[str, ...]
    only_alone: frozenset[str]
    sha256: str


@dataclass(frozen=True)
class Read:
    """What was read: a label of the space, `OTHER` (an emotion that it has not) or `UNREAD`."""

    label: str
    why: Why


@dataclass(frozen=True)
class _Mention:
    word: str
    label: str  # or OTHER
    start: int
    end: int
    is_granted: bool  # in a clause with "although" and the like


class Reader:
    """Reads answers about the labels of one space."""

    def __init__(self, space: LabelSpace, rules: Rules) -> None:
        self._space, self._rules = space, rules
        self._concluding = _any_of(rules.conclusions)
        self._naming = re.compile(
            _any_of(rules.naming).pattern + rf"(?:\s*[\w'’]+){{0,{NAMED_WITHIN_WORDS}}}[\s\"'“*]*$"
        )
        self._ends, self._granting = _any_of(rules.clause_ends), _any_of(rules.concessions)
        self._not_negating = _any_of(rules.not_negations)
        self._negating = _any_of([one for one in rules.negations if one.isascii()])
        self._negating_letters = tuple(one for one in rules.negations if not one.isascii())

    @cached_property
    def _labels(self) -> dict[str, str]:
        """Plain spelling -> label, or `OTHER` where the space has none for it."""
        words = [*self._space.spellings, *self._space.bases]
        return {plain(word): self._space.find(word) or OTHER for word in words}

    @cached_property
    def _word(self) -> re.Pattern[str]:
        return _any_of(self._labels)

    def read(self, answer: str, way: Way = Way.RULES) -> Read:
        """The label of an answer."""
        if way is Way.LAST_WORD:
            return self._last_word(answer)
        text = self._said(answer)
        if not text.strip(_BARE):
            return Read(UNREAD, Why.EMPTY)
        alone = self._alone(text)
        return Read(alone, Why.ALONE) if alone else self._in_text(_flat(text))

    def words(self, answer: str) -> list[str]:
        """The emotions that an answer names: the pieces of a list, or the words in a text.

        A piece that is no word of ours is kept as it is, for a wheel may know it.
        """
        text = self._said(answer)
        bare = (self._space.words.without_degrees(one.strip(_BARE)) for one in _PIECES.split(text))
        pieces = [one for one in bare if one]
        if not all(one.isascii() and len(one.split()) <= LONGEST_NAME_WORDS for one in pieces):
            pieces = [_flat(text)]
        found: dict[str, None] = {}
        for piece in pieces:
            whole = piece in self._labels
            ours = [piece] if whole else [one.word for one in self._mentions(piece)]
            is_new = len(pieces) > 1 or len(piece.split()) <= LONGEST_NAME_WORDS
            theirs = [piece] if is_new and not self._word.search(piece) else []
            found.update(dict.fromkeys(ours or theirs))
        return list(found)

    def _said(self, answer: str) -> str:
        """The answer without its thoughts and its wrapping."""
        text = answer[-MOST_LETTERS:]
        for start, end in self._rules.thoughts:
            text = re.sub(f"{re.escape(start)}.*?{re.escape(end)}", " ", text, flags=re.S | re.I)
            text = re.split(re.escape(end), text, flags=re.I)[
                -1
            ]  # a thought that began in the prompt
            text = re.split(re.escape(start), text, flags=re.I)[0]  # one that never ended
        for start, end in self._rules.answers:
            found = re.findall(
                f"{re.escape(start)}(.*?)(?:{re.escape(end)}|$)", text, flags=re.S | re.I
            )
            text = found[-1] if found else text
        return self._of_json(text)

    def _of_json(self, text: str) -> str:
        found = re.search(r"\{.*\}", text, re.S)
        if found is None:
            return text
        try:
            value = json.loads(found[0])
        except (ValueError, RecursionError):
            return text
        said = next((value[key] for key in self._rules.keys if key in value), None)
        if isinstance(said, list):
            return ", ".join(str(one) for one in said)
        return text if said is None else str(said)

    def _last_word(self, answer: str) -> Read:
        last = (answer.split() or [""])[-1].strip(_BARE)
        label = self._labels.get(plain(last)) or self._space.find(last) if last else None
        return Read(label or UNREAD, Why.LAST_WORD)

    def _alone(self, text: str) -> str | None:
        bare = self._space.words.without_degrees(text.strip(_BARE)).strip(_BARE)
        return self._labels.get(bare) or self._labels.get(plain(text.strip(_BARE)))

    def _in_text(self, text: str) -> Read:
        cues = list(self._concluding.finditer(text))
        if cues:
            found = self._decide(text, cues[-1].end())
            if found.label != UNREAD:
                return Read(found.label, Why.CONCLUSION)
            if found.why is Why.SEVERAL:
                return found
        return self._decide(text, 0)

    def _decide(self, text: str, start: int) -> Read:
        """From here on: the first that is named, or the only one."""
        every = list(self._mentions(text, start, alone_too=True))
        every = [one for one in every if not one.is_granted] or every
        parted = list(_with_before(every, text, start))
        named = [one for one, before in parted if self._names(before)]
        if start and parted and _follows_at_once(parted[0][1]):
            named.insert(0, parted[0][0])
        if start and named:
            return Read(named[0].label, Why.CONCLUSION)
        plainly = [one for one in every if one.word not in self._rules.only_alone]
        for some in (plainly, named):
            if len(labels := {one.label for one in some}) == 1:
                return Read(labels.pop(), Why.ONLY)
        return Read(UNREAD, Why.SEVERAL if plainly or named else Why.NONE)

    def _mentions(self, text: str, start: int = 0, alone_too: bool = False) -> Iterator[_Mention]:
        """Words for emotions that are neither negated nor in a question."""
        for found in self._word.finditer(text, start):
            word = found[0]
            if not alone_too and word in self._rules.only_alone:
                continue
            clause = _BREAKS.split(text[max(0, found.start() - CLAUSE_LETTERS) : found.start()])[-1]
            end = _SENTENCE_END.search(text, found.end())
            is_asked = end is not None and end[0] in "?？"
            if not is_asked and not self._is_negated(clause):
                is_granted = bool(self._granting.search(clause))
                yield _Mention(word, self._labels[word], found.start(), found.end(), is_granted)

    def _is_negated(self, clause: str) -> bool:
        clause = self._not_negating.sub(" ", clause)
        clause = self._ends.split(clause)[-1]
        near = " ".join(clause.rstrip(_BARE).split()[-REACH_WORDS:])
        letters = clause.rstrip()[-REACH_LETTERS:]
        return bool(self._negating.search(near)) or any(
            one in letters for one in self._negating_letters
        )

    def _names(self, before: str) -> bool:
        return bool(self._naming.search(before[max(0, len(before) - 80) :]))


def load_rules(templates: Path | None = None) -> Rules:
    """Read ``answer_reading.yaml`` from the user's templates folder, else the shipped one."""
    return load_model(Rules, TEMPLATE, templates)


def _flat(text: str) -> str:
    return plain(text.replace("’", "'"))


def _with_before(
    mentions: Sequence[_Mention], text: str, start: int
) -> Iterator[tuple[_Mention, str]]:
    """Each with the text since the one before it, or since ``start``."""
    for one in mentions:
        yield one, text[start : one.start]
        start = one.end


def _follows_at_once(before: str) -> bool:
    return len(before.split()) <= NAMED_WITHIN_WORDS and not _BREAKS.search(before)


def _any_of(words: Sequence[str] | dict[str, str]) -> re.Pattern[str]:
    """Any of these, the longest first; Latin words whole, for Chinese parts no words."""
    parts = []
    for word in sorted(words, key=lambda one: (-len(one), one)):
        whole = word[:1].isascii() and word[:1].isalnum() and word != "n't"
        before = r"(?<![a-z0-9])" if whole else ""
        after = r"(?![a-z0-9])" if word[-1:].isascii() and word[-1:].isalnum() else ""
        parts.append(f"{before}{re.escape(word)}{after}")
    return re.compile(f"(?:{'|'.join(parts)})")
