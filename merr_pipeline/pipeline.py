"""The stages in plain sight, what of them is still to do for a clip, and doing it.

Every row is found by its input key: the hash of the clip's bytes, the stage's fingerprint and
columns, the manifest and sidecar facts that the stage reads, and the key and content of every row
it builds on. A row with that key in the store is done; without, it is pending. So a changed
sidecar, threshold or template remakes exactly what depends on it, and a renamed file nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from merr_pipeline.clips.hashes import how_changed
from merr_pipeline.clips.probe import ProbeStage
from merr_pipeline.emotion.labels import LabelStage
from merr_pipeline.face.stage import FaceStage
from merr_pipeline.fuse.fine import FineStage
from merr_pipeline.llm.stage import CallStage
from merr_pipeline.moment.stage import MomentStage
from merr_pipeline.scene.facts import SceneStage
from merr_pipeline.schema import PASSES_WITH_TIME, ROW_HEAD, Clip, Row, Status
from merr_pipeline.settings import Settings
from merr_pipeline.speech.tone import ToneStage
from merr_pipeline.speech.transcript import TranscriptStage
from merr_pipeline.speech.voice import VoiceStage
from merr_pipeline.stage import BatchStage, Identity, NotOk, Work, digest, fault, not_ok_row
from merr_pipeline.store import Entry, Store

HEAD = tuple(column.name for column in ROW_HEAD)

GATE = "probe"
"""A clip whose probe is not ``ok`` is finished: no other stage is asked about it."""

Holding = Callable[[str, Sequence[Clip]], AbstractContextManager[None]]
"""Called with a stage and the clips that it takes in hand, until the block ends."""


Asking = Callable[[CallStage, Sequence[Work]], list[Row]]
"""Asks models for the rows of a stage, and waits for them; may be called from several threads."""


def unwatched(stage: str, clips: Sequence[Clip]) -> AbstractContextManager[None]:
    """Nobody looks at what is in hand."""
    del stage, clips
    return nullcontext()


def no_door(stage: CallStage, works: Sequence[Work]) -> list[Row]:
    """Where there is no door to models, nobody may come to it."""
    raise RuntimeError(f"no door to models for {len(works)} clips of {type(stage).__name__}")


def build_stages(settings: Settings) -> tuple[BatchStage, ...]:
    """Every stage, in the order in which they run; each comes after all that it needs."""
    return (
        ProbeStage(settings),
        VoiceStage(settings),
        TranscriptStage(settings),
        FaceStage(settings),
        MomentStage(settings),
        _tone_stage(settings),
        _scene_stage(settings),
        LabelStage(settings),
        _fine_stage(settings),
    )


def _fine_stage(settings: Settings) -> BatchStage:
    if settings.fine.by == "model":
        from merr_pipeline.fuse.reasoning import FineModelStage  # only where a model is asked

        return FineModelStage(settings)
    return FineStage(settings)


def _tone_stage(settings: Settings) -> BatchStage:
    if settings.tone.by == "model":
        from merr_pipeline.speech.tone_model import ToneModelStage  # only where a model is asked

        return ToneModelStage(settings)
    return ToneStage(settings)


def _scene_stage(settings: Settings) -> BatchStage:
    if settings.scene.by == "model":
        from merr_pipeline.scene.seen import SceneModelStage  # only where a model is asked

        return SceneModelStage(settings)
    return SceneStage(settings)


@dataclass
class State:
    """How far one clip is: the rows it has, and the stages that have yet to run."""

    clip: Clip
    entries: dict[str, Entry] = field(default_factory=dict)
    pending: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether some stage ended as ``failed``."""
        return any(entry.status == Status.FAILED for entry in self.entries.values())


@dataclass(frozen=True)
class Outcome:
    """What one stage made of one clip in this run."""

    clip_id: str
    stage: str
    status: str
    reason: str | None


@dataclass
class BatchReport:
    """What a batch came to."""

    outcomes: list[Outcome] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  # per stage
    unsteady: dict[str, str] = field(default_factory=dict)  # clip_id -> what changed meanwhile

    def add(self, other: BatchReport) -> None:
        """Count another report in."""
        self.outcomes += other.outcomes
        self.unsteady |= other.unsteady
        for stage, seconds in other.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


