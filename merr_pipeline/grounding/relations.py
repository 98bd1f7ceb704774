"""How the clues of a clause bear on the emotion that it names.

What is said plainly, the rules must bear out; what is said with caution may rest on any clue that
is usual for the emotion, and on none that is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from merr_pipeline.grounding.bearing import DOUBTFUL, Bearings, Way
from merr_pipeline.grounding.claims import Claim
from merr_pipeline.grounding.clause import Clause, Found
from merr_pipeline.grounding.lexicon import Lexicon
from merr_pipeline.grounding.retelling import Proven
from merr_pipeline.grounding.tagging import words_of
from merr_pipeline.grounding.view import EvidenceView, is_unsure
from merr_pipeline.schema import Row

OTHER = "other state"
"""Of the lexicon's emotions, what no clue tells, as irony: to be named beside another alone."""


def emotions_meant(clause: Clause) -> set[str]:
    """The emotions of a clause, but for those that another is held against: "better than"."""
    ends = [tag.start for tag in clause.tags if "contrast" in tag]
    unreal = thought_of(clause)
    named = [item for item in clause.of("emotion") if item.start not in unreal]
    meant = [item for item in named if not item.negated] or named
    before = [item for item in meant if not ends or item.start < ends[0]]
    return {item.meaning for item in before or meant}


def thought_of(clause: Clause) -> set[int]:
    """Where the emotions stand that are only thought of: "without excluding fear".

    It is about what follows it, up to a new relation, "proves no joy but suggests grief", and about
    what stands before it, "fear cannot be excluded", where no relation is.
    """
    sayings = clause.of("hypothetical")
    return {one.start for one in clause.of("emotion") if sayings and _is_thought_of(one, clause)}


def _codes(faces: Sequence[Found]) -> list[str]:
    return [code for item in faces for code in item.meaning]


def _is_thought_of(emotion: Found, clause: Clause) -> bool:
    ends = [one.end for one in clause.of("hypothetical") if one.start < emotion.start]
    if not ends:  # "joy is suggested, not proven"
        first = min(one.start for one in clause.of("hypothetical"))
        related = [one for one in clause.of("relation", "cautious") if one.start < first]
        return all(one.negated for one in related)
    since = ends[-1]
    told = clause.of("relation", "cautious", "emotion")
    kinds = [one.kind for one in told if since <= one.start < emotion.start and not one.negated]
    if "emotion" not in kinds:
        return True
    kinds = kinds[kinds.index("emotion") :]
    return not {"relation", "cautious"} & set(kinds)


