"""Cycle by cycle: jitter and shimmer of a voice that is held steady in a quiet place.

Both are defined on held vowels (Titze 1995, Workshop on Acoustic Voice Analysis). In running speech
the pitch moves by itself and a background shakes each cycle, so they are measured in steady
stretches alone, and not at all where the sound is not clean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.signal

from merr_pipeline.speech.pitch import HOP_S, PitchTrack

LEAST_CORRELATION = 0.85  # at the pitch period; under it a cycle does not look like the next
MOST_STEP_ST = 0.3  # of the pitch, from one 10 ms to the next
LEAST_STRETCH_S = 0.15
LEAST_STEADY_S = 0.3  # in all
FINER = 4  # points to a sample, for the length of a cycle
SHORTEST, LONGEST = 0.8, 1.25  # of the usual cycle here
AROUND_MARK = 0.2  # of a cycle, to either side: how strong it is
EDGE_S = 0.02  # at either end of a stretch, where the voice sets in or ends


@dataclass(frozen=True)
class Steadiness:
    """Mean change from one cycle to the next, in percent of the mean; None where not measured.

    ``steady_s`` is how much steady voice there is; None where it was not looked for.
    """

    jitter_percent: float | None
    shimmer_percent: float | None
    steady_s: float | None


def measure_steadiness(
    samples: np.ndarray, rate_hz: int, pitch: PitchTrack, voice: np.ndarray
) -> Steadiness:
    """Jitter (of the length of cycles) and shimmer (of their strength at its greatest).

    As Praat's local ones. Matching evens them out: of what single cycles really do, about half of
    the jitter is seen.

    ``samples`` is mono; ``voice`` marks the 10 ms frames of the voice that is meant.
    """
    stretches = list(steady_stretches(pitch, voice))
    steady_s = sum(end - first for first, end in stretches) * HOP_S
    if round(steady_s, 3) < LEAST_STEADY_S:
        return Steadiness(None, None, steady_s)
    changes = [_changes(samples, rate_hz, pitch, *stretch) for stretch in stretches]
    lengths, strengths = (np.concatenate(part) for part in zip(*changes, strict=True))
    if len(lengths) == 0:
        return Steadiness(None, None, steady_s)
    return Steadiness(100 * float(lengths.mean()), 100 * float(strengths.mean()), steady_s)


def steady_stretches(pitch: PitchTrack, voice: np.ndarray) -> Iterator[tuple[int, int]]:
    """First frame and the one after the last of each stretch in which the pitch hardly moves."""
    good = voice & pitch.voiced & (pitch.correlation >= LEAST_CORRELATION)
    octave = np.log2(np.where(pitch.voiced, pitch.f0_hz, 1))
    near = np.abs(np.diff(octave, prepend=octave[:1])) * 12 <= MOST_STEP_ST
    first: int | None = None
    for frame in range(len(good) + 1):
        goes_on = frame < len(good) and good[frame] and (first is None or near[frame])
        if goes_on and first is None:
            first = frame
        elif not goes_on and first is not None:
            if round((frame - first) * HOP_S, 3) >= LEAST_STRETCH_S:
                yield first, frame
            first = frame if frame < len(good) and good[frame] else None


def _changes(
    samples: np.ndarray, rate_hz: int, pitch: PitchTrack, first: int, end: int
) -> tuple[np.ndarray, np.ndarray]:
    """Changes of length and of strength between neighbouring cycles, as shares of their means."""
    usual_s = 1 / float(np.median(pitch.f0_hz[first:end]))
    start = max(0, round((first * HOP_S + EDGE_S) * rate_hz))
    stop = round(((end - 1) * HOP_S - EDGE_S) * rate_hz)
    fine = scipy.signal.resample_poly(samples[start:stop].astype(np.float64), FINER, 1)
    usual = usual_s * rate_hz * FINER
    marks = _cycle_marks(fine, usual)
    if len(marks) < 4:
        return np.zeros(0), np.zeros(0)
    lengths = np.diff(marks)
    strength = np.array([_strength(fine, mark, usual) for mark in marks])
    return (
        np.abs(np.diff(lengths)) / lengths.mean(),
        np.abs(np.diff(strength)) / max(float(strength.mean()), 1e-12),
    )


def _cycle_marks(wave: np.ndarray, usual: float) -> np.ndarray:
    """Where each cycle begins: each looks like the one before, at the lag where it does most.

    Waveform matching, as in Praat's point process by cross-correlation.
    """
    window = round(usual)
    lags = np.arange(round(SHORTEST * usual), round(LONGEST * usual) + 1)
    marks = [float(np.argmax(np.abs(wave[: 2 * window])))]
    while True:
        at = round(marks[-1]) - window // 2
        if at < 0:
            at += window
            marks[-1] += usual
            continue
        if at + lags[-1] + window + 1 > len(wave):
            return np.array(marks)
        here = wave[at : at + window]
        there = np.lib.stride_tricks.sliding_window_view(
            wave[at + lags[0] : at + lags[-1] + window], window
        )
        likeness = there @ here / np.maximum(np.sqrt((there**2).sum(axis=1)), 1e-12)
        best = int(likeness.argmax())
        marks.append(marks[-1] + lags[best] + _summit(likeness, best))


def _summit(values: np.ndarray, best: int) -> float:
    """Where the parabola through the highest of three values and its neighbours has its top."""
    if not 0 < best < len(values) - 1:
        return 0.0
    before, top, after = values[best - 1 : best + 2]
    bend = before - 2 * top + after
    return float(0.5 * (before - after) / bend) if bend < 0 else 0.0


def _strength(wave: np.ndarray, mark: float, usual: float) -> float:
    """Root mean square under a Hann window around the mark, as Praat weighs it."""
    half = round(AROUND_MARK * usual)
    middle = min(max(round(mark), half), len(wave) - half - 1)
    window = np.hanning(2 * half + 3)[1:-1]
    near = wave[middle - half : middle + half + 1]
    return float(np.sqrt(np.sum(window * near**2) / window.sum()))
