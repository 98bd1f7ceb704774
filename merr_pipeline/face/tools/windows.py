"""Windows into a frame: one around a face that is followed, and many to search a frame in pieces.

It is imported inside a tool's own environment, so it takes nothing beyond numpy.
"""

from __future__ import annotations

import numpy as np

AROUND = 2.2  # side of a face's window, in sides of the detected box
INNER = (0.25, 0.75)  # a face whose centre leaves this part of its window gets a new one,
FILLED = (0.3, 0.75)  # and so does one that comes to fill less or more of it
PIECES = (1.0, 0.5)  # sides of the pieces, in the shorter side of the frame


class Window:
    """A square part of the frame; what of it lies outside is cut off."""

    def __init__(self, centre: np.ndarray, side: float) -> None:
        self.corner = np.maximum(centre - side / 2, 0).astype(int)
        self.end = np.maximum(np.ceil(centre + side / 2), 0).astype(int)
        self.centre, self.side = centre, side

    @classmethod
    def around(cls, box: np.ndarray) -> Window:
        """One in which a face with this box (left, top, right, bottom) lies well."""
        return cls(middle(box), AROUND * long_side(box))

    def cut(self, image: np.ndarray) -> np.ndarray:
        """The pixels in it."""
        (left, top), (right, bottom) = self.corner, self.end
        return image[top:bottom, left:right]

    def suits(self, box: np.ndarray) -> bool:
        """Whether a face lies well in it."""
        place = (middle(box) - self.centre) / self.side + 0.5
        inside = (INNER[0] <= place).all() and (place <= INNER[1]).all()
        return bool(inside and FILLED[0] <= long_side(box) / self.side <= FILLED[1])


def pieces(height: int, width: int) -> list[Window]:
    """Squares that cover the frame and overlap by half."""
    squares = []
    for share in PIECES:
        side = share * min(height, width)
        rows, columns = (
            np.linspace(side / 2, length - side / 2, max(1, int(np.ceil(2 * length / side)) - 1))
            for length in (height, width)
        )
        squares += [Window(np.array([x, y]), side) for y in rows for x in columns]
    return squares


def middle(box: np.ndarray) -> np.ndarray:
    """Centre of a box: x, y."""
    return np.asarray((box[:2] + box[2:]) / 2)


def long_side(box: np.ndarray) -> float:
    """The longer side of a box."""
    return float(max(box[2:] - box[:2]))
