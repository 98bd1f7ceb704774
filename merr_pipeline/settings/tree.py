"""The whole tree: the stages, the models, the dataset, the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

from pydantic import Field, model_validator

from merr_pipeline.settings.models import LlmSettings
from merr_pipeline.settings.section import Role, Section
from merr_pipeline.settings.stages import (
    FaceSettings,
    FineSettings,
    LabelSettings,
    MomentSettings,
    ProbeSettings,
    SceneSettings,
    ToneSettings,
    TranscriptSettings,
    VoiceSettings,
)


class CoarseSettings(Section):
    """The coarse captions, and the questions and answers of the coarse records (``coarse``)."""

    form: Literal["template", "raw"] = Field(
        "template",
        description="template puts the pieces of a caption into the sentences of the MERR paper; "
        "raw puts them side by side, as in the paper's ablation.",
    )
    language: Literal["en", "zh"] = Field(
        "en", description="zh writes Chinese (simplified); fine texts and their questions are en."
    )


class DatasetSettings(Section):
    """What a finished dataset holds (``dataset``)."""

    require_face_coverage: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Share of a shot's frames that must show the main person; 0 asks for no face.",
    )
    require_words_or_voice: bool = Field(
        True,
        description="A clip with sound needs words, or a voice, or what may be one (crying, "
        "shouting, words under music); stills and mute clips do not.",
    )
    min_snr_db: float | None = Field(
        None,
        description="A voice less far above its background, in dB as voice measures it, is left "
        "out; null asks for nothing. Films often have 5 to 20.",
    )
    split_shares: tuple[float, float, float] = Field(
        (0.9, 0.05, 0.05), description="Shares of train, validation and test, by groups."
    )
    agreement: str = Field(
        "careful",
        description="Policy of agreement.yaml: when a label that others contradict is to be "
        "reviewed, or costs the clip its place.",
    )
    select: str = Field(
        "all",
        description="Plan of selection.yaml: which clips have records in `fine`, and how many of "
        "each label; all takes every clip that has a text. Also --select.",
    )
    seed: int = Field(0, description="Draws the splits, and the selection where it is by hash.")
    clips_per_shard: int = Field(2000, ge=1, description="Shards double when they grow past it.")

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> DatasetSettings:
        if min(self.split_shares) < 0 or abs(sum(self.split_shares) - 1) > 1e-6:
            raise ValueError("split_shares must be three shares >= 0 that sum to 1")
        return self


class EngineSettings(Section):
    """How the work is spread (``engine``); nothing here changes a byte of what comes out well."""

    workers: int | None = Field(None, ge=1, description="Processes; null takes one per CPU.")
    batch_size: int = Field(16, ge=1, description="Clips a worker takes at a time.")
    clip_limit_s: float | None = Field(
        600.0, gt=0, description="Time limit for one clip in one stage; null sets none."
    )
    memory_limit_mb: int | None = Field(
        4096,
        ge=1024,
        description="Memory limit of each worker and of each tool; null sets none. A clip of 10 "
        "minutes takes 850.",
    )


class Settings(Section):
    """Everything that shapes a build. ``merr config`` prints it."""

    profile: str = Field("embedded", description="Name of the profile this was filled from.")
    templates: Path | None = Field(
        None, description="Folder with your own versions of files of annotation_templates/."
    )
    probe: ProbeSettings = ProbeSettings()
    voice: VoiceSettings = VoiceSettings()
    transcript: TranscriptSettings = TranscriptSettings()
    face: FaceSettings = FaceSettings()
    moment: MomentSettings = MomentSettings()
    tone: ToneSettings = ToneSettings()
    scene: SceneSettings = SceneSettings()
    label: LabelSettings = LabelSettings()
    fine: FineSettings = FineSettings()
    llm: LlmSettings = LlmSettings()
    coarse: CoarseSettings = CoarseSettings()
    dataset: DatasetSettings = DatasetSettings()
    engine: EngineSettings = EngineSettings()

    def asking(self) -> dict[Role, list[str]]:
        """The models that stages ask, and which stages."""
        asked: dict[Role, list[str]] = {}
        for stage, by, role in (
            ("tone", self.tone.by, "audio"),
            ("scene", self.scene.by, "vision"),
            ("fine", self.fine.by, "text"),
        ):
            if by == "model":
                asked.setdefault(cast(Role, role), []).append(stage)
        return asked


def with_places(settings: Settings, out: Path) -> Settings:
    """The same settings, with places in the output folder where they name none."""
    openface = settings.face.openface
    if openface.keep_dir is not None:
        return settings
    kept = openface.model_copy(update={"keep_dir": out / "cache" / "openface"})
    face = settings.face.model_copy(update={"openface": kept})
    return settings.model_copy(update={"face": face})
