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
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

from merr_pipeline.emotion.rules import Rules
from merr_pipeline.grounding.attribution import Attribution
from merr_pipeline.grounding.bearing import DOUBTFUL, Bearings
from merr_pipeline.grounding.carrying import carried, denied, is_denial, without_carried
from merr_pipeline.grounding.claims import Claim, Grounding
from merr_pipeline.grounding.clause import Clause, Found
from merr_pipeline.grounding.lexicon import Lexicon
from merr_pipeline.grounding.proof import Prover
from merr_pipeline.grounding.quantities import Quantities
from merr_pipeline.grounding.quotations import (
    QUOTATION,
    around,
    clauses_of,
    in_place_of,
    is_given_label,
    sentences_of,
    spelt_out,
)
from merr_pipeline.grounding.reasons import Reasons
from merr_pipeline.grounding.references import References
from merr_pipeline.grounding.relations import Relations, emotions_meant, thought_of
from merr_pipeline.grounding.retelling import Proven, Retelling
from merr_pipeline.grounding.said_order import SaidOrder
from merr_pipeline.grounding.staging import Staging
from merr_pipeline.grounding.statements import Statements
from merr_pipeline.grounding.tagging import Pattern, PatternIndex, words_of
from merr_pipeline.grounding.times import Times
from merr_pipeline.grounding.unknowing import unknown_things
from merr_pipeline.grounding.view import EvidenceView, is_unsure, read_evidence
from merr_pipeline.schema import Row

__all__ = ["Checker", "Claim", "Grounding", "check_text"]


def check_text(
    text: str, evidence: Sequence[Row], label: str | None, lexicon: Lexicon, rules: Rules
) -> Grounding:
    """Every claim of the text, with its proof or what is wrong with it.

    ``evidence`` are rows of `schema.EVIDENCE`; ``label`` is the clip's label, the only emotion that
    the text may name as a fact (None: it may name none).
    """
    return Checker(evidence, lexicon, rules).check(text, label)


class Checker:
    """Checks texts against one evidence list, which is read once."""

    def __init__(self, evidence: Sequence[Row], lexicon: Lexicon, rules: Rules) -> None:
        self._lexicon, self._rules = lexicon, rules
        self._view = read_evidence(evidence, lexicon.voice, rules.table)
        self._patterns = PatternIndex(self._view.patterns, across=True)

    def check(self, text: str, label: str | None) -> Grounding:
        """As `check_text`."""
        check = _Check(self._view, self._patterns, label, self._lexicon, self._rules)
        return Grounding(tuple(check.claims(text)))


