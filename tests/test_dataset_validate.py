"""``validate``: a whole dataset has no problem, and each thing that breaks is named."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from made_rows import MadeStore, made_clip, made_identities

from merr_pipeline.dataset.assemble import assemble
from merr_pipeline.dataset.folder import FileFacts, read_manifest, sha256_of
from merr_pipeline.dataset.shards import SubsetWriter
from merr_pipeline.dataset.validate import validate
from merr_pipeline.schema import MerrError, Row
from merr_pipeline.settings import load_settings
from merr_pipeline.templates import shipped_folder

CLIPS = "clips/train-00000-of-00001.parquet"
COARSE = "coarse/train-00000-of-00001.parquet"
FINE = "fine/train-00000-of-00001.parquet"


@pytest.fixture
def out(tmp_path) -> Path:
    """A dataset of eight clips, all in train but one that is given to test; one rejected."""
    return a_dataset(tmp_path)


def a_dataset(tmp_path: Path, *overrides: str) -> Path:
    media = tmp_path / "input" / "media"
    media.mkdir(parents=True)
    clips = []
    for number in range(9):
        facts = {"source_id": f"show {number}", "split": "test" if number == 7 else "train"}
        clip = made_clip(number, **facts)
        path = media / f"{clip.clip_id}.mp4"
        path.write_bytes(f"film {number}".encode())
        clips.append(replace(clip, sha256=hashlib.sha256(path.read_bytes()).hexdigest()))
    store = MadeStore()
    store.add(*clips)
    store.add(clips[8], moment={"face_coverage": 0.0})
    settings = load_settings(overrides=overrides, environment={})
    assemble(tmp_path, clips, store, [], settings, made_identities())
    return tmp_path


def problems(out: Path, media_root: Path | None = None) -> list[str]:
    return [str(problem) for problem in validate(out, media_root)]


def rewrite(out: Path, name: str, change: Callable[[list[Row]], object]) -> None:
    """Write a file anew, as a faulty build would: the manifest agrees with it."""
    import pyarrow.parquet as pq

    dataset = out / "dataset"
    manifest = read_manifest(dataset)
    assert manifest is not None
    rows = pq.ParquetFile(dataset / name).read().to_pylist()
    change(rows)
    with SubsetWriter(dataset / name, name.partition("/")[0], manifest.config_hash) as writer:
        writer.add(rows)
    facts = FileFacts(sha256_of(dataset / name), len(rows), manifest.files[name].shard_key)
    changed = replace(manifest, files={**manifest.files, name: facts})
    (dataset / "manifest.json").write_text(changed.to_json())


def only(found: list[str], *parts: str) -> None:
    """One problem, which says all of this."""
    assert len(found) == 1, found
    for part in parts:
        assert part in found[0]


def test_texts_are_read_by_the_templates_that_lie_in_the_dataset(out):
    lexicon = out / "dataset" / "templates" / "grounding_lexicon.yaml"
    assert lexicon.read_bytes() == (shipped_folder() / lexicon.name).read_bytes()

    lexicon.write_text("not a lexicon")

    with pytest.raises(MerrError, match=r"grounding_lexicon\.yaml"):
        problems(out)


def test_a_whole_dataset_has_no_problem(out):
    assert problems(out) == []
    assert problems(out, out / "input") == []


class TestFiles:
    def test_no_dataset(self, tmp_path):
        only(problems(tmp_path), "dataset: there is none", "Run `merr build`")

    def test_a_swap_cut_short(self, out):
        (out / "dataset").rename(out / ".dataset-old")

        only(problems(out), "stopped while it swapped", "it finishes the swap")

    def test_a_manifest_of_something_else(self, out):
        (out / "dataset" / "manifest.json").write_text('{"name": "app"}')

        only(problems(out), "manifest.json", "no manifest of a merr dataset")

    def test_an_older_schema(self, out):
        path = out / "dataset" / "manifest.json"
        path.write_text(
            path.read_text().replace('"schema_version": "1.0"', '"schema_version": "0"')
        )

        only(problems(out), "schema version 0", "1.0")

    def test_a_file_that_is_gone(self, out):
        (out / "dataset" / FINE).unlink()

        found = problems(out)
        assert f"{FINE}: is in the manifest, but not there" in found[0]
        assert any("names fine/train-*.parquet, which is not there" in line for line in found)

    @pytest.mark.parametrize("name", [CLIPS, COARSE, "README.md", "templates/tone_words.yaml"])
    def test_a_flipped_byte(self, out, name):
        path = out / "dataset" / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(bytes(content))

        assert f"{name}: its bytes are not those of the manifest's sha256" in problems(out)[0]

    def test_a_stray_file(self, out):
        stray = out / "dataset" / "clips" / "train-00001-of-00002.parquet"
        stray.write_bytes((out / "dataset" / CLIPS).read_bytes())

        only(problems(out), stray.name, "is not in the manifest", "Delete it")

    def test_a_manifest_with_other_row_counts(self, out):
        path = out / "dataset" / "manifest.json"
        manifest = read_manifest(out / "dataset")
        facts = replace(manifest.files[CLIPS], rows=70)
        path.write_text(replace(manifest, files={**manifest.files, CLIPS: facts}).to_json())

        assert "holds 7 rows, the manifest says 70" in problems(out)[0]

    def test_files_of_another_configuration(self, out):
        path = out / "dataset" / "manifest.json"
        path.write_text(replace(read_manifest(out / "dataset"), config_hash="other").to_json())

        found = problems(out)
        assert sum("columns or schema keys" in line for line in found) == 7

    def test_a_card_that_does_not_name_a_subset(self, out):
        path = out / "dataset" / "README.md"
        path.write_text(path.read_text().replace("coarse/train-*.parquet", "fine/train-*.parquet"))

        assert any(f"README.md: does not name {COARSE}" in line for line in problems(out))


class TestRows:
    def test_a_clip_that_is_also_rejected(self, out):
        rejected = {"clip_id": "clip_0001", "stage": "face", "reason": "no_face"}
        rewrite(
            out,
            "rejected/all-00000-of-00001.parquet",
            lambda rows: rows.append({**rows[0], **rejected}),
        )

        only(problems(out), "rejected/", "clip_0001", f"is in {CLIPS} too")

    def test_a_clip_that_is_there_twice(self, out):
        rewrite(out, CLIPS, lambda rows: rows.insert(1, rows[0]))

        only(problems(out), "clip_0000", f"is in {CLIPS} too")

    def test_rows_out_of_order(self, out):
        rewrite(out, CLIPS, lambda rows: rows.reverse())

        assert "is not in the order of clip_id" in problems(out)[0]

    def test_an_unknown_reason(self, out):
        name = "rejected/all-00000-of-00001.parquet"
        rewrite(out, name, lambda rows: rows[0].update(reason="bad luck"))

        only(problems(out), "clip_0008", "bad luck, which is no known reason")

    def test_a_clip_in_the_wrong_split(self, out):
        rewrite(out, CLIPS, lambda rows: rows[2].update(split="test"))

        assert "clip_0002: its split is test" in problems(out)[0]

    def test_a_source_and_a_speaker_in_two_splits(self, out):
        rewrite(out, CLIPS, lambda rows: rows[0].update(source_id="show 7"))
        only(problems(out), "source show 7 is in several splits", "clip_0000", "clip_0007")

    def test_a_picture_that_does_not_decode(self, out):
        torn = {"bytes": b"\xff\xd8 no more", "path": "x.jpg"}
        rewrite(out, CLIPS, lambda rows: rows[3].update(peak_frame=torn))

        only(problems(out), "clip_0003", "peak_frame is no picture that decodes")

    def test_a_text_that_claims_what_no_evidence_shows(self, out):
        text = "In the video, the person's face shows lowered brows."
        rewrite(out, CLIPS, lambda rows: rows[4].update(fine_caption=text))

        only(problems(out), "clip_0004", "its fine caption claims 'lowered brows'")

    def test_a_blind_text_is_held_against_the_label_of_its_model(self, out):
        text = "In the video, the person shows raised lip corners. Raised lip corners point to "
        blind = {"text_source": "llm_blind", "llm_label": "contempt"}

        rewrite(out, CLIPS, lambda rows: rows[4].update(blind, fine_caption=f"{text}contempt."))
        held = problems(out)
        rewrite(out, CLIPS, lambda rows: rows[4].update(text_source="composer"))

        assert not [line for line in held if "fine caption" in str(line)]
        assert any("contempt is not the clip's label" in str(line) for line in problems(out))

    def test_a_coarse_caption_that_claims_what_no_evidence_shows(self, out):
        text = "The person's expression and actions include lowered brows."
        rewrite(out, CLIPS, lambda rows: rows[4].update(coarse_caption=text))

        only(problems(out), "clip_0004", "its coarse caption claims 'lowered brows'")

    def test_records_of_a_clip_that_is_not_in_the_shard(self, out):
        rewrite(out, COARSE, lambda rows: rows[0].update(clip_id="clip_0007"))

        only(problems(out), COARSE, "clip_0007", "belongs to no clip of this shard")

    def test_a_record_with_another_label_than_its_clip(self, out):
        rewrite(out, FINE, lambda rows: rows[0].update(label="bored"))

        only(problems(out), FINE, "clip_0000:fine:reason", "has label 'bored', its clip")

    def test_a_record_that_is_there_twice(self, out):
        rewrite(out, FINE, lambda rows: rows.insert(0, rows[0]))

        only(problems(out), "record clip_0000:fine:reason is in", "too")

    def test_an_answer_that_the_trainer_would_cut(self, out):
        def lengthen(rows):
            rows[0]["messages"][1]["content"] = "word " * 201

        rewrite(out, FINE, lengthen)

        only(problems(out), "answer over 200 words")

    def test_a_caption_may_quote_all_that_is_said(self, out):
        def lengthen(rows):
            rows[0]["messages"][1]["content"] = "word " * 201

        rewrite(out, COARSE, lengthen)

        assert not [line for line in problems(out) if "words" in line]

    def test_a_question_without_an_answer(self, out):
        rewrite(out, FINE, lambda rows: rows[0]["messages"].pop())

        only(problems(out), "is no question with an answer")


class TestMedia:
    def test_a_file_that_is_gone(self, out):
        (out / "input" / "media" / "clip_0003.mp4").unlink()

        only(problems(out, out / "input"), "clip_0003", "media/clip_0003.mp4 is not there")

    def test_a_file_that_has_changed(self, out):
        (out / "input" / "media" / "clip_0005.mp4").write_bytes(b"another film")

        only(problems(out, out / "input"), "clip_0005", "media/clip_0005.mp4 has changed")

    def test_is_left_alone_when_the_folder_is_not_given(self, out):
        (out / "input" / "media" / "clip_0003.mp4").unlink()

        assert problems(out) == []


class TestChinese:
    """A checker reads English alone, so a Chinese caption is made from its evidence again."""

    @pytest.fixture(params=["template", "raw"])
    def chinese(self, request, tmp_path) -> Path:
        return a_dataset(tmp_path, "coarse.language=zh", f"coarse.form={request.param}")

    def test_a_whole_dataset_has_no_problem(self, chinese):
        assert problems(chinese) == []

    @pytest.mark.parametrize(
        ("column", "old", "new"),
        [
            ("coarse_caption", "音调略高", "音调很高"),
            ("coarse_caption", "words of", "words not of"),
            ("coarse_caption", "面向镜头", "面向镜头，神情悲伤"),
            ("visual_expression", "嘴角", "眉头"),
        ],
    )
    def test_what_its_evidence_does_not_give_is_named(self, chinese, column, old, new):
        def change(rows: list[Row]) -> None:
            rows[4]["visual_expression"] = rows[4]["visual_expression"].replace("面带笑容", "嘴角")
            rows[4][column] = rows[4][column].replace(old, new)

        rewrite(chinese, CLIPS, change)

        found = [problem for problem in problems(chinese) if f"its {column} is" in problem]
        only(found, "clip_0004", new, "its evidence gives")

    def test_evidence_that_no_entry_stands_for_is_named(self, chinese):
        def change(rows: list[Row]) -> None:
            rows[4]["evidence"][1]["text"] = "pitch level: odd (180 Hz)"

        rewrite(chinese, CLIPS, change)

        only(problems(chinese), "clip_0004", "coarse_caption_zh.yaml has no entry for 'odd'")

    def test_the_caption_is_read_by_the_template_that_lies_in_the_dataset(self, chinese):
        template = chinese / "dataset" / "templates" / "coarse_caption_zh.yaml"
        template.write_text(template.read_text("utf-8").replace("音调略高", "音调稍高"), "utf-8")

        told = [problem for problem in problems(chinese) if "its coarse_caption is" in problem]
        assert len(told) == 8
        assert all("音调稍高" in problem for problem in told)
