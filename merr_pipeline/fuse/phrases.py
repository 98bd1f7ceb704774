"""Small pieces of English, chosen by hash so that the same clip always reads the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from merr_pipeline.emotion.facs import ActionUnitTable, Code
from merr_pipeline.schema import MerrError
from merr_pipeline.templates import load_template

TEMPLATE = "au_phrases.yaml"


def pick(pool: Sequence[str], seed: str, slot: str) -> str:
    """One entry of a pool: always the same one for the same seed (a clip's sha256) and slot."""
    number = int.from_bytes(hashlib.sha256(f"{seed}:{slot}".encode()).digest()[:8], "big")
    return pool[number % len(pool)]


def listed(parts: Sequence[str]) -> str:
    """``"a, b and c"``."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def capitalised(text: str) -> str:
    """The text with its first letter large; ``str.capitalize`` would make the rest small."""
    return text[:1].upper() + text[1:]


def with_article(phrase: str) -> str:
    """``"a raised pitch"``, ``"an even tempo"``; by letter, which is right for our word lists."""
    return f"{'an' if phrase[:1].lower() in 'aeiou' else 'a'} {phrase}"


def definite(phrase: str) -> str:
    """``"a raised upper lip"`` and ``"raised cheeks"`` with "the" in front."""
    for article in ("a ", "an "):
        phrase = phrase.removeprefix(article)
    return f"the {phrase}"


def is_singular(phrase: str) -> bool:
    """Whether a noun phrase of the pools takes a singular verb."""
    return phrase.startswith(("a ", "an "))


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Degree(_Entry):
    """From this value on, this adverb."""

    start: float = Field(alias="from")
    adverb: str


class AuPhrases(_Entry):
    """The whole of ``au_phrases.yaml``."""

    strict: dict[Code, tuple[str, ...]]
    merr: dict[Code, tuple[str, ...]]
    degrees: dict[str, tuple[Degree, ...]]
    sha256: str

    def strict_phrase(self, code: str, seed: str, slot: str, adverb: str = "") -> str:
        """A phrase for grounded text, e.g. ``"slightly lowered brows"``."""
        phrase = pick(self.strict[code], seed, f"{slot}:{code}")
        return phrase.format(degree=f"{adverb} " if adverb else "")

    def merr_phrase(self, code: str, seed: str) -> str:
        """A phrase in the manner of MERR's visual clues."""
        return pick(self.merr[code], seed, f"merr:{code}")

    def adverb(self, value: float, scale: str) -> str:
        """How strong the value is; empty where the scale does not say or the value is ordinary."""
        reached = [d.adverb for d in self.degrees.get(scale, ()) if value >= d.start]
        return reached[-1] if reached else ""


def load_au_phrases(table: ActionUnitTable, templates: Path | None = None) -> AuPhrases:
    """Read ``au_phrases.yaml`` from the user's templates folder, else the shipped one.

    Raises:
        MerrError: the file is missing or wrong, names an unknown Action Unit, or has no phrase for
            one that is emotion-relevant.
    """
    template = load_template(TEMPLATE, templates)
    try:
        phrases = AuPhrases.model_validate({**template.data, "sha256": template.sha256})
        wanted = {code for code, unit in table.units.items() if unit.emotion_relevant}
        for name, pool in (("strict", phrases.strict), ("merr", phrases.merr)):
            _check_pool(name, pool, wanted)
            table.check_codes(pool, name)
    except (ValidationError, TypeError, ValueError) as error:
        raise MerrError(f"template {TEMPLATE} is wrong: {error}") from error
    return phrases


def _check_pool(name: str, pool: Mapping[str, Sequence[str]], wanted: set[str]) -> None:
    if lacking := sorted(code for code in wanted if not pool.get(code)):
        raise ValueError(f"{name} has no phrase for {', '.join(lacking)}")
