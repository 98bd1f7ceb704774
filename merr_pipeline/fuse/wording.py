"""The composer's English: ``fine_text.yaml``, read and checked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from merr_pipeline.fuse.phrases import with_article
from merr_pipeline.schema import MerrError, Row
from merr_pipeline.templates import load_template

TEMPLATE = "fine_text.yaml"

Pool = tuple[str, ...]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Entry):
    """How much of what is known a text says."""

    max_signs: int = Field(ge=1)
    max_quote_words: int = Field(ge=1)
    max_quote_letters: int = Field(ge=1)
    broad_from: int


class PoseWords(_Entry):
    """When a head pose is worth saying, and how."""

    yaw_from_deg: float
    pitch_from_deg: float
    left: str
    right: str
    raised: str
    lowered: str


class Missing(_Entry):
    """How a stage is called that has no ``ok`` row, and why it has none."""

    stages: dict[str, str]
    reasons: dict[str, str]


class PictureWords(_Entry):
    """The picture in one sentence."""

    sentence: Pool
    faces: str
    light: str
    ordinary_light: frozenset[str]
    numbers: Pool


class VoiceWords(_Entry):
    """The voice in one sentence; ``features`` are noun phrases in the order of saying."""

    sentence: Pool
    unsure: Pool
    arousal: Pool
    arousal_alone: Pool
    arousal_alone_unsure: Pool
    features: Pool
    reworded: dict[str, str]
    unremarkable: frozenset[str]
    max_features: int = Field(ge=1)
    silent: Pool
    speechless: Pool

    def noun_phrases(self, words: Mapping[str, str]) -> list[tuple[str, tuple[str, ...]]]:
        """``("a fast tempo with one long pause", ("tempo", "pauses"))`` and so on.

        ``words`` by feature. What most voices are like is said only when nothing else can be.
        """
        telling = {name: word for name, word in words.items() if word not in self.unremarkable}
        for chosen in (telling, dict(words)):
            if phrases := list(self._filled(chosen)):
                return phrases[: self.max_features]
        return []

    def _filled(self, words: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...]]]:
        for pattern in self.features:
            optional = re.compile(r"\[([^\]]*)\]")
            kept = optional.sub(
                lambda part: part[1] if _features(part[1]) <= set(words) else "", pattern
            )
            used = _features(kept)
            if used <= set(words):
                yield kept.format(**self._fillings(words)), tuple(sorted(used))

    def _fillings(self, words: Mapping[str, str]) -> dict[str, str]:
        said = {name: self.reworded.get(word, word) for name, word in words.items()}
        return said | {f"a_{name}": with_article(word) for name, word in said.items()}


class Conclusions(_Entry):
    """The last sentence, by label source and by how the clues bear on the label.

    The keys are those of `reading.Verdict`, and ``fits_alone`` where a single clue fits it; with
    ``_unsure`` behind them where all that the sentence rests on is measured badly or by proxies.
    """

    manifest: dict[str, Pool]
    au_rules: dict[str, Pool]
    undecided: Pool


class FineText(_Entry):
    """The whole of ``fine_text.yaml``."""

    limits: Limits
    pose: PoseWords
    scene_facts: tuple[str, ...]
    missing: Missing
    where: dict[str, str]
    face: dict[str, Pool]
    pose_sentence: Pool
    scene: PictureWords
    voice: VoiceWords
    words: Pool
    these: dict[str, str]
    reading: dict[str, Pool]
    conclusion: Conclusions
    emotions: dict[str, str]
    sha256: str

    def pose_words(self, head_pose: Row | None) -> str | None:
        """``"turned to the left of the picture and lowered"``; None where it is not worth saying.

        Yaw is positive to the viewer's right, pitch upwards.
        """
        yaw, pitch = ((head_pose or {}).get(name) or 0.0 for name in ("yaw_deg", "pitch_deg"))
        words = []
        if abs(yaw) >= self.pose.yaw_from_deg:
            words.append(self.pose.right if yaw > 0 else self.pose.left)
        if abs(pitch) >= self.pose.pitch_from_deg:
            words.append(self.pose.raised if pitch > 0 else self.pose.lowered)
        return " and ".join(words) or None

    def emotion(self, label: str) -> str:
        """The label as a noun; a label of the user's own stands in quotation marks."""
        return self.emotions.get(label, f'"{label}"')


def _features(pattern: str) -> set[str]:
    """The features that a pattern names, with or without their article."""
    return {name.removeprefix("a_") for name in re.findall(r"\{(\w+)\}", pattern)}


def load_fine_text(templates: Path | None = None) -> FineText:
    """Read ``fine_text.yaml`` from the user's templates folder, else the shipped one.

    Raises:
        MerrError: the file is missing, or says something that cannot be.
    """
    template = load_template(TEMPLATE, templates)
    data: dict[str, Any] = template.data
    try:
        _check_pools(data)
        return FineText.model_validate({**data, "sha256": template.sha256})
    except (ValidationError, TypeError, ValueError, KeyError) as error:
        raise MerrError(f"template {TEMPLATE} is wrong: {error}") from error


def _check_pools(data: dict[str, Any]) -> None:
    """The pools that are chosen by name must all be there: those of the shipped file."""
    shipped = load_template(TEMPLATE).data
    for path in (
        (),
        ("where",),
        ("face",),
        ("reading",),
        ("conclusion", "manifest"),
        ("conclusion", "au_rules"),
    ):
        has, wanted = data, shipped
        for name in path:
            has, wanted = has[name], wanted[name]
        if lacking := sorted(set(wanted) - set(has)):
            raise ValueError(f"{'.'.join(path) or 'it'} has no {', '.join(lacking)}")
