"""Numbers with a unit as people write them: ``just over three seconds``, ``some 6 syllables``.

Each names a range. Where the evidence has a value in it, the words are put in place that the
patterns of the evidence know ("at 2.16 s", "6.3 syllables"); where it has none, they become one
word that is in no evidence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from merr_pipeline.grounding.view import DURATION, EvidenceView

_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_VALUES = {word: number for number, word in enumerate(_ONES)}
_VALUES |= {word: 10 * number for number, word in enumerate(_TENS, start=2)}
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
_PARTS = {
    "half": 0.5, "quarter": 0.25, "third": 1 / 3, "tenth": 0.1, "fifth": 0.2, "fraction": 0.3,
    "three quarters": 0.75, "three-quarters": 0.75, "two thirds": 2 / 3, "two-thirds": 2 / 3,
}  # fmt: skip
_BIT = 0.25  # "six and a bit"
_EVEN = 0.5  # of the last digit: how far a rounded number may be off
_ROUGH = 0.1  # of a number that is called rough
_LITTLE = 0.2  # of a number: "just over"
_FEW_TENTHS = 0.4  # of a second: "somewhat more than a second"

_SLIGHTLY = r"(?:slightly|a little|little|somewhat|a bit|a touch|a shade|barely|only just)"
_BARELY_OVER = (
    rf"just (?:over|above|past|after)|{_SLIGHTLY} (?:more|longer|higher|faster|later) than"
    rf"|{_SLIGHTLY} (?:over|above|past|after)|(?:shortly|soon|right) (?:after|past)|a good"
)
_BARELY_UNDER = (
    r"not quite|almost|nearly|close to|close on|just (?:under|below|before|short of|shy of)"
    rf"|{_SLIGHTLY} (?:less|shorter|lower) than|{_SLIGHTLY} (?:under|below|before|short of)"
    r"|shortly before|right before|short of|shy of|barely|hardly|scarcely"
)
_OVER = (
    r"(?:more|longer|higher|faster|greater|later) than|over|above|upwards? of|beyond|exceeding"
    r"|exceeds?|exceeded|tops?|topped|surpass(?:es|ed)?"
    r"|past|at least|no less than|not less than|well over|well above|far more than|after"
)
_UNDER = (
    r"(?:stays?|remains?|lies|falls?) (?:under|below|short of)"
    r"|(?:less|shorter|lower|slower|fewer|earlier) than|under|below|at most|no more than"
    r"|not more than|within|inside|well under|well below|far less than|before|no later than|up to"
)
_ABOUT = (
    r"about|around|roughly|approximately|some|circa|more or less|in the region of|or so|near"
    r"|something like|give or take|a matter of"
)
_HOW = (
    rf"(?:(?P<barely_over>{_BARELY_OVER})|(?P<barely_under>{_BARELY_UNDER})|(?P<over>{_OVER})"
    rf"|(?P<under>{_UNDER})|(?P<about>{_ABOUT})|exactly|precisely|full|a full|a whole)"
)
_WORD = "|".join([*_ONES, *_TENS, "hundred"])
_SPELT = (
    rf"(?:an? )?(?:{_WORD})(?:[ -](?:and )?(?:{_WORD}))*(?: point (?:{_WORD})(?: (?:{_WORD}))*)?"
)
_PART = "|".join(sorted(_PARTS, key=len, reverse=True))
_NUMBER = (
    rf"(?P<number>\d+(?:\.\d+)?|{_SPELT})(?: and an? (?P<more>{_PART}|bit))?"
    rf"|(?:(?:an? )?(?P<part>{_PART})(?: of)? (?:an?|one))|(?P<one>an?(?: full| whole| good)?)"
)
_QUANTITY = rf"\b(?:{_HOW} )*(?:the |a )?(?:{_NUMBER})"
_BEHIND = r"(?P<so> or so| or thereabouts| or more)?"
_PER = r"(?: per | a | each | every |\s?/\s?|-per-)"
_COMING = (
    r"(?: or so)?(?: (?:come|go by|pass|are (?:spoken|uttered|said|heard|counted)|on average))?"
)
_UNITS = {
    rf"syll(?:able)?s?{_COMING}{_PER}s(?:ec(?:ond)?)?\b": ("tempo",),
    r"(?:hz|hertz)\b": ("pitch_level",),
    r"(?:st|semitones?)\b": ("intonation", "contour", "ending"),
}
_VOICE = tuple(
    (re.compile(rf"{_QUANTITY}{_BEHIND}[ -](?:{unit})", re.IGNORECASE), features)
    for unit, features in _UNITS.items()
)
_SECONDS = r"[ -](?:seconds?|secs?|s)\b"
_RELATED = (
    r"(?= (?:(?:clearly|in time|in all|at most|at least) )?"
    r"(?:after|before|later|earlier|ahead|prior|behind|lies?|lay|pass(?:es|ed)?|elapse[sd]?"
    r"|separate[sd]?|between|apart|sooner|go(?:es)? by))"
)
_LASTING = re.compile(
    rf"\b(?:of|for|lasts?|lasted|lasting|takes?|taking) (?!a second\b)"
    rf"(?:{_HOW} )*(?:{_NUMBER})(?: full)?{_SECONDS}",
    re.IGNORECASE,
)
_BY = r"(?<=\bby )"
_DURATIONS = (
    re.compile(rf"{_QUANTITY}{_SECONDS}{_BEHIND}{_RELATED}", re.IGNORECASE),
    re.compile(rf"{_BY}(?:{_HOW} )*(?:{_NUMBER}){_SECONDS}{_BEHIND}", re.IGNORECASE),
)
_PLACE = r"(?:at|around|about|near|by|from)"
_CLIP = r"(?: the (?:clip|video|recording|shot)\b)?"
_PLACES = tuple(
    re.compile(one, re.IGNORECASE)
    for one in (
        rf"\b(?:{_PLACE} )?(?:{_HOW} )*the (?:{_NUMBER}){_SECONDS}[ -](?:mark|point|line)\b",
        rf"\b(?:{_PLACE} )(?:{_HOW} )*(?:{_NUMBER})(?: full)?{_SECONDS}",
        rf"\b(?:{_HOW} )*(?:{_NUMBER}){_SECONDS} (?:in|into)\b"
        rf"(?! (?:length|duration|total|all)){_CLIP}",
        r"(?=\b(?:just |shortly |soon |right )?(?:after|past|before|within)\b)"
        rf"(?:{_HOW} )(?:{_NUMBER})(?: full)?{_SECONDS}",
    )
)
_WITHIN = r"\b(?:in|during|within|inside) the "
_NTH = re.compile(rf"{_WITHIN}(?:very )?(?P<nth>{'|'.join(_ORDINALS)}) second\b", re.IGNORECASE)
_FIRST = re.compile(
    rf"{_WITHIN}first (?:(?P<number>\d+(?:\.\d+)?|{_SPELT})|(?P<part>half)(?: of an?|-)?)"
    r"[ -]?(?:seconds?|s)\b",
    re.IGNORECASE,
)
_WORTH_A_LOOK = re.compile(r"second|\bsecs?\b|\d s\b|hz|hertz|syll|semitone|\bst\b", re.IGNORECASE)


@dataclass(frozen=True)
class Range:
    """The numbers that are meant, ends included."""

    low: float
    high: float

    def has(self, value: float) -> bool:
        """Whether that number is meant."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Quantities:
    """Rewrites the quantities of a text by one evidence list."""

    view: EvidenceView

    def rewritten(self, text: str) -> str:
        """The text with each quantity in the words of the evidence, or as a word of its own."""
        if not _WORTH_A_LOOK.search(text):
            return text
        for expression, features in _VOICE:
            text = expression.sub(partial(self._of_voice, features), text)
        for expression in _DURATIONS:
            text = expression.sub(self._duration, text)
        text = _LASTING.sub(_unproven, text)
        text = _NTH.sub(self._nth, text)
        text = _FIRST.sub(self._first, text)
        for expression in _PLACES:
            text = expression.sub(self._place, text)
        return text

    def _of_voice(self, features: Sequence[str], found: re.Match[str]) -> str:
        rows = [self.view.named[name][0] for name in features if name in self.view.named]
        span = _range_of(found)
        fitting = [row["value"] for row in rows if row["value"] and span.has(abs(row["value"]))]
        return f"{abs(fitting[0]):g} {_unit(features)}" if fitting else _unproven(found)

    def _duration(self, found: re.Match[str]) -> str:
        """Between the words and the peak of the face; no other time that passes is known."""
        apart = self.view.words_to_peak_s
        return DURATION if apart is not None and _range_of(found).has(apart) else _unproven(found)

    def _place(self, found: re.Match[str]) -> str:
        """A time of the clip; one that is written as the evidence has it stays."""
        exact = re.fullmatch(rf"(?:{_PLACE}) ([\d.]+)\s?s\w*", found[0])
        if exact and any(exact[1] in (f"{one:.2f}", f"{one:.1f}") for one in self._times):
            return found[0]
        return self._at(_range_of(found), found)

    def _nth(self, found: re.Match[str]) -> str:
        number = _ORDINALS.index(found["nth"].lower())
        return self._at(Range(number, number + 1), found)

    def _first(self, found: re.Match[str]) -> str:
        return self._at(Range(0, 0.5 if found["part"] else _number(found["number"])), found)

    def _at(self, span: Range, found: re.Match[str]) -> str:
        times = [f"at {time:.2f} s" for time in self._times if span.has(time)]
        return " ".join(times) or _unproven(found)

    @cached_property
    def _times(self) -> list[float]:
        return sorted({row["time_s"] for row in self.view.rows if row["time_s"] is not None})


