"""The first half of the fine text: what was measured, and nothing of what it may mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from merr_pipeline.fuse.draft import Part, TextDraft
from merr_pipeline.fuse.evidence import Item, Kind
from merr_pipeline.fuse.phrases import listed, with_article

_SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？")


def describe(draft: TextDraft) -> Iterator[Part]:
    """Face, head, picture, voice, words."""
    yield _face(draft) if draft.signs else _face_without_signs(draft)
    for pose in draft.of(Kind.HEAD_POSE):
        yield Part(draft.say("pose", draft.wording.pose_sentence, pose=pose.word), (pose,), 2)
    yield from _picture(draft)
    yield from _voice(draft)
    for words in draft.of(Kind.WORDS):
        yield Part(_quote(draft, words), (words,), 6)


def _face(draft: TextDraft) -> Part:
    pools, still = draft.wording.face, draft.of(Kind.STILL_FACE)
    sure = [item for item in draft.signs if item.is_sure]
    unsure = [item for item in draft.signs if not item.is_sure]
    text = draft.say(
        "face",
        pools["sure" if sure else "unsure"],
        where=draft.where,
        signs=draft.list_of(sure or unsure),
    )
    if sure and unsure:
        text += draft.say("also", pools["also_unsure"], signs=draft.list_of(unsure))
    peaks = [item for item in draft.of(Kind.PEAK) if item.key != "none"]
    for peak in peaks:
        time = "" if peak.time_s is None else f"{peak.time_s:.2f}"
        text += draft.say("peak", pools[peak.key], time=time)
    if still and _is_broad(draft, still[0]):
        text += draft.say("otherwise", pools["otherwise_still"])
    return Part(f"{text}.", (*draft.signs, *still, *peaks), 9)


def _face_without_signs(draft: TextDraft) -> Part:
    if still := draft.of(Kind.STILL_FACE):
        name, items = ("still" if _is_broad(draft, still[0]) else "still_few"), still
        name += "" if still[0].is_sure else "_unsure"
    elif missing := draft.missing("face", "moment"):
        name, items = "none", missing
    else:
        name, items = "unmeasured", draft.missing("unseen_units")
    text = draft.say("face", draft.wording.face[name], where=draft.where)
    return Part(f"{text}.", tuple(items), 9)


def _is_broad(draft: TextDraft, still: Item) -> bool:
    """Whether enough was measured to call the face still."""
    return len(still.word.split(", ")) >= draft.wording.limits.broad_from


def _picture(draft: TextDraft) -> Iterator[Part]:
    facts, scene = {item.key: item for item in draft.of(Kind.SCENE)}, draft.wording.scene
    shot, faces, light = (facts.get(key) for key in ("shot_scale", "faces_in_view", "light"))
    if shot is None:
        return
    words, used = with_article(shot.word), [shot]
    if faces and (number := _several(faces.word, scene.numbers)):
        words += scene.faces.format(faces=number)
        used.append(faces)
    if light and light.word not in scene.ordinary_light:
        words += scene.light.format(light=light.word)
        used.append(light)
    yield Part(draft.say("scene", scene.sentence, shot=words), tuple(used), 1)


def _several(count: str, numbers: Sequence[str]) -> str:
    """More than one in words, as far as they go; empty for the rest."""
    if not count.isdigit():
        return count  # "several"
    return numbers[int(count)] if 1 < int(count) < len(numbers) else ""


def _voice(draft: TextDraft) -> Iterator[Part]:
    pools, said = draft.wording.voice, {item.key: item for item in draft.of(Kind.VOICE)}
    phrases = pools.noun_phrases({name: item.word for name, item in said.items()})
    used = [said[name] for _, names in phrases for name in names]
    arousal = draft.of(Kind.AROUSAL)
    if phrases:
        pool = pools.sentence if all(item.is_sure for item in used) else pools.unsure
        text = draft.say("voice", pool, features=listed([phrase for phrase, _ in phrases]))
        text += "".join(draft.say("arousal", pools.arousal, word=item.word) for item in arousal)
        yield Part(f"{text}.", (*used, *arousal), 7)
    elif arousal:
        pool = pools.arousal_alone if arousal[0].is_sure else pools.arousal_alone_unsure
        text = draft.say("arousal", pool, word=arousal[0].word)
        yield Part(f"{text}.", tuple(arousal), 7)
    told = {"no_audio_stream": pools.silent, "no_speech": pools.speechless}
    for missing in draft.missing("voice"):
        if missing.word in told and not draft.of(Kind.WORDS):
            yield Part(draft.say("voice", told[missing.word]), (missing,), 4)


def _quote(draft: TextDraft, item: Item) -> str:
    limits = draft.wording.limits
    quote = _shortened(item.word, limits.max_quote_words, limits.max_quote_letters)
    text = draft.say("words", draft.wording.words, quote=quote)
    return text if quote.endswith(_SENTENCE_ENDS) else f"{text}."


def _shortened(quote: str, max_words: int, max_letters: int) -> str:
    """The beginning of a long quotation, with "..." where it was cut."""
    short = " ".join(quote.split()[:max_words])[:max_letters].rstrip()
    return quote if short == quote else f"{short.rstrip(',;:.')} ..."
