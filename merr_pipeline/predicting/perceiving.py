"""Clips that no build has seen, as the model is to be shown them: the stages that it takes.

A prompt has the peak frame, the face over time, the sound and the words. The stages that find those
run as in a build (worker processes, limits, the annotation store), and a build of the same clips
into the same folder finds their rows done. No model is asked, whatever the profile says.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from merr_pipeline.build import held
from merr_pipeline.clips.hashes import HashMemory
from merr_pipeline.clips.manifest import Inputs, find_media, name_clips
from merr_pipeline.clips.opening import open_row
from merr_pipeline.clips.probe import ProbeStage
from merr_pipeline.dataset.accept import Rows, why_not_ok
from merr_pipeline.dataset.clip_row import FULL_LOOK, clip_row
from merr_pipeline.doctor import check_ready
from merr_pipeline.engine.local import LocalEngine
from merr_pipeline.engine.watch import Limits
from merr_pipeline.face.stage import FaceStage
from merr_pipeline.moment.stage import MomentStage
from merr_pipeline.pipeline import Pipeline
from merr_pipeline.schema import Clip, MerrError, Reason, Refusal, Row
from merr_pipeline.settings import Settings, load_settings, with_places
from merr_pipeline.speech.transcript import TranscriptStage
from merr_pipeline.speech.voice import VoiceStage
from merr_pipeline.stage import is_ok
from merr_pipeline.takedown.record import read_record, without_taken_down
from merr_pipeline.templates import check_folder

STAGES = ("probe", "voice", "transcript", "face", "moment")


@dataclass(frozen=True)
class Seen:
    """What perception found in one clip."""

    clip_id: str
    media_path: str  # under the folder that all clips have in common
    row: Row | None  # columns of ``clips``; null where the clip was refused
    missing: dict[str, str]  # picture, face, sound, words: the reason
    refused: str | None = None  # the reason, and what is known of it


@dataclass(frozen=True)
class Perceived:
    """All clips, in the order of their ids."""

    root: Path
    seen: list[Seen]


def perceive(
    clips: Sequence[Path],
    out: Path,
    profile: str = "embedded",
    overrides: Sequence[str] = (),
    transcript: str | None = None,
    told: Callable[[str], None] = lambda line: None,
) -> Perceived:
    """Run the stages that a prompt needs on files, and on all media in folders.

    Args:
        clips: files and folders.
        out: the annotation store is here; what it has is not made again.
        profile: as that of a build.
        overrides: ``key=value`` of settings.
        transcript: what is said in the one clip that there is.
        told: called with a line before a while of silence.

    Raises:
        MerrError: a path is not there, the settings are wrong, a tool is missing, or a transcript
            is given for several clips.
    """
    settings = with_places(_asking_nobody(load_settings(profile, overrides)), out)
    if settings.templates is not None:
        check_folder(settings.templates)
    root, names = _named(clips)
    if transcript is not None and len(names) > 1:
        raise MerrError(f"one transcript for {len(names)} clips; a .txt beside each says it too.")
    check_ready(settings)
    out.mkdir(parents=True, exist_ok=True)
    with held(out):
        inputs = without_taken_down(_opened(root, names, out, transcript), read_record(out))
        pipeline = open_stages(settings, out)
        pipeline.store.refresh()
        _run(pipeline, inputs, settings, out, told)
        pipeline.store.refresh()
        states = [pipeline.settled(clip) for clip in inputs.clips]
        look = {stage: columns for stage, columns in FULL_LOOK.items() if stage in STAGES}
        found = pipeline.rows(states, look)
    seen = [_seen(clip, rows, settings) for clip, rows in zip(inputs.clips, found, strict=True)]
    seen += [_refused(refusal) for refusal in inputs.refusals]
    return Perceived(root, sorted(seen, key=lambda one: one.clip_id))


def open_stages(settings: Settings, out: Path) -> Pipeline:
    """The pipeline without the stages that no prompt needs; here, so that a worker can open it."""
    stages = (ProbeStage, VoiceStage, TranscriptStage, FaceStage, MomentStage)
    return Pipeline([stage(settings) for stage in stages], out)


def _asking_nobody(settings: Settings) -> Settings:
    """Else a profile that asks models would want their servers, of which nothing is asked."""
    ways = {"tone": "prosody", "scene": "facts", "fine": "composer"}
    return settings.model_copy(
        update={
            name: getattr(settings, name).model_copy(update={"by": by}) for name, by in ways.items()
        }
    )


def _named(clips: Sequence[Path]) -> tuple[Path, dict[str, str]]:
    """The folder that all have in common, and the id of each file by its path under it."""
    files: list[Path] = []
    for path in clips:
        absolute = Path(os.path.abspath(path))  # noqa: PTH100 - also resolves '..'
        if absolute.is_dir():
            inside = [absolute / name for name in find_media(absolute)]
            if not inside:
                raise MerrError(f"{path} holds no clips.")
            files += inside
        elif absolute.exists():
            files.append(absolute)
        else:
            raise MerrError(f"{path} is not there.")
    files = list(dict.fromkeys(files))
    root = Path(os.path.commonpath([file.parent for file in files]))
    return root, dict(name_clips(sorted(file.relative_to(root).as_posix() for file in files)))


def _opened(root: Path, names: dict[str, str], out: Path, transcript: str | None) -> Inputs:
    hashes = HashMemory(out / "cache" / "hashes.json")
    rows = [
        {"clip_id": name, "path": path, "transcript": transcript} for path, name in names.items()
    ]
    opened = [open_row(root, row, number, hashes) for number, row in enumerate(rows, start=1)]
    clips = [one for one in opened if isinstance(one, Clip)]
    return Inputs(tuple(clips), tuple(one for one in opened if isinstance(one, Refusal)))


def _run(
    pipeline: Pipeline,
    inputs: Inputs,
    settings: Settings,
    out: Path,
    told: Callable[[str], None],
) -> None:
    """Whatever is pending, in worker processes: a clip may take one with it, and not us."""
    states = [state for clip in inputs.clips if (state := pipeline.plan(clip)).pending]
    by_content = {state.clip.sha256: state for state in states}  # copies have the same rows
    pending = list(by_content.values())
    if not pending:
        return
    told(f"looking at {len(pending)} clips")
    own = settings.engine
    workers = min(len(pending), own.workers or len(os.sched_getaffinity(0)))
    limits = Limits(clip_s=own.clip_limit_s, memory_mb=own.memory_limit_mb)
    size = max(1, min(own.batch_size, -(-len(pending) // workers)))
    batches = [pending[start : start + size] for start in range(0, len(pending), size)]
    with (
        LocalEngine(partial(open_stages, settings, out), workers, pipeline, limits) as engine,
        ThreadPoolExecutor(workers) as threads,
    ):
        try:
            list(threads.map(engine.run, batches))
        except BaseException:
            engine.stop()  # or the threads would wait for their batches
            threads.shutdown(cancel_futures=True)
            raise


def _seen(clip: Clip, rows: Rows, settings: Settings) -> Seen:
    """A clip with neither face nor sound nor words is refused: there is nothing to be shown."""
    if not is_ok(rows, "probe"):
        return _of_row(clip, rows, "probe")
    row = clip_row(clip, rows, "test", ())
    row |= {"label_space": settings.label.space, "coarse_language": None}
    missing = _missing(rows, row)
    if missing.keys() >= {"picture", "sound", "words"}:
        return replace(_of_row(clip, rows, "face"), missing=missing)
    return Seen(clip.clip_id, clip.media_path, row, missing)


def _missing(rows: Rows, row: Row) -> dict[str, str]:
    found = {}
    if not row["peak_frame"]:
        found["picture"] = _why_no_face(rows)
    if not row["face_track"]:
        found["face"] = _why_no_face(rows)
    if not row["has_sound"]:
        found["sound"] = Reason.NO_AUDIO_STREAM.value
    elif "voice" in rows and rows["voice"]["reason"] == Reason.AUDIO_DECODE_ERROR:
        found["sound"] = Reason.AUDIO_DECODE_ERROR.value
    if not row["transcript"]:
        found["words"] = why_not_ok(rows, "transcript")
    return found


def _why_no_face(rows: Rows) -> str:
    return why_not_ok(rows, "face" if not is_ok(rows, "face") else "moment")


def _of_row(clip: Clip, rows: Rows, stage: str) -> Seen:
    detail = rows[stage]["detail"] if stage in rows else None
    why = ": ".join(part for part in (why_not_ok(rows, stage), detail) if part)
    return Seen(clip.clip_id, clip.media_path, None, {}, f"{stage}: {why}")


def _refused(refusal: Refusal) -> Seen:
    why = f"{refusal.reason.value}: {refusal.detail}"
    return Seen(refusal.clip_id, refusal.media_path, None, {}, why)
