"""Shards: where a clip's rows lie, and what the files are like inside."""

from __future__ import annotations

import hashlib

import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from merr_pipeline.dataset.columns import CLIPS, RECORDS, SUBSETS
from merr_pipeline.dataset.shards import (
    SubsetWriter,
    file_name,
    in_shards,
    shard_count,
    shard_index,
)


def row(number: int) -> dict:
    picture = {"bytes": b"\xff\xd8" + bytes(4000), "path": "p.jpg"}  # would shrink to nothing
    return {"clip_id": f"c{number:04d}", "transcript": "same words " * 50, "peak_frame": picture}


def write(path, rows):
    with SubsetWriter(path, "clips", "hash") as writer:
        for one in rows:
            writer.add([one])
    return path


def columns_of(path):
    group = pq.ParquetFile(path).metadata.row_group(0)
    return {(c := group.column(i)).path_in_schema: c for i in range(group.num_columns)}


def test_the_number_of_shards_doubles_as_clips_outgrow_it():
    assert [shard_count(n, 2000) for n in (1, 2000, 2001, 4000, 4001, 28_000)] == [
        1,
        1,
        2,
        2,
        4,
        16,
    ]


def test_the_shard_is_the_leading_bits_of_the_hash_of_the_id():
    digest = hashlib.sha256(b"clip_7").hexdigest()
    bits = f"{int(digest, 16):0256b}"

    assert shard_index("clip_7", 1) == 0
    for count, length in ((2, 1), (8, 3), (1024, 10)):
        assert shard_index("clip_7", count) == int(bits[:length], 2)


@settings(deadline=None)
@given(st.text(min_size=1), st.sampled_from([1, 2, 4, 64]))
def test_when_shards_double_each_falls_into_two_of_its_own(clip_id, count):
    assert shard_index(clip_id, 2 * count) // 2 == shard_index(clip_id, count)


@settings(deadline=None)
@given(st.sets(st.text(min_size=1, max_size=4), max_size=40), st.integers(1, 10))
def test_every_clip_is_in_one_shard_and_ids_are_sorted(ids, clips_per_shard):
    shards = in_shards(list(ids), clips_per_shard)

    assert sorted(clip_id for shard in shards for clip_id in shard) == sorted(ids)
    assert all(shard == sorted(shard) for shard in shards)


def test_file_names_are_those_that_the_hub_knows():
    assert file_name("clips", "train", 3, 8) == "clips/train-00003-of-00008.parquet"


def test_the_same_rows_give_the_same_bytes_however_they_are_added(tmp_path):
    rows = [row(i) for i in range(250)]
    write(tmp_path / "a.parquet", rows)
    with SubsetWriter(tmp_path / "b.parquet", "clips", "hash") as writer:
        writer.add(rows)

    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_row_groups_hold_a_hundred_rows(tmp_path):
    metadata = pq.ParquetFile(write(tmp_path / "a.parquet", map(row, range(250)))).metadata

    assert [metadata.row_group(i).num_rows for i in range(3)] == [100, 100, 50]


def test_text_is_compressed_and_pictures_are_not(tmp_path):
    columns = columns_of(write(tmp_path / "a.parquet", map(row, range(100))))

    assert columns["transcript"].compression == "ZSTD"
    assert columns["evidence.list.element.text"].compression == "ZSTD"
    assert columns["peak_frame.bytes"].compression == "UNCOMPRESSED"
    assert columns["peak_frame.bytes"].total_compressed_size > 100 * 4000
    assert columns["face_crop.bytes"].compression == "UNCOMPRESSED"


def test_files_carry_the_keys_of_schema_and_configuration(tmp_path):
    metadata = pq.read_schema(write(tmp_path / "a.parquet", [row(1)])).metadata

    assert metadata[b"merr.schema_version"] == b"1.0"
    assert metadata[b"merr.config_hash"] == b"hash"
    assert b'"_type": "Image"' in metadata[b"huggingface"]


def test_the_columns_are_those_of_the_contract():
    assert list(SUBSETS) == ["clips", "coarse", "fine", "rejected"]
    assert " ".join(CLIPS) == (
        "clip_id media_path other_paths sha256 source_id speaker_id licence split "
        "kind duration_s fps width height frame_count has_sound shots "
        "label_space label label_source label_confidence label_candidates "
        "label_runner_up label_margin open_labels open_label_groups "
        "face_tool au_scale face_count face_coverage main_person face_track head_pose gaze "
        "others action_units au_series "
        "peak_frame_index peak_time_s peak_score peak_verdict peaks peak_frame face_crop "
        "transcript transcript_status transcript_source text_language "
        "spoken_language is_translation original_transcript original_source segments turns "
        "tone tone_status tone_source prosody egemaps "
        "scene scene_source scene_facts burned_in_text burned_in_status "
        "visual_expression coarse_caption coarse_form coarse_language "
        "fine_caption text_source evidence cues conflicts "
        "llm_label llm_confidence llm_agrees llm_votes second_label second_agrees "
        "flags quality review near_duplicates fine_selection "
        "provenance imported"
    )
    assert " ".join(RECORDS) == (
        "record_id clip_id granularity task messages label label_source transcript "
        "media_path sha256 split"
    )
