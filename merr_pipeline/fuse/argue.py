"""The second half of the fine text: how the clues bear on the label, and what follows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from merr_pipeline.fuse.draft import Part, TextDraft
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
        yield _support_of_still_face(draft, reading, still_for, voice_for)
    else:
        if draft.signs or still:
            yield _no_support(draft, reading)
        if voice_for:
            name = "only_voice_supports" if draft.signs or still else "voice_supports"
            if not voice_for[0].is_sure:
                name = "voice_may_support"
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
    by_name = pools.manifest if draft.label.source == "manifest" else pools.au_rules
    emotion = draft.wording.emotion(reading.label)
    name = _name_of_end(draft, reading)
    return Part(draft.say("end", by_name[name], label=reading.label, emotion=emotion), (), 10)


def _name_of_end(draft: TextDraft, reading: Reading) -> str:
    """The pool of the last sentence, which doubts where all that it rests on is doubtful."""
    supporting = reading.of(draft.items, Bearing.SUPPORTS)
    if not supporting:
        return reading.verdict
    facial = [item for item in supporting if item.modality == "face"]
    against = reading.of(draft.items, Bearing.AGAINST)
    name: str = reading.verdict
    if name == Verdict.FITS and len(supporting) == 1:
        name = "fits_alone"
    if name == Verdict.PARTLY and draft.label.source != "manifest":
        # The rules' label rests on a face that others contradict; else there is little to show.
        contested = facial and any(item.reliability != "low" for item in against)
        if not contested:
            return Verdict.OPEN
    return name if any(item.is_sure for item in facial or supporting) else f"{name}_unsure"


def _support_of_still_face(
    draft: TextDraft, reading: Reading, still: Sequence[Item], voice: Sequence[Item]
) -> Part:
    sure = all(item.is_sure for item in still) and not reading.blind
    text = draft.read("still_supports" if sure else "still_may_support")
    text += _and_the_voice(draft, still, voice)
    unseen = draft.missing("unseen_units", "turned_face") if reading.blind else []
    if unseen:
        text += draft.say("face_half_seen", draft.wording.reading["face_half_seen"])
    return Part(f"{text}.", (*still, *voice, *unseen), 8)


def _support(draft: TextDraft, signs: Sequence[Item], voice: Sequence[Item]) -> Part:
    sure = all(item.is_sure for item in signs)
    name = "supports" if sure else "may_support"
    if draft.label.name == draft.rules.neutral.label:
        name = "slight_supports" if sure else "slight_may_support"
    text = draft.read(name, **draft.these(signs)) + _and_the_voice(draft, signs, voice)
    return Part(f"{text}.", (*signs, *voice), 8)


def _and_the_voice(draft: TextDraft, face: Sequence[Item], voice: Sequence[Item]) -> str:
    if not voice:
        return ""
    name = "voice_agrees" if all(item.is_sure for item in (*face, *voice)) else "voice_may_agree"
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
        name = "against" if all(item.is_sure for item in against) else "may_be_against"
        text = draft.read(name, **draft.the(against))
        yield Part(f"{text}.", tuple(against), 8, is_conflict=True)
    if against := reading.of(voice, Bearing.AGAINST):
        text = draft.read("voice_against", arousal=against[0].word)
        yield Part(f"{text}.", tuple(against), 5, is_conflict=True)
