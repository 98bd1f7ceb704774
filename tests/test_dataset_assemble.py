"""Assembly: a dataset that opens, that is whole at any moment, and that is not made twice."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
import yaml
from made_rows import MadeStore, made_clip, made_identities, made_jpeg, made_rows, not_ok
from PIL import Image

from merr_pipeline.dataset import folder
from merr_pipeline.dataset.assemble import assemble
from merr_pipeline.schema import ClipId, MerrError, Reason, Refusal
from merr_pipeline.settings import Settings, load_settings

pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """No hub, no progress bars, a cache of its own."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    datasets.disable_progress_bars()


def settings_with(*overrides: str) -> Settings:
    return load_settings(overrides=overrides, environment={})


class Made:
    """An output folder with a store beside it."""

    def __init__(self, out: Path, count: int = 30, *overrides: str) -> None:
        self.out, self.store = out, MadeStore()
        self.clips = [made_clip(i, source_id=f"show {i % 12}") for i in range(count)]
        self.store.add(*self.clips)
        self.settings = settings_with(*overrides)
        self.refused: list[Refusal] = []
        self.identities = made_identities()

    def assemble(self):
        return assemble(
            self.out, self.clips, self.store, self.refused, self.settings, self.identities
        )

    def table(self, subset: str) -> list[dict]:
        paths = sorted((self.out / "dataset" / subset).glob("*.parquet"))
        return [row for path in paths for row in pq.ParquetFile(path).read().to_pylist()]

    def ids(self, subset: str) -> list[str]:
        return [row["clip_id"] for row in self.table(subset)]

    def bytes(self) -> dict[str, str]:
        root = self.out / "dataset"
        return {
            path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in root.rglob("*")
            if path.is_file()
        }

    def inodes(self) -> dict[str, int]:
        root = self.out / "dataset"
        return {name: (root / name).stat().st_ino for name in self.bytes()}


@pytest.fixture
def made(tmp_path) -> Made:
    return Made(tmp_path / "out")


def load(made: Made, subset: str, **options):
    return datasets.load_dataset(str(made.out / "dataset"), subset, **options)


