import os
from dataclasses import replace

import pyarrow as pa
import pytest
from toy_stages import Joined, Length, Words, toy_opener, toy_pipeline

from merr_pipeline.cli import guarded
from merr_pipeline.clips.manifest import read_inputs
from merr_pipeline.engine.local import LocalEngine
from merr_pipeline.pipeline import build_stages
from merr_pipeline.schema import ROW_HEAD, STAGE_SCHEMAS, MerrError
from merr_pipeline.settings import load_settings

ALL = ["probe", "transcript", "fine"]


@pytest.fixture
def clips(tmp_path):
    """Makes clips from the text that is to be in their files, with a transcript of two words."""

    def make(*contents: str):
        folder = tmp_path / "clips"
        folder.mkdir(exist_ok=True)
        for content in contents:
            (folder / f"{content}.mp4").write_text(content)
        found = {clip.clip_id: clip for clip in read_inputs(folder).clips}
        return [replace(found[content], transcript="two words") for content in contents]

    return make


def run(out, clips, **arguments):
    """Plan, run and give back what was made: clip -> stages, and the pipeline as it is then."""
    pipeline = toy_pipeline(out, **arguments)
    report = pipeline.run([state for clip in clips if (state := pipeline.plan(clip)).pending])
    made: dict[str, list[str]] = {}
    for outcome in report.outcomes:
        made.setdefault(outcome.clip_id, []).append(outcome.stage)
    return made, toy_pipeline(out, **arguments)


def rows_of(pipeline, clip):
    columns = {stage.name: stage.schema.names for stage in pipeline.stages}
    return pipeline.rows([pipeline.settled(clip)], columns)[0]


def reasons(pipeline, clip):
    return {stage: row["reason"] for stage, row in rows_of(pipeline, clip).items()}


def test_rows_are_made_once_and_found_again(tmp_path, clips):
    both = clips("a", "bb")

    made, pipeline = run(tmp_path / "out", both)
    again, _ = run(tmp_path / "out", both)

    assert made == {"a": ALL, "bb": ALL}
    assert again == {}
    assert rows_of(pipeline, both[1])["fine"]["text"] == "2 bytes, 2 words"


def test_a_changed_fact_remakes_the_stage_that_reads_it_and_what_builds_on_it(tmp_path, clips):
    a, b = clips("a", "bb")
    run(tmp_path / "out", [a, b])

    made, pipeline = run(tmp_path / "out", [replace(a, transcript="now three words"), b])

    assert made == {"a": ["transcript", "fine"]}
    assert rows_of(pipeline, replace(a, transcript="now three words"))["fine"]["text"] == (
        "1 bytes, 3 words"
    )


def test_a_fact_that_no_stage_reads_remakes_nothing(tmp_path, clips):
    (a,) = clips("a")
    run(tmp_path / "out", [a])

    made, _ = run(tmp_path / "out", [replace(a, licence="CC0", split="test")])

    assert made == {}


def test_a_new_version_of_a_stage_remakes_it_and_what_builds_on_it(tmp_path, clips):
    (a,) = clips("a")
    run(tmp_path / "out", [a])

    made, _ = run(tmp_path / "out", [a], words_version=2)
    back, _ = run(tmp_path / "out", [a], words_version=1)

    assert made == {"a": ["transcript", "fine"]}
    assert back == {}  # the old rows are still there


def test_a_renamed_file_keeps_its_rows(tmp_path, clips):
    (a,) = clips("a")
    run(tmp_path / "out", [a])
    moved = a.path.rename(a.path.with_name("moved.mp4"))

    made, pipeline = run(tmp_path / "out", [replace(a, clip_id="moved", path=moved)])

    assert made == {}
    assert rows_of(pipeline, replace(a, clip_id="moved"))["probe"]["length"] == 1


def test_a_closed_gate_ends_the_clip_with_its_reason(tmp_path, clips):
    empty, good = clips("empty", "good")

    made, pipeline = run(tmp_path / "out", [empty, good])

    assert made == {"empty": ["probe"], "good": ALL}
    assert reasons(pipeline, empty) == {"probe": "empty_file"}
    assert pipeline.plan(empty).pending == []


def test_a_fault_of_ours_costs_one_clip_and_says_where_it_is(tmp_path, clips):
    bad, good = clips("raise", "good")

    _, pipeline = run(tmp_path / "out", [bad, good])

    row = rows_of(pipeline, bad)["transcript"]
    assert (row["status"], row["reason"]) == ("failed", "stage_error")
    assert row["detail"].startswith("ZeroDivisionError: a fault of ours at ")
    assert reasons(pipeline, good) == dict.fromkeys(ALL)
    assert rows_of(pipeline, bad)["fine"]["status"] == "ok"  # the later stages still ran


