"""Which pieces of a clip a model is given: short clips whole, long ones cut in pauses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from merr_pipeline.speech.asr.contract import LONGEST_S
from merr_pipeline.speech.vad import Span

MARGIN_S = 0.3  # kept before and after speech: a word begins softly


def pieces_of(speech: Sequence[Span], duration_s: float) -> list[Span]:
    """Stretches of a clip to be heard one by one: in order, apart, none over `LONGEST_S`.

    A clip that fits is one stretch, with its silence: cutting short clips costs words. In a longer
    one the stretches hold as many neighbouring spans of speech as fit, and leave out what is not
    speech; a span that is too long itself is cut into equal parts.
    """
    if not speech:
        return []
    if duration_s <= LONGEST_S:
        return [Span(0.0, duration_s)]
    parts = [part for span in _with_margins(speech, duration_s) for part in _in_parts(span)]
    pieces = [parts[0]]
    for part in parts[1:]:
        if part.end_s - pieces[-1].start_s <= LONGEST_S:
            pieces[-1] = Span(pieces[-1].start_s, part.end_s)
        else:
            pieces.append(part)
    return pieces


def _with_margins(speech: Sequence[Span], duration_s: float) -> list[Span]:
    """Each span with `MARGIN_S` on both sides, or half of the gap where that is less."""
    gaps = [after.start_s - before.end_s for before, after in pairwise(speech)]
    edges = [2 * speech[0].start_s, *gaps, 2 * (duration_s - speech[-1].end_s)]
    return [
        Span(
            span.start_s - min(MARGIN_S, max(before, 0.0) / 2),
            span.end_s + min(MARGIN_S, max(after, 0.0) / 2),
        )
        for span, before, after in zip(speech, edges[:-1], edges[1:], strict=True)
    ]


def _in_parts(span: Span) -> list[Span]:
    """The span in as few equal parts as do, none longer than `LONGEST_S`."""
    count = max(1, math.ceil(span.duration_s / LONGEST_S))
    edges = [span.start_s + span.duration_s * part / count for part in range(count)]
    return [Span(start, end) for start, end in pairwise([*edges, span.end_s])]


def speech_inside(speech: Sequence[Span], piece: Span) -> list[Span]:
    """The speech of a piece, cut at its edges."""
    cut = [Span(max(span.start_s, piece.start_s), min(span.end_s, piece.end_s)) for span in speech]
    return [span for span in cut if span.duration_s > 0]
