"""The ``transcript`` stage: the words of a clip, where someone wrote them down.

Asked in the order of ``transcript.sources``; the first that has words wins. Nothing is guessed:
without a source there is no transcript, and the row says so. The last source may be ``asr``, a
model that writes down what it hears (`speech/asr`); it is asked where no other has words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import av

from merr_pipeline.schema import TRANSCRIPT, Clip, Reason, Row, Status
from merr_pipeline.settings import Settings
from merr_pipeline.speech.asr.source import AsrSource
from merr_pipeline.speech.sidecar import find_sidecars, primary_language
from merr_pipeline.speech.subtitle_text import Cleaner, Cue
from merr_pipeline.speech.subtitle_words import load_subtitle_words
from merr_pipeline.speech.turns import do_overlap, turns_of
from merr_pipeline.speech.vad import Span
from merr_pipeline.speech.written import (
    Search,
    Words,
    end_s,
    find_original,
    find_words,
    spoken_language,
)
from merr_pipeline.stage import Identity, Resources, Stage, Work, digest, each, fail, skip

WORDLESS = (Reason.NO_TRANSCRIPT, Reason.BAD_SIDECAR)  # then asr is asked


class TranscriptStage(Stage):
    """Words with their source and times: manifest, sidecar, embedded track, speech recognition."""

    name = "transcript"
    needs = ("probe", "voice")
    schema = TRANSCRIPT

    def __init__(self, settings: Settings) -> None:
        self.settings = settings.transcript
        self._cleaner = Cleaner(load_subtitle_words(settings.templates))
        self._asr = AsrSource(settings) if "asr" in self.settings.sources else None
        if self._asr is not None:
            self.at_once = self.settings.asr.batch_size
            self.resources = Resources(gpus=int(self.settings.asr.device == "cuda"))

    def identity(self) -> Identity:
        """Our own parsers; PyAV for embedded tracks; where asr is asked, its packages and model.

        Raises:
            AsrError: asr is to be asked, and its package or model is missing.
        """
        own = self.settings.model_dump(mode="json", exclude={"asr"})
        written = Identity(
            stage=self.name,
            version=5,
            tool="subtitles",
            tool_version=f"av {av.__version__}",
            template=self._cleaner.words.sha256,
            settings=own,
        )
        if self._asr is None:
            return written
        asr = self._asr.provenance()
        return replace(
            written,
            tool=f"subtitles, {self.settings.asr.backend}",
            tool_version=f"{written.tool_version}, {asr.pop('tool_version')}",
            template=digest([written.template, asr.pop("template")]),
            settings={**own, "asr": self._asr.shaping()},
            **asr,
        )

    def setup(self) -> None:
        """Load the speech recogniser, where there is one."""
        if self._asr is not None:
            self._asr.setup()

    def close(self) -> None:
        """Free it."""
        if self._asr is not None:
            self._asr.close()

    def facts(self, clip: Clip) -> Mapping[str, Any]:
        """The manifest's words; ending and content of each sidecar, whatever the clip is called."""
        names = ("transcript", "language", "spoken_language", "original_transcript", "speaker_id")
        facts: dict[str, Any] = {name: getattr(clip, name) for name in names}
        if "sidecar" in self.settings.sources:
            sidecars = find_sidecars(clip.path)
            facts["sidecars"] = [[sidecar.ending, sidecar.sha256()] for sidecar in sidecars]
            facts["source_offset_s"] = clip.source_offset_s
        return facts

    def annotate(self, batch: Sequence[Work]) -> list[Row]:
        """One row per clip; those in which nothing is written are heard together."""
        rows = each(batch, self.annotate_one)
        if self._asr is not None:
            wordless = [n for n, row in enumerate(rows) if row["reason"] in WORDLESS]
            heard = self._asr.annotate([batch[number] for number in wordless])
            for number, row in zip(wordless, heard, strict=True):
                rows[number] = _heard_after(rows[number], row)
        return [_with_turns(row, work) for row, work in zip(rows, batch, strict=True)]

    def annotate_one(self, work: Work) -> Row:
        """The words of the first written source that has any.

        Raises:
            NotOk: skipped with ``NO_TRANSCRIPT``; failed with ``BAD_SIDECAR`` when a sidecar cannot
                be read and no other source has words.
        """
        search = Search(self._cleaner.knowing((), work.clip.speaker_id))
        words = find_words(work, self.settings, search)
        if words is not None:
            flags = (*words.flags, *(["bad_sidecar"] if search.bad else []))
            original = find_original(work, self.settings, words, search.cleaner)
            return _row(replace(words, flags=flags), original, work)
        if search.bad:
            raise fail(Reason.BAD_SIDECAR, "; ".join(search.bad))
        raise skip(Reason.NO_TRANSCRIPT, "; ".join(search.wordless))


def _heard_after(written: Row, heard: Row) -> Row:
    """The row of asr, with what the written sources had to say; an unreadable one is told of."""
    bad_sidecar = written["reason"] == Reason.BAD_SIDECAR
    if heard["status"] == Status.OK:
        return {**heard, "flags": [*heard["flags"], *(["bad_sidecar"] if bad_sidecar else [])]}
    detail = "; ".join(filter(None, (written["detail"], heard["detail"])))
    ending = {key: written[key] for key in ("status", "reason")} if bad_sidecar else {}
    return {**heard, **ending, "detail": detail or None}


def _row(words: Words, original: Words | None, work: Work) -> Row:
    duration_s, cues, flags = end_s(work), words.cues, words.flags
    speech = _speech(work)
    if len(cues) == 1 and cues[0].start_s is None and speech:
        cues = (replace(cues[0], start_s=speech[0].start_s, end_s=speech[-1].end_s),)
        flags = (*flags, "times_from_voice")
    spoken = spoken_language(work.clip)
    return {
        "transcript": words.text,
        "transcript_source": words.source,
        "text_language": words.language,
        "spoken_language": spoken,
        "is_translation": True if original else _is_translation(words.language, spoken),
        "original_transcript": original.text if original else None,
        "original_source": original.source if original else None,
        "segments": [_segment(cue, duration_s) for cue in cues],
        "flags": list(flags),
    }


def _is_translation(written: str | None, spoken: str | None) -> bool | None:
    if written is None or spoken is None:
        return None
    return primary_language(written) != primary_language(spoken)


def _speech(work: Work) -> list[Span]:
    """Where the voice stage heard speech."""
    segments = work.seen["voice"]["segments"] if work.ok("voice") else None
    return [Span(span["start_s"], span["end_s"]) for span in segments or []]


def _with_turns(row: Row, work: Work) -> Row:
    """The row of words, with who speaks when."""
    if row["status"] != Status.OK:
        return row
    turns = turns_of(row["segments"], _speech(work))
    overlap = ["overlapping_turns"] if do_overlap(turns) else []
    return {**row, "turns": turns, "flags": [*row["flags"], *overlap]}


def _segment(cue: Cue, duration_s: float) -> Row:
    return {
        "start_s": None if cue.start_s is None else max(cue.start_s, 0.0),
        "end_s": None if cue.end_s is None else min(cue.end_s, duration_s),
        "text": cue.text,
        "speaker": cue.speaker,
        "confidence": None,
    }