class Pipeline:
    """The stages of one build with its store; one in the parent to plan, one in each worker.

    `run` may be called from several threads, where it is only models that are asked; everything
    else is done under ``lock``, which whoever uses the store beside it must hold.
    """

    def __init__(self, stages: Sequence[BatchStage], out: Path, *, retry: bool = False) -> None:
        self.stages = tuple(stages)
        self.store = Store(out / "annotations", {s.name: s.schema for s in self.stages})
        self.identities: dict[str, Identity] = {s.name: s.identity() for s in self.stages}
        self.marks = {
            s.name: [self.identities[s.name].fingerprint(), digest(s.schema.to_string())]
            for s in self.stages
        }
        self.holding: Holding = unwatched  # an engine puts its own here
        self.asking: Asking = no_door  # likewise
        self.lock = threading.RLock()
        self._retry = retry
        self._warm: set[str] = set()

    def plan(self, clip: Clip) -> State:
        """What the store holds for this clip, and what is to do: also failures to try again."""
        return self._state(clip, settled=False)

    def settled(self, clip: Clip) -> State:
        """What the store holds for this clip, failures included: how the clip ended so far."""
        return self._state(clip, settled=True)

    def _state(self, clip: Clip, *, settled: bool) -> State:
        state = State(clip)
        for stage in self.stages:
            gate = state.entries.get(GATE)
            if gate is not None and gate.status != Status.OK:
                break
            entry = None
            if not set(stage.needs) & set(state.pending):
                marks = {name: _mark(state.entries[name]) for name in stage.needs}
                entry = self.store.find(stage.name, self._key(stage, clip, marks))
            if entry is None or (not settled and self._again(entry)):
                state.pending.append(stage.name)
            else:
                state.entries[stage.name] = entry
        return state

    def run(self, states: Sequence[State], stages: Collection[str] | None = None) -> BatchReport:
        """Bring a batch of clips to its end, stage by stage; rows are safe after each stage.

        ``stages`` limits it to these; others that are pending stay so.
        """
        report = BatchReport()
        batch = [_Open(state) for state in states]
        for stage in self.stages:
            if stages is not None and stage.name not in stages:
                continue
            todo = [item for item in batch if stage.name in item.state.pending and not item.closed]
            if todo:
                started = time.perf_counter()
                self._run_stage(stage, todo, report)
                report.seconds[stage.name] = time.perf_counter() - started
        return report

    def rest_of(self, state: State, later: Collection[str]) -> State | None:
        """What these stages have to do for a clip once all before them had their turn.

        None where that is nothing: one of those has no row, or its row closes the clip.
        """
        entries = self.settled(state.clip).entries
        gate = entries.get(GATE)
        if gate is None or gate.status != Status.OK:
            return None
        before = {stage.name for stage in self.stages} - set(later)
        pending = [name for name in state.pending if name in later]
        if not pending or not before <= entries.keys():
            return None
        known = {name: entry for name, entry in entries.items() if name not in pending}
        return State(state.clip, known, pending)

    def give_up(self, state: State, why: NotOk) -> Outcome:
        """Let the first pending stage end like this, so that the later ones can run."""
        stage = next(stage for stage in self.stages if stage.name in state.pending)
        row = not_ok_row(why)
        marks = {name: _mark(state.entries[name]) for name in stage.needs}
        key = self._key(stage, state.clip, marks)
        return _outcome(stage, self._write(stage, [(state.clip, key, row)])[0])

    def close(self) -> None:
        """Stop whatever the stages have started."""
        for stage in self.stages:
            if stage.name in self._warm:
                stage.close()
        self._warm.clear()

    def rows(
        self, states: Iterable[State], columns: Mapping[str, Sequence[str]]
    ) -> list[dict[str, Row]]:
        """For each clip its rows by stage, of the stages and columns that are asked for."""
        listed = list(states)
        found: list[dict[str, Row]] = [{} for _ in listed]
        for name, wanted in columns.items():
            having = [number for number, state in enumerate(listed) if name in state.entries]
            entries = [listed[number].entries[name] for number in having]
            for number, row in zip(having, self.store.read(name, entries, wanted), strict=True):
                found[number][name] = row
        return found

    def _run_stage(self, stage: BatchStage, todo: list[_Open], report: BatchReport) -> None:
        with self.lock:
            seen = self._seen(stage, todo)
            works = [Work(item.state.clip, rows) for item, rows in zip(todo, seen, strict=True)]
            keys = [self._key_of(stage, item) for item in todo]
        rows = self._annotate(stage, works)
        with self.lock:
            self._keep(stage, todo, keys, rows, report)

    def _keep(
        self,
        stage: BatchStage,
        todo: list[_Open],
        keys: list[str],
        rows: list[Row],
        report: BatchReport,
    ) -> None:
        """Write the rows of all clips that are still what their rows were made from."""
        steady = []
        for item, key, row in zip(todo, keys, rows, strict=True):
            changed = self._what_changed(stage, item, key)
            if changed is None:
                steady.append((item, key, row))
            else:  # whose row is this? The next run knows.
                item.closed = True
                report.unsteady[item.state.clip.clip_id] = f"{changed} while {stage.name} read it"
        written = self._write(stage, [(item.state.clip, key, row) for item, key, row in steady])
        for (item, _, _), row in zip(steady, written, strict=True):
            item.rows[stage.name] = row
            item.closed = stage.name == GATE and row["status"] != Status.OK
            report.outcomes.append(_outcome(stage, row))

    def _write(self, stage: BatchStage, finished: Sequence[tuple[Clip, str, Row]]) -> list[Row]:
        """Put finished rows into the store under their keys; gives them as they read back."""
        for clip, key, row in finished:
            row["row_hash"] = digest(row)  # what was found, whatever the clip is called
            row["clip_id"], row["sha256"], row["input_key"] = clip.clip_id, clip.sha256, key
        return self.store.write(stage.name, [row for _, _, row in finished]) if finished else []

    def _key_of(self, stage: BatchStage, item: _Open) -> str:
        marks = {
            name: _mark_of_row(item.rows[name])
            if name in item.rows
            else _mark(item.state.entries[name])
            for name in stage.needs
        }
        return self._key(stage, item.state.clip, marks)

    def _what_changed(self, stage: BatchStage, item: _Open, key: str) -> str | None:
        """Whether a row that was just made is that of the bytes and facts in its key."""
        changed = how_changed(item.state.clip)
        if changed is None and self._key_of(stage, item) != key:
            return "a file beside it changed"
        return changed

    def _annotate(self, stage: BatchStage, works: list[Work]) -> list[Row]:
        """The stage's rows; should the stage itself break, one failed row per clip."""
        if isinstance(stage, CallStage):
            return self.asking(stage, works)
        try:
            if stage.name not in self._warm:
                stage.setup()
                self._warm.add(stage.name)
        except (Exception, SystemExit) as error:
            return [not_ok_row(fault(error)) for _ in works]
        rows: list[Row] = []
        for start in range(0, len(works), stage.at_once):
            rows += self._annotate_at_once(stage, works[start : start + stage.at_once])
        return rows

    def _annotate_at_once(self, stage: BatchStage, works: list[Work]) -> list[Row]:
        try:
            with self.holding(stage.name, [work.clip for work in works]):
                rows = stage.annotate(works)
            if len(rows) != len(works):
                raise ValueError(f"stage {stage.name} gave {len(rows)} rows for {len(works)} clips")
        except (Exception, SystemExit) as error:  # some libraries end the process for a bad file
            rows = [not_ok_row(fault(error)) for _ in works]
        return rows

    def _seen(self, stage: BatchStage, todo: list[_Open]) -> list[dict[str, Row]]:
        """For each clip the rows that the stage needs, with the columns that it reads of them."""
        seen: list[dict[str, Row]] = [{} for _ in todo]
        for name in stage.needs:
            some = (*HEAD, *stage.reads[name]) if name in stage.reads else None
            missing = [item.state.entries[name] for item in todo if name not in item.rows]
            stored = iter(self.store.read(name, missing, some))
            for item, rows in zip(todo, seen, strict=True):
                if name not in item.rows:
                    rows[name] = next(stored)
                    if some is None:
                        item.rows[name] = rows[name]
                else:
                    row = item.rows[name]
                    rows[name] = row if some is None else {column: row[column] for column in some}
        return seen

    def _key(self, stage: BatchStage, clip: Clip, needs: Mapping[str, list[str]]) -> str:
        return digest([clip.sha256, self.marks[stage.name], stage.facts(clip), needs])

    def _again(self, entry: Entry) -> bool:
        """Whether a failure is to be tried again: those that pass with time always are."""
        if entry.status != Status.FAILED:
            return False
        return self._retry or entry.reason in PASSES_WITH_TIME


def open_pipeline(settings: Settings, out: Path) -> Pipeline:
    """The pipeline of a build, as each worker opens it; here, so that a worker loads no more."""
    return Pipeline(build_stages(settings), out)


@dataclass
class _Open:
    """A clip in a running batch, with the rows that are in memory."""

    state: State
    rows: dict[str, Row] = field(default_factory=dict)
    closed: bool = False  # no further stage in this run


def _outcome(stage: BatchStage, row: Row) -> Outcome:
    return Outcome(row["clip_id"], stage.name, row["status"], row["reason"])


def _mark(entry: Entry) -> list[str]:
    return [entry.input_key, entry.row_hash]


def _mark_of_row(row: Row) -> list[str]:
    return [row["input_key"], row["row_hash"]]