class TestOpens:
    def test_every_subset_loads_offline_with_the_splits_of_the_report(self, made):
        made.store.add(made.clips[3], moment={"face_coverage": 0.1})
        report = made.assemble()

        for subset in ("clips", "coarse", "fine"):
            loaded = load(made, subset)
            assert {split: len(loaded[split]) for split in loaded} == report.rows[subset]
        assert len(load(made, "rejected")["rejected"]) == 1
        assert report.accepted == 29

    def test_pictures_decode_to_what_the_moment_stage_wrote(self, made):
        made.assemble()

        row = load(made, "clips")["train"][0]

        wanted = Image.open(io.BytesIO(made_jpeg(f"{row['clip_id']} frame", 64)))
        assert row["peak_frame"].tobytes() == wanted.tobytes()
        assert row["face_crop"].size == (32, 32)

    def test_it_streams(self, made):
        made.assemble()

        rows = list(load(made, "clips", split="train", streaming=True))

        assert rows[0]["peak_frame"].size == (64, 64)
        assert [row["clip_id"] for row in rows] == load(made, "clips")["train"]["clip_id"][:]

    def test_clips_is_what_loads_when_no_name_is_given(self, made):
        made.assemble()

        loaded = datasets.load_dataset(str(made.out / "dataset"), split="train")

        assert "peak_frame" in loaded.features

    def test_values_arrive_as_they_were_measured(self, made):
        made.assemble()

        row = load(made, "clips")["train"][0]

        (trace,) = row["au_series"]["values"]
        stored = made.store.rows[row["clip_id"]]["moment"]["au_series"]["values"][0]
        assert trace["au"] == "AU12"
        assert trace["value"] == pytest.approx(stored["value"], abs=1e-6)
        assert row["head_pose"] == {"pitch_deg": 1.0, "yaw_deg": -2.0, "roll_deg": 0.0}
        assert row["prosody"]["snr_db"] == 15.0
        assert row["prosody"]["hnr_db"] is None

    def test_instructions_are_text_about_the_clips_of_the_same_shard(self, tmp_path):
        made = Made(tmp_path / "out", 60, "dataset.clips_per_shard=10")
        made.assemble()

        paths = sorted((made.out / "dataset" / "coarse").glob("*.parquet"))
        assert len(paths) == 8
        for path in paths:
            beside = made.out / "dataset" / "clips" / path.name
            ids = pq.ParquetFile(beside).read(["clip_id"])["clip_id"].to_pylist()
            records = pq.ParquetFile(path).read().to_pylist()
            assert ids == sorted(ids)
            assert list(dict.fromkeys(r["clip_id"] for r in records)) == ids
        assert {row["task"] for row in made.table("coarse")} == {"describe", "emotion", "sentiment"}
        assert {row["task"] for row in made.table("fine")} == {"reason"}
        roles = [message["role"] for message in made.table("fine")[0]["messages"]]
        assert roles == ["user", "assistant"]

    def test_a_coarse_caption_that_no_evidence_proves_stays_out_and_is_flagged(self, made):
        tone = {"tone": "a trembling voice"}
        made.store.add(made.clips[0], tone=tone)
        made.assemble()

        rows = {row["clip_id"]: row for row in made.table("clips")}
        dropped, kept = rows.pop(made.clips[0].clip_id), next(iter(rows.values()))
        assert (dropped["coarse_caption"], dropped["visual_expression"]) == (None, None)
        assert dropped["flags"][-1] == "dataset:ungrounded"
        assert "a raised pitch" in kept["coarse_caption"]
        assert "dataset:ungrounded" not in kept["flags"]
        described = {r["clip_id"] for r in made.table("coarse") if r["task"] == "describe"}
        assert described == set(rows)

    def test_a_subset_without_a_row_has_no_file_and_no_config(self, made):
        made.store.add(*made.clips, fine=not_ok("skipped", "no_evidence"))
        report = made.assemble()

        assert not (made.out / "dataset" / "fine").exists()
        assert "fine" not in report.rows
        assert [config["config_name"] for config in front_matter(made)["configs"]] == [
            *("clips", "coarse")
        ]
        assert made.assemble().unchanged

    def test_a_split_without_clips_has_no_file_and_no_entry(self, tmp_path):
        made = Made(tmp_path / "out", 6, "dataset.split_shares=[1.0, 0.0, 0.0]")
        made.assemble()

        assert list(load(made, "clips")) == ["train"]
        files = front_matter(made)["configs"][0]["data_files"]
        assert files == [{"split": "train", "path": "clips/train-*.parquet"}]

    def test_a_build_without_a_usable_clip_says_so(self, tmp_path):
        made = Made(tmp_path / "out", 2)
        made.store.add(*made.clips, face=not_ok("skipped", "no_face"))

        report = made.assemble()

        assert (report.accepted, report.rejected) == (0, 2)
        assert {row["reason"] for row in load(made, "rejected")["rejected"]} == {"no_face"}


class TestEveryClipOnce:
    def test_in_clips_or_in_rejected(self, made):
        made.store.add(made.clips[1], probe=not_ok("failed", "decode_error", "3 of 90 frames"))
        made.store.add(made.clips[2], face=not_ok("skipped", "no_face"))
        made.refused = [Refusal(ClipId("gone"), "gone.mp4", Reason.NOT_FOUND, "not there")]
        report = made.assemble()

        wanted = sorted([clip.clip_id for clip in made.clips] + ["gone"])
        assert sorted(made.ids("clips") + made.ids("rejected")) == wanted
        assert report.reasons == {"decode_error": 1, "no_face": 1, "not_found": 1}
        rejected = {row["clip_id"]: row for row in made.table("rejected")}
        assert rejected["clip_0001"] == {
            "clip_id": "clip_0001",
            "media_path": "media/clip_0001.mp4",
            "other_paths": [],
            "stage": "probe",
            "reason": "decode_error",
            "detail": "3 of 90 frames",
        }
        assert rejected["gone"]["stage"] == "manifest"

    def test_also_when_a_refused_row_repeats_the_id_of_a_clip(self, made):
        again = Refusal(ClipId("clip_0004"), "b.mp4", Reason.DUPLICATE_CONFLICT, "row 5")
        made.refused = [again, again]
        made.assemble()

        assert made.ids("rejected") == ["clip_0004#2", "clip_0004#3"]
        assert "clip_0004" in made.ids("clips")

    def test_and_two_clips_of_one_id_are_a_fault_that_writes_nothing(self, made):
        made.clips.append(made.clips[0])

        with pytest.raises(AssertionError, match="31 clips"):
            made.assemble()
        assert not (made.out / "dataset").exists()

    def test_a_clip_that_bridges_splits_is_rejected(self, made):
        made.clips[0] = made_clip(0, source_id="a", split="test")
        made.clips[1] = made_clip(1, source_id="a", split="train")
        made.store.add(*made.clips)
        made.assemble()

        (row,) = made.table("rejected")
        assert (row["clip_id"], row["stage"], row["reason"]) == (
            *("clip_0000", "dataset", "split_conflict"),
        )
        assert "clip_0001" in made.ids("clips")


