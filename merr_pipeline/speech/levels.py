"""How strong a sound is, and how far the voice stands above what else is heard."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyloudnorm
from scipy.signal import butter, sosfilt

LOUDNESS_BLOCK_S = 0.4  # of ITU-R BS.1770; a shorter clip gets a shorter block
FAINTEST_DB = -100.0  # under the last bit of 16: digital silence counts as this
CLIPPED_LEVEL = 0.99
MUCH_CLIPPED = 1e-3
MIN_GAP_S = 0.2
ENVELOPE_STEP_S = 0.04
SPEECH_BAND_HZ = (300.0, 3400.0)  # of telephony (ITU-T G.712)
WEAKEST_SPEECH_SHARE = 0.01  # of the gap's power: caps the ratio at -20 dB


@dataclass(frozen=True)
class SignalToNoise:
    """``method``: ``gaps`` (sound between the speech) or ``quiet_frames`` (a poor stand-in)."""

    snr_db: float
    method: str


def frame_power(samples: np.ndarray, rate_hz: int, hop_s: float, count: int) -> np.ndarray:
    """Mean square around the times 0, ``hop_s``, 2 ``hop_s`` ...; ``count`` values.

    Beyond its ends the sound counts as silent.
    """
    hop = round(hop_s * rate_hz)
    squares = np.zeros(count * hop)
    inside = samples[: max(0, len(squares) - hop // 2)].astype(np.float64) ** 2
    squares[hop // 2 : hop // 2 + len(inside)] = inside
    return np.asarray(squares.reshape(count, hop).mean(axis=1))


def envelope_db(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Level of the speech band in steps of `ENVELOPE_STEP_S`, dBFS, `FAINTEST_DB` at least.

    A mouth follows it (Chandrasekaran et al. 2009, The Natural Statistics of Audiovisual Speech),
    so it tells who speaks; below the band lies music, above it hiss.
    """
    step = round(ENVELOPE_STEP_S * rate_hz)
    count = len(samples) // step
    if not count:
        return np.empty(0)
    band = butter(4, SPEECH_BAND_HZ, "bandpass", fs=rate_hz, output="sos")
    heard = sosfilt(band, samples.astype(np.float64))[: count * step].reshape(count, step)
    power = np.maximum(np.mean(heard**2, axis=1), 10 ** (FAINTEST_DB / 10))
    return np.asarray(10 * np.log10(power))


def level_db(power: float | np.floating) -> float | None:
    """Power (mean square, full scale 1) in dB; None for digital silence."""
    return None if power <= 10 ** (FAINTEST_DB / 10) else float(10 * np.log10(power))


def loudness_lufs(samples: np.ndarray, rate_hz: int) -> float | None:
    """Integrated loudness after ITU-R BS.1770-4; None for silence and under 0.1 s of sound.

    A level of the file, not of the person: recordings are made and normalised at any gain.
    """
    duration_s = len(samples) / rate_hz
    if duration_s < 0.1:
        return None
    meter = pyloudnorm.Meter(rate_hz, block_size=min(LOUDNESS_BLOCK_S, 0.9 * duration_s))
    loudness = float(meter.integrated_loudness(samples.astype(np.float64)))
    return loudness if np.isfinite(loudness) else None


def clipped_share(samples: np.ndarray) -> float | None:
    """Share of the samples at full scale; None without any."""
    return float(np.mean(np.abs(samples) >= CLIPPED_LEVEL)) if len(samples) else None


def signal_to_noise(
    power: np.ndarray, speech: np.ndarray, gap: np.ndarray, frame_s: float
) -> SignalToNoise | None:
    """The voice's power over that of the gaps: 10 log10((speech - gap) / gap).

    ``power`` is the mean square per frame; ``gap`` marks frames well outside of speech, of which
    the median counts: the mean is that of the few in which a voice was missed (on four of ten real
    clips by 10 to 27 dB). Other voices and music that go on through the gaps count as noise. With
    less than 0.2 s of gap the quietest 5 % of the speech frames stand in. None without speech.
    """
    if not speech.any():
        return None
    if round(gap.sum() * frame_s, 3) >= MIN_GAP_S:
        noise, method = float(np.median(power[gap])), "gaps"
    else:
        noise, method = float(np.percentile(power[speech], 5)), "quiet_frames"
    noise = max(noise, 10 ** (FAINTEST_DB / 10))
    voice = max(float(power[speech].mean()) - noise, WEAKEST_SPEECH_SHARE * noise)
    return SignalToNoise(float(10 * np.log10(voice / noise)), method)
