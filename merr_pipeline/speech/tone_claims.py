"""What an audio model may say of a voice, and whether the measures bear it out.

``tone_prompt.yaml`` holds the questions, the words to answer with and, for each, the measured words
that agree with it. Pure functions; the stage is `tone_model`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from merr_pipeline.llm.prompts import render
from merr_pipeline.schema import MerrError, Row
from merr_pipeline.speech.tone_table import AROUSAL, ToneWords
from merr_pipeline.templates import load_model

TEMPLATE = "tone_prompt.yaml"
NOT_AUDIBLE = "not audible"
NONVERBAL = "nonverbal"


class Verdict(StrEnum):
    """What the measures say of a claim."""

    AGREES = "agrees"
    ADJACENT = "adjacent"  # the next word up or down
    CONTRADICTS = "contradicts"
    NOT_MEASURED = "not_measured"


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rung(_Entry):
    """Words of the model's and measured words that mean the same."""

    say: tuple[str, ...] = Field(min_length=1)
    measured: tuple[str, ...] = Field(min_length=1, alias="is")


class ClaimKind(_Entry):
    """One thing that the model is asked about the voice."""

    feature: str
    asks: str
    rungs: tuple[Rung, ...] = Field(min_length=1)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The words to answer with, but for "not audible"."""
        return tuple(word for rung in self.rungs for word in rung.say)

    def verdict(self, said: str, measured: str | None) -> Verdict:
        """Whether what was measured bears out what the model says."""
        if measured is None:
            return Verdict.NOT_MEASURED
        claimed = next(n for n, rung in enumerate(self.rungs) if said in rung.say)
        found = next(n for n, rung in enumerate(self.rungs) if measured in rung.measured)
        apart = abs(claimed - found)
        return {0: Verdict.AGREES, 1: Verdict.ADJACENT}.get(apart, Verdict.CONTRADICTS)


class TonePrompt(_Entry):
    """The whole of ``tone_prompt.yaml``; ``sha256`` is its content hash."""

    system: str
    question: str
    claims: dict[str, ClaimKind] = Field(min_length=1)
    nonverbal: tuple[str, ...] = Field(min_length=1)
    background: tuple[str, ...] = Field(min_length=1)
    heard_alone: str = Field(pattern=r"\{word\}")
    sha256: str

    def render(self, text: str) -> str:
        """One of the file's texts, with the words that the model may use."""
        return render(
            text,
            TEMPLATE,
            claims=self.claims,
            nonverbal=self.nonverbal,
            background=self.background,
        )


def load_tone_prompt(words: ToneWords, templates: Path | None = None) -> TonePrompt:
    """Read ``tone_prompt.yaml`` from the user's templates folder, else the shipped one.

    Raises:
        MerrError: the file is missing, says something that cannot be, or does not fit the tables
            of ``tone_words.yaml``.
    """
    prompt = load_model(TonePrompt, TEMPLATE, templates)
    for name, kind in prompt.claims.items():
        if kind.feature not in {*words.features, AROUSAL}:
            raise MerrError(f"template {TEMPLATE} is wrong: {name}: {kind.feature} is no feature")
        known = {word for rung in kind.rungs for word in rung.measured}
        if strange := sorted(words.words_of(kind.feature) - known):
            raise MerrError(
                f"template {TEMPLATE} is wrong: {name}: no rung has {', '.join(strange)}, "
                "which tone_words.yaml may say"
            )
    for text in (prompt.system, prompt.question):
        prompt.render(text)
    return prompt


def answer_model(prompt: TonePrompt) -> type[BaseModel]:
    """What the model must answer: for each thing one of its words, so that no other text comes in.

    A capital letter or an underscore is no fault.
    """
    fields: dict[str, Any] = {
        name: _one_of(*kind.vocabulary, NOT_AUDIBLE) for name, kind in prompt.claims.items()
    }
    fields[NONVERBAL] = _some_of(*prompt.nonverbal)
    fields["background"] = _some_of(*prompt.background)
    fields["valence_hint"] = _one_of("pleasant", "neither", "unpleasant") | None
    fields["confidence"] = _one_of("low", "medium", "high")
    required: dict[str, Any] = {name: (kind, ...) for name, kind in fields.items()}
    return create_model("ToneAnswer", __doc__="How the voice sounds.", **required)


def _one_of(*words: str) -> Any:
    return Annotated[Literal[words], BeforeValidator(_plain)]


def _some_of(*words: str) -> Any:
    several: Any = list
    return several[_one_of(*words)]


def _plain(word: Any) -> Any:
    return word.strip().lower().replace("_", " ") if isinstance(word, str) else word


@dataclass(frozen=True)
class Judged:
    """A claim with what was measured and what came of it."""

    feature: str  # as tone_words.yaml calls it
    said: str
    measured: str | None
    verdict: Verdict

    def row(self) -> Row:
        """As ``schema.TONE`` has it."""
        return {
            "feature": self.feature,
            "claimed": self.said,
            "measured": self.measured,
            "verdict": self.verdict.value,
        }


def judge(
    answer: Mapping[str, Any], measured: Mapping[str, str], prompt: TonePrompt
) -> Sequence[Judged]:
    """Every claim of an answer; ``measured`` are words by feature, where there are any."""
    judged = []
    for name, kind in prompt.claims.items():
        if answer[name] != NOT_AUDIBLE:
            word = measured.get(kind.feature)
            verdict = kind.verdict(answer[name], word)
            judged.append(Judged(kind.feature, answer[name], word, verdict))
    return judged
