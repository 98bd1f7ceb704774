from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_faces import UNITS, bump, make_track, noise, times

from merr_pipeline.moment.frames import blink_frames
from merr_pipeline.moment.peaks import (
    Moment,
    find_moment,
    local_maxima,
    moving_average,
    spaced_maxima,
    strengths,
    weights_of,
    while_talking,
)
from merr_pipeline.moment.rules import load_moment_rules
from merr_pipeline.moment.series import series_of
from merr_pipeline.settings import MomentSettings

RULES = load_moment_rules().peak
NAN = float("nan")


def moment_of(track, *, tool="openface", **settings) -> Moment:
    return find_moment(
        series_of(track),
        UNITS.tools[tool].scale,
        UNITS,
        RULES,
        MomentSettings(**settings),
    )


@pytest.mark.parametrize("fps", [10.0, 25.0, 60.0])
@pytest.mark.parametrize("seed", range(5))
def test_the_peak_is_within_two_frames_of_the_apex(fps, seed):
    at = times(int(4 * fps), fps)
    smile = bump(at, 1.2, 2.0, 3.0, height=3.0)
    track = make_track(
        at,
        {
            "AU06": 0.6 * smile + noise(len(at), 0.1, seed),
            "AU12": smile + noise(len(at), 0.1, seed + 100),
            "AU45": np.zeros(len(at)),
        },
    )

    main = moment_of(track).main

    assert main.verdict == "clear"
    assert main.strength is not None
    assert main.strength > 3
    assert abs(track["time_s"][main.position] - 2.0) <= max(0.081, 2 / fps)  # two frames at 25 Hz


@pytest.mark.parametrize("seed", range(5))
def test_a_still_face_has_no_peak_however_it_jitters(seed):
    at = times(100)
    units = {au: 0.3 + noise(100, 0.15, seed * 10 + n) for n, au in enumerate(("AU04", "AU12"))}

    moment = moment_of(make_track(at, units))

    assert moment.peaks == ()
    assert moment.main.verdict == "none"


def test_peaks_just_as_far_apart_as_they_must_be_are_two_wherever_they_are():
    strength = np.array([0.0, 3.0, 0.0, 3.0, 0.0])
    for begin_ms in range(0, 20_000, 37):
        time_s = (begin_ms + np.arange(5) * 250) / 1000
        found = spaced_maxima(time_s, strength, MomentSettings(), least_dip=1.0)
        assert found == [1, 3]


def test_a_blink_is_never_the_peak_even_when_it_moves_more_than_the_smile():
    at = times(100)
    lids = bump(at, 0.9, 1.0, 1.1, height=5.0)
    smile = bump(at, 2.0, 2.6, 3.2, height=2.0)
    track = make_track(at, {"AU07": lids, "AU01": lids, "AU12": smile, "AU45": lids})

    moment = moment_of(track)

    assert abs(moment.main.position - 65) <= 2
    assert all(abs(peak.position - 25) > 3 for peak in moment.peaks)


def test_a_blink_alone_is_no_peak():
    at = times(75)
    lids = bump(at, 1.4, 1.5, 1.6, height=5.0)

    moment = moment_of(make_track(at, {"AU07": lids, "AU45": lids}))

    assert moment.peaks == ()
    assert moment.main.verdict == "none"
    assert abs(moment.main.position - 37) > 3


@pytest.mark.parametrize(
    ("fps", "around"),
    [
        (10.0, [19, 20, 21]),  # one frame on either side, be it .1 s away
        (60.0, list(range(117, 124))),  # and all within .06 s
    ],
)
def test_the_neighbours_of_a_blink_are_left_out_too(fps, around):
    at = times(int(4 * fps), fps)
    lids = np.zeros(len(at))
    lids[round(2 * fps)] = 3.0

    near = blink_frames(series_of(make_track(at, {"AU45": lids})), 1.0, RULES)

    assert np.flatnonzero(near).tolist() == around


def test_eyes_shut_for_a_second_are_no_blink():
    at = times(100)
    crying = bump(at, 1.0, 2.0, 3.0, height=4.0)

    main = moment_of(make_track(at, {"AU04": crying, "AU45": crying})).main

    assert (main.verdict, abs(main.position - 50) <= 1) == ("clear", True)


@pytest.mark.parametrize("spike", [0, 1, 98, 99])
def test_the_first_and_last_frames_of_a_shot_are_never_the_peak(spike):
    at = times(100)
    brow = bump(at, 1.4, 2.0, 2.6, height=2.0)
    brow[spike] = 5.0

    main = moment_of(make_track(at, {"AU04": brow}), smoothing_s=0.0).main

    assert main.position == 50


