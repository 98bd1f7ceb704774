"""Word and character error of a speech recogniser; what ``make eval-asr`` runs.

::

    python benchmarks/measuring/asr.py MODEL DATA [--backend NAME] [--set asr.key=value …]

DATA is a folder of clips with transcripts: a ``manifest.csv`` (or .jsonl, .parquet) with the column
``transcript``, or a ``.txt``, ``.srt`` or ``.vtt`` of the same name beside each clip. It prints one
line per clip, then the rates: of all that the model heard, and of what passes the gates.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from measuring.word_errors import error_rates, plain_words
from merr_pipeline.clips.manifest import read_inputs
from merr_pipeline.clips.probe import ProbeStage
from merr_pipeline.schema import MerrError, Row
from merr_pipeline.settings import Settings, load_settings
from merr_pipeline.speech.asr.models import model_name, versions
from merr_pipeline.speech.transcript import TranscriptStage
from merr_pipeline.speech.voice import VoiceStage
from merr_pipeline.stage import Work

MANIFESTS = ("manifest.csv", "manifest.jsonl", "manifest.parquet")


def main() -> None:
    """Measure and print."""
    asked = _arguments()
    overrides = [f"transcript.asr.model={asked.model}", f"transcript.asr.backend={asked.backend}"]
    overrides += [f"transcript.{text}" for text in asked.set]
    try:
        _measure(load_settings("local", overrides), Path(asked.data))
    except MerrError as error:
        sys.exit(str(error))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Word and character error of a model.")
    parser.add_argument("model", help="folder, file or name of the model")
    parser.add_argument("data", help="folder of clips with transcripts")
    parser.add_argument("--backend", default="faster-whisper")
    parser.add_argument("--set", action="append", default=[], metavar="asr.key=value")
    return parser.parse_args()


def _measure(settings: Settings, folder: Path) -> None:
    works, said = _prepared(folder, settings)
    if not works:
        raise MerrError(f"{folder} has no clip with a transcript and speech.")
    only_asr = settings.transcript.model_copy(update={"sources": ("asr",)})
    stage = TranscriptStage(settings.model_copy(update={"transcript": only_asr}))
    stage.setup()
    started = time.perf_counter()
    rows: list[Row] = []
    for start in range(0, len(works), stage.at_once):
        rows += stage.annotate(works[start : start + stage.at_once])
    seconds = time.perf_counter() - started
    _print(settings, works, said, rows, seconds)


def _prepared(folder: Path, settings: Settings) -> tuple[list[Work], list[str]]:
    """The clips in which speech is heard, and what is said in each."""
    manifest = next((p for name in MANIFESTS if (p := folder / name).is_file()), None)
    voice, written = VoiceStage(settings), TranscriptStage(load_settings())
    voice.setup()
    works, said = [], []
    for clip in read_inputs(folder, manifest).clips:
        seen: dict[str, Row] = {}
        seen["probe"] = ProbeStage(settings).annotate([Work(clip, seen)])[0]
        if seen["probe"]["status"] == "ok":
            seen["voice"] = voice.annotate([Work(clip, seen)])[0]
            row = written.annotate([Work(clip, seen)])[0]
            has_words = row["status"] == "ok" and plain_words(row["transcript"])
            if has_words and seen["voice"]["status"] == "ok":
                spoken = clip.spoken_language or clip.language  # here no text is a translation
                works.append(Work(replace(clip, spoken_language=spoken), seen))
                said.append(row["transcript"])
    return works, said


def _print(
    settings: Settings, works: list[Work], said: list[str], rows: list[Row], seconds: float
) -> None:
    own = settings.transcript.asr
    print(f"{own.backend} {model_name(own)} ({versions(own)}), {len(works)} clips")
    heard = [" ".join(filter(None, map(row.get, ("transcript", "rejected_text")))) for row in rows]
    kept = [row.get("transcript") or "" for row in rows]
    for work, text, row in zip(works, said, rows, strict=True):
        shown = row.get("transcript") or f"({row['reason']}) {row.get('rejected_text') or ''}"
        print(f"{work.clip.clip_id}\n    said  {text}\n    heard {shown}")
    print(f"\n{'':22}{'WER':>8}{'CER':>8}{'clips':>8}")
    passed = [number for number, row in enumerate(rows) if row["status"] == "ok"]
    _line("all that was heard", said, heard, range(len(rows)))
    _line("what passes the gates", said, kept, passed)
    sound_s = sum(work.seen["voice"]["duration_s"] for work in works)
    print(f"{sound_s / seconds:.2f} s of sound per s")


def _line(name: str, said: list[str], heard: list[str], which: Sequence[int]) -> None:
    words, characters = error_rates([said[n] for n in which], [heard[n] for n in which])
    print(f"{name:22}{_percent(words):>8}{_percent(characters):>8}{len(which):>8}")


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.1%}"


if __name__ == "__main__":
    main()
