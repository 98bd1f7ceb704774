"""What the evidence says to one claim: a facial action, a word of a voice, a number, a thing.

Each function answers with the ids that prove the claim, or with what is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from merr_pipeline.emotion.facs import ActionUnitTable
from merr_pipeline.grounding.bearing import DOUBTFUL
from merr_pipeline.grounding.claims import Claim
from merr_pipeline.grounding.clause import Found
from merr_pipeline.grounding.entries import DegreeRange, Needs, Thing
from merr_pipeline.grounding.modifying import NOT
from merr_pipeline.grounding.view import EvidenceView, is_unsure
from merr_pipeline.schema import Row

FEW = 2  # of more units that one part of the face has, it is enough that some are measured
_NOTE = re.compile(r"[(\[][^)\]]*[)\]]")  # "(laughs)"
COUNTED_WORDS = {  # a transcript may be counted in several ways: "Wait..." is a sentence, or none
    "questions": (r"[?？]+",),
    "exclamations": (r"[!！]+",),
    "sentences": (r"\w[^.!?…。！？]*[.!?…。！？]+", r"\w.*?(?:(?<!\.)\.(?!\.)|[!?。！？]+)"),
    "words": (r"\w+(?:['’-]\w+)*",),
}
NOWHERE = "in no evidence"
_UNGRADED = frozenset(("shot_scale",))  # "very close" is the word for one of its values


@dataclass(frozen=True)
class Prover:
    """Proves by one evidence list."""

    view: EvidenceView
    table: ActionUnitTable
    degrees: dict[str, DegreeRange]

    # --- facial actions ------------------------------------------------------------------------

    def face(self, item: Found, *, hedged: bool) -> Claim:
        """That one of the Action Units is active, or that none is."""
        codes: Sequence[str] = item.meaning
        if item.negated:
            return self._absent(item, codes)
        units = [self.view.units[code] for code in codes if code in self.view.units]
        if not units:
            return Claim(item.text, "face", why=f"{' or '.join(codes)} is not in the evidence")
        wrong = self._wrong_degree(item, units)
        if all(map(is_unsure, units)) and not (hedged or item.definite):
            wrong = DOUBTFUL
        return Claim(item.text, "face", tuple(unit["id"] for unit in units), wrong)

    def _wrong_degree(self, item: Found, units: Sequence[Row]) -> str:
        """Only intensities have degrees; a probability or a proxy has none."""
        degree = (item.degree or "").removeprefix(NOT)
        if not degree or not self.degrees[degree].is_bounded:
            return ""
        span, wanted = self.degrees[degree], not str(item.degree).startswith(NOT)
        fits = any(
            unit["scale"] == "intensity_0_5"
            and (span.start <= unit["value"] < span.below) == wanted
            for unit in units
        )
        return "" if fits else f"{item.degree!r} does not fit {units[0]['text']}"

    def has_strength(self, codes: Sequence[str]) -> bool:
        """Whether one of them has a value that tells how strong it is."""
        units = [self.view.units[code] for code in codes if code in self.view.units]
        return any(unit["scale"] == "intensity_0_5" for unit in units)

    def _absent(self, item: Found, codes: Sequence[str]) -> Claim:
        shown = [self.view.units[code] for code in codes if code in self.view.units]
        if shown:
            fits = item.degree is not None and bool(self._wrong_degree(item, shown))
            wrong = "" if fits else f"it is there, not absent: {shown[0]['text']}"
            return Claim(item.text, "face", tuple(unit["id"] for unit in shown), wrong)
        unseen = [code for code in codes if not self.view.is_measured(code, self.table)]
        if len(unseen) == len(codes) or (unseen and len(codes) <= FEW):
            return Claim(item.text, "face", why=f"{', '.join(unseen)} was not measured")
        return Claim(item.text, "face", self._proof_of_absence())

    def _proof_of_absence(self) -> tuple[str, ...]:
        if self.view.still:
            return (self.view.still["id"],)
        unseen = self.view.find("^not measured by the face tool")
        rows = [unseen] if unseen else list(self.view.units.values())
        return tuple(row["id"] for row in rows)

    # --- what something must read --------------------------------------------------------------

    def needs(self, item: Found, *, hedged: bool) -> Claim:
        """That the evidence has what a saying needs, or has the contrary."""
        needs: Needs = item.meaning
        if needs.all:
            parts = [self._one(item, code, hedged=hedged) for code in needs.all]
            return _together(item, parts)
        if needs.none:
            shown = Found("face", needs.none, item.text, negated=not item.negated)
            return self.face(shown, hedged=hedged)
        if needs.text is not None:
            return self._text(item, needs.text)
        if needs.words:
            return self._words(item, needs)
        return Claim(item.text, "face", why=f"{NOWHERE}: nothing measures it")

    def _one(self, item: Found, code: str, *, hedged: bool) -> Claim:
        return self.face(
            Found("face", (code,), item.text, item.degree, negated=item.negated), hedged=hedged
        )

    def _text(self, item: Found, wanted: str) -> Claim:
        row = self.view.find(wanted)
        if item.negated:
            known = self.view.units if wanted.startswith("^none of") else self.view.words
            wrong = "the evidence says so" if row else "" if known else NOWHERE
            return Claim(item.text, "fact", why=wrong)
        return Claim(item.text, "fact", (row["id"],) if row else (), "" if row else NOWHERE)

    def _words(self, item: Found, needs: Needs) -> Claim:
        read = self.view.reads(needs)
        if not read:
            return Claim(item.text, "fact", why=f"{NOWHERE}, as it was not measured")
        degree = item.degree if _UNGRADED.isdisjoint(needs.words) else None
        fitting = [row for row, word, wanted in read if self._fits(word, wanted, degree)]
        if bool(fitting) == item.negated:
            told = "; ".join(row["text"] for row, _, _ in read)
            return Claim(item.text, "fact", why=f"{NOWHERE}, which says: {told}")
        rows = fitting or [row for row, _, _ in read]
        return Claim(item.text, "fact", tuple(row["id"] for row in rows))

    def _fits(self, word: str, wanted: Sequence[str], degree: str | None) -> bool:
        """Whether a feature reads so; a strong adverb asks for the strongest of the words."""
        if degree is not None and degree.startswith(NOT):  # "no noticeable pauses"
            return not self._fits(word, wanted, degree.removeprefix(NOT))
        voice = self.degrees[degree].voice if degree else None
        if voice == "strong":
            wanted = wanted[-1:]
        elif voice == "weak":
            wanted = wanted[:1] if len(wanted) > 1 else ()
        return any(re.fullmatch(one, word) for one in wanted)

    # --- numbers and things --------------------------------------------------------------------

    def count(self, item: Found) -> Claim:
        """That there are so many."""
        thing, number = item.meaning
        row = self._counted(thing, number, item)
        right = row is not None and (thing.actions or not item.negated)
        wrong = "" if right else f"{NOWHERE}: not so many"
        return Claim(item.text, "fact", (row["id"],) if row else (), wrong)

    def _counted(self, thing: Thing, number: int, item: Found) -> Row | None:
        if thing.actions:
            return self._counted_actions(number, negated=item.negated)
        if thing.count in COUNTED_WORDS:
            said = _NOTE.sub(" ", self.view.said)
            counts = {len(re.findall(one, said)) for one in COUNTED_WORDS[thing.count]}
            return self.view.words if number in counts else None
        if thing.count == "shots":
            thing, number = thing.model_copy(update={"count": "cuts"}), number - 1
        row, word = self.view.named.get(thing.count or "", (None, ""))
        if row is None:
            return None
        said = row["value"] if row["value"] is not None else word
        return row if str(said).removesuffix(".0") == str(number) else None

    def _counted_actions(self, number: int, *, negated: bool) -> Row | None:
        still = self.view.still
        if still and re.search(rf"\b{number} (?:facial actions )?measured", still["text"]):
            return still
        active = list(self.view.units.values())
        return active[0] if len(active) == number and not negated else None

    def thing(self, item: Found) -> Claim | None:
        """That something is there at all, or is not; None where nothing is claimed."""
        thing: Thing = item.meaning
        if item.negated and thing.missing:
            row = self.view.find(thing.missing)
            wrong = "" if row else f"{NOWHERE}: nothing says that it is missing"
            return Claim(item.text, "missing", (row["id"],) if row else (), wrong)
        if thing.modality in ("voice", "words") and not self._is_there(thing):
            return Claim(item.text, "missing", why=f"{NOWHERE}: there is none")
        return None

    def _is_there(self, thing: Thing) -> bool:
        if thing.speech:
            return self.view.has("voice") or self.view.has("words")
        return self.view.has(str(thing.modality))


def _together(item: Found, parts: Sequence[Claim]) -> Claim:
    ids = tuple(one for part in parts for one in part.evidence_ids)
    return Claim(item.text, "face", ids, next((part.why for part in parts if part.why), ""))
