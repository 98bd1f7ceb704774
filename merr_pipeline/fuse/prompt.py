"""What a language model is told of a clip: ``fine_prompt.yaml``, and the evidence as data.

Nothing of the clip but its numbered evidence gets into a prompt: no file name, no opinion of the
rules, and of a manifest only words and their language, as items of that list. The evidence stands
in one block, as JSON in which every letter that could end the block, open a tag or steer a chat
template is escaped; so words that were said in a clip stay data, whatever they say.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict

from merr_pipeline.emotion.rules import Rules
from merr_pipeline.emotion.spaces import LabelSpace
from merr_pipeline.fuse.evidence import Item, Kind
from merr_pipeline.fuse.grounds import Grounds
from merr_pipeline.llm.messages import Message, as_plain, system, user
from merr_pipeline.schema import MerrError
from merr_pipeline.templates import load_model

TEMPLATE = "fine_prompt.yaml"

_JINJA = ImmutableSandboxedEnvironment(undefined=StrictUndefined)


class Sentences(BaseModel):
    """Kinds of sentences that the checker reads, with and without a given label."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    blind: tuple[str, ...]
    told: tuple[str, ...]


class FinePrompt(BaseModel):
    """The whole of ``fine_prompt.yaml``; ``sha256`` is its content hash, for fingerprints."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: str
    second: str
    user: str
    sentences: Sentences
    sha256: str


class Prompter:
    """Makes the messages; what is the same for all clips is rendered once.

    Raises:
        MerrError: the template names something that there is not, or is no Jinja2.
    """

    def __init__(
        self, prompt: FinePrompt, grounds: Grounds, space: LabelSpace, max_words: int
    ) -> None:
        self._phrases = grounds.phrases
        table, common = grounds.rules.table, {"labels": space.labels, "max_words": max_words}
        common["guide"] = list(_guide(space, grounds))
        common["by_speech"] = sorted(c for c, unit in table.units.items() if unit.moved_by_speech)
        try:
            self._system = {
                told: _render(prompt.system, **common, told=told, sentences=sentences)
                for told, sentences in (
                    (False, prompt.sentences.blind),
                    (True, prompt.sentences.told),
                )
            }
            self._second = _render(prompt.second, **common, told=False, sentences=())
            self._user = _JINJA.from_string(prompt.user)
            self._try_user()
        except (TemplateError, ValueError) as error:
            raise MerrError(f"template {TEMPLATE} is wrong: {error}") from error

    def reasoning(self, items: Sequence[Item], seed: str, given: str | None) -> tuple[Message, ...]:
        """Asks for the fine text; ``given`` is the label that the model is told, if any.

        ``seed`` is the clip's sha256 and chooses among synonyms.
        """
        told = self._evidence_and(given, self._listed(items, seed))
        return system(self._system[given is not None]), user(told)

    def second_opinion(self, items: Sequence[Item], seed: str) -> tuple[Message, ...]:
        """Asks for a label alone; never told one."""
        return system(self._second), user(self._evidence_and(None, self._listed(items, seed)))

    def _try_user(self) -> None:
        """So that what is wrong with it is told at the start, and not clip by clip."""
        for given in (None, "a label"):
            shown = self._evidence_and(given, "[the evidence]").count("[the evidence]")
            if shown != 1:
                raise ValueError(f"user shows the evidence {shown} times; once is wanted")

    def _evidence_and(self, given: str | None, evidence: str) -> str:
        shown = None if given is None else as_data(given)
        return self._user.render(evidence=evidence, given=shown).strip()

    def _listed(self, items: Sequence[Item], seed: str) -> str:
        """The evidence as a JSON array, one item on each line."""
        return "[\n" + ",\n".join(as_data(self._shown(item, seed)) for item in items) + "\n]"

    def _shown(self, item: Item, seed: str) -> dict[str, Any]:
        """What is told of one item: its text has value, scale and time, where it has any."""
        shown: dict[str, Any] = {"id": item.id, "about": item.modality, "text": item.text}
        if item.kind == Kind.ACTION_UNIT:
            adverb = self._phrases.adverb(item.value or 0.0, item.scale or "")
            shown["say"] = self._phrases.strict_phrase(item.key, seed, "first", adverb)
        if item.reliability is not None:
            shown["reliability"] = item.reliability
        if not item.is_sure:
            shown["doubt"] = True
        return shown


def as_data(value: Any) -> str:
    """JSON on one line that no reader can take for the end of its block or for a control token.

    It reads back as what it was: `as_plain` writes escapes of JSON.
    """
    return as_plain(json.dumps(value, ensure_ascii=False))


def load_fine_prompt(templates: Path | None = None) -> FinePrompt:
    """Read ``fine_prompt.yaml`` from the user's templates folder, else the shipped one.

    Raises:
        MerrError: the file is missing, or says something that cannot be.
    """
    return load_model(FinePrompt, TEMPLATE, templates)


def _render(text: str, **known: Any) -> str:
    return _JINJA.from_string(text).render(known).strip()


def _guide(space: LabelSpace, grounds: Grounds) -> Iterator[dict[str, Any]]:
    """What speaks for and against each label, by the rules that the checker goes by too."""
    rules: Rules = grounds.rules
    for label in space.labels:
        yield {
            "label": label,
            "noun": grounds.wording.emotion(label),
            "face": sorted(rules.support(label)),
            "against": sorted(rules.against(label)),
            "arousal": [word for word in ("low", "medium", "high") if word in rules.arousal(label)],
            "still": label == rules.neutral.label,
        }