@dataclass(frozen=True)
class Relations:
    """Judges one clause after the other by one evidence list."""

    view: EvidenceView
    bearings: Bearings
    lexicon: Lexicon
    label: str | None

    def is_cautious(self, clause: Clause, *, hedged: bool) -> bool:
        """Whether it says how clues bear on an emotion, and does not say it plainly."""
        return clause.has("cautious") or hedged

    def relation(
        self,
        clause: Clause,
        proven: Sequence[Proven],
        all_proven: Sequence[Proven],
        *,
        hedged: bool,
    ) -> Iterator[Claim]:
        """That every clue named beside an emotion bears on it in the way the clause says.

        What is said with caution, and names no clue, is about all that the text names.
        """
        emotions = emotions_meant(clause)
        if not emotions:
            return
        words = frozenset(words_of(clause.text))
        is_of_all = not self.lexicon.all_of_it.isdisjoint(words_of(clause.text)[:1])
        words |= self.lexicon.everything if is_of_all else set()
        if emotions == {OTHER} and not words.isdisjoint(self.lexicon.adding):
            return
        if emotions == {OTHER}:
            yield Claim(clause.text, "relation", why="no clue is known to bear on this")
            return
        emotions -= {OTHER}
        proven = self._not_set_aside(clause, proven)
        related = [item for item, _ in proven if item.kind in ("relation", "cautious")]
        denied = [item for item in related if item.negated]
        ways: set[Way] = {item.meaning for item in related if not item.negated}
        named = {item.meaning for item in clause.of("emotion") if item.negated}
        if clause.has_relation and named >= emotions and not self._clues(proven)[0]:
            is_against = bool(denied) and all(item.meaning == "against" for item in denied)
            fault = self._fault_of_denial(emotions, "against" if is_against else "for")
            yield Claim(clause.text, "relation", why=fault)
            return
        if not ways and not hedged and not denied:
            return
        if not ways and not denied and emotions == {self.label}:
            return
        if denied and not ways:
            ways = {"against" if item.meaning == "for" else "for" for item in denied}
        ways = ways or {"for"}
        if not denied and all(item.negated for item in clause.of("emotion")):
            ways = {"against" if way == "for" else "for" for way in ways}
        cautious = self.is_cautious(clause, hedged=hedged) or bool(denied)
        if len(emotions) > 1 and cautious and ways == {"for"}:
            rows = self._clues(proven)[0] or self._clues(all_proven)[0]
            yield Claim(clause.text, "relation", why=self._fault_of_several(rows, emotions))
            return
        if len(emotions) > 1 and cautious and ways == {"against"}:
            faults = [
                self._cautious_fault(words, proven, all_proven, one, "against")
                for one in sorted(emotions)
            ]
            yield Claim(clause.text, "relation", why="; ".join(filter(None, faults)))
            return
        if len(ways) > 1 or len(emotions) != 1:
            yield Claim(clause.text, "relation", why="it is not clear which clue bears on what")
            return
        [way], [emotion] = ways, emotions
        if missing := self._missing_clues(clause, proven):
            yield Claim(clause.text, "relation", why=self._fault_of_absence(missing, emotion, way))
            return
        faults = list(self._plain_faults(clause, proven, emotion, way, hedged=hedged or cautious))
        if faults and cautious:
            fault = self._cautious_fault(words, proven, all_proven, emotion, way)
            faults = [*faults[:1], fault] if fault else []
        yield Claim(clause.text, "relation", why="; ".join(faults))

    def _not_set_aside(self, clause: Clause, proven: Sequence[Proven]) -> list[Proven]:
        """Without what "besides the smile" or "despite the frown" leaves out of account."""
        aside = [tag for tag in clause.tags if tag.text in self.lexicon.set_aside]
        return [
            (item, claim)
            for item, claim in proven
            if not any(tag.part == item.part and tag.start <= item.start for tag in aside)
        ]

    def _missing_clues(self, clause: Clause, proven: Sequence[Proven]) -> list[str]:
        """Facial actions that would tell and are not there; none where another clue is."""
        faces = clause.of("face")
        if self.lexicon.counterfactual.isdisjoint(words_of(clause.text)) or not faces:
            return []
        heard = any(item.kind in ("fact", "needs", "arousal") for item, _ in proven)
        return [] if heard or not all(item.negated for item in faces) else _codes(faces)

    def _fault_of_absence(self, codes: Sequence[str], emotion: str, way: Way) -> str:
        rules = self.bearings.rules
        telling = rules.support(emotion) if way == "for" else rules.against(emotion)
        fitting = rules.knows(emotion) and any(code in telling for code in codes)
        return "" if fitting else f"{' or '.join(codes)} would not speak {way} {emotion}"

    def _plain_faults(
        self, clause: Clause, proven: Sequence[Proven], emotion: str, way: Way, *, hedged: bool
    ) -> Iterator[str]:
        bears = self._plain_clues(clause, proven, emotion, way)
        if not bears:
            yield f"no clue is named that bears on {emotion}"
            return
        wrong = [clue for clue, does in bears.items() if not does]
        wrong += self._no_clues(clause, proven)
        if wrong:
            said = "for" if way == "for" else "against"
            yield f"{', '.join(wrong)} does not speak {said} {emotion}"
        heard = self.view.arousal if self._names_arousal(proven) else None
        if heard and is_unsure(heard) and not hedged:
            yield DOUBTFUL

    def _plain_clues(
        self, clause: Clause, proven: Sequence[Proven], emotion: str, way: Way
    ) -> dict[str, bool]:
        """Whether each clue that is named bears on the emotion, by the rules alone."""
        ids = self._ids_of_signs(clause, proven)
        codes = [code for code, row in self.view.units.items() if row["id"] in ids]
        bears = {code: self.bearings.of_unit(code, emotion, way) for code in codes}
        if self._names_arousal(proven):
            bears["this vocal arousal"] = self.bearings.of_voice(emotion, way)
        if self._names_still_face(clause, proven):
            bears["a still face"] = self.bearings.of_still_face(emotion, way)
        return bears

    def _ids_of_signs(self, clause: Clause, proven: Sequence[Proven]) -> set[str]:
        kinds = ("face", "all_signs")
        ids = {
            i for item, claim in proven if claim and item.kind in kinds for i in claim.evidence_ids
        }
        return ids | {one for item in clause.of("id") for one in item.meaning}

    def _names_still_face(self, clause: Clause, proven: Sequence[Proven]) -> bool:
        still = self.view.still
        named = {i for _, claim in proven if claim and claim.grounded for i in claim.evidence_ids}
        return any(item.meaning == "still_face" for item in clause.of("conclusion")) or bool(
            still and still["id"] in named
        )

    def _names_arousal(self, proven: Sequence[Proven]) -> bool:
        arousal = self.view.arousal
        if arousal is None:
            return False
        named = {
            i
            for item, c in proven
            if c and item.kind in ("arousal", "needs")
            for i in c.evidence_ids
        }
        named |= {i for item, _ in proven if item.kind == "id" for i in item.meaning}
        return arousal["id"] in named

    def _no_clues(self, clause: Clause, proven: Sequence[Proven]) -> list[str]:
        """What stands among the clues of a relation, and is none."""
        words = {*words_of(clause.text)} & {*self.lexicon.no_clues, "quotationmark"}
        if self._names_arousal(proven):
            words -= {"voice"}
        facts = [
            item.text
            for item, claim in proven
            if claim
            and item.kind in ("fact", "needs", "count")
            and not (self.view.arousal and self.view.arousal["id"] in claim.evidence_ids)
            and not (self.view.still and self.view.still["id"] in claim.evidence_ids)
        ]
        return [*sorted(words), *facts]

    def _cautious_fault(
        self,
        words: frozenset[str],
        proven: Sequence[Proven],
        all_proven: Sequence[Proven],
        emotion: str,
        way: Way,
    ) -> str:
        """Any clue may be named that goes with the emotion, and none that does not."""
        rows, whole = self._clues(proven)
        if not rows:
            rows, whole = self._clues(all_proven)
        if not rows and not words.isdisjoint(self.lexicon.everything):
            return self._fault_of_everything(emotion, way)
        wanted = way == "for"
        does = {row["text"]: self.bearings.goes_with(row, emotion) for row in rows}
        contrary = [text for text, goes in does.items() if goes is (not wanted)]
        agreeing = [text for text, goes in does.items() if goes is wanted]
        if contrary and not (whole and len(agreeing) > len(contrary)):
            return f"{contrary[0]} {'does not go' if wanted else 'goes'} with {emotion}"
        if not agreeing and not wanted:
            return self._fault_of_denial({emotion})
        if not agreeing and not self._is_vague(emotion):
            return f"no clue is named that goes with {emotion}"
        return ""

    def _fault_of_everything(self, emotion: str, way: Way) -> str:
        """``the evidence may point to it``: most of the face does, and most of the voice."""
        votes = {"face": 0, "voice": 0}
        for row in self.view.rows:
            goes = self.bearings.goes_with(row, emotion)
            if goes is not None and row["modality"] in votes:
                votes[row["modality"]] += 1 if goes is (way == "for") else -1
        if min(votes.values()) >= 0 and max(votes.values()) > 0:
            return ""
        return f"the evidence as a whole does not speak {way} {emotion}"

    def _fault_of_denial(self, emotions: set[str], way: Way = "for") -> str:
        """``nothing speaks for anger``, or against it: no facial action does."""
        for emotion in sorted(emotions):
            for code, row in self.view.units.items():
                goes = self.bearings.goes_with(row, emotion)
                if goes if way == "for" else self.bearings.of_unit(code, emotion, way):
                    does = "goes with" if way == "for" else "speaks against"
                    return f"{row['text']} {does} {emotion}"
        return "" if self.view.measures_faces else "no face was measured"

    def _fault_of_several(self, rows: Sequence[Row], emotions: set[str]) -> str:
        """Each clue goes with one of the emotions, and each emotion with a clue."""
        goes = {name: [self.bearings.goes_with(row, name) for row in rows] for name in emotions}
        for name, does in goes.items():
            if True not in does:
                return f"no clue is named that goes with {name}"
        for row, *does in zip(rows, *goes.values(), strict=True):
            if False in does and True not in does:
                return f"{row['text']} goes with none of them"
        return ""

    def _clues(self, proven: Sequence[Proven]) -> tuple[list[Row], bool]:
        """Face and voice as they are named; whether all of one is meant by "face and voice"."""
        ids = {
            i for item, claim in proven if claim and item.kind != "time" for i in claim.evidence_ids
        }
        ids |= {one for item, _ in proven if item.kind == "id" for one in item.meaning}
        telling = [row for row in self.view.rows if row["modality"] in ("face", "voice", "words")]
        telling += [row for row, _ in self.view.scenes]
        for item, _ in proven:
            if item.kind == "thing":  # "brows and eyes": what they show
                ids |= {row["id"] for row in self._units(item.meaning.units)}
        rows = [row for row in telling if row["id"] in ids]
        named = {row["modality"] for row in rows}
        things = {item.meaning.modality for item, _ in proven if item.kind == "thing"} - {"words"}
        if any(item.kind == "thing" and item.meaning.speech for item, _ in proven):
            rows += [row for row in telling if row["modality"] == "words" and row not in rows]
        whole = [row for row in telling if row["modality"] in things - named]
        return rows + whole, bool(whole)

    def _units(self, codes: Sequence[str]) -> list[Row]:
        return [self.view.units[code] for code in codes if code in self.view.units]

    def _is_vague(self, emotion: str) -> bool:
        """No rule and no voice is known of it: "positive"."""
        rules, voices = self.bearings.rules, self.lexicon.voice.bears_on
        return not rules.knows(emotion) and emotion not in voices
