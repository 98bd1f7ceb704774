"""The results as JSON: all numbers, and every clip that a number leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from merr_pipeline.evaluation.bootstrap import PERCENTS, Value
from merr_pipeline.evaluation.compare import Difference
from merr_pipeline.evaluation.judged import KINDS, Judged
from merr_pipeline.evaluation.labels import WRONG_WAYS, by_label
from merr_pipeline.evaluation.score import Draws, LabelScores, Scores, SetScores
from merr_pipeline.evaluation.sets import Sets
from merr_pipeline.evaluation.truth import Truth

Json = dict[str, Any]


def as_json(
    truth: Truth,
    way: str,
    templates: Mapping[str, str],
    draws: Draws,
    all_scores: Sequence[Scores],
    differences: Sequence[Difference],
) -> Json:
    """The whole of ``results.json``; it names no folder and no time, so a rerun gives the same."""
    return {
        "dataset": {
            "config_hash": truth.config_hash,
            "split": truth.split,
            "label_space": truth.space,
            "clips": len(truth.clips),
            "with_label": len(truth.labels),
        },
        "reading": way,
        "templates": dict(templates),
        "bootstrap": {"rounds": draws.rounds, "seed": draws.seed, "percentiles": list(PERCENTS)},
        "answers": {one.name: _scores(one, draws) for one in all_scores},
        "differences": [
            {"of": one.name, "less": one.against, "values": _values(one.values)}
            for one in differences
        ],
    }


def _scores(scores: Scores, draws: Draws) -> Json:
    return {
        "sha256": scores.sha256,
        "emotion": _labels(scores.emotion),
        "sentiment": _labels(scores.sentiment),
        "sets": {one.classes: _sets(one) for one in scores.sets},
        "judge": _judged(scores.judged, draws),
        "without_answer": list(scores.missing),
    }


def _labels(scores: LabelScores | None) -> Json | None:
    if scores is None:
        return None
    labelled = scores.labelled
    counts = labelled.counts()
    precision, recall, f1 = by_label(counts)
    support = counts.sum(axis=1)
    shares = counts / support.clip(min=1)[:, None]
    return {
        "clips": len(labelled.clip_ids),
        "scores": _values(scores.values),
        "parse_failures": round(scores.parse_failures, 6),
        "read": {why.value: count for why, count in sorted(scores.read.items())},
        "by_label": {
            label: {
                "precision": round(float(precision[k]), 6),
                "recall": round(float(recall[k]), 6),
                "f1": round(float(f1[k]), 6),
                "clips": int(support[k]),
            }
            for k, label in enumerate(labelled.labels)
        },
        "confusion": {
            "rows": list(labelled.labels),
            "columns": [*labelled.labels, *WRONG_WAYS],
            "counts": counts.tolist(),
            "rates": shares.round(6).tolist(),
        },
        "folds": None if scores.folds is None else asdict(scores.folds),
        "without_answer": list(scores.missing),
    }


def _sets(scores: SetScores) -> Json:
    return {
        "open_labels": {"scores": _values(scores.open_values), **_skipped(scores.open)},
        "label": {"scores": _values(scores.hit_values), **_skipped(scores.hits)},
    }


def _skipped(sets: Sets) -> Json:
    return {
        "clips": len(sets.clip_ids),
        "skipped": len(sets.skipped),
        "skipped_neutral": sets.skipped_neutral,
        "skipped_clips": list(sets.skipped),
        "without_answer": len(sets.unanswered),
    }


def _judged(judged: Judged | None, draws: Draws) -> Json | None:
    if judged is None:
        return None
    return {
        "judges": dict(zip(judged.judges, judged.models, strict=True)),
        "failures": dict(judged.failures),
        "without_answer": list(judged.missing),
        "told_the_label": list(judged.told),
        "truth_names_no_emotion": list(judged.wordless),
        **{
            kind: {
                "score": asdict(judged.value(kind, draws.seed, draws.rounds)),
                "by_judge": judged.by_judge(kind),
                "order_gap": judged.order_gap(kind),
                "judge_gap": judged.judge_gap(kind),
                "by_clip": {clip_id: round(v, 6) for clip_id, v in judged.of(kind).items()},
            }
            for kind in KINDS
        },
    }


def _values(values: Mapping[str, Value]) -> Json:
    return {name: asdict(value) for name, value in values.items()}
