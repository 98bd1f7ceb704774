"""Where somebody speaks: hysteresis over probabilities, tight ends, pauses."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_clips import noise, silence, voice

from merr_pipeline.settings import VoiceSettings
from merr_pipeline.speech.vad import (
    CHUNK_S,
    RATE_HZ,
    Span,
    SpeechDetector,
    bridge,
    find_bursts,
    pauses,
    tighten,
)

SETTINGS = VoiceSettings(vad_on=0.5, vad_off=0.35, min_speech_s=0.1)


@pytest.fixture(scope="module")
def detector():
    return SpeechDetector()


def bursts(probabilities, duration_s=None, settings=SETTINGS):
    duration_s = len(probabilities) * 0.1 if duration_s is None else duration_s
    spans = find_bursts(probabilities, duration_s, settings, chunk_s=0.1)
    return [(round(span.start_s, 3), round(span.end_s, 3)) for span in spans]


def test_speech_begins_at_the_upper_threshold_and_lasts_until_below_the_lower():
    assert bursts([0.4, 0.5, 0.36, 0.35, 0.349, 0.4, 0.0]) == [(0.1, 0.4)]


def test_between_the_thresholds_no_speech_begins():
    assert bursts([0.49, 0.4, 0.49, 0.36]) == []


def test_speech_that_is_heard_to_the_last_chunk_ends_with_the_sound():
    assert bursts([0.0, 0.9, 0.9, 0.9], duration_s=0.37) == [(0.1, 0.37)]


def test_a_burst_shorter_than_the_least_speech_is_left_out():
    settings = VoiceSettings(min_speech_s=0.2)
    assert bursts([0.9, 0, 0.9, 0.9, 0], settings=settings) == [(0.2, 0.4)]


def test_no_probabilities_give_no_speech():
    assert bursts([]) == []


def test_only_gaps_shorter_than_the_bridge_are_joined():
    spans = [Span(0, 1), Span(1.19, 2), Span(2.2, 3)]
    assert bridge(spans, 0.2) == [Span(0, 2), Span(2.2, 3)]


def test_pauses_are_the_gaps_of_a_least_length():
    spans = [Span(0.5, 1), Span(1.25, 2), Span(2.24, 3), Span(4, 5)]
    assert pauses(spans, 0.25) == pytest.approx([0.25, 1.0])


def test_a_gap_of_just_the_threshold_counts_the_same_wherever_it_is():
    def gaps_of(length_ms: int) -> list[list[Span]]:
        return [
            [Span(end_ms / 1000 - 1, end_ms / 1000), Span((end_ms + length_ms) / 1000, 99)]
            for end_ms in range(0, 20_000, 7)
        ]

    assert {len(pauses(spans, 0.25)) for spans in gaps_of(250)} == {1}
    assert {len(pauses(spans, 0.25)) for spans in gaps_of(249)} == {0}
    assert {len(bridge(spans, 0.2)) for spans in gaps_of(200)} == {2}
    assert {len(bridge(spans, 0.2)) for spans in gaps_of(199)} == {1}


def test_a_burst_of_just_the_least_speech_is_kept_wherever_it_is():
    settings = VoiceSettings(min_speech_s=0.3)
    for first in range(100):
        assert len(bursts([0] * first + [0.9] * 3 + [0], settings=settings)) == 1
        assert bursts([0] * first + [0.9] * 2 + [0], settings=settings) == []


def test_probabilities_are_compared_as_they_are_stored():
    assert bursts([0.4996, 0.3496, 0]) == [(0.0, 0.2)]
    assert bursts([0.4994, 0, 0]) == []


@given(
    st.lists(st.floats(0, 1), max_size=60),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
)
def test_spans_are_in_order_apart_and_inside_the_sound(probabilities, one, two, shortest, gap):
    settings = VoiceSettings(vad_on=max(one, two), vad_off=min(one, two), min_speech_s=shortest)
    duration_s = max(0.0, len(probabilities) * CHUNK_S - 0.01)
    found = find_bursts(probabilities, duration_s, settings)
    joined = bridge(found, gap)
    for spans, least_gap in ((found, 0), (joined, gap)):
        assert all(0 <= span.start_s <= span.end_s <= duration_s for span in spans)
        assert all(round(b.start_s - a.end_s, 3) >= least_gap for a, b in pairwise(spans))
    assert len(joined) <= len(found)


# --- tight ends ------------------------------------------------------------------------------


def power(*parts: tuple[float, float]) -> np.ndarray:
    """Frames of 10 ms: (seconds, dB) one after another."""
    return np.concatenate([np.full(round(s * 100), 10 ** (db / 10)) for s, db in parts])


def test_an_end_moves_to_the_last_strong_frame():
    frames = power((0.5, -70), (1.0, -20), (0.5, -70))
    (span,) = tighten([Span(0.45, 1.6)], frames, 0.01)
    assert (span.start_s, span.end_s) == pytest.approx((0.5, 1.5), abs=0.011)


def test_an_end_moves_to_where_the_background_takes_over():
    frames = power((0.5, -40), (1.0, -20), (0.5, -40))
    (span,) = tighten([Span(0.45, 1.6)], frames, 0.01)
    assert (span.start_s, span.end_s) == pytest.approx((0.5, 1.5), abs=0.011)


def test_no_end_moves_further_than_a_fifth_of_a_second():
    frames = power((1.0, -20), (1.0, -70))
    (span,) = tighten([Span(0.0, 1.5)], frames, 0.01)
    assert span.end_s == pytest.approx(1.3)


def test_over_a_background_as_strong_as_the_speech_nothing_moves():
    frames = power((0.5, -25), (1.0, -20), (0.5, -25))
    assert tighten([Span(0.45, 1.6)], frames, 0.01) == [Span(0.45, 1.6)]


# --- the detector ----------------------------------------------------------------------------


def test_a_voice_is_heard_and_silence_and_noise_are_not(detector):
    pause = silence(0.5)
    heard = detector.probabilities(np.concatenate([pause, voice(120, 1.0), pause]))
    assert heard.max() > 0.9
    assert heard[: int(0.4 / CHUNK_S)].max() < 0.2
    assert detector.probabilities(silence(1.0)).max() < 0.2
    assert detector.probabilities(noise(1.0, 0.1)).max() < 0.5


def test_what_was_heard_in_one_clip_does_not_touch_the_next(detector):
    clip = np.concatenate([silence(0.2), voice(140, 0.7), noise(0.4, 0.02)])
    alone = detector.probabilities(clip)
    detector.probabilities(voice(220, 1.3))
    assert np.array_equal(detector.probabilities(clip), alone)


def test_there_is_one_probability_for_each_begun_chunk(detector):
    size = round(CHUNK_S * RATE_HZ)
    lengths = [len(detector.probabilities(np.zeros(n, np.float32))) for n in (0, 1, size, size + 1)]
    assert lengths == [0, 1, 1, 2]
