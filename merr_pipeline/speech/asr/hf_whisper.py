"""Whisper by transformers; one sound after another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from merr_pipeline.settings import AsrSettings
from merr_pipeline.speech.asr.contract import MOST_TOKENS, RATE_HZ, Heard, Word

WITHOUT_BLANKS = {"zh", "ja", "th", "lo", "my", "yue"}  # languages whose words nothing parts
SMALLEST = 1e-30  # a probability; its logarithm is still a number
NO_SPEECH = ("<|nospeech|>", "<|nocaptions|>")  # in newer and in older vocabularies


class HfWhisper:
    """A `Backend` from a folder with ``config.json``, ``model.safetensors``, ``tokenizer.json``."""

    def __init__(self, folder: Path, compute_type: str, settings: AsrSettings) -> None:
        import torch
        from transformers import (
            WhisperFeatureExtractor,
            WhisperForConditionalGeneration,
            WhisperTokenizer,
        )

        be_quiet()
        self._settings, self._dtype = settings, getattr(torch, compute_type)
        self._extract = WhisperFeatureExtractor.from_pretrained(folder, local_files_only=True)
        self._tokenizer = WhisperTokenizer.from_pretrained(folder, local_files_only=True)
        model = WhisperForConditionalGeneration.from_pretrained(
            folder,
            dtype=self._dtype,
            local_files_only=True,
            # to find the times of words it goes over to this one, with other last bits
            attn_implementation="eager",
        )
        self._model = model.to(settings.device).eval()
        self._languages = {
            token.strip("<|>"): number
            for token, number in getattr(model.generation_config, "lang_to_id", {}).items()
        }
        self._has_times = bool(getattr(model.generation_config, "alignment_heads", None))
        self._end = self._tokenizer.convert_tokens_to_ids("<|endoftext|>")

    def hear(self, sounds: Sequence[np.ndarray], languages: Sequence[str | None]) -> list[Heard]:
        """As `Backend.hear`."""
        import torch

        with torch.inference_mode():
            return [
                self._hear_one(sound, code) for sound, code in zip(sounds, languages, strict=True)
            ]

    def _hear_one(self, sound: np.ndarray, code: str | None) -> Heard:
        given = self._extract(
            sound, sampling_rate=RATE_HZ, return_tensors="pt", return_attention_mask=True
        ).to(self._settings.device)
        features = given.input_features.to(self._dtype)
        encoded = self._model.get_encoder()(features)
        first = self._probabilities(encoded, [self._id("<|startoftranscript|>")])[0]
        language, probability = self._language(first, code)
        tokens, times_s = self._write(features, given.attention_mask, language)
        likely = self._likely(encoded, tokens, language)
        return Heard(
            text=self._tokenizer.decode(tokens),
            words=self._words(tokens, times_s, likely, language),
            language=language,
            language_probability=probability,
            avg_logprob=float(np.log(np.maximum(likely, SMALLEST)).mean()),
            no_speech_prob=next(
                (float(first[n]) for t in NO_SPEECH if (n := self._id(t)) is not None), None
            ),
        )

    def _language(self, first: Any, code: str | None) -> tuple[str, float | None]:
        """The language that is named, or the most likely one of those the model knows."""
        if not self._languages:
            return "en", None
        if code is not None and code in self._languages:
            return code, None
        among = {name: float(first[number]) for name, number in self._languages.items()}
        best = max(among, key=among.__getitem__)
        return best, among[best] / sum(among.values())

    def _write(
        self, features: Any, mask: Any, language: str
    ) -> tuple[list[int], list[float] | None]:
        """The tokens of the text, and when each begins, with the end of the last one behind."""
        timed = self._settings.word_times and self._has_times
        named = {"language": language, "task": "transcribe"} if self._languages else {}
        times = {"return_token_timestamps": True} if timed else {}
        written = self._model.generate(
            features,
            attention_mask=mask,
            num_beams=self._settings.beam_size,
            do_sample=False,
            max_new_tokens=MOST_TOKENS,
            **named,
            **times,
        )
        ids = (written["sequences"] if timed else written)[0].tolist()
        kept = [place for place, number in enumerate(ids) if number < self._end]
        tokens = [ids[place] for place in kept]
        if not timed or not kept:
            return tokens, None
        ends_s = written["token_timestamps"][0].tolist()
        return tokens, [0.0 if kept[0] == 0 else ends_s[kept[0] - 1], *(ends_s[n] for n in kept)]

    def _likely(self, encoded: Any, tokens: Sequence[int], language: str) -> np.ndarray:
        """The probability of each token, and of the end behind them, in what was written."""
        names = ["<|startoftranscript|>"]
        names += [f"<|{language}|>", "<|transcribe|>"] if self._languages else []
        prompt = [self._id(name) for name in [*names, "<|notimestamps|>"]]
        told = self._probabilities(encoded, [*prompt, *tokens])[len(prompt) - 1 :]
        wanted = [*tokens, self._end]
        return told[np.arange(len(wanted)), wanted]

    def _probabilities(self, encoded: Any, tokens: Sequence[int | None]) -> np.ndarray:
        """Of what comes behind each token: tokens x vocabulary."""
        import torch

        given = torch.tensor([tokens], device=self._settings.device)
        logits = self._model(encoder_outputs=encoded, decoder_input_ids=given).logits[0]
        probabilities: np.ndarray = logits.float().softmax(dim=-1).cpu().numpy()
        return probabilities

    def _words(
        self,
        tokens: Sequence[int],
        times_s: Sequence[float] | None,
        likely: np.ndarray,
        language: str,
    ) -> tuple[Word, ...]:
        if times_s is None:
            return ()
        words, start = [], 0
        for count in word_lengths([self._tokenizer.decode([n]) for n in tokens], language):
            text = self._tokenizer.decode(tokens[start : start + count])
            probability = float(likely[start : start + count].mean())
            words.append(Word(text, times_s[start], times_s[start + count], probability))
            start += count
        return tuple(words)

    def _id(self, token: str) -> int | None:
        number: int | None = self._tokenizer.get_vocab().get(token)
        return number


def be_quiet() -> None:
    """No bars and no advice on the terminal, where a build shows its own progress."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def word_lengths(pieces: Sequence[str], language: str) -> list[int]:
    """How many tokens make each word, of the texts of all tokens.

    A word begins with a blank, or in a script without blanks with every whole sign; bytes of a
    sign that is not whole yet (shown as U+FFFD) belong to one word.
    """
    lengths: list[int] = []
    broken = False  # the last token ended inside a sign
    for piece in pieces:
        begins = not lengths or piece.startswith(" ") or language in WITHOUT_BLANKS
        if begins and not broken:
            lengths.append(1)
        else:
            lengths[-1] += 1
        broken = "\ufffd" in piece
    return lengths
