"""The fine text by rule: from numbered evidence to a short English text that reasons from it.

The text has up to seven parts: what the face shows, how the head is held, the picture, the voice,
the words, how the clues bear on the label, the conclusion. Over ``max_words`` the least important
parts are left out whole; the conclusion always stays. Every part keeps the ids of the evidence it
was made from. Without a label nothing is named but what was measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from merr_pipeline.emotion.rules import Rules
from merr_pipeline.fuse.evidence import Item, Kind
from merr_pipeline.fuse.phrases import (
    AuPhrases,
    capitalised,
    definite,
    is_singular,
    listed,
    pick,
    with_article,
)
from merr_pipeline.fuse.reading import Bearing, Reading, read_clues
from merr_pipeline.fuse.wording import FineText
from merr_pipeline.schema import Row

_SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？")


@dataclass(frozen=True)
class Part:
    """One or more sentences, and the evidence they were made from."""

    text: str
    items: tuple[Item, ...] = ()
    weight: int = 0  # the lightest parts are left out first
    is_conflict: bool = False


@dataclass(frozen=True)
class Composition:
    """A finished text with its bookkeeping."""

    text: str
    cues: list[Row] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Label:
    """What the label stage decided; ``name`` is None when it did not."""

    name: str | None
    source: str | None


@dataclass(frozen=True)
class Composer:
    """Makes texts; holds what all of them have in common."""

    rules: Rules
    phrases: AuPhrases
    wording: FineText
    max_words: int

    def compose(self, items: Sequence[Item], label: Label, seed: str) -> Composition:
        """The text of one clip; ``seed`` is the clip's sha256 and chooses among synonyms."""
        return _Draft(self, items, label, seed).finish()


