"""The ``scene`` stage by a vision model: what is to be seen, in words that can be checked.

The model is shown pictures and nothing else. What was measured is in the row all the same, also
where the model gives no answer that can be kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from pydantic import BaseModel

from merr_pipeline.llm.cache import shaping
from merr_pipeline.llm.messages import Part, Picture, system, user
from merr_pipeline.llm.questions import Answer, Question
from merr_pipeline.llm.stage import Asks, CallStage
from merr_pipeline.scene.facts import measured_facts
from merr_pipeline.scene.objective import SceneAnswer, load_scene_prompt
from merr_pipeline.scene.pictures import Shown, pictures_of
from merr_pipeline.scene.words import load_scene_words
from merr_pipeline.schema import SCENE, Row, Status
from merr_pipeline.settings import Settings
from merr_pipeline.stage import Identity, Work, digest, one

SOURCE = "vision_model"


class SceneModelStage(CallStage):
    """One question per clip, with its pictures."""

    name = "scene"
    needs = ("probe", "face", "moment")
    schema = SCENE
    roles = ("vision",)

    def __init__(self, settings: Settings) -> None:
        self._model, self._pictures = settings.llm.of("vision"), settings.moment
        self._words = load_scene_words(settings.templates)
        self._prompt = load_scene_prompt(settings.templates)

    def identity(self) -> Identity:
        """The model and all that it is told; the words and thresholds of the measured facts."""
        pictures = {"side_px": self._pictures.frame_side_px, "jpeg": self._pictures.jpeg_quality}
        return Identity(
            stage=self.name,
            version=2,
            tool="openai-compatible server",
            tool_version=f"opencv {cv2.__version__}, numpy {np.__version__}",
            model=self._model.model or "",
            revision=self._model.revision,
            template=digest([self._prompt.sha256, self._words.sha256]),
            settings={**shaping(self._model), "pictures": pictures},
        )

    def questions(self, work: Work) -> Sequence[Question[Any]]:
        """The one question; opens the clip for the frames beside the peak.

        Raises:
            NotOk: failed with ``DECODE_ERROR`` when a frame cannot be read again.
        """
        shown = pictures_of(work, self._pictures)
        messages = (
            system(self._prompt.render(self._prompt.system)),
            user(*self._parts(shown), self._prompt.render(self._prompt.question)),
        )
        check = self._prompt.what_is_wrong
        return [Question("vision", self.name, messages, SceneAnswer, check)]

    def _parts(self, shown: Sequence[Shown]) -> Iterator[Part]:
        for number, picture in enumerate(shown, start=1):
            yield self._prompt.caption(picture.what, number, picture.offset_s)
            yield Picture(picture.jpeg)

    def row(self, work: Work, answers: Sequence[Answer[Any]]) -> Row:
        """The description, its parts, and what was measured; the subtitle in fields of its own."""
        said: SceneAnswer = answers[0].value
        subtitle = " ".join((said.subtitle_text or "").split())
        has_subtitle = self._prompt.seen(subtitle) is not None
        return {
            "scene": self._prompt.seen(said.scene),
            "scene_source": SOURCE,
            **self._facts(work),
            "scene_parts": {
                **{name: self._prompt.seen(getattr(said, name)) for name in _SINGLE},
                **{name: self._all_seen(getattr(said, name)) for name in _SEVERAL},
            },
            "burned_in_text": subtitle if has_subtitle else None,
            "burned_in_status": "read" if has_subtitle else "none_seen",
        }

    def likely_answers(self) -> Sequence[BaseModel]:
        """Half as long as ``scene_prompt.yaml`` allows."""
        return [self._prompt.likely_answer()]

    def _all_seen(self, texts: Sequence[str]) -> list[str]:
        return list(dict.fromkeys(filter(None, map(self._prompt.seen, texts))))

    async def ask_one(self, work: Work, door: Asks) -> Row:
        """As `CallStage.ask_one`; what was measured stays, whatever comes of the question."""
        row = await super().ask_one(work, door)
        return row if row["status"] == Status.OK else {**one(self._facts, work), **row}

    def _facts(self, work: Work) -> Row:
        return {"scene_facts": measured_facts(work, self._words)}


_SINGLE = ("people", "place", "posture")
_SEVERAL = ("gestures", "objects")
