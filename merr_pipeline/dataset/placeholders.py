"""Checks on the sentences of a template, before anything is filled in."""

from __future__ import annotations

import re
from string import Formatter
from typing import Annotated

from pydantic import AfterValidator


def filled_with(*names: str) -> AfterValidator:
    """A sentence that has each of these ``{placeholders}``, and no other."""

    def check(sentence: str) -> str:
        found = {name for _, name, _, _ in Formatter().parse(sentence) if name is not None}
        if found != set(names):
            wanted = ", ".join(f"{{{name}}}" for name in names) or "nothing in braces"
            raise ValueError(f"{sentence!r} must have {wanted}")
        return sentence

    return AfterValidator(check)


_PLACEHOLDER = re.compile(r"\{\w+\}")
_LATIN = re.compile(r"[A-Za-z]")


def _without_latin(text: str) -> str:
    if not text.strip() or _LATIN.search(_PLACEHOLDER.sub("", text)):
        raise ValueError(f"{text!r} is no Chinese")
    return text


Chinese = Annotated[str, AfterValidator(_without_latin)]
"""A word or sentence that has no Latin letter but in the names of its placeholders."""
