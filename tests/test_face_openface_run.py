"""OpenFace run by us: each quirk that the real one has, shown by a program that has it too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fake_openface as fake
import pytest
from fake_openface import calls_of, docker_calls, write_fake, write_fake_docker
from made_clips import write_clip
from made_faces import make_probe, times
from test_face_openface import made_csv, made_row, trace
from test_face_process import is_alive

from merr_pipeline.build import open_build
from merr_pipeline.doctor import check_ready, examine
from merr_pipeline.face.stage import FaceStage
from merr_pipeline.request import Request
from merr_pipeline.schema import PASSES_WITH_TIME, Clip, ClipId, MerrError
from merr_pipeline.settings import load_settings, with_places
from merr_pipeline.stage import Work

FRAMES = 10
RESULT = made_csv([made_row(n, AU12=n / 10) for n in range(1, FRAMES + 1)])


@pytest.fixture(autouse=True)
def private(tmp_path, monkeypatch):
    """A folder for temporary things that tests can look into, and a PATH without OpenFace."""
    folder = tmp_path / "private"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return folder


def settings_for(*overrides: str):
    return load_settings("openface", [f"face.openface.{item}" for item in overrides], {})


def make_clip(path: Path, sha256: str = "0" * 64) -> Clip:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"a clip")
    return Clip(ClipId(path.stem), path, path.name, sha256)


@pytest.fixture
def annotate(tmp_path):
    """The face row of a clip of ten frames, by the program given."""

    def run(program, *overrides, clip=None, frames=FRAMES, timeout_s=20.0):
        tree = settings_for(f"binary={program}", *overrides)
        face = tree.face.model_copy(update={"timeout_s": timeout_s})
        stage = FaceStage(tree.model_copy(update={"face": face}))
        clip = clip or make_clip(tmp_path / "clip.mp4")
        return stage.annotate([Work(clip, {"probe": make_probe(times(frames))})])[0]

    return run


@pytest.fixture
def program(tmp_path):
    return write_fake(tmp_path / "openface", RESULT)


# --- a run that goes well ----------------------------------------------------------------------


def test_a_clip_without_a_csv_is_run_through_openface(annotate, program):
    row = annotate(program)

    assert (row["status"], row["au_scale"]) == ("ok", "intensity_0_5")
    assert row["tracks"][0]["frame_index"] == list(range(FRAMES))
    assert trace(row["tracks"][0], "AU12") == [n / 10 for n in range(1, FRAMES + 1)]
    assert row["tool_version"].startswith("FeatureExtraction sha256:")


def test_it_gets_one_clip_by_its_whole_path_only_the_outputs_we_read_and_no_input(
    annotate, program, tmp_path, private
):
    annotate(program)
    (call,) = calls_of(program)

    assert call["words"][:2] == ["-f", str(tmp_path / "clip.mp4")]
    assert call["words"][4:] == ["-of", "clip", "-aus", "-pose", "-gaze", "-2Dfp"]
    out = Path(call["words"][3])
    assert call["words"][2] == "-out_dir"
    assert out.is_absolute()
    assert private in out.parents
    assert private in Path(call["folder"]).parents  # and what it writes to ./processed is there
    assert call["input"] == ""


def test_nothing_is_left_behind(annotate, tmp_path, private):
    for behaviour in ("run()", fake.WRITES_ELSEWHERE, fake.NO_FRAME_DECODES):
        annotate(write_fake(tmp_path / "openface", RESULT, behaviour))
    assert list(private.iterdir()) == []
    assert not Path("processed").exists()


@pytest.mark.parametrize("name", ["two words.mp4", "тест 笑.mp4", "-f.mp4", "it's %03d!.mp4", "x"])
def test_a_clip_may_have_any_name(annotate, program, tmp_path, name):
    clip = make_clip(tmp_path / "a folder" / name)
    assert annotate(program, clip=clip)["status"] == "ok"
    assert calls_of(program)[0]["words"][1] == str(clip.path)


def test_what_it_prints_does_not_matter(annotate, tmp_path):
    program = write_fake(tmp_path / "openface", RESULT, fake.GARBAGE + "run()")
    assert annotate(program)["status"] == "ok"


def test_a_clip_without_a_face_is_skipped_whatever_its_failed_rows_hold(annotate, tmp_path):
    rows = [made_row(n, success=0, confidence=0.02, AU12=0.7) for n in range(1, FRAMES + 1)]
    row = annotate(write_fake(tmp_path / "openface", made_csv(rows)))

    assert (row["status"], row["reason"]) == ("skipped", "no_face")
    assert row["tool_version"].startswith("FeatureExtraction sha256:")


def test_a_fit_that_is_called_good_with_little_confidence_is_not_seen(annotate, tmp_path):
    rows = [made_row(n, confidence=0.22 if n == 1 else 0.98) for n in range(1, FRAMES + 1)]
    row = annotate(write_fake(tmp_path / "openface", made_csv(rows)))
    assert row["tracks"][0]["frame_index"] == list(range(1, FRAMES))


# --- a run that does not -----------------------------------------------------------------------

FAILURES = {
    "cannot_open": (fake.CANNOT_OPEN, "tool_output_invalid", "could not open the clip"),
    "silent": ("", "tool_output_invalid", "as if all were well, without a CSV"),
    "landmark_model": (fake.NO_LANDMARK_MODEL, "tool_missing", "landmark model"),
    "unit_models": (fake.NO_UNIT_MODELS, "tool_missing", "no Action Unit models"),
    "folder": (fake.CANNOT_MAKE_FOLDER, "tool_crashed", "by SIGABRT: what():  boost::filesystem"),
    "abort_134": ("sys.exit(134)", "tool_crashed", "ended by SIGABRT: it said nothing"),
    "no_frame": (fake.NO_FRAME_DECODES, "tool_crashed", "by SIGSEGV after it had closed the clip"),
    "killed": (fake.KILLED_IN_MID_CLIP, "tool_crashed", "by SIGKILL, from outside"),
    "killed_137": ("start(); sys.exit(137)", "tool_crashed", "by SIGKILL, from outside"),
    "stopped_143": ("start(); sys.exit(143)", "tool_crashed", "by SIGTERM, from outside"),
    "exit_3": ("say('no', 'luck'); sys.exit(3)", "tool_crashed", "with exit code 3: luck"),
    "exit_255": ("say('luck'); sys.exit(255)", "tool_crashed", "with exit code 255: luck"),
    "garbage": (fake.GARBAGE + "sys.exit(3)", "tool_crashed", 'with exit code 3: !"#$%'),
    "raw": (fake.WRITES_RAW_ROWS, "tool_output_invalid", "intensities from -0.31"),
    "not_closed": (fake.NEVER_CLOSES, "tool_output_invalid", "never said 'Closed successfully'"),
    "half": (fake.HALF, "tool_output_invalid", "5 rows up to frame 4 for 10 frames: OpenFace read"),
    "header": (fake.HEADER_ONLY, "tool_output_invalid", "no rows"),
    "empty": ("start(); write(''); close()", "tool_output_invalid", "is cut short"),
    "cut": (fake.LAST_ROW_CUT, "tool_output_invalid", "last row of OpenFace's CSV is cut short"),
    "line_open": (fake.LAST_LINE_OPEN, "tool_output_invalid", "is cut short"),
    "unit": (fake.NO_SMILE, "tool_output_invalid", "no intensities of AU12"),
    "elsewhere": (fake.WRITES_ELSEWHERE, "tool_output_invalid", "without a CSV"),
    "memory": (fake.EATS_MEMORY, "out_of_memory", "see engine.memory_limit_mb"),
}


@pytest.mark.parametrize(("behaviour", "reason", "detail"), FAILURES.values(), ids=FAILURES.keys())
def test_each_way_of_failing_has_its_reason_and_says_what_happened(
    annotate, tmp_path, behaviour, reason, detail
):
    kept = tmp_path / "kept"
    program = write_fake(tmp_path / "openface", RESULT, behaviour)
    row = annotate(program, f"keep_dir={kept}")

    assert (row["status"], row["reason"]) == ("failed", reason)
    assert detail in row["detail"]
    assert str(tmp_path) not in row["detail"]
    assert row["detail"].isprintable()
    assert len(calls_of(program)) == 1
    assert not kept.exists()


def test_a_run_that_hangs_is_ended_with_all_that_it_started(annotate, tmp_path, private):
    program = write_fake(tmp_path / "openface", RESULT, fake.HANGS)
    row = annotate(program, timeout_s=1.0)

    assert (row["reason"], row["detail"]) == ("tool_timeout", "OpenFace took longer than 1 s")
    assert not is_alive(calls_of(program)[0]["pid"])
    assert gone(int(program.with_name("inner").read_text()))
    assert list(private.iterdir()) == []


def test_a_run_that_eats_all_its_time_is_ended(annotate, tmp_path):
    program = write_fake(tmp_path / "openface", RESULT, fake.BURNS_TIME)
    assert annotate(program, timeout_s=0.5)["reason"] == "tool_timeout"
    assert not is_alive(calls_of(program)[0]["pid"])


def test_a_program_that_cannot_start_is_missing_and_the_next_run_tries_again(annotate, tmp_path):
    program = tmp_path / "FeatureExtraction"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    row = annotate(program)

    assert (row["status"], row["reason"]) == ("failed", "tool_missing")
    assert "cannot be started" in row["detail"]
    assert row["reason"] in PASSES_WITH_TIME


def test_a_clip_that_is_gone_or_may_not_be_read_never_reaches_openface(
    program, tmp_path, monkeypatch
):
    stage = FaceStage(settings_for(f"binary={program}"))
    stage.identity()
    work = Work(make_clip(tmp_path / "clip.mp4"), {"probe": make_probe(times(FRAMES))})
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    assert stage.annotate([work])[0]["reason"] == "unreadable"
    work.clip.path.unlink()
    assert stage.annotate([work])[0]["reason"] == "not_found"
    assert calls_of(program) == []


def gone(pid: int, limit_s: float = 5.0) -> bool:
    """Whether a process ends soon."""
    end = time.monotonic() + limit_s
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not is_alive(pid)


WORKER = """
import sys
from pathlib import Path
from merr_pipeline.face.tools.openface_program import find_program
from merr_pipeline.face.tools.openface_run import run_openface
from merr_pipeline.settings import load_settings
settings = load_settings("openface", sys.argv[2:], {}).face.openface
run_openface(find_program(settings), Path(sys.argv[1]), 60)
"""


@pytest.mark.parametrize("by", ["binary", "docker"])
def test_a_run_ends_with_the_worker_that_started_it(tmp_path, private, monkeypatch, by):
    program = write_fake(tmp_path / "image" / "bin", RESULT, fake.HANGS)
    write_fake_docker(tmp_path / "image")
    monkeypatch.setenv("PATH", f"{tmp_path / 'image'}:/usr/bin:/bin")
    monkeypatch.setenv("TMPDIR", str(private))
    override = f"face.openface.binary={program}"
    if by == "docker":
        override = "face.openface.docker_image=openface:test"
    clip = make_clip(tmp_path / "clip.mp4")
    command = [sys.executable, "-c", WORKER, str(clip.path), override]
    worker = subprocess.Popen([*command, "face.openface.docker_program=/bin/FeatureExtraction"])
    inner = program.with_name("inner")
    end = time.monotonic() + 30
    while not (inner.exists() and inner.read_text()) and time.monotonic() < end:
        time.sleep(0.05)
    worker.send_signal(signal.SIGKILL)
    worker.wait()

    assert gone(calls_of(program)[0]["pid"])
    wait_until(lambda: not list(private.iterdir()))
    if by == "binary":
        assert gone(int(inner.read_text()))
    else:
        os.kill(int(inner.read_text()), signal.SIGKILL)  # a real container takes it along
        assert docker_calls(tmp_path / "image")[-1][:2] == ["rm", "--force"]


def wait_until(holds, limit_s: float = 5.0) -> None:
    end = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


# --- never twice -------------------------------------------------------------------------------


def test_openface_never_sees_a_clip_twice_whatever_else_changes(annotate, program, tmp_path):
    keep = f"keep_dir={tmp_path / 'kept'}"
    first = annotate(program, keep)
    again = annotate(program, keep, "min_confidence=0.5")

    assert len(calls_of(program)) == 1
    assert again["tracks"] == first["tracks"]
    assert again["tool_version"] == first["tool_version"]


def test_other_bytes_or_another_openface_are_another_run(annotate, program, tmp_path):
    keep = f"keep_dir={tmp_path / 'kept'}"
    annotate(program, keep)
    annotate(program, keep, clip=make_clip(tmp_path / "clip.mp4", "1" * 64))
    assert len(calls_of(program)) == 2
    program.write_text(program.read_text() + "# mended\n")
    annotate(program, keep)
    assert len(calls_of(program)) == 3


def test_what_was_kept_and_is_damaged_is_made_again(annotate, program, tmp_path):
    kept = tmp_path / "kept"
    first = annotate(program, f"keep_dir={kept}")
    (file,) = kept.iterdir()
    whole = file.read_bytes()
    for damaged in (whole[:40], b"", b"no gzip", whole[:-4] + b"\0\0\0\0"):
        file.write_bytes(damaged)
        assert annotate(program, f"keep_dir={kept}") == first
        assert file.read_bytes() == whole
    assert len(calls_of(program)) == 5


def test_a_build_keeps_them_in_its_output_folder(tmp_path, program):
    (tmp_path / "clips").mkdir()
    assert settings_for().face.openface.keep_dir is None
    assert with_places(settings_for("keep_dir=k"), tmp_path).face.openface.keep_dir == Path("k")
    write_clip(tmp_path / "clips" / "clip.mp4", {0: 50, 40: 60})
    overrides = (f"face.openface.binary={program}",)
    asked = Request(tmp_path / "clips", tmp_path / "out", profile="openface", overrides=overrides)
    with open_build(asked) as build:
        kept = build.settings.face.openface.keep_dir
    assert kept == tmp_path / "out" / "cache" / "openface"


# --- which OpenFace ----------------------------------------------------------------------------


def test_a_csv_already_made_goes_before_openface(annotate, program, tmp_path):
    (tmp_path / "csv").mkdir()
    made = made_csv([made_row(n, AU12=3.0) for n in range(1, FRAMES + 1)])
    (tmp_path / "csv" / "clip.csv").write_text(made)
    row = annotate(program, f"csv_dir={tmp_path / 'csv'}")

    assert trace(row["tracks"][0], "AU12") == [3.0] * FRAMES
    assert row["tool_version"] is None
    assert calls_of(program) == []
    other = annotate(program, f"csv_dir={tmp_path / 'csv'}", clip=make_clip(tmp_path / "b.mp4"))
    assert other["tool_version"] is not None


def test_it_is_found_on_path_and_run_where_its_models_lie(annotate, program, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "FeatureExtraction").symlink_to(program)
    (tmp_path / "bin" / "of2").symlink_to(program)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert annotate("null")["status"] == "ok"
    assert annotate("of2")["status"] == "ok"
    assert len(calls_of(program)) == 2


def test_without_any_openface_the_row_says_what_to_do(annotate, tmp_path):
    row = annotate("null")
    assert (row["reason"], row["detail"]) == (
        "tool_missing",
        "no OpenFace is at hand; `merr doctor` says how to get one",
    )
    (tmp_path / "csv").mkdir()
    assert annotate("null", f"csv_dir={tmp_path / 'csv'}")["reason"] == "no_openface_csv"


def test_the_fingerprint_tells_the_program_and_its_models_and_not_their_place(tmp_path):
    def fingerprint(folder, *overrides):
        program = write_fake(tmp_path / folder, RESULT)
        return FaceStage(settings_for(f"binary={program}", *overrides)).identity().fingerprint()

    first = fingerprint("a")
    assert fingerprint("b", "keep_dir=k") == first
    (tmp_path / "b" / "model").mkdir()
    (tmp_path / "b" / "model" / "main_clnf_general.txt").write_text("a model")
    with_model = fingerprint("b")
    assert with_model != first
    (tmp_path / "b" / "model" / "main_clnf_general.txt").write_text("another one")
    assert fingerprint("b") != with_model
    program = write_fake(tmp_path / "c", RESULT, "run()  # built otherwise")
    assert FaceStage(settings_for(f"binary={program}")).identity().fingerprint() != first


def test_beside_csvs_an_openface_counts_only_for_clips_that_have_none(program, tmp_path):
    (tmp_path / "clip.csv").write_text(RESULT)
    having, lacking = make_clip(tmp_path / "clip.mp4"), make_clip(tmp_path / "other.mp4")
    without = FaceStage(settings_for(f"csv_dir={tmp_path}"))
    beside = FaceStage(settings_for(f"csv_dir={tmp_path}", f"binary={program}"))

    assert beside.identity() == without.identity()
    assert beside.facts(having) == without.facts(having)
    assert beside.facts(lacking) != without.facts(lacking)


# --- docker ------------------------------------------------------------------------------------


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """A folder that stands for docker, with one image that holds OpenFace."""
    folder = tmp_path / "docker, here"
    write_fake_docker(folder)
    write_fake(folder / "of" / "bin", RESULT)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


IMAGE = ("docker_image=openface:test", "docker_program=/of/bin/FeatureExtraction")


def test_without_a_binary_openface_runs_in_its_image_and_sees_one_clip_and_no_network(
    annotate, docker, tmp_path, monkeypatch
):
    clip = make_clip(tmp_path / 'a "folder", of clips' / "тест 笑.mp4")
    monkeypatch.setattr("resource.getrlimit", lambda kind: (700, 700))
    row = annotate("null", *IMAGE, clip=clip)
    (inspect, run) = docker_calls(docker)

    assert row["status"] == "ok"
    assert row["tool_version"] == "openface:test sha256:abababababababab"
    assert inspect == ["image", "inspect", "--format", "{{.Id}}", "openface:test"]
    assert run[:5] == ["run", "--rm", "--pull", "never", "--name"]
    options = run[: run.index("openface:test")]
    assert after("--network", options) == ["none"]
    assert after("--memory", options) == ["700"]
    assert after("--user", options) == [f"{os.getuid()}:{os.getgid()}"]
    assert after("--entrypoint", options) == ["/of/bin/FeatureExtraction"]
    assert after("--workdir", options) == ["/of/bin"]
    assert after("--env", options) == ["OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1"]
    clip_mount, out_mount = after("--mount", options)
    assert clip_mount.endswith(",target=/clip/clip.mp4,readonly")
    assert out_mount.endswith(",target=/out")
    words = run[run.index("openface:test") + 1 :]
    assert words[:6] == ["-f", "/clip/clip.mp4", "-out_dir", "/out", "-of", "clip"]


def after(flag: str, words: list[str]) -> list[str]:
    return [words[i + 1] for i, word in enumerate(words) if word == flag]


def test_a_binary_goes_before_the_image(annotate, program, docker):
    annotate(program, *IMAGE)
    assert len(calls_of(program)) == 1


def test_a_container_that_hangs_is_removed_by_its_name(annotate, docker):
    program = write_fake(docker / "of" / "bin", RESULT, fake.HANGS)
    row = annotate("null", *IMAGE, timeout_s=1.5)
    name = after("--name", docker_calls(docker)[1])

    assert row["reason"] == "tool_timeout"
    assert docker_calls(docker)[-1] == ["rm", "--force", *name]
    assert gone(calls_of(program)[0]["pid"])
    os.kill(int(program.with_name("inner").read_text()), signal.SIGKILL)


def test_a_container_that_docker_kills_for_memory_says_so(annotate, docker):
    write_fake(docker / "of" / "bin", RESULT, "sys.exit(137)")
    row = annotate("null", *IMAGE)
    assert (row["reason"], "too little memory" in row["detail"]) == ("tool_crashed", True)
    assert docker_calls(docker)[-1][0] == "run"  # it has gone by itself: --rm removes it


def test_docker_that_does_not_answer_is_no_openface(annotate, docker):
    write_fake_docker(docker, answers=False)
    assert annotate("null", *IMAGE)["reason"] == "tool_missing"


def test_docker_that_goes_away_meanwhile_is_missing_too(docker, tmp_path):
    stage = FaceStage(settings_for(*IMAGE))
    stage.identity()
    write_fake_docker(docker, answers=False)
    work = Work(make_clip(tmp_path / "clip.mp4"), {"probe": make_probe(times(FRAMES))})
    (row,) = stage.annotate([work])
    assert row["reason"] == "tool_missing"
    assert "Cannot connect to the Docker daemon" in row["detail"]


def test_another_image_is_another_openface(docker):
    fingerprint = FaceStage(settings_for(*IMAGE)).identity().fingerprint()
    script = (docker / "docker").read_text()
    (docker / "docker").write_text(script.replace('"ab" * 32', '"cd" * 32'))
    assert FaceStage(settings_for(*IMAGE)).identity().fingerprint() != fingerprint


# --- doctor ------------------------------------------------------------------------------------


def openface_need(*overrides: str):
    (need,) = [n for n in examine(settings_for(*overrides)) if n.what == "face tool openface"]
    return need


@pytest.fixture(autouse=True)
def nothing_else(monkeypatch):
    """To ask whether other tools are installed takes seconds, and is not asked here."""
    monkeypatch.setattr("merr_pipeline.doctor.installed_version", lambda name: None)


def test_doctor_finds_each_of_the_three_and_says_which(program, docker, tmp_path):
    (tmp_path / "csv" / "b").mkdir(parents=True)
    for name in ("a.csv", "b/c.csv"):
        (tmp_path / "csv" / name).write_text(RESULT)
    csvs = f"csv_dir={tmp_path / 'csv'}"

    assert openface_need(csvs).found == "2 CSVs already made"
    binary = openface_need(f"binary={program}").found
    assert binary.startswith(f"FeatureExtraction at {program} (FeatureExtraction sha256:")
    image = "docker image openface:test (openface:test sha256:abababababababab)"
    assert openface_need(*IMAGE).found == image
    assert openface_need(csvs, f"binary={program}", *IMAGE).found == (
        f"2 CSVs already made; {binary}; {image}"
    )


def test_a_build_is_refused_only_when_none_is_there_and_then_told_how_to_get_one(program):
    with pytest.raises(MerrError, match="face tool openface is missing") as refused:
        check_ready(settings_for())
    for way in ("face.openface.csv_dir=FOLDER", "on PATH", "binary=", "docker_image=algebr/openf"):
        assert way in str(refused.value)
    check_ready(settings_for(f"binary={program}"))


@pytest.mark.parametrize("slip", ["csv_dir=nowhere", "binary=nowhere"])
def test_a_place_that_is_named_and_not_there_is_told_whatever_else_is(docker, slip):
    need = openface_need(slip, *IMAGE)
    assert need.found is None
    assert need.get.startswith(f"face.openface.{slip.replace('=', ': ')} is not a")
