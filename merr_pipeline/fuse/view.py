"""The evidence list as the checker sees it: read back from its rows alone.

The checker must not trust the composer, so this starts from what a record holds (`schema.EVIDENCE`)
and not from what the composer worked with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

from merr_pipeline.emotion.facs import ActionUnitTable
from merr_pipeline.fuse.lexicon import Pattern, VoiceNames, words_of
from merr_pipeline.schema import Row

_CODE = re.compile(r"^(AU\d\d) ")
_NAMED = re.compile(r"^([^:]+): (.+?)(?: \([^()]*\))?$")
_QUOTED = re.compile(r': "(.*)"$', re.DOTALL)
_POSE = re.compile(r"^head (.+?)(?: at [\d.]+ s)?$")
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass
class EvidenceView:
    """What the evidence proves, by the kind of claim that needs it."""

    rows: Sequence[Row]
    units: dict[str, Row] = field(default_factory=dict)  # by Action Unit
    still: Row | None = None
    voice: dict[str, tuple[Row, str]] = field(default_factory=dict)  # by feature, with its word
    arousal: Row | None = None
    arousal_level: str = ""  # low | medium | high
    speaks: bool = False  # a voice or words are there, so mouth actions may be speech
    quotations: list[tuple[str, Row]] = field(default_factory=list)
    patterns: list[Pattern] = field(default_factory=list)

    def find(self, wanted: str) -> Row | None:
        """The first item whose text matches this expression."""
        return next((row for row in self.rows if re.search(wanted, row["text"])), None)


def is_unsure(row: Row) -> bool:
    """Whether it must be said with a doubt: a proxy, or a value of low reliability."""
    return bool(row["reliability"] == "low" or row["scale"] == "proxy_0_5")


def read_evidence(
    rows: Sequence[Row], voice: VoiceNames, table: ActionUnitTable, glue: Set[str]
) -> EvidenceView:
    """Sort the rows of an evidence list by what they prove."""
    view = EvidenceView(rows, speaks=any(row["modality"] in ("voice", "words") for row in rows))
    for row in rows:
        view.patterns.append(Pattern.read(row["id"], "id", (row["id"],)))
        if row["modality"] == "face":
            _read_face(row, view)
        elif row["modality"] == "voice":
            _read_voice(row, voice, view)
        elif row["modality"] == "words" and (quoted := _QUOTED.search(row["text"])):
            view.quotations.append((" ".join(words_of(quoted[1])), row))
        elif row["modality"] == "scene":
            view.patterns += _scene_patterns(row, glue)
    view.patterns += [
        Pattern.read(f"{code}|au{int(code[2:])}", "face", (code,)) for code in table.units
    ]
    view.patterns += _value_patterns(view.units.values())
    view.patterns += _combined_patterns(view.voice, voice)
    return view


def _value_patterns(units: Iterable[Row]) -> Iterator[Pattern]:
    """``2.60 of 5``, with the ids of all Action Units that have this intensity."""
    ids: dict[str, tuple[str, ...]] = {}
    for row in units:
        if row["scale"] == "intensity_0_5":
            for said in {f"{row['value']:.2f}", f"{row['value']:.1f}"}:
                ids[said] = (*ids.get(said, ()), row["id"])
    return (Pattern.read(f"{said} of 5", "value", of) for said, of in sorted(ids.items()))


def _read_face(row: Row, view: EvidenceView) -> None:
    def add(text: str, kind: str) -> None:
        view.patterns.append(Pattern.read(text, kind, (row["id"],)))

    if code := _CODE.match(row["text"]):
        view.units[code[1]] = row
    elif pose := _POSE.match(row["text"]):
        parts = pose[1].split(" and ")
        for part in {pose[1], *parts}:
            add(f"head {part}", "fact")
    elif row["text"].startswith(("none of the ", "no facial action but ")):
        view.still = row
    if row["time_s"] is not None:
        time = f"{row['time_s']:.2f}|{row['time_s']:.1f} s|seconds"
        add(f"at|around {time}", "time")
        if "clearly at its most expressive" in row["text"]:
            add(f"strongest at|around {time}", "time")
            add(f"most clearly at|around {time}", "time")
        elif "somewhat more expressive" in row["text"]:
            add(f"a little more so at|around {time}", "time")


def _read_voice(row: Row, voice: VoiceNames, view: EvidenceView) -> None:
    named = _NAMED.match(row["text"])
    if named is None:
        return
    feature, word = named[1].replace(" ", "_").removeprefix("vocal_"), named[2]
    view.voice[feature] = row, word
    if feature == "arousal":
        view.arousal, view.arousal_level = row, word.removeprefix("very ")
    for said in (word, *voice.same.get(feature, {}).get(word, ())):
        for text in _voice_sayings(feature, " ".join(words_of(said)), voice):
            kind = "arousal" if feature == "arousal" else "fact"
            view.patterns.append(Pattern.read(text, kind, (row["id"],)))


def _voice_sayings(feature: str, word: str, voice: VoiceNames) -> Iterator[str]:
    if feature in voice.without_noun:
        yield word
    for noun in voice.nouns.get(feature, ()):
        yield f"{word} {noun}"
        yield f"{noun} {word}"
        yield f"{noun} that {word}"


def _combined_patterns(said: Mapping[str, tuple[Row, str]], voice: VoiceNames) -> Iterator[Pattern]:
    """What is said of several features in one breath: ``lively intonation that rises``."""
    words = {feature: " ".join(words_of(word)) for feature, (_, word) in said.items()}
    for text in voice.combined:
        features = re.findall(r"\{(\w+)\}", text)
        if set(features) <= set(words):
            ids = tuple(said[feature][0]["id"] for feature in features)
            yield Pattern.read(text.format(**words), "fact", ids)


def _scene_patterns(row: Row, glue: Set[str]) -> Iterator[Pattern]:
    """A measured fact is said whole; of a scene described by a model any run of words may be.

    A run that begins or ends with glue ("the head") claims no more without it, and would hide the
    beginning of what else is said ("the head is turned to the left").
    """
    named = _NAMED.match(row["text"])
    if named is None:
        return
    if named[1].startswith("scene"):
        words = words_of(row["text"].partition(": ")[2])
        for start in range(len(words)):
            for end in range(start + 1, len(words) + 1):
                if {words[start], words[end - 1]} & glue:
                    continue
                yield Pattern(tuple((word,) for word in words[start:end]), "fact", (row["id"],))
        return
    word = row["text"].partition(": ")[2]
    noun = {"faces in view": "face|faces in view", "cuts": "cut|cuts"}.get(named[1])
    if noun:
        is_spelt = word.isdigit() and int(word) < len(_NUMBERS)
        spelt = _NUMBERS[int(word)] if is_spelt else word
        yield Pattern.read(f"{word}|{spelt} {noun}", "fact", (row["id"],))
    else:
        yield Pattern.read(" ".join(words_of(word)), "fact", (row["id"],))
