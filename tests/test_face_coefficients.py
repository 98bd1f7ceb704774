from __future__ import annotations

import numpy as np
import pytest
from made_mesh import made_mesh
from test_face_pose import rotation

from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.face.coefficients import load_blendshapes, read_units, sides_of
from merr_pipeline.face.gaze import measure_gaze
from merr_pipeline.face.geometry import load_geometry
from merr_pipeline.face.pose import fit_rotations, head_pose
from merr_pipeline.schema import MerrError
from merr_pipeline.templates import load_template

TABLE = load_blendshapes()
GEOMETRY = load_geometry()
UNITS = list(load_action_units().tools["blendshapes"].aus)
ALL = list(TABLE.action_units)
FRAMES = 40
EYES = TABLE.gaze


def face(**events):
    """Coefficients at .1 that rise to the given value in frames 18 to 22."""
    series = {name: np.full(FRAMES, 0.1) for name in TABLE.coefficients(ALL)}
    for name, height in events.items():
        series[name] = np.where(np.abs(np.arange(FRAMES) - 20) <= 2, height, 0.1)
    return series


def read(shapes, units=UNITS, usable=None, facing=None):
    everywhere = np.ones(FRAMES, bool)
    usable = everywhere if usable is None else usable
    facing = everywhere if facing is None else facing
    return read_units(shapes, units, usable, facing, TABLE, active_at=1.5)


def both(name, height):
    return dict.fromkeys(sides_of(name), height)


@pytest.mark.parametrize(
    ("code", "event", "expected"),
    [
        ("AU01", {"browInnerUp": 0.5}, 2.0),
        ("AU06", both("mouthSmile", 0.7) | both("eyeSquint", 0.3), 2.0),
        ("AU07", both("eyeSquint", 0.9), 4.0),
        ("AU12", both("mouthSmile", 0.7), 3.0),
        ("AU15", both("mouthFrown", 0.3), 1.0),
        ("AU25", {"jawOpen": 0.9}, 4.0),
        ("AU25", both("mouthUpperUp", 0.6), 2.5),
        ("AU45", both("eyeBlink", 1.0), 4.5),
    ],
)
def test_a_unit_is_five_times_what_its_coefficients_rise_above_their_rest(code, event, expected):
    units, has_rest = read(face(**event), ALL)
    assert has_rest
    assert units[code].value[20] == pytest.approx(expected)
    assert units[code].value[:17] == pytest.approx(0, abs=1e-9)


def test_a_closed_mouth_over_a_dropped_jaw_parts_no_lips():
    units, _ = read(face(jawOpen=0.7, mouthClose=0.7))
    assert units["AU25"].value == pytest.approx(0, abs=1e-9)


def test_the_value_is_the_mean_of_both_sides_and_the_asymmetry_left_less_right():
    units, _ = read(face(mouthSmileLeft=0.9, mouthSmileRight=0.3))
    assert units["AU12"].value[20] == pytest.approx(2.5)
    assert units["AU12"].asymmetry[20] == pytest.approx(3.0)

    units, _ = read(face(mouthSmileLeft=0.1, mouthSmileRight=0.9))
    assert units["AU12"].asymmetry[20] == pytest.approx(-4.0)


def test_a_face_that_is_lopsided_at_rest_is_not_asymmetric():
    shapes = face()
    shapes["mouthSmileLeft"] += 0.3
    assert read(shapes)[0]["AU12"].asymmetry == pytest.approx(0, abs=1e-9)


def test_only_units_with_two_sides_have_an_asymmetry():
    units, _ = read(face())
    sided = {code for code, series in units.items() if series.asymmetry is not None}
    assert sided == {"AU04", "AU07", "AU12", "AU15", "AU45"}


def test_where_one_side_is_guessed_there_is_no_asymmetry_and_it_does_not_shape_the_rest():
    facing = np.arange(FRAMES) >= 15
    shapes = face(mouthSmileLeft=0.9)
    shapes["mouthSmileLeft"][:15] = 0.8
    unit = read(shapes, facing=facing)[0]["AU12"]
    assert np.isnan(unit.asymmetry[:15]).all()
    assert unit.asymmetry[20] == pytest.approx(4.0)
    assert np.isfinite(unit.value).all()


@pytest.mark.parametrize(
    ("smiling", "rest", "value"), [(0.29, "own", 0), (0.3, "common", 1.5), (0.8, "common", 4)]
)
def test_a_smile_that_lasts_is_no_rest(smiling, rest, value):
    shapes = face()
    for name in sides_of("mouthSmile"):
        shapes[name] = np.where(np.arange(FRAMES) < 10, 0.1, smiling)
    units, _ = read(shapes)
    assert units["AU12"].rest == rest
    assert units["AU12"].value[20] == pytest.approx(value, abs=1e-9)
    assert units["AU12"].absolute[20] == pytest.approx(5 * smiling)
    assert {code for code, series in units.items() if series.rest != "own"} <= {"AU12"}


