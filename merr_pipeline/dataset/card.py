"""The dataset card: ``README.md`` with the front matter that `datasets` and the Hub read.

It holds no time and no host, so the same inputs give the same card.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import yaml

from merr_pipeline.dataset.agreement import Verdict
from merr_pipeline.dataset.columns import SUBSETS
from merr_pipeline.dataset.plan import Entry, Plan
from merr_pipeline.dataset.selection import Selection
from merr_pipeline.schema import SCHEMA_VERSION, SPLITS, Row
from merr_pipeline.settings import Settings
from merr_pipeline.templates import Template

FINE_LANGUAGE = "en"

TASK_CATEGORIES = [
    "video-classification",
    "video-text-to-text",
    "visual-question-answering",
    "audio-classification",
]

HUB_LICENCES = frozenset(
    {"apache-2.0", "mit", "cc", "cc0-1.0", "pddl", "odbl", "odc-by", "unlicense"}
    | {"cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0"}
    | {"cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0"}
    | {"cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"}
)
"""Those of the Hub's licence identifiers that media carry; any other is ``other`` there."""

LOADED_AS = {**{split: split for split in SPLITS}, "all": "rejected"}
"""A file's split and its name for `datasets`, which keeps the name ``all`` to itself."""

_LOADING = """\
```python
from datasets import load_dataset

clips = load_dataset("path/to/dataset", "clips", split="train")
clips[0]["peak_frame"]  # a picture
fine = load_dataset("path/to/dataset", "fine", split="train")
fine[0]["messages"]  # a question, and its answer
```"""

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

_SUBSET_LINES = {
    "clips": "one row per clip, everything known of it, with two pictures of its peak",
    "coarse": "coarse-grained instruction records, text only",
    "fine": "fine-grained instruction records, text only",
    "rejected": "inputs that were left out: stage, reason, detail",
}

_LIMITS = """\
- Labels, texts and scores describe what a clip shows and sounds like to the tools named above.
  They are no statement about what a person felt, and none about identity, gender or age.
- Action Units have the scale of `au_scale`; values of different scales must not be compared. An
  Action Unit that the tool cannot see is absent, not 0.
- Missing is null, and `flags` says why (`stage:reason`).
- A peak frame is a verdict with a strength (`peak_verdict`), never a fact; other tools choose
  others.
- A checked text says nothing but what the evidence shows; the evidence itself may be wrong, as its
  tools are. A label of `au_rules` rests on the face alone.
- Shares of the splits are met on average over many groups of clips with one source or speaker;
  a small dataset may have everything in `train`.
- `peak_frame` and `face_crop` are pictures of people; they are under the licences of their clips
  (column `licence`)."""


