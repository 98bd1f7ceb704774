"""Prompts are data: Jinja2 texts of ``annotation_templates``, filled in a sandbox."""

from __future__ import annotations

from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from merr_pipeline.schema import MerrError

_JINJA = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


def render(text: str, template: str, **values: Any) -> str:
    """The text with its values, without blanks at either end; ``template`` is the file's name.

    Raises:
        MerrError: it is no Jinja2 text, or wants a value that there is not.
    """
    try:
        return _JINJA.from_string(text).render(values).strip()
    except TemplateError as error:
        raise MerrError(f"template {template} is wrong: {error}") from error
