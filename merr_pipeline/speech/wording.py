"""Numbers of a voice to words, by the tables of ``annotation_templates/tone_words.yaml``.

Pure functions over measures; what may be said, and from which edge on, is in the file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from merr_pipeline.schema import MerrError, Row
from merr_pipeline.stage import rounded
from merr_pipeline.templates import Template

Measures = Mapping[str, float | None]

MEASURES = frozenset(
    {
        *("pitch_st", "f0_median_hz", "f0_sd_st", "contour_st", "ending_st", "voiced_s"),
        *("rate_syll_s", "effort_db", "hnr_db", "snr_db", "speech_s"),
        *("pause_count", "longest_pause_s", "arousal"),
    }
)
"""What the file may refer to; each a number or None."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Step(_Table):
    """A word for what lies below an edge; the last step of a table has no edge."""

    below: float = math.inf
    word: str | None


class Register(_Table):
    """A range of median pitch, and the pitch that is usual in it (None: cannot be told)."""

    below_hz: float = math.inf
    reference_hz: float | None


class Refinement(_Table):
    """A word that a second measure makes more precise; ``above`` and ``below`` are not reached."""

    word: str
    measure: str
    above: float = -math.inf
    below: float = math.inf
    becomes: str


class Feature(_Table):
    """One thing to say of a voice, and when to abstain from it."""

    measure: str
    shows: str | None = None
    unit: str
    at_least: dict[str, float] = {}
    not_with: tuple[str, ...] = ()
    steps: tuple[Step, ...] = Field(min_length=1)
    refine: tuple[Refinement, ...] = ()


class ArousalTerm(_Table):
    """A measure's share in arousal."""

    measure: str
    weight: float = Field(gt=0)
    middle: float
    spread: float = Field(gt=0)
    at_least: dict[str, float] = {}


class Arousal(_Table):
    """How arousal is computed and named."""

    not_with: tuple[str, ...] = ()
    clip: float
    least_weight: float
    terms: tuple[ArousalTerm, ...]
    steps: tuple[Step, ...] = Field(min_length=1)


class TextTempo(_Table):
    """When the syllables of a text are believed to be those that were spoken."""

    from_syll_s: float
    to_syll_s: float
    least_of_heard: float
    most_of_heard: float

    def believes(self, text_rate: float, heard_rate: float | None) -> bool:
        """Whether a rate from text is a rate of speech, and near the rate heard (if any)."""
        if not self.from_syll_s <= text_rate <= self.to_syll_s:
            return False
        if heard_rate is None:
            return True
        return self.least_of_heard * heard_rate <= text_rate <= self.most_of_heard * heard_rate


class Sentence(_Table):
    """The parts of the sentence fragment, in order."""

    joined_by: str
    parts: tuple[str, ...]


class ToneWords(_Table):
    """The whole file; a fault in it is refused, and named, when it is read."""

    version: int
    too_little: dict[str, float]
    registers: tuple[Register, ...] = Field(min_length=1)
    tempo_from_text: TextTempo
    arousal: Arousal
    features: dict[str, Feature]
    sentence: Sentence
    little_voiced_s: float
    cautions: dict[str, str]

    @model_validator(mode="after")
    def _names_exist(self) -> ToneWords:
        used = set(self.too_little)
        for term in self.arousal.terms:
            used |= {term.measure, *term.at_least}
        for feature in self.features.values():
            used |= {feature.measure, feature.shows or feature.measure, *feature.at_least}
            used |= {refinement.measure for refinement in feature.refine}
        _refuse(used - MEASURES, "no measure of the voice")
        said = {name for part in self.sentence.parts for name in _placeholders(part)}
        _refuse(said - {*self.features, "arousal"}, "no feature")
        flags = {flag for feature in self.features.values() for flag in feature.not_with}
        flags |= set(self.arousal.not_with)
        _refuse(flags - set(self.cautions), "a flag without a caution")
        return self

    @model_validator(mode="after")
    def _edges_rise(self) -> ToneWords:
        tables = {name: feature.steps for name, feature in self.features.items()}
        for name, steps in {**tables, "arousal": self.arousal.steps}.items():
            edges = [step.below for step in steps]
            if edges != sorted(set(edges)) or edges[-1] != math.inf:
                raise ValueError(f"steps of {name} must rise, and the last must have no edge")
        return self


