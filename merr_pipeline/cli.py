"""The ``merr`` command: parses, calls, prints. Whatever it does, a function elsewhere does.

Exit codes: 0 all done, 1 some clips failed or are unfinished (or problems were found), 2 could not
run, 130 stopped by Ctrl-C, 143 stopped by SIGTERM.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from merr_pipeline import __version__
from merr_pipeline.cli_training import app as training_app
from merr_pipeline.request import Request, as_overrides
from merr_pipeline.schema import MerrError

EXIT_COULD_NOT_RUN = 2
EXIT_INTERRUPTED, EXIT_TERMINATED = 130, 143  # as shells call an end by Ctrl-C and by SIGTERM
app = typer.Typer(
    name="merr",
    help="From short video clips of people to emotion recognition and reasoning records.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
tools = typer.Typer(help="The face tools, each in an environment of its own.", no_args_is_help=True)
app.add_typer(tools, name="tools")
templates_app = typer.Typer(
    help="The words, rules and prompts in use: shipped, or of your own.", no_args_is_help=True
)
app.add_typer(templates_app, name="templates")
app.add_typer(training_app)  # without a name: its commands stand beside these
console = Console(soft_wrap=True)  # lines in a log stay whole

Clips = Annotated[Path, typer.Argument(help="Folder that holds the clips (searched through).")]
Out = Annotated[Path, typer.Option(help="Output folder.")]
Manifest = Annotated[Path | None, typer.Option(help="CSV, JSONL or Parquet that lists the clips.")]
Mapping = Annotated[
    str, typer.Option("--map", help="Its columns in ours: name=clip_id,discrete=label.")
]
Preset = Annotated[str, typer.Option(help="How a known table reads: mer2023, dfew, meld.")]
Profile = Annotated[str, typer.Option(help="A shipped profile, or a .yaml of your own.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="One setting, key=value; may be repeated.")
]


def build_command(run: Callable[[Request], int]) -> Callable[..., None]:
    """The command line of a build, for whatever runs it; its exit code is what ``run`` returns."""

    def build(
        clips: Clips,
        out: Out = Path("data/merr"),
        manifest: Manifest = None,
        mapping: Mapping = "",
        preset: Preset = "",
        profile: Profile = "embedded",
        overrides: Overrides = None,
        select: Annotated[
            str | None, typer.Option(help="Plan of selection.yaml; as --set dataset.select=.")
        ] = None,
        budget_usd: Annotated[
            float | None, typer.Option(help="Most US dollars for models; as --set llm.max_usd=.")
        ] = None,
        max_calls: Annotated[
            int | None, typer.Option(help="Most requests to models; as --set llm.max_calls=.")
        ] = None,
        retry: Annotated[bool, typer.Option(help="Try all failed clips again.")] = False,
        rehash: Annotated[bool, typer.Option(help="Read every file anew, trust no date.")] = False,
    ) -> None:
        """Turn a folder of clips into a MERR dataset; a rerun does only what is missing."""
        named = {
            "dataset.select": select or None,
            "llm.max_usd": budget_usd,
            "llm.max_calls": max_calls,
        }
        chosen = (*(overrides or ()), *as_overrides(named))
        request = Request(
            clips, out, manifest, mapping, preset, profile, chosen, retry=retry, rehash=rehash
        )
        raise typer.Exit(run(request))

    return build


def _build_here(request: Request) -> int:
    from merr_pipeline.running import run_build

    return run_build(request, console).exit_code


app.command("build")(build_command(_build_here))


@app.command()
def status(
    clips: Clips,
    out: Out = Path("data/merr"),
    manifest: Manifest = None,
    mapping: Mapping = "",
    preset: Preset = "",
    profile: Profile = "embedded",
    overrides: Overrides = None,
    every: Annotated[
        bool, typer.Option("--all", help="Name every clip, those to be worked on too.")
    ] = False,
) -> None:
    """Say what a build with these arguments would have to do; changes nothing."""
    from merr_pipeline.build import look_at
    from merr_pipeline.running import print_state

    chosen = tuple(overrides or ())
    view = look_at(Request(clips, out, manifest, mapping, preset, profile, chosen))
    print_state(view, console, every=every)


@app.command()
def plan(
    clips: Clips,
    out: Out = Path("data/merr"),
    manifest: Manifest = None,
    mapping: Mapping = "",
    preset: Preset = "",
    profile: Profile = "embedded",
    overrides: Overrides = None,
) -> None:
    """Say what a build with these arguments would ask of models, and what that costs."""
    from merr_pipeline.running import print_spending
    from merr_pipeline.spending import plan_spending

    chosen = tuple(overrides or ())
    found = plan_spending(Request(clips, out, manifest, mapping, preset, profile, chosen))
    print_spending(found, console)


@app.command()
def validate(
    out: Out = Path("data/merr"),
    clips: Annotated[
        Path | None, typer.Option(help="Input folder; its files are then checked too.")
    ] = None,
    templates: Annotated[
        Path | None, typer.Option(help="Your own templates, if the dataset was made with them.")
    ] = None,
) -> None:
    """Prove a finished dataset: checksums, schema, media, splits, grounding of every text."""
    from merr_pipeline.dataset.validate import validate as find_problems

    if not out.is_dir():
        raise MerrError(f"{out} is not a folder; give the --out of a build.")
    problems = find_problems(out, clips, templates)
    for problem in problems:
        console.print(f"problem: {problem}", highlight=False, markup=False)
    if problems:
        console.print(f"problems: {len(problems)}")
        raise typer.Exit(1)
    console.print(f"{out / 'dataset'}: no problem found", markup=False)


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(help="Output folder of a build, the older.")],
    b: Annotated[Path, typer.Argument(help="Another.")],
    show: Annotated[int, typer.Option(help="How many changes are shown in full.")] = 20,
) -> None:
    """Which clips, labels and texts differ, and whose fingerprint did it; exits 1 if any do."""
    from merr_pipeline.dataset.difference import compare

    found = compare(a, b)
    for name, clips in (("only in", found.only_in_a), ("new", found.only_in_b)):
        if clips:
            place = f" {a}" if name == "only in" else f" in {b}"
            console.print(f"{name}{place}: {len(clips)}: {', '.join(clips[:show])}", markup=False)
    for clip_id, (old_split, new_split) in list(found.moved.items())[:show]:
        console.print(f"{clip_id}: split {old_split} -> {new_split}", markup=False)
    for clip_id in found.other_bytes[:show]:
        console.print(f"{clip_id}: another file", markup=False)
    for change in found.changes[:show]:
        why = f"fingerprint of {', '.join(change.because)}" if change.because else "its input"
        told = f"{change.clip_id}: {change.column} ({why})\n  - {change.old}\n  + {change.new}"
        console.print(told, markup=False, highlight=False)
    for stage, (old_print, new_print) in sorted(found.fingerprints.items()):
        short = [str(one)[:12] for one in (old_print, new_print)]
        console.print(f"fingerprint of {stage}: {short[0]} -> {short[1]}", markup=False)
    told = ", ".join(f"{column} {count}" for column, count in found.counts().items())
    console.print(f"changed: {told or 'nothing'}", markup=False, highlight=False)
    if not found.is_none:
        raise typer.Exit(1)


@app.command()
def takedown(
    out: Annotated[Path, typer.Argument(help="Output folder of a build.")],
    clip_id: Annotated[list[str] | None, typer.Option(help="A clip; may be repeated.")] = None,
    source_id: Annotated[list[str] | None, typer.Option(help="All clips of a source.")] = None,
    speaker_id: Annotated[list[str] | None, typer.Option(help="All clips of a speaker.")] = None,
    copies: Annotated[bool, typer.Option("--copies", help="And what shows the same.")] = False,
) -> None:
    """Remove clips and all that was made of them, note that they must not come back, prove it."""
    from merr_pipeline.takedown.remove import take_down
    from merr_pipeline.takedown.wanted import Wanted

    clips, sources, speakers = (frozenset(ids or ()) for ids in (clip_id, source_id, speaker_id))
    removal = take_down(out, Wanted(clips, sources, speakers, copies))
    console.print(
        f"{len(removal.taken.clip_ids)} clips: {removal.dataset_rows} rows of the dataset, "
        f"{removal.store_rows} rows of the store, {removal.answers} answers of models and "
        f"{removal.files} files are gone. Their media files are yours to delete, with whatever you "
        "exported from them, and pages of Prefect.",
        style="none",
    )
    for place in removal.left:
        console.print(f"still named in {place}", markup=False)
    if removal.left:
        raise typer.Exit(1)


@app.command()
def explain(
    out: Annotated[Path, typer.Argument(help="Output folder of a build.")],
    clip: Annotated[str, typer.Argument(help="A clip_id of it.")],
    to: Annotated[Path | None, typer.Option(help="Picture to write: .png, .svg or .pdf.")] = None,
) -> None:
    """Draw one clip: faces, Action Units, sound, and why this moment was chosen."""
    from merr_pipeline.explain.picture import draw
    from merr_pipeline.explain.story import read_story

    story = read_story(out, clip)
    path = to or out / "explain" / f"{clip}.png"
    draw(story, path)
    console.print(f"{path}", highlight=False, markup=False)


@app.command()
def report(
    out: Annotated[Path, typer.Argument(help="Output folder of a finished build.")],
    to: Annotated[Path | None, typer.Option(help="File to write; else <out>/report.html.")] = None,
    beside: Annotated[
        list[Path] | None, typer.Option(help="Output folder of another build; may be repeated.")
    ] = None,
    clips: Annotated[int, typer.Option(min=0, help="Most clips of the gallery.")] = 24,
    media: Annotated[
        Path | None, typer.Option(help="Input folder, for spectrograms; else that of the build.")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Folder for the figures, as PNG and SVG.")
    ] = None,
) -> None:
    """Show a finished dataset in one HTML file: figures, coverage, leaks, cost, a gallery."""
    from merr_pipeline.report.write import write_report

    path = to or out / "report.html"
    ours, others = write_report(out, path, beside or (), clips, media)
    console.print(f"{path}", highlight=False, markup=False)
    if figures is not None:
        from merr_pipeline.report.figures import write_figures

        for name in write_figures(ours, others, figures):
            console.print(f"{figures / name}", highlight=False, markup=False)


@app.command()
def export(
    name: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT", help="emotion-llama, llama-factory, ms-swift, trl or webdataset."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Output folder of a build or an import.")],
    to: Annotated[Path, typer.Option(help="Folder to write; it appears whole or not at all.")],
    clips: Annotated[
        Path | None, typer.Option(help="Input folder; by default that of the last build.")
    ] = None,
    media: Annotated[str, typer.Option(help="The clips: copy, link or path.")] = "copy",
    images: Annotated[
        bool, typer.Option(help="--no-images writes nothing that shows or lets hear a person.")
    ] = True,
    split: Annotated[list[str] | None, typer.Option(help="Only this split; repeatable.")] = None,
    subset: Annotated[list[str] | None, typer.Option(help="Only coarse, or only fine.")] = None,
    without_label: Annotated[
        list[str] | None, typer.Option(help="Leave out clips with this label; repeatable.")
    ] = None,
) -> None:
    """Write a finished dataset as a trainer wants it."""
    from merr_pipeline.exports.run import export as write
    from merr_pipeline.exports.wanted import make_wanted
    from merr_pipeline.history import last_clips

    wanted = make_wanted(
        clips or last_clips(out), media, images, split or (), subset or (), without_label or ()
    )
    report = write(name, out, to, wanted)
    for file, rows in report.rows.items():
        console.print(f"{to / file}: {rows}", highlight=False, markup=False)
    for note in report.notes:
        console.print(f"note: {note}", highlight=False, markup=False)


@app.command("import")
def import_(
    name: Annotated[
        str, typer.Argument(metavar="FORMAT", help="emotion-llama, mer-factory or emer.")
    ],
    files: Annotated[list[Path], typer.Argument(help="What to read; mer-factory takes folders.")],
    to: Annotated[Path, typer.Option(help="Output folder, as the --out of a build.")],
    split: Annotated[str, typer.Option(help="The split of all its clips.")] = "train",
    clips: Annotated[
        Path | None, typer.Option(help="Folder of the clips, each called as its record.")
    ] = None,
) -> None:
    """Read the annotations of others into a dataset of ours."""
    from merr_pipeline.imports.run import import_files

    found = import_files(name, files, to, split, clips)
    for warning in found.warnings:
        console.print(f"warning: {warning}", highlight=False, markup=False)
    for word, count in found.unknown.most_common():
        what = f"{word!r} ({count} records) is no label; it is kept in open_labels"
        console.print(f"warning: {what}", highlight=False, markup=False)
    for row in found.rejected:
        console.print(f"rejected: {row['clip_id']}: {row['detail']}", highlight=False, markup=False)
    console.print(f"{to / 'dataset'}: {len(found.rows)} clips", highlight=False, markup=False)
    if found.rejected:
        raise typer.Exit(1)


@app.command("tone-words")
def tone_words(
    out: Annotated[Path, typer.Argument(help="Output folder of a finished build.")],
    to: Annotated[Path, typer.Option(help="Folder of your own templates.")],
) -> None:
    """Make the edges between the words for voices from your corpus, by percentiles."""
    from merr_pipeline.corpus import write_tone_words

    for line in write_tone_words(out, to):
        console.print(line, highlight=False, markup=False)
    console.print(
        f"{to / 'tone_words.yaml'}; a build with --set templates={to} makes tone and texts anew",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


@app.command()
def doctor(
    profile: Profile = "embedded",
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what is installed and what is missing for a profile; exits 0 when it can run."""
    from dataclasses import asdict

    from merr_pipeline.doctor import examine
    from merr_pipeline.settings import load_settings

    needs = examine(load_settings(profile, overrides or ()))
    if as_json:
        console.print_json(json.dumps([asdict(need) for need in needs]))
    else:
        table = Table("what", "found", f"profile {profile}", box=None)
        for need in needs:
            mark = "needs it" if need.needed else "can do without"
            table.add_row(need.what, need.found or "missing", mark)
        console.print(table)
        for need in needs:
            if not need.found:  # as text, for there is no markup in it
                console.print(Text(f"\n{need.what}: {need.get}"), soft_wrap=True)
    if any(need.needed and need.found is None for need in needs):
        raise typer.Exit(EXIT_COULD_NOT_RUN)


