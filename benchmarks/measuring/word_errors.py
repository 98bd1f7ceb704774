"""Word and character error rates by jiwer, of texts made alike first.

Case, punctuation and apostrophes do not count. Scripts without blanks have no words here: each of
their signs counts as one, so there both rates are the same.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import jiwer

from merr_pipeline.speech.asr.gates import UNIT


def plain_words(text: str) -> list[str]:
    """The words of a text, or the signs where a script has no blanks."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("'", "").replace("’", "")
    return UNIT.findall(folded)


def error_rates(said: Sequence[str], heard: Sequence[str]) -> tuple[float | None, float | None]:
    """Word and character error rate of a corpus, in which long texts count more than short ones.

    None for a corpus without words. Over 1 where more is invented than was said.
    """
    pairs = [(plain_words(s), plain_words(h)) for s, h in zip(said, heard, strict=True)]
    pairs = [(true, found) for true, found in pairs if true]
    if not pairs:
        return None, None
    words = jiwer.wer([" ".join(s) for s, _ in pairs], [" ".join(h) for _, h in pairs])
    signs = jiwer.cer(["".join(s) for s, _ in pairs], ["".join(h) for _, h in pairs])
    return float(words), float(signs)
