"""Instruction records: one question and its answer, for training.

A clip with a label gives, as far as the texts exist:

========  ===========  ============================
coarse    `describe`   the coarse caption
coarse    `emotion`    the label, one word
coarse    `sentiment`  positive, negative or neutral; only where the label says which
fine      `reason`     the fine text
========  ===========  ============================

The fine text of a label that came with the clip weighs the clues for that label, so its question
names the label: else a model would learn to speak of a label that nobody gave it. The text of a
model that was asked blind concludes by itself; where it is about another label than the clip's, or
the clip has none, it gives no record: question and answer would not go together.

What ``dataset.select`` leaves out gives no fine record, and keeps its coarse ones.

A clip whose label is undecided gives `describe` alone: the coarse caption, and the fine text, which
then describes and does not conclude.

With ``coarse.language: zh`` the questions and answers of the coarse records are Chinese; the column
``label`` holds the label as its space spells it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from merr_pipeline.dataset.placeholders import Chinese, filled_with
from merr_pipeline.dataset.selection import Selection
from merr_pipeline.emotion.spaces import SPACES_TEMPLATE
from merr_pipeline.fuse.judge import BLIND, TOLD, label_of_text
from merr_pipeline.fuse.phrases import pick
from merr_pipeline.schema import MerrError, Row
from merr_pipeline.templates import load_model, load_template

TEMPLATE, CHINESE_TEMPLATE = "questions.yaml", "questions_zh.yaml"
TASKS = ("emotion", "sentiment", "describe", "reason")
GIVEN = "reason_given"
"""Pool of the task `reason` for a text that was written for a given label."""

SENTIMENT_SPACE = "sentiment"
"""Its labels are sentiments, so there is no emotion to ask for."""

_COPIED = ("clip_id", "label", "label_source", "transcript", "media_path", "sha256", "split")


Pool = Annotated[tuple[Annotated[str, filled_with()], ...], Field(min_length=1)]
ChinesePool = Annotated[tuple[Annotated[Chinese, filled_with()], ...], Field(min_length=1)]


class QuestionPools(BaseModel):
    """The whole of ``questions.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    emotion: Annotated[tuple[Annotated[str, filled_with("labels")], ...], Field(min_length=1)]
    sentiment: Pool
    describe: Pool
    reason: Pool
    reason_given: Annotated[tuple[Annotated[str, filled_with("label")], ...], Field(min_length=1)]
    sentiments: dict[str, Literal["positive", "negative", "neutral"]]


