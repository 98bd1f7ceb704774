"""How sound is cut for a speech recogniser, and laid on one track."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merr_pipeline.speech.asr.contract import LONGEST_S, RATE_HZ
from merr_pipeline.speech.asr.hf_whisper import word_lengths
from merr_pipeline.speech.asr.pieces import pieces_of, speech_inside
from merr_pipeline.speech.asr.qwen3 import parse
from merr_pipeline.speech.asr.track import GAP_S, lay_out
from merr_pipeline.speech.vad import Span


@st.composite
def speech(draw) -> tuple[list[Span], float]:
    """Spans in order and apart, and the length of the clip around them."""
    lengths = draw(st.lists(st.tuples(st.floats(0.1, 70), st.floats(0.2, 40)), max_size=8))
    spans, now = [], draw(st.floats(0, 3))
    for length, gap in lengths:
        spans.append(Span(round(now, 3), round(now + length, 3)))
        now = round(now + length + gap, 3)
    return spans, now + draw(st.floats(0, 3))


def test_a_short_clip_is_heard_whole():
    assert pieces_of([Span(1.0, 2.0)], 4.0) == [Span(0.0, 4.0)]


def test_without_speech_nothing_is_heard():
    assert pieces_of([], 4.0) == []


def test_a_long_clip_is_cut_in_its_pauses():
    spans = [Span(1.0, 12.0), Span(13.0, 29.0), Span(31.0, 40.0)]

    assert pieces_of(spans, 45.0) == [
        Span(pytest.approx(0.7), pytest.approx(29.3)),
        Span(pytest.approx(30.7), pytest.approx(40.3)),
    ]


@given(speech())
def test_pieces_hold_all_speech_in_order_and_none_is_too_long(made):
    spans, duration_s = made

    pieces = pieces_of(spans, duration_s)

    heard_s = sum(s.duration_s for piece in pieces for s in speech_inside(spans, piece))
    assert heard_s == pytest.approx(sum(span.duration_s for span in spans), abs=1e-6)
    assert all(0 <= p.start_s < p.end_s <= duration_s + 1e-9 for p in pieces)
    assert all(piece.duration_s <= LONGEST_S + 1e-9 for piece in pieces)
    assert all(a.end_s <= b.start_s + 1e-9 for a, b in pairwise(pieces))


@given(st.lists(st.integers(1, 3 * RATE_HZ), min_size=1, max_size=6))
def test_each_sound_is_found_again_in_its_slot_to_the_sample(lengths):
    sounds = [np.full(n, number + 1, np.float32) for number, n in enumerate(lengths)]

    track, slots = lay_out(sounds)

    for sound, slot in zip(sounds, slots, strict=True):
        start, end = int(slot.start_s * RATE_HZ), int(slot.end_s * RATE_HZ)  # as the program does
        assert np.array_equal(track[start:end], sound)
        assert slot.start_s == round(slot.start_s)
    assert track.sum(dtype=np.float64) == sum(s.sum(dtype=np.float64) for s in sounds)


def test_before_each_sound_there_is_the_same_long_silence_or_more():
    _, slots = lay_out([np.ones(n, np.float32) for n in (100, 16_000, 33_333)])

    ends = [0.0, *(slot.end_s for slot in slots)]
    assert all(s.start_s - end >= GAP_S - 1e-4 for s, end in zip(slots, ends, strict=False))


# --- what models write ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("language Chinese<asr_text>你好。", ("Chinese", "你好。")),
        ("language None<asr_text>", (None, "")),
        ("<asr_text> Hello.", (None, "Hello.")),
        (" Hello. ", (None, "Hello.")),
        ("", (None, "")),
    ],
)
def test_what_qwen3_asr_writes_is_parted(written, told):
    assert parse(written) == told


@given(st.text(), st.text())
def test_text_of_qwen3_asr_is_kept_whatever_it_is(head, text):
    assert parse(f"language English<asr_text>{text}") == ("English", text.strip())
    assert isinstance(parse(head)[1], str)


@pytest.mark.parametrize(
    ("pieces", "language", "lengths"),
    [
        ([" who", " is", " th", "ere", "?"], "en", [1, 1, 3]),
        (["你", "好", "\ufffd", "\ufffd", "吗"], "zh", [1, 1, 3]),
        ([" a", "\ufffd", " b"], "en", [3]),
        ([], "en", []),
    ],
)
def test_tokens_make_words(pieces, language, lengths):
    assert word_lengths(pieces, language) == lengths


@given(st.lists(st.sampled_from([" a", "b", "\ufffd", "。"])), st.sampled_from(["en", "zh"]))
def test_every_token_is_in_one_word(pieces, language):
    assert sum(word_lengths(pieces, language)) == len(pieces)
