"""What the checker can read: ``grounding_lexicon.yaml``, and how a sentence is read with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from merr_pipeline.emotion.facs import ActionUnitTable
from merr_pipeline.grounding.clause import Clause, Found
from merr_pipeline.grounding.clause_reading import read_clause
from merr_pipeline.grounding.entries import (
    ConclusionSaying,
    Degrees,
    Grammar,
    Grouped,
    Quality,
    SceneWords,
    Speech,
    Statement,
    Thing,
    VoiceNames,
)
from merr_pipeline.grounding.tagging import (
    Pattern,
    PatternIndex,
    Tagger,
    forms,
    is_one_of,
    patterns_of,
    words_of,
)
from merr_pipeline.grounding.told import Thesaurus
from merr_pipeline.schema import MerrError
from merr_pipeline.templates import load_template

TEMPLATE = "grounding_lexicon.yaml"

Way = Literal["for", "against"]
Words = tuple[str, ...]
Comparison = Literal["more", "less", "most", "least", "second", "third", "stronger", "weaker"]


class Lexicon(BaseModel):
    """The whole of ``grounding_lexicon.yaml``, whose comments say what each part is for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    skipped: frozenset[str]
    grammar: Grammar
    degrees: Degrees
    hedges: Words
    qualities: dict[str, Quality]
    things: tuple[Thing, ...]
    all_signs: Words
    negations: Words
    ignorance: Words
    denials: Words
    knowable: Words
    decisive: Words
    set_aside: frozenset[str]
    strength_words: frozenset[str]
    open_questions: frozenset[str]
    all_of_it: frozenset[str]
    adding: frozenset[str]
    tellings: frozenset[str]
    question_words: frozenset[str]
    counterfactual: frozenset[str]
    everything: frozenset[str]
    relations: dict[Way, Words]
    cautious: dict[Way, Words]
    contrasts: Words
    comparisons: dict[Comparison, Words]
    certain: Words
    hypothetical: Words
    order: Words
    earlier: frozenset[str]
    later: frozenset[str]
    listed: frozenset[str]
    next: frozenset[str]
    start: Words
    finish: Words
    among_words: Words
    speech: tuple[Speech, ...]
    scene: SceneWords
    sayings: Words
    feelings: frozenset[str]
    no_clues: frozenset[str]
    voice: VoiceNames
    statements: tuple[Statement, ...]
    conclusions: tuple[ConclusionSaying, ...]
    emotions: dict[str, Words]
    bearers: dict[Literal["face", "voice", "words", "nothing"], Words]
    causes: Words
    reasons: Words
    forbidden: dict[str, Words]
    synonyms: tuple[Words, ...]
    irregular: dict[str, Words]
    numbers: Words
    glue: Grouped
    sha256: str

    @cached_property
    def patterns(self) -> tuple[Pattern, ...]:
        """All that is known before any evidence."""
        return tuple(self._all_patterns())

    def _all_patterns(self) -> Iterator[Pattern]:
        for thing in self.things:
            yield from _patterns(thing.say, "thing", (thing,))
        for name, quality in self.qualities.items():
            yield from _patterns(quality.say, "quality", (name,))
            if quality.alone:
                yield from _patterns(quality.say, "alone", quality.alone)
        for kind, by_name in (
            ("relation", self.relations),
            ("cautious", self.cautious),
            ("comparison", self.comparisons),
            ("emotion", self.emotions),
            ("bearer", self.bearers),
            ("forbidden", self.forbidden),
        ):
            for name, texts in by_name.items():
                yield from _patterns(texts, kind, name)
        for kind, texts in (
            ("all_signs", self.all_signs),
            ("not", self.negations),
            ("ignorance", self.ignorance),
            ("denial", self.denials),
            ("knowable", self.knowable),
            ("decisive", self.decisive),
            ("certain", self.certain),
            ("order", self.order),
            ("hypothetical", self.hypothetical),
            ("contrast", self.contrasts),
            ("cause", self.causes),
            ("reason", self.reasons),
            ("glue", tuple(sorted(self.glue))),
        ):
            yield from _patterns(texts, kind, None)
        for phrase in self.degrees:
            yield Pattern.read(phrase, "degree", phrase)
        for speech in self.speech:
            yield from _patterns(speech.say, "speech", speech)
        for statement in self.statements:
            yield from _patterns([statement.say], "statement", statement)
        for saying in self.conclusions:
            yield from _patterns([saying.say], "conclusion", saying.holds)
        for number, word in enumerate(self.numbers[1:], start=1):
            yield Pattern.read(word, "number", number)
        for group in self.synonyms:
            yield from _patterns([text for text in group if " " in text], "content", None)

    @cached_property
    def index(self) -> PatternIndex:
        """The same, to be looked up."""
        return PatternIndex(self.patterns)

    @cached_property
    def glue_words(self) -> frozenset[str]:
        """Glue of one word, in all its forms."""
        return frozenset(form for one in self.glue if " " not in one for form in forms(one))

    @cached_property
    def grammar_with_glue(self) -> Grammar:
        """The grammar with all words of glue."""
        return self.grammar.model_copy(update={"glue": self.glue_words})

    @cached_property
    def thesaurus(self) -> Thesaurus:
        """Word forms and synonyms."""
        return Thesaurus(self.synonyms, self.irregular)

    @cached_property
    def degree_words(self) -> frozenset[str]:
        """Adverbs of one word, which may stand inside a pattern."""
        return frozenset(phrase for phrase in self.degrees if " " not in phrase)

    @cached_property
    def saying_patterns(self) -> tuple[Pattern, ...]:
        """What may stand right before a quotation of what was said."""
        return tuple(_patterns(self.sayings, "saying", None))

    def says(self, before: Sequence[str]) -> bool:
        """Whether these words, which stand before a quotation, end by saying that it was said."""
        return any(
            len(before) >= len(pattern.words)
            and all(map(is_one_of, before[-len(pattern.words) :], pattern.words))
            for pattern in self.saying_patterns
        )

    def read(self, text: str, more: PatternIndex) -> Clause:
        """One clause. ``more`` are patterns that the evidence adds; they come before our own."""
        tagger = Tagger((more, self.index), self.skipped, self.degree_words)
        return read_clause(text, tagger.tags(text), self.grammar_with_glue)

    def adds_nothing(self, text: str) -> bool:
        """Whether a clause has only adverbs and glue, so that it belongs to the one before.

        One that begins with "both" or "it" is understood by `carrying`.
        """
        words = words_of(text)
        return self._plain_words.issuperset(words) and words[0] not in self.grammar.pronouns

    @cached_property
    def negation_words(self) -> frozenset[str]:
        """Negations of one word."""
        return frozenset(one for one in self.negations if " " not in one)

    @cached_property
    def _plain_words(self) -> frozenset[str]:
        return self.glue_words | self.degree_words | self.skipped | {"not"}

    def find(self, text: str, more: Iterable[Pattern] = ()) -> list[Found]:
        """Everything said in one clause, in order; glue is left out."""
        found = self.read(text, PatternIndex(more, across=True)).found
        return [item for item in found if item.kind not in ("thing", "actions")]


