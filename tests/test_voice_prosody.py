"""Prosody of voices made with known pitch, tempo, noise and level."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_clips import noise, silence, sine, voice

from merr_pipeline import schema
from merr_pipeline.settings import VoiceSettings
from merr_pipeline.speech import levels
from merr_pipeline.speech.pitch import track_pitch
from merr_pipeline.speech.prosody import alpha_ratio_db, measure
from merr_pipeline.speech.vad import Span

RATE_HZ = 16_000
SETTINGS = VoiceSettings()


def measured(samples, *spans, start_s=0.0):
    spans = spans or ((0.0, len(samples) / RATE_HZ),)
    return measure(samples, RATE_HZ, [Span(*span) for span in spans], SETTINGS, start_s)


def prosody(samples, *spans):
    return measured(samples, *spans).prosody


def semitones(course_st: np.ndarray, around_hz: float = 200.0) -> np.ndarray:
    return around_hz * 2 ** (np.asarray(course_st) / 12)


# --- pitch -----------------------------------------------------------------------------------


@pytest.mark.parametrize("f0_hz", [85, 120, 165, 210, 330, 420])
def test_the_pitch_of_a_voice_is_found_within_one_percent(f0_hz):
    clean = voice(f0_hz, 1.5)
    assert prosody(clean)["f0_median_hz"] == pytest.approx(f0_hz, rel=0.01)
    noisy = clean + noise(1.5, 0.02)
    assert prosody(noisy)["f0_median_hz"] == pytest.approx(f0_hz, rel=0.01)


@pytest.mark.parametrize("f0_hz", [450, 480, 560])
def test_a_bright_high_voice_is_not_taken_for_one_an_octave_lower(f0_hz):
    # these periods are no whole number of samples, and the harmonics reach 7 kHz
    assert prosody(buzz(f0_hz, 1.0))["f0_median_hz"] == pytest.approx(f0_hz, rel=0.01)


def test_noise_and_silence_have_no_pitch():
    for sound in (noise(1.0, 0.1), silence(1.0), np.zeros(0, np.float32), silence(0.02)):
        assert not track_pitch(sound, RATE_HZ, 75, 600).voiced.any()


def test_pitch_below_the_floor_and_above_the_ceiling_is_not_searched():
    track = track_pitch(voice(220, 1.0), RATE_HZ, 75, 150)
    assert track.f0_hz.max() <= 150 * 1.01


@pytest.mark.parametrize("depth_st", [1.0, 3.0, 5.0])
def test_the_spread_of_pitch_is_that_of_the_vibrato(depth_st):
    vibrato = depth_st * np.sin(2 * np.pi * 3 * np.linspace(0, 2, 400))
    found = prosody(voice(semitones(vibrato), 2.0))
    assert found["f0_sd_st"] == pytest.approx(depth_st / np.sqrt(2), rel=0.1)
    assert found["octave_outlier_share"] == 0


def test_a_steady_voice_has_no_spread():
    assert prosody(voice(140, 1.5))["f0_sd_st"] < 0.1


@pytest.mark.parametrize(("course", "contour_st"), [((0, 6), 4.5), ((0, -6), -4.5), ((0, 0), 0.0)])
def test_the_contour_is_the_last_quarter_against_the_first(course, contour_st):
    found = prosody(voice(semitones(np.linspace(*course, 200)), 2.0, syllables_per_s=0.5))
    assert found["contour_st"] == pytest.approx(contour_st, abs=0.3)


@pytest.mark.parametrize("step_st", [4.0, -4.0])
def test_the_ending_is_the_move_within_the_last_quarter_second(step_st):
    found = prosody(np.concatenate([buzz(200, 1.2), buzz(200 * 2 ** (step_st / 12), 0.13)]))
    assert found["ending_st"] == pytest.approx(step_st, abs=0.3)


def test_a_step_from_the_word_before_is_no_ending():
    lower, last = buzz(160, 1.0), buzz(200, 0.16)
    apart = np.concatenate([lower, silence(0.15), last])
    assert prosody(apart)["ending_st"] == pytest.approx(0, abs=0.2)
    together = np.concatenate([lower, buzz(200, 0.13)])
    assert prosody(together)["ending_st"] > 3
    brief = np.concatenate([lower, silence(0.15), buzz(200, 0.08)])
    assert prosody(brief)["ending_st"] is None


def buzz(f0_hz: float, duration_s: float, harmonics: int = 12) -> np.ndarray:
    """Harmonics that fall by 6 dB an octave, without any opening and closing."""
    return sum(sine(f0_hz * k, duration_s, 0.2 / k) for k in range(1, harmonics + 1))


def test_a_narrow_search_range_still_finds_the_pitch_in_it():
    track = track_pitch(buzz(302, 0.5), RATE_HZ, 300, 305)
    assert np.median(track.f0_hz[track.voiced]) == pytest.approx(302, rel=0.01)


def test_too_little_voice_has_a_pitch_and_no_contour():
    found = prosody(voice(200, 0.14, syllables_per_s=8))
    assert found["f0_median_hz"] == pytest.approx(200, rel=0.02)
    assert found["contour_st"] is None
    assert found["ending_st"] is None


def test_a_second_voice_an_octave_and_more_away_is_flagged_and_left_out():
    both = np.concatenate([buzz(110, 1.5), buzz(330, 0.5)])
    found = measured(both)
    assert found.prosody["octave_outlier_share"] == pytest.approx(0.25, abs=0.02)
    assert found.prosody["f0_median_hz"] == pytest.approx(110, rel=0.01)
    assert found.prosody["f0_sd_st"] < 0.5
    assert "pitch_unstable" in found.flags


def test_pitch_outside_of_speech_does_not_count():
    sound = np.concatenate([buzz(300, 0.8), silence(0.3), voice(120, 1.0)])
    found = prosody(sound, (1.1, 2.1))
    assert found["f0_median_hz"] == pytest.approx(120, rel=0.01)
    assert found["voiced_s"] == pytest.approx(0.95, abs=0.07)


# --- voice quality and effort ----------------------------------------------------------------


def test_harmonics_to_noise_is_the_ratio_that_was_mixed():
    voiced = buzz(150, 1.5)
    power = float(np.mean(voiced.astype(float) ** 2))
    found = [
        prosody(voiced + noise(1.5, np.sqrt(power / 10 ** (ratio / 10))))["hnr_db"]
        for ratio in (20, 10, 5)
    ]
    assert found[0] > found[1] > found[2]
    assert found[1] == pytest.approx(10, abs=1.5)
    assert found[2] == pytest.approx(5, abs=1.5)


def test_the_alpha_ratio_compares_the_two_bands_whatever_the_gain():
    frames = np.ones(100, bool)
    tones = sine(500, 1.0, 0.3) + sine(2000, 1.0, 0.03)
    assert alpha_ratio_db(tones, RATE_HZ, frames, ~frames) == pytest.approx(-20, abs=0.2)
    assert alpha_ratio_db(0.1 * tones, RATE_HZ, frames, ~frames) == pytest.approx(-20, abs=0.2)
    assert alpha_ratio_db(tones, RATE_HZ, np.zeros(100, bool), frames) is None


# --- tempo -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [2, 3, 4, 5, 6])
def test_each_opening_of_the_voice_is_one_syllable(rate):
    found = prosody(
        np.concatenate([silence(0.3), voice(150, 2.0, syllables_per_s=rate)]), (0.3, 2.3)
    )
    assert found["rate_syll_s"] == pytest.approx(1.1 * rate, rel=0.01)


def test_hiss_between_syllables_is_no_syllable():
    hiss = np.diff(noise(0.12, 0.1), prepend=0.0)  # rises by 6 dB an octave
    gap = np.concatenate([silence(0.06), hiss, silence(0.06)])
    vowel = voice(150, 0.2, syllables_per_s=5)
    sound = np.concatenate([vowel, gap, vowel, gap, vowel]).astype(np.float32)
    assert prosody(sound)["rate_syll_s"] == pytest.approx(1.1 * 3 / (len(sound) / RATE_HZ))


# --- levels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("snr_db", [5, 15, 30])
def test_the_ratio_of_voice_to_background_is_the_one_that_was_mixed(snr_db):
    speech = voice(180, 1.5)
    power = float(np.mean(speech.astype(float) ** 2))
    sound = np.concatenate([silence(0.8), speech, silence(0.8)])
    sound += noise(len(sound) / RATE_HZ, np.sqrt(power / 10 ** (snr_db / 10)))
    found = measured(sound, (0.8, 2.3))
    assert found.prosody["snr_db"] == pytest.approx(snr_db, abs=1)
    assert found.prosody["snr_method"] == "gaps"
    assert ("low_snr" in found.flags) == (snr_db < 10)


def test_without_gaps_the_quiet_frames_stand_in_and_it_is_said():
    found = measured(voice(180, 1.5) + noise(1.5, 0.1))
    assert found.prosody["snr_method"] == "quiet_frames"
    assert "snr_unsure" in found.flags
    assert "low_snr" not in found.flags


def test_padding_before_the_sound_begins_is_no_quiet_gap():
    sound = np.concatenate([silence(1.0), noise(0.5, 0.1), voice(180, 1.0) + noise(1.0, 0.1)])
    padded = measured(sound, (1.5, 2.5), start_s=1.0).prosody
    plain = measured(sound[RATE_HZ:], (0.5, 1.5)).prosody
    assert padded["snr_db"] == pytest.approx(plain["snr_db"], abs=0.1)
    assert padded["level_dbfs"] == pytest.approx(plain["level_dbfs"], abs=1e-6)
    assert padded["loudness_lufs"] == pytest.approx(plain["loudness_lufs"], abs=1e-6)


def test_background_that_drowns_the_voice_has_a_ratio_of_minus_twenty():
    sound = np.concatenate([noise(1.0, 0.2), 0.01 * voice(180, 1.0), noise(1.0, 0.2)])
    assert prosody(sound, (1.0, 2.0))["snr_db"] == pytest.approx(-20)


def test_loudness_is_that_of_the_standards_reference_tone():
    # ITU-R BS.1770: a sine of 997 Hz at full scale in one channel has -3.01 LUFS
    assert levels.loudness_lufs(sine(997, 2.0, 1.0), RATE_HZ) == pytest.approx(-3.01, abs=0.1)
    assert levels.loudness_lufs(sine(997, 2.0, 0.1), RATE_HZ) == pytest.approx(-23.01, abs=0.1)


def test_a_clip_shorter_than_a_loudness_block_still_has_a_loudness():
    assert levels.loudness_lufs(sine(997, 0.25, 0.1), RATE_HZ) == pytest.approx(-23, abs=0.5)


def test_silence_has_no_level_rather_than_a_very_low_one():
    found = measured(silence(1.0), (0.2, 0.8)).prosody
    assert (found["loudness_lufs"], found["level_dbfs"], found["f0_median_hz"]) == (None,) * 3


def test_a_level_is_the_root_mean_square():
    assert prosody(sine(300, 1.0, 0.5))["level_dbfs"] == pytest.approx(-9.03, abs=0.01)


def test_a_clipped_recording_is_flagged():
    loud = 10 * voice(150, 1.0)
    assert "clipped_sound" in measured(np.clip(loud, -1, 1)).flags
    assert "clipped_sound" not in measured(0.09 * loud).flags


def test_music_in_the_gaps_is_flagged_and_noise_is_not():
    speech = (1.0, 2.0)
    music = np.concatenate([buzz(260, 1.0), voice(140, 1.0), buzz(260, 1.0)])
    hiss = np.concatenate([noise(1.0, 0.1), voice(140, 1.0), noise(1.0, 0.1)])
    assert "tonal_background" in measured(music, speech).flags
    assert "tonal_background" not in measured(hiss, speech).flags


# --- laws ------------------------------------------------------------------------------------


def test_gain_changes_the_levels_and_nothing_else():
    sound = np.concatenate([noise(0.5, 0.01), voice(190, 1.5) + noise(1.5, 0.01)])
    loud, faint = prosody(sound, (0.5, 2.0)), prosody(0.1 * sound, (0.5, 2.0))
    for name in ("loudness_lufs", "level_dbfs"):
        assert loud.pop(name) - faint.pop(name) == pytest.approx(20, abs=0.01)
    for name in ("snr_method", "not_measured"):
        assert loud.pop(name) == faint.pop(name)
    assert faint == pytest.approx(loud, abs=1e-3)


@given(
    arrays(np.float32, st.integers(0, 4000), elements=st.floats(-2, 2, width=32)),
    st.lists(st.floats(0, 0.3), min_size=2, max_size=2),
)
@settings(max_examples=40, deadline=None)
def test_any_sound_gives_numbers_or_null_in_every_field(samples, ends):
    start_s, end_s = sorted(ends)
    found = measure(samples, RATE_HZ, [Span(start_s, end_s)], SETTINGS)
    assert list(found.prosody) == [field.name for field in schema.PROSODY]
    numbers = [value for value in found.prosody.values() if isinstance(value, float)]
    assert all(np.isfinite(numbers))
    assert isinstance(found.prosody.pop("not_measured"), list)
    assert {type(value) for value in found.prosody.values()} <= {float, str, type(None)}


def test_the_envelope_is_the_level_of_the_speech_band_in_steps():
    tone = sine(1000.0, 0.4)
    samples = np.concatenate([silence(0.4), tone, silence(0.4)])

    envelope_db = levels.envelope_db(samples, RATE_HZ)

    assert len(envelope_db) == 30
    assert envelope_db[12:19] == pytest.approx(levels.level_db(np.mean(tone**2)), abs=0.5)
    assert envelope_db[:10].max() == levels.FAINTEST_DB
    assert levels.envelope_db(sine(60.0, 0.4), RATE_HZ)[5] < envelope_db[15] - 40  # music's bass
    assert levels.envelope_db(np.empty(0), RATE_HZ).size == 0
