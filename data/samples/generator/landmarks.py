"""Landmarks of the face by their index in the MediaPipe face mesh (478 points with the irises).

"Right" is the right side of the person, which is on the left of the picture. Lists of a brow or a
lid run from the temple to the nose, lists of a lip from the person's right corner of the mouth to
the left one.

Source: ``mediapipe.python.solutions.face_mesh_connections`` names the lips, eyes, brows and the
face oval. The skin above the lids, cheeks, nose and chin are points of the same mesh picked here.
"""

from __future__ import annotations

EYE_CORNERS = (33, 133, 362, 263)
RIGHT_EYE_OUTER, LEFT_EYE_OUTER = 33, 263
RIGHT_BROW = ((70, 63, 105, 66, 107), (46, 53, 52, 65, 55))  # upper edge, lower edge
LEFT_BROW = ((300, 293, 334, 296, 336), (276, 283, 282, 295, 285))
RIGHT_LIDS = ((246, 161, 160, 159, 158, 157, 173), (7, 163, 144, 145, 153, 154, 155))
LEFT_LIDS = ((466, 388, 387, 386, 385, 384, 398), (249, 390, 373, 374, 380, 381, 382))
LID_SKIN = (  # above the upper lids, point by point
    *(247, 30, 29, 27, 28, 56, 190),
    *(467, 260, 259, 257, 258, 286, 414),
)

MOUTH_CORNER_RIGHT, MOUTH_CORNER_LEFT = 61, 291
UPPER_LIP_OUTER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
UPPER_LIP_INNER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_LIP_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
LOWER_LIP_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
INNER_LIPS = (*UPPER_LIP_INNER, *LOWER_LIP_INNER[-2:0:-1])  # once around

CHEEKS = (50, 101, 36, 280, 330, 266)
NOSE = (168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 48, 278, 129, 358)
FOREHEAD_AND_TEMPLES = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361),
    *(109, 67, 103, 54, 21, 162, 127, 234, 93, 132),
)
FACE_OVAL_TOP, CHIN = 10, 152
JAW = {  # share of the jaw's drop that reaches the landmark
    **dict.fromkeys((152, 148, 377, 175, 171, 396, 200, 199), 1.0),
    **dict.fromkeys((176, 400), 0.95),
    **dict.fromkeys((149, 378), 0.85),
    **dict.fromkeys((150, 379), 0.7),
    **dict.fromkeys((136, 365), 0.5),
    **dict.fromkeys((172, 397), 0.3),
    **dict.fromkeys((58, 288), 0.1),
}
