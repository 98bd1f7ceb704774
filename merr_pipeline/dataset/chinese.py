"""The coarse caption in Chinese, made from the numbered evidence and from nothing else.

The checker reads English alone, so a Chinese caption is proven by how it is made: each of its
pieces is the entry of ``coarse_caption_zh.yaml`` for an item of the clip's evidence list, or a
quotation in it. Whoever has the evidence, the clip's hash and the template can make it again and
compare; ``merr validate`` does.

What it says is what the English one says, but for a scene that a model described: that is English,
so its measured facts are said. Words are quoted in Chinese where the evidence has them so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from merr_pipeline.dataset.caption import CaptionPattern, Form, Pieces, put_together
from merr_pipeline.dataset.placeholders import Chinese, filled_with
from merr_pipeline.dataset.told import Told, read_told
from merr_pipeline.emotion.facs import ActionUnitTable, Code, load_action_units
from merr_pipeline.fuse.phrases import pick
from merr_pipeline.scene.words import SceneWords, Step, load_scene_words
from merr_pipeline.schema import MerrError, Row
from merr_pipeline.speech.tone_claims import NONVERBAL, TonePrompt, load_tone_prompt
from merr_pipeline.speech.tone_table import AROUSAL, Sentence, ToneWords, read_tone_words
from merr_pipeline.speech.wording import compose
from merr_pipeline.templates import load_model, load_template

TEMPLATE = "coarse_caption_zh.yaml"
LANGUAGES = {"zh", "cmn"}
"""How evidence calls the language of words that may be quoted as they are."""

Entries = dict[str, Chinese]
"""By the English word that the evidence has."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class VoiceTable(_Entry):
    """The voice: words by feature, and how they are put together."""

    words: dict[str, Entries]
    heard_alone: Annotated[Chinese, filled_with("word")]
    sounds: Annotated[Chinese, filled_with("sounds")]
    sentence: Sentence


class FaceCounts(_Entry):
    """How many faces there are."""

    none: Chinese
    counted: Annotated[Chinese, filled_with("number")]
    several: Chinese


class Person(_Entry):
    """What the person is called whose place is told."""

    alone: Chinese
    among_others: Chinese


class SceneTable(_Entry):
    """The scene: words by fact, and how they are put together."""

    words: dict[str, Entries]
    faces: FaceCounts
    cuts: Annotated[Chinese, filled_with("number")]
    numbers: tuple[Chinese, ...]
    person: Person
    sentences: tuple[Sentence, ...] = Field(min_length=1)

    def number(self, count: str) -> str:
        """A count as it stands before a measure word; digits beyond those that have a word."""
        return self.numbers[int(count)] if int(count) < len(self.numbers) else count


class ChineseCaption(CaptionPattern):
    """The whole of ``coarse_caption_zh.yaml``; ``sha256`` is its content hash."""

    phrases: dict[Code, Annotated[tuple[Chinese, ...], Field(min_length=1)]]
    voice_words: VoiceTable
    scene_words: SceneTable
    sha256: str


@dataclass(frozen=True)
class ChineseWords:
    """The template, with the entries for facts that are said in several parts."""

    caption: ChineseCaption
    facts: Mapping[str, Mapping[str, str]]  # by fact of the scene, by its English words

    @property
    def sha256(self) -> str:
        """Content hash of the template: all else is in the evidence."""
        return self.caption.sha256


def load_chinese_words(templates: Path | None = None) -> ChineseWords:
    """Read the template from the user's templates folder, else the shipped one.

    Raises:
        MerrError: it is missing or wrong, or lacks an entry for something that the Action Units,
            `tone_words.yaml`, `tone_prompt.yaml` or `scene_words.yaml` in use can say.
    """
    caption = load_model(ChineseCaption, TEMPLATE, templates)
    tone = read_tone_words(load_template("tone_words.yaml", templates))
    prompt, scene = load_tone_prompt(tone, templates), load_scene_words(templates)
    needed = {
        "phrases": _units(load_action_units(templates)),
        **{f"voice_words.words.{name}": of for name, of in _voice(tone, prompt).items()},
        **{f"scene_words.words.{name}": of for name, of in _facts(scene).items()},
    }
    there = {
        "phrases": set(caption.phrases),
        **{f"voice_words.words.{name}": set(of) for name, of in caption.voice_words.words.items()},
        **{f"scene_words.words.{name}": set(of) for name, of in caption.scene_words.words.items()},
    }
    lacking = [
        f"{place} has no {word!r}"
        for place, words in needed.items()
        for word in sorted(words - there.get(place, set()))
    ]
    if lacking:
        raise MerrError(f"template {TEMPLATE} is wrong: {'; '.join(lacking)}")
    return ChineseWords(caption, _in_parts(scene, caption.scene_words.words))


