"""Filling the tree: profile, environment, ``--set``."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

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
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from error


def _read_profile(profile: str) -> dict[str, Any]:
    path = Path(profile) if profile.endswith((".yaml", ".yml")) else PROFILES / f"{profile}.yaml"
    if not path.is_file():
        raise SettingsError(
            f"profile {profile!r} does not exist.\n"
            f"Shipped profiles: {', '.join(profile_names())}; or give the path of a .yaml file."
        )
    values = yaml.safe_load(path.read_text("utf-8")) or {}
    if not isinstance(values, dict):
        raise SettingsError(f"profile {path} must be a mapping of settings.")
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


def _explain(error: ValidationError) -> str:
    return "\n".join(_explain_one(dict(item)) for item in error.errors())


def _explain_one(item: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] != "extra_forbidden":
        return f"{key} = {item.get('input')!r}: {item['msg']}"
    near = difflib.get_close_matches(key, [*known_keys(), *Settings.model_fields], n=1, cutoff=0.0)
    return f"{key} is not a setting. Did you mean {near[0]}? `merr config` lists them all."
