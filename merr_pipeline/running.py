"""A build on the command line: progress while it runs, a table when it ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from merr_pipeline.build import Build, open_build
from merr_pipeline.llm.forecast import Forecast, total
from merr_pipeline.pipeline import BatchReport, State
from merr_pipeline.request import Request
from merr_pipeline.schema import Status
from merr_pipeline.spending import Spending
from merr_pipeline.summary import ModelUse, Summary, View

MOST_PRINTED = 20  # clips of a kind; the run's summary holds all


def run_build(request: Request, console: Console) -> Summary:
    """Open, run and publish a build; everything a user sees of it is printed here.

    Raises:
        MerrError: the build cannot start.
    """
    with open_build(request) as build:
        print_plan(build, console)
        if build.pending:
            with _progress(console) as progress:
                bar = progress.add_task("clips", total=len(build.pending), rate="")
                for size, report in run_batches(build):
                    build.count(report)
                    _advance(progress, bar, size)
        summary = build.publish()
    print_summary(summary, request, console)
    return summary


def run_batches(build: Build) -> Iterable[tuple[int, BatchReport]]:
    """Run all batches, one at once for each process; yield each as it finishes."""
    with build.engine() as engine, ThreadPoolExecutor(build.at_once) as threads:
        running: dict[Future[BatchReport], list[State]] = {
            threads.submit(engine.run, batch): batch for batch in build.batches()
        }
        try:
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield len(running.pop(future)), future.result()
        except BaseException:
            engine.stop()  # or the threads would wait for their batches
            threads.shutdown(cancel_futures=True)
            raise


def print_plan(build: Build, console: Console) -> None:
    """Say what was found and what is pending."""
    found = f"{build.inputs.file_count} inputs, {len(build.inputs.clips)} clips"
    for note in build.inputs.notes:
        console.print(
            f"note: {_on_one_line(note)}",
            style="yellow",
            highlight=False,
            markup=False,
            emoji=False,
        )
    for path in build.pipeline.store.damaged:
        console.print(
            f"damaged and set aside, its rows are made again: {path.parent.name}/{path.name}",
            style="yellow",
            highlight=False,
            markup=False,
        )
    if not build.pending:
        console.print(f"{found}; nothing is pending", highlight=False)
        return
    counts = ", ".join(f"{stage} {n}" for stage, n in build.pending_counts().items() if n)
    console.print(f"{found}; pending: {counts}", highlight=False)


def print_summary(summary: Summary, request: Request, console: Console) -> None:
    """The table of counts by stage, the reasons, and what lies where."""
    _print_stages(summary.stages, summary.made, console)
    _print_reasons(summary.reasons, console)
    runs = f" in {request.out}/runs"
    _print_clips("failed", summary.failures, console, runs)
    _print_clips("left out", summary.left_out, console, runs, style="yellow")
    _print_clips("unfinished", summary.unfinished, console, runs)
    _print_models(summary, console)
    splits = ", ".join(f"{name} {n}" for name, n in summary.splits.items())
    copies = f", {summary.copies} copies of these" if summary.copies else ""
    console.print(
        f"{summary.inputs} inputs: {summary.accepted} clips in the dataset ({splits or 'none'}), "
        f"{summary.rejected} rejected{copies}; of all, {summary.failed_clips} failed in some "
        f"stage; {summary.seconds} s",
        highlight=False,
    )
    if summary.verdicts.get("needs_review"):
        console.print(
            f"{summary.verdicts['needs_review']} clips need review (review.why in clips says why)",
            highlight=False,
        )
    if summary.fine_selection:
        counts = ", ".join(f"{name} {n}" for name, n in summary.fine_selection.items())
        console.print(f"fine records of the clips: {counts}", highlight=False)
    if summary.unfinished_clips:
        console.print(f"{summary.unfinished_clips} clips are unfinished; run it again to go on")
    console.print(f"dataset: {request.out / 'dataset'}", highlight=False, markup=False)


def _print_models(summary: Summary, console: Console) -> None:
    """What models were asked, and what it cost."""
    for note in summary.notes:
        console.print(f"note: {_on_one_line(note)}", style="yellow", highlight=False, markup=False)
    for use in summary.models:
        console.print(
            f"{use.stage} asked {use.model}: {use.requests} requests, {use.from_cache} answers "
            f"from the cache, {use.prompt_tokens} + {use.completion_tokens} tokens, {cost_of(use)}",
            highlight=False,
            markup=False,
        )


def cost_of(use: ModelUse) -> str:
    """What the answers cost, and what else may be on the bill."""
    cost = "unknown cost" if use.cost_usd is None else f"${use.cost_usd:.4f}"
    if not use.unknown_cost:
        return cost
    most = "" if use.unknown_usd is None else f", at most ${use.unknown_usd:.4f}"
    return f"{cost}; {use.unknown_cost} requests without an answer may be billed too{most}"


def _print_clips(
    what: str,
    lines: list[str],
    console: Console,
    rest: str = "",
    style: str = "red",
    most: int | None = MOST_PRINTED,
) -> None:
    for line in lines[:most]:
        console.print(
            f"{what}: {_on_one_line(line)}", style=style, highlight=False, markup=False, emoji=False
        )
    if more := len(lines[most:] if most is not None else ()):
        console.print(f"… and {more} more{rest}", markup=False)


def _on_one_line(text: str) -> str:
    """The text with what would break a line or colour a terminal shown by its code: names may."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def print_state(view: View, console: Console, *, every: bool = False) -> None:
    """What is done, pending and failed, as the store has it now; ``every`` clip, or some."""
    most, rest = (None if every else MOST_PRINTED), " (--all names them)"
    _print_stages(view.stages, {}, console, view.pending)
    _print_reasons(view.reasons, console)
    _print_clips("failed", view.failures, console, rest, most=most)
    _print_clips("left out", view.left_out, console, rest, style="yellow", most=most)
    if every:
        _print_clips("pending", view.waiting, console, style="default", most=None)
    console.print(
        f"{view.inputs} inputs, {view.clips} clips, {view.pending_clips} pending", highlight=False
    )


