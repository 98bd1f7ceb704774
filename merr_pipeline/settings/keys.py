"""Every setting by its dotted key, with type and description."""

from __future__ import annotations

import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from merr_pipeline.settings.tree import Settings


def known_keys(tree: type[BaseModel] = Settings) -> list[str]:
    """Every setting of a tree as its dotted key, in the order of the tree."""
    return list(_keys(tree, ""))


def _keys(section: type[BaseModel], prefix: str) -> Iterable[str]:
    for name, info in section.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _keys(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def describe_keys() -> list[tuple[str, str, str]]:
    """``(key, type, description)`` of every setting; `merr config` shows them."""
    return list(_descriptions(Settings, ""))


def _descriptions(section: type[BaseModel], prefix: str) -> Iterable[tuple[str, str, str]]:
    for name, info in section.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _descriptions(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _type_name(kind), info.description or ""


def _type_name(kind: Any) -> str:
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " | ".join(str(part) for part in parts)
    if origin in (Union, types.UnionType):
        return " | ".join("null" if p is type(None) else _type_name(p) for p in parts)
    if origin is tuple:
        return "list of " + _type_name(parts[0])
    return "path" if kind is Path else getattr(kind, "__name__", str(kind))
