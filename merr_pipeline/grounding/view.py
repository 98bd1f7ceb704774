"""The evidence list as the checker sees it: read back from its rows alone.

The checker must not trust the composer, so this starts from what a record holds (`schema.EVIDENCE`)
and not from what the composer worked with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from merr_pipeline.emotion.facs import ActionUnitTable
from merr_pipeline.grounding.entries import Needs, VoiceNames
from merr_pipeline.grounding.tagging import Pattern, runs_of, words_of
from merr_pipeline.schema import Row

_CODE = re.compile(r"^(AU\d\d) ")
_NAMED = re.compile(r"^([^:]+): (.+?)(?: \([^()]*\))?$")
_QUOTED = re.compile(r'^[a-z ]+ \([^():"]*\): "(.*)"$', re.DOTALL)
_POSE = re.compile(r"^head (.+?)(?: at [\d.]+ s)?$")
_UNMEASURED = re.compile(r"^not measured by the face tool")
_CODES = re.compile(r"AU\d\d")
_SMALL = 12  # a whole number up to this may count anything
_UNITS = {
    " syll/s": "syllables|syll per second|s",
    " Hz": "hz|hertz",
    " st": "semitones|semitone|st",
}
_SHORTEST_RUN, _LONGEST_RUN = 5, 12  # words; longer ones are found in pieces
DURATION = "rightduration"  # stands for a duration that is the one from the words to the peak
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass
class EvidenceView:
    """What the evidence proves, by the kind of claim that needs it."""

    rows: Sequence[Row]
    units: dict[str, Row] = field(default_factory=dict)  # by Action Unit
    unmeasured: set[str] = field(default_factory=set)  # Action Units
    still: Row | None = None
    named: dict[str, tuple[Row, str]] = field(default_factory=dict)  # by feature, with its word
    arousal: Row | None = None
    arousal_level: str = ""  # low | medium | high
    speaks: bool = False  # a voice or words are there, so mouth actions may be speech
    words: Row | None = None
    said: str = ""  # the transcript
    scenes: list[tuple[Row, str]] = field(default_factory=list)  # as a model sees them
    peak: Row | None = None
    patterns: list[Pattern] = field(default_factory=list)

    @property
    def measures_faces(self) -> bool:
        """Whether an Action Unit that is not named was looked for."""
        return bool(self.units) or self.still is not None

    def is_measured(self, code: str, table: ActionUnitTable) -> bool:
        """Whether that Action Unit has a value, be it that of a face at rest."""
        return code in self.units or (
            self.measures_faces
            and code not in self.unmeasured
            and table.units[code].emotion_relevant
        )

    def find(self, wanted: str) -> Row | None:
        """The first item whose text matches this expression."""
        return next((row for row in self.rows if re.search(wanted, row["text"])), None)

    @property
    def words_to_peak_s(self) -> float | None:
        """How far apart the words and the most expressive moment are; None if that is unknown."""
        times = [row["time_s"] for row in (self.words, self.peak) if row]
        known = [time for time in times if time is not None]
        return round(abs(known[0] - known[1]), 2) if len(known) == len(times) == 2 else None

    def has(self, modality: str) -> bool:
        """Whether anything of that kind is there."""
        return any(row["modality"] == modality for row in self.rows)

    def reads(self, needs: Needs) -> list[tuple[Row, str, tuple[str, ...]]]:
        """Row, word and wanted words of each feature asked for that the evidence has."""
        return [
            (*self.named[feature], wanted)
            for feature, wanted in needs.words.items()
            if feature in self.named
        ]


def is_unsure(row: Row) -> bool:
    """Whether it must be said with a doubt: a proxy, or a value of low reliability."""
    return bool(row["reliability"] == "low" or row["scale"] == "proxy_0_5")


def read_evidence(rows: Sequence[Row], voice: VoiceNames, table: ActionUnitTable) -> EvidenceView:
    """Sort the rows of an evidence list by what they prove."""
    view = EvidenceView(rows, speaks=any(row["modality"] in ("voice", "words") for row in rows))
    for row in rows:
        view.patterns.append(Pattern.read(row["id"], "id", (row["id"],)))
        if row["modality"] == "face":
            _read_face(row, view)
        elif row["modality"] == "voice":
            _read_voice(row, voice, view)
        elif row["modality"] == "words" and (quoted := _QUOTED.search(row["text"])):
            view.words, view.said = row, quoted[1]
        elif row["modality"] == "scene":
            _read_scene(row, view)
        elif row["modality"] == "missing" and _UNMEASURED.search(row["text"]):
            view.unmeasured |= set(_CODES.findall(row["text"]))
    view.patterns += [
        Pattern.read(said, "face", (code,))
        for code, unit in table.units.items()
        for said in (f"{code}|au{int(code[2:])}", unit.name)
    ]
    view.patterns += _value_patterns(rows)
    view.patterns.append(Pattern.read(DURATION, "duration", None))
    view.patterns += _time_patterns(rows)
    sayings = {name: said for name, said in view.named.items() if said[0]["modality"] == "voice"}
    view.patterns += _combined_patterns(sayings, voice)
    return view


def _time_patterns(rows: Iterable[Row]) -> Iterator[Pattern]:
    """``at 1.24 s``, with the ids of all that happens then."""
    ids: dict[str, tuple[str, ...]] = {}
    for row in rows:
        if row["time_s"] is not None:
            time = f"{row['time_s']:.2f}|{row['time_s']:.1f} s|seconds|sec"
            for said in (time, *(f"{how} {time}" for how in _times_of(row))):
                ids[said] = (*ids.get(said, ()), row["id"])
    return (Pattern.read(said, "time", of) for said, of in ids.items())


def _times_of(row: Row) -> Iterator[str]:
    yield "at|around|by|from|to"
    if "clearly at its most expressive" in row["text"]:
        yield from ("strongest at|around", "most clearly at|around")
    elif "somewhat more expressive" in row["text"]:
        yield "a little more so at|around"


def _value_patterns(rows: Iterable[Row]) -> Iterator[Pattern]:
    """``2.60 of 5``, with the ids of all Action Units that have this value; other numbers alone."""
    ids: dict[str, tuple[str, ...]] = {}
    for row in rows:
        if row["value"] is not None and row["modality"] in ("face", "voice"):
            for said in _sayings_of_value(row):
                ids[said] = (*ids.get(said, ()), row["id"])
    return (Pattern.read(said, "value", of) for said, of in sorted(ids.items()))


def _sayings_of_value(row: Row) -> set[str]:
    value = row["value"]
    if row["modality"] == "voice":
        numbers = {f"{abs(value):g}", f"{abs(value):.2f}"}
        unit = next((said for unit, said in _UNITS.items() if row["text"].endswith(f"{unit})")), "")
        with_unit = {f"{number} {unit}" for number in numbers if unit}
        return with_unit | (numbers if value != int(value) or value > _SMALL else set())
    if row["scale"] is None:
        return set()
    texts = {f"{value:.2f}", f"{value:.1f}"} if row["scale"] != "probability" else {f"{value:.2f}"}
    if row["scale"] == "intensity_0_5":
        texts |= {f"{text} of 5|five" for text in texts} | {
            f"{text} out of 5|five" for text in texts
        }
    return texts


def _read_face(row: Row, view: EvidenceView) -> None:
    def add(text: str, kind: str) -> None:
        view.patterns.append(Pattern.read(text, kind, (row["id"],)))

    if code := _CODE.match(row["text"]):
        view.units[code[1]] = row
    elif pose := _POSE.match(row["text"]):
        view.named["head"] = row, pose[1]
        parts = pose[1].split(" and ")
        for part in {pose[1], *parts}:
            add(f"head {part}", "fact")
    elif row["text"].startswith(("none of the ", "no facial action but ")):
        view.still = row
    elif "more expressive" in row["text"] or "most expressive" in row["text"]:
        view.peak = row


def _read_voice(row: Row, voice: VoiceNames, view: EvidenceView) -> None:
    named = _NAMED.match(row["text"])
    if named is None:
        return
    feature, word = named[1].replace(" ", "_").removeprefix("vocal_"), named[2]
    view.named[feature] = row, word
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


def _read_scene(row: Row, view: EvidenceView) -> None:
    """A measured fact is said whole; of a scene described by a model any run of words may be."""
    named = _NAMED.match(row["text"])
    if named is None:
        return
    if named[1].startswith("scene"):
        seen = row["text"].partition(": ")[2]
        view.scenes.append((row, seen))
        view.patterns += _runs(words_of(seen), row)
        return
    feature, word = named[1].replace(" ", "_"), row["text"].partition(": ")[2]
    view.named[feature] = row, word
    noun = {"faces in view": "face|faces in view", "cuts": "cut|cuts"}.get(named[1])
    if noun:
        is_spelt = word.isdigit() and int(word) < len(_NUMBERS)
        spelt = _NUMBERS[int(word)] if is_spelt else word
        view.patterns.append(Pattern.read(f"{word}|{spelt} {noun}", "fact", (row["id"],)))
    else:
        view.patterns.append(Pattern.read(" ".join(words_of(word)), "fact", (row["id"],)))


def _runs(words: Sequence[str], row: Row) -> Iterator[Pattern]:
    """Long enough to be the description's own words and none that stand there by chance."""
    for run in runs_of(tuple(words), _SHORTEST_RUN, _LONGEST_RUN):
        yield Pattern(run, "fact", (row["id"],))
