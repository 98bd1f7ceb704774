"""Cutting a text for the checker: into clauses, and out of them what stands in quotation marks."""

from __future__ import annotations

import re

from merr_pipeline.grounding.tagging import words_of

QUOTATION = re.compile(r'"([^"]*)"')
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_CLAUSE_END = re.compile(
    r"(?<=[.!?;])\s+"
    r"|,\s+(?:while|although|though(?! only)|whereas|only that)\s+"
    r"|,\s+but(?! (?:by no means|not|hardly|never|far from) \w+(?:ed|en|ive),)\s+"
    r"|,\s+(?=(?:because|since)\b)"
    r"|,\s+(?:yet|even though|even if|albeit(?! only))\s+"
    r"|,\s+which\s+(?=(?:the |a )?(?:\w+ ){0,2}(?:cannot|can neither|could not|can not|neither)\b)"
    r"|,\s+so\s+(?!(?:does|do|may)\b)"
    r"|,?\s+and\s+(?=(?:can't|cannot|can not|could not|couldn't|does not|doesn't|do not|don't)"
    r" (?:say|explain|tell|know|give|name)\b)"
    r"|,\s+as\s+(?=(?:no|there|neither|nothing|none|it|the face tool)\b)"
)

# "can't" is left: it has sayings of its own, as "cannot" has.
_CONTRACTED_NOT = re.compile(
    r"\b(is|are|was|were|do|does|did|has|have|had|would|should|need)n't\b", re.IGNORECASE
)


def spelt_out(text: str) -> str:
    """``isn't`` is read as ``is not``."""
    return _CONTRACTED_NOT.sub(r"\1 not", text.replace("’", "'"))


def sentences_of(text: str) -> list[str]:
    """The sentences; none is empty."""
    return [sentence.strip() for sentence in _SENTENCE_END.split(text) if sentence.strip()]


def clauses_of(text: str) -> list[str]:
    """The pieces that are judged each by itself; none is empty."""
    return [clause.strip() for clause in _CLAUSE_END.split(text) if clause.strip()]


def is_given_label(match: re.Match[str]) -> bool:
    """Whether the text before the quotation calls it the label."""
    return match.string[: match.start()].rstrip().endswith(("label", "label is"))


def around(match: re.Match[str]) -> tuple[list[str], list[str]]:
    """The words before and after a quotation in its clause."""
    before = QUOTATION.sub(in_place_of, match.string[: match.start()])
    after = QUOTATION.sub(in_place_of, match.string[match.start() :])
    return words_of(_CLAUSE_END.split(before)[-1]), words_of(_CLAUSE_END.split(after)[0])


def in_place_of(match: re.Match[str]) -> str:
    """Keeps the sentence's end where the quotation brought it along."""
    rest = match.string[match.end() :].lstrip()
    ends = match[1].rstrip().endswith((".", "!", "?", "…", "。", "！", "？"))
    return "quotationmark." if ends and (not rest or rest[0].isupper()) else "quotationmark"
