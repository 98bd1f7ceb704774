"""A dataset of the size of MERR from a store that is full: time, memory, the same bytes, additions.

::

    python benchmarks/assembling.py [--count 28618] [--added 100]

The store is filled by code: the rows of one sample for every clip, each with its own words, hashes,
label, source and pictures (its clip is a few bytes that nobody opens any more). Then ``merr build``
runs as a user runs it and has nothing to do but to assemble: who is in, near-duplicates, splits,
shards, card. Once more from nothing, for the same bytes; again with clips added; again with the
fine set selected ``as_paper``. Last, the near-duplicate search and the selection by themselves.
"""

from __future__ import annotations

import argparse
import copy
import csv
import hashlib
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
from planning import Ran, rows_of_one, run_command, unsynced

from merr_pipeline.build import open_build
from merr_pipeline.dataset.agreement import Verdict
from merr_pipeline.dataset.near import Footage, find_near, load_near_rules
from merr_pipeline.dataset.selection import Choice, load_selection, select
from merr_pipeline.dataset.shards import file_name, shard_index
from merr_pipeline.emotion.spaces import load_label_space
from merr_pipeline.pipeline import Pipeline
from merr_pipeline.request import Request
from merr_pipeline.schema import ROW_HEAD, SPLITS, Row
from merr_pipeline.stage import Work
from merr_pipeline.templates import shipped_samples

MOST_S, MOST_MB = 300, 2000
WORDS = "We won prize {}, what a lovely day!"
LABELS = ("neutral", "sad", "angry", "happy", "worried", "surprise", "fear", "doubt", "contempt")
SHARES = (30, 20, 16, 13, 9, 6, 3, 2, 1)  # of the labels, percent
A_SOURCE = 8  # clips of one film
A_COPY = 50  # one clip in so many is a copy of the one before, with a few bits turned over
PICTURES, SOUNDS = 8, 80  # hashes of a clip of four seconds


def drawn_hashes(number: int) -> tuple[list[int], list[int]]:
    """Hashes of pictures and sound that are like those of no other clip but its copy."""
    is_copy = number % A_COPY == A_COPY - 1
    numbers = random.Random(number - is_copy)
    pictures = [numbers.getrandbits(63) for _ in range(PICTURES)]
    sounds = [numbers.getrandbits(32) for _ in range(SOUNDS)]
    if is_copy:
        pictures = [one ^ 0b1011 for one in pictures]
        sounds = [one ^ 0b101 for one in sounds]
    return pictures, sounds


def label_of(number: int) -> str:
    """Labels in the proportions of MERR."""
    (label,) = random.Random(f"label {number}").choices(LABELS, SHARES)
    return label


def write_inputs(folder: Path, count: int, added: int) -> tuple[Path, Path]:
    """So many tiny clips, and two manifests: of the first ``count``, and of all."""
    clips = folder / "clips"
    clips.mkdir(parents=True)
    manifests = folder / "first.csv", folder / "all.csv"
    for manifest, many in zip(manifests, (count, count + added), strict=True):
        with manifest.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("clip_id", "path", "label", "transcript", "language", "source_id"))
            for number in range(many):
                name, said = f"{number:06}", WORDS.format(f"{number:06}")
                source = f"film {number // A_SOURCE}"
                writer.writerow((name, f"{name}.mp4", label_of(number), said, "en", source))
    for number in range(count + added):
        (clips / f"{number:06}.mp4").write_bytes(number.to_bytes(8))
    return manifests


def fill(request: Request) -> None:
    """A store that has the rows of every stage for each clip."""
    sample = shipped_samples() / "clips" / "smile.mp4"
    rows = rows_of_one(sample, label="happy", transcript=WORDS.format("000000"), language="en")
    with open_build(request) as build:
        _let_each_find_its_own(build.pipeline, rows)
        with unsynced():
            for start in range(0, len(build.pending), build.settings.engine.batch_size):
                build.pipeline.run(build.pending[start : start + build.settings.engine.batch_size])
        build.pipeline.close()


def _let_each_find_its_own(pipeline: Pipeline, rows: dict[str, Row]) -> None:
    head = {column.name for column in ROW_HEAD} - {"status", "reason", "detail"}
    for stage in pipeline.stages:
        found = {name: value for name, value in rows[stage.name].items() if name not in head}

        def annotate(
            batch: Sequence[Work], found: Row = found, name: str = stage.name
        ) -> list[Row]:
            return [_own(name, found, work) for work in batch]

        stage.annotate = annotate  # type: ignore[method-assign]


def _own(stage: str, found: Row, work: Work) -> Row:
    """The row of the sample with what makes this clip another."""
    row, clip = dict(found), work.clip
    pictures, sounds = drawn_hashes(int(clip.clip_id))
    if stage == "probe":
        row["picture_hashes"] = pictures
    elif stage == "voice":
        row["sound_hashes"] = sounds
    elif stage == "moment":
        for name in ("peak_frame", "face_crop"):
            row[name] = moved(row[name], int(clip.clip_id))
    elif stage == "label":
        row["label"] = clip.label
        row["label_candidates"] = [
            {**one, "label": clip.label} if one["source"] == "manifest" else one
            for one in row["label_candidates"]
        ]
    elif stage in ("transcript", "fine"):
        row = _said(copy.deepcopy(row), clip.clip_id)
    return row


