"""JSON as it circulates: with comments, raw newlines in strings, commas too many.

Each kind of damage that was mended is told of; what cannot be read at all is an error.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from merr_pipeline.encodings import decode
from merr_pipeline.schema import MerrError

_STRING = r'"(?:\\.|[^"\\])*"'
_COMMENTS = re.compile(rf"({_STRING})|//[^\n]*|#[^\n]*|/\*.*?\*/", re.DOTALL)
_COMMAS = re.compile(rf"({_STRING})|,(?=\s*[}}\]])", re.DOTALL)


def read_json(path: Path) -> tuple[Any, list[str]]:
    """What the file holds, and a warning for each kind of damage.

    Raises:
        MerrError: the file cannot be read, or is no JSON even when it is mended.
    """
    try:
        text, warnings = _text(path.read_bytes())
    except (OSError, ValueError) as error:
        raise MerrError(f"{path} cannot be read: {error}") from error
    twice: list[str] = []
    try:
        data = _load(text, twice, strict=True)
    except ValueError:
        data = _mend(path, text, twice, warnings)
    if twice:
        warnings.append(f"{len(twice)} keys are there twice, the last counts: {twice[0]!r} …")
    if "\\ud" in text.lower():
        data = _whole_characters(data, warnings)
    return data, warnings


def _text(raw: bytes) -> tuple[str, list[str]]:
    try:
        return raw.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        text, encoding = decode(raw)
        return text, [f"it is written in {encoding}, not UTF-8"]


def _mend(path: Path, text: str, twice: list[str], warnings: list[str]) -> Any:
    try:
        data = _load(text, twice, strict=False)
        warnings.append("strings hold raw newlines or tabs")
        return data
    except ValueError:
        pass
    bare = _COMMENTS.sub(lambda found: found[1] or "", text)
    plain = _COMMAS.sub(lambda found: found[1] or "", bare)
    try:
        data = _load(plain, twice, strict=False)
    except ValueError as error:
        raise MerrError(
            f"{path} is no JSON: {error}\n"
            "It may be cut short; get it anew. Comments, raw newlines and commas are no hindrance."
        ) from error
    warnings += ["it holds comments"] if bare != text else []
    warnings += ["it holds commas before closing brackets"] if plain != bare else []
    return data


def _load(text: str, twice: list[str], *, strict: bool) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice.extend(name for name in found if names.count(name) > 1)
        return found

    return json.loads(text, strict=strict, object_pairs_hook=unique)


def _whole_characters(value: Any, warnings: list[str]) -> Any:
    """The same without halves of surrogate pairs, which no file can hold as text."""
    if isinstance(value, str):
        whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if whole != value and (warning := "it holds half characters") not in warnings:
            warnings.append(warning)
        return whole
    if isinstance(value, list):
        return [_whole_characters(item, warnings) for item in value]
    if isinstance(value, dict):
        return {
            _whole_characters(name, warnings): _whole_characters(item, warnings)
            for name, item in value.items()
        }
    return value
