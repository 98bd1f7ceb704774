"""What a vision model is asked, and what it may not answer: ``scene_prompt.yaml``."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from merr_pipeline.llm.prompts import render
from merr_pipeline.schema import Reason
from merr_pipeline.stage import NotOk, fail
from merr_pipeline.templates import load_model

TEMPLATE = "scene_prompt.yaml"

RUN_OF_SUBTITLE = 4
"""So many words of a subtitle in a row, in another field, are a quotation of it."""


class SceneAnswer(BaseModel):
    """What is to be seen in the picture."""

    people: str
    place: str
    posture: str
    gestures: list[str]
    objects: list[str]
    scene: str
    subtitle_text: str | None

    def fields(self) -> Iterator[tuple[str, str]]:
        """Each text about the picture with the name of its field; not the subtitle."""
        for name in ("people", "place", "posture", "scene"):
            yield name, getattr(self, name)
        yield from (("gestures", gesture) for gesture in self.gestures)
        yield from (("objects", thing) for thing in self.objects)


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Captions(_Entry):
    """What stands before each picture."""

    moment: str
    face: str
    earlier: str
    later: str


class Limits(_Entry):
    """Words of each field, at most; ``entries`` of gestures or objects."""

    people: int = Field(gt=0)
    place: int = Field(gt=0)
    posture: int = Field(gt=0)
    gestures: int = Field(gt=0)
    objects: int = Field(gt=0)
    scene: int = Field(gt=0)
    subtitle_text: int = Field(gt=0)
    entries: int = Field(gt=0)


class ScenePrompt(_Entry):
    """The whole of ``scene_prompt.yaml``; ``sha256`` is its content hash."""

    system: str
    captions: Captions
    question: str
    nothing: tuple[str, ...] = Field(min_length=1)
    limits: Limits
    refused: dict[str, tuple[str, ...]]
    advice: str
    capitals_allowed: frozenset[str]
    starts_allowed: frozenset[str]
    verbs_of_names: frozenset[str]
    sha256: str

    def render(self, text: str, **values: object) -> str:
        """One of the file's texts, with all that a text may want."""
        limits = self.limits.model_dump()
        return render(text, TEMPLATE, limits=limits, nothing=self.nothing, **values)

    def caption(self, what: str, number: int, offset_s: float = 0.0) -> str:
        """What stands before the ``number``-th picture."""
        name = what if what != "other" else ("earlier" if offset_s < 0 else "later")
        text: str = getattr(self.captions, name)
        return self.render(text, number=number, seconds=f"{abs(offset_s):.1f}")

    def likely_answer(self) -> SceneAnswer:
        """An answer of made-up words, in all half as long as the limits allow; no subtitle."""

        def words(most: int) -> str:
            return " ".join(["thing"] * _half(most))

        limits = self.limits
        return SceneAnswer(
            people=words(limits.people),
            place=words(limits.place),
            posture=words(limits.posture),
            gestures=_differing(words(limits.gestures), limits.entries),
            objects=_differing(words(limits.objects), limits.entries),
            scene=words(limits.scene),
            subtitle_text=None,
        )

    def seen(self, text: str) -> str | None:
        """A text on one line that can be quoted; None where it says that nothing is to be seen."""
        plain = " ".join(re.sub(r'["“”„«»]', "'", text).split())
        return None if plain.lower().rstrip(".") in {"", *self.nothing} else plain

    @cached_property
    def patterns(self) -> Mapping[str, re.Pattern[str]]:
        """What is refused, by what it is called."""
        return {what: _any_of(words) for what, words in self.refused.items()}

    def what_is_wrong(self, answer: SceneAnswer) -> NotOk | None:
        """Why an answer cannot be kept, in words that tell the model how to mend it."""
        told = list(_quotes_the_subtitle(answer))
        for name, text in answer.fields():
            told += self._not_objective(name, text)
        if told:
            wrong = "; ".join(dict.fromkeys(told))
            return fail(Reason.NOT_OBJECTIVE, f"{wrong}. {self.advice.strip()}")
        if too_long := list(self._too_long(answer)):
            return fail(Reason.ANSWER_INVALID, "; ".join(too_long))
        if self.seen(answer.scene) is None:
            return fail(Reason.ANSWER_INVALID, "scene is empty")
        return None

    def _not_objective(self, name: str, text: str) -> Iterator[str]:
        for what, pattern in self.patterns.items():
            for found in pattern.findall(text):
                yield f"{name}: {found.lower()!r} ({what})"
        for found in self._names(text):
            yield f"{name}: {found!r} (name)"
        if not all(map(_is_latin, text)):
            yield f"{name}: not in English"

    def _names(self, text: str) -> Iterator[str]:
        """Words written with capitals where plain words are not; signs are quoted as they are."""
        text = re.sub(r"""(?<!\w)(['"‘“]).+?['"’”](?!\w)""", "'…'", text)
        inside = re.findall(r"(?<=[\w,;'-] )[A-Z][a-z]+\b", text)
        several = re.findall(r"\b[A-Z]\w*[A-Z]\w*\b", text)
        yield from (word for word in (*inside, *several) if word not in self.capitals_allowed)
        for word, verb in re.findall(r"(?:^|[.!?]\s+)([A-Z][a-z]+)\s+([a-z]+)\b", text):
            if verb in self.verbs_of_names and word.lower() not in self.starts_allowed:
                yield word

    def _too_long(self, answer: SceneAnswer) -> Iterator[str]:
        texts = [*answer.fields(), ("subtitle_text", answer.subtitle_text or "")]
        for name, text in texts:
            most, words = getattr(self.limits, name), len(text.split())
            if words > most:
                yield f"{name} has {words} words, of {most} at most"
        for name in ("gestures", "objects"):
            count = len(getattr(answer, name))
            if count > self.limits.entries:
                yield f"{name} has {count} entries, of {self.limits.entries} at most"


def _any_of(words: tuple[str, ...]) -> re.Pattern[str]:
    """One of these words or rows of words, whole; ``*`` stands for the rest of a word."""
    forms = (re.escape(word).replace(r"\*", r"\w*").replace(r"\ ", r"[\s-]+") for word in words)
    return re.compile(rf"(?<![\w'])(?:{'|'.join(forms)})(?!\w)", re.IGNORECASE)


def _is_latin(letter: str) -> bool:
    return not letter.isalpha() or unicodedata.name(letter, "").startswith("LATIN")


def _quotes_the_subtitle(answer: SceneAnswer) -> Iterator[str]:
    subtitle = f" {' '.join(_words(answer.subtitle_text or ''))} "
    for name, text in answer.fields():
        words = _words(text)
        for start in range(len(words) - RUN_OF_SUBTITLE + 1):
            run = " ".join(words[start : start + RUN_OF_SUBTITLE])
            if f" {run} " in subtitle:
                yield f"{name}: {run!r} (quoted from the subtitle)"


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def load_scene_prompt(templates: Path | None = None) -> ScenePrompt:
    """Read ``scene_prompt.yaml`` from the user's templates folder, else the shipped one.

    Raises:
        MerrError: the file is missing, or says something that cannot be.
    """
    prompt = load_model(ScenePrompt, TEMPLATE, templates)
    for text in (prompt.system, prompt.question):
        prompt.render(text)
    for what, offset_s in (("moment", 0.0), ("face", 0.0), ("other", -1.0), ("other", 1.0)):
        prompt.caption(what, 1, offset_s)
    return prompt


def _half(most: int) -> int:
    return max(1, most // 2)


def _differing(text: str, most: int) -> list[str]:
    return [f"{text} {number}" for number in range(_half(most))]
