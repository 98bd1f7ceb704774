"""Checks on the placeholders of a sentence in a template, before anything is filled in."""

from __future__ import annotations

from string import Formatter

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
