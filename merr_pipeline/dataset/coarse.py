"""The coarse caption: what is seen and heard, put into the sentence pattern of the MERR paper.

It names no emotion. Action Units that the face tool sees badly are left out, those of a tool that
gives proxies are said with a doubt. `grounding.check` proves what it claims, as it does for the
fine text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from merr_pipeline.dataset.placeholders import filled_with
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


class CaptionTemplate(BaseModel):
    """The whole of ``coarse_caption.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scene: Annotated[str, filled_with("scene")]
    face_and_voice: Annotated[str, filled_with("expression", "tone")]
    face: Annotated[str, filled_with("expression")]
    voice: Annotated[str, filled_with("tone")]
    words: Annotated[str, filled_with("transcript")]
    face_and_voice_unsure: Annotated[str, filled_with("expression", "tone")]
    face_unsure: Annotated[str, filled_with("expression")]
    max_phrases: int = Field(ge=1)


@dataclass(frozen=True)
class CoarseTemplates:
    """What the caption is made with and proven by; ``sha256`` covers all of it."""

    caption: CaptionTemplate
    phrases: AuPhrases
    rules: Rules
    lexicon: Lexicon
    sha256: str


def load_coarse_templates(templates: Path | None = None) -> CoarseTemplates:
    """Read caption template, phrase pools, rules and lexicon; MerrError if one is wrong."""
    table = load_action_units(templates)
    template = load_template(TEMPLATE, templates)
    try:
        caption = CaptionTemplate.model_validate(template.data)
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
    rows: Mapping[str, Row], sha256: str, templates: CoarseTemplates
) -> tuple[str | None, str | None]:
    """``(visual_expression, coarse_caption)`` of a clip; None where nothing is known.

    ``rows`` by stage; of them ``face``, ``moment``, ``tone``, ``scene`` and ``transcript`` are
    read. ``sha256`` is the clip's, and chooses among synonyms.
    """
    expression = visual_expression(rows, sha256, templates)
    values = {
        "scene": _as_sentence(_text(rows, "scene", "scene")),
        "expression": expression,
        "tone": _text(rows, "tone", "tone"),
        "transcript": plain_quotation(_text(rows, "transcript", "transcript") or ""),
    }
    said = [getattr(templates.caption, name).format(**values) for name in _sentences(rows, values)]
    return expression, " ".join(said) or None


def _sentences(rows: Mapping[str, Row], values: Mapping[str, str | None]) -> Iterator[str]:
    """Names of the sentences that the clip gets, in order."""
    if values["scene"]:
        yield "scene"
    if values["expression"]:
        face = "face_and_voice" if values["tone"] else "face"
        yield f"{face}_unsure" if rows["face"]["au_scale"] == "proxy_0_5" else face
    elif values["tone"]:
        yield "voice"
    if values["transcript"]:
        yield "words"


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