def _patterns(texts: Iterable[str], kind: str, meaning: object) -> Iterator[Pattern]:
    for text in texts:
        yield from patterns_of(text, kind, meaning)


def load_lexicon(table: ActionUnitTable, templates: Path | None = None) -> Lexicon:
    """Read ``grounding_lexicon.yaml`` from the user's templates folder, else the shipped one.

    Raises:
        MerrError: the file is missing, says something that cannot be, or names an unknown
            Action Unit.
    """
    template = load_template(TEMPLATE, templates)
    try:
        lexicon = Lexicon.model_validate({**template.data, "sha256": template.sha256})
        for thing in lexicon.things:
            _check_thing(thing, lexicon, table)
    except (ValidationError, TypeError, ValueError) as error:
        raise MerrError(f"template {TEMPLATE} is wrong: {error}") from error
    return lexicon


def _check_thing(thing: Thing, lexicon: Lexicon, table: ActionUnitTable) -> None:
    """Its qualities and Action Units must exist."""
    needs = [*thing.does.values(), *([thing.has] if thing.has else [])]
    codes = [code for one in needs for code in one.codes]
    table.check_codes([*codes, *thing.units], f"things: {thing.say[0]}")
    if unknown := sorted(set(thing.does) - set(lexicon.qualities)):
        raise ValueError(f"things: {thing.say[0]}: unknown qualities {', '.join(unknown)}")
