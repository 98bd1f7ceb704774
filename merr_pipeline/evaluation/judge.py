"""Asks language models how far an answer agrees with the reference, as EMER does.

Each judge is asked about the clues once in each order of the two texts, then which emotions each
text names, then about these two lists in each order. All goes through the model door: its cache
makes a second run free, its repair turn shows a judge what is wrong with a malformed reply, its
budget ends it. A clip for which a question fails is named, and does not count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from merr_pipeline.evaluation.answers import ModelAnswer
from merr_pipeline.evaluation.judged import Judged, Verdict
from merr_pipeline.evaluation.truth import TrueClip, Truth
from merr_pipeline.fuse.prompt import as_data
from merr_pipeline.llm.messages import system, user
from merr_pipeline.llm.prompts import render
from merr_pipeline.llm.questions import Question
from merr_pipeline.llm.stage import Asks
from merr_pipeline.schema import Clip, MerrError
from merr_pipeline.settings import Role
from merr_pipeline.stage import NotOk
from merr_pipeline.templates import load_model

TEMPLATE = "judge_prompt.yaml"
LOWEST, HIGHEST = 1, 10

A = TypeVar("A", bound=BaseModel)


class Overlap(BaseModel):
    """A judge's answer about two texts; the reason comes first, so that the score follows it."""

    model_config = ConfigDict(extra="forbid")

    reason: str
    score: int = Field(ge=LOWEST, le=HIGHEST)


class Emotions(BaseModel):
    """The emotions that a text names."""

    model_config = ConfigDict(extra="forbid")

    emotions: list[str]


class Texts(BaseModel):
    """One question."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: str
    user: str


class JudgePrompt(BaseModel):
    """The whole of ``judge_prompt.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int
    clue: Texts
    words: Texts
    label: Texts
    sha256: str


@dataclass(frozen=True)
class _Verdicts:
    """Of one judge about one clip; null where that is not judged."""

    clue: Verdict
    label: Verdict | None
    wordless: bool


class Judge:
    """Asks the models of some roles through a door."""

    def __init__(self, door: Asks, roles: Sequence[Role], prompt: JudgePrompt) -> None:
        self._door, self._roles, self._prompt = door, tuple(roles), prompt

    async def judge(
        self, truth: Truth, answers: Mapping[str, ModelAnswer], models: Sequence[str]
    ) -> Judged:
        """Judge the answers to the task ``reason``, of clips that have a reference text.

        Raises:
            MerrError: a model cannot be asked at all.
            OSError: the disk of the answer cache is full.
        """
        clips = {c: one for c, one in truth.clips.items() if one.reference}
        asked = [(c, role) for c in clips if c in answers for role in self._roles]
        found = await asyncio.gather(
            *(self._one(clips[c], answers[c].answer, role) for c, role in asked),
            return_exceptions=True,
        )
        verdicts: dict[str, dict[str, dict[str, Verdict]]] = {"clue": {}, "label": {}}
        failures: dict[str, str] = {}
        wordless: set[str] = set()
        for (clip_id, role), said in zip(asked, found, strict=True):
            if isinstance(said, NotOk):
                failures.setdefault(clip_id, f"{said.reason}: {said.detail} (judge {role})")
            elif isinstance(said, BaseException):
                raise said
            else:
                verdicts["clue"].setdefault(clip_id, {})[role] = said.clue
                if said.label is not None:
                    verdicts["label"].setdefault(clip_id, {})[role] = said.label
                if said.wordless:
                    wordless.add(clip_id)
        return Judged(
            self._roles,
            tuple(models),
            verdicts,
            failures,
            tuple(c for c in clips if c not in answers),
            tuple(c for c, one in clips.items() if c in answers and one.told),
            tuple(sorted(wordless)),
        )

    async def _one(self, true: TrueClip, answer: str, role: Role) -> _Verdicts:
        reference = true.reference or ""
        clue = await self._both(role, true.clip, "clue", answer, reference)
        if true.told:
            return _Verdicts(clue, None, False)
        said = await self._words(role, true.clip, answer)
        truth = list(true.open_labels) or await self._words(role, true.clip, reference)
        if not truth:
            return _Verdicts(clue, None, True)
        if not said:  # an answer that names no emotion shares none
            return _Verdicts(clue, Verdict((LOWEST, LOWEST)), False)
        return _Verdicts(clue, await self._both(role, true.clip, "label", said, truth), False)

    async def _both(
        self, role: Role, clip: Clip, kind: str, answer: str | list[str], reference: str | list[str]
    ) -> Verdict:
        """The same question in both orders."""
        texts: Texts = getattr(self._prompt, kind)
        first, last = await asyncio.gather(
            self._ask(role, clip, kind, texts, Overlap, one=answer, other=reference),
            self._ask(role, clip, kind, texts, Overlap, one=reference, other=answer),
            return_exceptions=True,
        )
        for said in (first, last):
            if isinstance(said, BaseException):
                raise said
        assert isinstance(first, Overlap)
        assert isinstance(last, Overlap)
        return Verdict((float(first.score), float(last.score)))

    async def _words(self, role: Role, clip: Clip, text: str) -> list[str]:
        said = await self._ask(role, clip, "words", self._prompt.words, Emotions, said=text)
        words = (" ".join(word.split()) for word in said.emotions)
        return [word for word in dict.fromkeys(words) if word]

    async def _ask(
        self, role: Role, clip: Clip, kind: str, texts: Texts, answer: type[A], **shown: object
    ) -> A:
        told = {name: as_data(value) for name, value in shown.items()}
        messages = (
            system(render(texts.system, TEMPLATE)),
            user(render(texts.user, TEMPLATE, **told)),
        )
        question = Question(role, f"judge:{kind}", messages, answer, clip=clip)
        said: A = (await self._door.ask(question)).value
        return said


def load_prompt(templates: Path | None = None) -> JudgePrompt:
    """Read ``judge_prompt.yaml``, and see that its texts can be rendered.

    Raises:
        MerrError: they cannot, or do not show what is to be judged.
    """
    prompt = load_model(JudgePrompt, TEMPLATE, templates)
    for texts, names in (
        (prompt.clue, ("one", "other")),
        (prompt.words, ("said",)),
        (prompt.label, ("one", "other")),
    ):
        shown = render(texts.user, TEMPLATE, **{name: f"[{name}]" for name in names})
        render(texts.system, TEMPLATE)
        if any(shown.count(f"[{name}]") != 1 for name in names):
            raise MerrError(f"template {TEMPLATE} is wrong: user must show each text once.")
    return prompt
