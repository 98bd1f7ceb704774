from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_faces import make_probe, times

from merr_pipeline.clips.probe import ProbeStage
from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.face.stage import FaceStage
from merr_pipeline.face.tools.openface_csv import BadCsv, parse_openface
from merr_pipeline.schema import FACE, Clip, ClipId
from merr_pipeline.settings import load_settings
from merr_pipeline.stage import Work

UNITS = tuple(load_action_units().tools["openface"].aus)
POSE = ("pose_Tx", "pose_Ty", "pose_Tz", "pose_Rx", "pose_Ry", "pose_Rz")
POINTS = [f"{axis}_{i}" for axis in "xy" for i in range(68)]
# a square of 100 pixels whose left top corner is at (0, 0), inside it a grid of points
GRID = [(i % 9) * 12.5 for i in range(68)], [(i // 9) * 100 / 7 for i in range(68)]


def made_row(number, *, success=1, confidence=0.98, at=(200, 100), pose=(0, 0, 0), **units):
    x, y = GRID
    return {
        "frame": number,
        "face_id": 0,
        "timestamp": (number - 1) / 25,
        "confidence": confidence,
        "success": success,
        **dict(zip(POSE, (0, 0, 500, *pose), strict=True)),
        **dict(zip(POINTS, [v + at[0] for v in x] + [v + at[1] for v in y], strict=True)),
        **{f"{unit}_r": units.get(unit, 0.0) for unit in UNITS},
        "AU28_c": 0.0,
    }


def made_csv(rows, separator=", ", drop=()):
    names = [name for name in rows[0] if name not in drop]
    lines = [separator.join(names)]
    lines += [separator.join(str(row[name]) for name in names) for row in rows]
    return "\n".join(lines) + "\n"


@pytest.fixture
def annotate(tmp_path):
    """Put a CSV text beside a clip of as many frames, and give the face row."""

    def run(text, frame_times_s, cuts=(), name="clip.csv", **probe):
        folder = tmp_path / "csv"
        folder.mkdir(exist_ok=True)
        if text is not None:
            (folder / name).write_text(text)
        tree = load_settings("openface", [f"face.openface.csv_dir={folder}"], {})
        clip = Clip(ClipId("media_clip"), tmp_path / "clip.mp4", "clip.mp4", "0" * 64)
        work = Work(clip, {"probe": make_probe(frame_times_s, cuts, **probe)})
        return FaceStage(tree).annotate([work])[0]

    return run


def trace(track, unit):
    return next(item for item in track["action_units"] if item["au"] == unit)["value"]


def test_rows_become_one_track_with_its_place_pose_and_units(annotate):
    rows = [made_row(n, AU12=n / 10, pose=(math.radians(-10), 0, 0)) for n in range(1, 11)]
    row = annotate(made_csv(rows), times(10))

    assert (row["status"], row["au_scale"], row["face_tool"]) == ("ok", "intensity_0_5", "openface")
    (track,) = row["tracks"]
    assert track["frame_index"] == list(range(10))
    assert trace(track, "AU12") == [n / 10 for n in range(1, 11)]
    assert track["box"][0] == {"x": 200.0, "y": 100.0, "width": 100.0, "height": 100.0}
    assert track["pitch_deg"] == [10.0] * 10
    assert [item["au"] for item in track["action_units"]] == list(UNITS)
    assert {item["absolute"] for item in track["action_units"]} == {None}


def test_times_are_those_of_the_decoder_and_never_the_timestamp(annotate):
    uneven = [0.0, 0.033, 0.5, 0.533, 0.7]
    row = annotate(made_csv([made_row(n) for n in range(1, 6)]), uneven)
    assert row["tracks"][0]["time_s"] == uneven


def test_frames_may_be_counted_from_0_or_from_1(annotate):
    rows = [annotate(made_csv([made_row(n) for n in numbers]), times(5))
            for numbers in (range(5), range(1, 6))]  # fmt: skip
    assert [row["tracks"][0]["frame_index"] for row in rows] == [[0, 1, 2, 3, 4]] * 2


def test_a_frame_without_a_face_is_left_out_and_its_neighbours_keep_their_place_only(annotate):
    rows = [made_row(n, AU12=2.0) for n in range(1, 11)]
    rows[5] = made_row(6, success=0, confidence=0.0, AU12=0.7)  # failed rows still hold numbers
    (track,) = annotate(made_csv(rows), times(10))["tracks"]

    assert track["frame_index"] == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert trace(track, "AU12") == [2.0, 2.0, 2.0, 2.0, None, None, 2.0, 2.0, 2.0]
    assert None not in track["box"]


def test_a_row_of_little_confidence_is_not_seen(annotate):
    rows = [made_row(n, confidence=0.8 if n < 4 else 0.799) for n in range(1, 7)]
    (track,) = annotate(made_csv(rows), times(6))["tracks"]
    assert track["frame_index"] == [0, 1, 2]


def test_no_face_at_all_is_skipped(annotate):
    row = annotate(made_csv([made_row(n, success=0) for n in range(1, 6)]), times(5))
    assert (row["status"], row["reason"]) == ("skipped", "no_face")


def test_a_cut_begins_a_new_track(annotate):
    row = annotate(made_csv([made_row(n) for n in range(1, 11)]), times(10), cuts=[4])
    assert [(t["shot"], t["frame_index"][0]) for t in row["tracks"]] == [(0, 0), (1, 4)]


def test_a_jump_to_another_person_within_a_shot_begins_a_new_track(annotate):
    rows = [made_row(n, at=(200, 100) if n <= 5 else (400, 120)) for n in range(1, 11)]
    row = annotate(made_csv(rows), times(10))
    assert [t["frame_index"] for t in row["tracks"]] == [list(range(5)), list(range(5, 10))]


def test_how_many_faces_there_were_is_unknown(annotate):
    assert annotate(made_csv([made_row(1)]), [0.0])["face_count"] is None


def test_intensities_beside_a_cut_or_a_jump_are_of_two_people_and_so_of_nobody(annotate):
    rows = [made_row(n, at=(200, 100) if n <= 7 else (400, 120), AU12=2.0) for n in range(1, 11)]
    first, second, third = annotate(made_csv(rows), times(10), cuts=[4])["tracks"]

    assert trace(first, "AU12") == [2.0, 2.0, 2.0, None]  # frames 0 to 3, a cut
    assert trace(second, "AU12") == [None, 2.0, None]  # 4 to 6, another person
    assert trace(third, "AU12") == [None, 2.0, 2.0]  # 7 to 9, the end
    assert None not in [*first["box"], *second["box"], *third["box"]]


def gazes(annotate, columns, **options):
    rows = [{**made_row(n), **columns} for n in range(1, 4)]
    (track,) = annotate(made_csv(rows, **options), times(3))["tracks"]
    return track["gaze_pitch_deg"][0], track["gaze_yaw_deg"][0]


@pytest.mark.parametrize(
    ("angles", "pitch_deg", "yaw_deg"),
    [
        ((0.0, 0.0), 0, 0),
        ((math.radians(20), 0.0), 0, 20),  # to the viewer's right, which is the person's left
        ((0.0, math.radians(15)), -15, 0),  # down
        ((0.0, math.radians(-15)), 15, 0),
        ((math.radians(-60), math.atan(2 * math.tan(math.radians(10)))), -10, -60),
    ],
)
def test_gaze_is_up_positive_and_to_the_viewers_right_positive(
    annotate, angles, pitch_deg, yaw_deg
):
    columns = dict(zip(("gaze_angle_x", "gaze_angle_y"), angles, strict=True))
    assert gazes(annotate, columns) == (pytest.approx(pitch_deg), pytest.approx(yaw_deg))


def test_gaze_of_versions_without_angles_is_that_of_their_vectors(annotate):
    left, right = (0.2, 0.1, -0.97), (0.4, 0.3, -0.86)
    vectors = {f"gaze_{eye}_{axis}": value for eye, direction in enumerate((left, right))
               for axis, value in zip("xyz", direction, strict=True)}  # fmt: skip
    x, y, z = (one + other for one, other in zip(left, right, strict=True))
    angles = {"gaze_angle_x": math.atan2(x, -z), "gaze_angle_y": math.atan2(y, -z)}
    assert gazes(annotate, vectors) == gazes(annotate, angles)
    assert gazes(annotate, vectors) == (-11.734, 18.153)


def test_eyes_that_look_away_from_the_camera_and_csvs_without_gaze_have_none(annotate):
    assert gazes(annotate, {"gaze_angle_x": 3.142, "gaze_angle_y": 3.142}) == (None, None)
    assert gazes(annotate, {}) == (None, None)


EYES = [f"gaze_{eye}_{axis}" for eye in (0, 1) for axis in "xyz"]
EYE_POINTS = [f"eye_lmk_{axis}_{i}" for axis in "xyXYZ" for i in range(56)]
SPACE_POINTS = [f"{axis}_{i}" for axis in "XYZ" for i in range(68)]
SHAPE = ["p_scale", "p_rx", "p_ry", "p_rz", "p_tx", "p_ty", *(f"p_{i}" for i in range(34))]
CLASSES = [f"{unit}_c" for unit in [*UNITS, "AU28"]]
HEADS = {  # the heads that OpenFace's versions write, by their number of columns
    431: ["frame", "timestamp", "confidence", "success", *EYES, *POSE, *POINTS, *SPACE_POINTS,
          *SHAPE, *(f"{unit}_r" for unit in UNITS), *CLASSES],
    713: ["frame", "timestamp", "confidence", "success", *EYES, "gaze_angle_x", "gaze_angle_y",
          *EYE_POINTS, *POSE, *POINTS, *SPACE_POINTS, *SHAPE, *(f"{unit}_r" for unit in UNITS),
          *CLASSES],
    714: ["frame", "face_id", "timestamp", "confidence", "success", *EYES, "gaze_angle_x",
          "gaze_angle_y", *EYE_POINTS, *POSE, *POINTS, *SPACE_POINTS, *SHAPE,
          *(f"{unit}_r" for unit in UNITS), *CLASSES],
}  # fmt: skip


@pytest.mark.parametrize("separator", [", ", ","])
@pytest.mark.parametrize("columns", HEADS)
def test_csvs_of_all_versions_are_read_alike(annotate, columns, separator):
    assert len(HEADS[columns]) == columns
    looking = {"gaze_0_z": -1.0, "gaze_1_z": -1.0, "gaze_angle_x": 0.0, "gaze_angle_y": 0.0}
    rows = []
    for number in range(1, 4):
        known = {**made_row(number, AU12=1.5, pose=(0, 0.1, 0)), **looking}
        rows.append({name: known.get(name, 0.0) for name in HEADS[columns]})
    plain = [{**made_row(n, AU12=1.5, pose=(0, 0.1, 0)), **looking} for n in range(1, 4)]

    row = annotate(made_csv(rows, separator), times(3))
    assert row == annotate(made_csv(plain), times(3))
    assert (row["status"], row["flags"]) == ("ok", [])


def test_columns_are_taken_by_name_whatever_their_order_and_spacing(annotate):
    rows = [made_row(n, AU04=1.5) for n in range(1, 4)]
    plain = annotate(made_csv(rows), times(3))
    turned = [dict(reversed(list({**row, "AU12_d": 9.0}.items()))) for row in rows]
    assert annotate(made_csv(turned, separator=","), times(3)) == plain


def test_a_unit_without_a_column_has_no_trace(annotate):
    rows = [made_row(n) for n in range(1, 4)]
    row = annotate(made_csv(rows, drop=["AU09_r"]), times(3))
    assert "AU09" not in [item["au"] for item in row["tracks"][0]["action_units"]]
    assert row["flags"] == ["au_columns_missing"]


def test_a_csv_with_units_alone_gives_tracks_without_places(annotate):
    rows = [made_row(n, AU12=1.0) for n in range(1, 4)]
    row = annotate(made_csv(rows, drop=[*POINTS, *POSE]), times(3))
    assert row["flags"] == ["no_face_boxes"]
    assert row["tracks"][0]["box"] == [None] * 3
    assert row["tracks"][0]["yaw_deg"] == [None] * 3
    assert trace(row["tracks"][0], "AU12") == [1.0] * 3


def test_a_last_row_that_was_cut_short_is_left_out(annotate):
    text = made_csv([made_row(n, AU12=1.0) for n in range(1, 11)])
    short = text[: text.rindex("\n", 0, -1) + 60]  # a few fields of the last row
    (track,) = annotate(short, times(10))["tracks"]
    assert track["frame_index"] == list(range(9))


@pytest.mark.parametrize(
    ("rows", "frames", "detail"),
    [
        ([made_row(n) for n in range(1, 9)], 10, "8 rows up to frame 7 for 10 frames"),
        ([made_row(n) for n in range(1, 13)], 10, "12 rows up to frame 11 for 10 frames"),
        ([made_row(1), made_row(3), made_row(2)], 3, "frame numbers do not rise"),
        ([made_row(1), made_row(1), made_row(2)], 3, "several faces a frame are not read"),
        ([made_row(1, AU12=-0.2), made_row(2)], 2, "stopped before it had finished"),
        ([made_row(1), made_row(2, AU12=7.0)], 2, "intensities from 0 to 7"),
    ],
)
def test_a_csv_that_does_not_fit_the_clip_is_refused_with_numbers(annotate, rows, frames, detail):
    row = annotate(made_csv(rows), times(frames))
    assert (row["status"], row["reason"]) == ("failed", "tool_output_invalid")
    assert detail in row["detail"]


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", "no CSV"),
        ("frame, success\n1, 1\n", "no column confidence"),
        ("frame, confidence, success\n1, 1, 1\n", "run OpenFace with -aus"),
        (made_csv([made_row(1)]).splitlines()[0], "no rows"),
    ],
)
def test_what_is_no_output_of_openface_is_refused(annotate, text, detail):
    row = annotate(text, times(1))
    assert (row["status"], row["reason"]) == ("failed", "tool_output_invalid")
    assert detail in row["detail"]


