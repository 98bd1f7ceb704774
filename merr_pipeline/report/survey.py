"""What a dataset holds, counted in one pass over ``clips`` and one over ``rejected``."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from merr_pipeline.emotion.spaces import load_label_space
from merr_pipeline.report.coverage import FIELDS, Coverages
from merr_pipeline.report.leaks import LeakFinder, LeakReport
from merr_pipeline.report.source import Finished
from merr_pipeline.report.voices import Agreement
from merr_pipeline.schema import SPLITS, Row

UNDECIDED = "(undecided)"
SCORES = ("face", "voice", "words", "agreement", "grounding", "overall")
TOP_UNITS = 5
LONGEST_BIN_S = 15
MOST_FLAGS = 20
MOST_EXAMPLES = 3

_PICTURES = ("peak_frame", "face_crop")  # of which the path is enough
_FIELD_COLUMNS = [column for column, _ in FIELDS.values() if column not in _PICTURES]
COLUMNS = (
    *dict.fromkeys(
        (
            *("clip_id", "split", "kind", "duration_s", "label_space", "label_source"),
            *("flags", "quality", "prosody", "near_duplicates", "label_candidates"),
            *("text_source", "llm_label", "second_label", "text_language", "au_scale"),
            *("face_tool", "transcript_source", "transcript_status", "tone_status"),
            *("review", *_FIELD_COLUMNS),
        )
    ),
    "face_crop.path",
    "evidence.list.element.text",
    "action_units.list.element.au",
    "action_units.list.element.name",
)
"""No pictures and no series: a clip costs about a kilobyte to read."""

_UNIT = re.compile(r"(AU\d\d) ")


@dataclass
class Rejections:
    """Inputs left out for one reason."""

    stage: str
    reason: str
    inputs: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)  # clip_id, detail

    def add(self, row: Row) -> None:
        """Count one; the first few are kept by name."""
        self.inputs += 1
        if len(self.examples) < MOST_EXAMPLES:
            self.examples.append((row["clip_id"], row["detail"] or ""))


@dataclass
class Survey:
    """All that the page says of a dataset but its gallery."""

    name: str
    rows: dict[str, dict[str, int]]  # subset -> split -> rows, by the manifest
    clips: int = 0
    label_space: str = ""
    space_labels: tuple[str, ...] = ()
    labels: Counter[str] = field(default_factory=Counter)
    by_split: Counter[tuple[str, str]] = field(default_factory=Counter)  # label, split
    label_sources: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    transcript_sources: Counter[str] = field(default_factory=Counter)
    text_sources: Counter[str] = field(default_factory=Counter)
    face_tools: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    durations_s: list[float] = field(default_factory=list)
    unit_names: dict[str, str] = field(default_factory=dict)
    units: Counter[str] = field(default_factory=Counter)  # clips whose evidence names it
    units_by_label: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    scores: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in SCORES})
    coverages: Coverages = field(default_factory=Coverages)
    agreement: Agreement = field(default_factory=Agreement)
    rejections: dict[tuple[str, str], Rejections] = field(default_factory=dict)
    leaks: LeakReport | None = None

    # --- counting --------------------------------------------------------------------------------

    def add(self, row: Row) -> None:
        """Count a row of ``clips``."""
        label = row["label"] or UNDECIDED
        self.clips += 1
        self.label_space = self.label_space or row["label_space"] or ""
        self.labels[label] += 1
        self.by_split[label, row["split"]] += 1
        for counter, value in (
            (self.label_sources, row["label_source"]),
            (self.kinds, row["kind"]),
            (self.languages, row["text_language"]),
            (self.transcript_sources, row["transcript_source"]),
            (self.text_sources, row["text_source"]),
            (self.face_tools, _tool(row)),
            (self.verdicts, (row["review"] or {}).get("verdict")),
            (self.licences, row["licence"] or "not given"),
        ):
            if value:
                counter[value] += 1
        self.flags.update(row["flags"] or [])
        if row["kind"] != "still" and row["duration_s"] is not None:
            self.durations_s.append(row["duration_s"])
        self._add_units(row, label)
        for name in SCORES:
            if (score := (row["quality"] or {}).get(name)) is not None:
                self.scores[name].append(score)
        self.coverages.add(row)
        self.agreement.add(row)

    def _add_units(self, row: Row, label: str) -> None:
        for unit in row["action_units"] or []:
            self.unit_names.setdefault(unit["au"], unit["name"] or "")
        found = (_UNIT.match(one["text"] or "") for one in row["evidence"] or [])
        named = {match[1] for match in found if match}
        self.units.update(named)
        self.units_by_label[label].update(named)

    def add_rejected(self, row: Row) -> None:
        """Count a row of ``rejected``."""
        key = (row["stage"] or "", row["reason"] or "")
        self.rejections.setdefault(key, Rejections(*key)).add(row)

    # --- what the page asks ----------------------------------------------------------------------

    @property
    def rejected(self) -> int:
        """Inputs that were left out."""
        return sum(one.inputs for one in self.rejections.values())

    @property
    def splits(self) -> list[str]:
        """Those that have clips."""
        there = {split for _, split in self.by_split}
        return [split for split in SPLITS if split in there]

    def label_order(self) -> list[str]:
        """Most frequent first, then those of the label space that no clip has, then undecided."""
        have = [label for label in self.labels if label != UNDECIDED]
        last = [UNDECIDED] if UNDECIDED in self.labels else []
        return [
            *sorted(have, key=lambda label: (-self.labels[label], label)),
            *self.absent_labels(),
            *last,
        ]

    def absent_labels(self) -> list[str]:
        """Labels of the space that no clip has."""
        return [label for label in self.space_labels if label not in self.labels]

    @property
    def decided(self) -> int:
        """Clips with a label."""
        return self.clips - self.labels[UNDECIDED]

    def share_of(self, label: str) -> float:
        """Of the clips with a label, 0..1."""
        return self.labels[label] / self.decided if self.decided else 0.0

    def evenness(self) -> float | None:
        """Entropy of the labels over that of equal shares, 0..1; null for fewer than two labels."""
        counts = [count for label, count in self.labels.items() if label != UNDECIDED]
        wanted = max(len(self.space_labels), len(counts))
        if wanted < 2 or not counts:
            return None
        shares = [count / sum(counts) for count in counts]
        return -sum(share * math.log(share) for share in shares) / math.log(wanted)

    def imbalance(self) -> float | None:
        """Clips of the most frequent label for one of the rarest that has any."""
        counts = [count for label, count in self.labels.items() if label != UNDECIDED]
        return max(counts) / min(counts) if counts else None

    def unit_order(self) -> list[str]:
        """Action Units that some evidence names, most frequent first."""
        return sorted(self.units, key=lambda au: (-self.units[au], au))

    def top_units(self, label: str) -> list[tuple[str, int]]:
        """The five Action Units that most clips of a label show."""
        counts = self.units_by_label.get(label, Counter[str]())
        return sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:TOP_UNITS]

    def duration_bins(self) -> list[tuple[str, int]]:
        """Videos by length in whole seconds; all from 15 s on in the last bin."""
        whole = Counter(min(int(one), LONGEST_BIN_S) for one in self.durations_s)
        last = max(whole, default=-1)
        names = [f"{s}–{s + 1} s" if s < LONGEST_BIN_S else f"{s} s and over" for s in range(16)]
        return [(names[second], whole[second]) for second in range(last + 1)]

    def most_flags(self) -> list[tuple[str, int]]:
        """The most frequent flags."""
        return sorted(self.flags.items(), key=lambda one: (-one[1], one[0]))[:MOST_FLAGS]

    def refused(self) -> list[Rejections]:
        """Reasons for which inputs were left out, most frequent first."""
        return sorted(
            self.rejections.values(), key=lambda one: (-one.inputs, one.stage, one.reason)
        )


def quantiles(values: Sequence[float]) -> tuple[float, float, float, float, float] | None:
    """Least, quarter, median, three quarters, most; null of nothing."""
    if not values:
        return None
    least, low, middle, high, most = np.quantile(values, [0, 0.25, 0.5, 0.75, 1]).tolist()
    return least, low, middle, high, most


def _tool(row: Row) -> str | None:
    return f"{row['face_tool']}, {row['au_scale']}" if row["face_tool"] else None


def survey(dataset: Finished) -> Survey:
    """Count everything, reading each file once.

    Raises:
        MerrError: the dataset cannot be read.
    """
    found = Survey(dataset.name, dataset.manifest.rows_by_split())
    leaks = LeakFinder()
    for row in _with_pictures(dataset.rows("clips", COLUMNS)):
        found.add(row)
        leaks.add(row)
    found.leaks = leaks.report()
    for row in dataset.rows("rejected", ("clip_id", "stage", "reason", "detail")):
        found.add_rejected(row)
    if found.label_space:
        found.space_labels = load_label_space(found.label_space, dataset.templates).labels
    return found


def _with_pictures(rows: Iterable[Row]) -> Iterable[Row]:
    """A picture that is there by its path; one that is not, as null."""
    for row in rows:
        yield {**row, "face_crop": (row["face_crop"] or {}).get("path")}
