"""The transcript stage with a speech recogniser behind it: who is asked, and what is believed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from made_clips import sine, write_sound
from made_rows import made_clip, made_rows

from merr_pipeline.dataset.clip_row import clip_row
from merr_pipeline.fuse.fine import FineStage
from merr_pipeline.schema import TRANSCRIPT, Clip, ClipId, Row
from merr_pipeline.settings import Settings
from merr_pipeline.speech.asr.contract import Heard, Word
from merr_pipeline.speech.subtitle_words import load_subtitle_words
from merr_pipeline.speech.tone import ToneStage
from merr_pipeline.speech.transcript import TranscriptStage
from merr_pipeline.stage import Work

ASR = {"sources": ["manifest", "sidecar", "embedded", "asr"]}
SPEECH = {
    "status": "ok",
    "reason": None,
    "segments": [{"start_s": 0.2, "end_s": 1.8}],
    "speech_s": 1.6,
    "duration_s": 2.0,
    "prosody": {"level_dbfs": -20.0},
}
WORDS = (
    Word(" Who", 0.3, 0.5, 0.9),
    Word(" is", 0.5, 0.6, 0.8),
    Word(" there?", 0.6, 0.9, 0.7),
    Word(" Nobody.", 1.2, 1.7, 0.5),
)
GOOD = Heard(" Who is there? Nobody.", WORDS, "en", 0.98, -0.3, 0.02)
INVENTED = Heard(" Thank you for watching!", (), "en", 0.4, -0.9, 0.5)


class Says:
    """A model that has one answer, and remembers what it was given."""

    def __init__(self, answer: Heard) -> None:
        self.answer, self.asked = answer, []

    def hear(self, sounds, languages):
        self.asked.append(
            [(len(sound), code) for sound, code in zip(sounds, languages, strict=True)]
        )
        return [self.answer] * len(sounds)


class Breaks(Says):
    """A model that breaks on a sound of three seconds, and with it on its whole batch."""

    def hear(self, sounds, languages):
        if any(len(sound) == 48_000 for sound in sounds):
            raise RuntimeError("CUDA failed with error out of memory")
        return super().hear(sounds, languages)


@pytest.fixture
def clip(tmp_path) -> Clip:
    path = write_sound(tmp_path / "clip.wav", sine(200, 2.0))
    return Clip(ClipId("clip"), path, path.name, "0" * 64)


def stage_with(model: Says, **settings) -> TranscriptStage:
    stage = TranscriptStage(Settings.model_validate({"transcript": {**ASR, **settings}}))
    stage._asr._backend = model
    return stage


def work_for(clip: Clip, **voice) -> Work:
    probe = {"status": "ok", "duration_s": 2.0, "subtitle_streams": 0}
    return Work(clip, {"probe": probe, "voice": SPEECH | voice})


def transcribe(model: Says, work: Work, **settings) -> Row:
    (row,) = stage_with(model, **settings).annotate([work])
    return row


def test_what_is_heard_has_segments_words_language_and_confidence(clip):
    row = transcribe(Says(GOOD), work_for(clip))

    assert (row["status"], row["transcript_source"]) == ("ok", "asr")
    assert row["transcript"] == "Who is there? Nobody."
    assert row["text_language"] == "en"
    assert [(s["text"], s["start_s"], s["end_s"], s["confidence"]) for s in row["segments"]] == [
        ("Who is there?", 0.3, 0.9, 0.8),  # the mean of its words
        ("Nobody.", 1.2, 1.7, 0.5),
    ]
    assert row["words"][2] == {"start_s": 0.6, "end_s": 0.9, "text": "there?", "probability": 0.7}
    assert row["asr"]["avg_logprob"] == -0.3
    assert (row["rejected_text"], row["flags"]) == (None, [])


def test_the_row_fits_the_schema(clip):
    head = {"clip_id": "clip", "input_key": "key", "row_hash": "hash", "sha256": "s"}
    row = transcribe(Says(GOOD), work_for(clip))

    (stored,) = pa.Table.from_pylist([head | row], schema=TRANSCRIPT).to_pylist()

    of_others = {"original_transcript": None, "original_source": None}
    assert stored == head | row | of_others


def test_without_word_times_the_segment_lies_where_speech_is(clip):
    row = transcribe(Says(replace(GOOD, words=())), work_for(clip))

    (segment,) = row["segments"]
    assert (segment["start_s"], segment["end_s"]) == (0.2, 1.8)
    assert segment["confidence"] == 0.741  # exp(-0.3)
    assert row["flags"] == ["times_from_voice"]


NOTED = (
    Word(" [soft", 0.0, 0.2, 0.1),
    Word(" music]", 0.2, 0.5, 0.1),
    Word(" Hello", 0.6, 0.9, 0.8),
    Word(" there.[x]", 0.9, 1.2, 0.6),
    Word(" (sighs)", 1.3, 1.5, 0.1),
    Word(" ...", 1.5, 1.6, 0.1),
)


def test_words_and_times_are_those_of_the_text_that_is_kept(clip):
    heard = Heard("".join(word.text for word in NOTED), NOTED, "en", 0.9, -0.2, 0.05)

    row = transcribe(Says(heard), work_for(clip))

    assert row["transcript"] == "Hello there."
    assert [(w["text"], w["start_s"]) for w in row["words"]] == [("Hello", 0.6), ("there.", 0.9)]
    (segment,) = row["segments"]
    assert (segment["start_s"], segment["end_s"], segment["confidence"]) == (0.6, 1.2, 0.7)
    assert row["flags"] == ["sounds_left_out=3"]


def test_a_song_that_does_not_end_takes_no_other_sentence_with_it(clip):
    words = (Word(" ♪ La.", 0.0, 0.4, 0.9), Word(" Go.", 0.5, 0.8, 0.9))

    row = transcribe(Says(Heard(" ♪ La. Go.", words, "en", 0.9, -0.2, 0.05)), work_for(clip))

    assert (row["transcript"], row["segments"][0]["start_s"]) == ("Go.", 0.5)


@pytest.mark.parametrize("text", ["...", "。", " [Music] ...", "♪♪♪"])
@pytest.mark.parametrize("with_words", [True, False])
def test_dots_alone_are_no_transcript(clip, text, with_words):
    words = tuple(Word(part, 0.2, 0.4, 0.9) for part in text.split()) if with_words else ()

    row = transcribe(Says(Heard(text, words, "en", 0.9, -0.2, 0.05)), work_for(clip))

    assert (row["status"], row["reason"]) == ("skipped", "no_transcript")
    assert row["detail"] == "asr heard no words"


def test_a_rejected_text_is_kept_aside_and_says_so(clip):
    row = transcribe(Says(INVENTED), work_for(clip))

    assert (row["status"], row["reason"]) == ("skipped", "rejected_hallucination")
    assert row["rejected_text"] == "Thank you for watching!"
    assert row["flags"] == ["asr_rejected_phrases"]
    assert row["asr"]["no_speech_prob"] == 0.5
    assert "transcript" not in row
    assert "text_language" not in row


def test_an_unsure_text_is_of_low_confidence_and_kept_aside(clip):
    row = transcribe(Says(replace(GOOD, avg_logprob=-1.2)), work_for(clip))

    assert (row["status"], row["reason"]) == ("skipped", "low_confidence")
    assert row["rejected_text"] == "Who is there? Nobody."


def test_neither_fine_nor_tone_nor_the_dataset_reads_a_rejected_text(clip):
    blank = dict.fromkeys(("transcript", "transcript_source", "text_language", "segments"))
    rejected = transcribe(Says(INVENTED), work_for(clip))
    seen = made_rows(made_clip(1), transcript=blank | rejected)

    record = clip_row(made_clip(1), seen, "train", [])
    fine, tone = (
        stage.annotate([Work(made_clip(1), {name: seen[name] for name in stage.needs})])[0]
        for stage in (FineStage(Settings()), ToneStage(Settings()))
    )

    assert seen["transcript"]["rejected_text"] == "Thank you for watching!"
    assert record["transcript"] is None
    assert record["transcript_status"] == "rejected_hallucination"
    assert fine["status"] == "ok"
    assert "watching" not in f"{record} {fine} {tone}"


@pytest.mark.parametrize(
    ("voice", "reason"),
    [
        ({"status": "skipped", "reason": "no_speech"}, "no_speech"),
        ({"status": "skipped", "reason": "no_audio_stream"}, "no_transcript"),
        ({"speech_s": 0.299}, "little_speech"),
        ({"prosody": {"level_dbfs": -50.1}}, "little_speech"),
    ],
)
def test_where_hardly_anybody_speaks_no_model_is_asked(clip, voice, reason):
    model = Says(GOOD)

    row = transcribe(model, work_for(clip, **voice))

    assert (row["status"], row["reason"]) == ("skipped", reason)
    assert model.asked == []
    assert row.get("text_language") is None


def test_what_a_person_wrote_comes_first(clip):
    model = Says(GOOD)
    clip.path.with_suffix(".srt").write_text("1\n00:00:00,200 --> 00:00:01,000\nWritten.\n")

    row = transcribe(model, work_for(clip))

    assert (row["transcript"], row["transcript_source"]) == ("Written.", "sidecar")
    assert model.asked == []


def test_an_unreadable_sidecar_is_told_of_beside_what_was_heard(clip):
    clip.path.with_suffix(".srt").write_bytes(b"\x00\x01\x02 no subtitles")

    heard = transcribe(Says(GOOD), work_for(clip))
    rejected = transcribe(Says(INVENTED), work_for(clip))

    assert heard["transcript_source"] == "asr"
    assert "bad_sidecar" in heard["flags"]
    assert (rejected["status"], rejected["reason"]) == ("failed", "bad_sidecar")
    assert "phrases" in rejected["detail"]


def test_the_language_of_the_manifest_is_told_to_the_model(clip):
    model = Says(GOOD)

    transcribe(model, work_for(replace(clip, language="zho")), asr={"language": "de"})
    transcribe(model, work_for(clip), asr={"language": "de"})
    transcribe(model, work_for(clip))

    assert model.asked == [[(32_000, "zh")], [(32_000, "de")], [(32_000, None)]]


def test_notes_on_sounds_are_no_words(clip):
    row = transcribe(Says(Heard(" [Music] ♪", (), "en", 0.9, -0.2, 0.1)), work_for(clip))

    assert (row["status"], row["reason"]) == ("skipped", "no_transcript")


def test_a_clip_on_which_the_model_breaks_fails_alone(clip, tmp_path):
    long = write_sound(tmp_path / "long.wav", sine(200, 3.0))
    works = [work_for(clip), work_for(replace(clip, path=long)), work_for(clip)]

    rows = stage_with(Breaks(GOOD)).annotate(works)

    assert [row["reason"] for row in rows] == [None, "out_of_memory", None]


def test_a_long_clip_loses_only_the_pieces_that_are_invented(tmp_path):
    class Twice(Says):
        def hear(self, sounds, languages):
            self.asked.append(len(sounds))
            return [replace(GOOD, words=()), INVENTED]

    path = write_sound(tmp_path / "long.wav", sine(200, 50.0))
    spans = [{"start_s": 1.0, "end_s": 25.0}, {"start_s": 30.0, "end_s": 48.0}]
    clip = Clip(ClipId("long"), path, path.name, "0" * 64)

    row = transcribe(Twice(GOOD), work_for(clip, segments=spans, speech_s=42.0))

    assert row["transcript"] == "Who is there? Nobody."
    assert (row["segments"][0]["start_s"], row["segments"][0]["end_s"]) == (1.0, 25.0)
    assert row["rejected_text"] == "Thank you for watching!"
    assert row["asr"]["no_speech_prob"] == 0.5


# --- how it is called -----------------------------------------------------------------------------


def test_without_asr_identity_and_rows_are_as_before(clip):
    stage = TranscriptStage(Settings())
    (row,) = stage.annotate([work_for(clip)])

    identity = stage.identity()
    assert identity.settings == {
        "sources": ["manifest", "sidecar", "embedded"],
        "prefer_language": None,
        "sidecar_clock": "auto",
    }
    assert (identity.tool, identity.model, identity.template, identity.version) == (
        "subtitles",
        "",
        load_subtitle_words().sha256,
        5,
    )
    assert (stage.at_once, stage.resources.gpus) == (1, 0)
    assert row == {"status": "skipped", "reason": "no_transcript", "detail": None}


def test_a_model_on_a_gpu_wants_one():
    assert stage_with(Says(GOOD), asr={"device": "cuda", "batch_size": 8}).resources.gpus == 1
    assert stage_with(Says(GOOD), asr={"device": "cuda", "batch_size": 8}).at_once == 8
    assert stage_with(Says(GOOD)).resources.gpus == 0


def test_asr_may_only_be_the_last_source():
    with pytest.raises(ValueError, match="asr must be the last source"):
        Settings.model_validate({"transcript": {"sources": ["asr", "manifest"]}})


def test_sound_is_given_whole_and_on_the_clock_of_the_clip(clip):
    class Keeps(Says):
        def hear(self, sounds, languages):
            self.sound = sounds[0]
            return super().hear(sounds, languages)

    model = Keeps(GOOD)
    transcribe(model, work_for(clip))

    assert model.sound.dtype == np.float32
    assert np.allclose(model.sound, sine(200, 2.0), atol=1e-3)
