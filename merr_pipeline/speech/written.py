"""Words that somebody wrote down: the manifest's column, sidecars, embedded subtitle tracks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from merr_pipeline.media import SubtitleTrack, read_subtitles
from merr_pipeline.schema import Clip
from merr_pipeline.settings import TranscriptSettings
from merr_pipeline.speech.clock import counts, overlaps, place
from merr_pipeline.speech.sidecar import (
    BadSidecarError,
    Subtitles,
    find_sidecars,
    is_unreadable,
    language_code,
    primary_language,
    read_sidecar,
)
from merr_pipeline.speech.subtitle_text import Cleaner, Cue
from merr_pipeline.stage import Work


@dataclass(frozen=True)
class Words:
    """What one source gives."""

    source: str
    cues: tuple[Cue, ...]
    language: str | None = None
    flags: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All cues, in order."""
        return " ".join(cue.text for cue in self.cues)


@dataclass
class Search:
    """How the sources are read, and what those that gave no words had to say for themselves."""

    cleaner: Cleaner
    bad: list[str] = field(default_factory=list)  # sidecars that cannot be read, and why
    wordless: list[str] = field(default_factory=list)  # sources that hold no words


def spoken_language(clip: Clip) -> str | None:
    """What the manifest says is spoken.

    Beside a transcript its ``language`` is that of the transcript, which may be a translation.
    """
    return language_code(clip.spoken_language) or (
        None if clip.transcript else language_code(clip.language)
    )


def find_words(work: Work, settings: TranscriptSettings, search: Search) -> Words | None:
    """The words of the first written source that has any."""
    found = (words for source in settings.sources for words in _ask(source, work, settings, search))
    return next(found, None)


def find_original(
    work: Work, settings: TranscriptSettings, words: Words, cleaner: Cleaner
) -> Words | None:
    """What is really said, where ``words`` are a translation and another source has that too."""
    original, _ = _cells_cues(work.clip.original_transcript, cleaner)
    if original:
        return Words("manifest", original, spoken_language(work.clip))
    spoken = primary_language(spoken_language(work.clip))
    if spoken is None or primary_language(words.language) in (None, spoken):
        return None
    written = (
        found for s in settings.sources for found in _ask(s, work, settings, Search(cleaner))
    )
    return next((w for w in written if primary_language(w.language) == spoken), None)


def end_s(work: Work) -> float:
    """Where picture and sound have both ended; the voice stage knows how long the sound is."""
    picture_s: float = work.seen["probe"]["duration_s"]
    return max(picture_s, work.seen["voice"]["duration_s"] or 0.0)


def _ask(source: str, work: Work, settings: TranscriptSettings, search: Search) -> Iterator[Words]:
    """All that a source has, the one to trust first."""
    if source == "manifest":
        yield from _from_manifest(work.clip, search)
    elif source == "sidecar":
        yield from _from_sidecars(work, settings, search)
    elif source == "embedded" and work.seen["probe"]["subtitle_streams"]:
        yield from _from_tracks(work, settings, search)


def _from_manifest(clip: Clip, search: Search) -> Iterator[Words]:
    cues, left_out = _cells_cues(clip.transcript, search.cleaner)
    if cues:
        language, flags = _language(clip.language)
        yield Words("manifest", cues, language, (*_counts(left_out), *flags))
    elif clip.transcript and clip.transcript.strip():
        search.wordless.append("the transcript of the manifest holds no words")


def _cells_cues(cell: str | None, cleaner: Cleaner) -> tuple[tuple[Cue, ...], Counter[str]]:
    """The words of a cell, without times, and what was left out."""
    raw = Cue(None, None, cell or "")
    cues, left_out = cleaner.knowing([raw]).cues_of(raw)
    return tuple(cues), left_out


def _from_sidecars(work: Work, settings: TranscriptSettings, search: Search) -> Iterator[Words]:
    clip, duration_s = work.clip, end_s(work)
    language = language_code(clip.language) or language_code(clip.spoken_language)
    for sidecar in find_sidecars(clip.path, settings.prefer_language):
        try:
            read = read_sidecar(sidecar, search.cleaner, language)
            placed = place(read.cues, duration_s, settings.sidecar_clock, clip.source_offset_s)
        except BadSidecarError as error:
            search.bad.append(f"sidecar {sidecar.ending}: {error}")
            continue
        cues, flags = placed
        if cues:
            other = None if sidecar.is_unknown else clip.language
            named, unread = _language(sidecar.language, other)
            yield Words("sidecar", cues, named, (*_flags(read), *flags, *unread))
        else:
            search.wordless.append(f"sidecar {sidecar.ending} holds no words of this clip")


def _from_tracks(work: Work, settings: TranscriptSettings, search: Search) -> Iterator[Words]:
    wanted, duration_s = primary_language(settings.prefer_language), end_s(work)
    tracks = read_subtitles(work.clip.path)
    for track in sorted(tracks, key=lambda track: primary_language(track.language) != wanted):
        cues, left_out = _cues_of_track(track, duration_s, search.cleaner)
        inside = tuple(cue for cue in cues if overlaps(cue, duration_s))
        if inside:
            language, unread = _language(track.language, work.clip.language)
            yield Words("embedded", inside, language, (*_counts(left_out), *unread))
        else:
            search.wordless.append("an embedded track holds no words")


def _language(*written: str | None) -> tuple[str | None, tuple[str, ...]]:
    """The first that is a language; with a flag where none is, though one says something."""
    language = next(filter(None, map(language_code, written)), None)
    unread = language is None and any(map(is_unreadable, written))
    return language, ("unreadable_language",) if unread else ()


def _cues_of_track(
    track: SubtitleTrack, duration_s: float, cleaner: Cleaner
) -> tuple[list[Cue], Counter[str]]:
    """Clean cues, and what was left out; an open end is the next start."""
    next_starts = [*(cue.start_s for cue in track.cues[1:]), duration_s]
    raws = [
        Cue(cue.start_s, next_s if cue.end_s is None else cue.end_s, cue.text, cue.speaker, True)
        for cue, next_s in zip(track.cues, next_starts, strict=True)
    ]
    cleaner = cleaner.knowing(raws)
    cues: list[Cue] = []
    left_out: Counter[str] = Counter()
    for raw in raws:
        clean, dropped = cleaner.cues_of(raw)
        cues += clean
        left_out += dropped
    return cues, left_out


def _flags(read: Subtitles) -> tuple[str, ...]:
    guessed = () if read.encoding.startswith("utf") else (f"encoding_{read.encoding}",)
    return (*guessed, *counts(malformed_cues=read.malformed), *_counts(read.left_out))


def _counts(left_out: Counter[str]) -> tuple[str, ...]:
    """``sounds_left_out=2``, ``credits_left_out=1``."""
    return counts(**{f"{what}_left_out": count for what, count in sorted(left_out.items())})
