"""``merr report``: counts, chooses and writes; and the same in short, as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from merr_pipeline.files import write_atomically
from merr_pipeline.history import last_clips
from merr_pipeline.report.gallery import gallery
from merr_pipeline.report.leaks import KINDS
from merr_pipeline.report.page import page
from merr_pipeline.report.published import compare, load_published
from merr_pipeline.report.source import Finished, open_finished
from merr_pipeline.report.spent import read_spent, total_usd
from merr_pipeline.report.survey import UNDECIDED, Survey, survey
from merr_pipeline.schema import MerrError

CLIPS = 24


def write_report(
    out: Path,
    to: Path,
    beside: Sequence[Path] = (),
    clips: int = CLIPS,
    media: Path | None = None,
) -> tuple[Survey, list[Survey]]:
    """Write the page; gives what was counted, of the others too, for the figures.

    Args:
        out: output folder of the build.
        to: file to write.
        beside: output folders of other builds, which are counted too.
        clips: most clips of the gallery.
        media: the input folder, for spectrograms; else that of the last run, if it is there.

    Raises:
        MerrError: a dataset is not there or cannot be read.
    """
    if to.is_dir():
        raise MerrError(f"{to} is a folder; --to names the file to write.")
    datasets = _named([open_finished(folder) for folder in (out, *beside)])
    ours, *others = [survey(dataset) for dataset in datasets]
    comparison = compare([ours, *others], load_published(datasets[0].templates))
    shown = gallery(datasets[0], clips, media or last_clips(out))
    text = page(datasets[0], ours, others, comparison, read_spent(out), shown)
    write_atomically(to, text.encode())
    return ours, others


def _named(datasets: list[Finished]) -> list[Finished]:
    """With the folder above in the name where two folders are called the same."""
    often = Counter(dataset.name for dataset in datasets)
    return [
        replace(one, name=f"{one.out.absolute().parent.name}/{one.name}")
        if often[one.name] > 1
        else one
        for one in datasets
    ]


def summary_of(out: Path) -> str:
    """The report in short, as Markdown.

    Raises:
        MerrError: the dataset is not there or cannot be read.
    """
    dataset = open_finished(out)
    found, spent = survey(dataset), read_spent(out)
    lines = [
        f"## {dataset.name}: {found.clips:,} clips, {found.rejected:,} inputs left out",
        "| label | clips | share |\n| --- | ---: | ---: |",
    ]
    for label in found.label_order():
        share = "" if label == UNDECIDED else f"{100 * found.share_of(label):.1f} %"
        lines[-1] += f"\n| {label} | {found.labels[label]:,} | {share} |"
    lines.append("| field | clips with it |\n| --- | ---: |")
    for field in found.coverages.fields.values():
        lines[-1] += f"\n| {field.name} | {field.filled:,} ({100 * field.share:.1f} %) |"
    if found.rejections:
        lines.append("| left out by | reason | inputs |\n| --- | --- | ---: |")
        for one in found.refused():
            lines[-1] += f"\n| {one.stage} | {one.reason} | {one.inputs:,} |"
    assert found.leaks is not None
    leaks = [f"{title}: {len(found.leaks.leaks[kind]):,}" for kind, title in KINDS.items()]
    lines.append(f"Across splits: {'; '.join(leaks)}.")
    usd = total_usd(spent)
    tokens = sum(one.prompt_tokens + one.completion_tokens for one in spent)
    cost = "without a price" if usd is None else f"${usd:.2f}"
    lines.append(f"Models: {tokens:,} tokens, {cost}." if spent else "No model was asked.")
    return "\n\n".join(lines) + "\n"
