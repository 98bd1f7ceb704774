"""How the clues bear on an emotion, as the checker proves it: from the rows of the evidence alone.

The composer has its own view of this in `reading`; here nothing of it is trusted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from merr_pipeline.emotion.rules import Rules
from merr_pipeline.grounding.entries import Holds, VoiceNames
from merr_pipeline.grounding.view import EvidenceView, is_unsure
from merr_pipeline.schema import Row

Way = Literal["for", "against"]
DOUBTFUL = "an unreliable measure is said without a doubt"


@dataclass(frozen=True)
class Bearings:
    """What speaks for an emotion and what against it."""

    view: EvidenceView
    rules: Rules
    voice: VoiceNames

    def of_unit(self, code: str, emotion: str, way: Way) -> bool:
        """Whether that active Action Unit bears on the emotion in this way.

        Mouth actions of someone who speaks bear on nothing.
        """
        if self.view.speaks and self.rules.table.units[code].moved_by_speech:
            return False
        if emotion == self.rules.neutral.label:
            unit = self.view.units[code]
            full = self.rules.scales[unit["scale"]].activation(unit["value"]) >= 1
            return code in self.rules.neutral.aus and full == (way == "against")
        known = self.rules.support if way == "for" else self.rules.against
        return code in known(emotion)

    def of_voice(self, emotion: str, way: Way) -> bool:
        """Whether the vocal arousal does."""
        expected = self.rules.arousal(emotion)
        return bool(expected) and (self.view.arousal_level in expected) == (way == "for")

    def of_still_face(self, emotion: str, way: Way) -> bool:
        """A still face fits a neutral state, and that is all."""
        return (way, emotion) == ("for", self.rules.neutral.label)

    def goes_with(self, row: Row, emotion: str) -> bool | None:
        """Whether that evidence is usual for the emotion; None where it tells nothing.

        Wider than `of_unit` and `of_voice`: for what is said with caution.
        """
        if self.view.still is row:
            known = self.rules.knows(emotion)
            return self.of_still_face(emotion, "for") if known else None
        if row["modality"] == "face":
            return self._unit_goes_with(row, emotion)
        if row["modality"] == "voice":
            return self._feature_goes_with(row, emotion)
        if row["modality"] == "scene" and emotion in self.voice.said_with:  # tears that are seen
            return bool(re.search(self.voice.said_with[emotion], row["text"])) or None
        if row["modality"] == "words" and emotion in self.voice.said_with:
            return bool(re.search(self.voice.said_with[emotion], self.view.said)) or None
        return None

    def _unit_goes_with(self, row: Row, emotion: str) -> bool | None:
        code = next((code for code, unit in self.view.units.items() if unit is row), None)
        if code is None:
            return self._feature_goes_with(row, emotion)  # the head
        if not self.rules.knows(emotion):
            return None
        supports = code in self.rules.support(emotion)
        if not supports and self.view.speaks and self.rules.table.units[code].moved_by_speech:
            return None
        return supports

    def _feature_goes_with(self, row: Row, emotion: str) -> bool | None:
        for feature, (of, word) in self.view.named.items():
            usual = self.voice.bears_on.get(emotion, {}).get(feature)
            if of is row and usual:
                return word in usual
        return None

    def facial_clues(self, label: str, way: Way) -> list[Row]:
        """The facial evidence that bears on the label; what is measured badly contradicts none."""
        rows = [row for code, row in self.view.units.items() if self.of_unit(code, label, way)]
        if self.view.still and self.of_still_face(label, way):
            rows.append(self.view.still)
        return _counted(rows, way)

    def vocal_clues(self, label: str, way: Way) -> list[Row]:
        """The vocal arousal, where it bears on the label; a medium one goes with anything."""
        heard = self.view.arousal if self.view.arousal_level in ("low", "high") else None
        return _counted([heard], way) if heard and self.of_voice(label, way) else []

    def wrong_conclusion(self, holds: Holds, label: str | None, *, hedged: bool) -> str:
        """What is wrong with a saying about all clues together; empty if nothing is."""
        if holds == "still_face":
            still = self.view.still
            return _doubted([still], hedged) if still else "the face is not known to be still"
        if label is None:
            return "the clip has no label"
        face, voice = self.facial_clues(label, "for"), self.vocal_clues(label, "for")
        against = self.facial_clues(label, "against") + self.vocal_clues(label, "against")
        if holds == "support":
            return (
                _doubted(face or voice, hedged) if face or voice else "no clue supports the label"
            )
        if holds == "facial_support":
            return _doubted(face, hedged) if face else "nothing in the face supports the label"
        if holds == "no_facial_support" and face:
            return "a facial action does support it"
        if holds == "contradiction" and (face or voice):
            return "a clue does support the label"
        if holds == "nothing" and (face or voice or against):
            return "a clue does bear on the label"
        if holds == "against" and not against:
            return "no clue speaks against the label"
        if holds == "no_rule" and self.rules.support(label):
            return "there are facial actions that go with the label"
        return ""


def _counted(rows: Sequence[Row], way: Way) -> list[Row]:
    return [row for row in rows if way == "for" or row["reliability"] != "low"]


def _doubted(rows: Sequence[Row], hedged: bool) -> str:
    return DOUBTFUL if not hedged and all(map(is_unsure, rows)) else ""
