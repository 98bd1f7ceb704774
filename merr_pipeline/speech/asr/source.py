"""Speech recognition as the last source of the ``transcript`` stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from merr_pipeline.media import read_sound
from merr_pipeline.schema import Reason, Row
from merr_pipeline.settings import Settings
from merr_pipeline.speech.asr.backends import compute_type, open_backend
from merr_pipeline.speech.asr.contract import RATE_HZ, Backend
from merr_pipeline.speech.asr.gates import LOW_CONFIDENCE, load_gates, under
from merr_pipeline.speech.asr.models import content_hash, find_model, model_name, versions
from merr_pipeline.speech.asr.recognise import ClipSound, Piece, Recognition, keep, recognise
from merr_pipeline.speech.sidecar import language_code, primary_language
from merr_pipeline.speech.vad import Span
from merr_pipeline.speech.written import spoken_language
from merr_pipeline.stage import NotOk, Work, fault, not_ok_row, ok_row, skip

SOURCE = "asr"


class AsrSource:
    """Hears several clips at once; whatever goes wrong with one of them ends in its row."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.transcript.asr
        self._gates = load_gates(settings.templates)
        self._backend: Backend | None = None

    def provenance(self) -> dict[str, Any]:
        """Fields of the stage's `Identity`: packages, model, its content, the gates."""
        return {
            "tool_version": versions(self._settings),
            "model": model_name(self._settings),
            "revision": content_hash(find_model(self._settings)),
            "template": self._gates.sha256,
        }

    def shaping(self) -> dict[str, Any]:
        """What of the settings shapes a row.

        A batch of many may count differently from one of one, in the last bit.
        """
        own = self._settings
        return {
            "backend": own.backend,
            "device": own.device,
            "compute_type": compute_type(own),
            "language": own.language,
            "beam_size": own.beam_size,
            "word_times": own.word_times,
            "joined": own.batch_size > 1,
        }

    def setup(self) -> None:
        """Load the model."""
        self._backend = open_backend(self._settings)

    def close(self) -> None:
        """Free the model."""
        self._backend = None

    def annotate(self, works: Sequence[Work]) -> list[Row]:
        """One row per clip: its words, or why there are none."""
        sounds = [self._sound_or_end(work) for work in works]
        ready = [sound for sound in sounds if isinstance(sound, ClipSound)]
        heard = iter(self._hear(ready))
        ends = [sound if isinstance(sound, NotOk) else next(heard) for sound in sounds]
        return [self._row(end) for end in ends]

    def _sound_or_end(self, work: Work) -> ClipSound | NotOk:
        try:
            return self._sound(work)
        except NotOk as ended:
            return ended
        except Exception as error:
            return fault(error)

    def _sound(self, work: Work) -> ClipSound:
        """The sound of a clip in which there is enough speech.

        Raises:
            NotOk: skipped with ``NO_SPEECH``, ``LITTLE_SPEECH`` or ``NO_TRANSCRIPT``; failed as
                `media.read_sound`.
        """
        voice = work.seen["voice"]
        if voice["reason"] == Reason.NO_SPEECH:
            raise skip(Reason.NO_SPEECH, "asr was not asked")
        if not work.ok("voice"):
            raise skip(Reason.NO_TRANSCRIPT, f"asr was not asked: {voice['reason']}")
        before, level = self._gates.before, (voice["prosody"] or {}).get("level_dbfs")
        if under(voice["speech_s"], before.least_speech_s) or under(level, before.least_level_dbfs):
            amounts = f"speech_s {voice['speech_s']}, level_dbfs {level}"
            raise skip(Reason.LITTLE_SPEECH, f"asr was not asked: {amounts}")
        spans = [Span(span["start_s"], span["end_s"]) for span in voice["segments"]]
        language = primary_language(spoken_language(work.clip) or self._settings.language)
        return ClipSound(read_sound(work.clip.path, RATE_HZ).samples, spans, language)

    def _hear(self, sounds: Sequence[ClipSound]) -> list[list[Piece] | NotOk]:
        """What was heard in each; if the model breaks, each is tried alone."""
        assert self._backend is not None
        if not sounds:
            return []
        try:
            return list(recognise(self._backend, sounds))
        except Exception as error:
            if len(sounds) == 1:
                return [fault(error)]
        return [end for sound in sounds for end in self._hear([sound])]

    def _row(self, end: list[Piece] | NotOk) -> Row:
        if isinstance(end, NotOk):
            return not_ok_row(end)
        found = keep(end, self._gates)
        try:
            return ok_row(_payload(found, end))
        except NotOk as ended:
            return not_ok_row(ended)


def _payload(found: Recognition, pieces: Sequence[Piece]) -> Row:
    """The payload of a transcript row.

    Raises:
        NotOk: skipped with ``REJECTED_HALLUCINATION`` or ``LOW_CONFIDENCE`` where the gates let
            nothing through, with ``NO_TRANSCRIPT`` where the model heard no words.
    """
    aside = {
        "rejected_text": found.rejected_text,
        "asr": _numbers(pieces),
        "flags": _flags(found),
    }
    if not found.segments:
        if not found.rejected_by:
            raise skip(Reason.NO_TRANSCRIPT, "asr heard no words", aside)
        unsure = found.rejected_by == (LOW_CONFIDENCE,)
        reason = Reason.LOW_CONFIDENCE if unsure else Reason.REJECTED_HALLUCINATION
        raise skip(reason, f"asr: {', '.join(found.rejected_by)}", aside)
    return {
        "transcript": " ".join(segment.text for segment in found.segments),
        "transcript_source": SOURCE,
        "text_language": language_code(found.language),
        "spoken_language": language_code(found.language),
        "is_translation": False,
        "segments": [
            {
                "start_s": segment.start_s,
                "end_s": segment.end_s,
                "text": segment.text,
                "speaker": None,
                "confidence": segment.confidence,
            }
            for segment in found.segments
        ],
        "words": [
            {
                "start_s": word.start_s,
                "end_s": word.end_s,
                "text": word.text,
                "probability": word.probability,
            }
            for word in found.words
        ],
        **aside,
    }


def _numbers(pieces: Sequence[Piece]) -> Row:
    """What the gates judged by, of the worst of the pieces."""
    heard = [piece.heard for piece in pieces]
    return {
        "language_probability": _extreme(min, [h.language_probability for h in heard]),
        "avg_logprob": _extreme(min, [h.avg_logprob for h in heard]),
        "no_speech_prob": _extreme(max, [h.no_speech_prob for h in heard]),
        "compression_ratio": _extreme(max, [h.compression_ratio for h in heard]),
    }


def _extreme(pick: Any, values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(pick(known)) if known else None


def _flags(found: Recognition) -> list[str]:
    flags = [f"asr_rejected_{gate}" for gate in found.rejected_by]
    if found.sounds_left_out:
        flags.append(f"sounds_left_out={found.sounds_left_out}")
    if found.segments and not found.times_are_of_words:
        flags.append("times_from_voice")
    return flags
