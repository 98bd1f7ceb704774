"""What assembly itself adds to a clip, by template: the coarse caption and the instructions."""

from __future__ import annotations

from dataclasses import dataclass

from merr_pipeline.dataset.accept import Rows
from merr_pipeline.dataset.chinese import ChineseWords, chinese_caption, load_chinese_words
from merr_pipeline.dataset.coarse import (
    CoarseTemplates,
    check_caption,
    coarse_caption,
    load_coarse_templates,
)
from merr_pipeline.dataset.instructions import Questions, instruction_records, load_questions
from merr_pipeline.schema import Reason, Row
from merr_pipeline.settings import CoarseSettings, Settings
from merr_pipeline.stage import Identity, digest

TEXTS_STAGE = "dataset"
"""Name of the assembly among the stages of ``provenance``."""


def check_templates(settings: Settings) -> None:
    """Read all templates of the assembly, which else would be read when all stages are done.

    Raises:
        MerrError: one is missing, or says something that cannot be.
    """
    Texts.load(settings)


@dataclass(frozen=True)
class Texts:
    """The templates of caption and questions, read once for an assembly."""

    settings: CoarseSettings
    words: CoarseTemplates | ChineseWords  # by ``coarse.language``
    questions: Questions

    @classmethod
    def load(cls, settings: Settings) -> Texts:
        """Read them from the user's templates folder, else the shipped one."""
        folder, language = settings.templates, settings.coarse.language
        words = load_coarse_templates(folder) if language == "en" else load_chinese_words(folder)
        return cls(settings.coarse, words, load_questions(folder, language))

    def identity(self) -> Identity:
        """Named as the stages are, so that provenance says how these fields were made."""
        questions = self.questions
        asked = digest(
            [
                *(questions.pools, questions.sentiments, questions.labels),
                questions.chinese.sha256 if questions.chinese else None,
            ]
        )
        return Identity(
            stage=TEXTS_STAGE,
            version=4,
            tool="caption template, question pools",
            template=digest([self.words.sha256, asked]),
            settings=self.settings.model_dump(),
        )

    def add_to(self, row: Row, rows: Rows) -> Row:
        """A row of ``clips`` with ``visual_expression`` and ``coarse_caption``.

        A caption that claims what no evidence shows is left out, and the row flagged with it.
        """
        evidence = row["evidence"] or []
        if isinstance(self.words, ChineseWords):  # which says nothing but evidence
            form = self.settings.form
            expression, caption = chinese_caption(evidence, row["sha256"], self.words, form)
        else:
            expression, caption = coarse_caption(
                rows, row["sha256"], self.words, self.settings.form
            )
            rules, lexicon = self.words.rules, self.words.lexicon
            if caption and check_caption(caption, evidence, rules, lexicon).ungrounded:
                expression = caption = None
                row = row | {"flags": [*row["flags"], f"{TEXTS_STAGE}:{Reason.UNGROUNDED.value}"]}
        made = {f"coarse_{name}": value for name, value in self.settings.model_dump().items()}
        return row | {
            "visual_expression": expression,
            "coarse_caption": caption,
            **(made if caption else dict.fromkeys(made)),
        }

    def records(self, row: Row) -> dict[str, list[Row]]:
        """The instruction records of a finished row, by subset."""
        records = instruction_records(row, self.questions)
        return {
            name: [record for record in records if record["granularity"] == name]
            for name in ("coarse", "fine")
        }