def card(
    plan: Plan,
    rows: Mapping[str, Mapping[str, int]],
    settings: Settings,
    provenance: Sequence[Row],
    templates: Sequence[Template],
) -> str:
    """The text of ``README.md``.

    Args:
        plan: which clips are in, in which split, with which label.
        rows: ``subset -> split -> rows`` of what was written.
        settings: the whole tree.
        provenance: how each field was made.
        templates: every template in use, as saved beside the card.
    """
    entries = [plan.accepted[clip_id] for clip_id in sorted(plan.accepted)]
    written = {FINE_LANGUAGE, settings.coarse.language}
    matter = _front_matter(entries, rows, written)
    front = yaml.safe_dump(matter, sort_keys=False, allow_unicode=True)
    parts = [
        f"---\n{front}---",
        "# Multimodal emotion recognition and reasoning (MERR) records",
        f"{len(entries)} clips of people, {len(plan.rejected)} inputs left out. "
        f"Made by merr_pipeline, profile `{settings.profile}`, record schema {SCHEMA_VERSION}.",
        "A clip has an emotion label with its source, where it is known, and texts that tell it by "
        "face, voice, words and scene; every claim of a text rests on a numbered piece of "
        "`evidence`, measured or quoted. "
        "`merr validate` proves that, `merr report` shows it.",
        _LOADING,
        "## Subsets",
        _subset_table(rows),
        f"Coarse texts: language `{settings.coarse.language}`, form `{settings.coarse.form}`. "
        f"Fine texts: language `{FINE_LANGUAGE}`.",
        "## How it was made",
        f"Profile `{settings.profile}`. What the stages measured and concluded, by which tool and "
        "model; equal fingerprints, equal making.",
        _stage_table(provenance),
        "The words, rules, thresholds and prompts lie in `templates/`, as they were used:",
        _template_table(templates),
        "## Labels",
        _label_table(entries, plan),
        _label_remarks(entries),
        *_selection(plan, settings),
        "## Licences and languages",
        _licence_table(entries),
        _language_line(entries),
        "## Left out",
        _rejected_table(plan),
        "## Known limits",
        _LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(
    entries: Sequence[Entry], rows: Mapping[str, Mapping[str, int]], written: Set[str]
) -> dict[str, Any]:
    """``written`` are the languages of our own texts; those of the transcripts come to them."""
    languages = {e.language.partition("-")[0].lower() for e in entries if e.language} | written
    front: dict[str, Any] = {"pretty_name": "MERR records", **_licences(entries)}
    codes = sorted(code for code in languages if len(code) in (2, 3) and code.isalpha())
    return front | {
        "language": codes,
        "size_categories": [_size(len(entries))],
        "task_categories": TASK_CATEGORIES,
        "annotations_creators": _annotators(entries),
        "multilinguality": ["multilingual" if len(codes) > 1 else "monolingual"],
        "tags": ["emotion-recognition", "multimodal", "facial-action-units", "prosody", "merr"],
        "configs": [_config(subset, rows[subset]) for subset in SUBSETS if subset in rows],
    }


def _licences(entries: Iterable[Entry]) -> dict[str, Any]:
    names = {_hub_licence(entry.clip.licence) for entry in entries} or {"unknown"}
    link = {"license_name": "per-clip", "license_link": "README.md"}
    name = link if "other" in names else {}
    return {"license": sorted(names), **name}


def _annotators(entries: Iterable[Entry]) -> list[str]:
    """Texts and measures are made by machines; labels of a manifest by whoever wrote it."""
    is_given = any(entry.label_source == "manifest" for entry in entries)
    return ["machine-generated", *(["found"] if is_given else [])]


def _hub_licence(licence: str | None) -> str:
    if licence is None:
        return "unknown"
    name = "-".join(licence.lower().split())
    return name if name in HUB_LICENCES else "other"


def _size(clips: int) -> str:
    return next((name for limit, name in _SIZES if clips < limit), "1M<n<10M")


def _config(subset: str, splits: Mapping[str, int]) -> dict[str, Any]:
    files = [
        {"split": name, "path": f"{subset}/{split}-*.parquet"}
        for split, name in LOADED_AS.items()
        if split in splits
    ]
    default = {"default": True} if subset == "clips" else {}
    return {"config_name": subset, **default, "data_files": files}


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(value: object) -> str:
    return "" if value is None else str(value).replace("|", "\\|").replace("\n", " ")


def _subset_table(rows: Mapping[str, Mapping[str, int]]) -> str:
    return _table(
        ["subset", "split", "rows", "what"],
        (
            (subset, name, rows[subset][split], _SUBSET_LINES[subset])
            for subset in SUBSETS
            for split, name in LOADED_AS.items()
            if split in rows.get(subset, {})
        ),
    )


def _stage_table(provenance: Sequence[Row]) -> str:
    return _table(
        ["stage", "tool", "version", "model", "revision", "fingerprint"],
        (
            (r["stage"], r["tool"], r["version"], r["model"], r["revision"], r["fingerprint"][:12])
            for r in provenance
        ),
    )


def _template_table(templates: Sequence[Template]) -> str:
    return _table(["template", "sha256"], ((f"`{one.name}`", one.sha256[:12]) for one in templates))


def _licence_table(entries: Sequence[Entry]) -> str:
    """Clips by licence, as the manifest names it."""
    counts = Counter(entry.clip.licence for entry in entries)
    order = sorted(counts, key=lambda name: (name is None, name or ""))
    return _table(
        ["licence of the clips", "clips"], ((name or "(not given)", counts[name]) for name in order)
    )


def _language_line(entries: Sequence[Entry]) -> str:
    counts = Counter(entry.language for entry in entries if entry.language)
    spoken = ", ".join(f"`{name}` {counts[name]}" for name in sorted(counts))
    return f"Transcripts by language: {spoken or 'none'}."


def _label_table(entries: Sequence[Entry], plan: Plan) -> str:
    """Clips by label, most frequent first, and split; undecided ones last."""
    counts: dict[str | None, Counter[str]] = {}
    for entry in entries:
        by_split = counts.setdefault(entry.label, Counter())
        by_split[plan.split_of[entry.clip.clip_id]] += 1
    order = sorted(counts, key=lambda name: (name is None, -counts[name].total(), name or ""))
    return _table(
        ["label", *SPLITS],
        ([name or "(undecided)", *(counts[name][split] for split in SPLITS)] for name in order),
    )


def _label_remarks(entries: Sequence[Entry]) -> str:
    sources = Counter(entry.label_source for entry in entries if entry.label_source)
    by_source = ", ".join(f"{count} by `{name}`" for name, count in sorted(sources.items()))
    visual = sum(entry.visual_only for entry in entries)
    doubted = sum(entry.decision.verdict == Verdict.NEEDS_REVIEW for entry in entries)
    review = f" To be reviewed (`review.why`): {doubted}." if doubted else ""
    return f"Labels decided: {by_source or 'none'}. Clips with nothing to hear: {visual}.{review}"


def _selection(plan: Plan, settings: Settings) -> list[str]:
    """What of each label is in ``fine``, and how many its limit would still take; [] for all."""
    if plan.selected is None:
        return []
    chosen, left_out = Counter[str](), Counter[str]()
    for clip_id, entry in plan.accepted.items():
        is_in = plan.selected.of[clip_id] == Selection.CHOSEN
        (chosen if is_in else left_out)[entry.label or "(undecided)"] += 1
    limits = plan.selected.limits
    names = sorted({*chosen, *left_out, *limits}, key=lambda name: (-chosen[name], name))
    rows = [
        (name, chosen[name], left_out[name], *_room(limits.get(name), chosen[name]))
        for name in names
    ]
    counts = ", ".join(f"{count} {state}" for state, count in plan.selections().items())
    return [
        f"## The fine set\n\nSelected by plan `{settings.dataset.select}` of "
        f"`templates/selection.yaml`: {counts}.",
        _table(["label", "in fine", "left out", "limit", "lacking"], rows),
    ]


def _room(limit: int | None, chosen: int) -> tuple[int | None, int | None]:
    return limit, None if limit is None else limit - chosen


def _rejected_table(plan: Plan) -> str:
    counts = Counter((refusal.stage, refusal.reason.value) for refusal in plan.rejected)
    if not counts:
        return "Nothing."
    return _table(["stage", "reason", "inputs"], ((*key, counts[key]) for key in sorted(counts)))
