"""From the rows of all stages to a finished dataset on disk.

Two looks at the rows: the first (`plan`) reads a few small columns of every clip, and decides who
is in, and in which split; the second reads what the records are made of, pictures included, and
only of shards that changed. It goes through the clips in the order in which they came, as they
lie in the store, and sets each aside for its shard (`aside`). Every clip ends once, in ``clips``
or in ``rejected``.

A shard is made again when its key changes. The key holds all that the shard is made from: the facts
and row hashes of its clips, the configuration, this room's own code, the versions of the writers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from merr_pipeline.dataset.aside import Aside, Finished
from merr_pipeline.dataset.card import card
from merr_pipeline.dataset.clip_row import FULL_LOOK, clip_row, provenance_of
from merr_pipeline.dataset.columns import REJECTED
from merr_pipeline.dataset.decisions import Decisions
from merr_pipeline.dataset.draft import Draft, Shard
from merr_pipeline.dataset.folder import (
    CARD,
    DATASET,
    TEMPLATES,
    Manifest,
    read_manifest,
    recover,
)
from merr_pipeline.dataset.plan import Plan, RowsOf, make_plan
from merr_pipeline.dataset.shards import batched, file_name, in_shards
from merr_pipeline.dataset.texts import Texts
from merr_pipeline.schema import SCHEMA_VERSION, SPLITS, Clip, MerrError, Refusal, Row
from merr_pipeline.settings import Settings
from merr_pipeline.stage import Identity, digest
from merr_pipeline.templates import load_all

RECORD_SUBSETS = ("clips", "coarse", "fine")
FULL_LOOK_SIZE = 500  # clips of which all is in memory at once
REJECTED_SPLIT = "all"


@dataclass(frozen=True)
class AssembleReport:
    """What an assembly did, for the run summary."""

    folder: Path
    accepted: int
    rejected: int
    reasons: Mapping[str, int]  # of the rejected
    refusals: Sequence[Refusal]  # who they are
    verdicts: Mapping[str, int]  # of the accepted
    fine_selection: Mapping[str, int]  # the same; empty where all are taken
    rows: Mapping[str, Mapping[str, int]]  # subset -> split -> rows
    shards_written: int
    shards_kept: int
    unchanged: bool  # the dataset that was there is the one wanted; nothing was touched


def assemble(
    out: Path,
    clips: Sequence[Clip],
    rows_of: RowsOf,
    refused: Sequence[Refusal],
    settings: Settings,
    identities: Mapping[str, Identity],
) -> AssembleReport:
    """Write ``<out>/dataset`` from the rows of ``clips``, or leave it if it is already that.

    Args:
        out: the build's folder; the caller sees to it that no other build works there.
        clips: every clip of the build, in any order; ids are unique.
        rows_of: gives their rows; asked for neighbouring clips at once.
        refused: inputs that never became clips.
        settings: the whole tree.
        identities: of every stage that ran, for provenance and the config hash.

    Raises:
        MerrError: ``<out>/dataset`` is no dataset of ours, or cannot be read.
    """
    recover(out)
    earlier = read_manifest(out / DATASET) or Manifest("")
    decisions = Decisions.load(settings)
    plan = make_plan(
        clips,
        rows_of,
        refused,
        _earlier_splits(out / DATASET, earlier),
        settings.dataset,
        decisions.near,
        decisions.policy,
        decisions.selection,
    )
    texts = Texts.load(settings)
    provenance = provenance_of(identities, texts.identity(), *decisions.identities())
    draft = Draft(out, earlier, config_hash(settings, provenance))
    shards = _record_shards(plan, settings, draft.config_hash)
    changed_shards = [shard for shard in shards if not draft.keep(shard)]
    with Aside(draft.folder / "aside", RECORD_SUBSETS, draft.config_hash) as aside:
        for some in _record_rows(changed_shards, plan, rows_of, provenance, texts, decisions):
            aside.add(some)
        for shard in changed_shards:
            draft.write_tables(shard, partial(aside.table, clip_ids=shard.clip_ids))
    for shard, refusals in _rejected_shards(plan, settings, draft.config_hash):
        if not draft.keep(shard):
            draft.write(shard, _rejected_rows(refusals))
    draft.drop_empty()
    templates = load_all(settings.templates)
    text = card(plan, draft.rows(), settings, provenance, templates)
    changed = draft.finish({CARD: text} | {f"{TEMPLATES}/{t.name}": t.text for t in templates})
    reasons = Counter(refusal.reason.value for refusal in plan.rejected)
    return AssembleReport(
        folder=out / DATASET,
        accepted=len(plan.accepted),
        rejected=len(plan.rejected),
        reasons=dict(sorted(reasons.items())),
        refusals=plan.rejected,
        verdicts=plan.verdicts(),
        fine_selection=plan.selections(),
        rows=draft.rows(),
        shards_written=draft.written,
        shards_kept=draft.kept,
        unchanged=not changed,
    )


def config_hash(settings: Settings, provenance: Sequence[Row]) -> str:
    """Hash of how every field was made: the fingerprints of stages and texts, ``dataset.*``."""
    made = {entry["stage"]: entry["fingerprint"] for entry in provenance}
    return digest([made, settings.dataset.model_dump()])


def _record_shards(plan: Plan, settings: Settings, configuration: str) -> Iterator[Shard]:
    for split in SPLITS:
        in_split = in_shards(plan.of_split(split), settings.dataset.clips_per_shard)
        for index, clip_ids in enumerate(in_split):
            names = {s: file_name(s, split, index, len(in_split)) for s in RECORD_SUBSETS}
            content = [
                [clip_id, plan.accepted[clip_id].content, *plan.found_together(clip_id)]
                for clip_id in clip_ids
            ]
            key = digest([_writers(), configuration, split, content])
            yield Shard(names, clip_ids, split, key)


def _record_rows(
    shards: Sequence[Shard],
    plan: Plan,
    rows_of: RowsOf,
    provenance: Sequence[Row],
    texts: Texts,
    decisions: Decisions,
) -> Iterator[list[Finished]]:
    """What these shards are made of, in the order of the plan, some clips at a time."""
    shard_of = {
        clip_id: number for number, shard in enumerate(shards) for clip_id in shard.clip_ids
    }
    clips = (entry.clip for entry in plan.accepted.values() if entry.clip.clip_id in shard_of)
    for batch in batched(clips, FULL_LOOK_SIZE):
        some: list[Finished] = []
        for clip, rows in zip(batch, rows_of(batch, FULL_LOOK), strict=True):
            number = shard_of[clip.clip_id]
            row = clip_row(clip, rows, shards[number].split, provenance)
            row = texts.add_to(decisions.add_to(row, plan), rows)
            some.append((number, clip.clip_id, {"clips": [row], **texts.records(row)}))
        yield some


def _rejected_shards(
    plan: Plan, settings: Settings, configuration: str
) -> Iterator[tuple[Shard, list[Refusal]]]:
    by_id = {str(refusal.clip_id): refusal for refusal in plan.rejected}
    shards = in_shards(list(by_id), settings.dataset.clips_per_shard)
    for index, clip_ids in enumerate(shards):
        refusals = [by_id[clip_id] for clip_id in clip_ids]
        key = digest([_writers(), configuration, [asdict(refusal) for refusal in refusals]])
        names = {"rejected": file_name("rejected", REJECTED_SPLIT, index, len(shards))}
        yield Shard(names, clip_ids, REJECTED_SPLIT, key), refusals


def _rejected_rows(refusals: Iterable[Refusal]) -> Iterator[dict[str, list[Row]]]:
    for refusal in refusals:
        row = {name: asdict(refusal)[name] or None for name in REJECTED}
        more = {"reason": refusal.reason.value, "other_paths": list(refusal.other_paths)}
        yield {"rejected": [row | more]}


def _earlier_splits(dataset: Path, earlier: Manifest) -> dict[str, str]:
    """``clip_id -> split`` of the dataset that is there; losing them could leak test into train."""
    split_of: dict[str, str] = {}
    for name in earlier.files:
        if name.startswith("clips/"):
            try:
                with pq.ParquetFile(dataset / name, page_checksum_verification=True) as file:
                    rows = file.read(["clip_id", "split"]).to_pylist()
            except (OSError, pa.ArrowException) as error:
                raise MerrError(
                    f"{dataset / name} cannot be read, and with it the splits of the earlier build:"
                    f" {error}\nPut the file back, or delete {dataset} to draw all splits anew."
                ) from error
            split_of |= {row["clip_id"]: row["split"] for row in rows}
    return split_of


@cache
def _writers() -> str:
    """Hash of the code and libraries that turn rows into bytes; a new one makes shards again."""
    code = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    return digest([SCHEMA_VERSION, version("pyarrow"), version("datasets"), code])
