"""The ``transcript`` stage: the words of a clip, where someone wrote them down.

Asked in the order of ``transcript.sources``; the first that has words wins. Nothing is guessed:
without a source there is no transcript, and the row says so. The last source may be ``asr``, a
model that writes down what it hears (`speech/asr`); it is asked where no other has words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import av

from merr_pipeline.media import SubtitleTrack, read_subtitles
from merr_pipeline.schema import TRANSCRIPT, Clip, Reason, Row, Status
from merr_pipeline.settings import Settings
from merr_pipeline.speech.asr.source import AsrSource
from merr_pipeline.speech.sidecar import (
    BadSidecarError,
    Subtitles,
    find_sidecars,
    language_code,
    primary_language,
    read_sidecar,
)
from merr_pipeline.speech.subtitle_text import Cue, cues_of, tidy
from merr_pipeline.stage import Identity, Resources, Stage, Work, each, fail, skip

WORDLESS = (Reason.NO_TRANSCRIPT, Reason.BAD_SIDECAR)  # then asr is asked
OTHER_CLOCK_SLACK_S = 1.0  # cues on another clock may last this much longer than the clip


@dataclass(frozen=True)
class Words:
    """What one source gives."""

    source: str
    cues: tuple[Cue, ...]
    language: str | None = None
    flags: tuple[str, ...] = ()


@dataclass
class Search:
    """What the sources that gave no words had to say for themselves."""

    bad: list[str] = field(default_factory=list)  # sidecars that cannot be read, and why
    wordless: list[str] = field(default_factory=list)  # sources that hold no words


class TranscriptStage(Stage):
    """Words with their source and times: manifest, sidecar, embedded track, speech recognition."""

    name = "transcript"
    needs = ("probe", "voice")
    schema = TRANSCRIPT

    def __init__(self, settings: Settings) -> None:
        self.settings = settings.transcript
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
            version=2,
            tool="subtitles",
            tool_version=f"av {av.__version__}",
            settings=own,
        )
        if self._asr is None:
            return written
        asr = self._asr.provenance()
        return replace(
            written,
            tool=f"subtitles, {self.settings.asr.backend}",
            tool_version=f"{written.tool_version}, {asr.pop('tool_version')}",
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
        facts: dict[str, Any] = {"transcript": clip.transcript, "language": clip.language}
        if "sidecar" in self.settings.sources:
            sidecars = find_sidecars(clip.path)
            facts["sidecars"] = [[sidecar.ending, sidecar.sha256()] for sidecar in sidecars]
        return facts

    def annotate(self, batch: Sequence[Work]) -> list[Row]:
        """One row per clip; those in which nothing is written are heard together."""
        rows = each(batch, self.annotate_one)
        if self._asr is not None:
            wordless = [n for n, row in enumerate(rows) if row["reason"] in WORDLESS]
            heard = self._asr.annotate([batch[number] for number in wordless])
            for number, row in zip(wordless, heard, strict=True):
                rows[number] = _heard_after(rows[number], row)
        return rows

    def annotate_one(self, work: Work) -> Row:
        """The words of the first written source that has any.

        Raises:
            NotOk: skipped with ``NO_TRANSCRIPT``; failed with ``BAD_SIDECAR`` when a sidecar cannot
                be read and no other source has words.
        """
        search = Search()
        for source in self.settings.sources:
            words = None if source == "asr" else self._ask(source, work, search)
            if words is not None:
                flags = (*words.flags, *(["bad_sidecar"] if search.bad else []))
                return _row(replace(words, flags=flags), work)
        if search.bad:
            raise fail(Reason.BAD_SIDECAR, "; ".join(search.bad))
        raise skip(Reason.NO_TRANSCRIPT, "; ".join(search.wordless))

    def _ask(self, source: str, work: Work, search: Search) -> Words | None:
        if source == "manifest":
            return _from_manifest(work.clip)
        duration_s = _end_s(work)
        if source == "sidecar":
            return self._from_sidecars(work.clip, duration_s, search)
        if not work.seen["probe"]["subtitle_streams"]:
            return None
        return self._from_tracks(read_subtitles(work.clip.path), work.clip, duration_s, search)

    def _from_sidecars(self, clip: Clip, duration_s: float, search: Search) -> Words | None:
        for sidecar in find_sidecars(clip.path, self.settings.prefer_language):
            try:
                read = read_sidecar(sidecar)
                cues, flags = on_clock_of_clip(read.cues, duration_s)
            except BadSidecarError as error:
                search.bad.append(f"sidecar {sidecar.ending}: {error}")
                continue
            if cues:
                language = language_code(sidecar.language) or language_code(clip.language)
                return Words("sidecar", cues, language, (*_flags(read), *flags))
            search.wordless.append(f"sidecar {sidecar.ending} holds no words")
        return None

    def _from_tracks(
        self, tracks: Sequence[SubtitleTrack], clip: Clip, duration_s: float, search: Search
    ) -> Words | None:
        wanted = primary_language(self.settings.prefer_language)
        for track in sorted(tracks, key=lambda track: primary_language(track.language) != wanted):
            cues, sounds = _cues_of_track(track, duration_s)
            inside = tuple(cue for cue in cues if _overlaps(cue, duration_s))
            if inside:
                language = language_code(track.language) or language_code(clip.language)
                return Words("embedded", inside, language, _counts(sounds_left_out=sounds))
            search.wordless.append("an embedded track holds no words")
        return None


def _heard_after(written: Row, heard: Row) -> Row:
    """The row of asr, with what the written sources had to say; an unreadable one is told of."""
    bad_sidecar = written["reason"] == Reason.BAD_SIDECAR
    if heard["status"] == Status.OK:
        return {**heard, "flags": [*heard["flags"], *(["bad_sidecar"] if bad_sidecar else [])]}
    detail = "; ".join(filter(None, (written["detail"], heard["detail"])))
    ending = {key: written[key] for key in ("status", "reason")} if bad_sidecar else {}
    return {**heard, **ending, "detail": detail or None}


def _from_manifest(clip: Clip) -> Words | None:
    text = tidy(clip.transcript or "")
    if not text:
        return None
    return Words("manifest", (Cue(None, None, text),), language_code(clip.language))


def _cues_of_track(track: SubtitleTrack, duration_s: float) -> tuple[list[Cue], int]:
    """Clean cues, and how many notes on sounds were left out; an open end is the next start."""
    next_starts = [*(cue.start_s for cue in track.cues[1:]), duration_s]
    cues: list[Cue] = []
    sounds = 0
    for cue, next_start_s in zip(track.cues, next_starts, strict=True):
        end_s = next_start_s if cue.end_s is None else cue.end_s
        clean, dropped = cues_of(Cue(cue.start_s, end_s, cue.text, cue.speaker, is_ass=True))
        cues += clean
        sounds += dropped
    return cues, sounds


def on_clock_of_clip(
    cues: Sequence[Cue], duration_s: float
) -> tuple[tuple[Cue, ...], tuple[str, ...]]:
    """The cues that lie in the clip, and flags.

    Some sidecars keep the times of the film that the clip was cut from. If no cue lies in the clip
    and together they are no longer than it, the words are the clip's and the times are dropped.

    Raises:
        BadSidecarError: most cues lie outside the clip: they are of another one, or of a film, and
            those inside are there by chance.
    """
    inside = tuple(cue for cue in cues if _overlaps(cue, duration_s))
    outside = len(cues) - len(inside)
    if outside <= len(inside):
        return inside, _counts(cues_outside_clip=outside)
    span_s = max(cue.end_s or 0.0 for cue in cues) - min(cue.start_s or 0.0 for cue in cues)
    if inside or span_s > duration_s + OTHER_CLOCK_SLACK_S:
        raise BadSidecarError(f"{outside} of {len(cues)} cues lie outside the clip")
    text = " ".join(cue.text for cue in cues)
    return (Cue(None, None, text),), ("times_of_another_clock",)


def _overlaps(cue: Cue, duration_s: float) -> bool:
    if cue.start_s is None or cue.end_s is None:
        return True
    return round(cue.start_s, 3) < duration_s and round(cue.end_s, 3) > 0


def _flags(read: Subtitles) -> tuple[str, ...]:
    guessed = () if read.encoding.startswith("utf") else (f"encoding_{read.encoding}",)
    counts = _counts(malformed_cues=read.malformed, sounds_left_out=read.sounds)
    return (*guessed, *counts)


def _counts(**counts: int) -> tuple[str, ...]:
    """``malformed_cues=2``; what was not left out is not named."""
    return tuple(f"{name}={count}" for name, count in counts.items() if count)


def _end_s(work: Work) -> float:
    """Where picture and sound have both ended; the voice stage knows how long the sound is."""
    picture_s: float = work.seen["probe"]["duration_s"]
    return max(picture_s, work.seen["voice"]["duration_s"] or 0.0)


def _row(words: Words, work: Work) -> Row:
    duration_s = _end_s(work)
    cues, flags = words.cues, words.flags
    if len(cues) == 1 and cues[0].start_s is None:
        span = _span_of_speech(work)
        if span:
            cues = (replace(cues[0], start_s=span[0], end_s=span[1]),)
            flags = (*flags, "times_from_voice")
    return {
        "transcript": " ".join(cue.text for cue in cues),
        "transcript_source": words.source,
        "text_language": words.language,
        "segments": [_segment(cue, duration_s) for cue in cues],
        "flags": list(flags),
    }


def _span_of_speech(work: Work) -> tuple[float, float] | None:
    """From the first to the last moment in which the voice stage heard speech."""
    if not work.ok("voice") or not work.seen["voice"]["segments"]:
        return None
    segments = work.seen["voice"]["segments"]
    return segments[0]["start_s"], segments[-1]["end_s"]


def _segment(cue: Cue, duration_s: float) -> Row:
    return {
        "start_s": None if cue.start_s is None else max(cue.start_s, 0.0),
        "end_s": None if cue.end_s is None else min(cue.end_s, duration_s),
        "text": cue.text,
        "speaker": cue.speaker,
        "confidence": None,
    }
