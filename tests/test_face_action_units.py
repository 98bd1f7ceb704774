import numpy as np
import pytest
from made_mesh import made_mesh, mirrored, shown, smile
from test_face_pose import rotation

from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.face.action_units import measure_face
from merr_pipeline.face.geometry import load_geometry
from merr_pipeline.schema import MerrError

GEOMETRY = load_geometry()
REST = made_mesh(GEOMETRY)
MAX_YAW_DEG = 35.0
ACTIVE_AT = 1.5


def measure(frames, **view):
    return measure_face(shown(frames, GEOMETRY, **view), GEOMETRY, MAX_YAW_DEG, ACTIVE_AT)


def move(points, shift, *which):
    return {**points, **{point: points[point] + shift for point in which}}


def short_event(moved, at=20, frames=40, length=5):
    """At rest but for ``length`` frames around ``at``."""
    return [moved if abs(i - at) <= length // 2 else REST for i in range(frames)]


def test_a_face_at_rest_has_no_action_units():
    units = measure([REST] * 20).units
    assert all(series.value == pytest.approx(0, abs=1e-6) for series in units.values())


def test_a_smile_is_measured_by_how_far_the_corners_move():
    value = measure(short_event(smile(REST, 0.6))).units["AU12"].value
    assert value[20] == pytest.approx(3.0, abs=0.01)
    assert value[:17] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("code", "moved", "expected"),
    [
        ("AU01", move(REST, [0, -0.05, 0], 55, 107, 285, 336), 2.5),
        ("AU07", move(REST, [0, -0.014, 0], 145, 153, 144, 374, 380, 373), 2.0),
        ("AU15", move(REST, [0, 0.036, 0], 61, 291), 2.0),
        ("AU25", move(REST, [0, 0.07, 0], 14), 2.5),
        ("AU26", move(REST, [0, 0.10, 0], 152), 2.0),
        ("AU06", move(REST, [0, -0.045, 0], 205, 50, 101, 425, 280, 330), 1.5),
        # half closed: 50 % of the opening, of which the first 25 % do not count
        ("AU45", move(REST, [0, 0.05, 0], 159, 158, 160, 386, 385, 387), 2.5),
    ],
)
def test_each_unit_follows_its_own_motion(code, moved, expected):
    units = measure(short_event(moved)).units
    assert units[code].value[20] == pytest.approx(expected, abs=0.02)


def test_a_head_that_turns_moves_and_comes_nearer_shows_no_action_units():
    frames = [
        shown([REST], GEOMETRY, rotation=rotation(-10 + i, -20 + 2 * i, i / 2),
              centre_px=(200 + 5 * i, 240), eye_distance_px=80 + 2 * i)[0]
        for i in range(20)
    ]  # fmt: skip
    face = measure_face(np.array(frames), GEOMETRY, MAX_YAW_DEG, ACTIVE_AT)

    assert face.pose.yaw_deg == pytest.approx([-20 + 2 * i for i in range(20)], abs=1e-3)
    assert face.pose.pitch_deg == pytest.approx([-10 + i for i in range(20)], abs=1e-3)
    assert all(series.value == pytest.approx(0, abs=1e-6) for series in face.units.values())


def test_a_face_turned_too_far_is_not_measured():
    frames = shown([REST] * 20, GEOMETRY)
    frames[5:10] = shown([smile(REST, 1.0)] * 5, GEOMETRY, rotation=rotation(yaw=36))
    face = measure_face(frames, GEOMETRY, MAX_YAW_DEG, ACTIVE_AT)

    for series in (face.units["AU12"].value, face.units["AU12"].absolute):
        assert np.isnan(series[5:10]).all()
        assert series[[4, 10]] == pytest.approx(0, abs=1e-6)
    assert face.pose.yaw_deg[7] == pytest.approx(36, abs=0.1)


@pytest.mark.parametrize("share", [0.6, 0.7, 0.8, 1.0])
def test_a_smile_that_lasts_is_no_rest_and_its_absence_lowers_no_lip_corners(share):
    smiling = int(40 * share)
    units = measure([REST] * (40 - smiling) + [smile(REST, 0.6)] * smiling).units

    assert units["AU12"].rest == "common"
    assert units["AU12"].value[-1] == pytest.approx(3.0, abs=0.01)
    assert units["AU12"].value[: 40 - smiling] == pytest.approx(0, abs=0.01)
    assert (units["AU15"].rest, np.isnan(units["AU15"].value).all()) == ("raised", True)
    for code in ("AU12", "AU15"):  # each side's rest is none either
        assert np.isnan(units[code].asymmetry).all()
    others = {code: unit.rest for code, unit in units.items() if code not in ("AU12", "AU15")}
    assert set(others.values()) == {"own"}


@pytest.mark.parametrize(("amount", "rest"), [(0.29, "own"), (0.301, "common")])
def test_a_rest_is_one_until_a_unit_is_active_in_it(amount, rest):
    assert measure([smile(REST, amount)] * 30).units["AU12"].rest == rest


def test_a_mouth_open_from_end_to_end_is_measured_against_a_closed_one():
    open_mouth = move(REST, [0, 0.07, 0], 14)
    units = measure([open_mouth] * 30).units

    assert units["AU25"].rest == "common"
    assert units["AU25"].value == pytest.approx(units["AU25"].absolute)
    assert units["AU25"].value[0] > 2
    assert {units[code].rest for code in ("AU12", "AU15", "AU26")} == {"own"}


def test_only_two_units_have_an_absolute_value():
    units = measure([REST] * 20).units
    assert [code for code, series in units.items() if series.absolute is not None] == [
        "AU12",
        "AU25",
    ]


