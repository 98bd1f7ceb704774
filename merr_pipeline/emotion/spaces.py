"""Label spaces: the labels that a dataset may use, as ``label_spaces.yaml`` has them.

What is written is looked up in two steps: by the spellings of the space, then by the words of
``emotion_words.yaml``, where a word leads to its base word, and that to a group. The base word or
the group, whichever the space has, is the label::

    load_label_space("merr9").find("Anger ")     # "angry", a spelling of the space
    load_label_space("merr9").find("irritated")  # "angry", a word of the group angry
    load_label_space("sentiment").find("proud")  # "positive"
    load_label_space("mer2023").find("scornful") # None: contempt is no label of that space
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from merr_pipeline.schema import MerrError, Row
from merr_pipeline.stage import digest
from merr_pipeline.templates import load_model, load_template

SPACES_TEMPLATE = "label_spaces.yaml"
WORDS_TEMPLATE = "emotion_words.yaml"


class EmotionWords(BaseModel):
    """The whole of ``emotion_words.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    degrees: frozenset[str]  # words that say how much, which are left out: "a bit", "very"
    groups: dict[str, dict[str, tuple[str, ...]]]  # group -> base word -> its other forms
    sha256: str

    @model_validator(mode="after")
    def _no_word_twice(self) -> Self:
        seen: dict[str, str] = {}
        for words in self.groups.values():
            for base, forms in words.items():
                for written in (base, *forms):
                    if (other := seen.setdefault(plain(written), base)) != base:
                        raise ValueError(f"{written!r} belongs to {other} and to {base}")
        return self

    def bases(self) -> dict[str, tuple[str, str]]:
        """``plain spelling -> (base word, group)``."""
        return {
            plain(written): (base, group)
            for group, words in self.groups.items()
            for base, forms in words.items()
            for written in (base, *forms)
        }

    def without_degrees(self, written: str) -> str:
        """``"slightly annoyed"`` -> ``"annoyed"``; a negation is no degree and stays."""
        text = plain(written)
        for words in sorted(self.degrees, key=lambda words: (-len(words), words)):
            text = text.removeprefix(f"{words} ")
        return text


@dataclass(frozen=True)
class LabelSpace:
    """The labels that a dataset may use, and how people spell them."""

    name: str
    labels: tuple[str, ...]
    spellings: Mapping[str, str]  # plain spelling -> label
    words: EmotionWords
    bases: Mapping[str, tuple[str, str]]  # plain spelling -> base word, group
    sha256: str  # of the two files it was read from

    def find(self, written: str) -> str | None:
        """The label that is meant, or None: ``"Anger "`` -> ``"angry"``."""
        label: str | None = self.place(written)["label"]
        return label

    def place(self, word: str) -> Row:
        """``{"word": "very annoyed", "base": "annoyed", "label": "angry"}``.

        ``base`` is null for a word that is not in the list, ``label`` where the space has none.
        """
        text = plain(word)
        text = text if text in self.spellings else self.words.without_degrees(word)
        base, group = self.bases.get(text, (None, None))
        found = (self.spellings.get(plain(name)) for name in (text, base, group) if name)
        label = next((label for label in found if label), None)
        return {"word": word, "base": base, "label": label}


def load_label_space(name: str, templates: Path | None = None) -> LabelSpace:
    """Read one label space of ``label_spaces.yaml``, with the words of ``emotion_words.yaml``.

    Raises:
        MerrError: there is no such space, one spelling leads to two labels, or one word to two
            base words.
    """
    template = load_template(SPACES_TEMPLATE, templates)
    spaces: dict[str, dict[str, list[str]]] = template.data["spaces"]
    if name not in spaces:
        raise MerrError(
            f"label.space: {name!r} is not in {SPACES_TEMPLATE}.\n"
            f"It has {', '.join(spaces)}; add yours there to use it."
        )
    spellings: dict[str, str] = {}
    for label, aliases in spaces[name].items():
        for written in (label, *aliases):
            if spellings.setdefault(plain(written), label) != label:
                raise MerrError(f"{SPACES_TEMPLATE}, {name}: {written!r} leads to two labels.")
    words = load_model(EmotionWords, WORDS_TEMPLATE, templates)
    sha256 = digest([template.sha256, words.sha256])
    return LabelSpace(name, tuple(spaces[name]), spellings, words, words.bases(), sha256)


def plain(written: str) -> str:
    """Case, hyphens, underscores and blanks left aside."""
    return re.sub(r"[\s_-]+", " ", written).strip().casefold()
