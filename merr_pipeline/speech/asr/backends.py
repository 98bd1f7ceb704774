"""The programs that can run a model, by the names that ``transcript.asr.backend`` takes."""

from __future__ import annotations

import json

from merr_pipeline.settings import AsrSettings
from merr_pipeline.speech.asr.contract import Backend
from merr_pipeline.speech.asr.faster import FasterWhisper
from merr_pipeline.speech.asr.hf_whisper import HfWhisper
from merr_pipeline.speech.asr.models import find_model
from merr_pipeline.speech.asr.openai_whisper import OpenAIWhisper
from merr_pipeline.speech.asr.qwen3 import Qwen3Asr

USUAL_COMPUTE_TYPE = {
    "faster-whisper": {"cpu": "int8", "cuda": "float16"},
    "openai-whisper": {"cpu": "float32", "cuda": "float16"},
    "transformers": {"cpu": "float32", "cuda": "bfloat16"},
}


def compute_type(settings: AsrSettings) -> str:
    """The numbers that the model counts with."""
    return settings.compute_type or USUAL_COMPUTE_TYPE[settings.backend][settings.device]


def open_backend(settings: AsrSettings) -> Backend:
    """Load the model.

    Raises:
        AsrError: package or model are missing.
    """
    model, counting = find_model(settings), compute_type(settings)
    if settings.backend == "faster-whisper":
        return FasterWhisper(model, counting, settings)
    if settings.backend == "openai-whisper":
        return OpenAIWhisper(model, counting, settings)
    if json.loads((model / "config.json").read_bytes()).get("model_type") == "qwen3_asr":
        return Qwen3Asr(model, counting, settings)
    return HfWhisper(model, counting, settings)