@pytest.mark.parametrize("spike", [40, 41, 78, 79])
def test_frames_next_to_a_cut_are_never_the_peak(spike):
    whole = times(120)
    at = whole[40:80]  # the shot between two cuts
    brow = bump(at, 2.0, 2.4, 2.8, height=2.0)
    brow[spike - 40] = 5.0
    track = make_track(at, {"AU04": brow}, first_frame=40, shot=1)

    main = moment_of(track, smoothing_s=0.0).main

    assert track["frame_index"][main.position] == 60


def test_the_ends_of_a_track_inside_a_shot_are_never_the_peak():
    whole = times(100)
    at = whole[30:70]
    brow = bump(at, 1.6, 2.0, 2.4, height=2.0)
    brow[[0, 1, -2, -1]] = 5.0
    track = make_track(at, {"AU04": brow}, first_frame=30)

    assert moment_of(track, smoothing_s=0.0).main.position == 20


def test_frames_without_values_are_no_peak_and_do_not_count_as_zero():
    at = times(100)
    frown = np.full(100, 2.0)  # held where it is seen at all: against zeros it would be a peak
    frown[40:60] = NAN

    moment = moment_of(make_track(at, {"AU04": frown}))

    assert moment.peaks == ()
    assert moment.main.position not in range(40, 60)


def test_a_peak_beside_a_gap_is_found():
    at = times(100)
    smile = bump(at, 1.0, 2.0, 3.0, height=3.0)
    smile[51:60] = NAN

    main = moment_of(make_track(at, {"AU12": smile})).main

    assert main.verdict == "clear"
    assert abs(main.position - 50) <= 2


def test_an_action_unit_that_is_mostly_null_does_not_blind_the_others():
    at = times(100)
    rare = np.full(100, NAN)
    rare[:10] = 0.0

    main = moment_of(
        make_track(at, {"AU12": bump(at, 1.0, 2.0, 3.0, height=3.0), "AU04": rare})
    ).main

    assert (main.position, main.verdict) == (50, "clear")


def test_a_plateau_peaks_in_its_middle():
    at = times(100)
    brow = np.zeros(100)
    brow[30:51] = 3.0

    moment = moment_of(make_track(at, {"AU04": brow}), smoothing_s=0.0)

    assert [(peak.position, peak.verdict) for peak in moment.peaks] == [(40, "clear")]


def test_a_clip_that_ends_at_its_height_peaks_at_the_last_frame_that_counts():
    at = times(50)
    rising = bump(at, 0.8, 1.96, 3.0, height=3.0)

    main = moment_of(make_track(at, {"AU12": rising}), edge_frames=2).main

    assert (main.position, main.verdict) == (47, "clear")


def test_a_smile_held_throughout_is_weak_and_sustained_not_absent():
    at = times(100)
    nothing, held = np.zeros(100), 2.5 + bump(at, 1.8, 2.0, 2.2, height=0.3)
    track = make_track(at, {"AU12": nothing}, absolute={"AU12": held}, tool="facemesh")

    moment = moment_of(track, tool="facemesh")

    assert (moment.main.verdict, moment.sustained, moment.peaks) == ("weak", ("AU12",), ())
    assert abs(moment.main.position - 50) <= 1


@pytest.mark.parametrize("share", [0.5, 0.6, 0.7, 0.8])
def test_of_a_smile_held_through_most_of_a_shot_the_smile_is_shown(share):
    smiling = np.arange(100) >= 100 - int(100 * share) - 2  # two frames at the edge do not count
    smile = np.where(smiling, 3.5, 0.5) + noise(100, 0.05, 1)
    slight = np.where(smiling, 0.0, bump(times(100), 0.1, 0.3, 0.5, height=0.95))
    units = {"AU12": smile, **dict.fromkeys(("AU01", "AU02", "AU04", "AU05", "AU07"), slight)}

    moment = moment_of(make_track(times(100), units), smoothing_s=0.0)

    assert (moment.main.verdict, moment.sustained, moment.peaks) == ("weak", ("AU12",), ())
    assert smiling[moment.main.position]


def test_what_is_active_beside_a_held_smile_is_the_peak():
    at = times(100)
    brows = bump(at, 0.4, 0.8, 1.2, height=3.0)
    track = make_track(at, {"AU12": np.where(np.arange(100) < 35, 0.0, 2.0), "AU01": brows})

    moment = moment_of(track, smoothing_s=0.0)

    assert (moment.sustained, moment.main.verdict) == (("AU12",), "clear")
    assert moment.main.position == 20


