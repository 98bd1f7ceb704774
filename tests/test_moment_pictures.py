from __future__ import annotations

import cv2
import numpy as np
import pytest

from merr_pipeline.media import frame_jpeg
from merr_pipeline.moment.pictures import face_jpeg, square_around


def read(jpeg: bytes) -> np.ndarray:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1), cv2.COLOR_BGR2RGB)


def flat(width: int, height: int, rgb=(200, 60, 20)) -> np.ndarray:
    return np.full((height, width, 3), rgb, np.uint8)


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((1920, 1080), (448, 252)), ((1080, 1920), (252, 448)), ((448, 448), (448, 448))],
)
def test_the_long_side_of_the_frame_is_at_most_the_wanted_one(size, wanted):
    picture = read(frame_jpeg(flat(*size), 448, 90))

    assert picture.shape == (wanted[1], wanted[0], 3)


def test_a_small_frame_is_never_enlarged():
    assert read(frame_jpeg(flat(100, 60), 448, 90)).shape == (60, 100, 3)


def test_colours_keep_their_order():
    assert read(frame_jpeg(flat(64, 64), 448, 90)).mean(axis=(0, 1)) == pytest.approx(
        [200, 60, 20], abs=4
    )


def test_the_same_frame_gives_the_same_bytes():
    frame = np.random.default_rng(1).integers(0, 255, (300, 500, 3), dtype=np.uint8)

    assert frame_jpeg(frame, 448, 90) == frame_jpeg(frame.copy(), 448, 90)


def test_the_face_picture_is_a_square_with_the_face_in_its_middle():
    frame = flat(400, 300, (0, 0, 0))
    frame[100:180, 200:260] = 255  # 60 x 80
    box = {"x": 200.0, "y": 100.0, "width": 60.0, "height": 80.0}

    picture = read(face_jpeg(frame, box, 224, 95))

    assert picture.shape == (224, 224, 3)
    rows, columns = np.nonzero(picture[:, :, 0] > 128)
    assert (columns.min() + columns.max()) / 2 == pytest.approx(111.5, abs=2)
    assert (rows.min() + rows.max()) / 2 == pytest.approx(111.5, abs=2)
    # the square is 1.5 times the longer side: 120 px become 224
    assert rows.max() - rows.min() == pytest.approx(80 * 224 / 120, abs=4)


def test_a_face_at_the_border_is_padded_not_stretched():
    frame = flat(200, 200, (255, 255, 255))
    box = {"x": -20.0, "y": 60.0, "width": 80.0, "height": 80.0}

    square = square_around(frame, box)

    assert square.shape == (120, 120, 3)
    assert (square[:, :40] == 0).all()  # the square begins 40 px left of the frame
    assert (square[:, 40:] == 255).all()


def test_a_box_outside_the_frame_gives_a_black_square_and_no_error():
    assert (square_around(flat(50, 50), {"x": 90, "y": 90, "width": 20, "height": 20}) == 0).all()
