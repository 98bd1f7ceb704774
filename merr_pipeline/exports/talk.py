"""What all chat formats share: a question with its media before it, and an answer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from merr_pipeline.dataset.instructions import is_about_a_given_label
from merr_pipeline.exports.source import Sample
from merr_pipeline.fuse.judge import label_of_text
from merr_pipeline.schema import Row

_TAG = re.compile(r"<(/?)(image|video|audio)>")

THINK = (
    "{question} First think about what can be seen and heard, in <think> </think>, then give the "
    "one word alone in <answer> </answer>."
)


def quiet(text: str) -> str:
    """A text in which no trainer finds a tag for a medium: ``<video>`` becomes ``‹video›``.

    Words said in a clip, or written by somebody else, may hold one; each would stand for a file.
    """
    return _TAG.sub(r"‹\1\2›", text)


def turns(record: Row) -> tuple[str, str]:
    """Question and answer of a record."""
    question, answer = (quiet(message["content"]) for message in record["messages"])
    return question, answer


def thought(sample: Sample) -> Iterator[tuple[Row, str, str]]:
    """``(record, question, answer)`` where a clip has reasons for its label: thinks, then answers.

    The question is that of the record that asks for the label. A text that weighs a label which it
    was told gives none: who learns it would speak of a label that nobody gave.
    """
    clip = sample.clip
    if not clip["fine_caption"] or clip["label"] is None or label_of_text(clip) != clip["label"]:
        return
    if is_about_a_given_label(clip):
        return
    for record in sample.records:
        if record["task"] == "emotion":
            question, answer = turns(record)
            reasons = quiet(clip["fine_caption"])
            answer = f"<think>{reasons}</think>\n<answer>{answer}</answer>"
            yield record, THINK.format(question=question), answer