def _unit(features: Sequence[str]) -> str:
    return {"tempo": "syllables per second", "pitch_level": "hz"}.get(features[0], "semitones")


def _unproven(found: re.Match[str]) -> str:
    return "_".join(re.findall(r"[\w.]+", found[0]))


def _range_of(found: re.Match[str]) -> Range:
    """What ``not quite a``, ``some``, ``at least`` make of the number behind them."""
    groups = found.groupdict()
    number, off = _named_number(groups)
    little = max(off, _LITTLE * number) if number <= 1 else max(off, _ROUGH * number)
    if groups.get("barely_over"):
        return Range(number, number + max(little, min(_FEW_TENTHS, _FEW_TENTHS * number)))
    if groups.get("barely_under"):
        return Range(number - little, number)
    if groups.get("over") or (groups.get("so") or "").endswith("more"):
        return Range(number, float("inf"))
    if groups.get("under"):
        return Range(0, number)
    if groups.get("about") or groups.get("so"):
        return Range(number - little, number + little)
    return Range(number - off, number + off)


def _named_number(groups: dict[str, str | None]) -> tuple[float, float]:
    """The number, and how far a rounded one may be off."""
    if part := groups.get("part"):
        return _PARTS[part.lower()], _LITTLE * _PARTS[part.lower()]
    if groups.get("one"):
        return 1.0, _LITTLE
    text = groups["number"] or "one"
    digits = re.fullmatch(r"\d+\.(\d+)", text)
    number = _number(text)
    if more := groups.get("more"):
        return number + _PARTS.get(more.lower(), _BIT), _LITTLE
    if digits:
        return number, _EVEN * 10.0 ** -len(digits[1]) + 1e-9
    return number, _LITTLE if number == 1 else _EVEN


def _number(text: str) -> float:
    """``12``, ``6.3``, ``twenty-one``, ``three hundred and one``, ``six point three``."""
    if text[0].isdigit():
        return float(text)
    whole, _, decimals = text.lower().partition(" point ")
    total = 0
    for word in re.findall(r"[a-z]+", whole):
        if word == "hundred":
            total = 100 * (total or 1)
        else:
            total += _VALUES.get(word, 0)
    digits = "".join(str(_VALUES.get(word, 0)) for word in decimals.split())
    return float(f"{total}.{digits or 0}")
