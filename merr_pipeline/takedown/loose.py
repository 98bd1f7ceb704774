"""Clips out of all else that an output folder keeps: answers, raw files of tools, run summaries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from merr_pipeline.files import write_atomically
from merr_pipeline.llm.cache import AnswerCache
from merr_pipeline.takedown.wanted import Taken, remembered_hashes


def clear_answers(answers: Path, taken: Taken) -> int:
    """Delete what models answered about these clips; how many answers are gone.

    Caches that were set aside as damaged may hold some too, and are deleted.
    """
    for aside in answers.parent.glob(f"damaged-*-{answers.name}*"):
        aside.unlink()
    if not answers.exists():
        return 0
    cache = AnswerCache(answers)
    try:
        by_name = [cache.forget(clip_id, "") for clip_id in sorted(taken.clip_ids)]
        return sum(by_name) + sum(cache.forget("", sha256) for sha256 in sorted(taken.sha256s))
    finally:
        cache.close()


def clear_files(out: Path, taken: Taken) -> int:
    """Delete the files that are one of these clips' own (named by its hash); how many.

    A report of the dataset (``*.html``) shows pictures of many, and is deleted whole.
    """
    own = [path for path in _files(out) if any(one in path.name for one in taken.sha256s)]
    reports = list(out.glob("*.html"))
    for path in (*own, *reports):
        path.unlink()
    return len(own) + len(reports)


def clear_notes(out: Path, taken: Taken) -> None:
    """Take these clips out of remembered hashes and run summaries."""
    remembered = remembered_hashes(out)
    kept = {
        path: facts
        for path, facts in remembered.items()
        if path not in taken.paths and facts[-1] not in taken.sha256s
    }
    if kept != remembered:
        text = json.dumps(kept, ensure_ascii=False, sort_keys=True, indent=0)
        write_atomically(out / "cache" / "hashes.json", text.encode())
    for path in sorted((out / "runs").glob("*.json")):
        found = json.loads(path.read_text("utf-8"))
        cleared = _cleared(found, taken)
        if cleared != found:
            text = json.dumps(cleared, ensure_ascii=False, indent=2)
            write_atomically(path, f"{text}\n".encode())


def _cleared(value: Any, taken: Taken) -> Any:
    """The same without entries of lists and fields of objects that name one of the clips."""
    if isinstance(value, list):
        return [_cleared(entry, taken) for entry in value if not _names(entry, taken)]
    if isinstance(value, dict):
        return {
            key: _cleared(entry, taken)
            for key, entry in value.items()
            if not (taken.is_named_in(key) or _names(entry, taken))
        }
    return value


def _names(value: Any, taken: Taken) -> bool:
    return isinstance(value, str) and taken.is_named_in(value)


def _files(out: Path) -> Iterator[Path]:
    return (path for path in out.rglob("*") if path.is_file() and not path.is_symlink())
