"""Pitch by autocorrelation and Viterbi search, after Boersma (1993), in numpy.

P. Boersma, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise
ratio of a sampled sound", IFA Proceedings 17, 1993. Written for speech over noise and music, where
librosa's pyin loses most voiced frames and needs 20 times the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.signal

HOP_S = 0.01
HIGH_PASS_HZ = 60.0
VOICING_THRESHOLD = 0.45  # a frame with no correlation above it is unvoiced
SILENCE_THRESHOLD = 0.03  # of the clip's peak: a frame far under it is unvoiced
OCTAVE_COST = 0.01  # per octave: of two lags that fit alike, prefer the shorter
OCTAVE_JUMP_COST = 0.35  # per octave between neighbouring frames
VOICING_CHANGE_COST = 0.14
CANDIDATES = 8
FINER = 4  # lags to a sample
FRAMES_AT_A_TIME = 3000  # 30 s: bounds the memory of a long clip


@dataclass(frozen=True)
class PitchTrack:
    """One value per frame, 10 ms apart, the first at 0 s.

    ``f0_hz`` is 0 where no voice is found; ``correlation`` (0..1) is the height of the
    autocorrelation at the pitch period, 0 where unvoiced.
    """

    f0_hz: np.ndarray
    correlation: np.ndarray

    @property
    def time_s(self) -> np.ndarray:
        """Time of each frame's middle."""
        return np.arange(len(self.f0_hz)) * HOP_S

    @property
    def voiced(self) -> np.ndarray:
        """Which frames have a pitch."""
        return self.f0_hz > 0


@dataclass(frozen=True)
class _Candidates:
    """Frames x candidates; column 0 is "unvoiced", unused columns have the score -inf."""

    score: np.ndarray
    f0_hz: np.ndarray
    correlation: np.ndarray


def track_pitch(
    samples: np.ndarray, rate_hz: int, floor_hz: float, ceiling_hz: float
) -> PitchTrack:
    """Follow the pitch of one voice through mono sound.

    A window holds three periods of ``floor_hz``. Sound shorter than 50 ms has no frames.
    """
    if len(samples) < rate_hz // 20:
        return PitchTrack(np.zeros(0), np.zeros(0))
    high_pass = scipy.signal.butter(2, HIGH_PASS_HZ, "highpass", fs=rate_hz, output="sos")
    sound = scipy.signal.sosfiltfilt(high_pass, samples.astype(np.float64))
    found = _all_candidates(sound, rate_hz, floor_hz, ceiling_hz)
    best = _best_path(found)
    frames = np.arange(len(best))
    return PitchTrack(found.f0_hz[frames, best], found.correlation[frames, best])


def harmonics_to_noise_db(correlation: np.ndarray) -> float | None:
    """Mean over voiced frames of 10 log10(r / (1 - r)); None without frames."""
    if len(correlation) == 0:
        return None
    r = np.clip(correlation, 1e-3, 1 - 1e-4)
    return float(np.mean(10 * np.log10(r / (1 - r))))


