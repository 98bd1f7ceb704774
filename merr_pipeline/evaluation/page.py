"""The results on one page of Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from merr_pipeline.evaluation.bootstrap import Value
from merr_pipeline.evaluation.compare import Difference
from merr_pipeline.evaluation.judged import KINDS, Judged
from merr_pipeline.evaluation.labels import HEADLINE, by_label
from merr_pipeline.evaluation.score import Draws, LabelScores, Scores, SetScores
from merr_pipeline.evaluation.truth import Truth
from merr_pipeline.exports.wanted import named

TITLES = {
    "weighted_f1": "weighted F1",
    "macro_f1": "macro F1",
    "accuracy": "accuracy (WAR)",
    "uar": "UAR",
    "f": "set F",
    "precision": "set precision",
    "recall": "set recall",
    "hit_rate": "hit rate",
    "mean_length": "mean list length",
    "emotion_wheel": "emotion wheels",
    "label_groups": "label groups",
    "clue": "clue overlap",
    "label": "label overlap",
}
NOTE = (
    "What is unread or has no answer is wrong, never neutral. Macro F1 and UAR are means over the "
    "labels that occur in the truth."
)
IN_SHARES = {"mean_length", "clue", "label"}  # all others are shown as percentages


def page(
    truth: Truth,
    way: str,
    draws: Draws,
    all_scores: Sequence[Scores],
    differences: Sequence[Difference],
    figures: Sequence[str],
) -> str:
    """The whole page; figures by the names of their files."""
    lines = [
        "# Evaluation",
        "",
        f"{len(truth.clips):,} clips of the split `{truth.split}`, {len(truth.labels):,} with a "
        f"label of `{truth.space}`. Answers are read by `{way}`. In brackets: 95 % intervals from "
        f"{draws.rounds:,} draws of the clips. Scores in percent, unless they say otherwise.",
        "",
    ]
    for task in ("emotion", "sentiment"):
        some = [(one.name, found) for one in all_scores if (found := getattr(one, task))]
        if some:
            lines += [f"## {task.capitalize()}", "", *_label_table(some), ""]
            for name, found in some:
                lines += [*_by_label(name, found), "", *_folds(found)]
    lines += _set_tables(all_scores)
    judged = [(one.name, one.judged) for one in all_scores if one.judged]
    if judged:
        lines += ["## Judged (1 to 10)", "", *_judge_table(judged, draws), ""]
    if differences:
        lines += ["## Differences", "", *_difference_table(differences), ""]
    lines += [*_left_out(all_scores)]
    pictures = [name for name in figures if name.endswith(".png")]
    if pictures:
        lines += ["## Figures", "", *(f"![{name[:-4]}]({name})" for name in pictures), ""]
    return "\n".join(lines)


def told(value: Value | None, key: str, sign: bool = False) -> str:
    """``61.2 [58.0, 64.1]``, or a dash."""
    if value is None or value.value is None:
        return "–"
    times, digits = (1, 2) if key.rsplit(".")[-1] in IN_SHARES else (100, 1)
    shown = f"{times * value.value:{'+' if sign else ''}.{digits}f}"
    if value.low is None or value.high is None:
        return shown
    return f"{shown} [{times * value.low:.{digits}f}, {times * value.high:.{digits}f}]"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; all but the first column to the right."""
    aligned = "|".join(["---", *["---:"] * (len(head) - 1)])
    return [_row(head), f"|{aligned}|", *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _label_table(some: Sequence[tuple[str, LabelScores]]) -> list[str]:
    head = ["answers", *(TITLES[name] for name in HEADLINE), "unread", "no answer"]
    rows = [
        [
            name,
            *(told(found.values[key], key) for key in HEADLINE),
            f"{100 * found.parse_failures:.1f}",
            f"{len(found.missing):,}",
        ]
        for name, found in some
    ]
    return [*table(head, rows), "", NOTE]


def _by_label(name: str, found: LabelScores) -> list[str]:
    counts = found.labelled.counts()
    columns = by_label(counts)
    rows = [
        [label, *(f"{100 * column[k]:.1f}" for column in columns), f"{counts[k].sum():,}"]
        for k, label in enumerate(found.labelled.labels)
    ]
    return table([name, "precision", "recall", "F1", "clips"], rows)


def _folds(found: LabelScores) -> list[str]:
    folds = found.folds
    if folds is None:
        return []
    rows = [
        [
            f"fold {name}",
            *(f"{100 * scores[key]:.1f}" for key in HEADLINE),
            f"{folds.clips[name]:,}",
        ]
        for name, scores in folds.by_fold.items()
    ]
    spread = [
        f"{100 * folds.mean[key]:.1f} ± {100 * (folds.spread[key] or 0):.1f}" for key in HEADLINE
    ]
    rows.append(["mean ± standard deviation", *spread, f"{sum(folds.clips.values()):,}"])
    lines = table(["", *(TITLES[key] for key in HEADLINE), "clips"], rows)
    if folds.without_fold:
        lines += ["", f"In no fold: {named(list(folds.without_fold))}."]
    return [*lines, ""]


def _set_tables(all_scores: Sequence[Scores]) -> Iterator[str]:
    some = [(one.name, found) for one in all_scores for found in one.sets]
    if not some:
        return
    yield from ("## Sets of emotions", "")
    if any(len(found.open.clip_ids) for _, found in some):
        keys = ("f", "precision", "recall")
        rows = [
            [*_way(n, s), *(told(s.open_values[k], k) for k in keys), *_counts(s, True)]
            for n, s in some
        ]
        yield from table(
            ["answers", "classes", *(TITLES[k] for k in keys), "clips", "skipped"], rows
        )
        yield ""
    keys = ("hit_rate", "f", "mean_length")
    rows = [
        [*_way(n, s), *(told(s.hit_values[k], k) for k in keys), *_counts(s, False)]
        for n, s in some
    ]
    yield from table(["answers", "classes", *(TITLES[k] for k in keys), "clips", "skipped"], rows)
    yield from (
        "",
        "First against the open labels, then against the one label. The hit rate grows with the "
        "list: read it with the other two. Skipped are clips whose truth has no class; “neutral” "
        "is in no emotion wheel.",
        "",
    )


def _way(name: str, scores: SetScores) -> list[str]:
    return [name, TITLES[scores.classes]]


def _counts(scores: SetScores, is_open: bool) -> list[str]:
    sets = scores.open if is_open else scores.hits
    neutral = f" ({sets.skipped_neutral:,} neutral)" if sets.skipped_neutral else ""
    return [f"{len(sets.clip_ids):,}", f"{len(sets.skipped):,}{neutral}"]


def _judge_table(some: Sequence[tuple[str, Judged]], draws: Draws) -> list[str]:
    head = ["answers", "overlap", "score", "each judge", "orders differ by", "judges differ by"]
    rows = []
    for name, judged in some:
        for kind in KINDS:
            each = [
                f"{model}: {'–' if mean is None else f'{mean:.2f}'}"
                for model, mean in zip(judged.models, judged.by_judge(kind).values(), strict=True)
            ]
            gaps = [judged.order_gap(kind), judged.judge_gap(kind)]
            value = judged.value(kind, draws.seed, draws.rounds)
            rows.append(
                [
                    name,
                    f"{TITLES[kind]} ({value.clips:,} clips)",
                    told(value, kind),
                    ", ".join(each),
                    *("–" if gap is None else f"{gap:.2f}" for gap in gaps),
                ]
            )
    lines = table(head, rows)
    for name, judged in some:
        if judged.failures:
            lines += ["", f"Not judged for {name}: {len(judged.failures):,} clips"]
            lines += [f"* {clip_id}: {why}" for clip_id, why in list(judged.failures.items())[:5]]
        if judged.told:
            lines += [
                "",
                f"{len(judged.told):,} questions to {name} named the label: no label overlap.",
            ]
    return lines


def _difference_table(differences: Sequence[Difference]) -> list[str]:
    keys = list(dict.fromkeys(key for one in differences for key in one.values))
    head = ["score", *(f"{one.name} less {one.against}" for one in differences)]
    rows = [
        [
            " ".join(TITLES.get(part, part) for part in key.split(".")),
            *(_difference(one.values.get(key), key) for one in differences),
        ]
        for key in keys
    ]
    lines = table(head, rows)
    return [*lines, "", "Bold: the interval of the difference, on the same draws, leaves zero out."]


def _difference(value: Value | None, key: str) -> str:
    shown = told(value, key, sign=True)
    return f"**{shown}**" if value is not None and value.is_clear else shown


def _left_out(all_scores: Sequence[Scores]) -> Iterator[str]:
    for one in all_scores:
        if one.missing:
            clips = named(list(one.missing))
            yield f"No answer of {one.name} to {len(one.missing):,} clips: {clips}."
            yield ""
