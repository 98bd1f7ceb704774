"""Fixed sayings of the lexicon, each with the condition that makes it true."""

from __future__ import annotations

from dataclasses import dataclass

from merr_pipeline.emotion.rules import Rules
from merr_pipeline.grounding.bearing import DOUBTFUL
from merr_pipeline.grounding.claims import Claim
from merr_pipeline.grounding.clause import Clause, Found
from merr_pipeline.grounding.entries import Statement
from merr_pipeline.grounding.view import EvidenceView, is_unsure
from merr_pipeline.schema import Row

_STILL = "^none of the"  # begins what a face at rest needs


@dataclass(frozen=True)
class Statements:
    """Proves statements by one evidence list."""

    view: EvidenceView
    rules: Rules
    label: str | None

    def claim(self, item: Found, clause: Clause, *, hedged: bool) -> Claim:
        """What one statement comes to."""
        statement: Statement = item.meaning
        proof = self.view.find(statement.needs) if statement.needs else None
        wrong = self._wrong(statement, proof, clause)
        if not wrong and proof and proof is self.view.still and not hedged and is_unsure(proof):
            wrong = DOUBTFUL
        return Claim(item.text, "statement", (proof["id"],) if proof else (), wrong)

    def _wrong(self, statement: Statement, proof: Row | None, clause: Clause) -> str:
        if statement.label == "none" and self.label is not None:
            return "the clip has a label"
        if statement.needs and proof is None:
            excepted = _STILL in statement.needs and clause.has_exception
            return self._left_out(clause) if excepted else "no evidence says so"
        if statement.lacks and self.view.find(statement.lacks):
            return "the evidence says otherwise"
        if statement.signs == "moved_by_speech":
            return self._wrong_speech_signs(clause)
        if statement.signs == "measured":
            return self._wrong_measured(clause)
        if statement.signs == "all_active":
            return self._left_out(clause)
        if statement.strongest:
            return self._wrong_strength(statement, clause)
        if statement.reliability:
            return self._wrong_reliability(statement.reliability, clause)
        if statement.words == "before_the_peak":
            return self._wrong_start_of_words()
        if statement.words == "untimed":
            return self._wrong_lack_of_time()
        return ""

    def _codes(self, clause: Clause) -> list[str]:
        return [code for item in clause.of("face") for code in item.meaning]

    def _wrong_speech_signs(self, clause: Clause) -> str:
        active = [code for code in self._codes(clause) if code in self.view.units]
        ids = {one for item in clause.of("id") for one in item.meaning}
        active += [code for code, row in self.view.units.items() if row["id"] in ids]
        if active and all(self.rules.table.units[code].moved_by_speech for code in active):
            return ""
        return "speech does not bring all of these facial actions"

    def _left_out(self, clause: Clause) -> str:
        """``apart from the smile nothing moves``: no active one may be left out."""
        named = {code for item in clause.of("face") for code in item.meaning if not item.negated}
        named |= {code for item in clause.of("thing") for code in item.meaning.units}
        more = [row["text"] for code, row in self.view.units.items() if code not in named]
        if not more:
            return "" if named else "no facial action is named"
        return f"there is more: {more[0]}"

    def _wrong_measured(self, clause: Clause) -> str:
        """Where nothing is named beside it, something must have been measured."""
        for code in self._codes(clause):
            if not self.view.is_measured(code, self.rules.table):
                return f"{code} was not measured"
        return "" if self.view.measures_faces else "nothing was measured"

    def _wrong_strength(self, statement: Statement, clause: Clause) -> str:
        """No intensity is above; of other scales no strength is known unless nothing is active."""
        span, units = statement.strongest, self.view.units
        named = [units[code] for code in self._codes(clause) if code in units]
        for unit in named or units.values():
            if span and not (unit["scale"] == "intensity_0_5" and unit["value"] < span.below):
                return f"not so weak: {unit['text']}"
        return "" if self.view.measures_faces else "nothing was measured"

    def _wrong_reliability(self, wanted: str, clause: Clause) -> str:
        """Of the Action Units beside it, or of the voice; else of anything.

        That nothing named is certain is a caution, and claims nothing.
        """
        codes = self._codes(clause) or [
            code for item in clause.of("thing") for code in item.meaning.units
        ]
        rows = [self.view.units[code] for code in codes if code in self.view.units]
        if wanted == "doubtful" and (not rows or clause.has("emotion")):
            return ""
        spoken_of = {item.meaning.modality for item in clause.of("thing")} & {"voice"}
        rows = rows or [
            row for row in self.view.rows if row["modality"] in spoken_of or not spoken_of
        ]
        whole = clause.has("actions")
        rows = list(self.view.units.values()) if whole and not codes else rows
        right = bool(rows) and (all if whole else any)(
            row["reliability"] == wanted or (wanted != "moderate" and is_unsure(row))
            for row in rows
        )
        return "" if right else "the evidence says otherwise"

    def _wrong_start_of_words(self) -> str:
        words, peak = self.view.words, self.view.peak
        times = [row["time_s"] for row in (words, peak) if row and row["time_s"] is not None]
        return "" if len(times) == 2 and times[0] < times[1] else "no evidence says so"

    def _wrong_lack_of_time(self) -> str:
        words = self.view.words
        if words is None:
            return "no words are in the evidence"
        return "" if words["time_s"] is None else "a time is given"
