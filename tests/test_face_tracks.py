import numpy as np
import pytest

from merr_pipeline.face.tracks import Box, Sighting, build_tracks

ONE_SHOT = [{"start_frame": 0, "end_frame": 1000, "start_s": 0.0, "end_s": 40.0, "fade_frames": 0}]
TWO_SHOTS = [
    {"start_frame": 0, "end_frame": 5, "start_s": 0.0, "end_s": 0.2, "fade_frames": 0},
    {"start_frame": 5, "end_frame": 1000, "start_s": 0.2, "end_s": 40.0, "fade_frames": 0},
]


def seen(frame, x, y=50.0, side=100.0, points=None):
    return Sighting(frame, frame / 25, Box(x, y, side, side), 0.9, points)


def frames_of(tracks):
    return [[sighting.frame_index for sighting in track.sightings] for track in tracks]


def test_a_face_that_moves_slowly_is_one_track():
    tracks = build_tracks([seen(i, 100 + 10 * i) for i in range(10)], ONE_SHOT, 0.3)
    assert frames_of(tracks) == [list(range(10))]


def test_a_gap_of_just_the_longest_allowed_never_begins_a_track_wherever_it_is():
    for begin_ms in range(0, 20_000, 37):
        pair = [
            Sighting(number, (begin_ms + later_ms) / 1000, Box(50, 50, 100, 100), 0.9)
            for number, later_ms in enumerate((0, 300))
        ]
        assert len(build_tracks(pair, ONE_SHOT, 0.3)) == 1


def test_frames_in_which_two_shots_are_mixed_belong_to_no_track():
    faded = [TWO_SHOTS[0], {**TWO_SHOTS[1], "fade_frames": 3}]
    tracks = build_tracks([seen(i, 100) for i in range(12)], faded, 0.3)
    assert frames_of(tracks) == [[0, 1, 2, 3, 4], [8, 9, 10, 11]]


def test_two_people_who_are_seen_in_any_order_keep_their_tracks():
    sightings = []
    for i in range(6):
        left, right = seen(i, 100), seen(i, 300, side=80 + 8 * i)
        sightings += [left, right] if i % 2 else [right, left]  # the tools give the largest first

    tracks = build_tracks(sightings, ONE_SHOT, 0.3)

    assert frames_of(tracks) == [list(range(6))] * 2
    assert sorted({s.box.x for s in track.sightings} == {100} for track in tracks) == [False, True]


def test_of_two_faces_close_together_each_goes_on_with_the_nearer_track():
    sightings = [seen(0, 100), seen(0, 150), seen(1, 140), seen(1, 105)]
    tracks = build_tracks(sightings, ONE_SHOT, 0.3)
    assert [[s.box.x for s in track.sightings] for track in tracks] == [[100, 105], [150, 140]]


def test_a_short_gap_is_bridged_and_its_frames_are_left_out():
    tracks = build_tracks([seen(i, 100) for i in (0, 1, 8, 9)], ONE_SHOT, 0.3)
    assert frames_of(tracks) == [[0, 1, 8, 9]]


def test_a_gap_longer_than_the_limit_begins_a_new_track():
    tracks = build_tracks([seen(i, 100) for i in (0, 1, 10, 11)], ONE_SHOT, 0.3)
    assert frames_of(tracks) == [[0, 1], [10, 11]]


def test_a_track_never_crosses_a_cut():
    tracks = build_tracks([seen(i, 100) for i in range(8)], TWO_SHOTS, 0.3)
    assert frames_of(tracks) == [[0, 1, 2, 3, 4], [5, 6, 7]]
    assert [track.shot for track in tracks] == [0, 1]


def test_a_jump_to_another_place_within_a_shot_begins_a_new_track():
    sightings = [seen(i, 100) for i in range(3)] + [seen(i, 300) for i in range(3, 6)]
    assert frames_of(build_tracks(sightings, ONE_SHOT, 0.3)) == [[0, 1, 2], [3, 4, 5]]


def test_another_face_in_the_same_place_begins_a_new_track():
    one = np.array([[120.0, 80.0], [180.0, 80.0], [150.0, 130.0]])
    other = one[::-1] + 10
    sightings = [seen(i, 100, points=one) for i in range(3)]
    sightings += [seen(i, 100, points=other) for i in range(3, 6)]

    assert frames_of(build_tracks(sightings, ONE_SHOT, 0.3)) == [[0, 1, 2], [3, 4, 5]]


def test_without_places_there_is_one_track_per_shot():
    sightings = [Sighting(i, i / 25, None, 0.9) for i in range(8)]
    assert frames_of(build_tracks(sightings, TWO_SHOTS, 0.3)) == [[0, 1, 2, 3, 4], [5, 6, 7]]


def test_overlap_is_intersection_over_union():
    assert Box(0, 0, 10, 10).overlap(Box(5, 0, 10, 10)) == pytest.approx(50 / 150)
    assert Box(0, 0, 10, 10).overlap(Box(20, 0, 10, 10)) == 0
    assert Box(0, 0, 0, 0).overlap(Box(0, 0, 0, 0)) == 0