def test_talking_keeps_a_mouth_open_half_of_the_time_and_holds_nothing():
    open_mouth = np.where(np.arange(100) % 20 < 12, 2.5, 0.0)

    assert moment_of(make_track(times(100), {"AU25": open_mouth})).sustained == ()
    assert moment_of(make_track(times(100), {"AU12": open_mouth})).sustained == ("AU12",)


def test_a_peak_of_units_that_the_tool_sees_badly_is_never_clear():
    at = times(100)
    rise = bump(at, 1.0, 2.0, 3.0, height=5.0)
    still = {"AU12": np.zeros(100)}

    badly = moment_of(make_track(at, {**still, "AU15": rise}, tool="facemesh"), tool="facemesh")
    well = moment_of(make_track(at, {**still, "AU01": rise}, tool="facemesh"), tool="facemesh")

    assert (badly.main.position, badly.main.verdict) == (50, "weak")
    assert badly.main.strength > MomentSettings().clear_strength
    assert (well.main.position, well.main.verdict) == (50, "clear")


def test_a_proxy_without_an_absolute_value_cannot_be_sustained():
    track = make_track(times(100), {"AU01": np.full(100, 2.5)}, tool="facemesh")

    moment = moment_of(track, tool="facemesh")

    assert (moment.main.verdict, moment.sustained) == ("none", ())


def test_intensities_are_absolute_by_themselves():
    moment = moment_of(make_track(times(100), {"AU12": np.full(100, 2.5)}))

    assert (moment.main.verdict, moment.sustained) == ("weak", ("AU12",))


def test_two_expressions_are_two_peaks_in_order_of_time():
    at = times(200)
    both = bump(at, 1.0, 1.6, 2.2, height=2.0) + bump(at, 5.0, 5.6, 6.2, height=4.0)

    moment = moment_of(make_track(at, {"AU12": both}))

    assert [peak.position for peak in moment.peaks] == [40, 140]
    assert moment.main.position == 140


def test_two_maxima_nearer_than_the_gap_are_one_peak():
    at = times(100)
    twice = bump(at, 1.5, 1.8, 2.1, height=3.0) + bump(at, 1.9, 2.2, 2.5, height=4.0)
    track = make_track(at, {"AU12": twice})

    assert len(moment_of(track, smoothing_s=0.0, min_gap_s=0.3).peaks) == 2
    assert [p.position for p in moment_of(track, smoothing_s=0.0, min_gap_s=0.5).peaks] == [55]


def test_a_ripple_on_a_long_expression_is_no_second_peak():
    at = times(250)
    held = np.zeros(250)
    held[50:125] = 3.0 + 0.25 * np.sin(
        2 * np.pi * np.arange(75) / 25
    )  # three crests, a second apart

    assert len(moment_of(make_track(at, {"AU12": held})).peaks) == 1


def test_only_the_strongest_peaks_are_kept():
    at = times(250)
    heights = [2.0, 4.0, 3.0]
    three = sum(
        bump(at, t, t + 0.5, t + 1, height=h) for t, h in zip((1, 4, 7), heights, strict=True)
    )

    moment = moment_of(make_track(at, {"AU12": three}), max_peaks=2)

    assert [round(peak.position / 25, 1) for peak in moment.peaks] == [4.5, 7.5]


def test_smoothing_is_in_seconds_also_when_the_frame_rate_varies():
    # 25 frames a second, then 5: a one-frame spike is smoothed away only among its neighbours
    at = [*times(50, 25.0), *[round(2.0 + index / 5, 3) for index in range(10)]]
    spiky = np.zeros(60)
    spiky[25], spiky[55] = 3.0, 3.0

    smooth = moving_average(np.array(at), spiky, np.ones(60, dtype=bool), 0.2)

    assert smooth[25] == pytest.approx(0.6)  # five frames within .1 s
    assert smooth[55] == pytest.approx(3.0)  # no other frame within .1 s


def test_the_peak_keeps_its_time_when_the_frame_rate_varies():
    at = sorted([*times(50, 25.0), *[round(2.0 + index / 5, 3) for index in range(15)]])
    track = make_track(at, {"AU12": bump(at, 1.6, 3.0, 4.4, height=3.0)})

    main = moment_of(track).main

    assert track["time_s"][main.position] == pytest.approx(3.0, abs=0.2)
    assert main.position == 55


def test_a_face_turned_away_is_no_peak_and_one_turned_far_is_never_clear():
    at = times(100)
    smile = bump(at, 1.0, 2.0, 3.0, height=3.0)

    def main_at(yaw_deg):
        return moment_of(make_track(at, {"AU12": smile}, yaw_deg=[yaw_deg] * 100)).main

    assert main_at(10.0).verdict == "clear"
    assert (main_at(40.0).verdict, main_at(40.0).position) == ("weak", 50)
    assert (main_at(60.0).verdict, main_at(60.0).strength) == ("none", None)
    assert main_at(None).verdict == "clear"  # a pose that is not known turns nobody away


