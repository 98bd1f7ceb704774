"""Prosody in numbers: pitch and its movement, tempo, vocal effort, voice quality, levels.

The measures follow eGeMAPS (Eyben et al. 2016) where it has them. Words for the numbers are made
in `speech.tone`; here nothing is judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import librosa
import numpy as np

from merr_pipeline.schema import Row
from merr_pipeline.settings import VoiceSettings
from merr_pipeline.speech import levels
from merr_pipeline.speech.cycles import Steadiness, measure_steadiness
from merr_pipeline.speech.pitch import HOP_S, PitchTrack, harmonics_to_noise_db, track_pitch
from merr_pipeline.speech.syllables import MISSED_NUCLEI, find_nuclei
from merr_pipeline.speech.vad import Span
from merr_pipeline.speech.validity import no_jitter_because, not_measured
from merr_pipeline.stage import rounded

GUARD_S = 0.1  # around speech, belongs neither to it nor to a gap
BELOW_SPEECH_DB = 15.0  # under the 60th percentile of speech: breath, reverberation, background
OCTAVE_ERROR_ST = 10.0  # this far from the median is a tracking error or another voice
MAX_OCTAVE_OUTLIERS = 0.15
MAX_TONAL_GAP = 0.3  # share of gap frames with a pitch: music, or somebody else
CONTOUR_PART = 0.25  # of the pitch frames, at either end
CONTOUR_PART_S = 0.3  # at least
ENDING_S = 0.25  # at most, and
LEAST_ENDING_S = 0.15  # at least, of voice
ENDING_GAP_S = 0.05  # a longer one parts the last syllable from the one before
LOW_BAND_HZ = (50.0, 1000.0)
LEAST_BAND_SHARE = 0.05  # of a band's energy that is the voice's whatever the background
HIGH_BAND_HZ = (1000.0, 5000.0)
SPECTRUM_S = 0.04


@dataclass(frozen=True)
class Frames:
    """Which 10 ms frames are what; all of one length."""

    power: np.ndarray  # mean square of the sound
    pitch: PitchTrack
    speech: np.ndarray
    gap: np.ndarray  # sound that is well outside of speech
    voice: np.ndarray  # voiced speech that is not far under the level of the rest


@dataclass(frozen=True)
class Measured:
    """What was measured of a clip's sound.

    ``prosody`` is a row of ``schema.PROSODY``; what was not measured is None, and
    ``not_measured`` says why. ``flags`` limit its use: ``low_snr``, ``snr_unsure`` (low, and no gap
    to measure it in), ``clipped_sound``, ``tonal_background``, ``pitch_unstable`` (or several
    people). ``tonal_s`` is how long the sound has a pitch, in speech or not.
    """

    prosody: Row
    flags: list[str]
    tonal_s: float


def measure(
    samples: np.ndarray,
    rate_hz: int,
    spans: Sequence[Span],
    settings: VoiceSettings,
    sound_start_s: float = 0.0,
) -> Measured:
    """Measure the prosody of the speech in ``spans``; without any, only the levels.

    ``samples`` is mono, full scale 1.0, on the clip's clock; up to ``sound_start_s`` it is padding.
    """
    heard = samples[round(sound_start_s * rate_hz) :]
    frames = _frames(samples, rate_hz, spans, settings, sound_start_s)
    noise = levels.signal_to_noise(frames.power, frames.speech, frames.gap, HOP_S)
    at, pitch_st, outliers = _pitch_without_octave_errors(frames)
    quality: Row = {
        "clipped_share": levels.clipped_share(heard),
        "snr_db": noise.snr_db if noise else None,
        "snr_method": noise.method if noise else None,
        "tonal_gap_share": _share(frames.pitch.voiced[frames.gap]),
    }
    flags = _flags(quality, outliers, settings)
    no_jitter = no_jitter_because(quality, flags, bool(frames.voice.any()))
    steadiness = Steadiness(None, None, None)
    if no_jitter is None:
        steadiness = measure_steadiness(samples, rate_hz, frames.pitch, frames.voice)
    row: Row = {
        **_pitch_measures(at, pitch_st),
        "voiced_s": float(frames.voice.sum() * HOP_S) if spans else None,
        "octave_outlier_share": outliers,
        "rate_syll_s": _syllable_rate(samples, rate_hz, spans, frames),
        "effort_db": alpha_ratio_db(
            samples, rate_hz, frames.voice, frames.gap & ~frames.pitch.voiced
        ),
        "hnr_db": harmonics_to_noise_db(frames.pitch.correlation[frames.voice]),
        "jitter_percent": steadiness.jitter_percent,
        "shimmer_percent": steadiness.shimmer_percent,
        "steady_voice_s": steadiness.steady_s,
        "loudness_lufs": levels.loudness_lufs(heard, rate_hz),
        "level_dbfs": levels.level_db(_mean_square(heard)),
        **quality,
    }
    row["not_measured"] = not_measured(row, no_jitter)
    return Measured(row, flags, tonal_s=float(frames.pitch.voiced.sum() * HOP_S))


def _flags(quality: Row, outliers: float | None, settings: VoiceSettings) -> list[str]:
    weak = quality["snr_db"] is not None and rounded(quality["snr_db"]) < settings.low_snr_db
    found = {
        "low_snr": weak and quality["snr_method"] == "gaps",
        "snr_unsure": weak and quality["snr_method"] == "quiet_frames",
        "clipped_sound": (quality["clipped_share"] or 0) >= levels.MUCH_CLIPPED,
        "tonal_background": rounded(quality["tonal_gap_share"] or 0) > MAX_TONAL_GAP,
        "pitch_unstable": rounded(outliers or 0) > MAX_OCTAVE_OUTLIERS,
    }
    return [flag for flag, raised in found.items() if raised]


# --- frames ----------------------------------------------------------------------------------


def _frames(
    samples: np.ndarray,
    rate_hz: int,
    spans: Sequence[Span],
    settings: VoiceSettings,
    sound_start_s: float,
) -> Frames:
    pitch = track_pitch(samples, rate_hz, settings.pitch_floor_hz, settings.pitch_ceiling_hz)
    power = levels.frame_power(samples, rate_hz, HOP_S, len(pitch.f0_hz))
    time_s = pitch.time_s
    speech = _inside(time_s, spans)
    near = _inside(time_s, [Span(s.start_s - GUARD_S, s.end_s + GUARD_S) for s in spans])
    gap = ~near & (time_s >= sound_start_s)
    voice = speech & pitch.voiced
    if speech.any():
        usual = np.percentile(power[speech], 60)
        voice &= power > usual * 10 ** (-BELOW_SPEECH_DB / 10)
    return Frames(power, pitch, speech, gap, voice)


def _inside(time_s: np.ndarray, spans: Sequence[Span]) -> np.ndarray:
    inside = np.zeros(len(time_s), bool)
    for span in spans:
        inside |= (time_s >= span.start_s) & (time_s < span.end_s)
    return inside


def _share(marks: np.ndarray) -> float | None:
    """How many are marked; None where there are none."""
    return float(marks.mean()) if len(marks) else None


def _mean_square(samples: np.ndarray) -> float:
    return float(np.mean(samples.astype(np.float64) ** 2)) if len(samples) else 0.0


# --- measures --------------------------------------------------------------------------------


def _pitch_without_octave_errors(
    frames: Frames,
) -> tuple[np.ndarray, np.ndarray, float | None]:
    """Numbers of voice frames, their pitch in semitones (MIDI), and the share that was left out."""
    at = np.flatnonzero(frames.voice)
    if len(at) == 0:
        return at, np.zeros(0), None
    pitch_st = np.asarray(librosa.hz_to_midi(frames.pitch.f0_hz[at]), np.float64)
    near = np.abs(pitch_st - np.median(pitch_st)) <= OCTAVE_ERROR_ST
    return at[near], pitch_st[near], float(1 - near.mean())


def _pitch_measures(at: np.ndarray, pitch_st: np.ndarray) -> Row:
    if len(pitch_st) == 0:
        return dict.fromkeys(("f0_median_hz", "f0_sd_st", "contour_st", "ending_st"))
    return {
        "f0_median_hz": float(librosa.midi_to_hz(np.median(pitch_st))),
        "f0_sd_st": float(np.std(pitch_st)),
        "contour_st": _contour_st(pitch_st),
        "ending_st": _ending_st(at, pitch_st),
    }


def _contour_st(pitch_st: np.ndarray) -> float | None:
    """Median of the last quarter minus that of the first; None when they would overlap."""
    part = max(round(CONTOUR_PART * len(pitch_st)), round(CONTOUR_PART_S / HOP_S))
    if 2 * part > len(pitch_st):
        return None
    return float(np.median(pitch_st[-part:]) - np.median(pitch_st[:part]))


def _ending_st(at: np.ndarray, pitch_st: np.ndarray) -> float | None:
    """How pitch moves in the last stretch of voice: its later half minus its earlier.

    ``at`` are the numbers of the frames. What lies before a gap is another syllable, and a step
    from there is no ending. None where the stretch is too short.
    """
    gaps = np.flatnonzero(np.diff(at) * HOP_S > ENDING_GAP_S + HOP_S / 2)
    first = int(gaps[-1]) + 1 if len(gaps) else 0
    last = pitch_st[max(first, len(pitch_st) - round(ENDING_S / HOP_S)) :]
    if round(len(last) * HOP_S, 3) < LEAST_ENDING_S:
        return None
    half = len(last) // 2
    return float(np.median(last[half:]) - np.median(last[:half]))


def alpha_ratio_db(
    samples: np.ndarray, rate_hz: int, frames: np.ndarray, background: np.ndarray
) -> float | None:
    """Energy of 1 to 5 kHz over that of 50 Hz to 1 kHz, mean of the frames' dB (eGeMAPS).

    Rises with vocal effort, whatever the gain of the recording. What is heard in ``background``
    (frames without the voice) is taken off both bands first, by its median, as far as 5 % of a
    band's energy is left: in white noise at 10 dB a voice would else seem 4 dB more forceful. None
    without frames.
    """
    low, high = _band_energies(samples, rate_hz, frames)
    noise_low, noise_high = _band_energies(samples, rate_hz, background)
    if len(noise_low):
        low = np.maximum(low - np.median(noise_low), LEAST_BAND_SHARE * low)
        high = np.maximum(high - np.median(noise_high), LEAST_BAND_SHARE * high)
    heard = (low > 0) & (high > 0)
    return float(np.mean(10 * np.log10(high[heard] / low[heard]))) if heard.any() else None


def _band_energies(
    samples: np.ndarray, rate_hz: int, frames: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(frames,) Energy of the low and of the high band, in the frames of the mask."""
    size = round(SPECTRUM_S * rate_hz)
    starts = np.flatnonzero(frames) * round(HOP_S * rate_hz)
    padded = np.pad(samples.astype(np.float64), (size // 2, size))
    frequency = np.fft.rfftfreq(size, 1 / rate_hz)
    low, high = (_band(frequency, band) for band in (LOW_BAND_HZ, HIGH_BAND_HZ))
    window = np.hanning(size)
    energies = np.zeros((2, len(starts)))
    for number, start in enumerate(starts):
        power = np.abs(np.fft.rfft(padded[start : start + size] * window)) ** 2
        energies[:, number] = power[low].sum(), power[high].sum()
    return energies[0], energies[1]


def _band(frequency: np.ndarray, band_hz: tuple[float, float]) -> np.ndarray:
    return (frequency >= band_hz[0]) & (frequency < band_hz[1])


def _syllable_rate(
    samples: np.ndarray, rate_hz: int, spans: Sequence[Span], frames: Frames
) -> float | None:
    """Syllable nuclei in speech per second of speech, with those that the method misses."""
    speech_s = sum(span.duration_s for span in spans)
    if speech_s <= 0 or not frames.voice.any():
        return None
    nuclei = find_nuclei(samples, rate_hz, frames.speech, frames.pitch.voiced, frames.gap)
    return len(nuclei) * MISSED_NUCLEI / speech_s
