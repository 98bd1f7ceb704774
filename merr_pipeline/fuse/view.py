"""The evidence list as the checker sees it: read back from its rows alone.

The checker must not trust the composer, so this starts from what a record holds (`schema.EVIDENCE`)
and not from what the composer worked with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from merr_pipeline.emotion.facs import ActionUnitTable
from merr_pipeline.fuse.lexicon import Pattern, VoiceNames, words_of
from merr_pipeline.schema import Row

_CODE = re.compile(r"^(AU\d\d) ")
_NAMED = re.compile(r"^([^:]+): (.+?)(?: \([^()]*\))?$")
_QUOTED = re.compile(r': "(.*)"$', re.DOTALL)
_POSE = re.compile(r"^head (.+?)(?: at [\d.]+ s)?$")
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass
class EvidenceView:
    """What the evidence proves, by the kind of claim that needs it."""

    rows: Sequence[Row]
    units: dict[str, Row] = field(default_factory=dict)  # by Action Unit
    still: Row | None = None
    arousal: Row | None = None
    arousal_level: str = ""  # low | medium | high
    speaks: bool = False  # a voice or words are there, so mouth actions may be speech
    quotations: list[tuple[str, Row]] = field(default_factory=list)
    patterns: list[Pattern] = field(default_factory=list)

    def id_of(self, wanted: re.Pattern[str]) -> str | None:
        """The first item whose text matches."""
        return next((row["id"] for row in self.rows if wanted.search(row["text"])), None)


def read_evidence(rows: Sequence[Row], voice: VoiceNames, table: ActionUnitTable) -> EvidenceView:
    """Sort the rows of an evidence list by what they prove."""
    view = EvidenceView(rows, speaks=any(row["modality"] in ("voice", "words") for row in rows))
    for row in rows:
        view.patterns.append(Pattern.read(row["id"], "fact", row["id"]))
        if row["modality"] == "face":
            _read_face(row, view)
        elif row["modality"] == "voice":
            _read_voice(row, voice, view)
        elif row["modality"] == "words" and (quoted := _QUOTED.search(row["text"])):
            view.quotations.append((" ".join(words_of(quoted[1])), row))
        elif row["modality"] == "scene":
            view.patterns += _scene_patterns(row)
    view.patterns += [
        Pattern.read(f"{code}|au{int(code[2:])}", "face", (code,)) for code in table.units
    ]
    return view


def _read_face(row: Row, view: EvidenceView) -> None:
    def add(text: str) -> None:
        view.patterns.append(Pattern.read(text, "fact", row["id"]))

    if code := _CODE.match(row["text"]):
        view.units[code[1]] = row
        add(f"{row['value']:.2f}|{row['value']:.1f} of 5")
    elif pose := _POSE.match(row["text"]):
        parts = pose[1].split(" and ")
        for part in {pose[1], *parts}:
            add(f"head {part}")
    elif row["text"].startswith(("none of the ", "no facial action but ")):
        view.still = row
    if row["time_s"] is not None:
        time = f"{row['time_s']:.2f}|{row['time_s']:.1f} s|seconds"
        add(f"at|around {time}")
        if "clearly at its most expressive" in row["text"]:
            add(f"strongest at|around {time}")
            add(f"most clearly at|around {time}")
        elif "somewhat more expressive" in row["text"]:
            add(f"a little more so at|around {time}")


def _read_voice(row: Row, voice: VoiceNames, view: EvidenceView) -> None:
    named = _NAMED.match(row["text"])
    if named is None:
        return
    feature, word = named[1].replace(" ", "_").removeprefix("vocal_"), named[2]
    if feature == "arousal":
        view.arousal, view.arousal_level = row, word.removeprefix("very ")
    for said in (word, *voice.same.get(feature, {}).get(word, ())):
        for text in _voice_sayings(feature, " ".join(words_of(said)), voice):
            kind = "arousal" if feature == "arousal" else "fact"
            view.patterns.append(Pattern.read(text, kind, row["id"]))


def _voice_sayings(feature: str, word: str, voice: VoiceNames) -> Iterator[str]:
    if feature in voice.without_noun:
        yield word
    for noun in voice.nouns.get(feature, ()):
        yield f"{word} {noun}"
        yield f"{noun} {word}"
        yield f"{noun} that {word}"


def _scene_patterns(row: Row) -> Iterator[Pattern]:
    """A measured fact is said whole; of a scene described by a model any run of words may be."""
    named = _NAMED.match(row["text"])
    if named is None:
        return
    if named[1].startswith("scene"):
        words = words_of(row["text"].partition(": ")[2])
        for start in range(len(words)):
            for end in range(start + 1, len(words) + 1):
                yield Pattern(tuple((word,) for word in words[start:end]), "fact", row["id"])
        return
    word = row["text"].partition(": ")[2]
    if named[1] == "faces in view" and word.isdigit():
        count = int(word)
        spelt = f"{word}|{_NUMBERS[count]}" if count < len(_NUMBERS) else word
        yield Pattern.read(f"{spelt} face|faces in view", "fact", row["id"])
    else:
        yield Pattern.read(" ".join(words_of(word)), "fact", row["id"])
