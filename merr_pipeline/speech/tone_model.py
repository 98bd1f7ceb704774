"""The ``tone`` stage by an audio model: what it hears, as far as the measures do not contradict.

The model hears the sound and nothing else. What was measured stays, whatever the model says; what
nobody measured is kept as heard by a model alone, and said with a doubt. The text is made of our
words, so that nothing of what is spoken can come in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from merr_pipeline import schema
from merr_pipeline.llm.cache import shaping
from merr_pipeline.llm.messages import system, user
from merr_pipeline.llm.questions import Answer, Question
from merr_pipeline.llm.stage import Asks, CallStage
from merr_pipeline.schema import Clip, Reason, Row, Status
from merr_pipeline.settings import Settings
from merr_pipeline.speech.hearing import LONGEST_S, RATE_HZ, sound_for_model
from merr_pipeline.speech.tone import measured_tone, tone_facts
from merr_pipeline.speech.tone_claims import (
    NONVERBAL,
    Verdict,
    answer_model,
    judge,
    load_tone_prompt,
)
from merr_pipeline.speech.tone_table import AROUSAL, read_tone_words
from merr_pipeline.speech.wording import compose
from merr_pipeline.stage import Identity, NotOk, Work, digest, one
from merr_pipeline.templates import load_template

SOURCE = "audio_model"

LISTEN_ALL_THE_SAME = {Reason.SPEECH_UNCERTAIN, Reason.LITTLE_SPEECH}
"""Nothing of the voice is measured, and a model may hear it cry, laugh or sigh."""


class ToneModelStage(CallStage):
    """One question per clip that may hold a voice."""

    name = "tone"
    needs = ("voice", "transcript")
    schema = schema.TONE
    roles = ("audio",)

    def __init__(self, settings: Settings) -> None:
        self._model, self._tempo_from = settings.llm.of("audio"), settings.tone.tempo_from
        template = load_template("tone_words.yaml", settings.templates)
        self._words = read_tone_words(template)
        self._prompt = load_tone_prompt(self._words, settings.templates)
        self._answer = answer_model(self._prompt)
        self._templates = digest([template.sha256, self._prompt.sha256])

    def identity(self) -> Identity:
        """The model and all that it is told; the tables of the measured words."""
        own = {"tempo_from": self._tempo_from, "rate_hz": RATE_HZ, "longest_s": LONGEST_S}
        return Identity(
            stage=self.name,
            version=1,
            tool="openai-compatible server",
            tool_version=str(self._words.version),
            model=self._model.model or "",
            revision=self._model.revision,
            template=self._templates,
            settings={**shaping(self._model), **own},
        )

    def facts(self, clip: Clip) -> Mapping[str, Any]:
        """As `tone_facts`; the model is told nothing of it."""
        return tone_facts(clip, self._words)

    def questions(self, work: Work) -> Sequence[Question[Any]]:
        """The one question; decodes the sound.

        Raises:
            NotOk: as `tone.measured_tone`, but where a model may hear what nobody could measure.
        """
        self._measured(work)
        sound = sound_for_model(work.clip.path, work.seen["voice"]["segments"] or [])
        messages = (
            system(self._prompt.render(self._prompt.system)),
            user(sound, self._prompt.render(self._prompt.question)),
        )
        return [Question("audio", self.name, messages, self._answer)]

    def row(self, work: Work, answers: Sequence[Answer[Any]]) -> Row:
        """What was measured, what was heard beside it, and what became of each claim.

        Raises:
            NotOk: nothing was measured, and the model heard nothing but speech.
        """
        said = answers[0].value.model_dump()
        measured, why_not = self._measured(work)
        claims = judge(said, _words_in(measured), self._prompt)
        alone = {
            claim.feature: claim.said
            for claim in claims
            if claim.verdict == Verdict.NOT_MEASURED and why_not is None
        }
        sounds = [sound for sound in self._prompt.nonverbal if sound in said[NONVERBAL]]
        heard = {
            "claims": [claim.row() for claim in claims],
            "background": [what for what in self._prompt.background if what in said["background"]],
            "valence_hint": said["valence_hint"],
            "confidence": said["confidence"],
        }
        if why_not is not None and not sounds:
            why_not.payload |= heard
            raise why_not
        return {
            **measured,
            "tone": self._text(_words_in(measured), alone, sounds),
            "tone_source": SOURCE,
            "words": self._rows(measured["words"], alone, sounds),
            "arousal_word": alone.get(AROUSAL, measured["arousal_word"]),
            **heard,
        }

    def likely_answers(self) -> Sequence[BaseModel]:
        """A word for each thing that is asked for, so that what nobody measured is there too."""
        said: Row = {name: kind.vocabulary[0] for name, kind in self._prompt.claims.items()}
        said |= {NONVERBAL: [], "background": [], "valence_hint": None, "confidence": "medium"}
        return [self._answer.model_validate(said)]

    async def ask_one(self, work: Work, door: Asks) -> Row:
        """As `CallStage.ask_one`; numbers that were measured stay, whatever comes of it."""
        row = await super().ask_one(work, door)
        return row if row["status"] == Status.OK else {**one(self._numbers, work), **row}

    def _numbers(self, work: Work) -> Row:
        measured, _ = self._measured(work)
        return {name: measured[name] for name in _NUMBERS}

    def _measured(self, work: Work) -> tuple[Row, NotOk | None]:
        """The row by measures alone; where there is none but a model may hear more, why."""
        try:
            return measured_tone(work, self._words, self._tempo_from), None
        except NotOk as ended:
            if ended.reason not in LISTEN_ALL_THE_SAME:
                raise
            return _NOTHING_MEASURED, ended

    def _text(
        self, measured: Mapping[str, str], alone: Mapping[str, str], sounds: Sequence[str]
    ) -> str:
        """The sentence fragment; what a model alone heard is said with a doubt."""
        doubted = {feature: self._doubted(word) for feature, word in alone.items()}
        voice = compose({**measured, **doubted}, self._words.sentence)
        noise = self._doubted(_listed(sounds)) if sounds else ""
        return self._words.sentence.joined_by.join(filter(None, (voice, noise)))

    def _doubted(self, word: str) -> str:
        return self._prompt.heard_alone.format(word=word)

    def _rows(
        self, measured: Sequence[Row], alone: Mapping[str, str], sounds: Sequence[str]
    ) -> list[Row]:
        """Words in the order of ``tone_words.yaml``, then sounds; arousal has its own column."""
        by_feature = {row["feature"]: {**row, "reliability": None} for row in measured}
        by_feature |= {feature: _heard(feature, word) for feature, word in alone.items()}
        ordered = [by_feature[name] for name in self._words.features if name in by_feature]
        return [*ordered, *(_heard(NONVERBAL, sound) for sound in sounds)]


_NUMBERS = ("arousal", "rate_syll_s", "rate_source")

_NOTHING_MEASURED: Row = {
    "words": [],
    "arousal_word": None,
    "cautions": [],
    **dict.fromkeys(_NUMBERS),
}


def _heard(feature: str, word: str) -> Row:
    """A word that no measure stands behind."""
    row = {"feature": feature, "word": word, "value": None, "unit": None}
    return {**row, "reliability": "low"}


def _words_in(measured: Row) -> dict[str, str]:
    """Words by feature, with that of the arousal."""
    words = {row["feature"]: row["word"] for row in measured["words"]}
    return words | ({AROUSAL: measured["arousal_word"]} if measured["arousal_word"] else {})


def _listed(sounds: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(sounds[:-1]), sounds[-1])))
