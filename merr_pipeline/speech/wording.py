"""Numbers of a voice to words, by the tables of `tone_table`. Pure functions over measures."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from merr_pipeline.schema import Row
from merr_pipeline.speech.tone_table import (
    AROUSAL,
    Arousal,
    Feature,
    Group,
    Sentence,
    Step,
    ToneWords,
    placeholders,
)
from merr_pipeline.stage import rounded

Measures = Mapping[str, float | None]


@dataclass(frozen=True)
class Heard:
    """One voice: what was measured, what limits it, and the groups that it belongs to."""

    measures: Measures
    flags: Sequence[str]
    group: Group


def pitch_level_st(f0_median_hz: float | None, words: ToneWords) -> float | None:
    """Semitones from the usual pitch of the register; None between the registers."""
    register = words.register_of(f0_median_hz)
    if not f0_median_hz or register is None or register.reference_hz is None:
        return None
    return 12 * (math.log2(f0_median_hz) - math.log2(register.reference_hz))


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


def describe(voice: Heard, words: ToneWords) -> list[Row]:
    """What can be said, in the order of the file: ``feature, word, value, unit``."""
    found, measures = [], voice.measures
    for name, feature in words.features.items():
        word = None
        if is_measured(name, voice, words):
            word = _feature_word(feature, words.steps(name, voice.group), measures)
        if word is not None:
            value = measures[feature.shows or feature.measure]
            found.append({"feature": name, "word": word, "value": value, "unit": feature.unit})
    return found


def is_measured(name: str, voice: Heard, words: ToneWords) -> bool:
    """Whether a feature (or ``arousal``) was measured well enough to be named."""
    if name == AROUSAL:
        return voice.measures[AROUSAL] is not None
    feature = words.features[name]
    if voice.measures[feature.measure] is None:
        return False
    if any(flag in voice.flags for flag in feature.not_with):
        return False
    return not lacks(voice.measures, feature.at_least)


def _feature_word(feature: Feature, steps: Sequence[Step], measures: Measures) -> str | None:
    word = word_for(measures[feature.measure], steps)
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
    return sentence.joined_by.join(parts(found, sentence))


def parts(found: Mapping[str, str], sentence: Sentence) -> list[str]:
    """The parts of the sentence fragment for which there are words."""
    return [said for part in sentence.parts if (said := _fill(part, found))]


def _fill(part: str, found: Mapping[str, str]) -> str:
    """The part with its words; empty when one outside the brackets is missing."""

    def optional(match: re.Match[str]) -> str:
        text = match.group(1)
        return text if placeholders(text) <= set(found) else ""

    kept = re.sub(r"\[([^\]]*)\]", optional, part)
    if not placeholders(kept) <= set(found):
        return ""
    return re.sub(r"\{(\w+)\}", lambda match: found[match.group(1)], kept)


def cautions_for(measures: Measures, flags: Collection[str], words: ToneWords) -> list[str]:
    """The cautions of the voice's flags, in the order of the file."""
    little = lacks(measures, {"voiced_s": words.little_voiced_s})
    raised: set[Any] = {*flags, *(["little_voiced"] if little else [])}
    return [text for flag, text in words.cautions.items() if flag in raised]
