"""``merr evaluate``: answers files in, one folder with results, page and figures out."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast, get_args

from merr_pipeline.emotion.spaces import load_label_space
from merr_pipeline.evaluation import figures
from merr_pipeline.evaluation.answers import Answers, read_answers
from merr_pipeline.evaluation.compare import compare
from merr_pipeline.evaluation.folds import read_folds
from merr_pipeline.evaluation.labels import HEADLINE
from merr_pipeline.evaluation.page import TITLES, page
from merr_pipeline.evaluation.reading import TEMPLATE as READING
from merr_pipeline.evaluation.reading import Reader, Way, load_rules
from merr_pipeline.evaluation.results import as_json
from merr_pipeline.evaluation.score import Draws, Scorer, Scores
from merr_pipeline.evaluation.truth import Truth, read_truth
from merr_pipeline.evaluation.wheel import label_groups, load_wheels
from merr_pipeline.files import write_atomically
from merr_pipeline.schema import MerrError
from merr_pipeline.settings import Role, Settings
from merr_pipeline.templates import load_template

JUDGE = "judge_prompt.yaml"
SHOWN_CLIPS = 6  # with bars of probabilities, where nobody chose


@dataclass(frozen=True)
class Options:
    """How to score."""

    split: str = "test"
    way: Way = Way.RULES
    folds: Path | None = None
    wheels: Path | None = None
    judges: tuple[Role, ...] = ()
    show: tuple[str, ...] = ()  # clips whose probabilities are drawn
    draws: Draws = field(default_factory=Draws)


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    scores: list[Scores]
    files: list[Path]
    notes: list[str]

    @property
    def is_whole(self) -> bool:
        """Whether every clip has its answers and its verdicts."""
        return not any(one.missing or (one.judged and one.judged.failures) for one in self.scores)


def make_options(
    split: str,
    reading: str,
    folds: Path | None,
    wheels: Path | None,
    judges: Sequence[str],
    show: Sequence[str],
    draws: Draws,
) -> Options:
    """From words on a command line.

    Raises:
        MerrError: a word is none of those known.
    """
    if reading not in list(Way):
        raise MerrError(f"--reading {reading}: there is {', '.join(Way)}.")
    known = get_args(Role)
    for role in judges:
        if role not in known:
            raise MerrError(f"--judge {role}: there is {', '.join(known)}.")
    roles = cast("tuple[Role, ...]", tuple(dict.fromkeys(judges)))
    return Options(split, Way(reading), folds, wheels, roles, tuple(show), draws)


def evaluate(
    out: Path, files: Sequence[Path], to: Path, options: Options, settings: Settings
) -> Outcome:
    """Score answers files against the dataset in ``out`` and write all there is to say to ``to``.

    Raises:
        MerrError: the dataset, an answers file, the folds or the wheels cannot be used.
    """
    if not files:
        raise MerrError("there is nothing to score: name --answers FILE or --run FOLDER.")
    truth = read_truth(out, options.split)
    scorer = _scorer(truth, options, settings)
    all_answers = [read_answers(path) for path in files]
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    scores = [
        scorer.score(name, sha256, answers)
        for name, sha256, answers in zip(names_of(files), hashes, all_answers, strict=True)
    ]
    notes: list[str] = []
    hashes_of = {READING: load_rules(settings.templates).sha256}
    if options.judges:
        hashes_of[JUDGE] = load_template(JUDGE, settings.templates).sha256
        scores, notes = asyncio.run(_judged(scores, all_answers, truth, to, options, settings))
    differences = compare(scores, options.draws)
    drawn = _draw(scores, truth, scorer, options, to)
    results = as_json(truth, options.way.value, hashes_of, options.draws, scores, differences)
    text = page(truth, options.way.value, options.draws, scores, differences, drawn)
    content = json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(to / "results.json", content.encode())
    write_atomically(to / "results.md", text.encode())
    return Outcome(scores, [to / name for name in ("results.json", "results.md", *drawn)], notes)


def names_of(files: Sequence[Path]) -> list[str]:
    """The names of files without suffix, with their folders where two are called alike.

    Raises:
        MerrError: one file is named twice.
    """
    stems = [path.stem for path in files]
    names = [
        stem if stems.count(stem) == 1 else f"{path.resolve().parent.name}/{stem}"
        for stem, path in zip(stems, files, strict=True)
    ]
    if len(set(names)) < len(names):
        raise MerrError(f"--answers: two files are called {max(names, key=names.count)}.")
    return names


def _scorer(truth: Truth, options: Options, settings: Settings) -> Scorer:
    templates = settings.templates
    space = load_label_space(truth.space, templates)
    sentiments = load_label_space("sentiment", templates)
    rules = load_rules(templates)
    wheels = (load_wheels(options.wheels),) if options.wheels else ()
    return Scorer(
        truth,
        Reader(space, rules),
        space.labels,
        Reader(sentiments, rules),
        sentiments.labels,
        (*wheels, label_groups(space)),
        options.way,
        read_folds(options.folds, truth.known) if options.folds else None,
        options.draws,
    )


async def _judged(
    scores: Sequence[Scores],
    all_answers: Sequence[Answers],
    truth: Truth,
    to: Path,
    options: Options,
    settings: Settings,
) -> tuple[list[Scores], list[str]]:
    """The scores with verdicts, and what was asked."""
    from merr_pipeline.evaluation.judge import Judge, load_prompt
    from merr_pipeline.llm.client import Door
    from merr_pipeline.llm.prices import load_prices

    if not any(one.reference for one in truth.clips.values()):
        raise MerrError(f"no clip of the split {truth.split} has a fine text to judge by.")
    models = [str(settings.llm.of(role).model) for role in options.judges]
    prompt, prices = load_prompt(settings.templates), load_prices(settings.templates)
    async with Door(settings.llm, options.judges, to / "judge.sqlite", prices) as door:
        judge = Judge(door, options.judges, prompt)
        done = []
        for one, answers in zip(scores, all_answers, strict=True):
            said = {c: a for c, a in answers.of("reason").items() if c in truth.clips}
            if said:
                done.append(replace(one, judged=await judge.judge(truth, said, models)))
            else:
                done.append(one)
        notes = list(door.notes)
        for account in door.ledger.accounts:
            cost = "no price" if account.cost_usd is None else f"${account.cost_usd:.4f}"
            notes.append(
                f"{account.stage} by {account.model}: {account.requests} requests, "
                f"{account.from_cache} from the cache, {cost}"
            )
    return done, notes


def _draw(
    scores: Sequence[Scores], truth: Truth, scorer: Scorer, options: Options, to: Path
) -> list[str]:
    """Write the figures there are; gives the names of the files."""
    drawn = []
    for one in scores:
        for task, found in (("emotion", one.emotion), ("sentiment", one.sentiment)):
            if found and len(found.labelled.clip_ids):
                figure = figures.confusion(found.labelled, f"{one.name}: {task}")
                drawn += figures.save(figure, to, f"confusion_{task}_{_plain(one.name)}")
    emotions = {one.name: one.emotion.values for one in scores if one.emotion}
    if len(emotions) > 1:
        titles = {key: TITLES[key] for key in HEADLINE}
        drawn += figures.save(figures.dots(emotions, titles), to, "scores")
    by_file = {one.name: one.probabilities for one in scores if one.probabilities}
    if clips := _shown(by_file, truth, options):
        figure = figures.probabilities(scorer.labels, clips, by_file)
        drawn += figures.save(figure, to, "probabilities")
    return drawn


def _shown(
    by_file: dict[str, dict[str, dict[str, float]]], truth: Truth, options: Options
) -> dict[str, str | None]:
    """The clips that were chosen, else the first of each label; with their labels."""
    there = {clip_id for of_clips in by_file.values() for clip_id in of_clips}
    if lacking := [clip_id for clip_id in options.show if clip_id not in there]:
        raise MerrError(f"--show {lacking[0]}: no answer about it has label_probabilities.")
    chosen = list(options.show)
    if not chosen:
        first: dict[str, str] = {}
        for clip_id in sorted(there & truth.labels.keys()):
            first.setdefault(truth.labels[clip_id], clip_id)
        chosen = sorted(first.values())[:SHOWN_CLIPS]
    return {clip_id: truth.clips[clip_id].label for clip_id in chosen}


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)