def _all_candidates(
    sound: np.ndarray, rate_hz: int, floor_hz: float, ceiling_hz: float
) -> _Candidates:
    size = round(3 / floor_hz * rate_hz)
    padded = np.pad(sound, (size // 2, size // 2))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[:: round(HOP_S * rate_hz)]
    peak = float(np.abs(sound).max())
    parts = [
        _candidates(frames[first : first + FRAMES_AT_A_TIME], peak, rate_hz, floor_hz, ceiling_hz)
        for first in range(0, len(frames), FRAMES_AT_A_TIME)
    ]
    return _Candidates(
        np.concatenate([part.score for part in parts]),
        np.concatenate([part.f0_hz for part in parts]),
        np.concatenate([part.correlation for part in parts]),
    )


def _candidates(
    frames: np.ndarray, peak: float, rate_hz: int, floor_hz: float, ceiling_hz: float
) -> _Candidates:
    """The best pitch periods of each frame, and what it takes to call the frame unvoiced."""
    frames = frames - frames.mean(axis=1, keepdims=True)
    lag_rate_hz = rate_hz * FINER
    shortest, longest = int(lag_rate_hz / ceiling_hz), int(lag_rate_hz / floor_hz) + 1
    correlation = _autocorrelation(frames, longest + 2)
    lag, height, is_peak = _peaks(correlation, shortest, longest)

    octaves = np.log2(floor_hz * lag / lag_rate_hz)
    score = np.where(is_peak, height - OCTAVE_COST * octaves, -np.inf)
    kept = min(CANDIDATES, score.shape[1] - 1)
    order = np.argpartition(-score, kept, axis=1)[:, :kept]
    level = np.abs(frames).max(axis=1) / max(peak, 1e-12)
    unvoiced = VOICING_THRESHOLD + np.maximum(
        0, 2 - level / (SILENCE_THRESHOLD / (1 + VOICING_THRESHOLD))
    )
    nothing = np.zeros(len(frames))
    return _Candidates(
        np.column_stack([unvoiced, np.take_along_axis(score, order, axis=1)]),
        np.column_stack([nothing, lag_rate_hz / np.take_along_axis(lag, order, axis=1)]),
        np.column_stack([nothing, np.take_along_axis(height, order, axis=1)]),
    )


def _autocorrelation(frames: np.ndarray, lags: int) -> np.ndarray:
    """Autocorrelation of the sound under a Hann window, divided by that of the window itself.

    ``FINER`` lags to a sample: between samples the sum of the spectrum is exact, and a parabola is
    not. By a parabola alone a bright voice above 400 Hz is taken for one an octave lower.
    """
    size = frames.shape[1]
    window = np.hanning(size + 2)[1:-1]
    length = 1 << int(np.ceil(np.log2(1.5 * size)))

    def correlate(signal: np.ndarray) -> np.ndarray:
        power = np.abs(np.fft.rfft(signal, length)) ** 2
        return FINER * np.fft.irfft(power, FINER * length)[..., :lags]

    ours, windows = correlate(frames * window), correlate(window)
    power = ours[:, :1]
    normalised = np.divide(ours, power, out=np.zeros_like(ours), where=power > 1e-12)
    return np.asarray(normalised * (windows[0] / windows))


def _peaks(
    correlation: np.ndarray, shortest: int, longest: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lag and height of the parabola through every three lags, and where the middle is a peak."""
    before = correlation[:, shortest - 1 : longest]
    middle = correlation[:, shortest : longest + 1]
    after = correlation[:, shortest + 1 : longest + 2]
    is_peak = (middle > before) & (middle >= after) & (middle > 0.5 * VOICING_THRESHOLD)
    bend = before - 2 * middle + after
    shift = np.divide(0.5 * (before - after), bend, out=np.zeros_like(bend), where=is_peak)
    height = np.clip(middle - 0.25 * (before - after) * shift, 0, None)
    # above 1 the window's own correlation is divided by too little: mirrored, as Boersma does
    height = np.divide(1, height, out=height.copy(), where=height > 1)
    return np.arange(shortest, longest + 1) + shift, height, is_peak


def _best_path(found: _Candidates) -> np.ndarray:
    """Index of the candidate in each frame along the path with the highest total score."""
    voiced = found.f0_hz > 0
    octave = np.log2(np.where(voiced, found.f0_hz, 1))
    total = found.score[0].copy()
    came_from = np.zeros(found.score.shape, np.intp)
    for frame in range(1, len(found.score)):
        both = voiced[frame - 1][:, None] & voiced[frame][None]
        jump = np.abs(octave[frame - 1][:, None] - octave[frame][None])
        changes = voiced[frame - 1][:, None] != voiced[frame][None]
        cost = np.where(both, OCTAVE_JUMP_COST * jump, VOICING_CHANGE_COST * changes)
        reached = total[:, None] - cost
        came_from[frame] = reached.argmax(axis=0)
        total = reached.max(axis=0) + found.score[frame]
    path = np.zeros(len(found.score), np.intp)
    path[-1] = total.argmax()
    for frame in range(len(path) - 1, 0, -1):
        path[frame - 1] = came_from[frame, path[frame]]
    return path
