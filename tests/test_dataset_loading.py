"""A finished dataset of several shards, read as users read it, by the tools that they have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import datasets
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.dataset as arrow_dataset
import pyarrow.parquet as pq
import pytest
from made_clips import at_rate, texture, write_clip
from openface_builds import FRAMES, overrides, write_corpus
from small_builds import build_here

from merr_pipeline.dataset.shards import shard_index
from merr_pipeline.dataset.validate import validate

FACES = {"smile": "happy", "grief": "sad", "still": "neutral"}
SPLITS = {"train": 32, "validation": 3, "test": 5}
SHARDS = {"train": 8, "validation": 1, "test": 2}  # of four clips on average
WIDE = "clip_00"  # 896 x 672; the others are 320 x 240

LOAD = """
import json, socket, sys
import datasets

def nowhere(*args):
    raise OSError("no network here")

socket.socket.connect = socket.getaddrinfo = nowhere
found = {}
for name in datasets.get_dataset_config_names(sys.argv[1]):
    mapped = datasets.load_dataset(sys.argv[1], name)
    streamed = datasets.load_dataset(sys.argv[1], name, streaming=True)
    first = next(iter(mapped))
    key = "record_id" if "record_id" in mapped[first].features else "clip_id"
    found[name] = {
        "rows": {split: len(rows) for split, rows in mapped.items()},
        "same": all(
            [row[key] for row in streamed[split]] == rows[key][:]
            for split, rows in mapped.items()
        ),
        "streamed": list(streamed),
    }
print(json.dumps(found))
"""


def corpus() -> list[dict[str, str]]:
    """40 clips: every third without words, every seventh without a label."""
    faces = list(FACES)
    clips = []
    for number, split in enumerate(s for s, count in SPLITS.items() for _ in range(count)):
        face = faces[number % 3]
        clip = {"clip_id": f"clip_{number:02}", "face": face, "split": split, "language": "en"}
        clip |= {"label": FACES[face]} if number % 7 else {}
        clip |= {"transcript": f'He said "{number}", naïvely: 你好。'} if number % 3 else {}
        clips.append(clip)
    return clips


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """The dataset of a real build, with one file that is no clip."""
    folder = write_corpus(tmp_path_factory.mktemp("loading"), corpus())
    wide = at_rate([texture(99, 896, 672)] * FRAMES)
    write_clip(folder / "clips" / f"{WIDE}.mp4", wide)
    (folder / "clips" / "broken.mp4").write_bytes(b"no video at all")
    with (folder / "manifest.csv").open("a") as manifest:
        manifest.write("broken,broken.mp4,,,,\n")
    told = overrides(folder, "dataset.clips_per_shard=4")
    build_here(folder / "clips", folder / "out", *told, manifest=folder / "manifest.csv")
    assert validate(folder / "out", folder / "clips") == []
    return folder / "out" / "dataset"


@pytest.fixture(scope="module")
def rows(dataset) -> dict[str, dict]:
    """The rows of ``clips`` by id, as Parquet has them."""
    tables = (pq.read_table(path, partitioning=None) for path in dataset.glob("clips/*.parquet"))
    return {row["clip_id"]: row for table in tables for row in table.to_pylist()}


@pytest.fixture
def load(dataset, tmp_path, monkeypatch):
    """``load_dataset`` of this dataset, without the hub."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    datasets.disable_progress_bars()
    return lambda name, **more: datasets.load_dataset(str(dataset), name, **more)


def test_every_config_opens_without_a_network_as_a_map_and_as_a_stream(dataset, tmp_path):
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(dataset)],
        capture_output=True,
        text=True,
        env=os.environ | offline,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    manifest = json.loads((dataset / "manifest.json").read_text("utf-8"))["files"]
    written: dict[str, Counter[str]] = {}
    for name, facts in manifest.items():
        subset, _, file = name.partition("/")
        if facts["rows"] is not None:
            written.setdefault(subset, Counter())[file.partition("-")[0]] += facts["rows"]
    assert written.pop("rejected") == {"all": 1}
    assert found.pop("rejected")["rows"] == {"rejected": 1}
    assert {name: one["rows"] for name, one in found.items()} == written
    assert found["clips"]["rows"] == SPLITS
    assert all(one["same"] for one in found.values())
    assert found["clips"]["streamed"] == ["train", "validation", "test"]