@tools.command("list")
def list_tools() -> None:
    """List the face tools that can be installed here, and which of them are."""
    from merr_pipeline.face.tools.environment import PROGRAMS, installed_version

    table = Table("face tool", "installed", box=None)
    for name in PROGRAMS:
        table.add_row(name, installed_version(name) or "no")
    console.print(table)


@tools.command()
def install(name: Annotated[str, typer.Argument(help="As `merr tools list` spells it.")]) -> None:
    """Install a face tool into its own environment, once per machine."""
    from merr_pipeline.face.tools.environment import install as install_tool

    console.print(f"{name} {install_tool(name)} is installed", highlight=False)


@templates_app.command("list")
def list_templates(profile: Profile = "embedded", overrides: Overrides = None) -> None:
    """List every template: its content hash, which stages read it, and whose it is."""
    from merr_pipeline.settings import load_settings
    from merr_pipeline.template_use import in_use

    line = "{:<24}{:<14}{:<9}{:<10}{}".format  # a row of a table would break in a pipe
    print_plainly = partial(console.print, highlight=False, markup=False)
    print_plainly(line("template", "hash", "version", "whose", "read by"))
    for used in in_use(load_settings(profile, overrides or ()).templates):
        whose = "your own" if used.is_own else "shipped"
        name, sha256 = used.template.name, used.template.sha256[:12]
        print_plainly(line(name, sha256, used.version, whose, ", ".join(used.read_by)))


