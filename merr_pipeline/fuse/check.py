"""Whether a text says nothing but what the evidence shows.

The checker reads the text alone. It cuts it into clauses, finds in each what is claimed (a facial
action, a voice, a quotation, a bearing on an emotion, ...) and asks the evidence list for proof. It
reads only the English of ``grounding_lexicon.yaml``; what it cannot read, it counts as ungrounded.
So it errs on the strict side: a true sentence in other words may fail, a false one should not pass.

    result = check_text(text, evidence_rows, "angry", lexicon, rules)
    result.share                      # 0.875
    result.ungrounded[0].why          # "AU12 is not in the evidence"
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from merr_pipeline.emotion.rules import Rules
from merr_pipeline.fuse.bearing import DOUBTFUL, Bearings, Way
from merr_pipeline.fuse.lexicon import Found, Lexicon, Pattern, Statement, words_of
from merr_pipeline.fuse.quotations import (
    QUOTATION,
    around,
    clauses_of,
    in_place_of,
    is_given_label,
)
from merr_pipeline.fuse.view import EvidenceView, is_unsure, read_evidence
from merr_pipeline.schema import Row


@dataclass(frozen=True)
class Claim:
    """Something that the text says."""

    text: str
    kind: str
    evidence_ids: tuple[str, ...] = ()
    why: str = ""  # what is wrong with it; empty when it is grounded

    @property
    def grounded(self) -> bool:
        """Whether the evidence proves it."""
        return not self.why


@dataclass(frozen=True)
class Grounding:
    """All claims of a text."""

    claims: tuple[Claim, ...]

    @property
    def ungrounded(self) -> tuple[Claim, ...]:
        """What the evidence does not prove."""
        return tuple(claim for claim in self.claims if not claim.grounded)

    @property
    def share(self) -> float:
        """Grounded claims among all, 0..1; a text that claims nothing proves nothing: 0."""
        return 1 - len(self.ungrounded) / len(self.claims) if self.claims else 0.0


def check_text(
    text: str, evidence: Sequence[Row], label: str | None, lexicon: Lexicon, rules: Rules
) -> Grounding:
    """Every claim of the text, with its proof or what is wrong with it.

    ``evidence`` are rows of `schema.EVIDENCE`; ``label`` is the clip's label, the only emotion that
    the text may name (None: it may name none).
    """
    view = read_evidence(evidence, lexicon.voice, rules.table, lexicon.glue)
    return Grounding(tuple(_Check(view, label, lexicon, rules).claims(text)))


class _Check:
    """One text being read; remembers the facial actions it has named so far."""

    def __init__(
        self, view: EvidenceView, label: str | None, lexicon: Lexicon, rules: Rules
    ) -> None:
        self._view, self._label, self._lexicon, self._rules = view, label, lexicon, rules
        self._bearings = Bearings(view, rules)
        self._named: list[str] = []  # Action Units
        self._patterns = view.patterns
        if self._is_users_own:
            self._patterns = [
                *view.patterns,
                Pattern.read(" ".join(words_of(label or "")), "emotion", label),
            ]

    def claims(self, text: str) -> Iterator[Claim]:
        """Quotations first, then the rest clause by clause."""
        text = text.replace("“", '"').replace("”", '"')
        if self._is_users_own:
            text = QUOTATION.sub(self._unquoted_label, text)
        yield from (self._quotation(match) for match in QUOTATION.finditer(text))
        if '"' in (rest := QUOTATION.sub(in_place_of, text)):
            yield Claim('"', "quotation", why="a quotation mark without its partner")
        for clause in clauses_of(rest.replace('"', "")):
            yield from self._clause(clause)

    @property
    def _is_users_own(self) -> bool:
        """Whether the label is of a label space that the lexicon has no words for."""
        return bool(words_of(self._label or "")) and self._label not in self._lexicon.emotions

    def _unquoted_label(self, match: re.Match[str]) -> str:
        """A label of the user's own names an emotion in quotation marks, where nobody says it."""
        is_said = self._lexicon.says(around(match)[0])
        is_label = match[1] == self._label and not is_given_label(match)
        return match[1] if is_label and not is_said else match[0]

    def _quotation(self, match: re.Match[str]) -> Claim:
        said = match[1]
        if is_given_label(match):
            wrong = "" if said == self._label else "this is not the clip's label"
            return Claim(said, "label", why=wrong)
        words = " ".join(words_of(said))
        wanted = f" {words}" if said.endswith("...") else f" {words} "  # cut, maybe in a word
        proof = [row for text, row in self._view.quotations if words and wanted in f" {text} "]
        wrong = "" if proof else "these words are in no evidence"
        before, after = around(match)
        if not self._lexicon.says(before):
            wrong = "nothing before it says that these words were said"
        elif self._lexicon.feelings & {*before, *after}:
            wrong = "words that were said are no feeling"
        return Claim(said, "quotation", () if wrong else (proof[0]["id"],), wrong)

    def _clause(self, clause: str) -> list[Claim]:
        found = self._lexicon.find(clause, self._patterns)
        hedged = any(f" {h} " in f" {' '.join(words_of(clause))} " for h in self._lexicon.hedges)
        claims = [
            self._claim(item, found, hedged=hedged)
            for item in found
            if item.kind not in ("relation", "id", "value")
        ]
        claims += [*self._references(found), *self._relation(clause, found, hedged=hedged)]
        for item in found:
            if item.kind == "face":
                self._named += [code for code in item.meaning if code in self._view.units]
        if not claims and "quotationmark" not in clause:
            claims = [Claim(clause, "nothing", why="nothing in it can be checked")]
        return claims

    def _claim(self, item: Found, found: Sequence[Found], *, hedged: bool) -> Claim:
        if item.kind == "face":
            return self._facial_action(item, hedged=hedged)
        if item.kind in ("fact", "time", "arousal"):
            return Claim(item.text, "fact", item.meaning)
        if item.kind == "statement":
            return self._statement(item, found, hedged=hedged)
        if item.kind == "conclusion":
            wrong = self._bearings.wrong_conclusion(item.meaning, self._label, hedged=hedged)
            return Claim(item.text, "conclusion", why=wrong)
        if item.kind == "emotion":
            wrong = "" if item.meaning == self._label else f"{item.meaning} is not the clip's label"
            return Claim(item.text, "emotion", why=wrong)
        if item.kind == "all_signs":
            return self._all_signs(item, hedged=hedged)
        if item.kind == "forbidden":
            return Claim(item.text, item.meaning, why=f"{item.meaning} is never said as fact")
        return Claim(item.text, "unknown", why="in no evidence, and not to be read")

    def _facial_action(self, item: Found, *, hedged: bool) -> Claim:
        units = self._units_of(item)
        if not units:
            return Claim(
                item.text, "face", why=f"{' or '.join(item.meaning)} is not in the evidence"
            )
        wrong = ""
        if item.degree and not any(self._degree_fits(item.degree, unit) for unit in units):
            wrong = f"{item.degree!r} does not fit {units[0]['text']}"
        if all(map(is_unsure, units)) and not hedged:
            wrong = DOUBTFUL
        return Claim(item.text, "face", tuple(unit["id"] for unit in units), wrong)

    def _all_signs(self, item: Found, *, hedged: bool) -> Claim:
        """What "these facial signs" are: all that the text has named so far."""
        units = [self._view.units[code] for code in dict.fromkeys(self._named)]
        wrong = "" if units else "no facial sign was named before"
        if "both" in item.text and len(units) != 2:
            wrong = "it is not two signs that were named before"
        elif any(map(is_unsure, units)) and not hedged:
            wrong = DOUBTFUL
        return Claim(item.text, "face", tuple(unit["id"] for unit in units), wrong)

    def _degree_fits(self, degree: str, unit: Row) -> bool:
        """Only intensities have degrees; a probability or a proxy has none."""
        span = self._lexicon.degrees[degree]
        return bool(unit["scale"] == "intensity_0_5" and span.start <= unit["value"] < span.below)

    def _statement(self, item: Found, found: Sequence[Found], *, hedged: bool) -> Claim:
        statement: Statement = item.meaning
        if statement.label == "none":
            wrong = "" if self._label is None else "the clip has a label"
            return Claim(item.text, "statement", why=wrong)
        if statement.needs is None:
            return Claim(item.text, "statement")
        proof = self._view.find(statement.needs)
        if proof is None:
            return Claim(item.text, "statement", why="no evidence says so")
        wrong = ""
        if proof["modality"] == "face" and is_unsure(proof) and not hedged:
            wrong = DOUBTFUL
        if statement.signs == "moved_by_speech":
            units, signs = self._rules.table.units, self._signs(found)
            if not signs or not all(units[code].moved_by_speech for code in signs):
                wrong = "speech does not bring all of these facial actions"
        return Claim(item.text, "statement", (proof["id"],), wrong)

    # --- what stands beside each other in a clause ---------------------------------------------

    def _references(self, found: Sequence[Found]) -> Iterator[Claim]:
        """A value, or a number of the evidence list, must be that of what is named beside it.

        As many as there are things named go with these in order; else each goes with all of them.
        """
        signs = [ids for item in found for ids in self._ids_of_signs(item)]
        facts = [
            ids
            for item in found
            for ids in ([item.meaning] if item.kind in ("fact", "arousal") else [])
            or self._ids_of_signs(item)
        ]
        ids = [item for item in found if item.kind == "id"]
        values = [item for item in found if item.kind == "value"]
        yield from _beside(ids, facts)
        yield from _beside(values, signs or [item.meaning for item in ids] or [()])

    def _relation(self, clause: str, found: Sequence[Found], *, hedged: bool) -> Iterator[Claim]:
        """That every clue named beside an emotion bears on it in the way the clause says."""
        ways: set[Way] = {item.meaning for item in found if item.kind == "relation"}
        emotions = {item.meaning for item in found if item.kind == "emotion"}
        if not ways:
            return
        if len(ways) > 1 or len(emotions) != 1:
            yield Claim(clause, "relation", why="it is not clear which clue bears on what")
            return
        [way], [emotion] = ways, emotions
        bears = self._clues_of(found, emotion, way)
        if not bears:
            yield Claim(clause, "relation", why=f"no clue is named that bears on {emotion}")
            return
        wrong = [clue for clue, does in bears.items() if not does]
        wrong += self._no_clues(clause, found)
        said = "for" if way == "for" else "against"
        why = f"{', '.join(wrong)} does not speak {said} {emotion}" if wrong else ""
        heard = self._view.arousal if any(map(self._is_arousal, found)) else None
        if heard and is_unsure(heard) and not hedged:
            why = DOUBTFUL
        yield Claim(clause, "relation", why=why)

    def _clues_of(self, found: Sequence[Found], emotion: str, way: Way) -> dict[str, bool]:
        """Whether each clue that is named bears on the emotion."""
        bearings = self._bearings
        bears = {code: bearings.of_unit(code, emotion, way) for code in self._signs(found)}
        if any(self._is_arousal(item) for item in found):
            bears["this vocal arousal"] = bearings.of_voice(emotion, way)
        if any(item.meaning == "still_face" for item in found):
            bears["a still face"] = bearings.of_still_face(emotion, way)
        return bears

    def _no_clues(self, clause: str, found: Sequence[Found]) -> list[str]:
        """What stands among the clues of a relation, and is none."""
        words = {*words_of(clause)} & {*self._lexicon.no_clues, "quotationmark"}
        if any(self._is_arousal(item) for item in found):
            words -= {"voice"}
        return [*sorted(words), *(item.text for item in found if item.kind == "fact")]

    def _is_arousal(self, item: Found) -> bool:
        arousal = self._view.arousal
        named = item.kind == "arousal" or (item.kind == "id" and arousal is not None)
        return bool(named and arousal is not None and arousal["id"] in item.meaning)

    def _signs(self, found: Sequence[Found]) -> list[str]:
        """The Action Units named, by words, by number, or as "these facial signs"."""
        ids = {name for item in found for ids in self._ids_of_signs(item) for name in ids}
        ids |= {name for item in found if item.kind == "id" for name in item.meaning}
        return [code for code, row in self._view.units.items() if row["id"] in ids]

    def _units_of(self, item: Found) -> list[Row]:
        return [self._view.units[code] for code in item.meaning if code in self._view.units]

    def _ids_of_signs(self, item: Found) -> list[tuple[str, ...]]:
        """For each facial sign that is named, the ids of the Action Units it may be."""
        if item.kind == "face":
            return [tuple(unit["id"] for unit in self._units_of(item))]
        if item.kind == "all_signs":
            return [(self._view.units[code]["id"],) for code in dict.fromkeys(self._named)]
        return []


def _beside(references: Sequence[Found], named: Sequence[tuple[str, ...]]) -> Iterator[Claim]:
    in_order = len(references) == len(named)
    for place, item in enumerate(references):
        beside = [named[place]] if in_order else named
        wrong = not all(set(item.meaning) & set(ids) for ids in beside)
        why = "it is not of what is named beside it" if wrong else ""
        yield Claim(item.text, "reference", () if wrong else item.meaning, why)
