"""The coarse caption in English: what is seen and heard, in the sentences of the MERR paper or raw.

`chinese` has the Chinese one. It names no emotion. Action Units that the face tool sees badly are
left out, those of a tool that gives proxies are said with a doubt. `grounding.check` proves what it
claims, as it does for the fine text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from merr_pipeline.dataset.caption import CaptionPattern, Form, Pieces, put_together
from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.emotion.rules import Rules, load_rules
from merr_pipeline.fuse.evidence import plain_quotation
from merr_pipeline.fuse.phrases import AuPhrases, capitalised, listed, load_au_phrases
from merr_pipeline.grounding.check import Grounding, check_text
from merr_pipeline.grounding.lexicon import Lexicon, load_lexicon
from merr_pipeline.schema import MerrError, Row
from merr_pipeline.stage import digest, is_ok
from merr_pipeline.templates import load_template

TEMPLATE = "coarse_caption.yaml"


@dataclass(frozen=True)
class CoarseTemplates:
    """What the caption is made with and proven by; ``sha256`` covers all of it."""

    caption: CaptionPattern
    phrases: AuPhrases
    rules: Rules
    lexicon: Lexicon
    sha256: str


def load_coarse_templates(templates: Path | None = None) -> CoarseTemplates:
    """Read caption template, phrase pools, rules and lexicon; MerrError if one is wrong."""
    table = load_action_units(templates)
    template = load_template(TEMPLATE, templates)
    try:
        caption = CaptionPattern.model_validate(template.data)
    except ValidationError as error:
        raise MerrError(f"template {TEMPLATE} is wrong: {error}") from error
    phrases, rules = load_au_phrases(table, templates), load_rules(table, templates)
    lexicon = load_lexicon(table, templates)
    read = (template, phrases, rules, lexicon, table)
    return CoarseTemplates(caption, phrases, rules, lexicon, digest([one.sha256 for one in read]))


def check_caption(
    caption: str, evidence: Sequence[Row], rules: Rules, lexicon: Lexicon
) -> Grounding:
    """Every claim of a coarse caption with its proof; it may not even name the label."""
    return check_text(caption, evidence, None, lexicon, rules)


def coarse_caption(
    rows: Mapping[str, Row], sha256: str, templates: CoarseTemplates, form: Form = "template"
) -> tuple[str | None, str | None]:
    """``(visual_expression, coarse_caption)`` of a clip; None where nothing is known.

    ``rows`` by stage; of them ``face``, ``moment``, ``tone``, ``scene`` and ``transcript`` are
    read. ``sha256`` is the clip's, and chooses among synonyms.
    """
    expression = visual_expression(rows, sha256, templates)
    pieces = Pieces(
        scene=_as_sentence(_text(rows, "scene", "scene")),
        expression=expression or "",
        tone=_text(rows, "tone", "tone") or "",
        transcript=plain_quotation(_text(rows, "transcript", "transcript") or ""),
        is_unsure=expression is not None and rows["face"]["au_scale"] == "proxy_0_5",
    )
    return expression, put_together(pieces, templates.caption, form)


def visual_expression(
    rows: Mapping[str, Row], sha256: str, templates: CoarseTemplates
) -> str | None:
    """The strongest active Action Units in words, or None: ``"furrowed brows and parted lips"``."""
    if not (is_ok(rows, "face") and is_ok(rows, "moment")):
        return None
    seen = templates.rules.seen(rows["moment"])
    active = templates.rules.active(seen, rows["face"]["au_scale"])
    trusted = [code for code in active if seen[code].reliability != "low"]
    strongest = trusted[: templates.caption.max_phrases]
    words = dict.fromkeys(templates.phrases.merr_phrase(code, sha256) for code in strongest)
    return listed(list(words)) if words else None


def _text(rows: Mapping[str, Row], stage: str, column: str) -> str | None:
    """A text column of an ``ok`` row, else None."""
    return (rows[stage][column] or None) if is_ok(rows, stage) else None


def _as_sentence(text: str | None) -> str:
    sentence = capitalised((text or "").strip())
    return sentence if not sentence or sentence.endswith((".", "!", "?")) else f"{sentence}."
