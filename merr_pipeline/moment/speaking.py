"""Who speaks: a mouth that moves with the sound.

While somebody speaks, the opening of the mouth and the level of the sound go together, the mouth
some 100 to 300 ms ahead (Chandrasekaran et al. 2009, The Natural Statistics of Audiovisual Speech).
On real clips how *fast* the mouth moves told the true sound from that of another clip better than
how far it is open (area under the curve .84 over 9 true and 46 false pairs).
"""

from __future__ import annotations

import numpy as np

from merr_pipeline.moment.rules import SpeakingRules
from merr_pipeline.moment.series import Floats, Mask, floats
from merr_pipeline.schema import Reason, Row, Status

SMOOTHED_FRAMES = 3


def speaking(track: Row, voice: Row, rules: SpeakingRules) -> float | None:
    """How well a face's mouth follows the sound: correlation at the best lag, 0 to 1.

    0 where nobody speaks while the face is seen. None where that cannot be told: no speech was
    found in the clip, the tool sees no mouth, or the face is seen too briefly.

    Args:
        track: of a ``face`` row.
        voice: the ``voice`` row of the clip.
        rules: lags and least lengths.
    """
    if voice["status"] != Status.OK:
        return None
    time_s, mouth = floats(track["time_s"]), floats(track["mouth_open"])
    heard = talking(time_s, voice, margin_s=0.0)
    step_s = float(np.median(np.diff(time_s))) if len(time_s) > 1 else 0.0
    if round(float(heard.sum()) * step_s, 3) < rules.least_speech_s:
        seen_s = float(time_s[-1] - time_s[0]) if len(time_s) else 0.0
        return 0.0 if round(seen_s, 3) >= rules.least_s else None
    known = np.isfinite(mouth)
    if round(float(known.sum()) * step_s, 3) < rules.least_s:
        return None
    moving = _speed(time_s[known], mouth[known])
    level = loudness(voice)
    at_s = (np.arange(len(level)) + 0.5) * voice["envelope_step_s"]
    lags_s = np.arange(rules.first_lag_s, rules.last_lag_s + 1e-9, voice["envelope_step_s"])
    return max(
        0.0, *(_correlation(moving, np.interp(time_s[known] + lag, at_s, level)) for lag in lags_s)
    )


def may_talk(time_s: Floats, voice: Row, spoken: float | None, rules: SpeakingRules) -> Mask:
    """(frames,) Whether the mouth may be moving because of speech.

    Without sound, or where the sound may hide a voice, it may be at any time. It is never that of
    a listener, for which a mouth is taken that follows the sound no better than chance (``spoken``,
    as `speaking` gives it; None: not known).
    """
    unknown = voice["status"] != Status.OK and voice["reason"] != Reason.NO_SPEECH
    if unknown or voice["speech_uncertain"]:
        return np.ones(len(time_s), dtype=bool)
    if spoken is not None and round(spoken, 3) <= rules.chance:
        return np.zeros(len(time_s), dtype=bool)
    return talking(time_s, voice, rules.margin_s)


def talking(time_s: Floats, voice: Row, margin_s: float) -> Mask:
    """(frames,) Whether somebody speaks then, or does within ``margin_s``."""
    heard = np.zeros(len(time_s), dtype=bool)
    for segment in voice["segments"] or []:
        start_s, end_s = segment["start_s"] - margin_s, segment["end_s"] + margin_s
        heard |= (np.round(time_s, 3) >= round(start_s, 3)) & (
            np.round(time_s, 3) <= round(end_s, 3)
        )
    return heard


def loudness(voice: Row) -> Floats:
    """The envelope as it is heard, about: the fourth root of its power (Stevens' law)."""
    return np.asarray(10 ** (floats(voice["envelope_db"]) / 40))


def _speed(time_s: Floats, mouth: Floats) -> Floats:
    """How fast the mouth opens or closes, smoothed; eye distances per second."""
    speed = np.abs(np.gradient(mouth, time_s))
    padded = np.pad(speed, SMOOTHED_FRAMES // 2, mode="edge")
    return np.convolve(padded, np.full(SMOOTHED_FRAMES, 1 / SMOOTHED_FRAMES), "valid")


def _correlation(one: Floats, other: Floats) -> float:
    """Pearson's r; 0 where one of them does not move."""
    if min(np.ptp(one), np.ptp(other)) < 1e-9:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