class TestNotMadeTwice:
    def test_the_same_inputs_give_the_same_bytes_in_any_order(self, made, tmp_path):
        made.assemble()
        other = Made(tmp_path / "other")
        random.Random(1).shuffle(other.clips)
        other.assemble()

        assert other.bytes() == made.bytes()

    def test_another_process_writes_the_same_bytes(self, made):
        made.assemble()
        other = made.out.parent / "other"
        code = (
            "import sys; from pathlib import Path; from test_dataset_assemble import Made; "
            "Made(Path(sys.argv[1])).assemble()"
        )
        root = Path(__file__).parent
        environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": f"{root}:{root.parent}"}
        subprocess.run([sys.executable, "-c", code, str(other)], check=True, env=environment)

        assert Made(other).bytes() == made.bytes()

    def test_a_second_run_touches_nothing(self, made):
        made.store.add(made.clips[3], moment={"face_coverage": 0.1})
        first = made.assemble()
        before, inodes = made.bytes(), made.inodes()
        made.store.calls.clear()
        second = made.assemble()

        assert (first.unchanged, second.unchanged) == (False, True)
        assert (made.bytes(), made.inodes()) == (before, inodes)
        assert second.shards_written == 0
        assert second.rows == first.rows
        assert len(made.store.calls) == 1  # the first look; no picture was read

    def test_a_new_clip_makes_its_own_shard_again_and_links_the_others(self, tmp_path):
        made = Made(tmp_path / "out", 60, "dataset.clips_per_shard=10")
        made.assemble()
        inodes = made.inodes()
        splits = {row["clip_id"]: row["split"] for row in made.table("clips")}
        new = made_clip(999, source_id="show 1")
        made.clips.append(new)
        made.store.add(new)
        report = made.assemble()

        after = made.inodes()
        changed = {name for name in after if after[name] != inodes.get(name)}
        home = next(
            path.name
            for path in (made.out / "dataset" / "clips").glob("*.parquet")
            if "clip_0999" in pq.ParquetFile(path).read(["clip_id"])["clip_id"].to_pylist()
        )
        written = {f"{subset}/{home}" for subset in ("clips", "coarse", "fine")}
        assert changed == {*written, "README.md", "manifest.json"}
        assert (report.shards_written, report.unchanged) == (1, False)
        kept = {row["clip_id"]: row["split"] for row in made.table("clips")}
        assert {clip_id: kept[clip_id] for clip_id in splits} == splits
        assert kept["clip_0999"] == splits["clip_0001"]

    def test_a_clip_that_takes_anothers_place_in_fine_makes_the_others_shard_again(self, tmp_path):
        plan = "{limits: {happy: 1}, other_labels: 0, undecided: false, "
        plan += "verdicts: [accept], order: quality}"
        (tmp_path / "selection.yaml").write_text(f"plans: {{one: {plan}}}")
        own = (f"templates={tmp_path}", "dataset.select=one", "dataset.clips_per_shard=10")
        made = Made(tmp_path / "out", 60, *own)
        made.assemble()
        [before] = made.ids("fine")
        better = made_clip(999, source_id="show 1")
        made.clips.append(better)
        sources = ("manifest", "au_rules")
        agreed = [{"label": "happy", "score": 0.7, "source": source} for source in sources]
        sure = {"label": "happy", "label_candidates": agreed}
        made.store.add(better, label=sure, moment={"face_coverage": 1.0})
        report = made.assemble()
        anew = Made(tmp_path / "anew", 60, *own)
        anew.clips, anew.store = made.clips, made.store
        anew.assemble()

        assert made.ids("fine") == ["clip_0999"] != [before]
        assert report.fine_selection["chosen"] == 1
        assert made.bytes() == anew.bytes()

    @pytest.mark.parametrize("change", ["row", "fact", "identity", "setting"])
    def test_whatever_shapes_a_record_makes_it_again(self, made, change):
        made.assemble()
        before = made.bytes()
        if change == "row":
            made.store.add(made.clips[0], tone={"tone": "another pitch"})
        elif change == "fact":
            made.clips[0] = made_clip(0, source_id="show 0", licence="mit")
        elif change == "identity":
            made.identities["tone"] = made.identities["probe"]
        else:
            made.settings = settings_with("dataset.require_face_coverage=0.2")
        report = made.assemble()

        assert report.shards_written >= 1
        assert made.bytes() != before

    def test_a_damaged_shard_is_made_again(self, made):
        made.assemble()
        before = made.bytes()
        path = made.out / "dataset" / "coarse" / "train-00000-of-00001.parquet"
        path.write_bytes(path.read_bytes()[:-9] + b"012345678")
        report = made.assemble()

        assert report.shards_written == 1
        assert made.bytes() == before

    def test_pictures_are_read_once_some_clips_at_a_time_whatever_the_shards(
        self, tmp_path, monkeypatch
    ):
        monkeypatch.setattr("merr_pipeline.dataset.assemble.FULL_LOOK_SIZE", 16)
        made = Made(tmp_path / "out", 60, "dataset.clips_per_shard=10")
        made.assemble()

        (first, columns), *others = made.store.calls
        assert first == 60
        assert not {"peak_frame", "face_crop"} & set(columns["moment"])
        assert [count for count, _ in others] == [16, 16, 16, 12]
        assert {"peak_frame", "face_crop"} < set(others[0][1]["moment"])
        assert not (made.out / "dataset" / "aside").exists()

    def test_the_bytes_do_not_depend_on_how_many_clips_are_read_at_a_time(
        self, tmp_path, monkeypatch
    ):
        made = Made(tmp_path / "out", 60, "dataset.clips_per_shard=10")
        made.assemble()
        monkeypatch.setattr("merr_pipeline.dataset.assemble.FULL_LOOK_SIZE", 7)
        again = Made(tmp_path / "again", 60, "dataset.clips_per_shard=10")
        again.clips.reverse()
        again.assemble()

        assert again.bytes() == made.bytes()


