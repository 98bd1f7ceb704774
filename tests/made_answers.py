"""A server of models that answers all three roles so that each answer fits what it was asked.

The language model says what the face shows first, and what the face tool cannot see well; the
vision model says what is in no clip but could be in any; the audio model claims a fast tempo and
a laugh, whatever it hears.
"""

from __future__ import annotations

import json
from typing import Any

from model_server import Asked, Step, answer

SCENE = {
    "people": "one person, in the middle",
    "place": "a room",
    "posture": "faces the camera",
    "gestures": [],
    "objects": [],
    "scene": "A person is in the middle of the picture, in a room.",
    "subtitle_text": None,
}
TONE = {
    **dict.fromkeys(("pitch", "pauses", "effort", "intonation"), "not audible"),
    **dict.fromkeys(("voice_quality", "arousal"), "not audible"),
    "tempo": "very fast",
    "nonverbal": ["laughing"],
    "background": [],
    "valence_hint": None,
    "confidence": "medium",
}
UNSEEN = "Not all facial actions that are typical of happiness could be measured well here."


def evidence_of(asked: Asked) -> list[dict[str, Any]]:
    """The numbered list in a prompt for the fine text."""
    inside = asked.text.rpartition("<evidence>")[2].partition("</evidence>")[0]
    found: list[dict[str, Any]] = json.loads(inside)
    return found


def reasoned(asked: Asked) -> Step:
    """A fine text that the evidence in the prompt bears out."""
    faces = [item for item in evidence_of(asked) if item["about"] == "face" and "say" in item]
    seen = f"In the video, the person seems to show {faces[0]['say']}. " if faces else ""
    return _fine(seen + UNSEEN)


def _fine(text: str) -> Step:
    return answer(
        {
            "label": "happy",
            "confidence": 0.4,
            "open_labels": ["cheerful"],
            "cues": [],
            "conflicts": [],
            "text": text,
        }
    )


def ungrounded(asked: Asked) -> Step:
    """A fine text of the right shape that says more than the evidence does."""
    del asked
    return _fine("The person seems happy, and lifts a glass of wine. " + UNSEEN)


def any_role(asked: Asked) -> Step:
    """By what is asked: text, pictures or sound."""
    parts = [m["content"] for m in asked.body["messages"] if isinstance(m["content"], list)]
    kinds = {part["type"] for content in parts for part in content}
    if "image_url" in kinds:
        return answer(SCENE)
    if "input_audio" in kinds:
        return answer(TONE)
    return reasoned(asked)