def test_a_stage_that_would_end_the_process_costs_one_clip(tmp_path, clips):
    bad, good = clips("exit", "good")

    _, pipeline = run(tmp_path / "out", [bad, good])

    row = rows_of(pipeline, bad)["probe"]
    assert (row["status"], row["reason"]) == ("failed", "stage_error")
    assert row["detail"].startswith("SystemExit: 0 at ")
    assert reasons(pipeline, good) == dict.fromkeys(ALL)


def test_an_exit_that_is_not_ours_is_no_success(capsys):
    def leave():
        raise SystemExit(0)

    assert guarded(leave) == 2
    assert "stopped by exit(0)" in capsys.readouterr().err


def test_a_failure_that_passes_with_time_is_tried_again_by_itself(tmp_path, clips):
    (once,) = clips("once")

    _, pipeline = run(tmp_path / "out", [once])
    assert reasons(pipeline, once)["transcript"] == "tool_timeout"
    (once.path.parent / "healed").touch()
    made, pipeline = run(tmp_path / "out", [once])

    assert made == {"once": ["transcript", "fine"]}
    assert reasons(pipeline, once) == dict.fromkeys(ALL)
    assert run(tmp_path / "out", [once])[0] == {}


def test_other_failures_wait_for_retry(tmp_path, clips):
    (bad,) = clips("raise")
    run(tmp_path / "out", [bad])

    assert run(tmp_path / "out", [bad])[0] == {}
    assert run(tmp_path / "out", [bad], retry=True)[0] == {"raise": ["transcript", "fine"]}


@pytest.mark.long
def test_workers_leave_the_rows_that_one_process_leaves(tmp_path, clips):
    several = clips("a", "bb", "ccc", "empty", "raise")
    _, alone = run(tmp_path / "alone", several)
    parent = toy_pipeline(tmp_path / "out")

    with LocalEngine(toy_opener(tmp_path / "out"), 2, parent) as engine:
        for clip in several:
            engine.run([parent.plan(clip)])

    parent.store.refresh()
    assert [rows_of(parent, clip) for clip in several] == [rows_of(alone, clip) for clip in several]


@pytest.mark.long
def test_a_clip_that_kills_its_worker_costs_itself_alone(tmp_path, clips):
    before, killer, after = clips("before", "kill", "after")
    parent = toy_pipeline(tmp_path / "out")

    with LocalEngine(toy_opener(tmp_path / "out"), 1, parent) as engine:
        report = engine.run([parent.plan(clip) for clip in (before, killer, after)])

    parent.store.refresh()
    assert reasons(parent, killer) == {"probe": "worker_crashed"}
    for clip in (before, after):
        assert reasons(parent, clip) == dict.fromkeys(ALL)
    assert {(o.clip_id, o.reason) for o in report.outcomes if o.reason} == {
        ("kill", "worker_crashed")
    }
    assert parent.plan(killer).pending == ALL  # the next run tries it again


def test_every_stage_comes_after_what_it_needs_and_has_its_schema():
    stages = build_stages(load_settings(environment={}))

    assert [stage.name for stage in stages] == list(STAGE_SCHEMAS)
    for number, stage in enumerate(stages):
        assert set(stage.needs) <= {earlier.name for earlier in stages[:number]}
        assert stage.schema is STAGE_SCHEMAS[stage.name]


def test_a_fingerprint_changes_with_what_shapes_the_result_and_with_nothing_else(tmp_path):
    def prints(*overrides):
        stages = build_stages(load_settings("embedded", overrides, {}))
        return {stage.name: stage.identity().fingerprint() for stage in stages}

    def changed(*overrides):
        now, then = prints(*overrides), prints()
        return {name for name in now if now[name] != then[name]}

    assert changed("moment.edge_frames=5") == {"moment"}
    assert changed("voice.min_pause_s=0.4") == {"voice"}
    assert changed("probe.cut_ratio=4") == {"probe"}
    assert changed("fine.max_words=100") == {"fine"}
    assert changed("label.min_margin=0.2") == {"label"}
    assert changed("face.facemesh.max_faces=1") == {"face"}
    assert changed("engine.workers=7", "engine.batch_size=3") == set()
    assert changed("face.timeout_s=9", f"face.openface.csv_dir={tmp_path}") == set()


