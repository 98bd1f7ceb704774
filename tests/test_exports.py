"""Exports: what each consumer's loader demands, read from its source (named in each module)."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tarfile
import wave
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from builds import merr
from datasets import load_dataset
from made_clips import at_rate, sine, write_clip
from made_rows import MadeStore, made_clip, made_identities, not_ok
from PIL import Image

from merr_pipeline.dataset.assemble import assemble
from merr_pipeline.exports import run
from merr_pipeline.exports.run import FORMATS, export
from merr_pipeline.exports.wanted import Media, Wanted, make_wanted
from merr_pipeline.schema import ClipId, MerrError
from merr_pipeline.settings import load_settings

TAGS = {"<image>": "images", "<video>": "videos", "<audio>": "audios"}


def label(name: str | None) -> dict[str, object]:
    return {"label": {"label": name, "label_source": "manifest" if name else None}}


def build(out: Path, **changes: dict[str, object]) -> Path:
    """Six clips: one without sound, one a still, one undecided, one in test; ids as people have."""
    media = out / "input" / "media"
    media.mkdir(parents=True)
    store, clips = MadeStore(), []
    names = ["a", "b c/d.1", "silent", "still", "undecided", "说话"]
    changes = {**label("happy"), **changes}
    for number, name in enumerate(names):
        suffix = ".png" if name == "still" else ".mp4"
        path = media / f"file{number}{suffix}"
        if name == "still":
            Image.new("RGB", (64, 48), (200, 10, 10)).save(path)
        else:
            tone = None if name == "silent" else sine(220, 0.2)
            write_clip(path, at_rate([40 + 20 * number] * 5), sound=tone)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        clip = replace(
            made_clip(number, split="test" if name == "说话" else "train", source_id=name),
            clip_id=ClipId(name),
            media_path=f"media/{path.name}",
            sha256=sha256,
        )
        rows = {
            "silent": {
                "probe": {"has_sound": False},
                "voice": not_ok("skipped", "no_audio_stream"),
                "transcript": not_ok("skipped", "no_transcript"),
            },
            "still": {"probe": {"kind": "still", "has_sound": False}},
            "undecided": {"label": not_ok("skipped", "label_undecided") | {"label": None}},
        }.get(name, {})
        store.add(clip, **{**changes, **rows})
        clips.append(clip)
    settings = load_settings(environment={})
    assemble(out, clips, store, [], settings, made_identities())
    return out


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("built"))


def wanted(out: Path, **more: object) -> Wanted:
    return replace(Wanted(clips=out / "input"), **more)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def folder(out, tmp_path_factory) -> Path:
    to = tmp_path_factory.mktemp("emotion") / "MERR"
    export("emotion-llama", out, to, wanted(out))
    return to


class TestEmotionLlama:
    def test_a_fine_record_has_the_keys_and_types_of_the_released_file(self, folder):
        records = json.loads((folder / "MERR_fine_grained.json").read_text("utf-8"))
        record = records["a"]

        assert record.pop("smp_reason_caption").startswith("In the video, the person's face")
        assert record == {
            "AU_list": ["AU12"],
            "visual_prior_list": ["Lip corner puller"],
            "audio_prior_list": "a raised pitch",
            "peak_index": "12",
            "peak_AU_list": ["AU12"],
            "pseu_emotion": "happy",
            "text": "words of a",
        }

    def test_a_coarse_record_has_a_caption_and_no_text(self, folder):
        records = json.loads((folder / "MERR_coarse_grained.json").read_text("utf-8"))

        assert set(records["a"]) == {
            *("AU_list", "visual_prior_list", "audio_prior_list", "peak_index", "peak_AU_list"),
            *("pseu_emotion", "caption"),
        }

    def test_its_loader_finds_label_words_and_film_of_every_line(self, folder):
        table = pd.read_csv(folder / "transcription_en_all.csv")
        for kind in ("coarse", "fine"):
            known = json.loads((folder / f"MERR_{kind}_grained.json").read_text("utf-8"))
            with (folder / f"MERR_{kind}_grained.txt").open(encoding="utf-8") as listed:
                parts = [line.strip().split(" ") for line in listed]
            assert len(parts) == len(known) == 5  # not the undecided one
            for name, frames, emotion in parts:
                assert (frames, emotion) == ("25", "happy")
                assert known[name]["pseu_emotion"] == "happy"
                sentence = table.loc[table["name"] == name, "sentence"].values[0]
                assert isinstance(sentence, str), "pandas reads a float: the model is told nan"
                assert (folder / "video" / f"{name}.mp4").is_file()

    def test_blanks_in_ids_are_no_new_columns(self, folder):
        listed = (folder / "MERR_fine_grained.txt").read_text("utf-8").splitlines()
        names = [line.split(" ")[0] for line in listed]

        assert "b_c/d.1" in names

    def test_ids_that_pandas_takes_for_numbers_get_a_word_before_them(self, out, tmp_path):
        from merr_pipeline.exports.emotion_llama import _names
        from merr_pipeline.exports.plan import Report

        assert _names(["0001", "0002"], Report()) == {"0001": "clip_0001", "0002": "clip_0002"}
        assert _names(["0001", "x"], Report()) == {"0001": "0001", "x": "x"}
        assert _names(["nan", "x"], Report()) == {"nan": "clip_nan", "x": "clip_x"}

    def test_a_label_outside_the_nine_is_an_error_that_names_it(self, tmp_path):
        out = build(tmp_path, **label("disgust"))

        with pytest.raises(MerrError, match=r"disgust \(\d clips\)") as told:
            export("emotion-llama", out, tmp_path / "to", wanted(out))

        assert "--without-label disgust" in str(told.value)
        assert not (tmp_path / "to").exists()


class TestChatFormats:
    def test_llama_factory_rows_have_a_tag_for_each_file_and_the_files_are_there(
        self, out, tmp_path
    ):
        export("llama-factory", out, tmp_path / "to", wanted(out))
        info = json.loads((tmp_path / "to" / "dataset_info.json").read_text("utf-8"))

        assert set(info) == {f"merr_{g}_{s}" for g in ("coarse", "fine") for s in ("train", "test")}
        rows = []
        for entry in info.values():
            found = json.loads((tmp_path / "to" / entry["file_name"]).read_text("utf-8"))
            used = {kind for kind in TAGS.values() if any(row[kind] for row in found)}
            assert set(entry["columns"]) == {"messages", *used}
            rows += found
        for row in rows:
            text = "".join(message["content"] for message in row["messages"])
            for tag, kind in TAGS.items():
                assert text.count(tag) == len(row[kind])
                assert all((tmp_path / "to" / path).is_file() for path in row[kind])
            assert [m["role"] for m in row["messages"]] == ["user", "assistant"]
        shapes = {tuple(len(row[kind]) for kind in TAGS.values()) for row in rows}
        assert shapes == {(0, 1, 1), (0, 1, 0), (1, 0, 0)}

    def test_the_sound_beside_a_copied_film_is_that_of_the_film(self, out, tmp_path):
        export("llama-factory", out, tmp_path / "to", wanted(out))

        with wave.open(str(tmp_path / "to" / "media" / "a.wav")) as sound:
            assert (sound.getframerate(), sound.getnchannels()) == (16_000, 1)
            assert 0.15 < sound.getnframes() / 16_000 < 0.4

    def test_a_tag_in_the_words_of_a_clip_stands_for_no_file(self, tmp_path):
        said = {"fine": {"fine_caption": 'The words are "<audio> and <video>".'}}
        out = build(tmp_path, **said)

        export("llama-factory", out, tmp_path / "to", wanted(out))

        (row, *_) = json.loads((tmp_path / "to" / "merr_fine_train.json").read_text("utf-8"))
        assert row["messages"][1]["content"] == 'The words are "‹audio› and ‹video›".'

    def test_ms_swift_asks_for_the_label_and_holds_it_as_solution(self, out, tmp_path):
        report = export("ms-swift", out, tmp_path / "to", wanted(out))
        plain = lines(tmp_path / "to" / "grpo-plain-train.jsonl")
        think = lines(tmp_path / "to" / "grpo-think-train.jsonl")

        assert {row["solution"] for row in plain + think} == {"happy"}
        assert all([m["role"] for m in row["messages"]] == ["user"] for row in plain + think)
        assert all("<think> </think>" in row["messages"][0]["content"] for row in think)
        assert not any("label" in row for row in plain + think), "a column of ms-swift's own"
        sft = lines(tmp_path / "to" / "sft-plain-train.jsonl")
        assert all(row["messages"][-1]["role"] == "assistant" for row in sft)
        assert "no sft-think" in report.notes[-1]

    def test_thinking_is_taught_by_texts_that_were_not_told_the_label(self, tmp_path):
        blind = {"fine": {"text_source": "llm_blind", "llm_label": "happy", "llm_confidence": 0.6}}
        out = build(tmp_path, **blind)

        export("ms-swift", out, tmp_path / "to", wanted(out))

        rows = lines(tmp_path / "to" / "sft-think-train.jsonl")
        assert len(rows) == 4  # of train, without the undecided
        for row in rows:
            answer = row["messages"][1]["content"]
            assert answer.startswith("<think>In the video, ")
            assert answer.endswith("</think>\n<answer>happy</answer>")

    def test_trl_rows_load_with_one_picture_for_each_image_part(self, out, tmp_path):
        export("trl", out, tmp_path / "to", wanted(out))
        path = tmp_path / "to" / "fine" / "train.parquet"

        rows = load_dataset(
            "parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache")
        )

        assert len(rows) == 5
        for row in rows:
            (asked,), (said,) = row["prompt"], row["completion"]
            kinds = [part["type"] for part in asked["content"]]
            assert kinds == ["image", "text"]
            assert [picture.size for picture in row["images"]] == [(64, 64)]
            assert [part["type"] for part in said["content"]] == ["text"]
        spoken = [row["prompt"][0]["content"][1]["text"] for row in rows]
        assert sum(text.startswith("The person in the video says: ") for text in spoken) == 4


class TestCommand:
    @pytest.mark.long
    def test_it_prints_what_it_wrote(self, out, tmp_path):
        told = merr(
            *("export", "trl", out, "--to", tmp_path / "to", "--no-images"),
            *("--subset", "fine", "--split", "train"),
        )

        assert told == f"{tmp_path}/to/fine/train.parquet: 5\n"

    @pytest.mark.long
    def test_an_error_is_exit_code_two_with_what_to_do(self, out, tmp_path):
        told = merr("export", "ms-swift", out, "--to", tmp_path / "to", code=2)

        assert "--clips FOLDER" in told
        assert "there is no export 'x'" in merr("export", "x", out, "--to", tmp_path / "to", code=2)


class TestWebDataset:
    def test_each_clip_is_one_sample_with_its_pictures_records_and_film(self, out, tmp_path):
        export("webdataset", out, tmp_path / "to", wanted(out))
        with tarfile.open(tmp_path / "to" / "train-000000.tar") as tar:
            members = {member.name: tar.extractfile(member).read() for member in tar}

        samples: dict[str, dict[str, bytes]] = {}
        for name, content in members.items():
            key, _, kind = name.partition(".")  # as the library splits it
            samples.setdefault(key, {})[kind] = content
        assert len(samples) == 5
        assert set(samples["b_c_d_1"]) == {"json", "jpg", "face.jpg", "mp4"}
        assert set(samples["still"]) == {"json", "jpg", "face.jpg", "png"}
        facts = json.loads(samples["b_c_d_1"]["json"])
        assert (facts["clip_id"], facts["label"]) == ("b c/d.1", "happy")
        assert {record["granularity"] for record in facts["records"]} == {"coarse", "fine"}
        assert samples["a"]["mp4"] == (out / "input" / "media" / "file0.mp4").read_bytes()

    def test_a_tar_holds_no_links(self, out, tmp_path):
        with pytest.raises(MerrError, match="links"):
            export("webdataset", out, tmp_path / "to", wanted(out, media=Media.LINK))
        assert not (tmp_path / "to").exists()


class TestMedia:
    def test_links_lead_to_the_clips_and_paths_name_them(self, out, tmp_path):
        export("llama-factory", out, tmp_path / "link", wanted(out, media=Media.LINK))
        export("llama-factory", out, tmp_path / "path", wanted(out, media=Media.PATH))
        film = out / "input" / "media" / "file0.mp4"

        assert (tmp_path / "link" / "media" / "a.mp4").readlink() == film
        (row, *_) = json.loads((tmp_path / "path" / "merr_fine_train.json").read_text("utf-8"))
        assert row["videos"] == row["audios"] == [str(film)]
        assert not (tmp_path / "path" / "media").exists()

    @pytest.mark.parametrize("name", FORMATS)
    def test_without_images_nothing_of_a_person_is_written(self, name, out, tmp_path):
        export(name, out, tmp_path / "to", Wanted(images=False))
        written = files(tmp_path / "to")

        assert not any(b"\xff\xd8\xff" in content for content in written.values())
        suffixes = {Path(file).suffix for file in written}
        assert suffixes <= {".json", ".jsonl", ".txt", ".csv", ".parquet", ".tar"}
        assert not any(
            tag.encode() in content
            for content in written.values()
            for tag in ("<video>", "<audio>")
        )

    @pytest.mark.parametrize("name", ["emotion-llama", "llama-factory", "ms-swift", "webdataset"])
    def test_missing_clips_are_named_and_counted_and_nothing_is_written(self, name, out, tmp_path):
        (tmp_path / "elsewhere").mkdir()

        with pytest.raises(MerrError, match=r"6 of 6 files are not in .*media/file"):
            export(name, out, tmp_path / "to", Wanted(clips=tmp_path / "elsewhere"))

        assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]

    def test_without_a_folder_of_clips_it_says_how_to_name_one(self, out, tmp_path):
        with pytest.raises(MerrError, match="--clips FOLDER"):
            export("ms-swift", out, tmp_path / "to", Wanted())


class TestFolder:
    @pytest.mark.parametrize("name", FORMATS)
    def test_the_same_dataset_gives_the_same_bytes(self, name, out, tmp_path):
        export(name, out, tmp_path / "one", wanted(out))
        export(name, out, tmp_path / "two", wanted(out))

        assert files(tmp_path / "one") == files(tmp_path / "two")

    def test_a_fault_in_the_middle_leaves_the_earlier_export(self, out, tmp_path, monkeypatch):
        export("trl", out, tmp_path / "to", wanted(out))
        before = files(tmp_path / "to")

        def breaks(folder: Path, *_: object) -> None:
            (folder / "half").write_text("half")
            raise OSError("no space left")

        monkeypatch.setitem(run.FORMATS, "trl", breaks)
        with pytest.raises(OSError, match="no space"):
            export("trl", out, tmp_path / "to", wanted(out))

        assert files(tmp_path / "to") == before
        assert [path.name for path in tmp_path.iterdir()] == ["to"]

    def test_a_folder_of_somebody_else_is_left_alone(self, out, tmp_path):
        (tmp_path / "mine.txt").write_text("mine")

        with pytest.raises(MerrError, match="no export has written it"):
            export("trl", out, tmp_path, wanted(out))

        assert files(tmp_path) == {"mine.txt": b"mine"}

    def test_an_earlier_export_is_replaced_as_a_whole(self, out, tmp_path):
        export("ms-swift", out, tmp_path / "to", wanted(out))
        export("trl", out, tmp_path / "to", wanted(out))

        assert set(files(tmp_path / "to")) == {
            "export.json",
            *(f"{g}/{s}.parquet" for g in ("coarse", "fine") for s in ("train", "test")),
        }

    def test_its_mark_holds_the_sha256_of_every_file(self, out, tmp_path):
        export("llama-factory", out, tmp_path / "to", wanted(out))
        written = files(tmp_path / "to")
        mark = json.loads(written.pop("export.json"))

        assert (
            mark["files"].items()
            >= {
                name: hashlib.sha256(content).hexdigest() for name, content in written.items()
            }.items()
        )
        assert mark["licences"] == ["cc-by-4.0"]

    def test_only_the_wanted_split_and_subset_is_written(self, out, tmp_path):
        asked = make_wanted(out / "input", "copy", True, ["test"], ["fine"], [])
        report = export("trl", out, tmp_path / "to", asked)

        assert report.rows == {"fine/test.parquet": 1}

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (lambda: make_wanted(None, "hardlink", True, [], [], []), "copy, link, path"),
            (lambda: make_wanted(None, "copy", True, ["dev"], [], []), "validation"),
            (lambda: make_wanted(None, "copy", True, [], ["medium"], []), "coarse, fine"),
        ],
    )
    def test_a_word_that_is_none_is_told_which_there_are(self, words: Callable, told: str):
        with pytest.raises(MerrError, match=told):
            words()

    def test_a_dataset_of_a_newer_major_schema_is_refused(self, tmp_path):
        out = build(tmp_path)
        path = out / "dataset" / "manifest.json"
        path.write_text(path.read_text().replace('"schema_version": "1.', '"schema_version": "2.'))

        with pytest.raises(MerrError, match="schema version 2"):
            export("trl", out, tmp_path / "to", wanted(out))


def test_the_transcripts_of_odd_words_are_read_as_they_were_said():
    from merr_pipeline.exports.emotion_llama import _MISSING, _transcripts

    said = {f"n{number}": text for number, text in enumerate(sorted(_MISSING))}
    found = pd.read_csv(io.StringIO(_transcripts(said)))["sentence"].tolist()

    assert [text.strip() for text in found] == list(said.values())
    assert len(list(csv.reader(io.StringIO(_transcripts({"a": 'x, "y"\nz'}))))) == 2
