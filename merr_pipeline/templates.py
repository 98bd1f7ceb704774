"""Knowledge that is data: phrases, rules, thresholds and prompts of ``annotation_templates/``.

A user's own folder (setting ``templates``) is looked at first, file by file; what it lacks is read
from the shipped folder. Each file carries the hash of its content, which enters the fingerprint of
every stage that reads it.
"""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from merr_pipeline.schema import MerrError

_PACKAGE = Path(__file__).parent
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it was compiled


def shipped_folder() -> Path:
    """``annotation_templates`` in the wheel, or at the root of the checkout."""
    inside = _PACKAGE / "annotation_templates"
    return inside if inside.is_dir() else _PACKAGE.parent / "annotation_templates"


def shipped_samples() -> Path:
    """The sample clips in the wheel, or in ``data/samples`` of the checkout."""
    inside = _PACKAGE / "samples"
    return inside if inside.is_dir() else _PACKAGE.parent / "data" / "samples"


M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Template:
    """One file of ``annotation_templates``: its text, the YAML in it, and its content hash."""

    name: str
    text: str
    sha256: str

    @property
    def data(self) -> Any:
        """The YAML of the file, parsed anew at each call so that no caller changes another's."""
        return yaml.load(self.text, _LOADER)


def check_folder(folder: Path) -> None:
    """Refuse a user's folder that cannot do what it is there for.

    Raises:
        MerrError: it is no folder, or holds a file that no template is called like.
    """
    if not folder.is_dir():
        raise MerrError(f"templates = {folder} is not a folder.")
    known = sorted(path.name for path in shipped_folder().glob("*.yaml"))
    for path in sorted(folder.glob("*.y*ml")):
        if path.name not in known:
            near = difflib.get_close_matches(path.name, known, n=1, cutoff=0.0)[0]
            raise MerrError(f"no template is called {path.name}. Did you mean {near}?")


def load_template(name: str, folder: Path | None = None) -> Template:
    """Read ``name`` (with its suffix) from the user's folder, else from the shipped one.

    Raises:
        MerrError: the file is in neither, or is no valid YAML.
    """
    for place in filter(None, (folder, shipped_folder())):
        path = place / name
        if path.is_file():
            return _read(path, name)
    raise MerrError(
        f"template {name} is not in {folder or shipped_folder()}.\n"
        "`merr config` shows the templates folder in use; unset `templates` to use the shipped one."
    )


def load_all(folder: Path | None = None) -> list[Template]:
    """Every template as it is in use, by name.

    Raises:
        MerrError: one is no valid YAML.
    """
    return [load_template(path.name, folder) for path in sorted(shipped_folder().glob("*.yaml"))]


def load_model(model: type[M], name: str, folder: Path | None = None) -> M:
    """Read a template into a model that has its content hash as ``sha256``.

    Raises:
        MerrError: the file is missing, or says something that cannot be.
    """
    template = load_template(name, folder)
    try:
        return model.model_validate({**template.data, "sha256": template.sha256})
    except (ValidationError, TypeError) as error:
        raise MerrError(f"template {name} is wrong: {error}") from error


def template_text(path: Path) -> str:
    """The text of one file.

    Raises:
        MerrError: it is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise MerrError(f"template {path} is not UTF-8: {error}") from error


def _read(path: Path, name: str) -> Template:
    text = template_text(path)
    template = Template(name, text, hashlib.sha256(text.encode()).hexdigest())
    if path.suffix in {".yaml", ".yml"}:
        try:
            yaml.load(template.text, _LOADER)
        except yaml.YAMLError as error:
            raise MerrError(f"template {path} is not valid YAML: {error}") from error
    return template