def _said(value: object, clip_id: str) -> object:
    """The same with the words of another clip in all texts."""
    if isinstance(value, str):
        return value.replace(WORDS.format("000000"), WORDS.format(clip_id))
    if isinstance(value, list):
        return [_said(inner, clip_id) for inner in value]
    if isinstance(value, dict):
        return {name: _said(inner, clip_id) for name, inner in value.items()}
    return value


def moved(jpeg: bytes, number: int) -> bytes:
    """The picture moved in its frame, another way for every number: all bytes are others."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    down, right = divmod(number, picture.shape[1])
    shifted = np.roll(picture, (down, right), axis=(0, 1))
    return bytes(cv2.imencode(".jpg", shifted, (cv2.IMWRITE_JPEG_QUALITY, 90))[1])


def hashes(dataset: Path) -> dict[str, str]:
    """sha256 of every file of a dataset."""
    files = sorted(path for path in dataset.rglob("*") if path.is_file())
    return {
        path.relative_to(dataset).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def inodes(dataset: Path) -> dict[str, int]:
    """A shard that was kept is the same file under another folder."""
    return {path.name: path.stat().st_ino for path in dataset.glob("clips/*.parquet")}


def shards_with(dataset: Path, count: int) -> set[str]:
    """Names of the shards that hold a clip which came after the first ``count``."""
    names = set()
    for split in SPLITS:
        paths = sorted(dataset.glob(f"clips/{split}-*.parquet"))
        for path in paths:
            for clip_id in pq.read_table(path, columns=["clip_id"], partitioning=None)[
                0
            ].to_pylist():
                if int(clip_id) >= count:
                    name = file_name("", split, shard_index(clip_id, len(paths)), len(paths))
                    names.add(name.removeprefix("/"))
    return names


def report(what: str, ran: Ran) -> None:
    """What a build took, against what was promised."""
    print(
        f"{what:32}{ran.wall_s:7.0f} s wall{ran.cpu_s:7.0f} s CPU{ran.peak_mb:7.0f} MB"
        f"   under {MOST_S} s: {_met(ran.wall_s < MOST_S)}, "
        f"under {MOST_MB} MB: {_met(ran.peak_mb < MOST_MB)}",
        flush=True,
    )


def _met(is_so: bool) -> str:
    return "yes" if is_so else "NO"


def measure_builds(folder: Path, count: int, added: int) -> None:
    """Fill a store, and build from it."""
    first, all_ = write_inputs(folder, count, added)
    clips, out = folder / "clips", folder / "out"
    started = time.perf_counter()
    fill(Request(clips, out, all_))
    print(
        f"(filled with {count + added} clips in {time.perf_counter() - started:.0f} s)", flush=True
    )
    dataset = out / "dataset"

    report(f"{count} clips", run_command("build", Request(clips, out, first)))
    once, files = hashes(dataset), inodes(dataset)
    size_mb = sum(path.stat().st_size for path in dataset.rglob("*.parquet")) / 1e6
    print(f"  {len(files)} shards, {size_mb:.0f} MB of Parquet")
    print(f"  sha256 over all files: {hashlib.sha256(repr(once).encode()).hexdigest()}")
    shutil.rmtree(dataset)
    report("  again from nothing", run_command("build", Request(clips, out, first)))
    print(f"  the same bytes twice: {_met(hashes(dataset) == once)}")
    files = inodes(dataset)
    report("  nothing changed", run_command("build", Request(clips, out, first)))
    print(f"  nothing touched: {_met(inodes(dataset) == files)}")
    report(f"  {added} clips added", run_command("build", Request(clips, out, all_)))
    after = inodes(dataset)
    kept = {name for name in after if after[name] == files.get(name)}
    due = shards_with(dataset, count)
    print(
        f"  shards_kept {len(kept)}, shards_written {len(after) - len(kept)}; the added clips lie "
        f"in {len(due)}; only those were rewritten: {_met(set(after) - kept == due)}"
    )
    as_paper = Request(clips, out, all_, overrides=("dataset.select=as_paper",))
    report("  selected as_paper", run_command("build", as_paper))


def measure_parts(count: int) -> None:
    """Near-duplicate search and selection, without reading or writing anything."""
    footage = list(_footage(count))
    started = time.process_time()
    near = find_near(footage, load_near_rules())
    seconds = time.process_time() - started
    wanted = count // A_COPY
    print(f"near-duplicates of {count} clips: {seconds:.1f} s CPU; ", end="")
    print(f"found {len(near.links) // 2} copies of {wanted}")

    choices = [
        Choice(f"{n:06}", label_of(n), Verdict.ACCEPT, has_text=True, quality=n % 97 / 97)
        for n in range(count)
    ]
    plan = load_selection("as_paper", load_label_space("merr9"))
    assert plan is not None
    started = time.process_time()
    chosen = select(choices, plan, 0)
    seconds = time.process_time() - started
    print(f"selection as_paper: {seconds:.2f} s CPU; {dict(Counter(chosen.of.values()))}")


def _footage(count: int) -> Iterator[Footage]:
    for number in range(count):
        pictures, sounds = (np.array(found, np.int64) for found in drawn_hashes(number))
        yield Footage(f"{number:06}", f"{number:064x}", pictures, sounds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=28_618)
    parser.add_argument("--added", type=int, default=100)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure_builds(Path(folder), given.count, given.added)
    measure_parts(given.count)


if __name__ == "__main__":
    main()
