"""What is asked of a model about the clips of a dataset: the questions of its records.

A question that names the label of its clip (the pool ``reason_given``) is not asked: the answer
would say nothing of what the model sees. The record then gets a question of the pool ``reason``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from merr_pipeline.dataset.folder import DATASET
from merr_pipeline.dataset.instructions import (
    GIVEN,
    SENTIMENT_SPACE,
    TASKS,
    Questions,
    load_questions,
)
from merr_pipeline.emotion_llama.processing import Question
from merr_pipeline.fuse.phrases import pick
from merr_pipeline.schema import MerrError, Row
from merr_pipeline.training_data.records import Record, Records


@dataclass(frozen=True)
class ToAsk:
    """A question, and the labels among which its answer is to be, by how each is said."""

    record_id: str
    clip_id: str
    task: str
    question: Question
    labels: dict[str, str]  # from what is said to the label; empty where no label is asked for


class Pools:
    """Questions and labels, as the dataset itself had them."""

    def __init__(self, templates: Path | None) -> None:
        self._templates = templates
        self._by_language: dict[str, Questions] = {}

    def blind_reason(self, key: str) -> str:
        """A question for reasons that names no label; always the same one for one key."""
        return pick(self._of("en").pool("fine", "reason"), key, "question")

    def emotion(self, key: str, space: str) -> str:
        """A question for the label, which lists those of the space."""
        questions = self._of("en")
        asked = pick(questions.pool("coarse", "emotion"), key, "question")
        return asked.replace("{labels}", questions.listed("coarse", space))

    def labels(self, space: str | None, language: str | None) -> dict[str, str]:
        """The labels of a space by how a record says them; none of a space that is not known."""
        questions = self._of(language or "en")
        labels = questions.labels.get(space or "", ())
        return {questions.said("coarse", label): label for label in labels}

    def names_its_label(self, question: str, label: str | None) -> bool:
        """Whether a question gives the label away."""
        given = self._of("en").pools[GIVEN]
        return label is not None and question in [one.replace("{label}", label) for one in given]

    def _of(self, language: str) -> Questions:
        if language not in self._by_language:
            self._by_language[language] = load_questions(self._templates, language)
        return self._by_language[language]


def to_ask(records: Records, out: Path, tasks: tuple[str, ...] = TASKS) -> list[ToAsk]:
    """All that is asked of a split, clip after clip.

    Raises:
        MerrError: there is no such task, or no record of any of these.
    """
    if unknown := sorted(set(tasks) - set(TASKS)):
        raise MerrError(f"tasks: {', '.join(unknown)}. There is {', '.join(TASKS)}.")
    templates = out / DATASET / "templates"
    pools = Pools(templates if templates.is_dir() else None)
    found = [
        _of_record(record, records.clips[record.clip_id], pools)
        for record in records.records
        if record.task in tasks
    ]
    if not found:
        raise MerrError(f"{out} has no record of {', '.join(tasks)} in this split.")
    return found


def _of_record(record: Record, clip: Row, pools: Pools) -> ToAsk:
    question, language = record.question, clip["coarse_language"]
    labels: dict[str, str] = {}
    if record.task == "emotion":
        labels = pools.labels(clip["label_space"], language)
    elif record.task == "sentiment":
        labels = pools.labels(SENTIMENT_SPACE, language)
    elif pools.names_its_label(question, record.label):
        question = pools.blind_reason(record.record_id)
    asked = Question(question, record.task, record.transcript)
    return ToAsk(record.record_id, record.clip_id, record.task, asked, labels)
