"""The ``face`` stage: every face of a clip as tracks with boxes, head pose and Action Units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from merr_pipeline.emotion.facs import ActionUnitTable, load_action_units
from merr_pipeline.face.tools.blendshapes import Blendshapes
from merr_pipeline.face.tools.contract import FaceTool
from merr_pipeline.face.tools.facemesh import Facemesh
from merr_pipeline.face.tools.openface import OpenFace
from merr_pipeline.face.tools.pyfeat import Pyfeat
from merr_pipeline.schema import FACE, Clip, Row
from merr_pipeline.settings import FaceSettings, Settings
from merr_pipeline.stage import Identity, NotOk, Resources, Stage, Work, digest, each


class FaceStage(Stage):
    """Runs the face tool that the settings name."""

    name = "face"
    needs = ("probe",)
    schema = FACE

    def __init__(self, settings: Settings) -> None:
        self.settings = settings.face
        self.table = load_action_units(settings.templates)
        self.support = self.table.tools[tiers_of(self.settings)]
        self.tool = open_tool(self.settings, self.table, settings.templates)
        on_gpu = self.settings.tool == "pyfeat" and self.settings.pyfeat.device == "cuda"
        self.resources = Resources(gpus=int(on_gpu))

    def identity(self) -> Identity:
        """The tool, its version and its own settings; the tables that it reads."""
        making = self.tool.making()
        return Identity(
            stage=self.name,
            version=6,
            tool=self.settings.tool,
            tool_version=making.versions,
            model=making.model,
            template=digest([self.table.sha256, *making.templates]),
            settings=making.settings,
        )

    def facts(self, clip: Clip) -> Mapping[str, Any]:
        """What the tool reads beside the clip."""
        return self.tool.facts(clip)

    def setup(self) -> None:
        """Start the tool; it is called when the first clip comes that has to be measured."""
        self.tool.start()

    def close(self) -> None:
        """End the tool."""
        self.tool.close()

    def annotate(self, batch: Sequence[Work]) -> list[Row]:
        """One row per clip."""
        return each(batch, self.annotate_one)

    def annotate_one(self, work: Work) -> Row:
        """All tracks of one clip.

        Raises:
            NotOk: skipped with ``NO_FACE``, or failed with what hindered the tool.
        """
        head = {
            "face_tool": self.settings.tool,
            "tool_version": self.tool.version,
            "au_scale": self.support.scale,
        }
        try:
            return {**head, **self.tool.measure(work.clip, work.seen["probe"])}
        except NotOk as ended:
            ended.payload = {**head, **ended.payload}
            raise


def tiers_of(settings: FaceSettings) -> str:
    """Under which name ``action_units.yaml`` has what the tool sees: py-feat's detectors differ."""
    return f"pyfeat_{settings.pyfeat.detector}" if settings.tool == "pyfeat" else settings.tool


def open_tool(settings: FaceSettings, table: ActionUnitTable, templates: Path | None) -> FaceTool:
    """The tool that the settings name, not yet started."""
    support = table.tools[tiers_of(settings)]
    active_at = table.scales[support.scale].active_at
    match settings.tool:
        case "facemesh":
            return Facemesh(settings.facemesh, settings.timeout_s, support, active_at, templates)
        case "blendshapes":
            return Blendshapes(
                settings.blendshapes, settings.timeout_s, support, active_at, templates
            )
        case "pyfeat":
            return Pyfeat(settings.pyfeat, settings.timeout_s, support)
        case "openface":
            return OpenFace(settings.openface, settings.timeout_s, support)
