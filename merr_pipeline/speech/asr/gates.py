"""What keeps invented words out: ``asr_gates.yaml``, read, checked and applied."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from merr_pipeline.speech.asr.contract import Heard
from merr_pipeline.stage import rounded
from merr_pipeline.templates import load_model

TEMPLATE = "asr_gates.yaml"
# One sign of a script without blanks, or a whole word of another
UNIT = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u0e00-\u0e7f]|\w+")
LOW_CONFIDENCE = "low_confidence"  # the one gate that calls a text unsure, not invented


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Before(_Entry):
    """Sound of which no model is asked."""

    least_speech_s: float = Field(ge=0)
    least_level_dbfs: float


class Loop(_Entry):
    """How often a group of so many units, or fewer, may be said in a row, less one."""

    most_units: int = Field(ge=1)
    times: int = Field(ge=2)


class NoSpeech(_Entry):
    """Both together: the model heard no speech."""

    prob: float = Field(ge=0, le=1)
    avg_logprob: float


class Doubtful(_Entry):
    """Any of these makes a usual phrase an invented one."""

    no_speech_prob: float = Field(ge=0, le=1)
    avg_logprob: float
    speech_s: float = Field(ge=0)


class Gates(_Entry):
    """The whole of ``asr_gates.yaml``; ``sha256`` is its content hash, for fingerprints."""

    version: int
    before: Before
    most_characters_per_speech_s: float = Field(gt=0)
    most_compression_ratio: float = Field(gt=0)
    loops: tuple[Loop, ...]
    no_speech: NoSpeech
    least_avg_logprob: float
    doubtful: Doubtful
    phrases: tuple[str, ...]
    joiners: tuple[str, ...]
    credits: tuple[str, ...]
    sha256: str

    def reject(self, heard: Heard, speech_s: float) -> list[str]:
        """The gates that a text does not pass, in this order; none when it is good.

        ``speech_s`` is how much speech voice activity found in the sound. What a model does not
        tell stops nothing.
        """
        plain = _plain(heard.text)
        tests = {
            "credits": _plain(heard.text, ":").startswith(self._openings),
            "phrases": self._is_all_phrases(plain) and self._is_doubtful(heard, speech_s),
            "loops": self._loops(heard.text),
            "characters": over(
                _per_second(len(plain), speech_s), self.most_characters_per_speech_s
            ),
            "compression": over(heard.compression_ratio, self.most_compression_ratio),
            "no_speech": over(heard.no_speech_prob, self.no_speech.prob)
            and under(heard.avg_logprob, self.no_speech.avg_logprob),
            LOW_CONFIDENCE: under(heard.avg_logprob, self.least_avg_logprob),
        }
        return [name for name, rejects in tests.items() if rejects]

    def _is_doubtful(self, heard: Heard, speech_s: float) -> bool:
        return (
            over(heard.no_speech_prob, self.doubtful.no_speech_prob)
            or under(heard.avg_logprob, self.doubtful.avg_logprob)
            or under(speech_s, self.doubtful.speech_s)
        )

    def _is_all_phrases(self, plain: str) -> bool:
        return self._all_phrases.fullmatch(plain) is not None

    def _loops(self, text: str) -> bool:
        units = UNIT.findall(text.casefold())
        return any(
            repeats(units, size) >= loop.times
            for loop, shortest in zip(self.loops, self._shortest, strict=True)
            for size in range(shortest, loop.most_units + 1)
        )

    @cached_property
    def _shortest(self) -> list[int]:
        """Of each loop the least units that the one before does not speak of."""
        return [1, *(loop.most_units + 1 for loop in self.loops[:-1])]

    @cached_property
    def _all_phrases(self) -> re.Pattern[str]:
        phrase, joiner = _any_of(self.phrases), _any_of(self.joiners)
        return re.compile(f"{phrase}(?:{joiner}?{phrase})*")

    @cached_property
    def _openings(self) -> tuple[str, ...]:
        return tuple(_plain(opening, ":") for opening in self.credits)


def load_gates(templates: Path | None = None) -> Gates:
    """Read ``asr_gates.yaml`` from the user's templates folder, else the shipped one.

    Raises:
        MerrError: the file is missing, or says something that cannot be.
    """
    return load_model(Gates, TEMPLATE, templates)


def over(value: float | None, limit: float) -> bool:
    """Whether a value that is known is larger, rounded as it is stored."""
    return value is not None and rounded(value) > limit


def under(value: float | None, limit: float) -> bool:
    """Whether a value that is known is smaller, rounded as it is stored."""
    return value is not None and rounded(value) < limit


def repeats(units: list[str], size: int) -> int:
    """How often the same ``size`` units come in a row, at most."""
    most = 1 if len(units) >= size else 0
    for start in range(size):  # groups of that size, from each place that they can begin at
        groups = [tuple(units[i : i + size]) for i in range(start, len(units) - size + 1, size)]
        most = max([most, *_run_lengths(groups)])
    return most


def _run_lengths(groups: list[tuple[str, ...]]) -> Iterable[int]:
    length = 1
    for before, after in pairwise(groups):
        length = length + 1 if before == after else 1
        yield length


def _per_second(count: int, seconds: float) -> float | None:
    return count / seconds if seconds > 0 else None


def _any_of(texts: Iterable[str]) -> str:
    longest_first = sorted(map(_plain, texts), key=len, reverse=True)
    return f"(?:{'|'.join(map(re.escape, longest_first))})"


def _plain(text: str, kept: str = "") -> str:
    """Letters and digits alone, and the signs that are ``kept``, in one case and one form."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in folded if c in kept or unicodedata.category(c)[0] in "LNM")