def test_one_row_more_or_less_than_frames_is_borne(annotate):
    rows = [made_row(n) for n in range(1, 11)]
    assert annotate(made_csv(rows), times(11))["tracks"][0]["frame_index"] == list(range(10))
    assert annotate(made_csv(rows), times(9))["tracks"][0]["frame_index"] == list(range(9))


def test_a_clip_without_a_csv_fails_and_says_which_names_were_looked_for(annotate):
    row = annotate(None, times(5))
    assert (row["status"], row["reason"]) == ("failed", "no_openface_csv")
    assert "media_clip.csv" in row["detail"]
    assert "clip.csv" in row["detail"]


def test_the_name_of_the_clip_goes_before_the_name_of_the_file(annotate):
    annotate(made_csv([made_row(1, AU12=1.0)]), [0.0], name="clip.csv")
    row = annotate(made_csv([made_row(1, AU12=2.0)]), [0.0], name="media_clip.csv")
    assert trace(row["tracks"][0], "AU12") == [2.0]


def face_of(csv_dir: Path, clip_id: str, media_path: str):
    tree = load_settings("openface", [f"face.openface.csv_dir={csv_dir}"], {})
    clip = Clip(ClipId(clip_id), csv_dir.parent / media_path, media_path, "0" * 64)
    stage = FaceStage(tree)
    return stage.facts(clip), stage.annotate([Work(clip, {"probe": make_probe([0.0])})])[0]


