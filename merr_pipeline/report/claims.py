"""A text cut into pieces, so that each claim can be shown with the evidence that proves it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from merr_pipeline.dataset.coarse import check_caption
from merr_pipeline.dataset.row_checks import IMPORTED
from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.emotion.rules import Rules, load_rules
from merr_pipeline.fuse.judge import label_of_text
from merr_pipeline.grounding.check import Claim, check_text
from merr_pipeline.grounding.lexicon import Lexicon, load_lexicon
from merr_pipeline.schema import Row


@dataclass(frozen=True)
class Piece:
    """Some of a text: a claim with its evidence, or what is between claims."""

    text: str
    evidence_ids: tuple[str, ...] = ()
    why: str = ""  # what is wrong with the claim

    @property
    def is_claim(self) -> bool:
        """Whether it says something that evidence is asked for."""
        return bool(self.evidence_ids or self.why)


@dataclass(frozen=True)
class LinkedText:
    """A text in pieces, and the claims that no piece of their own stands for.

    The latter are conclusions over a whole sentence, whose clues are pieces themselves.
    """

    pieces: tuple[Piece, ...]
    apart: tuple[Piece, ...] = ()
    is_checked: bool = True  # False: no checker reads it, so nothing is linked

    @property
    def claims(self) -> list[Piece]:
        """All claims."""
        return [*(piece for piece in self.pieces if piece.is_claim), *self.apart]


class Linker:
    """Finds the claims of a clip's captions by the words that the dataset was made with."""

    def __init__(self, templates: Path | None) -> None:
        table = load_action_units(templates)
        self._rules: Rules = load_rules(table, templates)
        self._lexicon: Lexicon = load_lexicon(table, templates)

    def fine(self, row: Row) -> LinkedText | None:
        """The fine caption; None without one. Imported texts rest on evidence that nobody has."""
        text, evidence = row["fine_caption"], row["evidence"] or []
        if text is None:
            return None
        if row["text_source"] == IMPORTED:
            return LinkedText((Piece(text),), is_checked=False)
        label = label_of_text(row)
        claims = check_text(text, evidence, label, self._lexicon, self._rules).claims
        return link(text, claims, evidence)

    def coarse(self, row: Row) -> LinkedText | None:
        """The coarse caption; no checker reads Chinese, which is made of its evidence alone."""
        text, evidence = row["coarse_caption"], row["evidence"] or []
        if text is None:
            return None
        if row["coarse_language"] == "zh" or row["text_source"] == IMPORTED:
            return LinkedText((Piece(text),), is_checked=False)
        claims = check_caption(text, evidence, self._rules, self._lexicon).claims
        return link(text, claims, evidence)


def link(text: str, claims: Iterable[Claim], evidence: Sequence[Row]) -> LinkedText:
    """Find each claim in the text, in order; no two pieces overlap.

    Only evidence that the clip has is named. The pieces together are the text, to the letter.
    """
    known = {row["id"] for row in evidence}
    taken: list[tuple[int, int, Piece]] = []
    apart: list[Piece] = []
    since = 0
    for claim in claims:
        ids = tuple(dict.fromkeys(one for one in claim.evidence_ids if one in known))
        place = _find(text, claim.text, since, [(start, end) for start, end, _ in taken])
        if place is None:
            _join_or_add(Piece(claim.text, ids, claim.why), text, taken, apart)
            continue
        start, end = place
        taken.append((start, end, Piece(text[start:end], ids, claim.why)))
        since = start
    return LinkedText(tuple(_pieces(text, sorted(taken, key=lambda one: one[0]))), tuple(apart))


def _find(
    text: str, wanted: str, since: int, taken: Sequence[tuple[int, int]]
) -> tuple[int, int] | None:
    """Where the words stand free: from ``since`` on, else from the beginning.

    The checker leaves out commas and degrees, so a few words may stand between those wanted.
    """
    words = [re.escape(word) for word in re.findall(r"\w+", wanted)]
    if not words:
        return None
    exact, loose = r"\W+", r"\W+(?:\w+\W+){0,2}?"
    for between in (exact, loose):
        pattern = re.compile(rf"\b{between.join(words)}\b", re.IGNORECASE)
        for begin in (since, 0):
            for match in pattern.finditer(text, begin):
                start, end = match.span()
                if all(end <= first or last <= start for first, last in taken):
                    return start, end
    return None


def _join_or_add(
    piece: Piece, text: str, taken: list[tuple[int, int, Piece]], apart: list[Piece]
) -> None:
    """A second claim of the same words adds its evidence to the first."""
    for number, (start, end, first) in enumerate(taken):
        if first.text.casefold() == piece.text.casefold():
            ids = tuple(dict.fromkeys((*first.evidence_ids, *piece.evidence_ids)))
            both = Piece(first.text, ids, first.why or piece.why)
            taken[number] = (start, end, both)
            return
    apart.append(piece)


def _pieces(text: str, taken: Sequence[tuple[int, int, Piece]]) -> Iterable[Piece]:
    done = 0
    for start, end, piece in taken:
        if start > done:
            yield Piece(text[done:start])
        yield piece
        done = end
    if done < len(text):
        yield Piece(text[done:])
