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
from merr_pipeline.fuse.lexicon import Found, Lexicon, Statement, words_of
from merr_pipeline.fuse.view import EvidenceView, read_evidence
from merr_pipeline.schema import Row

_QUOTATION = re.compile(r'"([^"]*)"')
_CLAUSE_END = re.compile(r"(?<=[.!?;])\s+|,\s+(?:while|but|although|though|whereas)\s+")


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
    view = read_evidence(evidence, lexicon.voice, rules.table)
    return Grounding(tuple(_Check(view, label, lexicon, rules).claims(text)))


class _Check:
    """One text being read; remembers the facial actions it has named so far."""

    def __init__(
        self, view: EvidenceView, label: str | None, lexicon: Lexicon, rules: Rules
    ) -> None:
        self._view, self._label, self._lexicon, self._rules = view, label, lexicon, rules
        self._named: list[str] = []  # Action Units

    def claims(self, text: str) -> Iterator[Claim]:
        """Quotations first, then the rest clause by clause."""
        text = text.replace("“", '"').replace("”", '"')
        yield from (self._quotation(match) for match in _QUOTATION.finditer(text))
        if '"' in (rest := _QUOTATION.sub(_in_place_of_quotation, text)):
            yield Claim('"', "quotation", why="a quotation mark without its partner")
        for clause in filter(None, map(str.strip, _CLAUSE_END.split(rest.replace('"', "")))):
            yield from self._clause(clause)

    def _quotation(self, match: re.Match[str]) -> Claim:
        said = match[1]
        if match.string[: match.start()].rstrip().endswith(("label", "label is")):
            wrong = "" if said == self._label else "this is not the clip's label"
            return Claim(said, "label", why=wrong)
        words = " ".join(words_of(said))
        wanted = f" {words}" if said.endswith("...") else f" {words} "  # cut, maybe in a word
        for quotation, row in self._view.quotations:
            if words and wanted in f" {quotation} ":
                return Claim(said, "quotation", (row["id"],))
        return Claim(said, "quotation", why="these words are in no evidence")

    def _clause(self, clause: str) -> list[Claim]:
        found = self._lexicon.find(clause, self._view.patterns)
        hedged = any(f" {h} " in f" {' '.join(words_of(clause))} " for h in self._lexicon.hedges)
        quoted = "quotationmark" in clause
        claims = [self._claim(item, hedged) for item in found if item.kind != "relation"]
        claims += self._relation(clause, found)
        for item in found:
            if item.kind == "face":
                self._named += [code for code in item.meaning if code in self._view.units]
        if not claims and not quoted:
            claims = [Claim(clause, "nothing", why="nothing in it can be checked")]
        return claims

    def _claim(self, item: Found, hedged: bool) -> Claim:
        if item.kind == "face":
            return self._facial_action(item, hedged)
        if item.kind in ("fact", "arousal"):
            return Claim(item.text, "fact", (item.meaning,))
        if item.kind == "statement":
            return self._statement(item)
        if item.kind == "conclusion":
            return Claim(item.text, "conclusion", why=self._wrong_conclusion(item.meaning))
        if item.kind == "emotion":
            wrong = "" if item.meaning == self._label else f"{item.meaning} is not the clip's label"
            return Claim(item.text, "emotion", why=wrong)
        if item.kind == "all_signs":
            return self._all_signs(item)
        if item.kind == "forbidden":
            return Claim(item.text, item.meaning, why=f"{item.meaning} is never said as fact")
        return Claim(item.text, "unknown", why="in no evidence, and not to be read")

    def _facial_action(self, item: Found, hedged: bool) -> Claim:
        units = [self._view.units[code] for code in item.meaning if code in self._view.units]
        if not units:
            return Claim(
                item.text, "face", why=f"{' or '.join(item.meaning)} is not in the evidence"
            )
        wrong = ""
        if item.degree and not any(self._degree_fits(item.degree, unit) for unit in units):
            wrong = f"{item.degree!r} does not fit {units[0]['text']}"
        unsure = all(u["reliability"] == "low" or u["scale"] == "proxy_0_5" for u in units)
        if unsure and not hedged:
            wrong = "an unreliable measure is said without a doubt"
        return Claim(item.text, "face", tuple(unit["id"] for unit in units), wrong)

    def _all_signs(self, item: Found) -> Claim:
        """What "these facial signs" are: all that the text has named so far."""
        ids = self._ids(self._named)
        wrong = "" if ids else "no facial sign was named before"
        if "both" in item.text and len(ids) != 2:
            wrong = "it is not two signs that were named before"
        return Claim(item.text, "face", ids, wrong)

    def _degree_fits(self, degree: str, unit: Row) -> bool:
        """Only intensities have degrees; a probability or a proxy has none."""
        span = self._lexicon.degrees[degree]
        return bool(unit["scale"] == "intensity_0_5" and span.start <= unit["value"] < span.below)

    def _statement(self, item: Found) -> Claim:
        statement: Statement = item.meaning
        if statement.label == "none":
            wrong = "" if self._label is None else "the clip has a label"
            return Claim(item.text, "statement", why=wrong)
        proof = self._view.id_of(re.compile(statement.needs or "$^"))
        wrong = "" if proof else "no evidence says so"
        return Claim(item.text, "statement", (proof,) if proof else (), wrong)

    # --- bearings on an emotion ----------------------------------------------------------------

    def _relation(self, clause: str, found: Sequence[Found]) -> Iterator[Claim]:
        """That every clue named beside an emotion bears on it in the way the clause says."""
        ways = {item.meaning for item in found if item.kind == "relation"}
        emotions = {item.meaning for item in found if item.kind == "emotion"}
        if not ways:
            return
        if len(ways) > 1 or len(emotions) != 1:
            yield Claim(clause, "relation", why="it is not clear which clue bears on what")
            return
        [way], [emotion] = ways, emotions
        wrong = [code for code in self._subjects(found) if not self._bears(code, emotion, way)]
        if any(item.kind == "arousal" for item in found) and not self._voice_bears(emotion, way):
            wrong.append("this vocal arousal")
        if any(item.meaning == "still_face" for item in found) and (way, emotion) != (
            "for",
            self._rules.neutral.label,
        ):
            wrong.append("a still face")
        said = "does not speak" if way == "for" else "does not speak against"
        why = (
            f"{', '.join(wrong)} {said} {'for ' if way == 'for' else ''}{emotion}" if wrong else ""
        )
        yield Claim(clause, "relation", why=why)

    def _subjects(self, found: Sequence[Found]) -> list[str]:
        named = [c for item in found if item.kind == "face" for c in item.meaning]
        if any(item.kind == "all_signs" for item in found):
            named += self._named
        return [code for code in dict.fromkeys(named) if code in self._view.units]

    def _bears(self, code: str, emotion: str, way: str) -> bool:
        if emotion == self._rules.neutral.label:
            unit = self._view.units[code]
            full = self._rules.scales[unit["scale"]].activation(unit["value"]) >= 1
            return code in self._rules.neutral.aus and full == (way == "against")
        known = self._rules.support if way == "for" else self._rules.against
        return code in known(emotion)

    def _voice_bears(self, emotion: str, way: str) -> bool:
        expected = self._rules.arousal(emotion)
        return bool(expected) and (self._view.arousal_level in expected) == (way == "for")

    def _clues(self, way: str) -> tuple[bool, bool]:
        """Whether the face, and whether the voice, bears on the label in this way.

        What is measured badly may support a label, and contradicts none. Mouth actions of someone
        who speaks count for nothing.
        """
        if self._label is None:
            return False, False
        view, units = self._view, self._rules.table.units
        counted = [
            code
            for code, row in view.units.items()
            if not (view.speaks and units[code].moved_by_speech)
            and (way == "for" or row["reliability"] != "low")
        ]
        face = any(self._bears(code, self._label, way) for code in counted)
        if view.still and way == "for" and self._label == self._rules.neutral.label:
            face = True
        hearable = view.arousal and (way == "for" or view.arousal["reliability"] != "low")
        voice = bool(hearable) and view.arousal_level in ("low", "high")
        return face, voice and self._voice_bears(self._label, way)

    def _wrong_conclusion(self, holds: str) -> str:
        if holds == "still_face":
            return "" if self._view.still else "the face is not known to be still"
        (face_for, voice_for), against = self._clues("for"), any(self._clues("against"))
        if holds == "support" and not (face_for or voice_for):
            return "no clue supports the label"
        if holds == "no_facial_support" and face_for:
            return "a facial action does support it"
        if holds == "contradiction" and (face_for or voice_for):
            return "a clue does support the label"
        if holds == "nothing" and (face_for or voice_for or against):
            return "a clue does bear on the label"
        if holds == "no_rule" and self._rules.support(self._label or ""):
            return "there are facial actions that go with the label"
        return "" if self._label else "the clip has no label"

    def _ids(self, codes: Sequence[str]) -> tuple[str, ...]:
        return tuple(self._view.units[code]["id"] for code in dict.fromkeys(codes))


def _in_place_of_quotation(match: re.Match[str]) -> str:
    """Keeps the sentence's end where the quotation brought it along."""
    rest = match.string[match.end() :].lstrip()
    ends = match[1].rstrip().endswith((".", "!", "?", "…", "。", "！", "？"))
    return "quotationmark." if ends and (not rest or rest[0].isupper()) else "quotationmark"
