"""A person is taken out of an output folder, and nothing of them is left or comes back."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builds import merr
from datasets import load_dataset
from small_builds import build_here, cut_sample

from merr_pipeline.dataset.folder import read_manifest
from merr_pipeline.dataset.validate import validate
from merr_pipeline.llm.cache import AnswerCache
from merr_pipeline.llm.prices import Usage
from merr_pipeline.schema import Clip, MerrError
from merr_pipeline.takedown.record import RECORD, read_record
from merr_pipeline.takedown.remove import take_down
from merr_pipeline.takedown.search import leftovers
from merr_pipeline.takedown.wanted import Taken, Wanted, find_taken

PEOPLE = {"smile": "ann", "surprise": "bea", "neutral": "bea"}


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Three clips of two speakers, one of which has no bytes, and a copy of the first."""
    clips = tmp_path_factory.mktemp("clips")
    for name in PEOPLE:
        cut_sample(clips, name)
    shutil.copy(clips / "smile.mp4", clips / "smile again.mp4")
    (clips / "empty.mp4").write_bytes(b"")
    with (clips / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "clip_id", "speaker_id", "source_id"])
        rows.writerows([f"{name}.mp4", name, who, f"{who}-film"] for name, who in PEOPLE.items())
        rows.writerow(["smile again.mp4", "smile again", "ann", "ann-film"])
        rows.writerow(["empty.mp4", "empty", "cleo", "cleo-film"])
    return clips


@pytest.fixture(scope="module")
def built(clips, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out")
    build_here(clips, out, "dataset.require_words_or_voice=false", manifest=clips / "manifest.csv")
    return out


@pytest.fixture
def out(built, tmp_path) -> Path:
    """The build's output, with an answer, a raw file and a report for a clip."""
    out = tmp_path / "out"
    shutil.copytree(built, out)
    cache = AnswerCache(out / "cache" / "llm.sqlite")
    for name in ("smile", "neutral"):
        clip = Clip(name, Path(name), f"{name}.mp4", hash_of(out, name))
        cache.put(f"key of {name}", "toy", f"what was said of {name}", Usage(1, 1), clip)
    cache.close()
    (out / "cache" / "openface").mkdir()
    (out / "cache" / "openface" / f"{hash_of(out, 'smile')}-0.csv.gz").write_bytes(b"raw")
    (out / "report.html").write_text("a picture of everybody")
    (out / "annotations" / "face" / "damaged-1-part-0.parquet").write_bytes(b"broken")
    return out


def table(out: Path, subset: str, *columns: str) -> list[dict]:
    files = sorted((out / "dataset" / subset).glob("*.parquet"))
    tables = (pq.read_table(path, columns=list(columns) or None) for path in files)
    return [row for table in tables for row in table.to_pylist()]


def hash_of(out: Path, clip_id: str) -> str:
    rows = table(out, "clips", "clip_id", "sha256")
    return next(row["sha256"] for row in rows if row["clip_id"] == clip_id)


def ids(out: Path, subset: str) -> set[str]:
    return {row["clip_id"] for row in table(out, subset, "clip_id")}


def stored(out: Path) -> dict[str, set[str]]:
    return {
        folder.name: {
            name
            for path in folder.glob("part-*.parquet")
            for name in pq.read_table(path, columns=["clip_id"], partitioning=None)[0].to_pylist()
        }
        for folder in (out / "annotations").iterdir()
    }


def test_a_clip_is_gone_from_every_file(out):
    sha256 = hash_of(out, "smile")
    before = read_manifest(out / "dataset")

    removal = take_down(out, Wanted(frozenset({"smile"})))

    assert removal.left == []
    assert removal.taken == Taken(
        frozenset({"smile"}), frozenset({sha256}), frozenset({"smile.mp4", "smile again.mp4"})
    )
    assert ids(out, "clips") == ids(out, "coarse") == ids(out, "fine") == {"surprise", "neutral"}
    assert all("smile" not in names and "neutral" in names for names in stored(out).values())
    assert (removal.store_rows, removal.answers, removal.files) == (9, 1, 2)
    assert not list(out.rglob("damaged-*"))
    assert not (out / "report.html").exists()
    assert not list((out / "cache" / "openface").iterdir())
    assert not [path for path in out.rglob("*") if path.is_file() and _holds(path, sha256)]
    assert "smile.mp4" not in (out / "cache" / "hashes.json").read_text()
    changed = read_manifest(out / "dataset")
    assert changed.config_hash == before.config_hash
    assert validate(out) == []


def _holds(path: Path, sha256: str) -> bool:
    return sha256.encode() in path.read_bytes()


def test_what_is_kept_of_it_names_nobody(out):
    take_down(out, Wanted(frozenset({"smile"})))
    take_down(out, Wanted(frozenset({"neutral"})))

    kept = json.loads((out / RECORD).read_text())
    assert len(kept["removed"]) == 2
    assert not any(name in (out / RECORD).read_text() for name in ("smile", "ann", "neutral"))


def test_a_speaker_goes_with_all_clips_and_the_split_without_rows_with_its_files(out):
    removal = take_down(out, Wanted(speaker_ids=frozenset({"bea"})))

    assert removal.taken.clip_ids == {"surprise", "neutral"}
    assert ids(out, "clips") == {"smile"}
    assert validate(out) == []
    loaded = load_dataset(str(out / "dataset"), "clips", split="train", cache_dir=str(out / "c"))
    assert loaded["clip_id"] == ["smile"]
    take_down(out, Wanted(source_ids=frozenset({"ann-film"})))
    assert list((out / "dataset").glob("clips/*")) == []


def test_a_rejected_clip_can_be_taken_down_too(out):
    take_down(out, Wanted(frozenset({"empty"})))

    assert ids(out, "rejected") == set()
    assert ids(out, "clips") == set(PEOPLE)
    (summary,) = (json.loads(path.read_text()) for path in out.glob("runs/*.json"))
    assert summary["failures"] == []
    assert summary["rejected"] == 1


def test_the_same_footage_goes_along_where_that_is_asked(out):
    path = next((out / "dataset" / "clips").glob("*.parquet"))
    rows = pq.read_table(path).to_pylist()
    near = {"smile": "neutral", "neutral": "smile"}
    for row in rows:
        others = [near[row["clip_id"]]] if row["clip_id"] in near else []
        row["near_duplicates"] = [{"clip_id": other, "by": "sound"} for other in others]
    schema = pq.read_schema(path)

    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)

    assert find_taken(out, Wanted(frozenset({"smile"}))).clip_ids == {"smile"}
    assert find_taken(out, Wanted(frozenset({"smile"}), copies=True)).clip_ids == set(near)
    take_down(out, Wanted(frozenset({"smile"})))
    named = {row["clip_id"]: row["near_duplicates"] for row in table(out, "clips")}
    assert named == {"neutral": [], "surprise": []}


