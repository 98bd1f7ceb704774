"""The words in a line of subtitles: without markup, notes on sounds, credits, speakers' names.

The same for sidecars, embedded tracks and the manifest's column.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from merr_pipeline.speech.subtitle_words import SubtitleWords


@dataclass(frozen=True)
class Cue:
    """A piece of text with its times on the clip's clock; null where the file has none."""

    start_s: float | None
    end_s: float | None
    text: str
    speaker: str | None = None
    is_ass: bool = False  # the text has ASS markup


VOICE_TAG = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]{1,80})>|</v\s*>", re.IGNORECASE)  # WebVTT
TAG = re.compile(r"</?[A-Za-z][^<>]{0,200}>|<\d[\d:.]*>")
OVERRIDE = re.compile(r"\{\\[^}]*\}")
BRACES = re.compile(r"(\{[^}]*\})")
DRAWING = re.compile(r"\\p(\d+)")  # from \p1 to \p0 the text is the outline of a shape
INVISIBLE = re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
BRACKETED = re.compile(
    r"\[[^\]]{0,200}\]|\([^)]{0,200}\)|（[^）]{0,200}）|【[^】]{0,200}】|［[^］]{0,200}］"
    r"|〔[^〕]{0,200}〕"
)
SOUNDS = re.compile(rf"{BRACKETED.pattern}|[♪♫][^♪♫]*[♪♫]*")
SOUNDS_OR_WORDS = re.compile(
    r"\*([^*\n]{1,60})\*|〈([^〉\n]{1,60})〉|^\s*《([^》\n]{1,60})》\s*$", re.MULTILINE
)
LEAD = re.compile(r"(?:>{2,3}\s*)?(?:[-–—]\s*(?!\d))?")  # somebody else speaks
AFTER_NOTE = re.compile(r"^(?:：|:\s)\s*")  # the colon after a name in brackets
NAMED = re.compile(r"([^:：\n]{1,40}?)\s*(?::(?:\s+|$)|：\s*)")


def tidy(text: str) -> str:
    """Every run of white space as one blank, none at the ends."""
    return " ".join(text.split())


@dataclass(frozen=True)
class Cleaner:
    """Takes out of raw cues what was not said. ``names`` are of speakers, in lower case."""

    words: SubtitleWords
    names: frozenset[str] = frozenset()

    def knowing(self, raws: Iterable[Cue], *speakers: str | None) -> Cleaner:
        """With further speakers: those given, those whom cues name, and those before colons.

        ``Anna:`` is one where a name begins two lines, or names begin half of the lines.
        """
        raws = list(raws)
        named = {who.casefold() for who in (*speakers, *(raw.speaker for raw in raws)) if who}
        lines = [
            line
            for raw in raws
            for line in _without_markup(raw.text).replace("\\N", "\n").split("\n")
            if line.strip()
        ]
        before = filter(None, (self._before_colon(line)[0] for line in lines))
        found = Counter(name.casefold() for name in before if self.words.may_be_name(name))
        often = found.total() > 1 and found.total() * 2 >= len(lines)
        is_usual = often or any(count > 1 for count in found.values())
        return replace(self, names=self.names | named | (found.keys() if is_usual else set()))

    def cues_of(self, raw: Cue) -> tuple[list[Cue], Counter[str]]:
        """The words of a raw cue, one cue per named speaker, and what was left out.

        Left out are ``sounds``, ``credits`` and ``effects`` (drawings), counted.
        """
        left_out: Counter[str] = Counter()
        text = self._without_drawings(raw.text, left_out) if raw.is_ass else raw.text
        cues = [
            replace(raw, text=said, speaker=who, is_ass=False)
            for voice, part in _by_voice(text, raw.speaker)
            for who, said in self._by_speaker(part, voice, left_out)
            if said
        ]
        if self._is_of_credits(text, cues):
            return [], left_out
        return cues, +left_out

    def _without_drawings(self, text: str, left_out: Counter[str]) -> str:
        kept, draws = [], False
        for part in BRACES.split(text):
            if part.startswith("{") and part.endswith("}"):
                levels = DRAWING.findall(part)
                draws = levels[-1] != "0" if levels else draws
            elif not draws:
                kept.append(part)
            elif part.strip():
                left_out["effects"] += 1
        return "".join(kept).replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")

    def _is_of_credits(self, text: str, cues: list[Cue]) -> bool:
        """Whether a timed cue begins as a credit; its names may stand on lines of their own."""
        is_timed = all(cue.start_s is not None and cue.speaker is None for cue in cues)
        return is_timed and self.words.is_credit(_without_markup(text))

    def _without_sounds(self, text: str, left_out: Counter[str]) -> str:
        def note(found: re.Match[str]) -> str:
            if not self.words.is_sound("".join(filter(None, found.groups()))):
                return found[0]
            left_out["sounds"] += 1
            return " "

        text, count = SOUNDS.subn(" ", text)
        left_out["sounds"] += count
        return SOUNDS_OR_WORDS.sub(note, text)

    def _by_speaker(
        self, text: str, speaker: str | None, left_out: Counter[str]
    ) -> list[tuple[str | None, str]]:
        """Lines put together until another ``NAME:`` speaks; what marks a new speaker goes."""
        parts: list[tuple[str | None, list[str]]] = [(speaker, [])]
        text = self._without_sounds(_without_markup(text), left_out)
        for line in (AFTER_NOTE.sub("", line.strip()) for line in text.split("\n")):
            if self.words.is_credit(line):
                left_out["credits"] += 1
                continue
            name, said = self._before_colon(line)
            if name and (self.words.is_name(name) or name.casefold() in self.names):
                parts.append((name, []))
            else:
                said = LEAD.sub("", line, count=1)
            parts[-1][1].append(said)
        return [(who, tidy(" ".join(lines))) for who, lines in parts]

    def _before_colon(self, line: str) -> tuple[str | None, str]:
        """What may be a name before the first colon of a line, and the rest of the line."""
        line = LEAD.sub("", line.strip(), count=1)
        found = NAMED.match(line)
        return (found[1].strip(), line[found.end() :]) if found else (None, line)


def _without_markup(text: str) -> str:
    return INVISIBLE.sub("", html.unescape(TAG.sub("", OVERRIDE.sub("", text))))


def _by_voice(text: str, speaker: str | None) -> Iterator[tuple[str | None, str]]:
    """The parts of a text that WebVTT gives to voices; the rest is the speaker's."""
    first, *others = VOICE_TAG.split(text)
    yield speaker, first
    for voice, part in zip(others[::2], others[1::2], strict=True):
        yield (voice.strip() if voice else speaker), part
