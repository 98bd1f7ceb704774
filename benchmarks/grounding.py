"""How well the grounding checker tells true sentences from false ones.

::

    python benchmarks/grounding.py [--half dev|held_out] [--labels] [--show] [--templates FOLDER]

Every sentence of ``grounding/`` (see the README there) is checked by itself, with no label, so that
no emotion is licensed by one. A verdict is *ungrounded* where one claim of the sentence is.
With ``--labels`` the label is given that the evidence bears out best by the rules, as a model would
name it. A label must let no false sentence through: below each table stands how many pass with any.

* What should happen: a sentence that is not ``acceptable`` is to be found ungrounded. So a true
  sentence with a forbidden word ("she") counts as one to refuse.
* ``ungrounded``: precision, how many of those refused deserved it; recall, how many that deserve it
  are refused. ``grounded``: the same of those that pass. ``accuracy``: verdicts that are right.
* ``but for pronouns``: the truth is ``grounded``, and a claim of gender alone refuses nothing.
* A sentence counts in each of its kinds; ``n`` is true + false ones. ``by`` is who wrote it: the
  ``first`` writer, one in the voice of a ``model`` that explains, one in that of ``annotators``.
* Held-out sentences are counted and never printed: ``--show`` is for the half ``dev``.

It exits 0 whatever the numbers; `tests/test_check_english.py` holds what must not be lost.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.emotion.rules import Rules, load_rules
from merr_pipeline.grounding.bearing import Bearings
from merr_pipeline.grounding.check import Grounding, check_text
from merr_pipeline.grounding.lexicon import Lexicon, load_lexicon
from merr_pipeline.grounding.view import read_evidence
from merr_pipeline.schema import Row

FOLDER = Path(__file__).parent / "grounding"
HALVES = ("dev", "held_out")


class Judged(NamedTuple):
    """A sentence and what the checker said of it."""

    sentence: Row
    result: Grounding

    @property
    def passes(self) -> bool:
        """Whether the checker found nothing wrong."""
        return not self.result.ungrounded

    @property
    def passes_but_for_pronouns(self) -> bool:
        """The same, where gender may be named."""
        return all("gender" in claim.why for claim in self.result.ungrounded)

    @property
    def is_right(self) -> bool:
        """Whether it should have passed just when it did."""
        return self.passes == self.sentence["acceptable"]


class Scores(NamedTuple):
    """Counts of verdicts: right and wrong, of what should pass and what should not."""

    passed_rightly: int
    passed_wrongly: int
    refused_rightly: int
    refused_wrongly: int

    def line(self, name: str) -> str:
        """One line of the table."""
        right = self.passed_rightly + self.refused_rightly
        refused = (self.refused_rightly, self.refused_wrongly, self.passed_wrongly)
        passed = (self.passed_rightly, self.passed_wrongly, self.refused_wrongly)
        return (
            f"  {name:<22}{self.passed_rightly + self.refused_wrongly:4} +"
            f"{self.refused_rightly + self.passed_wrongly:4}"
            f"{_share(refused[0], refused[1]):>10}{_share(refused[0], refused[2]):>8}"
            f"{_share(passed[0], passed[1]):>12}{_share(passed[0], passed[2]):>8}"
            f"{_share(right, sum(self) - right):>11}"
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--half", choices=HALVES)
    parser.add_argument("--labels", action="store_true", help="give each list a label of its own")
    parser.add_argument("--show", action="store_true", help="wrong dev sentences, with the reasons")
    parser.add_argument("--templates", type=Path)
    options = parser.parse_args()
    bench = Bench.load(options.templates)
    labels = bench.best_labels() if options.labels else {}
    begin = time.perf_counter()
    judged = bench.judge(labels)
    seconds = time.perf_counter() - begin
    if options.labels:
        print("; ".join(f"{name}: {label}" for name, label in labels.items()))
    for half in [options.half] if options.half else HALVES:
        print("\n".join(table(half, _of_half(judged, half))))
        if options.labels:
            print(licensed(bench, half))
    print(f"{1000 * seconds / len(judged):.2f} ms a text, evidence read each time")
    if options.show:
        print("\n".join(wrong_dev_sentences(judged)))


@dataclass(frozen=True)
class Bench:
    """The sentences, their evidence lists by name, and what the checker judges by."""

    sentences: Sequence[Row]
    evidence: Mapping[str, Sequence[Row]]
    lexicon: Lexicon
    rules: Rules

    @classmethod
    def load(cls, templates: Path | None) -> Bench:
        """Read everything, and the lexicon's tables once."""
        units = load_action_units(templates)
        rules, lexicon = load_rules(units, templates), load_lexicon(units, templates)
        evidence = json.loads((FOLDER / "evidence.json").read_text("utf-8"))
        lines = [
            line
            for path in sorted(FOLDER.glob("*sentences.jsonl"))
            for line in path.read_text("utf-8").splitlines()
        ]
        check_text("The person smiles.", [], None, lexicon, rules)
        return cls([json.loads(line) for line in lines], evidence, lexicon, rules)

    def judge(self, labels: Mapping[str, str]) -> list[Judged]:
        """Every sentence with the checker's verdict; ``labels`` by evidence list, if any."""
        return [
            Judged(one, self._check(one["text"], one["evidence"], labels)) for one in self.sentences
        ]

    def _check(self, text: str, name: str, labels: Mapping[str, str]) -> Grounding:
        return check_text(text, self.evidence[name], labels.get(name), self.lexicon, self.rules)

    @property
    def labels(self) -> list[str]:
        """All that the rules know."""
        return [*self.rules.labels, self.rules.neutral.label]

    def best_labels(self) -> dict[str, str]:
        """Of each list the label with the most clues of face and voice, less those against it."""
        return {
            name: max(self.labels, key=partial(self._balance, self._bearings(rows)))
            for name, rows in self.evidence.items()
        }

    def _bearings(self, rows: Sequence[Row]) -> Bearings:
        view = read_evidence(rows, self.lexicon.voice, self.rules.table)
        return Bearings(view, self.rules, self.lexicon.voice)

    @staticmethod
    def _balance(bearings: Bearings, label: str) -> int:
        clues, against = (
            bearings.facial_clues(label, way) + bearings.vocal_clues(label, way)
            for way in ("for", "against")
        )
        return len(clues) - len(against)