ADDED = (900, 901, 902, 904)
SHARDS_OF_ADDED = {1, 4, 5}  # of eight, by the first bits of the sha256 of their ids
COPIED = 3  # lies in shard 5
SHARDS_OF_COPIES = {1, 5}


class TestAddedClips:
    """70 clips in eight shards, and what it costs to add some."""

    @pytest.fixture
    def made(self, tmp_path) -> Made:
        made = Made(tmp_path / "out", 0, "dataset.clips_per_shard=10")
        self.add(made, *range(70))
        report = made.assemble()
        assert (report.shards_written, report.shards_kept) == (8, 0)
        return made

    def add(self, made: Made, *numbers: int, **changes) -> None:
        for number in numbers:
            made.clips.append(made_clip(number, split="train"))
            made.store.add(made.clips[-1], **changes)

    def written(self, made: Made, before: dict[str, int]) -> set[int]:
        """Shards of which a file is another than before."""
        return {
            int(name.split("-")[1])
            for name, inode in made.inodes().items()
            if name.endswith(".parquet") and before.get(name) != inode
        }

    def test_only_the_shards_in_which_they_fall_are_written(self, made):
        before, bytes_before = made.inodes(), made.bytes()
        self.add(made, *ADDED)
        report = made.assemble()

        fallen = {
            int(hashlib.sha256(f"clip_{n:04}".encode()).hexdigest()[0], 16) // 2 for n in ADDED
        }
        assert self.written(made, before) == fallen == SHARDS_OF_ADDED
        assert (report.shards_written, report.shards_kept) == (3, 5)
        kept = {name for name in bytes_before if before[name] == made.inodes().get(name)}
        assert len([name for name in kept if name.endswith(".parquet")]) == 3 * 5

    def test_they_cost_the_same_bytes_as_if_they_had_always_been_there(self, made, tmp_path):
        self.add(made, *ADDED)
        made.assemble()
        anew = Made(tmp_path / "anew", 0, "dataset.clips_per_shard=10")
        self.add(anew, *range(70), *ADDED)
        anew.assemble()

        assert made.bytes() == anew.bytes()

    def test_a_copy_also_writes_the_shard_of_its_original_which_names_it(self, made):
        hashes = [int(hashlib.sha256(bytes([i])).hexdigest()[:15], 16) for i in range(8)]
        made.store.add(made.clips[COPIED], probe={"picture_hashes": hashes})
        made.assemble()
        before = made.inodes()
        self.add(made, ADDED[0], probe={"picture_hashes": hashes})
        report = made.assemble()

        assert self.written(made, before) == SHARDS_OF_COPIES
        assert (report.shards_written, report.shards_kept) == (2, 6)

    def test_one_too_many_doubles_the_shards_and_writes_all(self, made):
        self.add(made, *range(100, 111))
        report = made.assemble()

        assert (report.shards_written, report.shards_kept) == (16, 0)


