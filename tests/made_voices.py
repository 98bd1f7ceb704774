"""Voices with known truth: glottal pulses through formants, cycle by cycle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter, resample_poly

RATE_HZ = 16_000
FINER = 4  # cycles begin between samples
OPENING, CLOSING = 0.40, 0.16  # of a cycle: Rosenberg (1971), pulse B, as usual in a normal voice
VOWELS = {  # Peterson & Barney (1952), men
    "a": ((730, 90), (1090, 110), (2440, 170), (3300, 250)),
    "i": ((270, 60), (2290, 120), (3010, 200), (3500, 250)),
    "u": ((300, 60), (870, 90), (2240, 170), (3300, 250)),
    "e": ((530, 70), (1840, 110), (2480, 170), (3300, 250)),
}


@dataclass(frozen=True)
class Cycles:
    """Where each cycle of a glottis begins (s) and how strong it is: the truth of a made voice."""

    start_s: np.ndarray
    strength: np.ndarray

    @property
    def jitter_percent(self) -> float:
        """Mean change of length from cycle to cycle, of the mean length."""
        lengths = np.diff(self.start_s)
        return float(100 * np.abs(np.diff(lengths)).mean() / lengths.mean())

    @property
    def shimmer_percent(self) -> float:
        """Mean change of strength from cycle to cycle, of the mean strength."""
        return float(100 * np.abs(np.diff(self.strength)).mean() / self.strength.mean())


def glottal_cycles(
    f0_hz: float | np.ndarray,
    duration_s: float,
    jitter: float = 0.0,
    shimmer: float = 0.0,
    seed: int = 0,
) -> Cycles:
    """Cycles along a course of pitch (any number of points, spread over the duration).

    ``jitter`` and ``shimmer`` are the standard deviations of a cycle's length and strength, as
    shares of the mean.
    """
    rng = np.random.default_rng(seed)
    course = np.atleast_1d(np.asarray(f0_hz, np.float64))
    starts, time_s = [], 0.0
    while time_s < duration_s:
        starts.append(time_s)
        here_hz = np.interp(time_s / duration_s, np.linspace(0, 1, len(course)), course)
        time_s += (1 + jitter * rng.standard_normal()) / here_hz
    strength = 1 + shimmer * rng.standard_normal(len(starts))
    return Cycles(np.array(starts), strength)


def glottal_voice(
    cycles: Cycles, duration_s: float, *, vowel: str = "a", level: float = 0.3
) -> np.ndarray:
    """Mono sound at 16 kHz of these cycles: the flow of each pulse, radiated, through a vowel."""
    rate_hz = RATE_HZ * FINER
    flow = np.zeros(round(duration_s * rate_hz))
    ends = np.append(cycles.start_s[1:], duration_s)
    for start_s, end_s, strength in zip(cycles.start_s, ends, cycles.strength, strict=True):
        first, last = int(np.ceil(start_s * rate_hz)), int(np.ceil(end_s * rate_hz))
        phase = (np.arange(first, min(last, len(flow))) / rate_hz - start_s) / (end_s - start_s)
        flow[first : first + len(phase)] = strength * _pulse(phase)
    wave = np.diff(flow, prepend=0.0)  # what leaves the lips is the change of flow
    for frequency_hz, width_hz in VOWELS[vowel]:
        radius = np.exp(-np.pi * width_hz / rate_hz)
        pole = -2 * radius * np.cos(2 * np.pi * frequency_hz / rate_hz)
        wave = lfilter([1 + pole + radius**2], [1, pole, radius**2], wave)
    wave = resample_poly(wave, 1, FINER)
    return (level * wave / np.abs(wave).max()).astype(np.float32)


def sing(
    f0_hz: float | np.ndarray, duration_s: float, *, vowel: str = "a", level: float = 0.3
) -> np.ndarray:
    """A held vowel with this pitch, or this course of pitch."""
    return glottal_voice(glottal_cycles(f0_hz, duration_s), duration_s, vowel=vowel, level=level)


def babble(
    f0_hz: float | np.ndarray, syllables: int, syllables_per_s: float, level: float = 0.3
) -> np.ndarray:
    """So many syllables at this rate, each a vowel that opens and closes by 20 dB, no two alike."""
    duration_s = syllables / syllables_per_s
    cycles = glottal_cycles(f0_hz, duration_s)
    voices = [glottal_voice(cycles, duration_s, vowel=vowel) for vowel in VOWELS]
    voices = [voice / np.sqrt(np.mean(voice.astype(float) ** 2)) for voice in voices]
    turn = syllables * np.arange(len(voices[0])) / len(voices[0])
    which = np.minimum(turn.astype(int), syllables - 1) % len(voices)
    opening = 0.1 + 0.9 * np.sin(np.pi * (turn % 1)) ** 0.7
    wave = np.choose(which, voices) * opening
    return (level * wave / np.abs(wave).max()).astype(np.float32)


def _pulse(phase: np.ndarray) -> np.ndarray:
    """Flow through the glottis over one cycle (Rosenberg's trigonometric pulse)."""
    rising = 0.5 * (1 - np.cos(np.pi * phase / OPENING))
    falling = np.cos(0.5 * np.pi * (phase - OPENING) / CLOSING)
    closed = phase >= OPENING + CLOSING
    return np.where(phase < OPENING, rising, np.where(closed, 0.0, falling))
