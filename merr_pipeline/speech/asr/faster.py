"""faster-whisper: Whisper on CTranslate2, several short sounds decoded together.

There is no sampling: one decode by beam search, which gives the same words every time. What it
gets wrong is for the gates to reject, not for dice to mend.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from merr_pipeline.settings import AsrSettings
from merr_pipeline.speech.asr.contract import MOST_TOKENS, Heard, Word
from merr_pipeline.speech.asr.track import Slot, lay_out


class FasterWhisper:
    """A `Backend` from a folder with ``model.bin``, ``config.json``, ``tokenizer.json``."""

    def __init__(self, folder: Path, compute_type: str, settings: AsrSettings) -> None:
        from faster_whisper import BatchedInferencePipeline, WhisperModel

        self._settings = settings
        self._model = WhisperModel(
            str(folder),
            device=settings.device,
            compute_type=compute_type,
            local_files_only=True,
        )
        self._pipeline = BatchedInferencePipeline(self._model)

    def hear(self, sounds: Sequence[np.ndarray], languages: Sequence[str | None]) -> list[Heard]:
        """As `Backend.hear`; sounds of one language go together, ``batch_size`` at a time."""
        told = self._with_languages(sounds, languages)
        groups: dict[str, list[int]] = defaultdict(list)
        for number, (language, _) in enumerate(told):
            groups[language].append(number)
        heard: dict[int, Heard] = {}
        for language, numbers in groups.items():
            for batch in _batches(numbers, self._settings.batch_size):
                found = self._decode([sounds[number] for number in batch], language)
                for number, segments, slot in zip(batch, *found, strict=True):
                    heard[number] = _heard(segments, slot, told[number])
        return [heard[number] for number in range(len(sounds))]

    def _with_languages(
        self, sounds: Sequence[np.ndarray], languages: Sequence[str | None]
    ) -> list[tuple[str, float | None]]:
        """The language of each sound, and its probability where it had to be found.

        It is found before decoding, at the price of looking at those sounds twice: on a track of
        several languages faster-whisper would part the words of all by the rules of one.
        """
        if not self._model.model.is_multilingual:
            return [("en", None)] * len(sounds)
        known = set(self._model.supported_languages)
        told: dict[int, tuple[str, float | None]] = {}
        for number, code in enumerate(languages):
            if code is not None and code in known:
                told[number] = code, None
        unknown = [number for number in range(len(sounds)) if number not in told]
        for batch in _batches(unknown, self._settings.batch_size):
            ranked = self._rank_languages([sounds[number] for number in batch])
            for number, ((token, probability), *_) in zip(batch, ranked, strict=True):
                told[number] = token.strip("<|>"), probability
        return [told[number] for number in range(len(sounds))]

    def _rank_languages(self, sounds: Sequence[np.ndarray]) -> list[list[tuple[str, float]]]:
        from faster_whisper.audio import pad_or_trim

        extract = self._model.feature_extractor
        features = np.stack([pad_or_trim(extract(sound)[..., :-1]) for sound in sounds])
        ranked: list[list[tuple[str, float]]] = self._model.model.detect_language(
            self._model.encode(features)
        )
        return ranked

    def _decode(
        self, sounds: Sequence[np.ndarray], language: str
    ) -> tuple[list[list[Any]], list[Slot]]:
        """The segments of each sound on a track of them all, and the slots.

        Each must have one segment, in order; else each sound is decoded alone.
        """
        track, slots = lay_out(sounds)
        segments = self._segments(track, slots, language)
        rate = self._model.frames_per_second
        by_slot = [[s for s in segments if s.seek == int(slot.start_s * rate)] for slot in slots]
        if len(sounds) == 1 or [len(own) for own in by_slot] == [1] * len(segments):
            return by_slot, slots
        alone = [self._decode([sound], language) for sound in sounds]
        return [own for found, _ in alone for own in found], [s for _, own in alone for s in own]

    def _segments(self, track: np.ndarray, slots: Sequence[Slot], language: str) -> list[Any]:
        segments, _ = self._pipeline.transcribe(
            track,
            language=language,
            clip_timestamps=[{"start": slot.start_s, "end": slot.end_s} for slot in slots],
            batch_size=len(slots),
            beam_size=self._settings.beam_size,
            temperature=0.0,
            max_new_tokens=MOST_TOKENS,
            without_timestamps=True,
            word_timestamps=self._settings.word_times,
            vad_filter=False,
        )
        return list(segments)


def _batches(numbers: Sequence[int], size: int) -> list[Sequence[int]]:
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


def _heard(segments: Sequence[Any], slot: Slot, told: tuple[str, float | None]) -> Heard:
    """The segments of one sound as one answer, with times from its own start."""
    if not segments:
        return Heard("")
    language, probability = told
    return Heard(
        text="".join(segment.text for segment in segments),
        words=tuple(_word(word, slot) for segment in segments for word in segment.words or ()),
        language=language,
        language_probability=probability,
        avg_logprob=float(min(segment.avg_logprob for segment in segments)),
        no_speech_prob=float(max(segment.no_speech_prob for segment in segments)),
    )


def _word(word: Any, slot: Slot) -> Word:
    length_s = slot.end_s - slot.start_s
    start_s = min(max(float(word.start) - slot.start_s, 0.0), length_s)
    end_s = min(max(float(word.end) - slot.start_s, start_s), length_s)
    return Word(word.word, start_s, end_s, float(word.probability))
