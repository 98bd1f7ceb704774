"""The ``face`` stage: every face of a clip as tracks with boxes, head pose and Action Units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.face.geometry import load_geometry
from merr_pipeline.face.tools.environment import pinned_versions
from merr_pipeline.face.tools.facemesh import Facemesh
from merr_pipeline.face.tools.openface import OpenFaceCsvs
from merr_pipeline.schema import FACE, Clip, Row
from merr_pipeline.settings import Settings
from merr_pipeline.stage import Identity, NotOk, Stage, Work, digest, each


class FaceStage(Stage):
    """Runs the face tool that the settings name."""

    name = "face"
    needs = ("probe",)
    schema = FACE

    def __init__(self, settings: Settings) -> None:
        self.settings = settings.face
        self.table = load_action_units(settings.templates)
        self.geometry = load_geometry(settings.templates)
        self.support = self.table.tools[self.settings.tool]
        self.tool: Facemesh | OpenFaceCsvs
        if self.settings.tool == "facemesh":
            self.tool = Facemesh(
                self.settings.facemesh, self.settings.timeout_s, self.support, self.geometry
            )
        else:
            self.tool = OpenFaceCsvs(self.settings.openface, self.support)

    def identity(self) -> Identity:
        """The tool, its version and its own settings; the tables that it reads."""
        templates = [self.table.sha256]
        if self.settings.tool == "facemesh":
            templates.append(self.geometry.sha256)
            settings = self.settings.facemesh.model_dump(mode="json")
        else:
            settings = self.settings.openface.model_dump(mode="json", exclude={"csv_dir"})
        return Identity(
            stage=self.name,
            version=2,
            tool=self.settings.tool,
            tool_version=self._versions(),
            template=digest(templates),
            settings=settings,
        )

    def _versions(self) -> str:
        """What makes the meshes, and what measures them; nothing for CSVs: they do not say."""
        if self.settings.tool == "openface":
            return ""
        return f"{', '.join(pinned_versions('facemesh'))}; measured with numpy {np.__version__}"

    def facts(self, clip: Clip) -> Mapping[str, Any]:
        """The content of the clip's OpenFace CSV, where that is the tool."""
        if isinstance(self.tool, OpenFaceCsvs):
            return {"openface_csv": self.tool.sha256(clip)}
        return {}

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
