"""Label spaces: the labels that a dataset may use, as ``label_spaces.yaml`` has them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from merr_pipeline.schema import MerrError
from merr_pipeline.templates import load_template

SPACES_TEMPLATE = "label_spaces.yaml"


@dataclass(frozen=True)
class LabelSpace:
    """The labels that a dataset may use, and how people spell them."""

    name: str
    labels: tuple[str, ...]
    spellings: Mapping[str, str]  # plain spelling -> label
    sha256: str  # of the file it was read from

    def find(self, written: str) -> str | None:
        """The label that is meant, or None: ``"Anger "`` -> ``"angry"``."""
        return self.spellings.get(_plain(written))


def load_label_space(name: str, templates: Path | None = None) -> LabelSpace:
    """Read one label space of ``label_spaces.yaml``.

    Raises:
        MerrError: there is no such space, or one spelling leads to two labels.
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
            if spellings.setdefault(_plain(written), label) != label:
                raise MerrError(f"{SPACES_TEMPLATE}, {name}: {written!r} leads to two labels.")
    return LabelSpace(name, tuple(spaces[name]), spellings, template.sha256)


def _plain(written: str) -> str:
    return re.sub(r"[\s_-]+", " ", written).strip().casefold()