def test_one_frame_of_jitter_is_filtered_out():
    frames = [smile(REST, 1.0) if i == 20 else REST for i in range(40)]
    assert measure(frames).units["AU12"].value == pytest.approx(0, abs=1e-6)


def test_a_track_too_short_for_a_rest_has_absolute_values_only():
    face = measure([smile(REST, 0.6)] * (GEOMETRY.baseline_frames - 1))
    assert not face.has_baseline
    assert face.units["AU12"].value == pytest.approx(3.0, abs=0.01)
    rests = {code: unit.rest for code, unit in face.units.items()}
    assert {rests.pop(code) for code in ("AU12", "AU25")} == {"common"}
    assert set(rests.values()) == {"short"}
    assert all(np.isnan(face.units[code].value).all() for code in rests)


def test_frames_turned_away_do_not_count_towards_a_rest():
    frames = shown([REST] * 20, GEOMETRY)
    frames[9:] = shown([REST] * 11, GEOMETRY, rotation=rotation(yaw=50))
    assert not measure_face(frames, GEOMETRY, MAX_YAW_DEG, ACTIVE_AT).has_baseline


def test_every_unit_with_a_tier_is_measured():
    assert set(GEOMETRY.action_units) >= set(load_action_units().tools["facemesh"].aus)


ONE_SIDED = [
    ("AU01", move(REST, [0, -0.05, 0], 285, 336), 2.5),
    ("AU07", move(REST, [0, -0.014, 0], 374, 380, 373), 2.0),
    ("AU12", move(REST, [0, -0.066, 0], 291), 3.0),
    # a wink: three quarters shut, of which the first quarter does not count
    ("AU45", move(REST, [0, 0.075, 0], 386, 385, 387), 5.0),
]
"""On the person's left alone, by as much as makes the value given, were it on both sides."""


@pytest.mark.parametrize(("code", "moved", "expected"), ONE_SIDED)
def test_what_the_left_side_does_alone_is_a_positive_asymmetry(code, moved, expected):
    unit = measure(short_event(moved)).units[code]
    assert unit.asymmetry[20] == pytest.approx(expected, abs=0.02)
    assert unit.asymmetry[:17] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("code", "moved", "expected"), ONE_SIDED)
def test_the_same_in_a_mirror_is_as_negative(code, moved, expected):
    unit = measure(short_event(mirrored(moved))).units[code]
    assert unit.asymmetry[20] == pytest.approx(-expected, abs=0.02)


def test_both_sides_alike_are_not_asymmetric():
    units = measure(short_event(smile(REST, 0.6))).units
    assert units["AU12"].asymmetry == pytest.approx(0, abs=1e-6)


def test_a_face_that_is_lopsided_at_rest_is_not_asymmetric():
    units = measure([move(REST, [0, 0.05, 0], 291)] * 20).units
    assert units["AU12"].asymmetry == pytest.approx(0, abs=1e-6)


def test_one_side_is_told_from_the_other_on_a_head_that_turns_and_tilts():
    moved = move(REST, [0, -0.066, 0], 291)
    frames = [
        shown([moved if 10 <= i < 15 else REST], GEOMETRY, rotation=rotation(-8, i - 15, i / 2))[0]
        for i in range(30)
    ]
    asymmetry = (
        measure_face(np.array(frames), GEOMETRY, MAX_YAW_DEG, ACTIVE_AT).units["AU12"].asymmetry
    )
    assert asymmetry[12] == pytest.approx(3.0, abs=0.05)
    assert asymmetry[20:] == pytest.approx(0, abs=1e-3)


def test_a_head_turned_so_far_that_one_side_is_guessed_has_no_asymmetry():
    frames = shown([REST] * 30, GEOMETRY)
    frames[10:15] = shown([smile(REST, 0.6)] * 5, GEOMETRY, rotation=rotation(yaw=21))
    unit = measure_face(frames, GEOMETRY, MAX_YAW_DEG, ACTIVE_AT).units["AU12"]
    assert np.isnan(unit.asymmetry[10:15]).all()
    assert np.isfinite(unit.asymmetry[[9, 15]]).all()
    assert unit.value[12] == pytest.approx(3.0, abs=0.02)


def test_without_a_rest_there_is_no_asymmetry():
    few = GEOMETRY.baseline_frames - 1
    frames = shown([REST] * 30, GEOMETRY, rotation=rotation(yaw=30))
    frames[:few] = shown([REST] * few, GEOMETRY)
    assert np.isnan(
        measure_face(frames, GEOMETRY, MAX_YAW_DEG, ACTIVE_AT).units["AU12"].asymmetry
    ).all()


def test_units_in_the_middle_of_the_face_have_no_asymmetry():
    units = measure([REST] * 20).units
    assert {code for code, unit in units.items() if unit.asymmetry is None} == {"AU25", "AU26"}


def test_the_points_asked_for_are_all_that_is_needed_and_no_more():
    assert set(GEOMETRY.points()) == set(REST)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("feature: jaw", "feature: chin", "no feature chin"),
        ("AU25: {lip_gap: 0.02}", "AU25: {jaw: 0.02}", "absolute.AU25 must give its features"),
        ("distance: [[[13], [14]]]", "distance: [[[13], [478]]]", "less than 478"),
        ("AU26: [{", "AU6: [{", "write it as AU12"),
        ("[[[61], [291]]]", "[[[61], [291]]]\n    sided: true", "a sided feature has two pairs"),
    ],
)
def test_a_wrong_geometry_is_refused_with_its_place(tmp_path, old, new, message):
    from merr_pipeline.templates import load_template

    text = load_template("face_geometry.yaml").text
    assert old in text
    (tmp_path / "face_geometry.yaml").write_text(text.replace(old, new))
    with pytest.raises(MerrError, match=message):
        load_geometry(tmp_path)
