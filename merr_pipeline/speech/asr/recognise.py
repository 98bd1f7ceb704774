"""From the sounds of several clips to what was heard in each, and what of it is kept."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean

import numpy as np

from merr_pipeline.speech.asr.contract import RATE_HZ, Backend, Heard, Word
from merr_pipeline.speech.asr.gates import Gates
from merr_pipeline.speech.asr.pieces import pieces_of, speech_inside
from merr_pipeline.speech.subtitle_text import BRACKETED, SOUNDS, tidy
from merr_pipeline.speech.vad import Span

SENTENCE_ENDS = tuple(".!?。！？…")
LONG_GAP_S = 0.5  # between two words: a new segment begins


@dataclass(frozen=True)
class ClipSound:
    """What a recogniser gets of one clip: mono at 16 kHz on its clock, and where speech is."""

    samples: np.ndarray
    speech: Sequence[Span]
    language: str | None = None

    @property
    def duration_s(self) -> float:
        """Length of the sound."""
        return len(self.samples) / RATE_HZ


@dataclass(frozen=True)
class Piece:
    """A stretch of a clip, the speech in it, and what was heard there."""

    span: Span
    speech: Sequence[Span]
    heard: Heard


@dataclass(frozen=True)
class Segment:
    """Words said together, on the clip's clock.

    ``confidence`` is the mean probability of its words; where the model gives no words it is that
    of a token, the exponential of the mean log probability.
    """

    start_s: float
    end_s: float
    text: str
    confidence: float | None
    words: tuple[Word, ...] = ()


@dataclass(frozen=True)
class Recognition:
    """What was heard in a clip and passed the gates, and what did not pass."""

    segments: tuple[Segment, ...]
    words: tuple[Word, ...]
    language: str | None
    rejected_text: str | None
    rejected_by: tuple[str, ...]  # gates
    sounds_left_out: int  # notes such as [music]
    times_are_of_words: bool  # False: of the speech that voice activity found


def recognise(backend: Backend, sounds: Sequence[ClipSound]) -> list[list[Piece]]:
    """What the model hears in each clip, piece by piece; all pieces go to it together."""
    spans = [pieces_of(sound.speech, sound.duration_s) for sound in sounds]
    cut = [
        _cut(sound.samples, span) for sound, own in zip(sounds, spans, strict=True) for span in own
    ]
    languages = [s.language for s, own in zip(sounds, spans, strict=True) for _ in own]
    answers = iter(backend.hear(cut, languages))
    return [
        [Piece(span, speech_inside(sound.speech, span), next(answers)) for span in own]
        for sound, own in zip(sounds, spans, strict=True)
    ]


def keep(pieces: Sequence[Piece], gates: Gates) -> Recognition:
    """Put the pieces of a clip together; a piece that does not pass the gates is set aside.

    The language is that of the longest text that is kept; there is none without one.
    """
    kept: list[Piece] = []
    refused: list[Piece] = []
    gate_names: list[str] = []
    for piece in pieces:
        stops = gates.reject(piece.heard, sum(span.duration_s for span in piece.speech))
        (refused if stops else kept).append(piece)
        gate_names += stops
    said = [(piece, *_segments(piece)) for piece in kept]
    segments = [segment for _, own, _ in said for segment in own]
    longest = max(said, key=lambda part: sum(len(one.text) for one in part[1]), default=None)
    return Recognition(
        segments=tuple(segments),
        words=tuple(replace(w, text=tidy(w.text)) for one in segments for w in one.words),
        language=longest[0].heard.language if longest is not None and segments else None,
        rejected_text=tidy(" ".join(piece.heard.text for piece in refused)) or None,
        rejected_by=tuple(dict.fromkeys(gate_names)),
        sounds_left_out=sum(notes for _, _, notes in said),
        times_are_of_words=all(piece.heard.words for piece in kept),
    )


def _cut(samples: np.ndarray, span: Span) -> np.ndarray:
    return samples[round(span.start_s * RATE_HZ) : round(span.end_s * RATE_HZ)]


def _words(piece: Piece) -> list[Word]:
    """The words of a piece on the clip's clock, none outside of the piece."""
    first_s, last_s = piece.span.start_s, piece.span.end_s
    return [
        replace(
            word,
            start_s=min(first_s + word.start_s, last_s),
            end_s=min(first_s + word.end_s, last_s),
        )
        for word in piece.heard.words
    ]


def _segments(piece: Piece) -> tuple[list[Segment], int]:
    """What was said, and how many notes on sounds were left out; dots alone say nothing.

    A segment is words up to the end of a sentence or a long gap, or all where there are no words.
    """
    if not piece.heard.words:
        text, notes = SOUNDS.subn(" ", piece.heard.text)
        segments = [_whole(piece, text)]
    else:
        words, notes = _without_notes(_words(piece), BRACKETED)
        groups = [_without_notes(group, SOUNDS) for group in _groups(words)]  # a song may not end
        notes += sum(songs for _, songs in groups)
        segments = [_segment(group) for group, _ in groups if group]
    return [segment for segment in segments if any(map(str.isalnum, segment.text))], notes


def _without_notes(words: Sequence[Word], notation: re.Pattern[str]) -> tuple[list[Word], int]:
    """The words, those that are notes on sounds left out, and the number of such notes."""
    notes = [found.span() for found in notation.finditer("".join(word.text for word in words))]
    kept: list[Word] = []
    end = 0
    for word in words:
        start, end = end, end + len(word.text)
        said = "".join(
            sign
            for place, sign in enumerate(word.text, start)
            if not any(first <= place < last for first, last in notes)
        )
        if said == word.text or any(map(str.isalnum, said)):
            kept.append(replace(word, text=said))
    return kept, len(notes)


def _groups(words: Sequence[Word]) -> list[list[Word]]:
    groups = [[word] for word in words[:1]]
    for before, word in pairwise(words):
        ends = before.text.rstrip().endswith(SENTENCE_ENDS)
        if ends or round(word.start_s - before.end_s, 3) >= LONG_GAP_S:
            groups.append([])
        groups[-1].append(word)
    return groups


def _segment(words: Sequence[Word]) -> Segment:
    known = [word.probability for word in words if word.probability is not None]
    text = tidy("".join(word.text for word in words))
    confidence = fmean(known) if known else None
    return Segment(words[0].start_s, words[-1].end_s, text, confidence, tuple(words))


def _whole(piece: Piece, text: str) -> Segment:
    logprob = piece.heard.avg_logprob
    confidence = None if logprob is None else math.exp(min(logprob, 0.0))
    spoken = piece.speech or [piece.span]
    return Segment(spoken[0].start_s, spoken[-1].end_s, tidy(text), confidence)
