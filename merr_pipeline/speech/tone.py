"""The ``tone`` stage: the measured voice in words, with what limits them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from merr_pipeline import schema
from merr_pipeline.schema import Clip, Reason, Row, Status
from merr_pipeline.settings import Settings
from merr_pipeline.speech.sidecar import primary_language
from merr_pipeline.speech.syllables import count_syllables
from merr_pipeline.speech.tone_table import AROUSAL, Group, ToneWords, read_tone_words
from merr_pipeline.speech.wording import (
    Heard,
    Measures,
    arousal_value,
    cautions_for,
    describe,
    lacks,
    parts,
    pitch_level_st,
    word_for,
)
from merr_pipeline.stage import Identity, Stage, Work, each, is_ok, rounded, skip
from merr_pipeline.templates import load_template

SOURCE = "prosody_rules"


class ToneStage(Stage):
    """Words from the rows of ``voice`` and ``transcript``; opens no media."""

    name = "tone"
    needs = ("voice", "transcript")
    schema = schema.TONE

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.tone
        self._template = load_template("tone_words.yaml", settings.templates)
        self._words = read_tone_words(self._template)

    def identity(self) -> Identity:
        """The tables by their content, and every setting of ``tone``."""
        return Identity(
            stage=self.name,
            version=4,
            tool=SOURCE,
            tool_version=str(self._words.version),
            template=self._template.sha256,
            settings=self._settings.model_dump(mode="json"),
        )

    def facts(self, clip: Clip) -> Mapping[str, Any]:
        """As `tone_facts`."""
        return tone_facts(clip, self._words)

    def annotate(self, batch: Sequence[Work]) -> list[Row]:
        """One row per clip."""
        return each(batch, self.annotate_one)

    def annotate_one(self, work: Work) -> Row:
        """Describe one voice.

        Raises:
            NotOk: skipped with the reason of ``voice`` where that was skipped, with ``UPSTREAM``
                where it failed, with ``LITTLE_SPEECH`` where there is too little to describe.
        """
        return measured_tone(work, self._words, self._settings.tempo_from)


def measured_tone(work: Work, words: ToneWords, tempo_from: str) -> Row:
    """The payload of a ``tone`` row by measures alone.

    Raises:
        NotOk: as `ToneStage.annotate_one`.
    """
    voice = work.seen["voice"]
    if voice["status"] == Status.SKIPPED:
        raise skip(Reason(voice["reason"]), _maybe_a_voice(voice))
    if not work.ok("voice"):
        raise skip(Reason.UPSTREAM, f"voice: {voice['reason']}")
    found, rate, source = _listen(work.clip, work.seen, words, tempo_from)
    return describe_voice(found, rate, source, words)


def tone_facts(clip: Clip, words: ToneWords) -> Mapping[str, Any]:
    """Who speaks, and what language, where the edges between words differ by that."""
    used = words.groups_used()
    known = {"speaker": clip.speaker_id, "language": [clip.spoken_language, clip.language]}
    return {name: value for name, value in known.items() if name in used}


def _maybe_a_voice(voice: Row) -> str:
    uncertain = "no clear speech; it may be crying, shouting, or words under music"
    return uncertain if voice["speech_uncertain"] else ""


def tempo(voice: Row, transcript: Row | None, words: ToneWords) -> tuple[float | None, str | None]:
    """Syllables per second of speech, and their source: ``transcript`` or ``nuclei``.

    A transcript may be a translation that nobody calls one, or hold more or less than the clip; its
    syllables count only when they give a rate that people speak at, and that is near the nuclei
    that were heard.
    """
    heard = voice["prosody"]["rate_syll_s"]
    syllables = None if transcript is None else _syllables_said(transcript)
    if syllables and voice["speech_s"]:
        rate = rounded(syllables / voice["speech_s"])
        if words.tempo_from_text.believes(rate, heard):
            return rate, "transcript"
    return heard, None if heard is None else "nuclei"


def _syllables_said(transcript: Row) -> int | None:
    """The syllables of the words as they were said; those of a translation are others."""
    if transcript["original_transcript"]:
        return count_syllables(transcript["original_transcript"], transcript["spoken_language"])
    if transcript["is_translation"] or not transcript["transcript"]:
        return None
    return count_syllables(transcript["transcript"], transcript["text_language"])


def group_of(voice: Row, clip: Clip, transcript: Row | None, words: ToneWords) -> Group:
    """What is known of a voice that edges may differ by.

    What is spoken comes first; the language of a transcript may be that of a translation.
    """
    register = words.register_of(voice["prosody"]["f0_median_hz"])
    row = transcript or {"spoken_language": None, "text_language": None}
    said = row["spoken_language"] or clip.spoken_language
    return {
        "speaker": clip.speaker_id,
        "register": register.name if register else None,
        "language": primary_language(said or clip.language or row["text_language"]),
    }


def heard(clip: Clip, rows: Mapping[str, Row], words: ToneWords) -> Heard | None:
    """The voice that a ``tone`` row of these words describes, from the rows of a clip; or None."""
    if not is_ok(rows, "tone"):
        return None
    rate = rows["tone"]["rate_syll_s"]
    return _heard(clip, rows["voice"], _transcript_in(rows), rate, words)


def _listen(
    clip: Clip, rows: Mapping[str, Row], words: ToneWords, tempo_from: str
) -> tuple[Heard, float | None, str | None]:
    """The voice, its rate, and where the rate is from."""
    transcript = _transcript_in(rows)
    rate, source = tempo(rows["voice"], transcript if tempo_from == "transcript" else None, words)
    return _heard(clip, rows["voice"], transcript, rate, words), rate, source


def _transcript_in(rows: Mapping[str, Row]) -> Row | None:
    return rows["transcript"] if is_ok(rows, "transcript") else None


def _heard(
    clip: Clip, voice: Row, transcript: Row | None, rate_syll_s: float | None, words: ToneWords
) -> Heard:
    group = group_of(voice, clip, transcript, words)
    return Heard(measures_of(voice, rate_syll_s, words), voice["flags"], group)


def describe_voice(
    voice: Heard, rate_syll_s: float | None, rate_source: str | None, words: ToneWords
) -> Row:
    """The payload of a ``tone`` row.

    Raises:
        NotOk: skipped with ``LITTLE_SPEECH``.
    """
    measures = voice.measures
    if any(lacks(measures, {name: least}) for name, least in words.too_little.items()):
        amounts = ", ".join(f"{name} {measures[name]}" for name in words.too_little)
        raise skip(Reason.LITTLE_SPEECH, amounts)
    found = describe(voice, words)
    arousal_word = word_for(measures[AROUSAL], words.steps(AROUSAL, voice.group))
    by_feature = {item["feature"]: item["word"] for item in found}
    if arousal_word is not None:
        by_feature[AROUSAL] = arousal_word
    said = parts(by_feature, words.sentence)
    if len(said) < words.least_parts:
        only = said[0] if said else "nothing"
        raise skip(Reason.LITTLE_SPEECH, f"too little to describe a voice by: {only}")
    return {
        "tone": words.sentence.joined_by.join(said),
        "tone_source": SOURCE,
        "words": found,
        "arousal": measures[AROUSAL],
        "arousal_word": arousal_word,
        "rate_syll_s": rate_syll_s,
        "rate_source": rate_source,
        "cautions": cautions_for(measures, voice.flags, words),
    }


def measures_of(voice: Row, rate_syll_s: float | None, words: ToneWords) -> Measures:
    """Every measure of `wording.MEASURES`, rounded, from a row of ``voice``."""
    prosody = voice["prosody"]
    measures: dict[str, float | None] = {
        **{
            name: prosody[name]
            for name in ("f0_median_hz", "f0_sd_st", "contour_st", "ending_st", "voiced_s")
        },
        **{name: prosody[name] for name in ("effort_db", "hnr_db", "snr_db")},
        "speech_s": voice["speech_s"],
        "rate_syll_s": rate_syll_s,
        "pitch_st": rounded(pitch_level_st(prosody["f0_median_hz"], words)),
        "pause_count": float(len(voice["pauses"])),
        "longest_pause_s": max(voice["pauses"], default=None),
    }
    measures["arousal"] = rounded(arousal_value(measures, voice["flags"], words.arousal))
    return measures
