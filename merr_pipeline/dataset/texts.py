"""What assembly itself adds to a clip, by template: the coarse caption and the instructions."""

from __future__ import annotations

from dataclasses import dataclass

from merr_pipeline.dataset.accept import Rows
from merr_pipeline.dataset.coarse import (
    CoarseTemplates,
    check_caption,
    coarse_caption,
    load_coarse_templates,
)
from merr_pipeline.dataset.instructions import Questions, instruction_records, load_questions
from merr_pipeline.schema import Reason, Row
from merr_pipeline.settings import Settings
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

    coarse: CoarseTemplates
    questions: Questions

    @classmethod
    def load(cls, settings: Settings) -> Texts:
        """Read them from the user's templates folder, else the shipped one."""
        return cls(load_coarse_templates(settings.templates), load_questions(settings.templates))

    def identity(self) -> Identity:
        """Named as the stages are, so that provenance says how these fields were made."""
        questions = self.questions
        asked = digest([questions.pools, questions.sentiments, questions.labels])
        return Identity(
            stage=TEXTS_STAGE,
            version=3,
            tool="caption template, question pools",
            template=digest([self.coarse.sha256, asked]),
        )

    def add_to(self, row: Row, rows: Rows) -> Row:
        """A row of ``clips`` with ``visual_expression`` and ``coarse_caption``.

        A caption that claims what no evidence shows is left out, and the row flagged with it.
        """
        expression, caption = coarse_caption(rows, row["sha256"], self.coarse)
        evidence, (rules, lexicon) = row["evidence"] or [], (self.coarse.rules, self.coarse.lexicon)
        if caption and check_caption(caption, evidence, rules, lexicon).ungrounded:
            expression = caption = None
            row = row | {"flags": [*row["flags"], f"{TEXTS_STAGE}:{Reason.UNGROUNDED.value}"]}
        return row | {"visual_expression": expression, "coarse_caption": caption}

    def records(self, row: Row) -> dict[str, list[Row]]:
        """The instruction records of a finished row, by subset."""
        records = instruction_records(row, self.questions)
        return {
            name: [record for record in records if record["granularity"] == name]
            for name in ("coarse", "fine")
        }