def test_an_open_mouth_alone_is_never_clear_for_talking_opens_it():
    at = times(100)
    mouth = bump(at, 1.0, 2.0, 3.0, height=5.0)
    brow = bump(at, 1.0, 2.0, 3.0, height=1.5)

    talking = moment_of(make_track(at, {"AU25": mouth, "AU01": np.zeros(100)})).main
    surprised = moment_of(make_track(at, {"AU25": mouth, "AU01": brow})).main

    assert (talking.position, talking.verdict) == (50, "weak")
    assert (surprised.position, surprised.verdict) == (50, "clear")
    assert talking.strength is not None
    assert talking.strength > MomentSettings().clear_strength


def test_what_is_weak_in_all_is_not_clear_for_being_strong_in_some():
    at = times(100)
    brow = bump(at, 1.6, 2.0, 2.4, height=1.5)
    restless = np.where(np.arange(100) % 20 < 10, 0.0, 5.0)  # a mouth that talks all the time
    units = {"AU01": brow, "AU25": restless, "AU26": restless}

    moment = moment_of(make_track(at, units))

    assert moment.peaks
    assert {peak.verdict for peak in moment.peaks} == {"weak"}


def test_a_clear_peak_is_shown_rather_than_a_stronger_one_that_is_all_mouth():
    at = times(200)
    units = {
        "AU12": bump(at, 1.0, 2.0, 3.0, height=1.4),
        "AU25": bump(at, 5.0, 6.0, 7.0, height=5.0),
    }

    moment = moment_of(make_track(at, units))

    assert [(peak.position, peak.verdict) for peak in moment.peaks] == [
        (50, "clear"),
        (150, "weak"),
    ]
    assert moment.peaks[1].strength > moment.peaks[0].strength
    assert moment.main.position == 50


def test_one_frame_has_no_peak_and_is_shown():
    moment = moment_of(make_track([0.0], {"AU12": [3.0]}))

    assert (moment.main.position, moment.main.verdict, moment.main.strength) == (0, "none", None)


def test_the_frame_to_show_is_one_with_values_when_there_are_any():
    track = make_track(times(20), {"AU12": [0.0] * 10 + [None] * 10})
    track["confidence"][5], track["confidence"][15] = 0.97, 0.99

    assert moment_of(track).main.position == 5


def test_a_face_without_any_value_is_shown_where_it_is_seen_best():
    track = make_track(times(20), {"AU12": [None] * 20})
    track["confidence"][7] = 0.99

    moment = moment_of(track)

    assert (moment.main.position, moment.main.verdict, moment.peaks) == (7, "none", ())


AT = times(150)
DISPUTED = {
    "AU04": np.where(np.arange(150) < 110, 1.2, 0.4) + bump(AT, 0.2, 0.6, 1.0, height=1.0),
    "AU12": bump(AT, 2.0, 2.6, 3.2, height=2.0),
    "AU25": bump(AT, 4.6, 5.0, 5.4, height=4.0),
    "AU45": np.zeros(150),
}


