import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merr_pipeline.face.pose import fit_rotations, from_openface, head_pose

REFERENCE = np.array([[-1, 0, 0.0], [1, 0, 0], [0, 1, -0.5], [0, -1, 0.2], [0.3, 0.1, -1]])


def rotation(pitch=0.0, yaw=0.0, roll=0.0):
    """By its meaning: tilt about the nose, then raise the face, then turn it to the right."""
    p, y, r = np.radians([pitch, yaw, roll])
    tilt = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    lift = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    turn = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    return turn @ lift @ tilt


def test_a_face_that_looks_up_has_a_positive_pitch():
    nose = rotation(pitch=20) @ [0, 0, -1]
    assert nose[1] < 0  # y is down
    assert head_pose(rotation(pitch=20)[None]).pitch_deg[0] == pytest.approx(20)


def test_a_face_turned_to_the_viewers_right_has_a_positive_yaw():
    nose = rotation(yaw=30) @ [0, 0, -1]
    assert nose[0] > 0
    assert head_pose(rotation(yaw=30)[None]).yaw_deg[0] == pytest.approx(30)


def test_a_face_tilted_clockwise_has_a_positive_roll():
    forehead = rotation(roll=15) @ [0, -1, 0]
    assert forehead[0] > 0
    assert head_pose(rotation(roll=15)[None]).roll_deg[0] == pytest.approx(15)


@given(st.floats(-80, 80), st.floats(-170, 170), st.floats(-170, 170))
def test_the_angles_of_a_rotation_are_found_again(pitch, yaw, roll):
    pose = head_pose(rotation(pitch, yaw, roll)[None])
    assert [angle[0] for angle in pose] == pytest.approx([pitch, yaw, roll], abs=1e-6)


@given(st.floats(-80, 80), st.floats(-170, 170), st.floats(-170, 170), st.floats(0.1, 500))
def test_a_turned_scaled_and_moved_shape_gives_its_rotation(pitch, yaw, roll, scale):
    turn = rotation(pitch, yaw, roll)
    points = REFERENCE @ turn.T * scale + [300, 200, 5]
    assert fit_rotations(points[None], REFERENCE)[0] == pytest.approx(turn, abs=1e-6)


def test_a_mirrored_shape_gives_a_rotation_and_never_a_reflection():
    mirrored = REFERENCE * [-1, 1, 1]
    assert np.linalg.det(fit_rotations(mirrored[None], REFERENCE)[0]) == pytest.approx(1)


def test_openface_angles_keep_their_meaning():
    angles = np.radians([[10.0, 0, 0], [0, 10, 0], [0, 0, 10]])

    pose = head_pose(from_openface(*angles))

    # OpenFace: Rx positive looks down, Ry positive looks to the viewer's left
    assert pose.pitch_deg == pytest.approx([-10, 0, 0])
    assert pose.yaw_deg == pytest.approx([0, -10, 0])
    assert pose.roll_deg == pytest.approx([0, 0, 10])
