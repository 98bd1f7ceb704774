"""One export from end to end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from merr_pipeline.exports import emotion_llama, llama_factory, ms_swift, trl, webdataset
from merr_pipeline.exports.folder import refuse_foreign, whole_folder
from merr_pipeline.exports.plan import Plan, Report, make_plan
from merr_pipeline.exports.source import Source
from merr_pipeline.exports.wanted import Media, Wanted
from merr_pipeline.schema import MerrError

FORMATS: dict[str, Callable[[Path, Source, Wanted, Plan], Report]] = {
    "emotion-llama": emotion_llama.write,
    "llama-factory": llama_factory.write,
    "ms-swift": ms_swift.write,
    "trl": trl.write,
    "webdataset": webdataset.write,
}


def export(name: str, out: Path, to: Path, wanted: Wanted) -> Report:
    """Write the dataset of ``out`` to the folder ``to`` in one of `FORMATS`.

    Raises:
        MerrError: there is no such format or dataset, a clip's file is missing, a label is none of
            the format's, ``to`` is something else's; nothing is written then.
    """
    if name not in FORMATS:
        raise MerrError(f"there is no export {name!r}; there are {', '.join(FORMATS)}.")
    refuse_foreign(to)
    source = Source(out, wanted)
    plan = make_plan(source)
    report = Report()
    with whole_folder(to, lambda: _facts(name, source, wanted, plan, report)) as folder:
        done = FORMATS[name](folder, source, wanted, plan)
        report.rows, report.notes = done.rows, done.notes
    return report


def _facts(name: str, source: Source, wanted: Wanted, plan: Plan, report: Report) -> dict[str, Any]:
    """What `export.json` says; no path but in `Media.PATH`, where the rows have them too."""
    return {
        "format": name,
        "schema_version": source.manifest.schema_version,
        "config_hash": source.manifest.config_hash,
        "splits": list(plan.clips),
        "subsets": list(wanted.subsets),
        "media": wanted.media.value if wanted.images else "none",
        "images": wanted.images,
        "without_labels": sorted(wanted.without_labels),
        "licences": sorted({row["licence"] or "unknown" for row in plan.every}),
        "rows": report.rows,
        "notes": report.notes,
        **({"clips": str(wanted.clips)} if wanted.media is Media.PATH and wanted.images else {}),
    }
