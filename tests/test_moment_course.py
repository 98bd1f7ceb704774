from __future__ import annotations

import numpy as np
import pytest
from made_faces import UNITS, bump, make_track, times

from merr_pipeline.moment.course import summaries
from merr_pipeline.moment.rules import load_moment_rules
from merr_pipeline.moment.series import series_of

RULES = load_moment_rules().course
AT = times(100)


def summary(values, peak, *, smoothing_s=0.0, at=AT):
    series = series_of(make_track(at, {"AU12": values}))
    [row] = summaries(series, peak, (), UNITS, RULES, smoothing_s, least_rise=0.5)
    return row


def test_onset_and_offset_lie_a_fifth_of_the_way_up():
    row = summary(bump(AT, 1.0, 2.0, 3.2, height=3.0), 50)

    # a raised cosine is at one fifth after acos(.6) / pi of its rise
    share = np.arccos(0.6) / np.pi
    assert row["onset_s"] == pytest.approx(1.0 + share * 1.0, abs=0.01)
    assert row["offset_s"] == pytest.approx(3.2 - share * 1.2, abs=0.01)


def test_the_apex_is_the_highest_frame_of_the_rise_that_the_peak_is_in():
    row = summary(bump(AT, 1.0, 2.0, 3.2, height=3.0) + bump(AT, 3.3, 3.6, 3.9, height=5.0), 60)

    assert row["apex_s"] == pytest.approx(2.0)  # not 3.6: the face was at rest in between
    assert row["duration_s"] == pytest.approx(row["offset_s"] - row["onset_s"])


def test_smoothing_moves_them_by_less_than_two_frames():
    sharp, smooth = (
        summary(bump(AT, 1.0, 2.0, 3.0, height=3.0), 50, smoothing_s=s) for s in (0.0, 0.2)
    )

    assert smooth["onset_s"] == pytest.approx(sharp["onset_s"], abs=0.08)
    assert smooth["offset_s"] == pytest.approx(sharp["offset_s"], abs=0.08)


def test_the_summary_has_name_value_mean_and_maximum():
    values = np.zeros(100)
    values[50], values[60] = 2.0, 4.0

    row = summary(values, 50)

    assert (row["au"], row["name"], row["reliability"]) == ("AU12", "Lip corner puller", "moderate")
    assert (row["value_at_peak"], row["max"]) == (2.0, 4.0)
    assert row["mean"] == pytest.approx(0.06)


def test_what_does_not_rise_has_neither_onset_nor_offset():
    row = summary(bump(AT, 1.0, 2.0, 3.0, height=0.4), 50)

    assert (row["onset_s"], row["apex_s"], row["offset_s"]) == (None, None, None)


def test_an_expression_that_is_there_from_the_start_has_no_onset():
    values = bump(AT, -3.0, 0.0, 2.0, height=3.0)

    row = summary(values, 5)

    assert row["onset_s"] is None
    assert row["offset_s"] == pytest.approx(2.0 - 2.0 * np.arccos(0.6) / np.pi, abs=0.05)


def test_an_onset_inside_a_long_gap_is_not_known():
    values = bump(AT, 1.0, 2.0, 3.0, height=3.0)
    values[25:40] = np.nan

    row = summary(values, 50)

    assert row["onset_s"] is None
    assert row["offset_s"] is not None


def test_a_blink_in_the_rise_is_stepped_over():
    values = bump(AT, 1.0, 2.0, 3.0, height=3.0)
    whole = summary(values, 50)["onset_s"]
    values[38:42] = np.nan

    assert summary(values, 50)["onset_s"] == pytest.approx(whole, abs=0.01)


def test_null_frames_do_not_pull_the_mean_to_zero():
    values = np.full(100, 2.0)
    values[:50] = np.nan

    row = summary(values, 10)

    assert (row["mean"], row["max"]) == (2.0, 2.0)
    assert np.isnan(row["value_at_peak"])  # the stage rounds it to null


def test_an_action_unit_without_a_single_value_is_null_throughout():
    row = summary([None] * 100, 50)

    assert (row["mean"], row["max"], row["onset_s"], row["offset_s"]) == (None,) * 4
