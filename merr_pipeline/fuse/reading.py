"""What each clue says of the label: for it, against it, or nothing.

Knowledge of emotions comes from ``emotion_rules.yaml`` alone. Without a label nothing is read: the
clues are then described, not interpreted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from merr_pipeline.emotion.rules import Rules
from merr_pipeline.fuse.evidence import Item, Kind


class Bearing(StrEnum):
    """How one clue bears on the label."""

    SUPPORTS = "supports"
    AGAINST = "against"
    SPEECH = "speech"  # talking alone moves it
    NOTHING = "nothing"


class Verdict(StrEnum):
    """How all of them together bear on it; also the name of the pool of conclusions."""

    FITS = "fits"
    PARTLY = "partly"
    CONTRADICTS = "contradicts"  # signs are there, and none supports the label
    OPEN = "open"  # too little was measured to say


@dataclass(frozen=True)
class Reading:
    """The clues sorted by what they say of one label."""

    label: str
    bearings: dict[str, Bearing]  # by evidence id; face and arousal items only
    blind: bool  # signs of this label may well have been missed
    verdict: Verdict

    def of(self, items: Sequence[Item], bearing: Bearing) -> list[Item]:
        """Those of the items that bear on the label in this way."""
        return [item for item in items if self.bearings.get(item.id) == bearing]


def read_clues(items: Sequence[Item], label: str, rules: Rules) -> Reading:
    """Sort the clues by what they say of the label."""
    signs = [item for item in items if item.kind == Kind.ACTION_UNIT]
    speaks = any(item.kind in (Kind.VOICE, Kind.AROUSAL, Kind.WORDS) for item in items)
    bearings = {item.id: _sign_bearing(item, label, rules, speaks) for item in signs}
    for item in items:
        if item.kind == Kind.STILL_FACE:
            neutral = label == rules.neutral.label
            bearings[item.id] = Bearing.SUPPORTS if neutral else Bearing.NOTHING
        elif item.kind == Kind.AROUSAL:
            bearings[item.id] = _arousal_bearing(item, label, rules)
    blind = _is_blind(items, label, rules)
    is_neutral = label == rules.neutral.label
    return Reading(label, bearings, blind, _verdict(items, bearings, blind, is_neutral))


def _sign_bearing(item: Item, label: str, rules: Rules, speaks: bool) -> Bearing:
    if speaks and rules.table.units[item.key].moved_by_speech:
        return Bearing.SPEECH
    if label == rules.neutral.label:
        return _bearing_on_neutral(item, rules)
    if item.key in rules.support(label):
        return Bearing.SUPPORTS
    return Bearing.AGAINST if item.key in rules.against(label) else Bearing.NOTHING


def _bearing_on_neutral(item: Item, rules: Rules) -> Bearing:
    """A neutral face is never quite still: only a sign in full speaks against it."""
    if item.key not in rules.neutral.aus:
        return Bearing.NOTHING
    in_full = rules.scales[item.scale or ""].activation(item.value or 0.0) >= 1
    return Bearing.AGAINST if in_full else Bearing.SUPPORTS


def _arousal_bearing(item: Item, label: str, rules: Rules) -> Bearing:
    """A medium arousal goes with anything, and one that is hard to hear contradicts nothing."""
    expected = rules.arousal(label)
    level = item.word.removeprefix("very ")
    if level == "medium" or not expected:
        return Bearing.NOTHING
    if level in expected:
        return Bearing.SUPPORTS
    return Bearing.NOTHING if item.reliability == "low" else Bearing.AGAINST


def _is_blind(items: Sequence[Item], label: str, rules: Rules) -> bool:
    """Whether the face tool might well have missed what would speak for the label.

    It might on a turned face, and when most of that could not be measured, or some of it on a scale
    of proxies.
    """
    if any(item.key == "turned_face" for item in items):
        return True
    typical = frozenset(rules.neutral.aus) if label == rules.neutral.label else rules.support(label)
    unseen = {
        code for item in items if item.key == "unseen_units" for code in item.word.split(", ")
    }
    is_proxy = any(item.scale == "proxy_0_5" for item in items)
    return not typical or len(typical & unseen) > (0 if is_proxy else len(typical) / 2)


def _verdict(
    items: Sequence[Item], bearings: dict[str, Bearing], blind: bool, is_neutral: bool
) -> Verdict:
    """From single clues to the whole.

    A face that could support the label and does not counts against it. What is measured badly
    neither fits a label in full nor contradicts it; nor does a voice fit one alone, for its arousal
    goes with several. Neutral is an absence: a face that was half seen does not fit it in full.
    """
    face = [item for item in items if item.kind in (Kind.ACTION_UNIT, Kind.STILL_FACE)]
    reliable = {item.id for item in items if item.reliability != "low"}
    fits = any(bearings[i.id] == Bearing.SUPPORTS and i.id in reliable for i in face)
    against = any(b == Bearing.AGAINST and name in reliable for name, b in bearings.items())
    if Bearing.SUPPORTS in bearings.values():
        in_full = fits and not against and not (is_neutral and blind)
        return Verdict.FITS if in_full else Verdict.PARTLY
    return Verdict.CONTRADICTS if against or (face and not blind) else Verdict.OPEN
