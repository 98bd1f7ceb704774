"""What is true of the clips of a split, as the finished dataset has it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from merr_pipeline.dataset.instructions import is_about_a_given_label
from merr_pipeline.exports.source import Sample, Source
from merr_pipeline.exports.wanted import Wanted
from merr_pipeline.schema import SPLITS, Clip, ClipId, MerrError

ALL = "all"
"""Every split: for answers of a model that has learned from none of them."""

COLUMNS = (
    "clip_id",
    "media_path",
    "sha256",
    "label",
    "label_space",
    "label_source",
    "open_labels",
    "text_source",
)


@dataclass(frozen=True)
class TrueClip:
    """One clip of the split."""

    clip: Clip
    label: str | None
    open_labels: tuple[str, ...]
    sentiment: str | None  # the answer of its sentiment record, as written there
    reference: str | None  # the text of its fine record that reasons
    told: bool  # the question for that text names the label


@dataclass(frozen=True)
class Truth:
    """The clips of a split, by id."""

    split: str
    space: str  # name of the label space
    clips: dict[str, TrueClip]
    known: frozenset[str]  # clips of all splits
    config_hash: str  # of the dataset

    @property
    def labels(self) -> dict[str, str]:
        """Of the clips that have one."""
        return {name: one.label for name, one in self.clips.items() if one.label is not None}


def read_truth(out: Path, split: str = "test") -> Truth:
    """Read a split of the dataset in the output folder ``out``.

    Raises:
        MerrError: no dataset, no such split or no clip in it, or clips of several label spaces.
    """
    if split not in (*SPLITS, ALL):
        raise MerrError(f"--split {split}: there is {', '.join((*SPLITS, ALL))}.")
    source = Source(out, Wanted(splits=SPLITS))
    wanted = SPLITS if split == ALL else (split,)
    clips: dict[str, TrueClip] = {}
    known: set[str] = set()
    spaces: set[str] = set()
    for one in source.splits():
        if one not in wanted:
            known.update(row["clip_id"] for row in source.clips(one, ("clip_id", "label")))
            continue
        for sample in source.samples(one, COLUMNS):
            clips[sample.clip["clip_id"]] = _true(sample)
            spaces |= {sample.clip["label_space"]} - {None}
    if not clips:
        raise MerrError(
            f"{out} has no clip in the split {split}; it has {', '.join(source.splits())}.\n"
            "Score another one with --split."
        )
    if len(spaces) > 1:
        raise MerrError(f"{out} mixes the label spaces {', '.join(sorted(spaces))}.")
    known |= clips.keys()
    space = next(iter(spaces), "merr9")
    ordered = dict(sorted(clips.items()))
    return Truth(split, space, ordered, frozenset(known), source.manifest.config_hash)


def _true(sample: Sample) -> TrueClip:
    row = sample.clip
    answers = {
        f"{record['granularity']}:{record['task']}": record["messages"][-1]["content"]
        for record in sample.records
    }
    path = row["media_path"]
    return TrueClip(
        clip=Clip(ClipId(row["clip_id"]), Path(path), path, row["sha256"]),
        label=row["label"],
        open_labels=tuple(row["open_labels"] or ()),
        sentiment=answers.get("coarse:sentiment"),
        reference=answers.get("fine:reason"),
        told=is_about_a_given_label(row),
    )
