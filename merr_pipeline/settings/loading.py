"""Filling the tree: profile, environment, ``--set``."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from merr_pipeline.settings.keys import known_keys
from merr_pipeline.settings.section import SettingsError
from merr_pipeline.settings.tree import Settings

PROFILES = Path(__file__).parent.parent / "profiles"
ENVIRONMENT_PREFIX = "MERR_"


def profile_names() -> list[str]:
    """The shipped profiles, sorted."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def load_settings(
    profile: str = "embedded",
    overrides: Iterable[str] = (),
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """Fill the tree: defaults, then the profile, then ``MERR_*``, then ``key=value`` overrides.

    ``profile`` is a shipped name or the path of a YAML file of your own.

    Raises:
        SettingsError: unknown profile, unknown key (the nearest known one is named), bad value.
    """
    values = _read_profile(profile)
    for key, value in [*_from_environment(environment), *map(_split_override, overrides)]:
        _put(values, key, value)
    values["profile"] = Path(profile).stem
    return _validated(Settings, values, "`merr config` lists them all.")


Tree = TypeVar("Tree", bound=BaseModel)


def load_tree(kind: type[Tree], path: Path, overrides: Iterable[str] = ()) -> Tree:
    """Fill another tree than that of a build: its YAML file, then ``key=value`` overrides.

    Raises:
        SettingsError: no such file, unknown key (the nearest known one is named), bad value.
    """
    if not path.is_file():
        raise SettingsError(f"{path} does not exist.")
    values = _read_mapping(path)
    for key, value in map(_split_override, overrides):
        _put(values, key, value)
    return _validated(kind, values, f"{path.name} and --set take those of {kind.__name__}.")


def _validated(kind: type[Tree], values: dict[str, Any], where: str) -> Tree:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        lines = [_explain_one(dict(item), kind, where) for item in error.errors()]
        raise SettingsError("\n".join(lines)) from error


def _read_profile(profile: str) -> dict[str, Any]:
    path = Path(profile) if profile.endswith((".yaml", ".yml")) else PROFILES / f"{profile}.yaml"
    if not path.is_file():
        raise SettingsError(
            f"profile {profile!r} does not exist.\n"
            f"Shipped profiles: {', '.join(profile_names())}; or give the path of a .yaml file."
        )
    return _read_mapping(path)


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text("utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is no YAML: {error}") from error
    if not isinstance(values, dict):
        raise SettingsError(f"{path} must be a mapping of settings.")
    return values


def _from_environment(environment: Mapping[str, str]) -> list[tuple[str, Any]]:
    return [
        (name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", "."), _parse(value))
        for name, value in sorted(environment.items())
        if name.startswith(ENVIRONMENT_PREFIX)
    ]


def _split_override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise SettingsError(f"--set {text}: write it as key=value, e.g. --set face.tool=openface.")
    return key.strip(), _parse(value)


def _parse(value: str) -> Any:
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for name in sections:
        inner = values.setdefault(name, {})
        if not isinstance(inner, dict):
            raise SettingsError(f"{key}: {name} is a value, not a section.")
        values = inner
    values[last] = value


def _explain_one(item: dict[str, Any], kind: type[BaseModel], where: str) -> str:
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] == "missing":
        return f"{key} is not set."
    if item["type"] != "extra_forbidden":
        return f"{key} = {item.get('input')!r}: {item['msg']}"
    known = [*known_keys(kind), *kind.model_fields]
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    return f"{key} is not a setting. Did you mean {near[0]}? {where}"