@pytest.mark.parametrize("clip_id", ["b/x", "second"])
def test_clips_of_two_folders_never_share_the_csv_of_their_file_name(tmp_path, clip_id):
    (tmp_path / "x.csv").write_text(made_csv([made_row(1)]))

    fact, row = face_of(tmp_path, clip_id, "b/x.mp4")

    assert fact == {"openface_csv": None}
    assert row["reason"] == "no_openface_csv"
    assert row["detail"] == (
        f"no {clip_id}.csv in face.openface.csv_dir; x.csv is not taken, for a clip of another "
        "folder may have that name too"
    )


def test_a_clip_in_a_folder_finds_its_csv_in_the_same_folder(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.csv").write_text(made_csv([made_row(1)]))

    fact, row = face_of(tmp_path, "b/x", "b/x.mp4")

    assert fact["openface_csv"] is not None
    assert row["status"] == "ok"


def test_a_name_that_no_file_can_have_has_no_csv(tmp_path):
    for clip_id in ("x" * 300, "x\0y"):
        fact, row = face_of(tmp_path, clip_id, "clip.mp4")
        assert fact == {"openface_csv": None}
        assert row["reason"] == "no_openface_csv"


def test_a_csv_that_may_not_be_read_fails_with_why(tmp_path, monkeypatch):
    (tmp_path / "clip.csv").write_text(made_csv([made_row(1)]))
    read = Path.read_bytes

    def refuse(path):
        if path.suffix != ".csv":
            return read(path)
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    fact, row = face_of(tmp_path, "clip", "clip.mp4")

    assert fact == {"openface_csv": None}
    assert (row["reason"], row["detail"]) == ("tool_output_invalid", "Permission denied")


def test_the_version_of_openface_is_not_known_and_not_made_up(annotate):
    assert annotate(made_csv([made_row(1)]), [0.0])["tool_version"] is None
    identity = FaceStage(load_settings("openface", (), {})).identity()
    assert "csv" not in identity.tool_version


def test_a_clip_id_never_leads_out_of_the_folder(tmp_path):
    (tmp_path / "csv").mkdir()
    (tmp_path / "outside.csv").write_text(made_csv([made_row(1)]))
    tree = load_settings("openface", [f"face.openface.csv_dir={tmp_path / 'csv'}"], {})
    for clip_id in ("../outside", str(tmp_path / "outside")):
        clip = Clip(ClipId(clip_id), tmp_path / "clip.mp4", "clip.mp4", "0" * 64)
        assert FaceStage(tree).facts(clip) == {"openface_csv": None}


def test_another_csv_is_another_fact_of_the_clip(tmp_path):
    tree = load_settings("openface", [f"face.openface.csv_dir={tmp_path}"], {})
    clip = Clip(ClipId("clip"), tmp_path / "clip.mp4", "clip.mp4", "0" * 64)
    facts = [FaceStage(tree).facts(clip)]
    for text in ("one", "two"):
        (tmp_path / "clip.csv").write_text(text)
        facts.append(FaceStage(tree).facts(clip))
    assert facts[0] == {"openface_csv": None}
    assert len({fact["openface_csv"] for fact in facts}) == 3


def test_the_folder_is_no_part_of_how_the_stage_works_and_the_threshold_is():
    def fingerprint(*overrides):
        return FaceStage(load_settings("openface", overrides, {})).identity().fingerprint()

    assert fingerprint("face.openface.csv_dir=a") == fingerprint("face.openface.csv_dir=b")
    assert fingerprint("face.openface.min_confidence=0.9") != fingerprint()


class TestAnyBytes:
    """Whatever the file holds, it is read or refused; nothing else happens."""

    @given(st.binary(max_size=300))
    def test_bytes(self, content):
        with_outcome(content)

    @given(st.text(alphabet="frame,confidenceAU12_r \n\"'0.15-nai\r\t", max_size=200))
    @example('frame,"')
    def test_almost_a_csv(self, text):
        with_outcome(("frame, confidence, success, AU12_r\n" + text).encode())

    @settings(max_examples=40)
    @given(st.integers(0, 4000))
    def test_a_file_cut_anywhere_never_gains_or_invents_a_row(self, length):
        whole = made_csv([made_row(n, AU12=2.5) for n in range(1, 4)]).encode()
        rows = with_outcome(whole[:length])
        if rows is not None:
            assert list(rows.frame_index) == list(range(len(rows.frame_index)))
            assert set(rows.intensities["AU12"]) <= {2.5, 2.0}  # "2." may be all that is left

    @settings(max_examples=25)
    @given(
        st.lists(
            st.fixed_dictionaries(
                {
                    "success": st.sampled_from([0, 1]),
                    "confidence": st.floats(0, 1).map(lambda v: round(v, 2)),
                    "value": st.floats(0, 5).map(lambda v: round(v, 2)),
                }
            ),
            min_size=1,
            max_size=12,
        )
    )
    def test_a_null_never_becomes_zero_and_a_value_never_changes(self, drawn):
        made = [
            made_row(n, success=d["success"], confidence=d["confidence"], AU12=d["value"])
            for n, d in enumerate(drawn, 1)
        ]
        rows = parse_openface(made_csv(made).encode())
        assert list(rows.success) == [d["success"] == 1 for d in drawn]
        assert list(rows.intensities["AU12"]) == [d["value"] for d in drawn]


def with_outcome(content):
    """The rows of a CSV, or None if it is refused; any other error is a failure."""
    try:
        return parse_openface(content)
    except BadCsv:
        return None


def test_a_cell_that_is_no_number_is_missing_and_not_zero():
    text = made_csv([made_row(1, AU12="-nan(ind)"), made_row(2, AU12="inf"), made_row(3)])
    values = parse_openface(text.encode()).intensities["AU12"]
    assert np.isnan(values[:2]).all()
    assert values[2] == 0


def test_the_rows_fit_the_schema(annotate):
    import pyarrow as pa

    row = annotate(made_csv([made_row(n) for n in range(1, 4)]), times(3))
    head = {"clip_id": "a", "input_key": "b", "row_hash": "c"}
    table = pa.Table.from_pylist([{**head, **row}], schema=FACE)
    assert table.to_pylist()[0]["tracks"] == row["tracks"]


@pytest.mark.shared
def test_on_a_real_clip_no_person_takes_over_anothers_track_or_intensities(shared):
    tree = load_settings("openface", [f"face.openface.csv_dir={shared / 'openface'}"], {})
    path = shared / "clips" / "samplenew_00051251.mp4"
    clip = Clip(ClipId(path.stem), path, path.name, "0" * 64)
    probe = ProbeStage(tree).annotate([Work(clip, {})])[0]
    first, second = FaceStage(tree).annotate([Work(clip, {"probe": probe})])[0]["tracks"]

    assert (first["frame_index"], second["frame_index"]) == ([*range(39)], [*range(39, 52)])
    assert max(box["x"] for box in second["box"]) < 500 < 1000 < min(b["x"] for b in first["box"])
    # the smile of the second man had reached the first one's last frame
    assert trace(first, "AU12")[-2:] == [0.0, None]
    assert trace(second, "AU12")[:2] == [None, 1.58]
    # each looks past the camera, to where the other sits
    assert max(first["gaze_yaw_deg"]) < -10 < 20 < min(second["gaze_yaw_deg"])
