"""Why a measure of the voice is null: each that is has its reason in ``not_measured``.

====================  =====================================================================
reason                what is missing
====================  =====================================================================
``no_speech``         no speech was found
``no_pitch``          the speech has no pitch: whispered, or drowned
``too_short``         too little of it
``silence``           the sound is silent, or too short to have a loudness
``no_gap``            no stretch without speech, so the background was not heard alone
``background``        the voice stands less than `CLEAN_DB` above it
``tonal_background``  music or another voice in the gaps
``clipped_sound``     the recording is clipped
``no_steady_voice``   no vowel is held
====================  =====================================================================
"""

from __future__ import annotations

from collections.abc import Sequence

from merr_pipeline.schema import Row
from merr_pipeline.stage import rounded

CLEAN_DB = 30.0  # under it noise shakes the cycles more than a healthy voice does (Deliyski 2005)
OF_LEVEL = ("loudness_lufs", "level_dbfs", "clipped_share")
OF_CYCLES = ("jitter_percent", "shimmer_percent", "steady_voice_s")
OF_LENGTH = ("contour_st", "ending_st")


def no_jitter_because(quality: Row, flags: Sequence[str], has_voice: bool) -> str | None:
    """Why jitter and shimmer are not even looked for; None where the sound is clean enough."""
    if quality["snr_db"] is None:
        return "no_speech"
    if not has_voice:
        return "no_pitch"
    if quality["snr_method"] != "gaps":
        return "no_gap"
    if rounded(quality["snr_db"]) < CLEAN_DB:
        return "background"
    return next((flag for flag in ("tonal_background", "clipped_sound") if flag in flags), None)


def not_measured(prosody: Row, no_jitter: str | None) -> list[Row]:
    """``measure, reason`` for every field of ``schema.PROSODY`` that is None."""
    speech, voice = prosody["snr_db"] is not None, prosody["f0_median_hz"] is not None
    found = []
    for measure, value in prosody.items():
        if value is not None:
            continue
        if measure in OF_LEVEL:
            reason = "silence"
        elif measure == "tonal_gap_share":
            reason = "no_gap"
        elif not speech:
            reason = "no_speech"
        elif measure in OF_CYCLES:
            reason = no_jitter or "no_steady_voice"
        elif voice and measure in OF_LENGTH:
            reason = "too_short"
        else:
            reason = "no_pitch"
        found.append({"measure": measure, "reason": reason})
    return found