class ChineseQuestions(BaseModel):
    """The whole of ``questions_zh.yaml``: the coarse tasks, and what the labels are called."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    emotion: Annotated[tuple[Annotated[Chinese, filled_with("labels")], ...], Field(min_length=1)]
    sentiment: ChinesePool
    describe: ChinesePool
    labels: dict[str, Chinese]  # and the sentiments
    between: Chinese  # two labels in a list
    sha256: str


@dataclass(frozen=True)
class Questions:
    """The questions, with the labels of each label space."""

    pools: Mapping[str, tuple[str, ...]]  # by task, and `GIVEN`
    sentiments: Mapping[str, str]  # by label
    labels: Mapping[str, tuple[str, ...]]  # by label space
    chinese: ChineseQuestions | None = None  # of the coarse records

    def pool(self, granularity: str, task: str) -> tuple[str, ...]:
        """The questions that a record may ask."""
        if self.chinese and granularity == "coarse":
            pool: tuple[str, ...] = getattr(self.chinese, task)
            return pool
        return self.pools[task]

    def said(self, granularity: str, label: str) -> str:
        """A label, or a sentiment, in the language of a record."""
        return self.chinese.labels[label] if self.chinese and granularity == "coarse" else label

    def listed(self, granularity: str, space: str) -> str:
        """The labels of a space in the language of a record."""
        between = self.chinese.between if self.chinese and granularity == "coarse" else ", "
        return between.join(self.said(granularity, label) for label in self.labels.get(space, ()))


def load_questions(templates: Path | None = None, language: str = "en") -> Questions:
    """Read the pools from the user's templates folder, else the shipped one.

    Args:
        templates: the user's folder.
        language: that of the coarse records, ``en`` or ``zh``.

    Raises:
        MerrError: a file is missing, a task has no question, or one has wrong placeholders; or a
            label has no Chinese name.
    """
    try:
        read = QuestionPools.model_validate(load_template(TEMPLATE, templates).data)
    except ValidationError as error:
        raise MerrError(f"template {TEMPLATE} is wrong: {error}") from error
    spaces = load_template(SPACES_TEMPLATE, templates).data["spaces"]
    questions = Questions(
        pools={task: getattr(read, task) for task in (*TASKS, GIVEN)},
        sentiments=read.sentiments,
        labels={name: tuple(labels) for name, labels in spaces.items()},
    )
    return questions if language == "en" else _in_chinese(questions, templates)


def _in_chinese(questions: Questions, templates: Path | None) -> Questions:
    chinese = load_model(ChineseQuestions, CHINESE_TEMPLATE, templates)
    labels = {label for space in questions.labels.values() for label in space}
    if lacking := sorted({*labels, *questions.sentiments.values()} - set(chinese.labels)):
        raise MerrError(f"template {CHINESE_TEMPLATE} is wrong: labels has no {', '.join(lacking)}")
    return replace(questions, chinese=chinese)


def instruction_records(clip_row: Row, questions: Questions) -> list[Row]:
    """The ``coarse`` and ``fine`` records of one accepted clip, coarse ones first.

    ``clip_row`` has the columns of ``clips``; ``granularity`` tells where each record belongs.
    """
    return [
        _record(clip_row, granularity, task, answer, questions)
        for granularity, task, answer in _tasks(clip_row, questions)
    ]


def _tasks(clip_row: Row, questions: Questions) -> Iterator[tuple[str, str, str]]:
    """``(granularity, task, answer)`` of every record that the clip gives."""
    label, fine = clip_row["label"], clip_row["fine_caption"]
    if clip_row["coarse_caption"]:
        yield "coarse", "describe", clip_row["coarse_caption"]
    if label is not None:
        if clip_row["label_space"] != SENTIMENT_SPACE:
            yield "coarse", "emotion", questions.said("coarse", label)
        if label in questions.sentiments:
            yield "coarse", "sentiment", questions.said("coarse", questions.sentiments[label])
    if fine and is_about_its_label(clip_row) and is_selected(clip_row):
        yield "fine", "describe" if label is None else "reason", fine


def is_about_its_label(clip_row: Row) -> bool:
    """Whether the fine text argues for the clip's own label, or is without one as the clip is."""
    return bool(label_of_text(clip_row) == clip_row["label"])


def is_selected(clip_row: Row) -> bool:
    """Whether the selection leaves the clip in ``fine``."""
    return clip_row["fine_selection"] in (None, Selection.CHOSEN)


def is_about_a_given_label(clip_row: Row) -> bool:
    """Whether the fine text weighs clues for a label that its writer was told."""
    if clip_row["text_source"] in (BLIND, TOLD):
        return bool(clip_row["text_source"] == TOLD)
    return bool(clip_row["label_source"] == "manifest")


def _record(clip_row: Row, granularity: str, task: str, answer: str, questions: Questions) -> Row:
    record_id = f"{clip_row['clip_id']}:{granularity}:{task}"
    given = task == "reason" and is_about_a_given_label(clip_row)
    question = pick(questions.pool(granularity, GIVEN if given else task), record_id, "question")
    labels = questions.listed(granularity, clip_row["label_space"] or "")
    question = question.replace("{labels}", labels)
    question = question.replace("{label}", clip_row["label"] or "")
    return {
        "record_id": record_id,
        "granularity": granularity,
        "task": task,
        "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ],
        **{name: clip_row[name] for name in _COPIED},
    }
