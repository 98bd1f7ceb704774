"""All scores of one answers file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from merr_pipeline.evaluation.answers import Answers, ModelAnswer
from merr_pipeline.evaluation.bootstrap import ROUNDS, Value, with_intervals
from merr_pipeline.evaluation.folds import FoldScores, score_folds
from merr_pipeline.evaluation.judged import Judged
from merr_pipeline.evaluation.labels import HEADLINE, Labelled, headline, pair
from merr_pipeline.evaluation.reading import Reader, Way, Why
from merr_pipeline.evaluation.sets import Sets, compare_sets, hit_scores, set_scores
from merr_pipeline.evaluation.truth import Truth
from merr_pipeline.evaluation.wheel import Classes
from merr_pipeline.schema import MerrError

UNREADABLE = (Why.EMPTY, Why.NONE, Why.SEVERAL)


@dataclass(frozen=True)
class Draws:
    """How intervals are made."""

    seed: int = 0
    rounds: int = ROUNDS


@dataclass(frozen=True)
class LabelScores:
    """One label for each clip: emotions, or sentiments."""

    labelled: Labelled
    values: dict[str, Value]  # `HEADLINE`
    read: dict[Why, int]  # how the answers were read
    missing: tuple[str, ...]  # clips of the split without an answer; they count as wrong
    folds: FoldScores | None = None

    @property
    def parse_failures(self) -> float:
        """Share of the answers in which no label could be read."""
        answered = sum(self.read.values())
        return sum(self.read.get(why, 0) for why in UNREADABLE) / answered if answered else 0.0


@dataclass(frozen=True)
class SetScores:
    """Sets of emotions, by one kind of classes."""

    classes: str
    open: Sets  # against the open labels
    open_values: dict[str, Value]
    hits: Sets  # against the one label
    hit_values: dict[str, Value]


@dataclass(frozen=True)
class Scores:
    """All that one file came to."""

    name: str
    sha256: str
    emotion: LabelScores | None
    sentiment: LabelScores | None
    sets: tuple[SetScores, ...]
    probabilities: dict[str, dict[str, float]]  # by clip
    judged: Judged | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """Clips of the split that have no answer to a task that the file answers."""
        found: set[str] = set()
        for one in (self.emotion, self.sentiment):
            found |= set(one.missing if one else ())
        found |= set(self.judged.missing if self.judged else ())
        return tuple(sorted(found))


@dataclass(frozen=True)
class Scorer:
    """Scores files against one truth, all in the same way."""

    truth: Truth
    emotions: Reader
    labels: tuple[str, ...]
    sentiments: Reader
    sentiment_labels: tuple[str, ...]
    classes: tuple[Classes, ...]
    way: Way = Way.RULES
    folds: Mapping[str, str] | None = None
    draws: Draws = field(default_factory=Draws)

    def score(self, name: str, sha256: str, answers: Answers) -> Scores:
        """Score a file; tasks that it does not answer are left out.

        Raises:
            MerrError: it is about other clips, or answers nothing that this split asks.
        """
        answers.check_known(self.truth.known)
        emotion = self._in_split(answers.of("emotion"))
        sentiment = self._in_split(answers.of("sentiment"))
        if not emotion and not sentiment and not self._in_split(answers.of("reason")):
            raise MerrError(f"{answers.path} answers nothing about the split {self.truth.split}.")
        return Scores(
            name,
            sha256,
            self._emotion(emotion) if emotion else None,
            self._sentiment(sentiment) if sentiment else None,
            tuple(self._sets(emotion, one) for one in self.classes) if emotion else (),
            {c: a.label_probabilities for c, a in emotion.items() if a.label_probabilities},
        )

    def _in_split(self, answers: Mapping[str, ModelAnswer]) -> dict[str, ModelAnswer]:
        return {c: answer for c, answer in answers.items() if c in self.truth.clips}

    def _emotion(self, answers: Mapping[str, ModelAnswer]) -> LabelScores:
        true = self.truth.labels
        return self._labels(true, answers, self.emotions, self.labels, self.folds)

    def _sentiment(self, answers: Mapping[str, ModelAnswer]) -> LabelScores:
        read = {
            c: self.sentiments.read(t.sentiment).label
            for c, t in self.truth.clips.items()
            if t.sentiment
        }
        true = {clip_id: label for clip_id, label in read.items() if label in self.sentiment_labels}
        return self._labels(true, answers, self.sentiments, self.sentiment_labels, None)

    def _labels(
        self,
        true: Mapping[str, str],
        answers: Mapping[str, ModelAnswer],
        reader: Reader,
        labels: tuple[str, ...],
        folds: Mapping[str, str] | None,
    ) -> LabelScores:
        read = {c: reader.read(answers[c].answer, self.way) for c in true if c in answers}
        labelled = pair(labels, true, {c: one.label for c, one in read.items()})
        values = with_intervals(
            lambda chosen: headline(labelled.counts(chosen)),
            len(labelled.clip_ids),
            self.draws.seed,
            self.draws.rounds,
        )
        return LabelScores(
            labelled,
            dict(zip(HEADLINE, values, strict=True)),
            dict(Counter(one.why for one in read.values())),
            tuple(sorted(c for c in true if c not in answers)),
            score_folds(labelled, dict(folds)) if folds is not None else None,
        )

    def _sets(self, answers: Mapping[str, ModelAnswer], classes: Classes) -> SetScores:
        said = {c: self.emotions.words(one.answer) for c, one in answers.items()}
        open_true = {c: one.open_labels for c, one in self.truth.clips.items()}
        opened = compare_sets(open_true, said, classes)
        hits = compare_sets({c: (one,) for c, one in self.truth.labels.items()}, said, classes)
        seed, rounds = self.draws.seed, self.draws.rounds
        return SetScores(
            classes.name,
            opened,
            set_scores(opened, seed, rounds),
            hits,
            hit_scores(hits, seed, rounds),
        )