class _Draft:
    """One text while it is being written."""

    def __init__(self, composer: Composer, items: Sequence[Item], label: Label, seed: str) -> None:
        self._rules, self._phrases = composer.rules, composer.phrases
        self._wording, self._max_words = composer.wording, composer.max_words
        self._items, self._label, self._seed = items, label, seed
        self._reading = read_clues(items, label.name, self._rules) if label.name else None
        self._signs = self._named_signs(self._wording.limits.max_signs)

    def finish(self) -> Composition:
        """All parts, those that are too much left out, and what they rest on."""
        parts = [*self._describe(), *self._interpret(), self._conclude()]
        kept = _fit(parts, self._max_words)
        return Composition(
            text=" ".join(part.text for part in kept),
            cues=self._cues(kept),
            conflicts=[part.text for part in parts if part.is_conflict],
        )

    def _named_signs(self, most: int) -> list[Item]:
        """The signs to be named, in the order of the evidence (strongest first).

        When they are too many, those go first that say nothing of the label.
        """
        signs = self._of(Kind.ACTION_UNIT)
        bearings = self._reading.bearings if self._reading else {}
        telling = (Bearing.SUPPORTS, Bearing.AGAINST)
        ranked = sorted(signs, key=lambda item: bearings.get(item.id) not in telling)
        return [item for item in signs if item in ranked[:most]]

    # --- what was measured ---------------------------------------------------------------------

    def _describe(self) -> Iterator[Part]:
        yield self._face() if self._signs else self._face_without_signs()
        for pose in self._of(Kind.HEAD_POSE):
            yield Part(self._say("pose", self._wording.pose_sentence, pose=pose.word), (pose,), 2)
        yield from self._picture()
        yield from self._voice()
        for words in self._of(Kind.WORDS):
            yield Part(self._quote(words), (words,), 6)

    def _face(self) -> Part:
        pools = self._wording.face
        sure = [item for item in self._signs if _is_sure(item)]
        unsure = [item for item in self._signs if not _is_sure(item)]
        pool = pools["sure" if sure else "unsure"]
        text = self._say("face", pool, signs=self._list(sure or unsure))
        if sure and unsure:
            text += self._say("also", pools["also_unsure"], signs=self._list(unsure))
        peaks = [item for item in self._of(Kind.PEAK) if item.time_s is not None]
        for peak in peaks:
            text += self._say("peak", pools[peak.key], time=f"{peak.time_s:.2f}")
        still = self._of(Kind.STILL_FACE)
        if still and self._is_broad(still[0]):
            text += self._say("otherwise", pools["otherwise_still"])
        return Part(f"{text}.", (*self._signs, *still, *peaks), 9)

    def _face_without_signs(self) -> Part:
        unseen = self._missing("unseen_units")
        if still := self._of(Kind.STILL_FACE):
            name, items = ("still" if self._is_broad(still[0]) else "still_few"), still
        elif missing := self._missing("face", "moment"):
            name, items = "none", missing
        else:
            name, items = "unmeasured", unseen
        return Part(self._say("face", self._wording.face[name]) + ".", tuple(items), 9)

    def _is_broad(self, still: Item) -> bool:
        """Whether enough was measured to call the face still."""
        return len(still.word.split(", ")) >= self._wording.limits.broad_from

    def _picture(self) -> Iterator[Part]:
        facts = {item.key: item for item in self._of(Kind.SCENE)}
        if "shot_scale" not in facts:
            return
        words, scene = with_article(facts["shot_scale"].word), self._wording.scene
        used = [facts["shot_scale"]]
        faces = facts.get("faces_in_view")
        if faces and faces.word.isdigit() and 1 < int(faces.word) < len(scene.numbers):
            words += scene.faces.format(faces=scene.numbers[int(faces.word)])
            used.append(faces)
        light = facts.get("light")
        if light and light.word not in scene.ordinary_light:
            words += scene.light.format(light=light.word)
            used.append(light)
        yield Part(self._say("scene", scene.sentence, shot=words), tuple(used), 1)

    def _voice(self) -> Iterator[Part]:
        pools, said = self._wording.voice, {item.key: item for item in self._of(Kind.VOICE)}
        phrases = pools.noun_phrases({name: item.word for name, item in said.items()})
        used = [said[name] for _, names in phrases for name in names]
        arousal = self._of(Kind.AROUSAL)
        if phrases:
            unsure = any(item.reliability == "low" for item in used)
            features = listed([phrase for phrase, _ in phrases])
            pool = pools.unsure if unsure else pools.sentence
            text = self._say("voice", pool, features=features)
            text += "".join(self._say("arousal", pools.arousal, word=a.word) for a in arousal)
            yield Part(f"{text}.", (*used, *arousal), 7)
        elif arousal:
            text = self._say("arousal", pools.arousal_alone, word=arousal[0].word)
            yield Part(f"{text}.", tuple(arousal), 7)
        for missing in self._missing("voice"):
            told = {"no_audio_stream": pools.silent, "no_speech": pools.speechless}
            if missing.word in told and not self._of(Kind.WORDS):
                yield Part(self._say("voice", told[missing.word]), (missing,), 4)

    def _quote(self, item: Item) -> str:
        limits = self._wording.limits
        quote = _shortened(item.word, limits.max_quote_words, limits.max_quote_letters)
        text = self._say("words", self._wording.words, quote=quote)
        return text if quote.endswith(_SENTENCE_ENDS) else f"{text}."

    # --- what it says of the label -------------------------------------------------------------

    def _interpret(self) -> Iterator[Part]:
        if self._reading is None:
            return
        reading, voice, still = self._reading, self._of(Kind.AROUSAL), self._of(Kind.STILL_FACE)
        supports, voice_supports = (
            reading.of(items, Bearing.SUPPORTS) for items in (self._signs, voice)
        )
        if supports:
            yield self._support(supports, voice_supports)
        elif reading.of(still, Bearing.SUPPORTS):
            text = self._read("still_supports") + self._and_the_voice(still, voice_supports)
            yield Part(f"{text}.", (*still, *voice_supports), 8)
        elif self._signs or still:
            yield self._no_support()
        if voice_supports and not supports and not reading.of(still, Bearing.SUPPORTS):
            name = "only_voice_supports" if self._signs or still else "voice_supports"
            text = self._read(name, arousal=voice[0].word)
            yield Part(f"{text}.", tuple(voice_supports), 5)
        yield from self._oppose(reading, voice)
        if speech := reading.of(self._signs, Bearing.SPEECH):
            text = self._read("speech", **self._the(speech))
            yield Part(f"{text}.", tuple(speech), 3)

    def _support(self, supports: list[Item], voice: list[Item]) -> Part:
        pool = "supports" if all(map(_is_sure, supports)) else "may_support"
        if self._label.name == self._rules.neutral.label:
            pool = "slight_supports"
        text = self._read(pool, **self._these(supports))
        text += self._and_the_voice(supports, voice)
        return Part(f"{text}.", (*supports, *voice), 8)

    def _and_the_voice(self, face: list[Item], voice: list[Item]) -> str:
        if not voice:
            return ""
        name = "voice_agrees" if all(map(_is_sure, [*face, *voice])) else "voice_may_agree"
        return self._say(name, self._wording.reading[name], arousal=voice[0].word)

    def _no_support(self) -> Part:
        """The face shows nothing of the label: a conflict, unless the tool is blind for it."""
        items = tuple(self._signs or self._of(Kind.STILL_FACE))
        if not self._has_rule():
            return Part(f"{self._read('no_rule')}.", items, 5)
        if self._reading and self._reading.blind:
            return Part(f"{self._read('not_seen')}.", tuple(self._missing("unseen_units")), 5)
        return Part(f"{self._read('no_support')}.", items, 8, is_conflict=True)

    def _has_rule(self) -> bool:
        label = self._label.name or ""
        return label == self._rules.neutral.label or bool(self._rules.support(label))

    def _oppose(self, reading: Reading, voice: list[Item]) -> Iterator[Part]:
        if against := reading.of(self._signs, Bearing.AGAINST):
            pool = "against" if all(map(_is_sure, against)) else "may_be_against"
            text = self._read(pool, **self._the(against))
            yield Part(f"{text}.", tuple(against), 8, is_conflict=True)
        if against := reading.of(voice, Bearing.AGAINST):
            text = self._read("voice_against", arousal=voice[0].word)
            yield Part(f"{text}.", tuple(against), 5, is_conflict=True)

    def _conclude(self) -> Part:
        if self._reading is None:
            return Part(self._say("end", self._wording.conclusion.undecided), (), 10)
        if self._label.source == "manifest":
            pool = self._wording.conclusion.manifest[self._reading.verdict]
        else:
            pool = self._wording.conclusion.au_rules[self._reading.verdict]
        emotion = self._wording.emotion(self._reading.label)
        text = self._say("end", pool, label=self._reading.label, emotion=emotion)
        return Part(text, (), 10)

    # --- bookkeeping -----------------------------------------------------------------------------

    def _cues(self, parts: Sequence[Part]) -> list[Row]:
        """What was made of each piece of evidence that the text uses, in the order of the list."""
        used = {item.id for part in parts for item in part.items}
        return [
            {"evidence_id": item.id, "reading": self._cue(item)}
            for item in self._items
            if item.id in used
        ]

    def _cue(self, item: Item) -> str:
        bearing = self._reading.bearings.get(item.id) if self._reading else None
        if self._reading is None or bearing is None:
            return "described, not interpreted"
        return {
            Bearing.SUPPORTS: f"supports {self._reading.label}",
            Bearing.AGAINST: f"speaks against {self._reading.label}",
            Bearing.SPEECH: "may be no more than speech",
            Bearing.NOTHING: f"neither for nor against {self._reading.label}",
        }[bearing]

    # --- pieces ----------------------------------------------------------------------------------

    def _of(self, kind: Kind) -> list[Item]:
        return [item for item in self._items if item.kind == kind]

    def _missing(self, *keys: str) -> list[Item]:
        return [item for item in self._of(Kind.MISSING) if item.key in keys]

    def _say(self, slot: str, pool: Sequence[str], **words: str) -> str:
        return pick(pool, self._seed, slot).format(**words)

    def _read(self, name: str, **words: str) -> str:
        emotion = self._wording.emotion(self._label.name or "")
        text = self._say(name, self._wording.reading[name], emotion=emotion, **words)
        return capitalised(text)

    def _phrase(self, item: Item, *, again: bool) -> str:
        """How strong a sign is, is said once; then it is known, and only named."""
        adverb = "" if again else self._phrases.adverb(item.value or 0.0, item.scale or "")
        slot = "again" if again else "first"
        return self._phrases.strict_phrase(item.key, self._seed, slot, adverb)

    def _list(self, items: Sequence[Item]) -> str:
        return listed([self._phrase(item, again=False) for item in items])

    def _the(self, items: Sequence[Item]) -> dict[str, str]:
        """Each by its name, with the verbs that agree."""
        names = [self._phrase(item, again=True) for item in items]
        one = len(names) == 1 and is_singular(names[0])
        return {"signs": listed([definite(name) for name in names]), **_verbs(one)}

    def _these(self, items: Sequence[Item]) -> dict[str, str]:
        """Together, when it is all the signs that were named, else each by its name."""
        if len(items) < len(self._signs):
            return self._the(items)
        these = self._wording.these[{1: "one", 2: "two"}.get(len(items), "many")]
        return {"signs": these, **_verbs(len(items) == 1)}


def _verbs(one: bool) -> dict[str, str]:
    if one:
        return {"points": "points", "speaks": "speaks", "is": "is"}
    return {"points": "point", "speaks": "speak", "is": "are"}


def _is_sure(item: Item) -> bool:
    """Proxies and values of low reliability are said with a doubt."""
    return item.reliability != "low" and item.scale != "proxy_0_5"


def _shortened(quote: str, max_words: int, max_letters: int) -> str:
    """The beginning of a long quotation, with "..." where it was cut."""
    short = " ".join(quote.split()[:max_words])[:max_letters].rstrip()
    return quote if short == quote else f"{short.rstrip(',;:.')} ..."


def _fit(parts: Sequence[Part], max_words: int) -> list[Part]:
    """Leave out the lightest parts (the later of equals first) until the text is short enough."""
    kept = list(parts)
    while len(kept) > 1 and sum(len(part.text.split()) for part in kept) > max_words:
        lightest = min(part.weight for part in kept)
        last = max(index for index, part in enumerate(kept) if part.weight == lightest)
        del kept[last]
    return kept
