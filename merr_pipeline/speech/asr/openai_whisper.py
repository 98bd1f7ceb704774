"""openai-whisper: Whisper by those who made it, on PyTorch; one sound after another."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from merr_pipeline.settings import AsrSettings
from merr_pipeline.speech.asr.contract import RATE_HZ, Heard, Word

SAMPLES_PER_FRAME = 160


class OpenAIWhisper:
    """A `Backend` from one ``.pt`` file."""

    def __init__(self, file: Path, compute_type: str, settings: AsrSettings) -> None:
        import whisper

        self._settings, self._half = settings, compute_type == "float16"
        self._model = whisper.load_model(str(file), device=settings.device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # it leaves its vocabulary open
            self._tokenizer("en")
        heads = whisper._ALIGNMENT_HEADS.get(file.stem)  # those that know when a word is said
        if heads is not None:
            with suppress(RuntimeError):  # a model of one's own that is called like one of theirs
                self._model.set_alignment_heads(heads)

    def hear(self, sounds: Sequence[np.ndarray], languages: Sequence[str | None]) -> list[Heard]:
        """As `Backend.hear`."""
        import torch

        with torch.inference_mode():
            return [
                self._hear_one(sound, code) for sound, code in zip(sounds, languages, strict=True)
            ]

    def _hear_one(self, sound: np.ndarray, code: str | None) -> Heard:
        import whisper

        mel = whisper.log_mel_spectrogram(
            whisper.pad_or_trim(sound), self._model.dims.n_mels, device=self._model.device
        )
        mel = mel.half() if self._half else mel
        encoded = self._model.encoder(mel.unsqueeze(0))  # once for all that follows
        language, probability = self._language(encoded, code)
        (result,) = whisper.decode(
            self._model,
            encoded,
            whisper.DecodingOptions(
                language=language,
                temperature=0.0,
                beam_size=self._settings.beam_size,
                without_timestamps=True,
                fp16=self._half,
            ),
        )
        return Heard(
            text=result.text,
            words=self._words(mel, result.tokens, language, len(sound)),
            language=language,
            language_probability=probability,
            avg_logprob=float(result.avg_logprob),
            no_speech_prob=float(result.no_speech_prob),
        )

    def _language(self, encoded: Any, code: str | None) -> tuple[str, float | None]:
        from whisper.tokenizer import LANGUAGES

        if not self._model.is_multilingual:
            return "en", None
        if code is not None and code in LANGUAGES:
            return code, None
        _, (probabilities,) = self._model.detect_language(encoded)
        best = max(probabilities, key=probabilities.__getitem__)
        return best, float(probabilities[best])

    def _tokenizer(self, language: str) -> Any:
        from whisper.tokenizer import get_tokenizer

        many, count = self._model.is_multilingual, self._model.num_languages
        return get_tokenizer(many, num_languages=count, language=language, task="transcribe")

    def _words(
        self, mel: Any, tokens: Sequence[int], language: str, length: int
    ) -> tuple[Word, ...]:
        from whisper.timing import add_word_timestamps

        if not self._settings.word_times or not tokens:
            return ()
        segment = {"seek": 0, "start": 0.0, "end": length / RATE_HZ, "tokens": tokens}
        add_word_timestamps(
            segments=[segment],
            model=self._model,
            tokenizer=self._tokenizer(language),
            mel=mel,
            num_frames=max(1, length // SAMPLES_PER_FRAME),
            last_speech_timestamp=0.0,
        )
        words: Any = segment["words"]
        return tuple(
            Word(word["word"], float(word["start"]), float(word["end"]), float(word["probability"]))
            for word in words
        )