def licensed(bench: Bench, half: str) -> str:
    """How many false sentences pass only because their text has this or that label."""
    false = [
        one
        for one in _of_half(bench.judge({}), half)
        if not (one.sentence["acceptable"] or one.passes)
    ]
    through = {
        one.sentence["id"]
        for label in bench.labels
        for one in _of_half(bench.judge(dict.fromkeys(bench.evidence, label)), half)
        if one.passes
    }
    passing = sum(one.sentence["id"] in through for one in false)
    return (
        f"  false and refused without a label: {len(false)}; {passing} of them pass with some label"
    )


def _of_half(judged: Sequence[Judged], half: str) -> list[Judged]:
    return [one for one in judged if one.sentence["half"] == half]


def table(half: str, judged: Sequence[Judged]) -> list[str]:
    """The totals of one half."""
    kinds = dict.fromkeys(kind for one in judged for kind in one.sentence["kinds"])
    lines = [f"{half:<24}{'true+false':>11}{'ungrounded':>14}{'grounded':>20}{'accuracy':>15}"]
    lines += [f"{'':<35}{'prec.':>8}{'recall':>8}{'prec.':>12}{'recall':>8}"]
    lines += [scores(judged).line("all")]
    lines += [scores(judged, but_for_pronouns=True).line("but for pronouns")]
    for kind in sorted(kinds):
        lines.append(scores([one for one in judged if kind in one.sentence["kinds"]]).line(kind))
    for name, wanted in (("paraphrases", True), ("in the list's words", False)):
        of_name = [one for one in judged if one.sentence["paraphrase"] is wanted]
        lines.append(scores(of_name).line(name))
    writers = sorted({writer_of(one) for one in judged})
    for writer in writers if len(writers) > 1 else []:
        of_writer = [one for one in judged if writer_of(one) == writer]
        lines.append(scores(of_writer).line(f"by {writer}"))
    pronouns = [one for one in judged if one.sentence["grounded"] > one.sentence["acceptable"]]
    forbidden = [one for one in judged if one.sentence["forbidden"]]
    lines.append(
        f"  forbidden: {_refused(forbidden)} are refused; true but for a pronoun:"
        f" {_refused(pronouns)} are refused"
    )
    return lines


def writer_of(one: Judged) -> str:
    """Who wrote the sentence; those of the first file do not say it."""
    return str(one.sentence.get("writer", "first"))


def scores(judged: Sequence[Judged], *, but_for_pronouns: bool = False) -> Scores:
    """Count verdicts against the truth."""
    counts = {(passes, truth): 0 for passes in (True, False) for truth in (True, False)}
    for one in judged:
        if but_for_pronouns:
            counts[one.passes_but_for_pronouns, one.sentence["grounded"]] += 1
        else:
            counts[one.passes, one.sentence["acceptable"]] += 1
    return Scores(
        counts[True, True], counts[True, False], counts[False, False], counts[False, True]
    )


def wrong_dev_sentences(judged: Sequence[Judged]) -> list[str]:
    """Those of the half that may be looked at, each with what the checker said."""
    lines = []
    for one in judged:
        if one.sentence["half"] != "dev" or one.is_right:
            continue
        should = "should pass" if one.sentence["acceptable"] else "SHOULD NOT PASS"
        lines.append(f"{one.sentence['id']} {one.sentence['evidence']}: {should}")
        lines.append(f"    {one.sentence['text']}")
        claims = one.result.claims if one.passes else one.result.ungrounded
        lines += [
            f"        {claim.kind}: {claim.text!r} {claim.why or claim.evidence_ids}"
            for claim in claims
        ]
    return lines


def _share(part: int, rest: int) -> str:
    return f"{part / (part + rest):.3f}" if part + rest else "-"


def _refused(judged: Sequence[Judged]) -> str:
    return f"{sum(not one.passes for one in judged)} of {len(judged)}"


if __name__ == "__main__":
    main()