@templates_app.command("show")
def show_template(
    name: Annotated[str, typer.Argument(help="As `merr templates list` spells it.")],
    profile: Profile = "embedded",
    overrides: Overrides = None,
) -> None:
    """Print the file that is in use."""
    from merr_pipeline.settings import load_settings
    from merr_pipeline.template_use import find

    sys.stdout.write(find(name, load_settings(profile, overrides or ()).templates).text)


@templates_app.command("diff")
def diff_templates(
    where: Annotated[
        Path | None,
        typer.Argument(help="A folder of templates, or the output folder of a build."),
    ] = None,
    profile: Profile = "embedded",
    overrides: Overrides = None,
) -> None:
    """Compare templates with the shipped ones: yours, or those of a build. 0: same, 1: not."""
    from merr_pipeline.settings import load_settings
    from merr_pipeline.template_use import differences

    lines = list(differences(where, load_settings(profile, overrides or ()).templates))
    sys.stdout.writelines(f"{line}\n" for line in lines)
    if lines:
        raise typer.Exit(1)


@app.command()
def config(
    profile: Profile = "embedded",
    overrides: Overrides = None,
    describe: Annotated[bool, typer.Option(help="List every setting with its meaning.")] = False,
) -> None:
    """Print the effective settings: defaults, profile, MERR_* variables, --set."""
    from merr_pipeline.settings import describe_keys, load_settings

    if describe:
        for key, kind, meaning in describe_keys():
            console.print(f"{key}\n    {kind}. {meaning}", highlight=False, markup=False)
        return
    settings = load_settings(profile, overrides or ())
    sys.stdout.write(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False))