class TestSplitsOfAnEarlierBuild:
    def test_stay_even_when_the_seed_changes(self, made):
        made.assemble()
        before = {row["clip_id"]: row["split"] for row in made.table("clips")}
        made.settings = settings_with("dataset.seed=5")
        made.assemble()

        assert {row["clip_id"]: row["split"] for row in made.table("clips")} == before

    def test_are_not_forgotten_in_silence(self, made):
        made.assemble()
        (made.out / "dataset" / "clips" / "train-00000-of-00001.parquet").write_bytes(b"torn")

        with pytest.raises(MerrError, match="splits of the earlier build"):
            made.assemble()


class Killed(BaseException):
    """Stands for kill -9."""


class TestKilled:
    """A kill leaves the old dataset or the new one, whole; the next run mends the rest."""

    @pytest.fixture
    def two_builds(self, tmp_path):
        """What the old and the new dataset look like, and a folder that holds the old one."""
        new = Made(tmp_path / "new", 12)
        new.store.add(new.clips[0], tone={"tone": "another pitch"})
        new.assemble()
        made = Made(tmp_path / "out", 12)
        made.assemble()
        old = made.bytes()
        made.store.add(made.clips[0], tone={"tone": "another pitch"})
        return made, old, new.bytes()

    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_the_swap_is_one_step_that_leaves_the_old_or_the_new_one(
        self, two_builds, monkeypatch, moment
    ):
        made, old, new = two_builds
        real = folder.exchange

        def killed(one, other):
            if moment == "after":
                assert real(one, other)
            raise Killed

        monkeypatch.setattr(folder, "exchange", killed)
        with pytest.raises(Killed):
            made.assemble()
        monkeypatch.undo()

        assert made.bytes() == (old if moment == "before" else new)
        folder.recover(made.out)
        assert [path.name for path in made.out.iterdir()] == ["dataset"]
        made.assemble()
        assert made.bytes() == new

    def test_a_link_in_its_place_is_told_of_before_anything_is_replaced(self, two_builds):
        made, old, _ = two_builds
        (made.out / "dataset").rename(made.out / "elsewhere")
        (made.out / "dataset").symlink_to("elsewhere")

        with pytest.raises(MerrError, match="dataset is a link"):
            made.assemble()
        assert made.bytes() == old

    @pytest.mark.parametrize("step", range(4))
    def test_at_any_step_of_the_swap_where_names_cannot_be_traded(
        self, two_builds, monkeypatch, step
    ):
        made, old, new = two_builds
        kill_at(monkeypatch, step)
        with pytest.raises(Killed):
            made.assemble()
        monkeypatch.undo()

        found = made.bytes() if (made.out / "dataset").exists() else None
        assert found == {0: old, 1: old, 2: None, 3: new}[step]
        folder.recover(made.out)
        assert made.bytes() == {0: old, 1: old, 2: new, 3: new}[step]
        assert [path.name for path in made.out.iterdir()] == ["dataset"]
        made.assemble()
        assert made.bytes() == new

    def test_between_the_renames_with_an_unfinished_successor_keeps_the_old_one(self, two_builds):
        made, old, _ = two_builds
        (made.out / "dataset").rename(made.out / ".dataset-old")
        (made.out / ".dataset-next").mkdir()
        folder.recover(made.out)

        assert made.bytes() == old

    def test_leftovers_of_a_half_built_dataset_are_cleaned(self, two_builds):
        made, _, new = two_builds
        (made.out / ".dataset-next" / "clips").mkdir(parents=True)
        (made.out / ".dataset-next" / "clips" / "train-00000-of-00001.parquet").write_bytes(b"half")
        made.assemble()

        assert made.bytes() == new

    def test_the_old_files_are_not_written_through_their_links(self, tmp_path):
        made = Made(tmp_path / "out", 60, "dataset.clips_per_shard=10")
        made.assemble()
        before = made.bytes()
        made.clips.append(made_clip(999))
        made.store.add(made.clips[-1])
        with pytest.MonkeyPatch.context() as patch:
            kill_at(patch, 0)
            with pytest.raises(Killed):
                made.assemble()

        assert made.bytes() == before


