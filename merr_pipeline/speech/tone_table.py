"""The tables of ``annotation_templates/tone_words.yaml``: words, edges, and when to abstain.

Everything is checked when the file is read; a fault is refused, and named.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from merr_pipeline.schema import MerrError
from merr_pipeline.templates import Template

AROUSAL = "arousal"  # the one word that no feature of the file gives

GROUPS = ("speaker", "register", "language")
"""What edges of a corpus may differ by: who speaks, the pitch class, the language."""

Group = Mapping[str, str | None]
"""What is known of a voice, by the names of `GROUPS`."""

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

    name: str
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


class Adaptive(_Table):
    """How edges of a corpus are made for one feature: percentiles, and for which groups."""

    quantiles: tuple[float, ...]
    by: tuple[tuple[Literal["speaker", "register", "language"], ...], ...]


class Corpus(_Table):
    """Which features may have edges of a corpus, and from how many voices on."""

    least_clips: int = Field(gt=0)
    features: dict[str, Adaptive]


class EdgeRow(_Table):
    """Edges between the words of a feature, for the voices of one group."""

    group: dict[Literal["speaker", "register", "language"], str]
    clips: int
    below: tuple[float, ...]

    def holds(self, group: Group) -> bool:
        """Whether a voice belongs to the group; everybody does to the one without names."""
        return all(group.get(name) == value for name, value in self.group.items())

    def named(self) -> str:
        """``speaker=anna`` or ``everybody``."""
        return ", ".join(f"{k}={v}" for k, v in self.group.items()) or "everybody"


class ToneWords(_Table):
    """The whole file; a fault in it is refused, and named, when it is read."""

    version: int
    too_little: dict[str, float]
    least_parts: int = Field(ge=1)
    registers: tuple[Register, ...] = Field(min_length=1)
    tempo_from_text: TextTempo
    arousal: Arousal
    features: dict[str, Feature]
    sentence: Sentence
    little_voiced_s: float
    cautions: dict[str, str]
    corpus: Corpus
    edges: dict[str, tuple[EdgeRow, ...]] = {}

    def shipped_steps(self, name: str) -> tuple[Step, ...]:
        """The words of a feature (or of ``arousal``) with their fixed edges."""
        return self.arousal.steps if name == AROUSAL else self.features[name].steps

    def steps(self, name: str, group: Group) -> tuple[Step, ...]:
        """The words of a feature, with the edges that hold for a voice of this group."""
        fixed = self.shipped_steps(name)
        row = next((row for row in self.edges.get(name, ()) if row.holds(group)), None)
        if row is None:
            return fixed
        edges = [*row.below, math.inf]
        return tuple(Step(below=e, word=s.word) for e, s in zip(edges, fixed, strict=True))

    def words_of(self, name: str) -> frozenset[str]:
        """Every word that a feature (or ``arousal``) can get."""
        words = {step.word for step in self.shipped_steps(name) if step.word is not None}
        refined = () if name == AROUSAL else self.features[name].refine
        return frozenset(words | {refinement.becomes for refinement in refined})

    def measure_of(self, name: str) -> str:
        """The measure that a feature judges."""
        return AROUSAL if name == AROUSAL else self.features[name].measure

    def groups_used(self) -> frozenset[str]:
        """What the edges of the file differ by."""
        return frozenset(name for rows in self.edges.values() for row in rows for name in row.group)

    def register_of(self, f0_median_hz: float | None) -> Register | None:
        """The register in which a voice lies."""
        if not f0_median_hz:
            return None
        return next((r for r in self.registers if f0_median_hz < r.below_hz), None)

    @model_validator(mode="after")
    def _names_exist(self) -> ToneWords:
        used = set(self.too_little)
        for term in self.arousal.terms:
            used |= {term.measure, *term.at_least}
        for feature in self.features.values():
            used |= {feature.measure, feature.shows or feature.measure, *feature.at_least}
            used |= {refinement.measure for refinement in feature.refine}
        _refuse(used - MEASURES, "no measure of the voice")
        said = {name for part in self.sentence.parts for name in placeholders(part)}
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

    @model_validator(mode="after")
    def _edges_fit_the_words(self) -> ToneWords:
        names = {*self.features, AROUSAL}
        _refuse({*self.corpus.features, *self.edges} - names, "no feature")
        for name, adaptive in self.corpus.features.items():
            _check_edges(name, adaptive.quantiles, self.shipped_steps(name))
        for name, rows in self.edges.items():
            for row in rows:
                _check_edges(name, row.below, self.shipped_steps(name))
        return self


def _check_edges(name: str, edges: Sequence[float], steps: Sequence[Step]) -> None:
    if len(edges) != len(steps) - 1 or list(edges) != sorted(set(edges)):
        raise ValueError(f"{name} has {len(steps)} words; its edges are one less, and rise")


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


def placeholders(text: str) -> set[str]:
    """The names in curly brackets."""
    return set(re.findall(r"\{(\w+)\}", text))