def print_spending(found: Sequence[Spending], console: Console) -> None:
    """What models would be asked, in a table; calls that fail and are repeated come on top."""
    if not found:
        console.print("no stage of this profile asks a model")
        return
    names = ("stage", "model", "clips", "calls", "tokens in", "tokens out", "cost", "hours", "by")
    table = Table(*names, box=None)
    unknown = []
    for one in found:
        told = one.forecast
        if told is None:
            unknown.append(one.stage)
            table.add_row(one.stage, one.role, str(one.pending), *["?"] * 6)
            continue
        table.add_row(one.stage, told.model, str(one.pending), *_columns(told), told.bound_by)
    known = [one.forecast for one in found if one.forecast is not None]
    if len(known) > 1:
        table.add_row("total", "", "", *_columns(total(known)))
    console.print(table)
    if unknown:
        console.print(
            f"{', '.join(dict.fromkeys(unknown))}: no prompt can be made yet, or nothing is to be "
            "asked. Build with --max-calls 0 first: it makes all that costs nothing.",
            highlight=False,
            markup=False,
        )
    for stage, imagined in {one.stage: one.imagined for one in found if one.forecast}.items():
        if imagined:
            console.print(
                f"{stage}: no model has answered for {' or '.join(imagined)} yet; what they will "
                "add to its prompts is reckoned half as long as the templates allow.",
                highlight=False,
                markup=False,
            )


def _columns(told: Forecast) -> tuple[str, ...]:
    """Calls, tokens in and out, cost, hours."""
    most = "at most " if told.completion_from == "max_tokens" else ""
    cost = "no price" if told.cost_usd is None else f"{most}${told.cost_usd:,.2f}"
    tokens = f"{told.prompt_tokens:,}", f"{most}{told.completion_tokens:,}"
    return f"{told.calls:,}", *tokens, cost, f"{told.hours:.2f}"


def _print_stages(
    stages: dict[str, dict[str, int]],
    made: dict[str, dict[str, int]],
    console: Console,
    pending: dict[str, int] | None = None,
) -> None:
    table = Table("stage", *Status, "pending" if pending is not None else "made now", box=None)
    for stage in stages | (pending or {}):
        counts = [str(stages.get(stage, {}).get(status, 0)) for status in Status]
        last = pending[stage] if pending is not None else sum(made.get(stage, {}).values())
        table.add_row(stage, *counts, str(last))
    console.print(table)


def _print_reasons(reasons: dict[str, int], console: Console) -> None:
    if reasons:
        listed = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
        console.print(f"not ok: {listed}", highlight=False)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _advance(progress: Progress, bar: TaskID, clips: int) -> None:
    progress.advance(bar, clips)
    task = progress.tasks[bar]
    if task.elapsed:
        progress.update(bar, rate=f"{task.completed / task.elapsed:.2f} clips/s")
