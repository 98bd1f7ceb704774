"""Whether a text has the form of a fine text: its length, its case, its conclusion."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from merr_pipeline.grounding.quotations import QUOTATION

TRAINER_WORDS = 200
"""Emotion-LLaMA's text processor (``blip_caption``) cuts an answer here."""

_MARKUP = re.compile(r"[*#`<>{}|\[\]]")
_ID = re.compile(r"\bE\d+\b")
_SENTENCE = re.compile(r"(?<=[.!?])[\"”]?\s+(?=[A-Z\"“])")


def as_trained(text: str) -> str:
    """The text as the reference trainer's processor leaves it: what a model will learn of it."""
    plain = re.sub(r"[.!\"()*#:;~]", " ", text.lower())
    return " ".join(plain.split()[:TRAINER_WORDS])


def faults_of_form(text: str, max_words: int, names: Collection[str]) -> Iterator[str]:
    """What is wrong with the form of a text; ``names`` are those of its label, if it has one."""
    words = text.split()
    if len(words) > max_words:
        yield f"the text has {len(words)} words; {max_words} are the most"
    outside = QUOTATION.sub(" ", text.replace("“", '"').replace("”", '"'))
    if not _is_in_sentence_case(outside):
        yield "the text is not in sentence case"
    if _MARKUP.search(outside):
        yield "the text has markup; it is to be plain sentences"
    if ids := _ID.findall(outside):
        yield f"the text names {ids[0]}, a number of the list, which its readers do not have"
    if names and not _concludes(text, names):
        yield f"the last sentence does not name the emotion: {' or '.join(sorted(names))}"


def _is_in_sentence_case(text: str) -> bool:
    """Sentences begin large and the rest is small; names are rare in our texts."""
    words = [word for word in text.split() if word[0].isalpha()]
    large = sum(word[0].isupper() for word in words)
    return bool(words) and words[0][0].isupper() and 2 * large <= max(len(words), 2)


def _concludes(text: str, names: Collection[str]) -> bool:
    """Whether the last sentence names the emotion, and the trainer leaves that in."""
    last = as_trained(_SENTENCE.split(text)[-1])
    said = f" {_words(last)} "
    return as_trained(text).endswith(last) and any(f" {_words(name)} " in said for name in names)


def _words(text: str) -> str:
    return " ".join(re.findall(r"[\w-]+", text.lower()))
