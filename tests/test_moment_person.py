from __future__ import annotations

import pytest
from made_faces import make_probe, make_track, times

from merr_pipeline.moment.person import choose_person
from merr_pipeline.moment.rules import load_moment_rules

RULES = load_moment_rules()
AT = times(100)
MIDDLE = (220.0, 120.0, 200.0, 240.0)  # of 640 x 480


def smiling(frames: int) -> dict[str, list[float]]:
    return {"AU12": [0.0] * frames}


def track(number, *, first=0, last=100, shot=0, units=None, **changes):
    frames = last - first
    return make_track(
        AT[first:last],
        smiling(frames) if units is None else units,
        first_frame=first,
        track=number,
        shot=shot,
        **changes,
    )


def choose(*tracks, cuts=(), looked_at=None):
    return choose_person(tracks, make_probe(AT, cuts), RULES, looked_at=looked_at)


def at_places(seen, places):
    """The track, seen in those of its frames only."""
    rare = dict(seen)
    for name in ("frame_index", "time_s", "box", "confidence", "yaw_deg", "pitch_deg"):
        rare[name] = [seen[name][place] for place in places]
    rare["action_units"] = [
        {**unit, "value": [unit["value"][place] for place in places]}
        for unit in seen["action_units"]
    ]
    return rare


def test_one_face_is_surely_the_main_person():
    person = choose(track(0, box=MIDDLE))

    assert person.track["track"] == 0
    assert person.sure == 1.0
    assert person.coverage == 1.0


def test_the_larger_of_two_faces_is_the_main_person():
    small, large = (60.0, 200.0, 60.0, 80.0), (350.0, 120.0, 180.0, 240.0)

    person = choose(track(0, box=small), track(1, box=large))

    assert person.track["track"] == 1
    assert person.sure > 0.2


def test_a_large_face_that_only_passes_by_loses_to_a_steady_one():
    person = choose(track(0, box=(200, 20, 330, 440), last=8), track(1, box=(220, 120, 150, 180)))

    assert person.track["track"] == 1


def test_of_equal_faces_the_one_in_the_middle_wins():
    corner = (0.0, 0.0, 200.0, 240.0)

    assert choose(track(0, box=corner), track(1, box=MIDDLE)).track["track"] == 1


def test_a_face_of_which_the_tool_is_not_sure_loses():
    assert choose(track(0, confidence=0.5), track(1, confidence=0.95)).track["track"] == 1


def test_a_face_without_a_single_value_loses_to_one_that_was_measured():
    back_of_a_head = track(0, units={"AU12": [None] * 100}, box=(160.0, 60.0, 300.0, 360.0))

    assert choose(back_of_a_head, track(1, box=(300, 100, 100, 120))).track["track"] == 1


def test_the_shot_with_more_of_a_face_is_taken_and_coverage_is_of_that_shot():
    first, second = track(0, last=30), track(1, first=30, last=80, shot=1)

    person = choose(first, second, cuts=(30,))

    assert person.track["track"] == 1
    assert person.coverage == pytest.approx(50 / 70)


def test_two_faces_alike_are_not_sure_at_all_and_the_first_is_taken():
    person = choose(track(0), track(1))

    assert (person.track["track"], person.sure) == (0, 0.0)


@pytest.mark.parametrize(
    "looked",
    [range(0, 100, 3), [index for index in range(100) if index % 5 in (0, 3)]],
    ids=["every third frame", "two frames in five"],
)
def test_a_face_seen_whenever_the_tool_looked_is_always_there(looked):
    rare = at_places(track(0), looked)

    assert choose(rare, looked_at=len(looked)).coverage == 1.0
    assert choose(rare).coverage == pytest.approx(len(looked) / 100)


def test_a_flickering_face_is_not_always_there():
    flickering = at_places(track(0), range(0, 100, 2))

    person = choose(flickering, track(1, box=(0, 0, 30, 40)), looked_at=100)

    assert (person.track["track"], person.coverage) == (0, 0.5)
    assert choose(flickering, looked_at=100).coverage == 0.5


def test_a_face_that_comes_back_where_it_went_is_the_same_and_no_rival():
    person = choose(track(0, last=40), track(1, first=50))

    assert person.track["track"] == 1  # the longer one is shown
    assert person.sure == 1.0
    assert person.coverage == pytest.approx(0.9)


def test_another_face_elsewhere_later_is_a_rival():
    person = choose(track(0, last=40, box=(20.0, 120.0, 200.0, 240.0)), track(1, first=50))

    assert person.sure < 0.5
    assert person.coverage == pytest.approx(0.5)


def test_a_face_in_the_same_place_after_a_cut_is_not_taken_for_the_same():
    person = choose(track(0, last=40), track(1, first=40, shot=1), cuts=(40,))

    assert (person.track["track"], person.coverage) == (1, 1.0)
    assert person.sure < 0.5


def test_a_face_without_a_place_can_still_be_the_main_person():
    nowhere = track(0)
    nowhere["box"] = [None] * 100

    assert choose(nowhere).track["track"] == 0
    assert choose(nowhere, track(1)).track["track"] == 1
