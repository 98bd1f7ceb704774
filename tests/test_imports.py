"""Imports: every field lands somewhere named, and what goes in comes out again, damage and all."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from builds import merr, rows
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from made_clips import at_rate, write_clip

from merr_pipeline.dataset.columns import CLIPS
from merr_pipeline.dataset.folder import sha256_of
from merr_pipeline.dataset.validate import validate
from merr_pipeline.exports.emotion_llama import LABELS
from merr_pipeline.exports.run import export
from merr_pipeline.exports.wanted import Wanted
from merr_pipeline.imports.run import import_files
from merr_pipeline.schema import MerrError

UNITS = ("AU01", "AU02", "AU04", "AU06", "AU12", "AU15", "AU26", "AU28")
KEYS = {"coarse": "caption", "fine": "smp_reason_caption"}


def made_record(number: int, granularity: str = "fine") -> dict[str, Any]:
    units = [UNITS[(number + i) % len(UNITS)] for i in range(number % 3 + 1)]
    record = {
        "AU_list": units,
        "visual_prior_list": [f"Looks like {unit}, Pleasure" for unit in units],
        "audio_prior_list": "speaks in a made tone.",
        "peak_index": str(number % 300),
        "peak_AU_list": sorted({*units, "AU25"}),
        "pseu_emotion": LABELS[number % len(LABELS)],
        "text": f"Line {number}.",
        KEYS[granularity]: f"In the video, made person {number} does something.",
    }
    if granularity == "coarse":
        del record["text"]
    return record


def made_file(folder: Path, count: int, granularity: str = "fine") -> Path:
    path = folder / f"MERR_{granularity}_grained.json"
    records = {f"sample_{n:08d}": made_record(n, granularity) for n in range(count)}
    path.write_text(json.dumps(records, ensure_ascii=False), "utf-8")
    return path


def there_and_back(folder: Path, *paths: Path) -> list[Any]:
    """Import, validate, export; gives what the exported files of these names hold."""
    import_files("emotion-llama", paths, folder / "in")
    assert validate(folder / "in") == []
    export("emotion-llama", folder / "in", folder / "to", Wanted())
    return [json.loads((folder / "to" / path.name).read_text("utf-8")) for path in paths]


def said(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


class TestReleasedAnnotations:
    def test_five_thousand_records_come_back_equal_within_five_seconds(self, tmp_path):
        path = made_file(tmp_path, 5000)
        started = time.process_time()
        import_files("emotion-llama", [path], tmp_path / "in")
        took = time.process_time() - started
        export("emotion-llama", tmp_path / "in", tmp_path / "to", Wanted())

        assert took < 5
        assert said(tmp_path / "to" / path.name) == said(path)

    def test_coarse_and_fine_of_one_clip_are_one_row_and_come_back_as_two(self, tmp_path):
        fine, coarse = made_file(tmp_path, 9), made_file(tmp_path, 9, "coarse")
        records = said(coarse)
        records["sample_00000000"] |= {"pseu_emotion": "doubt", "AU_list": [], "peak_index": "7"}
        coarse.write_text(json.dumps(records))

        assert there_and_back(tmp_path, fine, coarse) == [said(fine), said(coarse)]
        assert len(rows(tmp_path / "in", "clips")) == 9
        with (tmp_path / "to" / "MERR_coarse_grained.txt").open() as listed:
            assert next(listed) == "sample_00000000 0 doubt\n"

    def test_each_field_lands_in_its_column_and_what_nobody_measured_is_null(self, tmp_path):
        path = made_file(tmp_path, 3)
        import_files("emotion-llama", [path], tmp_path / "in")
        row = rows(tmp_path / "in", "clips")[0]

        number = int(row["clip_id"][-1])
        record = made_record(number)
        texts = [item["text"] for item in row["evidence"]]
        pairs = zip(record["AU_list"], record["visual_prior_list"], strict=True)
        assert texts == [f"{unit} {phrase}" for unit, phrase in pairs]
        assert [unit["au"] for unit in row["action_units"]] == record["peak_AU_list"]
        assert {unit["value_at_peak"] for unit in row["action_units"]} == {None}
        assert (row["tone"], row["tone_source"]) == ("speaks in a made tone.", "imported")
        assert (row["transcript"], row["transcript_status"]) == (f"Line {number}.", "ok")
        assert (row["label"], row["label_source"]) == (record["pseu_emotion"], "imported")
        assert row["fine_caption"] == record["smp_reason_caption"]
        assert row["peak_frame_index"] == number
        (source,) = row["provenance"]
        assert (source["stage"], source["tool"]) == ("import", "emotion-llama")
        assert (source["revision"], source["fingerprint"]) == (path.name, sha256_of(path))
        filled = {name for name, value in row.items() if value is not None}
        assert filled == {
            *("clip_id", "other_paths", "split", "label_space", "label", "label_source"),
            *("action_units", "peak_frame_index", "transcript", "transcript_status"),
            *("transcript_source", "tone", "tone_status", "tone_source", "fine_caption"),
            *("text_source", "evidence", "flags", "provenance"),
        }

    def test_what_no_column_holds_is_kept_by_name(self, tmp_path):
        path = made_file(tmp_path, 1)
        record = made_record(0) | {"reviewer": {"id": 3}, "peak_index": "007", "text": 5}
        path.write_text(json.dumps({"clip": record}))

        assert there_and_back(tmp_path, path) == [{"clip": record}]
        (row,) = rows(tmp_path / "in", "clips")
        kept = {entry["field"]: json.loads(entry["value"]) for entry in row["imported"]}
        assert kept == {"reviewer": {"id": 3}, "peak_index": "007", "text": 5}
        assert row["peak_frame_index"] is None

    def test_lists_and_transcripts_fill_what_the_json_lacks(self, tmp_path):
        path = made_file(tmp_path, 2, "coarse")
        (tmp_path / "MERR_coarse_grained.txt").write_text("sample_00000001 35 sad -1.174107\n")
        (tmp_path / "transcription_en_all.csv").write_text(
            'name,sentence\nsample_00000001,"a, b"\n'
        )
        given = [tmp_path / "transcription_en_all.csv", tmp_path / "MERR_coarse_grained.txt", path]

        import_files("emotion-llama", given, tmp_path / "in")
        export("emotion-llama", tmp_path / "in", tmp_path / "to", Wanted())

        row = next(r for r in rows(tmp_path / "in", "clips") if r["clip_id"].endswith("1"))
        assert (row["frame_count"], row["transcript"]) == (35, "a, b")
        listed = (tmp_path / "to" / "MERR_coarse_grained.txt").read_text().splitlines()
        assert listed[1] == f"sample_00000001 35 {LABELS[1]} -1.174107"
        assert said(tmp_path / "to" / path.name) == said(path)

    def test_a_copy_as_a_list_with_other_keys_is_read(self, tmp_path):
        path = tmp_path / "subset.json"
        record = {
            "video_id": "sample_1.mp4",
            "visual_expression_description": ["Dimpler"],
            "audio_description": "speaks.",
            "true_label": "happiness",
            "transcript": "Well.",
            "smp_reason_caption": "In the video.",
        }
        path.write_text(json.dumps([record]))

        import_files("emotion-llama", [path], tmp_path / "in")

        (row,) = rows(tmp_path / "in", "clips")
        assert (row["clip_id"], row["label"]) == ("sample_1", "happy")
        assert (row["tone"], row["transcript"]) == ("speaks.", "Well.")
        assert row["open_labels"] == ["happiness"]

    def test_what_is_no_record_is_rejected_and_the_rest_is_read(self, tmp_path):
        path = made_file(tmp_path, 2)
        path.write_text(json.dumps({**said(path), "broken": 5}))

        found = import_files("emotion-llama", [path], tmp_path / "in")

        assert len(found.rows) == 2
        (row,) = rows(tmp_path / "in", "rejected")
        assert (row["stage"], row["reason"]) == ("import", "bad_record")
        assert "broken" in row["clip_id"]
        assert validate(tmp_path / "in") == []

    def test_a_word_that_is_no_label_is_told_and_kept(self, tmp_path):
        path = made_file(tmp_path, 1)
        path.write_text(json.dumps({"a": made_record(0) | {"pseu_emotion": "flumoxed"}}))

        found = import_files("emotion-llama", [path], tmp_path / "in")

        assert found.unknown == {"flumoxed": 1}
        (row,) = rows(tmp_path / "in", "clips")
        assert (row["label"], row["open_labels"]) == (None, ["flumoxed"])

    def test_clips_of_the_records_are_found_by_name_and_exported(self, tmp_path):
        (tmp_path / "clips" / "deep").mkdir(parents=True)
        film = write_clip(tmp_path / "clips" / "deep" / "sample_00000000.mp4", at_rate([90] * 3))
        path = made_file(tmp_path, 1)

        import_files("emotion-llama", [path], tmp_path / "in", clips=tmp_path / "clips")

        (row,) = rows(tmp_path / "in", "clips")
        assert row["media_path"] == "deep/sample_00000000.mp4"
        assert row["sha256"] == sha256_of(film)
        assert validate(tmp_path / "in", tmp_path / "clips") == []
        export("llama-factory", tmp_path / "in", tmp_path / "to", Wanted(clips=tmp_path / "clips"))
        copied = tmp_path / "to" / "media" / "sample_00000000.mp4"
        assert copied.read_bytes() == film.read_bytes()


class TestCommand:
    def test_warnings_are_printed_and_what_was_rejected_is_exit_code_one(self, tmp_path):
        path = made_file(tmp_path, 2)
        text = json.dumps(
            {**said(path), "broken": 5, "a": made_record(0) | {"pseu_emotion": "odd"}}
        )
        path.write_text("// a copy\n" + text)

        told = merr("import", "emotion-llama", path, "--to", tmp_path / "in", code=1)

        assert "warning: MERR_fine_grained.json: it holds comments" in told
        assert "warning: 'odd' (1 records) is no label" in told
        assert "rejected: MERR_fine_grained.json#broken#1" in told
        assert told.endswith(f"{tmp_path}/in/dataset: 3 clips\n")


class TestDamage:
    @pytest.mark.parametrize(
        ("damage", "told"),
        [
            (lambda t: t.replace("does something", "does\nsome\tthing"), "raw newlines"),
            (
                lambda t: "// made by X\n" + t.replace('"AU_list"', '/* units */ "AU_list"'),
                "comment",
            ),
            (lambda t: t.replace("}", ",}"), "commas"),
            (lambda t: t[:-1] + ', "sample_00000000": {"caption": "x"}}', "twice"),
            (lambda t: t.replace("does something", "\\ud83d"), "half characters"),
        ],
    )
    def test_small_damage_is_a_warning(self, damage, told, tmp_path):
        path = made_file(tmp_path, 2)
        path.write_text(damage(path.read_text("utf-8")), "utf-8")

        found = import_files("emotion-llama", [path], tmp_path / "in")

        assert told in " ".join(found.warnings)
        assert set(found.rows) == {"sample_00000000", "sample_00000001"}

    def test_what_looks_like_a_comment_in_a_text_stays(self, tmp_path):
        path = made_file(tmp_path, 1)
        record = made_record(0) | {"text": "see http://x.y /* not */ # this ,}"}
        path.write_text("# head\n" + json.dumps({"a": record}))

        assert there_and_back(tmp_path, path) == [{"a": record}]

    def test_a_file_that_is_cut_short_is_an_error_that_says_where(self, tmp_path):
        path = made_file(tmp_path, 5)
        path.write_bytes(path.read_bytes()[:-40])

        with pytest.raises(MerrError, match=r"no JSON: .*line 1"):
            import_files("emotion-llama", [path], tmp_path / "in")
        assert not (tmp_path / "in").exists()


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
names = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zs", "Zl", "Zp"], exclude_characters=',"'),
    min_size=1,
    max_size=12,
).map(lambda name: f"n{name}")
records = st.fixed_dictionaries(
    {
        "AU_list": st.lists(st.sampled_from(UNITS), max_size=4),
        "visual_prior_list": st.lists(texts, max_size=4),
        "audio_prior_list": texts,
        "peak_index": st.one_of(st.integers(0, 10**12).map(str), texts),
        "peak_AU_list": st.lists(st.one_of(st.sampled_from(UNITS), texts), max_size=4),
        "pseu_emotion": st.sampled_from(LABELS),
        "text": texts,
        "smp_reason_caption": texts,
    },
    optional={"note": st.one_of(st.none(), texts, st.integers(), st.lists(st.booleans()))},
)
coarse_records = records.map(
    lambda r: {
        ("caption" if k == "smp_reason_caption" else k): v for k, v in r.items() if k != "text"
    }
)
quick = hypothesis_settings(
    max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


class TestRoundTrip:
    @quick
    @given(
        fine=st.dictionaries(names, records, min_size=1, max_size=4),
        coarse=st.dictionaries(names, coarse_records, min_size=1, max_size=4),
        both=coarse_records,
        ascii_only=st.booleans(),
    )
    def test_any_records_come_back_equal(self, fine, coarse, both, ascii_only, tmp_path_factory):
        folder = tmp_path_factory.mktemp("trip")
        coarse = {**coarse, next(iter(fine)): both}
        paths = []
        for granularity, made in (("fine", fine), ("coarse", coarse)):
            path = folder / f"MERR_{granularity}_grained.json"
            path.write_text(json.dumps(made, ensure_ascii=ascii_only), "utf-8")
            paths.append(path)

        assert there_and_back(folder, *paths) == [fine, coarse]


class TestMerFactory:
    def record(self, **more: Any) -> dict[str, Any]:
        return {
            "source_path": "/data/clips/happy one.mp4",
            "audio_path": "/data/out/happy one.wav",
            "chronological_emotion_peaks": ["Peak at 2.88s: angry (slight), contempt (slight)"],
            "overall_peak_frame_info": {
                "frame_number": 70,
                "timestamp": 2.8,
                "top_aus_intensities": {"AU04_r": 1.5, "AU12_r": 0.9},
            },
            "coarse_descriptions_at_peak": {
                "visual_expression": "a frown",
                "visual_objective": "a person in a room",
                "audio_analysis": "The person says no.",
                "video_content": "a quarrel",
            },
            "final_summary": "word " * 400,
            "ground_truth_label": "anger",
            **more,
        }

    def write(self, folder: Path, name: str, content: str) -> Path:
        path = folder / name / f"{name}_merr_data.json"
        path.parent.mkdir(parents=True)
        path.write_text(content)
        return path

    def test_every_field_lands_somewhere_named(self, tmp_path):
        self.write(tmp_path / "out", "happy one", json.dumps(self.record()))
        import_files("mer-factory", [tmp_path / "out"], tmp_path / "in")

        (row,) = rows(tmp_path / "in", "clips")
        assert (row["clip_id"], row["label"]) == ("happy one", "angry")
        assert (row["peak_frame_index"], row["peak_time_s"]) == (69, 2.8)
        units = {unit["au"]: unit["value_at_peak"] for unit in row["action_units"]}
        assert units == {"AU04": 1.5, "AU12": 0.9}
        assert row["au_scale"] == "intensity_0_5"
        assert (row["visual_expression"], row["scene"]) == ("a frown", "a person in a room")
        assert row["tone"] == "The person says no."
        assert [peak["time_s"] for peak in row["peaks"]] == [2.88]
        assert row["fine_caption"] == "word " * 400
        assert {entry["field"] for entry in row["imported"]} == {
            *("source_path", "audio_path", "chronological_emotion_peaks"),
            "coarse_descriptions_at_peak.video_content",
        }
        assert validate(tmp_path / "in") == []

    def test_sound_that_came_as_a_mapping_is_words_and_tone(self, tmp_path):
        said = {"transcript": "No.", "tone_description": "low", "model": "m"}
        record = self.record()
        record["coarse_descriptions_at_peak"]["audio_analysis"] = said
        self.write(tmp_path / "out", "x", json.dumps(record))
        import_files("mer-factory", [tmp_path / "out"], tmp_path / "in")

        (row,) = rows(tmp_path / "in", "clips")
        assert (row["transcript"], row["tone"]) == ("No.", "low")
        kept = {entry["field"]: entry["value"] for entry in row["imported"]}
        assert kept["coarse_descriptions_at_peak.audio_analysis.model"] == '"m"'

    @pytest.mark.parametrize("content", ["", '{"source_path": "/a/b.mp4", "fin', "[]"])
    def test_what_a_crash_left_is_rejected_and_the_rest_is_read(self, content, tmp_path):
        self.write(tmp_path / "out", "whole", json.dumps(self.record()))
        self.write(tmp_path / "out", "crashed", content)

        found = import_files("mer-factory", [tmp_path / "out"], tmp_path / "in")

        assert list(found.rows) == ["happy one"]
        (row,) = rows(tmp_path / "in", "rejected")
        assert row["reason"] == "bad_record"
        assert "crashed" in row["clip_id"]


class TestEmer:
    def test_both_versions_are_read(self, tmp_path):
        one, two = tmp_path / "v1.csv", tmp_path / "v2.csv"
        one.write_text('names,emotions,subtitles,reasons\ns1,angry,"Go, now!",He frowns.\n')
        two.write_text("name,chinese,english\ns1,他皱眉。,\ns2,她笑。,She smiles.\n", "utf-8")
        import_files("emer", [one, two], tmp_path / "in")

        first, second = sorted(rows(tmp_path / "in", "clips"), key=lambda row: row["clip_id"])
        assert (first["label"], first["transcript"]) == ("angry", "Go, now!")
        assert first["fine_caption"] == "He frowns."
        assert [(e["field"], e["value"]) for e in first["imported"]] == [("chinese", '"他皱眉。"')]
        assert second["fine_caption"] == "She smiles."
        assert [e["field"] for e in second["imported"]] == ["chinese"]

    def test_a_table_without_names_is_refused(self, tmp_path):
        (tmp_path / "x.csv").write_text("a,b\n1,2\n")
        with pytest.raises(MerrError, match="no column name or names; it has a, b"):
            import_files("emer", [tmp_path / "x.csv"], tmp_path / "in")


class TestFolder:
    def test_the_same_files_give_the_same_bytes(self, tmp_path):
        path = made_file(tmp_path, 20)
        for name in ("one", "two"):
            import_files("emotion-llama", [path], tmp_path / name)
        read = {
            name: {
                p.relative_to(tmp_path / name): p.read_bytes()
                for p in (tmp_path / name).rglob("*")
                if p.is_file()
            }
            for name in ("one", "two")
        }
        assert read["one"] == read["two"]

    def test_it_loads_as_any_dataset_does(self, tmp_path):
        from datasets import load_dataset

        import_files("emotion-llama", [made_file(tmp_path, 4)], tmp_path / "in")
        loaded = {
            name: load_dataset(
                str(tmp_path / "in" / "dataset"), name, split="train", cache_dir=str(tmp_path / "c")
            )
            for name in ("clips", "coarse", "fine")
        }
        assert {name: len(found) for name, found in loaded.items()} == {
            "clips": 4,
            "coarse": 8,  # the label and its sentiment
            "fine": 4,
        }
        assert loaded["clips"].features == CLIPS
        assert loaded["fine"][0]["task"] == "reason"

    def test_it_is_never_put_over_a_build(self, tmp_path):
        (tmp_path / "in" / "annotations").mkdir(parents=True)
        with pytest.raises(MerrError, match="holds a build"):
            import_files("emotion-llama", [made_file(tmp_path, 1)], tmp_path / "in")

    def test_a_second_import_takes_the_place_of_the_first(self, tmp_path):
        import_files("emotion-llama", [made_file(tmp_path, 5)], tmp_path / "in")
        import_files("emotion-llama", [made_file(tmp_path, 2)], tmp_path / "in")

        assert len(rows(tmp_path / "in", "clips")) == 2
        assert validate(tmp_path / "in") == []
