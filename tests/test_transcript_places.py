"""Times of a film, translations beside their originals, and who speaks when."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_clips import at_rate, sine, write_clip
from test_transcript import NO_SPEECH, SPEECH, clip_at, segment, srt, stage, transcribe, turn

from merr_pipeline.clips.manifest import read_inputs
from merr_pipeline.speech.clock import place
from merr_pipeline.speech.sidecar import BadSidecarError
from merr_pipeline.speech.subtitle_text import Cue
from merr_pipeline.speech.turns import do_overlap, turns_of
from merr_pipeline.speech.vad import Span

FILM = [
    ("00:00:01,000", "00:00:01,900", "The film begins."),
    ("01:10:00,200", "01:10:00,900", "Who is there?"),
    ("01:10:01,000", "01:10:01,800", "Nobody."),
    ("01:20:00,000", "01:20:02,000", "The film ends."),
]
OFFSET_S = 4200.0


@pytest.fixture
def media(tmp_path) -> Path:
    return tmp_path / "clip.mp4"


# --- the clock of the film ------------------------------------------------------------------------


def test_a_film_s_subtitles_give_the_words_of_the_clip_with_its_times(media):
    media.with_suffix(".srt").write_text(srt(*FILM))

    row = transcribe(media, source_offset_s=OFFSET_S)

    assert row["segments"] == [
        segment(0.2, 0.9, "Who is there?"),
        segment(1.0, 1.8, "Nobody."),
    ]
    assert row["flags"] == ["times_of_source"]


def test_times_that_fit_the_clip_are_the_clip_s_unless_the_film_s_are_asked_for(media):
    media.with_suffix(".srt").write_text(srt(("00:00:01,000", "00:00:01,800", "Who is there?")))

    own = transcribe(media, source_offset_s=0.5)
    film = transcribe(media, settings={"sidecar_clock": "source"}, source_offset_s=0.5)
    asked = transcribe(media, settings={"sidecar_clock": "clip"}, source_offset_s=0.5)

    assert own["segments"] == asked["segments"] == [segment(1.0, 1.8, "Who is there?")]
    assert (own["flags"], asked["flags"]) == (["clip_or_source_times"], [])  # who knows
    assert transcribe(media, source_offset_s=0)["flags"] == []
    assert film["segments"] == [segment(0.5, 1.3, "Who is there?")]


@pytest.mark.parametrize("last", ["00:00:02,500", "00:00:03,200"])
def test_words_of_the_film_before_the_clip_are_not_in_it_though_most_times_would_fit(media, last):
    cues = [
        ("00:00:00,100", "00:00:00,900", "Before the clip."),
        ("00:00:01,200", "00:00:01,900", "In the clip."),
        (last, "00:00:04,000", "After."),
    ]
    media.with_suffix(".srt").write_text(srt(*cues))

    row = transcribe(media, source_offset_s=1.1)

    assert row["segments"][0] == segment(0.1, 0.8, "In the clip.")
    assert "Before" not in row["transcript"]
    assert row["flags"][0] == "times_of_source"


def test_own_times_that_end_a_little_after_the_clip_fit_it(media):
    media.with_suffix(".srt").write_text(srt(("00:00:01,000", "00:00:02,400", "Who is there?")))

    row = transcribe(media, source_offset_s=0.5)

    assert row["segments"] == [segment(1.0, 2.0, "Who is there?")]


def test_a_film_that_says_nothing_in_the_clip_gives_no_words(media):
    media.with_suffix(".srt").write_text(srt(*FILM))

    row = transcribe(media, settings={"sidecar_clock": "source"}, source_offset_s=1000)

    assert (row["status"], row["reason"]) == ("skipped", "no_transcript")
    assert row["detail"] == "sidecar .srt holds no words of this clip"


def test_the_film_s_times_without_an_offset_are_refused_with_what_to_do(media):
    media.with_suffix(".srt").write_text(srt(*FILM))

    asked = transcribe(media, settings={"sidecar_clock": "source"})
    guessed = transcribe(media)

    assert asked["reason"] == guessed["reason"] == "bad_sidecar"
    assert "source_offset_s" in asked["detail"]
    assert "source_offset_s" in guessed["detail"]


def test_a_cue_that_the_clip_cuts_is_its_own_where_half_of_it_is_inside(media):
    cues = [
        ("00:10:00,000", "00:10:01,000", "Mostly before."),
        ("00:10:01,000", "00:10:02,500", "Inside."),
        ("00:10:02,500", "00:10:02,900", "Just inside."),
    ]
    media.with_suffix(".srt").write_text(srt(*cues))

    row = transcribe(media, source_offset_s=600.7)

    assert row["transcript"] == "Inside. Just inside."
    assert row["segments"][-1]["end_s"] == 2.0  # the clip ends there
    assert row["flags"] == ["times_of_source", "cues_at_edge_left_out=1"]


times = st.floats(0, 7200).map(lambda value: round(value, 3))


@given(st.lists(st.tuples(times, st.floats(0.2, 5)), min_size=1, max_size=8), times)
def test_cues_of_a_film_are_in_the_clip_whatever_their_times(spans, offset_s):
    cues = [Cue(start_s, round(start_s + length_s, 3), "word") for start_s, length_s in spans]

    placed, flags = place(cues, 4.0, "source", offset_s)

    assert flags[0] == "times_of_source"
    for cue in placed:
        assert any(abs(cue.start_s + offset_s - whole.start_s) < 0.002 for whole in cues)
        assert -2.5 <= cue.start_s < 4.0
        assert cue.end_s > 0
    inside = [c for c in cues if c.start_s >= offset_s + 0.01 and c.end_s <= offset_s + 3.99]
    assert len(placed) >= len(inside)


@given(st.lists(st.tuples(times, st.floats(0.2, 5)), min_size=1, max_size=8), times)
def test_no_clock_ever_raises_but_for_a_reason(spans, offset_s):
    cues = [Cue(start_s, round(start_s + length_s, 3), "word") for start_s, length_s in spans]
    inside = sum(cue.start_s < 4.0 for cue in cues)
    in_source = sum(cue.end_s > offset_s and cue.start_s < offset_s + 4.0 for cue in cues)
    with suppress(BadSidecarError):  # for times that fit neither clock
        placed, _ = place(cues, 4.0, "auto", offset_s)
        assert placed
        return
    assert inside * 2 < len(cues)
    assert in_source == 0 or place(cues, 4.0, "source", offset_s)[0] == ()


def test_an_offset_that_is_no_number_refuses_its_clip_alone(tmp_path):
    for name, level in (("good", 40), ("bad", 50), ("endless", 60)):
        write_clip(tmp_path / f"{name}.mp4", at_rate([level] * 3))
    rows = "path,source_offset_s\ngood.mp4,12.5\nbad.mp4,1:02:03\nendless.mp4,inf\n"
    (tmp_path / "manifest.csv").write_text(rows)

    inputs = read_inputs(tmp_path, tmp_path / "manifest.csv")

    assert [(clip.clip_id, clip.source_offset_s) for clip in inputs.clips] == [("good", 12.5)]
    assert {refusal.media_path: refusal.reason for refusal in inputs.refusals} == {
        "bad.mp4": "bad_offset",
        "endless.mp4": "bad_offset",
    }


# --- translations -----------------------------------------------------------------------------


def translated(row):
    return row["text_language"], row["spoken_language"], row["is_translation"]


def test_the_original_stands_beside_a_translation(media):
    media.with_suffix(".en.srt").write_text(srt(("00:00:00,000", "00:00:01,000", "Who is it?")))
    media.with_suffix(".zh.srt").write_text(srt(("00:00:00,000", "00:00:01,000", "谁呀？")))

    row = transcribe(media, settings={"prefer_language": "en"}, language="zh")

    assert row["transcript"] == "Who is it?"
    assert translated(row) == ("en", "zh", True)
    assert (row["original_transcript"], row["original_source"]) == ("谁呀？", "sidecar")


def test_the_original_may_be_an_embedded_track(tmp_path):
    path = write_clip(
        tmp_path / "talk.mkv",
        at_rate([50] * 50),
        sound=sine(300, 2.0),
        subtitles=[(500, 1500, "Wer da?")],
        subtitle_language="ger",
    )

    row = transcribe(path, tracks=1, transcript="Who?", language="en", spoken_language="de")

    assert translated(row) == ("en", "de", True)
    assert (row["original_transcript"], row["original_source"]) == ("Wer da?", "embedded")


def test_the_manifest_may_bring_both(media):
    row = transcribe(media, transcript="Who?", language="en", original_transcript="谁 呀？")

    assert translated(row) == ("en", None, True)
    assert (row["original_transcript"], row["original_source"]) == ("谁 呀？", "manifest")


def test_nobody_calls_it_a_translation_where_nobody_says_what_is_spoken(media):
    known = transcribe(media, transcript="Who?", language="en", spoken_language="eng")
    unknown = transcribe(media, transcript="Who?", language="en")

    assert translated(known) == ("en", "en", False)
    assert translated(unknown) == ("en", None, None)
    assert unknown["original_transcript"] is None


def test_a_suffix_that_is_no_language_makes_no_translation(media):
    media.with_suffix(".old.srt").write_text(srt(("00:00:00,000", "00:00:01,000", "Who is it?")))

    assert translated(transcribe(media, language="zh")) == (None, "zh", None)
    media.with_suffix(".old.srt").rename(media.with_suffix(".cht.srt"))
    assert translated(transcribe(media, language="zh")) == ("zh-Hant", "zh", False)


def test_facts_of_the_speech_are_in_the_row_key(media):
    facts = stage().facts
    seen = [
        facts(clip_at(media)),
        facts(clip_at(media, spoken_language="zh")),
        facts(clip_at(media, original_transcript="a")),
        facts(clip_at(media, source_offset_s=1.0)),
    ]

    assert len({repr(fact) for fact in seen}) == len(seen)


# --- turns ------------------------------------------------------------------------------------

spoken = [Span(0.3, 0.9), Span(1.2, 1.7)]


def test_where_nobody_is_named_there_is_one_turn_as_long_as_the_speech(media):
    media.with_suffix(".srt").write_text(srt(("00:00:00,100", "00:00:01,900", "Who?")))

    assert transcribe(media, voice=SPEECH)["turns"] == [turn(None, 0.3, 1.7)]
    assert transcribe(media, voice=NO_SPEECH)["turns"] == [turn(None, 0.1, 1.9)]


def test_neighbouring_words_of_one_speaker_are_one_turn():
    segments = [
        segment(0.0, 0.4, "A.", "ANNA"),
        segment(0.5, 0.9, "B.", "ANNA"),
        segment(1.0, 1.4, "C.", "BEN"),
        segment(1.5, 1.9, "D.", "ANNA"),
    ]

    turns = turns_of(segments, spoken)

    assert turns == [turn("ANNA", 0.0, 0.9), turn("BEN", 1.0, 1.4), turn("ANNA", 1.5, 1.9)]
    assert not do_overlap(turns)


def test_two_who_speak_at_once_are_flagged(media):
    media.with_suffix(".srt").write_text(
        srt(
            ("00:00:00,000", "00:00:01,200", "ANNA: Who?"),
            ("00:00:01,000", "00:00:01,900", "BEN: Me."),
        )
    )

    row = transcribe(media, voice=SPEECH)

    assert row["turns"] == [turn("ANNA", 0.0, 1.2), turn("BEN", 1.0, 1.9)]
    assert row["flags"] == ["overlapping_turns"]


@pytest.mark.parametrize("overlap_s", [0.0, 0.05, 0.1, 0.5])
def test_an_overlap_is_one_from_a_tenth_of_a_second_on(overlap_s):
    turns = [turn("ANNA", 0.0, 1.0 + overlap_s), turn("BEN", 1.0, 2.0)]

    assert do_overlap(turns) == (overlap_s >= 0.1)


def test_a_long_turn_is_remembered_over_a_short_one_inside_it():
    turns = [turn("ANNA", 0.0, 5.0), turn("BEN", 5.0, 5.0), turn("CID", 4.0, 4.5)]

    assert do_overlap(turns)


def test_words_without_times_have_no_turns_where_no_speech_was_heard(media):
    media.with_suffix(".txt").write_text("Nobody.")

    assert transcribe(media)["turns"] == []
