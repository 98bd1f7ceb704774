"""Qwen3-ASR by transformers; one sound after another, without the times of words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from merr_pipeline.settings import AsrSettings
from merr_pipeline.speech.asr.contract import MOST_TOKENS, Heard
from merr_pipeline.speech.asr.hf_whisper import be_quiet

MARKER = "<asr_text>"  # stands between the language and the text


class Qwen3Asr:
    """A `Backend` from a folder as transformers keeps it."""

    def __init__(self, folder: Path, compute_type: str, settings: AsrSettings) -> None:
        import torch
        from transformers import Qwen3ASRForConditionalGeneration, Qwen3ASRProcessor
        from transformers.models.qwen3_asr.processing_qwen3_asr import LANGUAGE_CODE_TO_NAME

        be_quiet()
        self._settings, self._dtype = settings, getattr(torch, compute_type)
        self._processor = Qwen3ASRProcessor.from_pretrained(folder, local_files_only=True)
        model = Qwen3ASRForConditionalGeneration.from_pretrained(
            folder, dtype=self._dtype, local_files_only=True
        )
        self._model = model.to(settings.device).eval()
        self._names: dict[str, str] = LANGUAGE_CODE_TO_NAME

    def hear(self, sounds: Sequence[np.ndarray], languages: Sequence[str | None]) -> list[Heard]:
        """As `Backend.hear`."""
        import torch

        with torch.inference_mode():
            return [
                self._hear_one(sound, code) for sound, code in zip(sounds, languages, strict=True)
            ]

    def _hear_one(self, sound: np.ndarray, code: str | None) -> Heard:
        name = self._names.get(code or "")
        asked = self._processor.apply_transcription_request(
            audio=[sound], language=None if name is None else [name]
        ).to(self._settings.device, self._dtype)
        written = self._model.generate(
            **asked,
            num_beams=self._settings.beam_size,
            do_sample=False,
            max_new_tokens=MOST_TOKENS,
            return_dict_in_generate=True,
            output_scores=True,
        )
        tokens = written.sequences[0, asked["input_ids"].shape[1] :]
        found, text = parse(self._processor.decode(tokens, skip_special_tokens=True))
        codes = {known: code for code, known in self._names.items()}
        return Heard(
            text=text,
            language=code if name is not None else codes.get(found or ""),
            avg_logprob=self._avg_logprob(written),
        )

    def _avg_logprob(self, written: Any) -> float:
        if self._settings.beam_size > 1:
            return float(written.sequences_scores[0])  # the mean, as the search ranks by it
        steps = self._model.compute_transition_scores(
            written.sequences, written.scores, normalize_logits=True
        )
        return float(steps[0].mean())


def parse(written: str) -> tuple[str | None, str]:
    """Language and text of ``language English<asr_text>Hello.``; the text alone also does.

    The library's own parser also takes out loops; the gates must see them.
    """
    head, marker, text = written.partition(MARKER)
    if not marker:
        return None, written.strip()
    name = head.strip().removeprefix("language").strip()
    return (name if name not in ("", "None") else None), text.strip()