def test_a_build_over_the_same_inputs_refuses_it_and_names_nobody(out, clips):
    take_down(out, Wanted(frozenset({"smile"})))

    summary, said = build_here(
        clips, out, "dataset.require_words_or_voice=false", manifest=clips / "manifest.csv"
    )

    assert ids(out, "clips") == {"surprise", "neutral"}
    rejected = {row["clip_id"]: row["reason"] for row in table(out, "rejected")}
    assert rejected == {"empty": "empty_file", "taken_down_1": "taken_down"}
    assert "smile" not in said
    assert summary.made == {}
    assert validate(out) == []


def test_validate_tells_of_one_that_came_back(out, built):
    take_down(out, Wanted(frozenset({"smile"})))
    shutil.rmtree(out / "dataset")
    shutil.copytree(built / "dataset", out / "dataset")

    assert {problem.what for problem in validate(out)} == {"holds a clip that was taken down"}


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted(), "Say whom to take down"),
        (Wanted(frozenset({"smlie"})), "no clip here is called smlie. Did you mean smile?"),
        (Wanted(speaker_ids=frozenset({"ann", "zoe"})), "no speaker here is called zoe"),
        (Wanted(source_ids=frozenset({"x"})), "Nothing was removed."),
    ],
)
def test_a_name_that_is_not_there_is_told_and_nothing_is_removed(out, wanted, said):
    with pytest.raises(MerrError, match=said):
        take_down(out, wanted)
    assert ids(out, "clips") == set(PEOPLE)
    assert not (out / RECORD).exists()


@pytest.mark.long
def test_the_command_tells_what_is_gone_and_refuses_a_folder_without_a_build(out, tmp_path):
    said = merr("takedown", out, "--clip-id", "smile", "--source-id", "bea-film")
    assert "3 clips: " in said
    assert "Their media files are yours to delete" in said

    (tmp_path / "other").mkdir()
    assert "holds no build" in merr("takedown", tmp_path / "other", "--clip-id", "a", code=2)


def test_the_search_finds_what_is_left(out):
    taken = find_taken(out, Wanted(frozenset({"neutral"})))
    found = leftovers(out, taken)

    assert "dataset/clips/train-00000-of-00001.parquet: column clip_id" in found
    assert any(name.startswith("annotations/fine/") for name in found)
    assert {"cache/hashes.json", "cache/llm.sqlite"} <= set(found)


def test_a_damaged_record_stops_a_build_and_says_what_to_do(out):
    (out / RECORD).write_text("{")
    with pytest.raises(MerrError, match="it says who must not come back"):
        read_record(out)