def test_a_worker_that_sees_other_templates_stops_the_build(tmp_path, clips):
    (a,) = clips("a")
    parent = toy_pipeline(tmp_path / "out", words_version=2)  # the workers open version 1

    with (
        LocalEngine(toy_opener(tmp_path / "out"), 1, parent) as engine,
        pytest.raises(MerrError, match="changed while the build ran"),
    ):
        engine.run([parent.plan(a)])


def test_a_sidecar_that_changes_while_it_is_read_leaves_no_row_under_the_new_key(tmp_path, clips):
    (edit,) = clips("edit")

    made, pipeline = run(tmp_path / "out", [edit])

    assert made == {"edit": ["probe"]}
    assert pipeline.plan(edit).pending == ["transcript", "fine"]


CHANGES = {
    "replaced": (lambda clip: clip.with_suffix(".new").replace(clip), "its file changed"),
    "growing": (lambda clip: clip.write_bytes(clip.read_bytes() + b"s"), "its file changed"),
    "gone": (lambda clip: clip.unlink(), "its file went away"),
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("stage", [Length, Words])
@pytest.mark.parametrize("change", CHANGES)
def test_no_row_is_stored_of_a_clip_that_changed_since_it_was_hashed(
    tmp_path, clips, monkeypatch, change, stage, when
):
    first, second = clips("first", "second")
    second.path.with_suffix(".new").write_text("sekond")  # as long; its mtime and inode tell
    harm, what = CHANGES[change]
    real = stage.annotate_one

    def annotate_one(self, work):
        harmed = work.clip.clip_id == "second"
        if harmed and when == "before":
            harm(work.clip.path)
        try:
            return real(self, work)
        finally:
            if harmed and when == "after":
                harm(work.clip.path)

    monkeypatch.setattr(stage, "annotate_one", annotate_one)
    pipeline = toy_pipeline(tmp_path / "out")
    report = pipeline.run([pipeline.plan(clip) for clip in (first, second)])

    pipeline = toy_pipeline(tmp_path / "out")
    pending = ALL[ALL.index(stage.name) :]
    assert report.unsteady == {"second": f"{what} while {stage.name} read it"}
    assert pipeline.settled(second).pending == pending
    assert pipeline.settled(first).pending == []
    assert {o.stage for o in report.outcomes if o.clip_id == "second"} == set(ALL) - set(pending)


def test_a_clip_that_was_only_touched_is_the_same_clip(tmp_path, clips):
    (a,) = clips("a")
    os.utime(a.path, (1, 1))

    assert run(tmp_path / "out", [a])[0] == {"a": ALL}


def test_a_finding_is_not_hidden_by_an_earlier_failure(tmp_path, clips):
    """The hash of the timeout is below that of the finding; it must not win by that."""
    (once,) = clips("once")
    silent = replace(once, transcript=None)
    run(tmp_path / "out", [silent])
    (once.path.parent / "healed").touch()

    made, pipeline = run(tmp_path / "out", [silent])

    assert made == {"once": ["transcript", "fine"]}
    assert reasons(pipeline, silent)["transcript"] == "no_transcript"
    assert run(tmp_path / "out", [silent])[0] == {}


def test_a_changed_schema_of_a_stage_remakes_it(tmp_path, clips, monkeypatch):
    (a,) = clips("a")
    run(tmp_path / "out", [a])

    monkeypatch.setattr(Words, "schema", Words.schema.append(pa.field("more", pa.string())))

    assert run(tmp_path / "out", [a])[0] == {"a": ["transcript", "fine"]}


@pytest.mark.parametrize("stages", [None, ["probe", "transcript"]])
def test_a_stage_gets_the_columns_that_it_reads_from_memory_and_from_the_store(
    tmp_path, clips, monkeypatch, stages
):
    """One run or two: what was just made is cut to the same columns as what was read back."""
    seen = []

    def look(self, work):
        seen.append({name: sorted(row) for name, row in work.seen.items()})
        return {"text": f"{work.seen['probe']['length']} bytes"}

    monkeypatch.setattr(Joined, "reads", {"probe": ("length",), "transcript": ()})
    monkeypatch.setattr(Joined, "annotate_one", look)
    pipeline = toy_pipeline(tmp_path / "out")
    states = [pipeline.plan(clip) for clip in clips("bb")]
    pipeline.run(states, stages)
    made, pipeline = run(tmp_path / "out", clips("bb"))

    head = sorted(column.name for column in ROW_HEAD)
    assert made == ({} if stages is None else {"bb": ["fine"]})
    assert seen == [{"probe": sorted([*head, "length"]), "transcript": head}]
    assert rows_of(pipeline, clips("bb")[0])["fine"]["text"] == "2 bytes"