class TestRules:
    """A series on which the three rules differ. AU04 is held low for most of the clip, AU12 smiles
    once in the middle, AU45 and the lids blink, and the mouth (moved by speech) opens wide late."""

    def position(self, rule: str, **settings) -> int:
        return moment_of(make_track(AT, DISPUTED), rule=rule, **settings).main.position

    def test_ours_takes_the_smile_for_speech_moves_the_mouth(self):
        assert abs(self.position("emotion_aus") - 65) <= 1

    def test_all_action_units_alike_take_the_open_mouth(self):
        assert abs(self.position("all_aus") - 125) <= 1

    def test_the_paper_sums_the_most_frequent_active_ones_and_takes_the_highest_frame(self):
        one = RULES.model_copy(update={"paper_count": 1})
        series = series_of(make_track(AT, DISPUTED))

        moment = find_moment(series, "intensity_0_5", UNITS, one, MomentSettings(rule="paper"))

        assert moment.main.position == 15  # AU04 alone is active in 110 frames

    @pytest.mark.parametrize("spike", [0, 20])
    def test_the_paper_knows_neither_edges_nor_smoothing(self, spike):
        frown = np.full(100, 0.5)
        frown[60:70], frown[spike] = 3.0, 4.0
        track = make_track(times(100), {"AU04": frown})

        assert moment_of(track, rule="paper").main.position == spike
        assert moment_of(track).main.position in range(60, 70)

    def test_the_paper_counts_active_frames_not_heights(self):
        at = times(100)
        often, seldom = np.full(100, 1.1), np.zeros(100)
        often[80], seldom[20] = 1.6, 5.0
        series = series_of(make_track(at, {"AU04": seldom, "AU12": often}))
        rules = RULES.model_copy(update={"paper_count": 1})

        assert weights_of("paper", series, 1.0, UNITS, rules) == {"AU12": 1.0}

    def test_no_rule_counts_a_blink(self):
        series = series_of(make_track(times(9), {"AU12": [2.0] * 9, "AU45": [3.0] * 9}))

        for rule in ("emotion_aus", "paper", "all_aus"):
            assert weights_of(rule, series, 1.0, UNITS, RULES) == {"AU12": 1.0}

    def test_ours_weighs_by_reliability(self):
        units = {au: [0.0] for au in ("AU04", "AU10", "AU14", "AU25")}

        assert weights_of(
            "emotion_aus", series_of(make_track([0.0], units)), 1.0, UNITS, RULES
        ) == pytest.approx({"AU04": 1.0, "AU10": 0.5, "AU14": 0.5, "AU25": 1.0})

    def test_what_talking_moves_counts_less_while_somebody_talks(self):
        talks = np.array([True, False])
        weights = {"AU04": np.ones(2), "AU25": np.ones(2)}

        found = while_talking(weights, RULES.moved_by_speech, talks, UNITS)

        assert found["AU04"].tolist() == [1.0, 1.0]
        assert found["AU25"].tolist() == [RULES.moved_by_speech, 1.0]


def test_an_open_mouth_is_clear_where_nobody_talks_and_weak_where_somebody_does():
    at = times(100)
    track = make_track(at, {"AU25": bump(at, 1.0, 2.0, 3.0, height=5.0), "AU01": np.zeros(100)})
    series = series_of(track)
    arguments = (series, "intensity_0_5", UNITS, RULES, MomentSettings())

    silent = find_moment(*arguments, np.zeros(100, dtype=bool)).main
    talking = find_moment(*arguments, np.ones(100, dtype=bool)).main

    assert (silent.verdict, talking.verdict) == ("clear", "weak")
    assert silent.strength > talking.strength


@given(st.lists(st.one_of(st.just(NAN), st.integers(0, 3).map(float)), max_size=40))
def test_a_maximum_is_never_lower_than_its_known_neighbours(values):
    series = np.array(values)
    known = [place for place, value in enumerate(values) if not np.isnan(value)]

    for maximum in local_maxima(series):
        place = known.index(maximum)
        around = [series[known[n]] for n in (place - 1, place + 1) if 0 <= n < len(known)]
        assert all(series[maximum] >= value for value in around)


@given(
    st.lists(st.one_of(st.none(), st.floats(0, 5)), min_size=1, max_size=60),
    st.floats(0, 1),
)
def test_smoothing_keeps_gaps_and_stays_within_the_values(values, width_s):
    series = np.array([NAN if value is None else value for value in values])

    smooth = moving_average(np.array(times(len(values))), series, np.isfinite(series), width_s)

    assert (np.isnan(smooth) == np.isnan(series)).all()
    if np.isfinite(series).any():
        assert np.nanmax(smooth) <= np.nanmax(series) + 1e-9
        assert np.nanmin(smooth) >= np.nanmin(series) - 1e-9


def test_a_strength_is_a_distance_from_the_median_in_robust_spreads():
    score = np.array([1.0, 2.0, 3.0, 4.0, 100.0])

    assert strengths(score, 0.1)[-1] == pytest.approx(97 / 1.4826, abs=1e-3)
    assert strengths(np.array([1.0, 1.0, 2.0]), 0.5).tolist() == [0.0, 0.0, 2.0]


def test_of_two_peaks_the_one_with_the_signs_of_the_given_label_is_shown():
    at = times(150)
    brows, smile = (bump(at, when - 0.5, when, when + 0.5, height=3.0) for when in (1.5, 4.0))
    series = series_of(make_track(at, {"AU04": brows * 1.2, "AU12": smile}))

    def shown(*signs):
        arguments = (series, "intensity_0_5", UNITS, RULES, MomentSettings(), None)
        return find_moment(*arguments, frozenset(signs))

    assert abs(shown().main.position - 38) <= 1  # the stronger
    assert abs(shown("AU12", "AU06").main.position - 100) <= 1
    assert abs(shown("AU09").main.position - 38) <= 1  # the tool does not see the sign
    assert shown("AU12").peaks == shown().peaks  # nothing else changes
