"""The second half of the fine text: how the clues bear on the label, and what follows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from merr_pipeline.fuse.draft import Part, TextDraft, is_sure
from merr_pipeline.fuse.evidence import Item, Kind
from merr_pipeline.fuse.reading import Bearing, Reading, Verdict


def argue(draft: TextDraft) -> Iterator[Part]:
    """For, against, and what may be no more than speech; nothing without a label."""
    reading, voice, still = draft.reading, draft.of(Kind.AROUSAL), draft.of(Kind.STILL_FACE)
    if reading is None:
        return
    signs_for, still_for, voice_for = (
        reading.of(items, Bearing.SUPPORTS) for items in (draft.signs, still, voice)
    )
    if signs_for:
        yield _support(draft, signs_for, voice_for)
    elif still_for:
        name = "still_supports" if all(map(is_sure, still_for)) else "still_may_support"
        text = draft.read(name) + _and_the_voice(draft, still_for, voice_for)
        yield Part(f"{text}.", (*still_for, *voice_for), 8)
    else:
        if draft.signs or still:
            yield _no_support(draft, reading)
        if voice_for:
            name = "only_voice_supports" if draft.signs or still else "voice_supports"
            text = draft.read(name, arousal=voice_for[0].word)
            yield Part(f"{text}.", tuple(voice_for), 5)
    yield from _oppose(draft, reading, voice)
    if speech := reading.of(draft.signs, Bearing.SPEECH):
        yield Part(f"{draft.read('speech', **draft.the(speech))}.", tuple(speech), 3)


def conclude(draft: TextDraft) -> Part:
    """The last sentence; it says where the label comes from and how well it is borne out."""
    pools, reading = draft.wording.conclusion, draft.reading
    if reading is None:
        return Part(draft.say("end", pools.undecided), (), 10)
    by_verdict = pools.manifest if draft.label.source == "manifest" else pools.au_rules
    emotion = draft.wording.emotion(reading.label)
    alone = len(reading.of(draft.items, Bearing.SUPPORTS)) == 1
    name = "fits_alone" if alone and reading.verdict == Verdict.FITS else reading.verdict
    text = draft.say("end", by_verdict[name], label=reading.label, emotion=emotion)
    return Part(text, (), 10)


def _support(draft: TextDraft, signs: Sequence[Item], voice: Sequence[Item]) -> Part:
    name = "supports" if all(map(is_sure, signs)) else "may_support"
    if draft.label.name == draft.rules.neutral.label:
        name = "slight_supports"
    text = draft.read(name, **draft.these(signs)) + _and_the_voice(draft, signs, voice)
    return Part(f"{text}.", (*signs, *voice), 8)


def _and_the_voice(draft: TextDraft, face: Sequence[Item], voice: Sequence[Item]) -> str:
    if not voice:
        return ""
    name = "voice_agrees" if all(map(is_sure, [*face, *voice])) else "voice_may_agree"
    return draft.say(name, draft.wording.reading[name], arousal=voice[0].word)


def _no_support(draft: TextDraft, reading: Reading) -> Part:
    """The face shows nothing of the label: a conflict, unless the tool is blind for it."""
    items = tuple(draft.signs or draft.of(Kind.STILL_FACE))
    if not draft.rules.knows(reading.label):
        return Part(f"{draft.read('no_rule')}.", items, 5)
    if reading.blind:
        return Part(
            f"{draft.read('not_seen')}.", tuple(draft.missing("unseen_units", "turned_face")), 5
        )
    return Part(f"{draft.read('no_support')}.", items, 8, is_conflict=True)


def _oppose(draft: TextDraft, reading: Reading, voice: Sequence[Item]) -> Iterator[Part]:
    if against := reading.of(draft.signs, Bearing.AGAINST):
        name = "against" if all(map(is_sure, against)) else "may_be_against"
        text = draft.read(name, **draft.the(against))
        yield Part(f"{text}.", tuple(against), 8, is_conflict=True)
    if against := reading.of(voice, Bearing.AGAINST):
        text = draft.read("voice_against", arousal=against[0].word)
        yield Part(f"{text}.", tuple(against), 5, is_conflict=True)