def test_pictures_decode_to_their_size(load):
    sizes = {
        (row["clip_id"] == WIDE, row["peak_frame"].size, row["face_crop"].size)
        for way in (load("clips"), load("clips", streaming=True))
        for part in way.values()
        for row in part
    }
    assert sizes == {(True, (448, 336), (224, 224)), (False, (320, 240), (224, 224))}


def test_shard_k_of_coarse_and_fine_holds_exactly_the_clips_of_shard_k(dataset):
    merged = []
    for split, count in SHARDS.items():
        for k in range(count):
            name = f"{split}-{k:05}-of-{count:05}.parquet"
            clips, coarse, fine = (
                pq.read_table(dataset / subset / name, partitioning=None).to_pylist()
                for subset in ("clips", "coarse", "fine")
            )
            ids = [row["clip_id"] for row in clips]
            assert {shard_index(clip_id, count) for clip_id in ids} <= {k}
            assert ids == sorted(ids)
            for records, texts in ((coarse, "coarse_caption"), (fine, "fine_caption")):
                expected = [row["clip_id"] for row in clips if row[texts]]
                assert list(dict.fromkeys(one["clip_id"] for one in records)) == expected
            merged += ids
    assert len(list(dataset.glob("clips/*.parquet"))) == sum(SHARDS.values())
    assert sorted(merged) == [clip["clip_id"] for clip in corpus()]


# --- other readers ---------------------------------------------------------------------------


def plain(value: object) -> object:
    """As Python has it: arrays as lists, all the way down; NaN, which is pandas' null, as None."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list | np.ndarray):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if value is None or value is pd.NA or value != value else value


def assert_equal(found: list[dict], rows: dict[str, dict]) -> None:
    """Whatever columns were read: each row once, with the values that were written."""
    assert sorted(row["clip_id"] for row in found) == sorted(rows)
    for row in found:
        expected = {name: rows[row["clip_id"]][name] for name in row}
        assert plain(row) == plain(expected)


def test_pandas_reads_every_column(dataset, rows):
    tables = [pd.read_parquet(path) for path in sorted(dataset.glob("clips/*.parquet"))]
    assert_equal(pd.concat([t for t in tables if len(t)]).to_dict("records"), rows)


def test_pyarrow_reads_all_shards_as_one_table(dataset, rows):
    table = arrow_dataset.dataset(dataset / "clips", format="parquet")
    assert_equal(table.to_table().to_pylist(), rows)

    sad = table.to_table(["clip_id"], filter=arrow_dataset.field("label") == "sad")
    assert set(sad["clip_id"].to_pylist()) == {
        name for name, row in rows.items() if row["label"] == "sad"
    }


def test_duckdb_reads_equal_values(dataset, rows):
    with duckdb.connect() as connection:
        query = connection.execute("SELECT * FROM read_parquet(?)", [f"{dataset}/clips/*.parquet"])
        names = [column[0] for column in query.description]
        found = [dict(zip(names, row, strict=True)) for row in query.fetchall()]
        counts = connection.execute(
            "SELECT split, count(*) FROM read_parquet(?) GROUP BY split",
            [f"{dataset}/clips/*.parquet"],
        ).fetchall()

    assert_equal(found, rows)
    assert dict(counts) == SPLITS


def test_polars_reads_equal_values(dataset, rows):
    table = pl.read_parquet(f"{dataset}/clips/*.parquet")

    assert_equal(table.to_dicts(), rows)
    assert dict(table.group_by("split").len().iter_rows()) == SPLITS


# --- training --------------------------------------------------------------------------------


@pytest.mark.extras
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes:UserWarning")
def test_four_loaders_of_torch_see_each_clip_once(load):
    data = pytest.importorskip("torch.utils.data", reason="the extra hf is not installed")
    stream = load("clips", split="train", streaming=True)
    assert stream.num_shards == SHARDS["train"]

    loader = data.DataLoader(stream, batch_size=None, num_workers=4)
    seen = [(row["clip_id"], row["peak_frame"].size) for row in loader]

    assert Counter(name for name, _ in seen) == dict.fromkeys(
        (clip["clip_id"] for clip in corpus() if clip["split"] == "train"), 1
    )
    assert dict(seen)[WIDE] == (448, 336)