def test_frames_that_are_not_usable_are_not_measured_and_do_not_shape_the_rest():
    usable = np.arange(FRAMES) >= 25
    shapes = face()
    shapes["browInnerUp"] = np.where(usable, 0.2, 0.9)
    series = read(shapes, usable=usable)[0]["AU01"].value
    assert np.isnan(series[:25]).all()
    assert series[25:] == pytest.approx(0, abs=1e-9)


def test_only_two_units_have_an_absolute_value():
    units, _ = read(face())
    assert {code for code, s in units.items() if s.absolute is not None} == {"AU12", "AU25"}


def test_a_track_too_short_for_a_rest_has_absolute_values_only():
    usable = np.arange(FRAMES) < TABLE.baseline_frames - 1
    units, has_rest = read(face(**both("mouthSmile", 0.5)), usable=usable)
    assert not has_rest
    measured = {code for code, series in units.items() if np.isfinite(series.value).any()}
    assert measured == {"AU12", "AU25"}
    assert {units[code].rest for code in measured} == {"common"}
    assert {series.rest for code, series in units.items() if code not in measured} == {"short"}
    assert np.isnan(units["AU12"].asymmetry).all()
    assert units["AU12"].value[:9] == pytest.approx(0.5)
    assert units["AU12"].absolute[:9] == pytest.approx(0.5)
    assert np.isnan(units["AU12"].absolute[9:]).all()


def test_one_frame_of_jitter_is_filtered_out():
    shapes = face()
    shapes["browInnerUp"][20] = 1.0
    assert read(shapes)[0]["AU01"].value == pytest.approx(0, abs=1e-9)


def test_every_unit_with_a_tier_has_a_reading_and_every_reading_a_name():
    known = load_action_units()
    assert set(UNITS) <= set(TABLE.action_units) <= set(known.units)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[browInnerUp]", "[browInnerUpp]", "'browInnerUpp' is no blendshape"),
        ("[browDown]", "[browDownLeft]", "sides are left out"),
        ("AU04: {mean_of", "AU04: {greatest_of: [jawOpen], mean_of", "either `mean_of` or"),
        ("absolute: [AU12, AU25]", "absolute: [AU12, AU24]", "no reading for AU24"),
        ("AU04: {mean_of", "AU4: {mean_of", "write it as AU12"),
        ("[33, 133, 468]", "[33, 133, 478]", "less than 478"),
    ],
)
def test_a_wrong_table_is_refused_with_its_place(tmp_path, old, new, message):
    text = load_template("blendshapes.yaml").text
    assert old in text
    (tmp_path / "blendshapes.yaml").write_text(text.replace(old, new))
    with pytest.raises(MerrError, match=message):
        load_blendshapes(tmp_path)


def test_a_unit_with_a_tier_and_without_a_reading_is_refused():
    with pytest.raises(MerrError, match="no reading for AU43"):
        TABLE.coefficients(["AU12", "AU43"])


# --- gaze --------------------------------------------------------------------------------------


def gaze(iris_shift=(0.0, 0.0), closed=0.0, **angles):
    """Pitch and yaw of a made face whose irises lie off by that share of an eyeball."""
    points = made_mesh(GEOMETRY)
    for outer, inner, iris in EYES.eyes:
        off = np.array(EYES.straight) + EYES.eyeball * np.array(iris_shift)
        points[iris] = (points[outer] + points[inner]) / 2 + [*off, 0]
    turned = {**points}
    order = sorted(points)
    shifted = shown_points([turned[point] for point in order], rotation(**angles))
    face = {point: shifted[None, place] for place, point in enumerate(order)}
    anchors = np.stack([face[point] for point in GEOMETRY.anchors], axis=1)
    pose = head_pose(fit_rotations(anchors, np.array(list(GEOMETRY.anchors.values()))))
    pitch_deg, yaw_deg = measure_gaze(face, np.array([closed]), pose, GEOMETRY, EYES)
    return float(pitch_deg[0]), float(yaw_deg[0])


def shown_points(points, turn):
    return np.array(points) @ turn.T * 100 + (320, 240, 0)


def test_eyes_that_look_ahead_look_where_the_head_does():
    assert gaze() == pytest.approx((0, 0), abs=1e-6)
    assert gaze(pitch=-20, yaw=30, roll=15) == pytest.approx((-20, 30), abs=1e-6)


@pytest.mark.parametrize(
    ("iris_shift", "expected"),
    [((0.5, 0), (0, 30)), ((-0.5, 0), (0, -30)), ((0, 0.5), (-30, 0)), ((0, -0.5), (30, 0))],
)
def test_irises_off_the_middle_turn_the_gaze_by_the_arc_of_their_way(iris_shift, expected):
    """To the viewer's right and up are positive."""
    assert gaze(iris_shift) == pytest.approx(expected, abs=1e-6)


def test_eyes_that_turn_against_the_head_look_into_the_camera():
    assert gaze((-0.5, 0), yaw=30) == pytest.approx((0, 0), abs=1e-6)


def test_where_shut_eyes_look_is_not_known():
    assert np.isnan(gaze(closed=EYES.closed_at)).all()
    assert not np.isnan(gaze(closed=EYES.closed_at - 0.01)).any()
