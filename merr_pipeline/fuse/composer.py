"""The fine text by rule: from numbered evidence to a short English text that reasons from it.

The text has up to seven parts: what the face shows, how the head is held, the picture, the voice,
the words (`describe`), how the clues bear on the label, the conclusion (`argue`). Over
``max_words`` the least important parts are left out whole; the conclusion always stays. Every part
keeps the evidence it was made from. Without a label nothing is named but what was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from merr_pipeline.emotion.rules import Rules
from merr_pipeline.fuse.argue import argue, conclude
from merr_pipeline.fuse.describe import describe
from merr_pipeline.fuse.draft import Label, Part, TextDraft
from merr_pipeline.fuse.evidence import Item
from merr_pipeline.fuse.phrases import AuPhrases
from merr_pipeline.fuse.reading import Bearing, Reading
from merr_pipeline.fuse.wording import FineText
from merr_pipeline.schema import Row


@dataclass(frozen=True)
class Composition:
    """A finished text with its bookkeeping."""

    text: str
    cues: list[Row]  # what was made of each piece of evidence that the text uses
    conflicts: list[str]  # sentences; also those that the text had no room for


@dataclass(frozen=True)
class Composer:
    """Makes texts; holds what all of them have in common."""

    rules: Rules
    phrases: AuPhrases
    wording: FineText
    max_words: int

    def compose(self, items: Sequence[Item], label: Label, seed: str) -> Composition:
        """The text of one clip; ``seed`` is the clip's sha256 and chooses among synonyms."""
        draft = TextDraft(
            items, label, seed, rules=self.rules, phrases=self.phrases, wording=self.wording
        )
        parts = [*describe(draft), *argue(draft), conclude(draft)]
        kept = _fit(parts, self.max_words)
        used = {item.id for part in kept for item in part.items}
        return Composition(
            text=" ".join(part.text for part in kept),
            cues=[
                {"evidence_id": item.id, "reading": _cue(item, draft.reading)}
                for item in items
                if item.id in used
            ],
            conflicts=[part.text for part in parts if part.is_conflict],
        )


def _cue(item: Item, reading: Reading | None) -> str:
    if reading is None or item.id not in reading.bearings:
        return "described, not interpreted"
    return {
        Bearing.SUPPORTS: f"supports {reading.label}",
        Bearing.AGAINST: f"speaks against {reading.label}",
        Bearing.SPEECH: "may be no more than speech",
        Bearing.NOTHING: f"neither for nor against {reading.label}",
    }[reading.bearings[item.id]]


def _fit(parts: Sequence[Part], max_words: int) -> list[Part]:
    """Leave out the lightest parts (the later of equals first) until the text is short enough."""
    kept = list(parts)
    while len(kept) > 1 and sum(len(part.text.split()) for part in kept) > max_words:
        lightest = min(part.weight for part in kept)
        last = max(index for index, part in enumerate(kept) if part.weight == lightest)
        del kept[last]
    return kept