def _refuse(names: Collection[str], what: str) -> None:
    if names:
        raise ValueError(f"{', '.join(sorted(names))}: {what}")


def read_tone_words(template: Template) -> ToneWords:
    """The tables of a ``tone_words.yaml``.

    Raises:
        MerrError: a key is missing, unknown or out of order; the text names it.
    """
    try:
        return ToneWords.model_validate(template.data)
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, item['loc'])) or 'file'}: {item['msg']}" for item in error.errors()
        ]
        raise MerrError(f"template {template.name}: " + "; ".join(faults)) from error


def pitch_level_st(f0_median_hz: float | None, words: ToneWords) -> float | None:
    """Semitones from the usual pitch of the register; None between the registers."""
    if not f0_median_hz:
        return None
    for register in words.registers:
        if f0_median_hz < register.below_hz:
            if register.reference_hz is None:
                return None
            return 12 * (math.log2(f0_median_hz) - math.log2(register.reference_hz))
    return None


def arousal_value(measures: Measures, flags: Collection[str], arousal: Arousal) -> float | None:
    """Vocal arousal, about -1 to 1; None when too little of it was measured, or is not trusted."""
    if any(flag in flags for flag in arousal.not_with):
        return None
    total = weight = 0.0
    for term in arousal.terms:
        value = measures[term.measure]
        if value is not None and not lacks(measures, term.at_least):
            distance = (value - term.middle) / term.spread
            total += term.weight * max(-arousal.clip, min(arousal.clip, distance))
            weight += term.weight
    if weight < arousal.least_weight:
        return None
    return total * sum(term.weight for term in arousal.terms) / weight


def word_for(value: float | None, steps: Sequence[Step]) -> str | None:
    """The word of the first step that the value (rounded to 1e-3) is below."""
    if value is None:
        return None
    exact = rounded(value)
    return next((step.word for step in steps if exact < step.below), None)


def describe(measures: Measures, flags: Collection[str], words: ToneWords) -> list[Row]:
    """What can be said, in the order of the file: ``feature, word, value, unit``."""
    found = []
    for name, feature in words.features.items():
        word = _feature_word(feature, measures, flags)
        if word is not None:
            value = measures[feature.shows or feature.measure]
            found.append({"feature": name, "word": word, "value": value, "unit": feature.unit})
    return found


def _feature_word(feature: Feature, measures: Measures, flags: Collection[str]) -> str | None:
    if any(flag in flags for flag in feature.not_with) or lacks(measures, feature.at_least):
        return None
    word = word_for(measures[feature.measure], feature.steps)
    for refinement in feature.refine:
        second = rounded(measures[refinement.measure])
        fits = second is not None and refinement.above < second < refinement.below
        if word == refinement.word and fits:
            return refinement.becomes
    return word


def lacks(measures: Measures, at_least: Mapping[str, float]) -> bool:
    """Whether a measure is missing or under what is asked of it."""
    values = {name: rounded(measures[name]) for name in at_least}
    return any(values[name] is None or values[name] < least for name, least in at_least.items())


def compose(found: Mapping[str, str], sentence: Sentence) -> str:
    """The sentence fragment from the words per feature."""
    parts = (_fill(part, found) for part in sentence.parts)
    return sentence.joined_by.join(part for part in parts if part)


def _fill(part: str, found: Mapping[str, str]) -> str:
    """The part with its words; empty when one outside the brackets is missing."""

    def optional(match: re.Match[str]) -> str:
        text = match.group(1)
        return text if _placeholders(text) <= set(found) else ""

    kept = re.sub(r"\[([^\]]*)\]", optional, part)
    if not _placeholders(kept) <= set(found):
        return ""
    return re.sub(r"\{(\w+)\}", lambda match: found[match.group(1)], kept)


def _placeholders(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


def cautions_for(measures: Measures, flags: Collection[str], words: ToneWords) -> list[str]:
    """The cautions of the voice's flags, in the order of the file."""
    little = lacks(measures, {"voiced_s": words.little_voiced_s})
    raised: set[Any] = {*flags, *(["little_voiced"] if little else [])}
    return [text for flag, text in words.cautions.items() if flag in raised]