class _Check:
    """One text being read; remembers what it has named so far."""

    def __init__(
        self,
        view: EvidenceView,
        patterns: PatternIndex,
        label: str | None,
        lexicon: Lexicon,
        rules: Rules,
    ) -> None:
        self._view, self._label, self._lexicon, self._rules = view, label, lexicon, rules
        self._bearings = Bearings(view, rules, lexicon.voice)
        self._prover = Prover(view, rules.table, lexicon.degrees)
        self._statements = Statements(view, rules, label)
        self._relations = Relations(view, self._bearings, lexicon, label)
        self._references = References(view)
        self._attribution = Attribution(view, self._bearings, lexicon.grammar, label or "")
        self._reasons = Reasons(view, lexicon)
        self._retelling = Retelling(view, lexicon)
        self._staging = Staging(view, lexicon)
        self._quantities = Quantities(view)
        self._spoken = SaidOrder(view, lexicon)
        self._times = Times(view, lexicon, self._spoken)
        self._named: list[str] = []  # Action Units
        self._last_signs: list[Found] = []  # of the last clause that names a facial sign
        self._proven_before: list[Proven] = []
        self._patterns = patterns
        if self._is_users_own:
            own = Pattern.read(" ".join(words_of(label or "")), "emotion", label)
            self._patterns = PatternIndex([*view.patterns, own], across=True)

    def claims(self, text: str) -> Iterator[Claim]:
        """Quotations first, then the rest clause by clause."""
        text = text.replace("“", '"').replace("”", '"')
        if self._is_users_own:
            text = QUOTATION.sub(self._unquoted_label, text)
        yield from (self._quotation(match) for match in QUOTATION.finditer(text))
        quoted = iter([match[1] for match in QUOTATION.finditer(text)])
        if '"' in (rest := QUOTATION.sub(in_place_of, text)):
            yield Claim('"', "quotation", why="a quotation mark without its partner")
        sentences = sentences_of(self._quantities.rewritten(spelt_out(rest.replace('"', ""))))
        for sentence, answer in zip_longest(sentences, sentences[1:], fillvalue=""):
            yield from self._asked(sentence, answer) or self._sentence(sentence, quoted)

    @property
    def _is_users_own(self) -> bool:
        """Whether the label is of a label space that the lexicon has no words for."""
        return bool(words_of(self._label or "")) and self._label not in self._lexicon.emotions

    # --- quotations ----------------------------------------------------------------------------

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
        wrong = "" if self._times.place_of(said) else "these words are in no evidence"
        before, after = around(match)
        if not self._is_said(before, after):
            wrong = "nothing before it says that these words were said"
        elif self._lexicon.feelings & {*before, *after}:
            wrong = "words that were said are no feeling"
        ids = () if wrong or self._view.words is None else (self._view.words["id"],)
        return Claim(said, "quotation", ids, wrong)

    def _is_said(self, before: Sequence[str], after: Sequence[str]) -> bool:
        """Whether the words around a quotation say that it was said; a clause may begin with it."""
        if self._lexicon.says(before):
            return True
        beside = self._lexicon.read(
            " ".join((*before, *after)).replace("quotationmark", ""), self._patterns
        )
        return (
            not before
            or before[0] == "quotationmark"
            or beside.is_of_speech
            or any("order" in tag for tag in beside.tags)
        )

    # --- sentences and clauses -----------------------------------------------------------------

    def _asked(self, question: str, answer: str) -> list[Claim]:
        """``Does the chin move? Nobody can tell.`` What is asked must be unknown."""
        if not question.endswith("?") or "quotationmark" in question:
            return []
        answers = [self._lexicon.read(text, self._patterns) for text in clauses_of(answer)]
        sayings = [item for clause in answers for item in clause.of("ignorance")]
        asked = self._lexicon.read(question, self._patterns)
        return unknown_things(asked, self._prover, self._lexicon, sayings[0]) if sayings else []

    def _clauses(self, sentence: str) -> Iterator[Clause]:
        """Those of a sentence; one that merely denies is told with the one that it denies."""
        clauses = [self._lexicon.read(text, self._patterns) for text in self._pieces(sentence)]
        for clause, after in zip_longest(clauses, clauses[1:]):
            if not (is_denial(clause) and clause is not clauses[0]):
                yield denied(clause) if after and is_denial(after) else clause

    def _sentence(self, sentence: str, quoted: Iterator[str]) -> list[Claim]:
        clauses = list(self._clauses(sentence))
        hedged = any(map(self._is_hedged, clauses))
        claims: list[Claim] = []
        related: list[tuple[Clause, list[Proven]]] = []
        for clause in clauses:
            quotes = [next(quoted, "") for _ in range(clause.text.count("quotationmark"))]
            if clause.has("ignorance"):
                claims += self._unknown(clause, hedged=hedged)
                continue
            if again := self._carried(clause):
                claims += [self._prover.face(item, hedged=True) for item in again]
                clause = without_carried(clause, self._lexicon.grammar_with_glue)
            proven = self._proven(clause, quotes, hedged=hedged)
            claims += self._clause(clause, proven, quotes)
            related.append((clause, proven))
            self._proven_before += proven
        for clause, proven in related:
            claims += self._relations.relation(clause, proven, self._proven_before, hedged=hedged)
        of_emotion = any(clause.has("emotion") for clause in clauses)
        for clause, proven in related:
            claims += self._reasons.wrong(clause, proven, of_emotion=of_emotion)
        if not claims:
            claims = self._retelling.anything(clauses)
        if not claims and "quotationmark" not in sentence:
            claims = [Claim(sentence, "nothing", why="nothing in it can be checked")]
        return claims

    def _unknown(self, clause: Clause, *, hedged: bool) -> list[Claim]:
        """What the clause says not to be known; a fixed saying in it must hold all the same."""
        claims = unknown_things(clause, self._prover, self._lexicon)
        open_ones = clause.of("unknown", "content")
        asking = self._lexicon.question_words | self._lexicon.open_questions
        words = words_of(clause.text)
        if asking.isdisjoint(words) and open_ones and not self._lexicon.tellings.isdisjoint(words):
            told = [self._retelling.is_told(item, clause) for item in open_ones]
            if all(told):
                claims.append(Claim(clause.text, "missing", why="the evidence tells of it"))
        sayings = clause.of("statement")
        return claims + [self._statements.claim(one, clause, hedged=hedged) for one in sayings]

    def _carried(self, clause: Clause) -> list[Found]:
        """Signs of the clause before, of which this one says how strong they are."""
        lexicon = self._lexicon
        return carried(clause, self._last_signs, lexicon.degrees, lexicon.grammar_with_glue)

    def _pieces(self, sentence: str) -> list[str]:
        """The clauses; one of adverbs alone belongs to the one before: ", but only weakly"."""
        pieces: list[str] = []
        for text in self._parted(clauses_of(sentence)):
            if pieces and self._adds_nothing(text):
                pieces[-1] = f"{pieces[-1]}, {text}"
            else:
                pieces.append(text)
        return pieces

    def _parted(self, texts: Iterable[str]) -> Iterator[str]:
        """``it suggests grief, and why is not known``: a bearing is judged apart from ignorance."""
        for text in texts:
            left, joined, right = text.rpartition(", and ")
            if joined and self._is_bearing_beside_ignorance(left, right):
                yield from (left, right)
            else:
                yield text

    def _is_bearing_beside_ignorance(self, left: str, right: str) -> bool:
        bearing, ignorance = (self._lexicon.read(text, self._patterns) for text in (left, right))
        is_bearing = bearing.has("emotion") and bearing.has_relation
        return is_bearing and not bearing.has("ignorance") and ignorance.has("ignorance")

    def _adds_nothing(self, text: str) -> bool:
        """Adverbs and glue; but "it is not revealed" says that something is not known."""
        if not self._lexicon.adds_nothing(text):
            return False
        is_denial = not self._lexicon.negation_words.isdisjoint(words_of(text))
        return not (
            is_denial and self._lexicon.read(text, self._patterns).has("ignorance", "statement")
        )

    def _proven(self, clause: Clause, quotes: Sequence[str], *, hedged: bool) -> list[Proven]:
        proven = [(item, self._claim(item, clause, quotes, hedged=hedged)) for item in clause.found]
        return self._retelling.mended(clause, proven)

    def _clause(
        self, clause: Clause, proven: Sequence[Proven], quotes: Sequence[str]
    ) -> list[Claim]:
        claims = [claim for _, claim in proven if claim is not None]
        claims += self._times.wrong(clause, quotes, claims)
        claims += self._certain(clause, claims)
        if any(claim.kind == "told" for claim in claims) and (why := self._staging.fault(clause)):
            claims.append(Claim(clause.text, "scene", why=why))
        claims += self._references.comparisons(clause, proven, self._signs_before())
        claims += self._references.references(clause, proven, self._signs_before())
        self._remember(clause)
        return claims

    def _is_hedged(self, clause: Clause) -> bool:
        """Whether it is said with caution; a relation between clues and an emotion may be so."""
        is_bearing = clause.has("cautious") and clause.has("emotion")
        return self._has_hedge(clause) or is_bearing

    def _has_hedge(self, clause: Clause) -> bool:
        words = f" {' '.join(words_of(clause.text))} "
        return any(f" {hedge} " in words for hedge in self._lexicon.hedges)

    def _remember(self, clause: Clause) -> None:
        self._last_signs = clause.of("face") or self._last_signs
        for item in clause.of("face"):
            self._named += [code for code in item.meaning if code in self._view.units]

    def _signs_before(self) -> list[Row]:
        return [self._view.units[code] for code in dict.fromkeys(self._named)]

    # --- one claim -----------------------------------------------------------------------------

    def _claim(
        self, item: Found, clause: Clause, quotes: Sequence[str], *, hedged: bool
    ) -> Claim | None:
        """None for what claims nothing by itself."""
        match item.kind:
            case "face" if not item.negated and _tells_what_was_measured(clause):
                return None
            case "face":
                return self._prover.face(item, hedged=hedged)
            case "needs":
                return self._prover.needs(item, hedged=hedged)
            case "count":
                return self._prover.count(item)
            case "thing":
                return self._prover.thing(item)
            case "fact" | "time" | "arousal":
                wrong = "the evidence says so" if item.negated else ""
                kind = "time" if item.kind == "time" else "fact"
                return Claim(item.text, kind, () if wrong else item.meaning, wrong)
            case "statement":
                return self._statements.claim(item, clause, hedged=hedged)
            case "conclusion":
                doubted = self._has_hedge(clause)
                wrong = self._bearings.wrong_conclusion(item.meaning, self._label, hedged=doubted)
                return Claim(item.text, "conclusion", why=wrong)
            case "emotion":
                return self._emotion(item, clause, hedged=hedged)
            case "all_signs":
                return self._all_signs(item, hedged=hedged)
            case "speech":
                return self._speech(item, clause, quotes)
            case "forbidden":
                return Claim(item.text, item.meaning, why=f"{item.meaning} is never said as fact")
            case "not" if clause.has("relation") and not clause.has("emotion"):
                return None  # "nothing in the face speaks against it"
            case "not" | "unknown" | "number" | "content":
                return Claim(item.text, "unknown", why="in no evidence, and not to be read")
        return None  # relations, order, certainty and references are judged with their clause

    def _emotion(self, item: Found, clause: Clause, *, hedged: bool) -> Claim | None:
        """The label may be named where clues bear it out; another only as what one may bear on."""
        if item.meaning == self._label and not item.negated:
            doubted = self._is_hedged(clause) or item.start in thought_of(clause)
            return self._attribution.claim(item, clause, hedged=doubted)
        if item.start in thought_of(clause):
            return Claim(item.text, "emotion")
        if item.negated and clause.has_relation:
            return None
        if self._relations.is_cautious(clause, hedged=hedged) and not clause.has("certain"):
            return None
        return Claim(item.text, "emotion", why=f"{item.meaning} is not the clip's label")

    def _all_signs(self, item: Found, *, hedged: bool) -> Claim:
        """What "these facial signs" are: all that the text has named so far."""
        units = self._signs_before()
        wrong = "" if units else "no facial sign was named before"
        if "both" in item.text and len(units) != 2:
            wrong = "it is not two signs that were named before"
        elif any(map(is_unsure, units)) and not hedged:
            wrong = DOUBTFUL
        return Claim(item.text, "face", tuple(unit["id"] for unit in units), wrong)

    def _speech(self, item: Found, clause: Clause, quotes: Sequence[str]) -> Claim | None:
        """Something was said, and in a way that the transcript must show."""
        view, speech = self._view, item.meaning
        if speech.needs is None and not speech.times:
            return None
        if view.words is None:
            return Claim(item.text, "words", why="no words are in the evidence")
        counts = self._times_said(item, clause, quotes) if speech.times or speech.repeats else []
        if speech.times and (counts or not speech.needs):
            found = speech.times in counts
        else:
            repeated = speech.repeats and any(count > 1 for count in counts)
            found = repeated or bool(re.search(speech.needs, f'"{view.said}"'))
        if item.negated:
            wrong = "this was said" if found else ""
        else:
            wrong = "" if found else "nothing that was said is so"
        return Claim(item.text, "words", (view.words["id"],), wrong)

    def _times_said(self, item: Found, clause: Clause, quotes: Sequence[str]) -> list[int]:
        """How often the quotation beside it was said, else all that the clause retells."""
        paused = any("pauses" in one.meaning.words for one in clause.of("needs"))
        if paused and not quotes and (read := self._view.named.get("pauses")):
            return [int(read[0]["value"] or 0)]
        marks = [tag.start for tag in clause.tags if "quotationmark" in tag.text]
        if quotes and len(marks) == len(quotes):
            before = sum(start <= item.start for start in marks)
            return [self._times.times_said(quotes[max(before - 1, 0)])]
        told = [tag for tag in clause.tags if self._spoken.is_told(tag)]
        return [min(self._spoken.times_said(tag.text) for tag in told)] if told else []

    def _certain(self, clause: Clause, claims: Sequence[Claim]) -> Iterator[Claim]:
        """No emotion is certain, nor what is measured badly."""
        for item in clause.of("certain"):
            ids = {one for claim in claims for one in claim.evidence_ids}
            if clause.has("actions") or any(one.meaning[0].actions for one in clause.of("count")):
                ids |= {row["id"] for row in self._view.units.values()}
            unsure = [row for row in self._view.rows if row["id"] in ids and is_unsure(row)]
            if emotions_meant(clause):
                yield Claim(item.text, "certainty", why="of an emotion nothing is certain")
            elif unsure:
                yield Claim(item.text, "certainty", why=f"not certain: {unsure[0]['text']}")


def _tells_what_was_measured(clause: Clause) -> bool:
    """``AU04 is among the actions measured`` does not say that it is active."""
    return any(item.meaning.signs == "measured" for item in clause.of("statement"))