@app.command()
def samples(
    folder: Annotated[Path, typer.Argument(help="Where to put them.")] = Path("merr-samples"),
) -> None:
    """Copy the sample clips, with manifest and known truth, to a folder to try things on."""
    from merr_pipeline.templates import shipped_samples

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise MerrError(f"{folder} is there already; name a folder that is not.")
    makers = shutil.ignore_patterns("*.py", "generator", "__pycache__")
    shutil.copytree(shipped_samples(), folder, dirs_exist_ok=True, ignore=makers)
    count = len(list(folder.glob("clips/*.mp4")))
    console.print(f"{folder}: {count} clips; try them with", markup=False)
    console.print(
        f"  merr build {folder} --manifest {folder}/manifest.csv --out merr-out", markup=False
    )


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        console.print(__version__, highlight=False)
        raise typer.Exit


class Terminated(BaseException):
    """SIGTERM came: end as on Ctrl-C, with workers and tools."""


def _raise_terminated(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise Terminated


def main() -> None:
    """Run the command; what the user can mend is told without a traceback."""
    raise SystemExit(guarded(lambda: app(standalone_mode=False)))


def guarded(run: Callable[[], object]) -> int:
    """Run something for a user and turn what goes wrong into a message and an exit code."""
    errors = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        result = run()
        code = result if isinstance(result, int) else 0
    except MerrError as error:
        errors.print(f"merr: {error}", style="red")
        code = EXIT_COULD_NOT_RUN
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except Terminated:
        code = EXIT_TERMINATED
    except SystemExit as error:  # not ours: rich ends so when nobody reads what it prints
        errors.print(f"merr: stopped by exit({error.code}), perhaps of a closed pipe", style="red")
        code = EXIT_COULD_NOT_RUN
    except Exception as error:
        code = EXIT_COULD_NOT_RUN
        if type(error).__module__.startswith(("click", "typer")) and hasattr(error, "show"):
            error.show()
        else:
            traceback.print_exc()
    if code in {EXIT_INTERRUPTED, EXIT_TERMINATED}:
        errors.print("stopped; what was finished is kept, run it again to go on")
    return code


if __name__ == "__main__":
    main()
