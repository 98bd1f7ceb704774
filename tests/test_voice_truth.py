"""The voice measured against truth: glottal voices with random pitch, course, tempo, noise, pauses.

The bounds are promises: pitch within 2 %, tempo within 15 %, pauses within 50 ms, signal to noise
within 2 dB, the sign of the contour.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_clips import noise, silence
from made_voices import VOWELS, babble, glottal_cycles, glottal_voice, sing

from merr_pipeline.media import read_sound
from merr_pipeline.settings import VoiceSettings
from merr_pipeline.speech.prosody import measure
from merr_pipeline.speech.vad import Span, SpeechDetector
from merr_pipeline.speech.voice import measure_voice

SAMPLES = Path(__file__).parents[1] / "data" / "samples"
RATE_HZ = 16_000
SETTINGS = VoiceSettings()
DETECTOR = SpeechDetector()
EDGE_S = 0.5  # of silence before and after

a_few = settings(max_examples=15, deadline=None)
pitches = st.floats(85, 420)
vowels = st.sampled_from(sorted(VOWELS))
seeds = st.integers(0, 999)


def in_noise(voice: np.ndarray, snr_db: float, seed: int = 0) -> np.ndarray:
    """The voice with half a second before and after, in white noise so far under it."""
    power = float(np.mean(voice.astype(np.float64) ** 2))
    sound = np.concatenate([silence(EDGE_S), voice, silence(EDGE_S)])
    return sound + noise(len(sound) / RATE_HZ, np.sqrt(power / 10 ** (snr_db / 10)), seed)


def measured(sound: np.ndarray, voice: np.ndarray):
    span = Span(EDGE_S, EDGE_S + len(voice) / RATE_HZ)
    return measure(sound, RATE_HZ, [span], SETTINGS)


def prosody(sound: np.ndarray, voice: np.ndarray) -> dict:
    return measured(sound, voice).prosody


# --- pitch -----------------------------------------------------------------------------------


@a_few
@given(pitches, vowels, st.floats(5, 40), seeds)
def test_the_pitch_of_a_held_vowel_is_found_within_2_percent(f0_hz, vowel, snr_db, seed):
    voice = sing(f0_hz, 0.8, vowel=vowel)
    found = prosody(in_noise(voice, snr_db, seed), voice)
    assert found["f0_median_hz"] == pytest.approx(f0_hz, rel=0.02)
    assert found["octave_outlier_share"] < 0.05


@a_few
@given(st.floats(90, 330), st.floats(2.5, 6.5), st.floats(10, 40), seeds)
def test_the_pitch_of_running_speech_is_found_within_2_percent(f0_hz, rate, snr_db, seed):
    voice = babble(f0_hz, round(1.6 * rate), rate)
    found = prosody(in_noise(voice, snr_db, seed), voice)
    assert found["f0_median_hz"] == pytest.approx(f0_hz, rel=0.02)


@a_few
@given(
    st.floats(110, 280),
    st.floats(3, 9) | st.floats(-9, -3),
    st.floats(10, 40),
    seeds,
)
def test_a_contour_has_the_sign_and_about_the_size_of_the_course(f0_hz, move_st, snr_db, seed):
    course = f0_hz * 2 ** (np.linspace(-move_st / 2, move_st / 2, 60) / 12)
    voice = babble(course, 6, 4.0)
    contour_st = prosody(in_noise(voice, snr_db, seed), voice)["contour_st"]
    assert contour_st == pytest.approx(0.75 * move_st, abs=1.0)
    assert np.sign(contour_st) == np.sign(move_st)


def test_a_level_course_has_next_to_no_contour_and_no_spread():
    voice = babble(170, 8, 4.0)
    found = prosody(in_noise(voice, 30), voice)
    assert found["contour_st"] == pytest.approx(0, abs=0.1)
    assert found["f0_sd_st"] < 0.3


# --- tempo and pauses ------------------------------------------------------------------------


@a_few
@given(st.floats(2.5, 7.0), st.floats(90, 280), st.floats(10, 40), seeds)
def test_the_tempo_is_within_15_percent(rate, f0_hz, snr_db, seed):
    count = round(2.4 * rate)
    voice = babble(f0_hz * 2 ** (np.linspace(1, -2, 9) / 12), count, rate)
    found = prosody(in_noise(voice, snr_db, seed), voice)["rate_syll_s"]
    assert found == pytest.approx(rate, rel=0.15)


def test_noise_between_syllables_hides_few_of_them():
    rates = []
    for f0_hz in (110, 180, 260):
        voice = babble(f0_hz, 12, 5.0)
        rates.append(prosody(in_noise(voice, 5), voice)["rate_syll_s"])
    assert np.mean(rates) == pytest.approx(5.0, rel=0.15)


WITHOUT_PAUSE = ("blink_then_smile", "neutral", "smile", "two_people_cut")


def spoken(clip_id: str) -> np.ndarray:
    """The speech of a sample alone: the detector knows speech, and babble less well."""
    truth = json.loads((SAMPLES / "truth" / f"{clip_id}.json").read_text("utf-8"))["speech"]
    sound = read_sound(SAMPLES / "clips" / f"{clip_id}.mp4").samples
    return sound[round(truth["start_s"] * RATE_HZ) : round(truth["end_s"] * RATE_HZ)]


@a_few
@given(
    st.floats(0.3, 1.2),
    st.permutations(WITHOUT_PAUSE),
    st.floats(25, 45),
    seeds,
)
def test_a_pause_is_as_long_as_it_was_cut_within_50_ms(pause_s, said, snr_db, seed):
    voice = np.concatenate([spoken(said[0]), silence(pause_s), spoken(said[1])])
    row = measure_voice(in_noise(voice, snr_db, seed), DETECTOR, SETTINGS)
    assert row["pauses"] == pytest.approx([pause_s], abs=0.05)


# --- noise -----------------------------------------------------------------------------------


@a_few
@given(pitches, st.sampled_from(["a", "e"]), st.floats(10, 40), seeds)
def test_effort_is_that_of_the_voice_and_not_of_the_noise_behind_it(f0_hz, vowel, snr_db, seed):
    voice = sing(f0_hz, 0.8, vowel=vowel)
    clean = prosody(in_noise(voice, 80, seed), voice)["effort_db"]
    assert prosody(in_noise(voice, snr_db, seed), voice)["effort_db"] == pytest.approx(clean, abs=2)


@a_few
@given(pitches, st.floats(15, 30), seeds)
def test_a_voice_that_was_missed_in_a_gap_is_no_noise(f0_hz, snr_db, seed):
    voice = sing(f0_hz, 0.8)
    sound = in_noise(voice, snr_db, seed)
    missed = sing(f0_hz, 0.15)
    sound[: len(missed)] += missed.astype(sound.dtype)
    assert prosody(sound, voice)["snr_db"] == pytest.approx(snr_db, abs=2)


@a_few
@given(st.floats(0, 35), st.floats(90, 300), seeds)
def test_signal_to_noise_is_within_2_db_and_its_estimator_is_named(snr_db, f0_hz, seed):
    voice = babble(f0_hz, 6, 4.0)
    found = prosody(in_noise(voice, snr_db, seed), voice)
    assert found["snr_db"] == pytest.approx(snr_db, abs=2)
    assert found["snr_method"] == "gaps"


@pytest.mark.parametrize("share", [0.005, 0.02, 0.1])
def test_the_clipped_share_is_that_of_the_samples_at_full_scale(share):
    voice = sing(140, 1.0)
    voice[: round(share * len(voice))] = -1.0
    found = measure(voice, RATE_HZ, [Span(0, 1)], SETTINGS)
    assert found.prosody["clipped_share"] == pytest.approx(share)
    assert "clipped_sound" in found.flags


# --- jitter and shimmer ----------------------------------------------------------------------


@pytest.mark.parametrize("vowel", ["a", "i"])
@pytest.mark.parametrize("f0_hz", [110, 210])
def test_jitter_and_shimmer_of_a_held_vowel_grow_with_those_of_the_glottis(vowel, f0_hz):
    found = []
    for jitter, shimmer in ((0, 0), (0.005, 0.03), (0.015, 0.09)):
        cycles = glottal_cycles(f0_hz, 1.0, jitter, shimmer, seed=7)
        voice = glottal_voice(cycles, 1.0, vowel=vowel)
        found.append((cycles, prosody(in_noise(voice, 45), voice)))
    (_, still), (little, some), (much, most) = found
    assert still["jitter_percent"] < 0.05
    assert still["shimmer_percent"] < 0.3
    for cycles, row in ((little, some), (much, most)):
        # a cycle is matched to the next as a whole, and the formants ring from one into the other
        assert 0.35 < row["jitter_percent"] / cycles.jitter_percent < 1.1
        assert 0.7 < row["shimmer_percent"] / cycles.shimmer_percent < 1.4
    assert most["jitter_percent"] > 2 * some["jitter_percent"]
    assert most["shimmer_percent"] > 2 * some["shimmer_percent"]
    assert most["steady_voice_s"] > 0.5


@pytest.mark.parametrize(
    ("sound", "reason"),
    [
        ("noisy", "background"),
        ("over music", "tonal_background"),
        ("without a gap", "no_gap"),
        ("clipped", "clipped_sound"),
        ("moving", "no_steady_voice"),
        ("whispered", "no_pitch"),
    ],
)
def test_where_sound_is_not_clean_and_steady_jitter_is_null_and_says_why(sound, reason):
    voice = sing(150, 1.0)
    if sound == "clipped":
        voice = np.clip(10 * voice, -1, 1)
    if sound == "moving":
        voice = sing(semitones_around(160, 5 * np.sin(np.linspace(0, 40, 200))), 1.0)
    if sound == "whispered":
        voice = noise(1.0, 0.05)
    whole = in_noise(voice, 20 if sound == "noisy" else 45)
    if sound == "over music":
        whole[: round(0.27 * RATE_HZ)] += 0.04 * sing(330, 0.27)
    if sound == "without a gap":
        row = measure(voice, RATE_HZ, [Span(0, 1)], SETTINGS).prosody
    else:
        row = prosody(whole, voice)
    assert (row["jitter_percent"], row["shimmer_percent"]) == (None, None)
    why = {item["measure"]: item["reason"] for item in row["not_measured"]}
    assert why["jitter_percent"] == why["shimmer_percent"] == reason


def semitones_around(f0_hz: float, course_st: np.ndarray) -> np.ndarray:
    return f0_hz * 2 ** (course_st / 12)


# --- what is null says why -------------------------------------------------------------------


@a_few
@given(
    st.sampled_from(["silence", "noise", "voice", "short voice"]),
    st.booleans(),
    st.floats(0.02, 0.9),
)
def test_every_null_and_nothing_else_has_its_reason(kind, speech, length_s):
    sound = {
        "silence": silence(1.0),
        "noise": noise(1.0, 0.1),
        "voice": sing(150, 1.0),
        "short voice": np.concatenate([silence(0.7), sing(150, 0.3)]),
    }[kind]
    spans = [Span(1.0 - length_s, 1.0)] if speech else []
    row = measure(sound, RATE_HZ, spans, SETTINGS).prosody
    nulls = [name for name, value in row.items() if value is None]
    assert [item["measure"] for item in row["not_measured"]] == nulls
    if not speech:
        reasons = {item["measure"]: item["reason"] for item in row["not_measured"]}
        assert reasons["f0_median_hz"] == reasons["jitter_percent"] == "no_speech"
