"""The sound of a clip: words spoken by espeak-ng over faint noise."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import scipy.io.wavfile
from scipy.signal import resample_poly

from generator.clips import FPS, Clip, Speech

SAMPLE_RATE_HZ = 44_100
SPEECH_RMS = 0.1  # of full scale
NOISE_RMS = 0.0003  # of full scale, about 50 dB under the speech
HEARD_SHARE = 0.02  # of the loudest sample; what is below at either end is cut off
SILENCE_AFTER_S = 0.2  # at least, between the last word and the end of the clip


def require_espeak() -> None:
    """Exit with a message when espeak-ng is missing."""
    if shutil.which("espeak-ng") is None:
        sys.exit(
            "espeak-ng is not on PATH; it speaks the words of the clips.\n"
            "Install it (Debian, Ubuntu: apt-get install espeak-ng) and run again."
        )


def make_sound(clip: Clip, speech: Speech, seed: int) -> tuple[np.ndarray, float]:
    """The clip's mono sound and the second at which its speech ends.

    The sound is float32 in -1..1 at SAMPLE_RATE_HZ, as long as the pictures. Exits with a message
    when the speech is too long for the clip.
    """
    count = round(clip.frame_count / FPS * SAMPLE_RATE_HZ)
    sound = np.random.default_rng(seed).normal(0, NOISE_RMS, count)
    voice = speak(speech)
    start = round(speech.start_s * SAMPLE_RATE_HZ)
    end = start + len(voice)
    end_s = end / SAMPLE_RATE_HZ
    if end + SILENCE_AFTER_S * SAMPLE_RATE_HZ > count:
        sys.exit(f"{clip.clip_id}: the speech ends at {end_s:.2f} s, too near the end.")
    sound[start:end] += voice
    return np.clip(sound, -1, 1).astype(np.float32), end_s


def speak(speech: Speech) -> np.ndarray:
    """The words as mono samples in -1..1 at SAMPLE_RATE_HZ, trimmed to the voice."""
    rate_hz, samples = _run_espeak(speech)
    voice = resample_poly(samples / 32768, SAMPLE_RATE_HZ, rate_hz)
    heard = np.flatnonzero(np.abs(voice) > HEARD_SHARE * np.abs(voice).max())
    voice = voice[heard[0] : heard[-1] + 1]
    return voice * SPEECH_RMS / np.sqrt(np.mean(voice**2))


def _run_espeak(speech: Speech) -> tuple[int, np.ndarray]:
    """Samples a second, and the mono samples (int16) that espeak-ng speaks."""
    manner = ["-v", speech.voice, "-s", str(speech.words_per_minute), "-p", str(speech.pitch)]
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        subprocess.run(["espeak-ng", *manner, "-w", str(wav), speech.text], check=True)
        return scipy.io.wavfile.read(wav)
