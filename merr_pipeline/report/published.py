"""The comparison of datasets: published ones from ``published_datasets.yaml``, ours from counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from merr_pipeline.report.survey import Survey
from merr_pipeline.templates import load_model

TEMPLATE = "published_datasets.yaml"

ASPECTS = {
    "audio": "audio: tone described",
    "objective": "objective: scene described",
    "expression": "expression described",
    "label": "label",
    "multimodal": "multimodal text",
}


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PublishedDataset(_Entry):
    """One dataset as its own publication describes it; null is: not said there."""

    name: str
    quantity: str
    source: str
    audio: bool | None = None
    objective: bool | None = None
    expression: bool | None = None
    label: bool | None = None
    multimodal: bool | None = None


class PublishedDatasets(_Entry):
    """The whole file."""

    sha256: str
    version: int
    datasets: tuple[PublishedDataset, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Compared:
    """One line of the table: a cell is a share 0..1, yes, no, or null for not said."""

    name: str
    quantity: str
    cells: dict[str, float | bool | None]
    source: str
    is_ours: bool


def load_published(templates: Path | None = None) -> PublishedDatasets:
    """Read the file.

    Raises:
        MerrError: it is missing, or says something that cannot be.
    """
    return load_model(PublishedDatasets, TEMPLATE, templates)


def compare(surveys: list[Survey], published: PublishedDatasets) -> list[Compared]:
    """Built datasets first, ours as shares of their clips; then the published ones."""
    return [*map(_built, surveys), *map(_published, published.datasets)]


def _built(survey: Survey) -> Compared:
    columns = {
        "audio": "tone",
        "objective": "scene",
        "expression": "visual expression",
        "label": "label",
        "multimodal": "fine caption",
    }
    records = {subset: sum(survey.rows.get(subset, {}).values()) for subset in ("coarse", "fine")}
    return Compared(
        survey.name,
        f"{survey.clips:,} clips; {records['coarse']:,} coarse and {records['fine']:,} fine "
        "instruction records",
        {aspect: survey.coverages.fields[name].share for aspect, name in columns.items()},
        "counted here",
        is_ours=True,
    )


def _published(entry: PublishedDataset) -> Compared:
    cells: dict[str, float | bool | None] = {aspect: getattr(entry, aspect) for aspect in ASPECTS}
    return Compared(entry.name, entry.quantity, cells, entry.source, is_ours=False)
