import hashlib
import os
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merr_pipeline.clips import hashes
from merr_pipeline.clips.hashes import HashMemory
from merr_pipeline.clips.manifest import find_media, name_clips, read_inputs
from merr_pipeline.clips.tables import ManifestError, read_columns
from merr_pipeline.schema import Reason


def put(root: Path, *names: str) -> None:
    """Files that differ in their bytes; the manifest never opens them as media."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"bytes of {name}".encode())


def table(root: Path, text: str, name: str = "manifest.csv", encoding: str = "utf-8") -> Path:
    path = root / name
    path.write_text(text, encoding=encoding)
    return path


def ids(inputs) -> list[str]:
    return [clip.clip_id for clip in inputs.clips]


def refused(inputs) -> dict[str, Reason]:
    return {refusal.clip_id: refusal.reason for refusal in inputs.refusals}


def test_a_folder_is_searched_through_in_any_case_of_suffix(tmp_path):
    put(tmp_path, "a.mp4", "b.MP4", "deep/er/c.MoV", "d.png", "notes.txt", ".hidden.mp4")

    assert ids(read_inputs(tmp_path)) == ["a", "b", "d", "deep/er/c"]


def test_two_files_of_one_stem_never_collide(tmp_path):
    put(tmp_path, "a/clip.mp4", "b/clip.mp4", "x.mp4", "x.mov")

    inputs = read_inputs(tmp_path)

    assert ids(inputs) == ["a/clip", "b/clip", "x.mov", "x.mp4"]
    assert len({clip.sha256 for clip in inputs.clips}) == 4


def test_a_loop_of_links_is_entered_once(tmp_path):
    put(tmp_path, "in/a.mp4")
    (tmp_path / "in" / "loop").symlink_to(tmp_path, target_is_directory=True)

    assert find_media(tmp_path) == ["in/a.mp4"]


def test_files_that_nothing_reads_are_counted_in_a_note(tmp_path):
    put(tmp_path, "a.mp4", "a.srt", "b.heic", "c.heic", "in/bare", "notes.txt")

    assert read_inputs(tmp_path).notes == (
        "3 files of other kinds were not looked at: no suffix 1, .heic 2",
    )


def test_the_output_of_a_build_inside_the_folder_is_no_input(tmp_path):
    put(tmp_path, "a.mp4", "out/explain/a.png", "runs/b.mp4")
    for name in ("annotations", "cache", "runs", "dataset"):
        (tmp_path / "out" / name).mkdir()

    assert ids(read_inputs(tmp_path)) == ["a", "runs/b"]


def test_clips_beside_the_output_of_a_build_are_inputs_again(tmp_path):
    put(tmp_path, "a.mp4", "in/b.mp4", "explain/a.png")
    for name in ("annotations", "cache", "runs", "dataset"):
        (tmp_path / name).mkdir()

    assert ids(read_inputs(tmp_path)) == ["a", "in/b"]


def test_an_empty_folder_names_the_suffixes_it_looked_for(tmp_path):
    with pytest.raises(ManifestError, match=r"no clips.*\.mp4"):
        read_inputs(tmp_path)


def test_the_same_bytes_twice_are_one_clip_with_two_paths(tmp_path):
    put(tmp_path, "a.mp4")
    (tmp_path / "copy.mp4").write_bytes((tmp_path / "a.mp4").read_bytes())
    manifest = table(tmp_path, "path,label,language\na.mp4,,en\ncopy.mp4,happy,\n")

    inputs = read_inputs(tmp_path, manifest)

    (clip,) = inputs.clips
    assert (clip.clip_id, clip.other_paths) == ("a", ("copy.mp4",))
    assert (clip.label, clip.language) == ("happy", "en")  # what either row knew
    assert inputs.file_count == 2


def test_the_same_bytes_with_two_labels_are_both_refused(tmp_path):
    put(tmp_path, "a.mp4", "other.mp4")
    (tmp_path / "copy.mp4").write_bytes((tmp_path / "a.mp4").read_bytes())
    manifest = table(tmp_path, "path,label\na.mp4,sad\ncopy.mp4,happy\nother.mp4,sad\n")

    inputs = read_inputs(tmp_path, manifest)

    assert ids(inputs) == ["other"]
    assert refused(inputs) == dict.fromkeys(["a", "copy"], Reason.DUPLICATE_CONFLICT)
    assert "happy, sad" in inputs.refusals[0].detail


def test_every_column_arrives_and_blank_cells_are_null(tmp_path):
    put(tmp_path, "v/one.mp4")
    manifest = table(
        tmp_path,
        "clip_id,path,label,transcript,language,speaker_id,source_id,licence,split,other\n"
        '7,v/one.mp4,sad,"Well, no.",en,anna,film,CC-BY-4.0,test,ignored\n',
    )

    (clip,) = read_inputs(tmp_path, manifest).clips

    assert (clip.clip_id, clip.media_path, clip.label) == ("7", "v/one.mp4", "sad")
    assert (clip.transcript, clip.language) == ("Well, no.", "en")
    assert (clip.speaker_id, clip.source_id) == ("anna", "film")
    assert (clip.licence, clip.split) == ("CC-BY-4.0", "test")
    blank = table(tmp_path, "path,label,transcript\nv/one.mp4,,\n", "blank.csv")
    (clip,) = read_inputs(tmp_path, blank).clips
    assert (clip.label, clip.transcript, clip.split) == (None, None, None)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_csv_jsonl_and_parquet_read_alike(tmp_path, suffix):
    put(tmp_path, "a.mp4", "b.mp4")
    frame = pd.DataFrame(
        {"clip_id": ["01", "02"], "path": ["a.mp4", "b.mp4"], "label": ["sad", None]}
    )
    path = tmp_path / f"manifest.{suffix}"
    if suffix == "csv":
        frame.to_csv(path, index=False)
    elif suffix == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)

    inputs = read_inputs(tmp_path, path)

    assert ids(inputs) == ["01", "02"]  # a leading zero is part of an id
    assert [clip.label for clip in inputs.clips] == ["sad", None]


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("utf-8", "对不起大家"),
        ("utf-8-sig", "对不起大家"),
        ("gb18030", "对不起大家"),
        ("utf-16", "对不起大家"),
        ("latin-1", "Tschüs München"),
    ],
)
def test_the_encodings_of_real_tables_are_read(tmp_path, encoding, words):
    put(tmp_path, "a.mp4")
    manifest = table(tmp_path, f"path,transcript\na.mp4,{words}\n", encoding=encoding)

    (clip,) = read_inputs(tmp_path, manifest).clips

    assert clip.transcript == words


@pytest.mark.parametrize(
    ("encoding", "language", "words"),
    [
        ("big5", "", "我不知道你為什麼要這樣做"),
        ("cp1251", "", "Почему ты так сделал"),
        ("cp1250", "cs", "Proč jsi to udělal"),
        ("cp1253", "el", "Γιατί το έκανες"),
    ],
)
def test_a_guessed_encoding_is_noted_and_the_language_column_helps_to_guess(
    tmp_path, encoding, language, words
):
    put(tmp_path, "a.mp4")
    rows = f"path,transcript,language\na.mp4,{words},{language}\n"

    inputs = read_inputs(tmp_path, table(tmp_path, rows, encoding=encoding))

    assert inputs.clips[0].transcript == words
    assert inputs.notes == (f"the manifest is no UTF-8; it was read as {encoding}, a guess",)
    assert read_inputs(tmp_path, table(tmp_path, rows)).notes == ()


def test_a_manifest_in_no_known_encoding_is_refused_with_what_to_do(tmp_path):
    put(tmp_path, "a.mp4")
    manifest = table(tmp_path, "path,transcript\na.mp4,لماذا فعلت ذلك\n", encoding="cp1256")

    with pytest.raises(ManifestError, match="convert it to UTF-8, or name its language"):
        read_inputs(tmp_path, manifest)


GOOD_LINE = '{"path": "a.mp4"}\n'


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("m.jsonl", GOOD_LINE + "\n[1, 2]\n", r"line 3 holds \[1, 2\], and no object"),
        ("m.jsonl", GOOD_LINE + "5\n", "line 2 holds 5, and no object"),
        ("m.jsonl", GOOD_LINE + "null\n", "line 2 holds null, and no object"),
        ("m.jsonl", GOOD_LINE + '{"path": "a.mp4", bad}\n', "line 2, column 19: Expecting"),
        ("m.jsonl", '{"path": "a.mp4", "path": "b.mp4"}\n', "line 1 names path twice"),
        (
            "m.jsonl",
            GOOD_LINE + '{"path": "a.mp4", "transcript": ["x", "y"]}\n',
            r"line 2: transcript holds \['x', 'y'\]; write it as text",
        ),
        ("m.jsonl", '{"path": "a.mp4", "transcript": false}\n', "line 1: transcript holds False"),
        (
            "m.csv",
            'path,transcript\na.mp4,"two\nlines"\n\nb.mp4,"open\nc.mp4,x\nd.mp4,y\n',
            "the row that begins on line 5: unexpected end of data",
        ),
        (
            "m.csv",
            'path,transcript\na.mp4,"open\nb.mp4,"two"\n',
            "the row that begins on line 2: ',' expected after",
        ),
        (
            "m.csv",
            'path,transcript\na.mp4,"two\nlines"\nb.mp4,x,y\n',
            "line 4 has 3 cells, the header 2",
        ),
        ("m.csv", "path,label,label\na.mp4,sad,happy\n", "the header names label twice"),
    ],
)
def test_what_cannot_be_read_for_certain_is_an_error_that_names_its_line(
    tmp_path, name, text, told
):
    put(tmp_path, "a.mp4")

    with pytest.raises(ManifestError, match=told):
        read_inputs(tmp_path, table(tmp_path, text, name))


def test_a_line_separator_within_a_string_parts_no_line(tmp_path):
    put(tmp_path, "a.mp4", "b.mp4")
    rows = '{"path": "a.mp4", "transcript": "one\u2028two\x85"}\r\n{"path": "b.mp4"}\r\n'

    inputs = read_inputs(tmp_path, table(tmp_path, rows, "m.jsonl"))

    assert [clip.transcript for clip in inputs.clips] == ["one\u2028two", None]


def test_lists_in_columns_that_nothing_reads_do_no_harm(tmp_path):
    put(tmp_path, "a.mp4")
    rows = '{"path": "a.mp4", "words": [1, 2], "is_good": true}\n'

    assert ids(read_inputs(tmp_path, table(tmp_path, rows, "m.jsonl"))) == ["a"]


def test_what_a_user_may_have_meant_otherwise_is_noted(tmp_path):
    put(tmp_path, "a.mp4", "b.mp4")
    manifest = table(tmp_path, "path,emotion\na.mp4,sad\n")

    notes = read_inputs(tmp_path, manifest).notes

    assert "columns that nothing reads: emotion (see --map)" in notes
    assert "1 media files in the folder are not in the manifest" in notes
    assert read_inputs(tmp_path).notes == (
        "manifest.csv lies in the folder and is not used; say --manifest",
    )
    assert read_inputs(tmp_path, manifest, read_columns("emotion=label")).notes == notes[1:]


def test_a_mapped_column_that_is_not_there_is_an_error(tmp_path):
    put(tmp_path, "a.mp4")
    manifest = table(tmp_path, "path,emotion\na.mp4,sad\n")

    with pytest.raises(ManifestError, match="no column nosuch; it has path, emotion"):
        read_inputs(tmp_path, manifest, read_columns("nosuch=label"))


def test_what_is_wrong_with_one_row_refuses_that_row_alone(tmp_path):
    put(tmp_path, "good.mp4", "again.mp4")
    manifest = table(
        tmp_path,
        "clip_id,path,split\n"
        "good,good.mp4,\n"
        "gone,gone.mp4,\n"
        "out,../../etc/passwd,\n"
        "root,/etc/passwd,\n"
        "good,again.mp4,\n"
        "odd,again.mp4,training\n",
    )

    inputs = read_inputs(tmp_path, manifest)

    assert ids(inputs) == ["good"]
    assert refused(inputs) == {
        "gone": Reason.NOT_FOUND,
        "out": Reason.OUTSIDE_ROOT,
        "root": Reason.OUTSIDE_ROOT,
        "good": Reason.DUPLICATE_CONFLICT,
        "odd": Reason.UNKNOWN_SPLIT,
    }
    assert inputs.file_count == 6


def test_a_path_that_no_file_can_have_costs_its_row_alone(tmp_path):
    put(tmp_path, "good.mp4")
    long = "x" * 300 + ".mp4"
    manifest = table(tmp_path, f"clip_id,path\ngood,good.mp4\ndot,.\nroot,/\nlong,{long}\n")

    inputs = read_inputs(tmp_path, manifest)

    assert ids(inputs) == ["good"]
    assert refused(inputs) == {
        "dot": Reason.NOT_MEDIA,
        "root": Reason.OUTSIDE_ROOT,
        "long": Reason.BAD_PATH,
    }


def test_a_name_that_is_no_text_costs_its_file_alone(tmp_path):
    put(tmp_path, "good.mp4")
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))).write_bytes(b"x")

    inputs = read_inputs(tmp_path)

    assert ids(inputs) == ["good"]
    assert refused(inputs) == {"caf\\udce9": Reason.BAD_PATH}
    assert inputs.refusals[0].media_path == "caf\\udce9.mp4"


def test_common_names_of_splits_are_known(tmp_path):
    put(tmp_path, "a.mp4", "b.mp4")
    manifest = table(tmp_path, "path,split\na.mp4,val\nb.mp4,Test\n")

    assert [clip.split for clip in read_inputs(tmp_path, manifest).clips] == ["validation", "test"]


def test_an_exact_stem_beats_one_with_leading_zeros(tmp_path):
    put(tmp_path, "1.mp4", "01.mp4")
    manifest = table(tmp_path, "clip_id\n1\n")

    (clip,) = read_inputs(tmp_path, manifest).clips

    assert clip.media_path == "1.mp4"


def test_commas_at_the_end_of_lines_shift_no_column(tmp_path):
    put(tmp_path, "a.mp4")
    manifest = table(tmp_path, "path,label\na.mp4,sad,\n")

    (clip,) = read_inputs(tmp_path, manifest).clips

    assert (clip.media_path, clip.label) == ("a.mp4", "sad")


def test_a_text_with_a_bare_comma_is_an_error_that_names_its_row(tmp_path):
    put(tmp_path, "a.mp4")
    manifest = table(tmp_path, "path,transcript\na.mp4,Well, no\n")

    with pytest.raises(ManifestError, match=r"line 2 has 3 cells, the header 2"):
        read_inputs(tmp_path, manifest)


def test_a_long_number_is_an_id_to_its_last_digit(tmp_path):
    put(tmp_path, "a.mp4", "b.mp4")
    lines = '{"clip_id": 12345678901234567, "path": "a.mp4"}\n{"clip_id": null, "path": "b.mp4"}\n'

    inputs = read_inputs(tmp_path, table(tmp_path, lines, "clips.jsonl"))

    assert ids(inputs) == ["12345678901234567", "b"]


def test_a_row_said_twice_is_one_clip(tmp_path):
    put(tmp_path, "a.mp4")
    manifest = table(tmp_path, "clip_id,path\na,a.mp4\na,a.mp4\n")

    inputs = read_inputs(tmp_path, manifest)

    assert (ids(inputs), inputs.refusals) == (["a"], ())


class LockedFile(HashMemory):
    """Reads like a file without read permission; root, who runs many tests, has it for all."""

    def sha256(self, path: Path, name: str) -> str:
        raise PermissionError(13, "Permission denied", str(path))


def test_an_unreadable_file_is_refused(tmp_path):
    put(tmp_path, "a.mp4")

    inputs = read_inputs(tmp_path, hashes=LockedFile())

    assert refused(inputs) == {"a": Reason.UNREADABLE}
    assert inputs.refusals[0].detail == "the file cannot be read: Permission denied"


def test_a_table_without_our_columns_says_how_to_map_them(tmp_path):
    put(tmp_path, "a.mp4")
    manifest = table(tmp_path, "file,emotion\na.mp4,sad\n")

    with pytest.raises(ManifestError, match=r"file, emotion.*\n.*--map file=path"):
        read_inputs(tmp_path, manifest)
    columns = read_columns("file=path,emotion=label")
    (clip,) = read_inputs(tmp_path, manifest, columns).clips
    assert (clip.clip_id, clip.label) == ("a", "sad")


def test_a_map_to_no_column_of_ours_is_refused():
    with pytest.raises(ManifestError, match="ours is one of clip_id, path"):
        read_columns("file=pathh")


def test_the_mer2023_preset_finds_clips_by_their_name(tmp_path):
    put(tmp_path, "video/sample_00000001.mp4", "video/sample_00000002.avi")
    manifest = table(
        tmp_path, "name,discrete,valence\nsample_00000001,worried,-1.2\nsample_00000009,sad,0\n"
    )

    inputs = read_inputs(tmp_path, manifest, read_columns(preset="mer2023"))

    (clip,) = inputs.clips
    assert (clip.clip_id, clip.media_path) == ("sample_00000001", "video/sample_00000001.mp4")
    assert clip.label == "worried"
    assert refused(inputs) == {"sample_00000009": Reason.NOT_FOUND}


def test_the_dfew_preset_reads_numbers_as_labels_and_finds_padded_names(tmp_path):
    put(tmp_path, "00012.mp4")
    manifest = table(tmp_path, "video_name,label\n12,5\n")

    (clip,) = read_inputs(tmp_path, manifest, read_columns(preset="dfew")).clips

    assert (clip.clip_id, clip.media_path, clip.label) == ("12", "00012.mp4", "surprise")


def test_the_meld_preset_composes_ids_and_sources(tmp_path):
    put(tmp_path, "dia3_utt1.mp4")
    manifest = table(
        tmp_path,
        "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode\n"
        "1,Oh my God!,Joey,joy,positive,3,1,8,21\n",
    )

    (clip,) = read_inputs(tmp_path, manifest, read_columns(preset="meld")).clips

    assert (clip.clip_id, clip.source_id, clip.speaker_id) == ("dia3_utt1", "s8e21", "Joey")
    assert (clip.label, clip.transcript, clip.language) == ("happy", "Oh my God!", "en")


def test_an_unknown_preset_names_those_there_are():
    with pytest.raises(ManifestError, match="mer2023, dfew, meld"):
        read_columns(preset="iemocap")


def test_a_file_that_grows_while_it_is_hashed_is_known_to_have_changed(tmp_path, monkeypatch):
    clip = tmp_path / "a.mp4"
    clip.write_bytes(b"half")
    real = hashes._sha256

    def while_it_is_copied(path):
        found = real(path)
        with path.open("ab") as file:
            file.write(b" and the rest")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(hashes, "_sha256", while_it_is_copied)
        memory = HashMemory(tmp_path / "hashes.json")
        (early,) = read_inputs(tmp_path, hashes=memory).clips
        memory.save()
    (late,) = read_inputs(tmp_path, hashes=HashMemory(tmp_path / "hashes.json")).clips

    assert hashes.how_changed(early) == "its file changed"
    assert hashes.how_changed(late) is None
    assert late.sha256 == hashlib.sha256(b"half and the rest").hexdigest()


def test_hashes_are_remembered_until_the_file_changes(tmp_path):
    put(tmp_path, "a.mp4")
    memory = tmp_path / "hashes.json"
    first = HashMemory(memory)
    before = first.sha256(tmp_path / "a.mp4", "a.mp4")
    first.save()
    stamp = (tmp_path / "a.mp4").stat()

    (tmp_path / "a.mp4").write_bytes(b"BYTES of a.mp4")  # as long as before
    os.utime(tmp_path / "a.mp4", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))

    assert HashMemory(memory).sha256(tmp_path / "a.mp4", "a.mp4") == before
    rehashed = HashMemory(memory, rehash=True).sha256(tmp_path / "a.mp4", "a.mp4")
    assert rehashed != before
    os.utime(tmp_path / "a.mp4", ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))
    assert HashMemory(memory).sha256(tmp_path / "a.mp4", "a.mp4") == rehashed


@given(st.lists(st.from_regex(r"([ab]/)?[xy]\.(mp4|mov|MP4|png)", fullmatch=True), unique=True))
def test_names_of_clips_are_unique_and_do_not_depend_on_order(paths):
    named = name_clips(paths)

    assert len(set(named.values())) == len(paths)
    assert named == name_clips(sorted(paths, reverse=True))
