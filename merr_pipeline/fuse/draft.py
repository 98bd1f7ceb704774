"""A text while it is being written: what it is made of, and the pieces that its sentences share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from merr_pipeline.emotion.rules import Rules
from merr_pipeline.fuse.evidence import Item, Kind
from merr_pipeline.fuse.phrases import (
    AuPhrases,
    capitalised,
    definite,
    is_singular,
    listed,
    pick,
)
from merr_pipeline.fuse.reading import Bearing, Reading, read_clues
from merr_pipeline.fuse.wording import FineText
from merr_pipeline.schema import Reason


@dataclass(frozen=True)
class Part:
    """One or more sentences, and the evidence they were made from."""

    text: str
    items: tuple[Item, ...] = ()
    weight: int = 0  # the lightest parts are left out first
    is_conflict: bool = False


@dataclass(frozen=True)
class Label:
    """What the label stage decided; ``name`` is None when it did not."""

    name: str | None
    source: str | None


class TextDraft:
    """The evidence of one clip, read for its label, and the words to say it with.

    Attributes:
        signs: The Action Units that the text names, strongest first.
        reading: How the clues bear on the label; None when there is none.
    """

    def __init__(
        self,
        items: Sequence[Item],
        label: Label,
        seed: str,
        *,
        rules: Rules,
        phrases: AuPhrases,
        wording: FineText,
    ) -> None:
        self.items, self.label, self.rules, self.wording = items, label, rules, wording
        self._seed, self._phrases = seed, phrases
        self.reading: Reading | None = None
        if label.name is not None:
            self.reading = read_clues(items, label.name, rules)
        self.signs = self._named_signs(wording.limits.max_signs)

    def _named_signs(self, most: int) -> list[Item]:
        """When the signs are too many, those go first that say nothing of the label."""
        signs = self.of(Kind.ACTION_UNIT)
        bearings = self.reading.bearings if self.reading else {}
        telling = (Bearing.SUPPORTS, Bearing.AGAINST)
        ranked = sorted(signs, key=lambda item: bearings.get(item.id) not in telling)
        return [item for item in signs if item in ranked[:most]]

    def of(self, kind: Kind) -> list[Item]:
        """The evidence of one kind."""
        return [item for item in self.items if item.kind == kind]

    def missing(self, *keys: str) -> list[Item]:
        """What is missing of these stages."""
        return [item for item in self.of(Kind.MISSING) if item.key in keys]

    @property
    def where(self) -> str:
        """``"In the video"``, or in the picture where the clip is one."""
        is_picture = any(item.word == Reason.STILL for item in self.missing("voice"))
        return self.wording.where["picture" if is_picture else "video"]

    def say(self, slot: str, pool: Sequence[str], **words: str) -> str:
        """One of the pool's sentences, with its words filled in."""
        return pick(pool, self._seed, slot).format(**words)

    def read(self, name: str, **words: str) -> str:
        """A sentence of ``reading``; the label's noun is filled in."""
        emotion = self.wording.emotion(self.label.name or "")
        return capitalised(self.say(name, self.wording.reading[name], emotion=emotion, **words))

    def list_of(self, items: Sequence[Item]) -> str:
        """``"slightly lowered brows and a wrinkled nose"``."""
        return listed([self._phrase(item, again=False) for item in items])

    def the(self, items: Sequence[Item]) -> dict[str, str]:
        """Each by its name, with the verbs that agree."""
        names = [self._phrase(item, again=True) for item in items]
        one = len(names) == 1 and is_singular(names[0])
        return {"signs": listed([definite(name) for name in names]), **_verbs(one)}

    def these(self, items: Sequence[Item]) -> dict[str, str]:
        """Together, when it is all the signs that were named, else each by its name."""
        if len(items) < len(self.signs):
            return self.the(items)
        these = self.wording.these[{1: "one", 2: "two"}.get(len(items), "many")]
        return {"signs": these, **_verbs(len(items) == 1)}

    def _phrase(self, item: Item, *, again: bool) -> str:
        """How strong a sign is, is said once; then it is known, and only named."""
        adverb = "" if again else self._phrases.adverb(item.value or 0.0, item.scale or "")
        slot = "again" if again else "first"
        return self._phrases.strict_phrase(item.key, self._seed, slot, adverb)


def _verbs(one: bool) -> dict[str, str]:
    if one:
        return {"points": "points", "speaks": "speaks", "is": "is"}
    return {"points": "point", "speaks": "speak", "is": "are"}
