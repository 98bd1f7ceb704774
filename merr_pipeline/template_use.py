"""Which templates are in use, who reads them, and where they are not the shipped ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from merr_pipeline.dataset.folder import DATASET, TEMPLATES
from merr_pipeline.schema import MerrError
from merr_pipeline.templates import (
    Template,
    check_folder,
    load_all,
    load_template,
    shipped_folder,
    template_text,
)

READ_BY: dict[str, tuple[str, ...]] = {
    "action_units.yaml": ("face", "moment", "label", "fine", "dataset"),
    "agreement.yaml": ("dataset",),
    "answer_reading.yaml": ("evaluate",),
    "asr_gates.yaml": ("transcript",),
    "au_phrases.yaml": ("fine", "dataset"),
    "blendshapes.yaml": ("face",),
    "coarse_caption.yaml": ("dataset",),
    "coarse_caption_zh.yaml": ("dataset",),
    "emotion_words.yaml": ("moment", "label", "fine", "dataset"),
    "emotion_rules.yaml": ("moment", "label", "fine", "dataset"),
    "face_geometry.yaml": ("face",),
    "fine_prompt.yaml": ("fine",),
    "fine_text.yaml": ("fine",),
    "grounding_lexicon.yaml": ("fine", "dataset"),
    "judge_prompt.yaml": ("evaluate",),
    "label_spaces.yaml": ("moment", "label", "fine", "dataset"),
    "manifest_presets.yaml": ("manifest",),
    "moment_rules.yaml": ("moment",),
    "near_duplicates.yaml": ("dataset",),
    "prices.yaml": ("budget",),
    "questions.yaml": ("dataset",),
    "questions_zh.yaml": ("dataset",),
    "published_datasets.yaml": ("report",),
    "selection.yaml": ("dataset",),
    "scene_prompt.yaml": ("scene",),
    "scene_words.yaml": ("scene", "dataset"),
    "subtitle_words.yaml": ("transcript",),
    "tone_prompt.yaml": ("tone", "dataset"),
    "tone_words.yaml": ("tone", "dataset"),
}
"""The stages that read a template, under some settings; ``dataset`` is the assembly.

A changed template makes their rows again, and those of the stages that build on them; what only the
assembly reads makes no row of any stage again.
"""


@dataclass(frozen=True)
class Used:
    """One template as it is in use."""

    template: Template
    is_own: bool  # from the user's folder

    @property
    def version(self) -> str:
        """The version that the file names, if it names one."""
        data = self.template.data
        return str(data.get("version", "")) if isinstance(data, dict) else ""

    @property
    def read_by(self) -> tuple[str, ...]:
        """As `READ_BY`."""
        return READ_BY[self.template.name]


def in_use(folder: Path | None) -> list[Used]:
    """Every template, by name; ``folder`` is the user's own.

    Raises:
        MerrError: the folder is none, holds a file that no template is called like, or one that is
            no valid YAML.
    """
    if folder is not None:
        check_folder(folder)
    return [
        Used(template, folder is not None and (folder / template.name).is_file())
        for template in load_all(folder)
    ]


def find(name: str, folder: Path | None) -> Template:
    """The template of this name (with its suffix or without), as it is in use.

    Raises:
        MerrError: none is called so.
    """
    wanted = name if name.endswith(".yaml") else f"{name}.yaml"
    if wanted not in READ_BY:
        near = difflib.get_close_matches(wanted, READ_BY, n=1, cutoff=0.0)[0]
        raise MerrError(f"no template is called {name}. Did you mean {near}?")
    return load_template(wanted, folder)


def differences(where: Path | None, folder: Path | None) -> Iterator[str]:
    """Lines of a unified diff from the shipped templates to others; none if they are the same.

    Args:
        where: a folder with templates, or the output folder of a build, of whose dataset they are.
        folder: the user's own templates folder, taken where no ``where`` is given.

    Raises:
        MerrError: there is nothing to compare.
    """
    compared, is_whole = _compared(where, folder)
    shipped = {path.name: path for path in shipped_folder().glob("*.yaml")}
    theirs = {path.name: path for path in compared.glob("*.yaml")}
    for name in sorted(shipped.keys() | theirs.keys()):
        if name not in shipped:
            yield f"Only in {compared}: {name}"
        elif name in theirs:
            yield from _diff(shipped[name], theirs[name], name)
        elif is_whole:
            yield f"Only shipped: {name}"


def _diff(shipped: Path, other: Path, name: str) -> Iterator[str]:
    """Line ends count, and stand in no line."""
    before, after = (template_text(path).splitlines(keepends=True) for path in (shipped, other))
    for line in difflib.unified_diff(before, after, f"shipped/{name}", str(other), lineterm=""):
        yield line.removesuffix("\n")


def _compared(where: Path | None, folder: Path | None) -> tuple[Path, bool]:
    """The folder to compare, and whether it holds all templates of a build."""
    if where is None:
        if folder is None:
            raise MerrError(
                "there is no templates folder of your own to compare.\n"
                "Name one, or the output folder of a build; or set `templates`."
            )
        check_folder(folder)
        return folder, False
    if not where.is_dir():
        raise MerrError(f"{where} is not a folder.")
    if (saved := where / DATASET / TEMPLATES).is_dir():
        return saved, True
    if not any((where / name).is_file() for name in READ_BY):
        raise MerrError(f"{where} holds no templates, and no dataset that has them.")
    check_folder(where)
    return where, False
