"""How fast a finished dataset is read, each way beside the bare reading of its bytes.

::

    python benchmarks/loading.py [--clips 2000] [--rounds 5]

The dataset is made by code: ``clips`` with noisy JPEGs of 448 and 224 px, in eight shards, as a
build writes them. Every way runs in a process of its own, in turns over several rounds, for they
share a machine; the first round only warms up. Figures are medians; a ratio compares within its
round, so that a busy machine does not count. Where torch is installed its DataLoader runs too.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

WANTED = 1000  # clips a second, text and picture, on two cores
CORES = 2
SHARDS = 8
TEXT = ["clip_id", "label", "transcript", "coarse_caption", "fine_caption"]
PICTURE = "peak_frame"
PASSES = 3  # of ways that start processes, so that starting them counts less


# --- ways of loading: each goes once over all clips, and gives how many it saw ------------------


def read_bytes(dataset: Path) -> int:
    """All bytes of the shards, and nothing done with them; clips as the manifest counts them."""
    facts = json.loads((dataset / "manifest.json").read_text("utf-8"))["files"]
    for path in _shards(dataset):
        path.read_bytes()
    return sum(facts[f"clips/{path.name}"]["rows"] for path in _shards(dataset))


def pyarrow_table(dataset: Path) -> int:
    """Every column, pictures as bytes."""
    import pyarrow.parquet as pq

    return sum(len(pq.read_table(path, partitioning=None)) for path in _shards(dataset))


def pyarrow_text(dataset: Path) -> int:
    """The texts alone."""
    import pyarrow.parquet as pq

    return sum(
        len(pq.read_table(path, columns=TEXT, partitioning=None)) for path in _shards(dataset)
    )


def pandas_text_and_jpeg(dataset: Path) -> int:
    """Texts and the bytes of the peak frame."""
    import pandas as pd

    return sum(len(pd.read_parquet(path, columns=[*TEXT, PICTURE])) for path in _shards(dataset))


def duckdb_text(dataset: Path) -> int:
    """The texts alone, by SQL."""
    import duckdb

    query = f"SELECT {', '.join(TEXT)} FROM read_parquet(?)"
    with duckdb.connect() as connection:
        return len(connection.execute(query, [f"{dataset}/clips/*.parquet"]).fetchall())


def polars_text(dataset: Path) -> int:
    """The texts alone."""
    import polars as pl

    return len(pl.scan_parquet(f"{dataset}/clips/*.parquet").select(TEXT).collect())


def datasets_map_text(dataset: Path) -> int:
    """The texts, clip by clip, from the cache of `datasets`."""
    return sum(1 for _ in _loaded(dataset, streaming=False).select_columns(TEXT))


def datasets_map(dataset: Path) -> int:
    """Texts and the decoded peak frame, clip by clip, from the cache of `datasets`."""
    rows = _loaded(dataset, streaming=False).select_columns([*TEXT, PICTURE])
    return sum(_see(row[PICTURE]) for row in rows)


def datasets_stream(dataset: Path) -> int:
    """The same as a stream."""
    rows = _loaded(dataset, streaming=True, columns=[*TEXT, PICTURE])
    return sum(_see(row[PICTURE]) for row in rows)


def two_streams(dataset: Path) -> int:
    """The same as two streams in two processes, half of the shards each."""
    from multiprocessing import get_context

    rows = _loaded(dataset, streaming=True, columns=[*TEXT, PICTURE])
    with get_context("fork").Pool(CORES) as pool:
        seen = pool.map(_see_all, [rows.shard(CORES, number) for number in range(CORES)])
        pool.close()
        pool.join()
    return PASSES * sum(seen)


def torch_stream(dataset: Path) -> int:
    """The same by the DataLoader of torch, two workers; pictures stay with these."""
    from torch.utils.data import DataLoader

    rows = _loaded(dataset, streaming=True, columns=[*TEXT, PICTURE]).repeat(PASSES)
    rows = rows.map(_with_sight).remove_columns([PICTURE])
    return sum(1 for _ in DataLoader(rows, batch_size=None, num_workers=CORES))


def _see_all(rows: Iterable[Mapping[str, object]]) -> int:
    """All pictures, several times; how many there are."""
    return [sum(_see(row[PICTURE]) for row in rows) for _ in range(PASSES)][-1]


def _with_sight(row: Mapping[str, object]) -> dict[str, object]:
    return {"seen": _see(row[PICTURE])}


def _see(picture: object) -> int:
    """Decode all of it."""
    picture.load()  # type: ignore[attr-defined]
    return 1


def _loaded(dataset: Path, *, streaming: bool, **more: object):
    import datasets

    datasets.disable_progress_bars()
    return datasets.load_dataset(str(dataset), "clips", split="train", streaming=streaming, **more)


def _shards(dataset: Path) -> list[Path]:
    return sorted((dataset / "clips").glob("*.parquet"))


WAYS: dict[str, Callable[[Path], int]] = {
    way.__name__: way
    for way in (
        *(read_bytes, pyarrow_table, pyarrow_text, pandas_text_and_jpeg, duckdb_text, polars_text),
        *(datasets_map_text, datasets_map, datasets_stream, two_streams, torch_stream),
    )
}
TEXT_AND_PICTURE = ("datasets_map", "datasets_stream", "two_streams", "torch_stream")
NEEDS = {"duckdb_text": "duckdb", "polars_text": "polars", "torch_stream": "torch"}


# --- the dataset ---------------------------------------------------------------------------------


def write_dataset(folder: Path, clips: int) -> Path:
    """A dataset of ``train`` alone, as a build lays it out."""
    from merr_pipeline.dataset.draft import Draft, Shard
    from merr_pipeline.dataset.folder import CARD, DATASET, Manifest
    from merr_pipeline.dataset.shards import file_name, in_shards

    folder.mkdir()
    draft = Draft(folder, Manifest(""), "made")
    shards = in_shards([f"{number:06}" for number in range(clips)], -(-clips // SHARDS))
    for index, clip_ids in enumerate(shards):
        names = {"clips": file_name("clips", "train", index, len(shards))}
        rows = ({"clips": [_row(clip_id)]} for clip_id in clip_ids)
        draft.write(Shard(names, clip_ids, "train", ""), rows)
    config = "configs:\n- config_name: clips\n  data_files:\n"
    files = "  - {split: train, path: 'clips/train-*.parquet'}\n"
    draft.finish({CARD: f"---\n{config}{files}---\n"})
    return folder / DATASET


def _row(clip_id: str) -> dict[str, object]:
    """What loading has to carry: texts of the usual length, series of four seconds, pictures."""
    numbers = random.Random(clip_id)
    times = [round(i / 25, 3) for i in range(100)]
    series = [round(numbers.uniform(0, 5), 3) for _ in times]
    said = " ".join(numbers.choices(("we", "won", "lost", "the", "first", "prize", "today"), k=12))
    caption = f"A person who faces the camera. The voice: raised pitch. Saying: “{said}”"
    return {
        "clip_id": clip_id,
        "label": numbers.choice(("happy", "sad", "angry", "neutral")),
        "transcript": said,
        "coarse_caption": caption,
        "fine_caption": f"{caption} " * 4,
        "au_series": {
            "time_s": times,
            "values": [{"au": f"AU{n:02}", "value": series} for n in (1, 7, 12, 15, 25, 45)],
        },
        "peak_frame": {"bytes": _jpeg(numbers, 448, 336), "path": f"{clip_id}/peak_frame.jpg"},
        "face_crop": {"bytes": _jpeg(numbers, 224, 224), "path": f"{clip_id}/face_crop.jpg"},
    }


def _jpeg(numbers: random.Random, width: int, height: int) -> bytes:
    """Soft shapes and a little noise, which is about as long as a picture of a person."""
    import cv2
    import numpy as np

    drawn = np.random.default_rng(numbers.getrandbits(32))
    coarse = drawn.integers(0, 255, (6, 8, 3)).astype(np.uint8)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    noisy = picture + drawn.normal(0, 3, picture.shape)
    encoded = cv2.imencode(".jpg", np.clip(noisy, 0, 255).astype(np.uint8), (1, 90))
    return bytes(encoded[1])


# --- measuring -----------------------------------------------------------------------------------


def run_one(way: str, dataset: Path) -> None:
    """In a process of its own: go over it once for what is cached and imported, then measure."""
    WAYS[way](dataset)
    before = time.perf_counter(), _cpu_s()
    clips = WAYS[way](dataset)
    print(json.dumps([clips, time.perf_counter() - before[0], _cpu_s() - before[1]]))


def _cpu_s() -> float:
    """Of this process and of those that it has seen end."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = [resource.getrusage(kind) for kind in kinds]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measured(way: str, dataset: Path, cache: Path) -> tuple[float, float]:
    """Clips a second by the clock, and CPU milliseconds a clip, children's too."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(cache)}
    done = subprocess.run(
        [sys.executable, __file__, "--way", way, "--dataset", dataset],
        env=os.environ | offline,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    clips, wall_s, cpu_s = json.loads(done.stdout.splitlines()[-1])
    return clips / wall_s, 1000 * cpu_s / clips


def rounds(dataset: Path, cache: Path, count: int) -> Iterator[dict[str, tuple[float, float]]]:
    """All ways in turns."""
    ways = [way for way in WAYS if importlib.util.find_spec(NEEDS.get(way, "json"))]
    for _ in range(count):
        yield {way: measured(way, dataset, cache) for way in ways}


def report(every: list[dict[str, tuple[float, float]]]) -> None:
    """Medians, and whether what was promised holds."""
    print(f"{'':24}{'clips/s':>10}{'of reading bytes':>18}{'CPU ms a clip':>15}")
    for way in every[0]:
        ratio = statistics.median(found[way][0] / found["read_bytes"][0] for found in every)
        cpu_ms = statistics.median(found[way][1] for found in every)
        print(f"{way:24}{_by_clock(every, way):10.0f}{ratio:17.2%} {cpu_ms:14.2f}", end="")
        if way in TEXT_AND_PICTURE:
            print(f"   by CPU time on {CORES} cores {_by_cpu(every, way):.0f} clips/s", end="")
        print()
    for name, what in (("by CPU time", _by_cpu), ("by the clock", _by_clock)):
        best = max(what(every, way) for way in TEXT_AND_PICTURE if way in every[0])
        met = "yes" if best >= WANTED else "NO"
        print(f"text and 448 px picture at {WANTED} clips/s on {CORES} cores, {name}: ", end="")
        print(f"{met} ({best:.0f})")
    print(f"(load {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores)")


def _by_clock(every: list[dict[str, tuple[float, float]]], way: str) -> float:
    return statistics.median(found[way][0] for found in every)


def _by_cpu(every: list[dict[str, tuple[float, float]]], way: str) -> float:
    """Clips a second if both cores were free for it alone."""
    return 1000 * CORES / statistics.median(found[way][1] for found in every)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--dataset", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        run_one(given.way, given.dataset)
        return
    with tempfile.TemporaryDirectory() as folder:
        dataset = write_dataset(Path(folder, "out"), given.clips)
        size_kb = sum(path.stat().st_size for path in _shards(dataset)) / given.clips / 1000
        print(f"{given.clips} clips of {size_kb:.0f} kB in {len(_shards(dataset))} shards")
        report(list(rounds(dataset, Path(folder, "cache"), given.rounds)))


if __name__ == "__main__":
    main()
