"""The coarse caption: what is seen and heard, put into the sentence pattern of the MERR paper.

It names no emotion. Action Units that the face tool sees badly are left out, because the pattern
has no room for a doubt; the fine text says them with the caution they need.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.emotion.rules import Rules, load_rules
from merr_pipeline.fuse.evidence import is_ok, plain_quotation
from merr_pipeline.fuse.phrases import AuPhrases, capitalised, listed, load_au_phrases
from merr_pipeline.schema import Row
from merr_pipeline.stage import digest
from merr_pipeline.templates import load_template

TEMPLATE = "coarse_caption.yaml"


@dataclass(frozen=True)
class CoarseTemplates:
    """What the caption is made with; ``sha256`` covers all of it."""

    sentences: Mapping[str, Any]
    phrases: AuPhrases
    rules: Rules
    sha256: str


def load_coarse_templates(templates: Path | None = None) -> CoarseTemplates:
    """Read caption template, phrase pools and Action Units; raises MerrError if one is wrong."""
    table = load_action_units(templates)
    caption = load_template(TEMPLATE, templates)
    phrases, rules = load_au_phrases(table, templates), load_rules(table, templates)
    sha256 = digest([caption.sha256, phrases.sha256, rules.sha256, table.sha256])
    return CoarseTemplates(caption.data, phrases, rules, sha256)


def coarse_caption(
    rows: Mapping[str, Row], sha256: str, templates: CoarseTemplates
) -> tuple[str | None, str | None]:
    """``(visual_expression, coarse_caption)`` of a clip; None where nothing is known.

    ``rows`` by stage; of them ``face``, ``moment``, ``tone``, ``scene`` and ``transcript`` are
    read. ``sha256`` is the clip's, and chooses among synonyms.
    """
    expression = visual_expression(rows, sha256, templates)
    tone = _text(rows, "tone", "tone")
    parts = {
        "scene": _text(rows, "scene", "scene"),
        "face_and_voice": expression if tone else None,
        "face": None if tone else expression,
        "voice": None if expression else tone,
        "words": _text(rows, "transcript", "transcript"),
    }
    values = {
        "scene": _as_sentence(parts["scene"]),
        "expression": expression,
        "tone": tone,
        "transcript": plain_quotation(parts["words"] or ""),
    }
    said = [templates.sentences[name].format(**values) for name, part in parts.items() if part]
    return expression, " ".join(said) or None


def visual_expression(
    rows: Mapping[str, Row], sha256: str, templates: CoarseTemplates
) -> str | None:
    """The strongest active Action Units in words, or None: ``"furrowed brows and parted lips"``."""
    if not (is_ok(rows, "face") and is_ok(rows, "moment")):
        return None
    seen = templates.rules.seen(rows["moment"])
    active = templates.rules.active(seen, rows["face"]["au_scale"])
    trusted = [code for code in active if seen[code].reliability != "low"]
    strongest = trusted[: templates.sentences["max_phrases"]]
    words = dict.fromkeys(templates.phrases.merr_phrase(code, sha256) for code in strongest)
    return listed(list(words)) if words else None


def _text(rows: Mapping[str, Row], stage: str, column: str) -> str | None:
    """A text column of an ``ok`` row, else None."""
    return (rows[stage][column] or None) if is_ok(rows, stage) else None


def _as_sentence(text: str | None) -> str:
    sentence = capitalised((text or "").strip())
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."
