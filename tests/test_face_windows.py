from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merr_pipeline.face.tools.meshes import (
    LONG_SIDE_PX,
    MARKS,
    Detection,
    confirm,
    next_due_s,
    shrink,
)
from merr_pipeline.face.tools.windows import Window, pieces

FACE = np.array([100.0, 50.0, 180.0, 130.0])


def moved(shift, scale=1.0):
    centre, half = (FACE[:2] + FACE[2:]) / 2 + shift, (FACE[2:] - FACE[:2]) / 2 * scale
    return np.concatenate([centre - half, centre + half])


@given(st.integers(16, 500), st.integers(16, 500))
def test_the_pieces_of_a_frame_cover_it_once_in_large_and_once_in_small(height, width):
    frame = np.zeros((height, width), int)
    for piece in pieces(height, width):
        piece.cut(frame)[...] += 1
        assert piece.cut(frame).shape[0] <= min(height, width) + 2
    assert frame.min() >= 2  # once whole, once in a small piece


def test_a_small_face_lies_whole_in_a_piece_wherever_it_is():
    side = 1080 // 4
    for left in range(0, 1920 - side, 37):
        for top in range(0, 1080 - side, 37):
            assert any(
                (piece.corner <= (left, top)).all()
                and (piece.end >= (left + side, top + side)).all()
                for piece in pieces(1080, 1920)
            )


def test_a_window_stays_while_its_face_lies_well_in_it():
    window = Window.around(FACE)
    assert window.suits(FACE)
    assert window.suits(moved((40, -40)))
    assert not window.suits(moved((45, 0)))  # a quarter of its side is 44
    assert window.suits(moved((0, 0), scale=1.6))
    assert not window.suits(moved((0, 0), scale=1.7))  # it would fill three quarters
    assert not window.suits(moved((0, 0), scale=0.6))


def test_what_of_a_window_lies_outside_the_frame_is_cut_off():
    frame = np.arange(100 * 200).reshape(100, 200)
    window = Window(np.array([10.0, 95.0]), 40)
    assert window.corner.tolist() == [0, 75]
    assert window.cut(frame).shape == (25, 30)
    assert window.cut(frame)[0, 0] == 75 * 200
    assert Window(np.array([-50.0, -50.0]), 40).cut(frame).size == 0


REQUEST = {"min_overlap": 0.3, "max_disagreement": 0.15}


def mesh_of(box, marks):
    """A mesh that fills a box and has its eyes, nose and mouth at the marks."""
    mesh = np.zeros((478, 3))
    mesh[:, :2] = (box[:2] + box[2:]) / 2
    mesh[0, :2], mesh[2, :2] = box[:2], box[2:]
    for points, mark in zip(MARKS, marks, strict=True):
        mesh[list(points), :2] = mark
    return mesh


def marks_of(box):
    width, height = box[2:] - box[:2]
    places = ((0.3, 0.3), (0.7, 0.3), (0.5, 0.55), (0.5, 0.8))
    return box[:2] + np.array(places) * (width, height)


def test_a_mesh_is_confirmed_where_both_models_see_the_same_face():
    detection = Detection(FACE, marks_of(FACE), 0.9)
    same = mesh_of(FACE, marks_of(FACE) + 8)  # a tenth of its side off, each way
    other_face = mesh_of(FACE, marks_of(FACE) + 12)
    elsewhere = mesh_of(moved((200, 0)), marks_of(moved((200, 0))))
    assert confirm(REQUEST, [detection], [elsewhere, same]) == {0: 1}
    assert confirm(REQUEST, [detection], [other_face]) == {}
    assert confirm(REQUEST, [detection], [elsewhere]) == {}


def test_no_mesh_is_confirmed_twice_and_the_nearest_goes_first():
    one, two = (Detection(FACE, marks_of(FACE) + shift, 0.9) for shift in (4, 0))
    mesh = mesh_of(FACE, marks_of(FACE))
    assert confirm(REQUEST, [one, two], [mesh]) == {1: 0}


@pytest.mark.parametrize(("now_s", "due_s"), [(0.0, 0.2), (0.04, 0.2), (1.0, 1.2), (1.1, 1.2)])
def test_the_next_look_is_a_whole_number_of_steps_after_the_first(now_s, due_s):
    assert next_due_s(0.0, now_s, 0.2) == pytest.approx(due_s)


def test_a_large_frame_is_shrunk_and_a_small_one_is_left_alone():
    small = np.zeros((90, 160, 3), np.uint8)
    assert shrink(small) == (small, 1.0)
    image, scale = shrink(np.zeros((3840, 2160, 3), np.uint8))
    assert image.shape == (LONG_SIDE_PX, 720, 3)
    assert scale == pytest.approx(1 / 3)
