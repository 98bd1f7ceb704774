"""Which cues of a subtitle file are of this clip, and when they are said on its clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from merr_pipeline.speech.sidecar import BadSidecarError
from merr_pipeline.speech.subtitle_text import Cue

OTHER_CLOCK_SLACK_S = 1.0  # cues on another clock may last this much longer than the clip
LEAST_SHARE = 0.5  # of a cue of the film; of one with less in the clip, who knows what is said here

Clock = Literal["auto", "clip", "source"]
Placed = tuple[tuple[Cue, ...], tuple[str, ...]]  # cues, flags


def place(
    cues: Sequence[Cue], duration_s: float, clock: Clock = "auto", offset_s: float | None = None
) -> Placed:
    """The cues that are said in the clip, on its clock, and flags.

    Args:
        cues: with the times of the file; a cue without times is of the whole clip.
        duration_s: of the clip.
        clock: whether those times count from the clip's start or from that of its source; with
            ``auto`` and an offset they are the source's, unless all cues fit the clip.
        offset_s: where in its source the clip begins; None where nobody says so.

    Raises:
        BadSidecarError: the times fit neither, or ``source`` is asked for and there is no offset.
    """
    if any(cue.start_s is None for cue in cues):
        return tuple(cues), ()
    if clock == "source" and offset_s is None:
        raise BadSidecarError("times of the source, and the manifest has no source_offset_s")
    if offset_s is None or clock == "clip":
        return _from_clip(cues, duration_s)
    in_source = _from_source(cues, duration_s, offset_s)
    if clock == "source":
        return in_source
    if not in_source[0]:
        return _from_clip(cues, duration_s)
    return (tuple(cues), _either(offset_s)) if _all_fit(cues, duration_s) else in_source


def _all_fit(cues: Sequence[Cue], duration_s: float) -> bool:
    """Whether every cue lies in the clip as its times stand; a last one may end a little late."""
    return all(
        overlaps(cue, duration_s) and (cue.end_s or 0.0) <= duration_s + OTHER_CLOCK_SLACK_S
        for cue in cues
    )


def _either(offset_s: float) -> tuple[str, ...]:
    """The flag of cues that lie in the clip by its own times, and some by the film's too."""
    return ("clip_or_source_times",) if offset_s else ()


def _from_source(cues: Sequence[Cue], duration_s: float, offset_s: float) -> Placed:
    """Those of a film's cues that are said in the clip, at least for half of their time."""
    moved = [_moved(cue, -offset_s) for cue in cues]
    near = [cue for cue in moved if overlaps(cue, duration_s)]
    inside = tuple(cue for cue in near if _share_inside(cue, duration_s) >= LEAST_SHARE)
    return inside, ("times_of_source", *counts(cues_at_edge_left_out=len(near) - len(inside)))


def _from_clip(cues: Sequence[Cue], duration_s: float) -> Placed:
    """The cues that lie in the clip.

    Some sidecars keep the times of the film and nobody says where in it the clip begins. If no cue
    lies in the clip and together they are no longer than it, the words are the clip's and the times
    are dropped. If most lie outside, they are of another clip or of a whole film, and those inside
    are there by chance.
    """
    inside = tuple(cue for cue in cues if overlaps(cue, duration_s))
    outside = len(cues) - len(inside)
    if outside <= len(inside):
        return inside, counts(cues_outside_clip=outside)
    span_s = max(cue.end_s or 0.0 for cue in cues) - min(cue.start_s or 0.0 for cue in cues)
    if inside or span_s > duration_s + OTHER_CLOCK_SLACK_S:
        raise BadSidecarError(
            f"{outside} of {len(cues)} cues lie outside the clip; if they have the times of a "
            "film, say in the manifest where the clip begins in it (source_offset_s)"
        )
    text = " ".join(cue.text for cue in cues)
    return (Cue(None, None, text),), ("times_of_another_clock",)


def _moved(cue: Cue, by_s: float) -> Cue:
    assert cue.start_s is not None
    assert cue.end_s is not None
    return replace(cue, start_s=round(cue.start_s + by_s, 3), end_s=round(cue.end_s + by_s, 3))


def _share_inside(cue: Cue, duration_s: float) -> float:
    assert cue.start_s is not None
    assert cue.end_s is not None
    inside_s = min(cue.end_s, duration_s) - max(cue.start_s, 0.0)
    return round(inside_s / (cue.end_s - cue.start_s), 3)


def overlaps(cue: Cue, duration_s: float) -> bool:
    """Whether some of the cue lies in the clip; one without times does."""
    if cue.start_s is None or cue.end_s is None:
        return True
    return round(cue.start_s, 3) < duration_s and round(cue.end_s, 3) > 0


def counts(**numbers: int) -> tuple[str, ...]:
    """``malformed_cues=2``; what was not left out is not named."""
    return tuple(f"{name}={count}" for name, count in numbers.items() if count)