def chinese_caption(
    evidence: Sequence[Row], sha256: str, words: ChineseWords, form: Form
) -> tuple[str | None, str | None]:
    """``(visual_expression, coarse_caption)`` of a clip; None where nothing is known.

    ``evidence`` are the rows of its evidence list. ``sha256`` is the clip's, and chooses among
    phrases.

    Raises:
        MerrError: the evidence says something that the template has no entry for; it was made with
            other templates.
    """
    caption = words.caption
    told = read_told(evidence, NONVERBAL, (*words.facts, "faces_in_view", "cuts"))
    try:
        strongest = told.units[: caption.max_phrases]
        said = [pick(caption.phrases[code], sha256, f"zh:{code}") for code in strongest]
        pieces = Pieces(
            scene=_scene(told, words),
            expression=_listed(list(dict.fromkeys(said))),
            tone=_tone(told, caption.voice_words),
            transcript=told.quotation(LANGUAGES),
            is_unsure=told.is_unsure,
        )
    except KeyError as error:
        raise MerrError(f"template {TEMPLATE} has no entry for {error}.") from error
    return pieces.expression or None, put_together(pieces, caption, form)


def _tone(told: Told, table: VoiceTable) -> str:
    found = {name: table.words[name][word] for name, word in told.voice.items()}
    for name in told.heard_alone:
        found[name] = table.heard_alone.format(word=found[name])
    if told.sounds:
        sounds = _listed([table.words[NONVERBAL][sound] for sound in told.sounds])
        found["sounds"] = table.sounds.format(sounds=sounds)
    return compose(found, table.sentence)


def _scene(told: Told, words: ChineseWords) -> str:
    table, facts = words.caption.scene_words, told.scene
    found = {name: words.facts[name][facts[name]] for name in words.facts if name in facts}
    faces = facts.get("faces_in_view")
    if faces is not None:
        found["faces"] = _faces(faces, table)
    if where := "，".join(found[name] for name in ("position", "facing") if name in found):
        is_alone = faces in (None, "1")
        found |= {"where": where}
        found |= {"person": table.person.alone if is_alone else table.person.among_others}
    if facts.get("cuts", "0") != "0":
        found["cuts"] = table.cuts.format(number=table.number(facts["cuts"]))
    said = [compose(found, sentence) for sentence in table.sentences]
    return "".join(f"{sentence}。" for sentence in said if sentence)


def _faces(count: str, table: SceneTable) -> str:
    if count.isdigit():
        counted = table.faces.counted.format(number=table.number(count))
        return table.faces.none if count == "0" else counted
    return table.faces.several


def _listed(parts: Sequence[str]) -> str:
    *first, last = parts or [""]
    return f"{'、'.join(first)}和{last}" if first else last


# --- what there must be an entry for -------------------------------------------------------------


def _units(table: ActionUnitTable) -> set[str]:
    return {code for code, unit in table.units.items() if unit.emotion_relevant}


def _voice(tone: ToneWords, prompt: TonePrompt) -> dict[str, set[str]]:
    """Words by feature: those that measures lead to, and those that a model may say."""
    needed = {name: set(tone.words_of(name)) for name in (*tone.features, AROUSAL)}
    for kind in prompt.claims.values():
        needed[kind.feature] |= set(kind.vocabulary)
    return needed | {NONVERBAL: set(prompt.nonverbal)}


def _facts(scene: SceneWords) -> dict[str, set[str]]:
    """Words by fact; an empty word says nothing."""
    turned = scene.facing
    needed = {
        "shot_scale": {step.word for step in scene.shot_scale},
        "position": {step.word for step in scene.position},
        "facing": {*_turned(scene), turned.raised, turned.lowered},
        "light": {step.word for step in (*scene.light, *scene.contrast)} | {scene.partly_dark.word},
        "motion": {step.word for step in scene.motion},
        "colour": {step.word for step in (*scene.colour, *scene.warmth)},
    }
    return {name: words - {""} for name, words in needed.items()}


def _turned(scene: SceneWords) -> list[str]:
    say = scene.facing
    return [say.camera, say.right, say.left, say.right_profile, say.left_profile]


def _in_parts(scene: SceneWords, zh: Mapping[str, Entries]) -> dict[str, dict[str, str]]:
    """An entry for every way in which `scene.facts` puts the words of a fact together."""
    facts: dict[str, dict[str, str]] = {name: dict(of) for name, of in zh.items()}
    heads = ("", scene.facing.raised, scene.facing.lowered)
    tints, contrasts = _words(scene.warmth), _words(scene.contrast)
    dark = ("", scene.partly_dark.word)
    facts["facing"] = dict(_joined(_turned(scene), heads, ("",), zh["facing"]))
    facts["light"] = dict(_joined(_words(scene.light), contrasts, dark, zh["light"]))
    facts["colour"] = dict(_joined(_words(scene.colour), tints, ("",), zh["colour"]))
    return facts


def _words(steps: Sequence[Step]) -> list[str]:
    return list(dict.fromkeys(["", *(step.word for step in steps)]))


def _joined(
    first: Sequence[str], second: Sequence[str], last: Sequence[str], zh: Entries
) -> Iterator[tuple[str, str]]:
    for one in filter(None, first):
        for two in second:
            for three in last:
                english = " ".join(filter(None, (one, two))) + (f", {three}" if three else "")
                yield english, "，".join(zh[word] for word in (one, two, three) if word)
