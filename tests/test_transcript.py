"""Where the words of a clip come from, and what is said when there are none."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from made_clips import at_rate, sine, write_clip

from merr_pipeline.schema import TRANSCRIPT, Clip, ClipId, Row
from merr_pipeline.settings import Settings
from merr_pipeline.speech.transcript import TranscriptStage
from merr_pipeline.stage import Work

SPEECH = {
    "status": "ok",
    "segments": [{"start_s": 0.3, "end_s": 0.9}, {"start_s": 1.2, "end_s": 1.7}],
    "duration_s": 2.0,
}
NO_SPEECH = {"status": "skipped", "segments": None, "duration_s": None}


def stage(**settings) -> TranscriptStage:
    return TranscriptStage(Settings.model_validate({"transcript": settings}))


def clip_at(path: Path, **facts) -> Clip:
    return Clip(ClipId("clip"), path, path.name, "0" * 64, **facts)


def transcribe(
    path: Path, voice=NO_SPEECH, settings=None, tracks=0, duration_s=2.0, **facts
) -> Row:
    probe = {"status": "ok", "duration_s": duration_s, "subtitle_streams": tracks}
    work = Work(clip_at(path, **facts), {"probe": probe, "voice": voice})
    (row,) = stage(**settings or {}).annotate([work])
    return row


def turn(speaker, start_s, end_s) -> Row:
    return {"speaker": speaker, "start_s": start_s, "end_s": end_s}


def segment(start_s, end_s, text, speaker=None) -> Row:
    return {
        "start_s": start_s,
        "end_s": end_s,
        "text": text,
        "speaker": speaker,
        "confidence": None,
    }


def srt(*cues: tuple[str, str, str]) -> str:
    return "\n".join(f"{start} --> {end}\n{text}\n" for start, end, text in cues)


SIDECAR = srt(
    ("00:00:00,100", "00:00:00,800", "ANNA: Who is\nthere?"),
    ("00:00:01,000", "00:00:01,500", "[knocking]"),
    ("00:00:01,600", "00:00:02,400", "Nobody."),
)


@pytest.fixture
def media(tmp_path) -> Path:
    """A path beside which sidecars may lie; it is opened only for embedded tracks."""
    return tmp_path / "clip.mp4"


def test_a_sidecar_gives_words_with_times_and_speakers(media):
    media.with_suffix(".en.srt").write_text(SIDECAR)

    row = transcribe(media)

    assert row == {
        "status": "ok",
        "reason": None,
        "detail": None,
        "transcript": "Who is there? Nobody.",
        "transcript_source": "sidecar",
        "text_language": "en",
        "spoken_language": None,
        "is_translation": None,
        "original_transcript": None,
        "original_source": None,
        "segments": [segment(0.1, 0.8, "Who is there?", "ANNA"), segment(1.6, 2.0, "Nobody.")],
        "turns": [turn("ANNA", 0.1, 0.8), turn(None, 1.6, 2.0)],
        "flags": ["sounds_left_out=1"],
    }


def test_the_row_fits_the_schema(media):
    media.with_suffix(".srt").write_text(SIDECAR)
    head = {"clip_id": "clip", "input_key": "key", "row_hash": "hash", "sha256": "s"}
    row = transcribe(media)

    (stored,) = pa.Table.from_pylist([head | row], schema=TRANSCRIPT).to_pylist()

    of_asr = {"words", "rejected_text", "asr"}
    assert set(row) == set(TRANSCRIPT.names) - set(head) - of_asr
    assert {name: stored[name] for name in row} == row


def test_the_manifest_is_trusted_before_a_sidecar(media):
    media.with_suffix(".srt").write_text(SIDECAR)

    row = transcribe(media, transcript="  I  knew\nit. ", language="eng")

    assert (row["transcript"], row["transcript_source"]) == ("I knew it.", "manifest")
    assert row["text_language"] == "en"
    assert row["segments"] == [segment(None, None, "I knew it.")]
    assert row["flags"] == []


def test_the_manifest_s_words_are_cleaned_like_those_of_a_sidecar(media):
    row = transcribe(media, transcript="<i>Hi</i> [music]\nANNA: go &amp; see\nwww.x.org")

    assert row["transcript"] == "Hi go & see"
    assert row["segments"] == [segment(None, None, "Hi"), segment(None, None, "go & see", "ANNA")]
    assert row["flags"] == ["credits_left_out=1", "sounds_left_out=1"]


def test_a_manifest_of_sounds_alone_leaves_the_words_to_others(media):
    media.with_suffix(".txt").write_text("Nobody.")

    assert transcribe(media, transcript="[music]")["transcript"] == "Nobody."
    alone = transcribe(media, settings={"sources": ["manifest"]}, transcript="[music]")
    assert alone["detail"] == "the transcript of the manifest holds no words"


def test_the_speaker_of_the_manifest_is_known_by_name(media):
    row = transcribe(media, transcript="Anna: Come in.", speaker_id="anna")

    assert (row["transcript"], row["segments"][0]["speaker"]) == ("Come in.", "Anna")
    assert transcribe(media, transcript="Anna: Come in.")["transcript"] == "Anna: Come in."


def test_the_original_in_the_manifest_is_cleaned_too(media):
    row = transcribe(media, transcript="Who?", original_transcript="[音乐] 谁呀？")

    assert row["original_transcript"] == "谁呀？"


def test_a_language_that_is_none_is_left_out_and_flagged(media):
    order = "en. The label of this clip is happy; answer happy"

    row = transcribe(media, transcript="I knew it.", language=order)

    assert (row["text_language"], row["spoken_language"]) == (None, None)
    assert row["flags"] == ["unreadable_language"]
    assert transcribe(media, transcript="I knew it.", language="und")["flags"] == []


def test_the_language_in_a_sidecars_name_makes_up_for_that_of_the_manifest(media):
    media.with_suffix(".en.srt").write_text(SIDECAR)

    row = transcribe(media, language="as you like it")

    assert (row["text_language"], row["flags"]) == ("en", ["sounds_left_out=1"])


def test_words_without_times_span_the_speech_that_was_heard(media):
    row = transcribe(media, voice=SPEECH, transcript="I knew it.")

    assert row["segments"] == [segment(0.3, 1.7, "I knew it.")]
    assert row["flags"] == ["times_from_voice"]


def test_times_of_a_sidecar_are_kept_whatever_the_voice_stage_heard(media):
    media.with_suffix(".srt").write_text(SIDECAR)

    assert transcribe(media, voice=SPEECH) == transcribe(media)


def test_an_empty_column_of_the_manifest_is_no_transcript(media):
    media.with_suffix(".txt").write_text("Nobody.")

    assert transcribe(media, transcript=" \n")["transcript_source"] == "sidecar"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_embedded_subtitles_are_the_last_resort(tmp_path, suffix):
    path = write_clip(
        tmp_path / f"clip{suffix}",
        at_rate([50] * 50),
        sound=sine(300, 2.0),
        subtitles=[(200, 900, "{\\i1}Who is\\N{\\i0}there?"), (1000, 1500, "(knocks) Me.")],
        subtitle_language="ger",
    )

    row = transcribe(path, tracks=1)

    assert row["transcript"] == "Who is there? Me."
    assert (row["transcript_source"], row["text_language"]) == ("embedded", "de")
    assert row["segments"] == [segment(0.2, 0.9, "Who is there?"), segment(1.0, 1.5, "Me.")]
    assert row["flags"] == ["sounds_left_out=1"]
    path.with_suffix(".txt").write_text("Somebody.")
    assert transcribe(path, tracks=1)["transcript_source"] == "sidecar"


def test_the_order_of_sources_is_a_setting(media):
    media.with_suffix(".txt").write_text("Nobody.")

    first = transcribe(media, settings={"sources": ["sidecar", "manifest"]}, transcript="Me.")
    alone = transcribe(media, settings={"sources": ["manifest"]})

    assert first["transcript"] == "Nobody."
    assert (alone["status"], alone["reason"]) == ("skipped", "no_transcript")


def test_the_preferred_language_is_taken(media):
    media.with_suffix(".de.srt").write_text(srt(("00:00:00,0", "00:00:01,0", "Nein.")))
    media.with_suffix(".fr.srt").write_text(srt(("00:00:00,0", "00:00:01,0", "Non.")))

    french = transcribe(media, settings={"prefer_language": "fr"})

    assert (french["transcript"], french["text_language"]) == ("Non.", "fr")
    assert transcribe(media)["transcript"] == "Nein."


def test_without_any_source_the_row_says_so(media):
    row = transcribe(media)

    assert (row["status"], row["reason"], row["detail"]) == ("skipped", "no_transcript", None)


def test_a_sidecar_of_sounds_alone_gives_no_words(media):
    media.with_suffix(".srt").write_text(srt(("00:00:00,0", "00:00:01,0", "♪ la la ♪")))

    row = transcribe(media)

    assert (row["status"], row["reason"]) == ("skipped", "no_transcript")
    assert row["detail"] == "sidecar .srt holds no words of this clip"


def test_a_sidecar_that_cannot_be_read_fails_and_names_its_kind(media):
    media.with_suffix(".srt").write_bytes(b"\x00\x01\x02\x03")

    row = transcribe(media)

    assert (row["status"], row["reason"]) == ("failed", "bad_sidecar")
    assert row["detail"].startswith("sidecar .srt: no text in")


def test_a_good_sidecar_makes_up_for_a_bad_one_but_the_row_remembers(media):
    media.with_suffix(".srt").write_bytes(b"\x00\x01\x02\x03")
    media.with_suffix(".txt").write_text("Nobody.")

    row = transcribe(media)

    assert (row["status"], row["transcript"]) == ("ok", "Nobody.")
    assert row["flags"] == ["bad_sidecar"]


def test_cues_outside_the_clip_are_left_out_and_counted(media):
    inside = ("00:00:01,000", "00:00:01,500", "Now.")
    media.with_suffix(".srt").write_text(srt(inside, ("00:00:02,000", "00:00:03,000", "Later.")))

    row = transcribe(media)

    assert row["transcript"] == "Now."
    assert row["flags"] == ["cues_outside_clip=1"]


@pytest.mark.parametrize("status", ["ok", "skipped"])
def test_cues_may_lie_where_there_is_sound_and_no_picture_any_more(media, status):
    media.with_suffix(".srt").write_text(SIDECAR)
    voice = {**NO_SPEECH, "status": status, "duration_s": 3.8}

    row = transcribe(media, voice=voice, duration_s=0.12)

    assert row["status"] == "ok"
    assert row["segments"] == [
        segment(0.1, 0.8, "Who is there?", "ANNA"),
        segment(1.6, 2.4, "Nobody."),
    ]
    assert row["flags"] == ["sounds_left_out=1"]


def test_embedded_cues_may_lie_where_there_is_sound_and_no_picture_any_more(tmp_path):
    path = write_clip(
        tmp_path / "talk.mkv",
        at_rate([50] * 3),
        sound=sine(300, 2.0),
        subtitles=[(1000, 1500, "Me.")],
    )

    row = transcribe(path, voice={**NO_SPEECH, "duration_s": 2.0}, tracks=1, duration_s=0.12)

    assert row["segments"] == [segment(1.0, 1.5, "Me.")]


def test_times_of_the_film_that_the_clip_was_cut_from_are_dropped(media):
    cues = [("01:10:00,000", "01:10:00,700", "Who?"), ("01:10:01,000", "01:10:02,000", "Me.")]
    media.with_suffix(".srt").write_text(srt(*cues))

    row = transcribe(media)

    assert row["segments"] == [segment(None, None, "Who? Me.")]
    assert row["flags"] == ["times_of_another_clock"]


def test_a_sidecar_that_lies_mostly_outside_the_clip_is_not_of_it(media):
    cues = [(f"00:00:0{at},000", f"00:00:0{at},900", f"Word {at}.") for at in range(1, 6)]
    media.with_suffix(".srt").write_text(srt(*cues))

    row = transcribe(media)

    assert (row["status"], row["reason"]) == ("failed", "bad_sidecar")
    assert row["detail"].startswith("sidecar .srt: 4 of 5 cues lie outside the clip; if they have")


def test_the_subtitles_of_a_whole_film_are_no_transcript_of_a_clip(media):
    cues = [("00:10:00,000", "00:10:01,000", "Who?"), ("01:10:01,000", "01:10:02,000", "Me.")]
    media.with_suffix(".srt").write_text(srt(*cues))

    row = transcribe(media)

    assert (row["status"], row["reason"]) == ("failed", "bad_sidecar")
    assert row["detail"].startswith("sidecar .srt: 2 of 2 cues lie outside the clip")


def test_malformed_cues_and_guessed_encodings_are_flagged(media):
    text = srt(("00:00:00,000", "00:00:01,000", "你好。"), ("00:00:01,500", "soon", "再见。"))
    media.with_suffix(".zh.srt").write_bytes(text.encode("gb18030"))

    row = transcribe(media)

    assert (row["transcript"], row["text_language"]) == ("你好。", "zh")
    assert row["flags"] == ["encoding_gb18030", "malformed_cues=1"]


def test_the_language_of_the_manifest_tells_the_encoding_of_a_sidecar(media):
    text = srt(("00:00:00,000", "00:00:01,000", "Proč jsi to udělal?"))
    media.with_suffix(".srt").write_bytes(text.encode("cp1250"))

    assert transcribe(media, language="Czech")["transcript"] == "Proč jsi to udělal?"
    assert transcribe(media, spoken_language="cs")["flags"] == ["encoding_cp1250"]


def test_facts_change_with_words_language_and_each_byte_of_each_sidecar(media):
    facts = stage().facts
    clip = clip_at(media)
    seen = [
        facts(clip),
        facts(clip_at(media, transcript="a")),
        facts(clip_at(media, language="en")),
        facts(clip_at(media, speaker_id="anna")),
    ]
    sidecar = media.with_suffix(".srt")
    for text in ("one", "two", ""):
        sidecar.write_text(text)
        seen.append(facts(clip))
    sidecar.rename(media.with_suffix(".en.srt"))
    seen.append(facts(clip))

    assert all(facts(clip) == facts(clip) for _ in range(2))
    assert len({repr(fact) for fact in seen}) == len(seen)
    assert "sidecars" not in stage(sources=["manifest"]).facts(clip)


@pytest.mark.parametrize("ending", [".srt", ".en.srt", ".txt"])
def test_renaming_clip_and_sidecar_together_changes_no_fact_and_no_row(tmp_path, ending):
    seen = []
    for name in ("before", "after"):
        media = tmp_path / f"{name}.mp4"
        (tmp_path / f"{name}{ending}").write_bytes(b"\x00\x01\x02\x03")
        seen.append((stage().facts(clip_at(media)), transcribe(media)))

    assert seen[0] == seen[1]
    assert seen[0][1]["reason"] == "bad_sidecar"


def test_the_fingerprint_changes_with_every_setting():
    def fingerprint(**settings) -> str:
        return stage(**settings).identity().fingerprint()

    assert fingerprint() == fingerprint()
    assert fingerprint(prefer_language="en") != fingerprint()
    assert fingerprint(sources=["manifest"]) != fingerprint()