def kill_at(monkeypatch, step: int) -> None:
    """0: before the manifest; 1: before the renames; 2: between them; 3: after them."""

    def die(*_args, **_kwargs):
        raise Killed

    renames = []
    real = Path.rename
    monkeypatch.setattr(folder, "exchange", lambda *_names: False)

    def rename(self, target):
        renames.append(self.name)
        return die() if len(renames) == step else real(self, target)

    if step == 0:
        monkeypatch.setattr("merr_pipeline.dataset.draft.write_manifest", die)
    elif step == 3:
        monkeypatch.setattr("merr_pipeline.dataset.folder.shutil.rmtree", die)
    else:
        monkeypatch.setattr(Path, "rename", rename)


def test_a_folder_of_someone_else_is_left_alone(made):
    theirs = made.out / "dataset" / "theirs.txt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("precious")

    with pytest.raises(MerrError, match=r"no manifest\.json"):
        made.assemble()
    assert theirs.read_text() == "precious"


def test_where_files_cannot_be_linked_they_are_copied(tmp_path, monkeypatch):
    made = Made(tmp_path / "out", 60, "dataset.clips_per_shard=10")
    made.assemble()
    made.clips.append(made_clip(999))
    made.store.add(made.clips[-1])

    def refuse(*_args):
        raise OSError("links are not supported here")

    monkeypatch.setattr(os, "link", refuse)
    report = made.assemble()

    assert report.shards_kept > 3
    assert "clip_0999" in made.ids("clips")
    assert made.assemble().unchanged


class TestManifest:
    def test_names_every_file_with_its_rows_and_hash(self, made):
        made.assemble()

        manifest = json.loads((made.out / "dataset" / "manifest.json").read_text())

        found = made.bytes()
        assert {name: facts["sha256"] for name, facts in manifest["files"].items()} == {
            name: sha256 for name, sha256 in found.items() if name != "manifest.json"
        }
        clips = [f["rows"] for name, f in manifest["files"].items() if name.startswith("clips/")]
        assert sum(clips) == 30
        assert manifest["schema_version"] == "1.0"

    def test_names_no_time_no_host_and_no_path_of_the_machine(self, made):
        made.assemble()
        text = (made.out / "dataset" / "manifest.json").read_text()
        text += (made.out / "dataset" / "README.md").read_text()

        assert str(made.out.parent) not in text
        assert "/nowhere" not in text
        assert os.uname().nodename not in text


class TestCard:
    def test_front_matter_says_licences_languages_and_size(self, made):
        made.clips[0] = made_clip(0, source_id="show 0", licence="our own terms")
        made.clips[1] = made_clip(1, source_id="show 1", licence=None)
        made.store.add(made.clips[2], transcript={"text_language": "zh-CN"})
        made.assemble()

        front = front_matter(made)
        assert front["license"] == ["cc-by-4.0", "other", "unknown"]
        assert front["license_name"] == "per-clip"
        assert front["language"] == ["en", "zh"]
        assert front["size_categories"] == ["n<1K"]
        assert front["configs"][0]["default"] is True

    def test_counts_labels_by_split_and_inputs_left_out_by_reason(self, made):
        made.store.add(made.clips[0], label={**not_ok("skipped", "label_undecided"), "label": None})
        made.store.add(made.clips[1], face=not_ok("skipped", "no_face"))
        made.assemble()
        text = (made.out / "dataset" / "README.md").read_text()

        labels = [row["label"] for row in made.table("clips") if row["split"] == "train"]
        happy = next(line for line in text.splitlines() if line.startswith("| happy |"))
        assert happy.split("|")[2].strip() == str(labels.count("happy"))
        assert "| (undecided) |" in text
        assert "| face | no_face | 1 |" in text
        assert "29 clips of people" in text

    def test_names_the_tools_with_version(self, made):
        made.assemble()
        text = (made.out / "dataset" / "README.md").read_text()

        assert "profile `embedded`" in text
        assert "| voice | voice tool | 1.2 |" in text


def front_matter(made: Made) -> dict:
    text = (made.out / "dataset" / "README.md").read_text()
    return yaml.safe_load(text.split("---\n")[1])


def test_made_rows_fit_the_stage_schemas():
    rows = made_rows(made_clip(1))

    assert all(row["clip_id"] == "clip_0001" for row in rows.values())
