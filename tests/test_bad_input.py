"""Every kind of bad input in one real build: what becomes of each, and of all the others."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest
from bad_clips import NAMES, SECRET_WORDS, UNEVEN_MS, faces, fill, write_secret
from builds import rows
from PIL import Image
from small_builds import keys
from unprivileged import modes_are_obeyed, obey_modes

from merr_pipeline.media import read_subtitles

PLAYLIST = "a playlist; give the files that it names"

REFUSED = {
    # id: stage, reason, how the detail begins
    "empty": ("probe", "empty_file", ""),
    "text": ("probe", "not_media", "text, no video"),
    "bad\n\x1b[31mname": ("probe", "not_media", "text, no video"),
    "random": ("probe", "not_media", "no container that is read here"),
    "half_index": ("probe", "not_media", "its index (moov) is missing or cut off"),
    "no_index": ("probe", "not_media", "its index (moov) is missing or cut off"),
    "no_frame": ("probe", "decode_error", "no frame could be decoded, 6 broken packets"),
    "sound_only": ("probe", "no_video", ""),
    "longer": ("probe", "too_long", "600.001 s or more; probe.max_duration_s is 600"),
    "one_pixel": ("probe", "too_small", "1 x 1; probe.min_side_px is 32"),
    "thread": ("probe", "too_small", "4097 x 3; probe.min_side_px is 32"),
    "caf\\udce9": ("manifest", "bad_path", "the name is not UTF-8"),
    "loop": ("manifest", "not_found", "a link at this path leads in a circle"),
    "nowhere": ("manifest", "not_found", "a link at this path leads to nothing"),
    "pipe": ("manifest", "not_media", "there is a pipe at this path"),
    "socket": ("manifest", "not_media", "there is a socket at this path"),
    "locked": ("manifest", "unreadable", "the file cannot be read: Permission denied"),
    "locked_folder": ("manifest", "unreadable", "the folder cannot be read: Permission denied"),
    **{
        f"{trick}_{to}{ending}": ("probe", "not_media", PLAYLIST)
        for trick, ending in (
            *(("hls", ""), ("hls", "_bytes"), ("concat", "")),
            *(("dash", ""), ("sdp", ""), ("smil", "")),
        )
        for to in ("file", "http")
    },
    "reference_file": ("probe", "decode_error", "no frame could be decoded"),
    "reference_http": ("probe", "decode_error", "no frame could be decoded"),
}
"""What ends in ``rejected``."""

NEED_MODES = {"locked", "locked_folder"}
SKIPPED = {"sound_only", "longer", "one_pixel", "thread"}  # these have not failed

WHOLE = {"kind": "video", "width": 400, "height": 448, "frame_count": len(faces()), "fps": 25.0}
STILL = {"kind": "still", "width": 400, "height": 448, "frame_count": 1, "duration_s": 0.0}
TAKEN = {
    "good_1": WHOLE | {"other_paths": ["good_1_copy.mp4"]},
    "good_2": WHOLE | {"transcript": "What a day!", "has_sound": True},
    "good_3": WHOLE,
    "half_media": WHOLE | {"frame_count": 3, "duration_s": 0.12},
    "one_frame": STILL,
    "one_ms": WHOLE | {"frame_count": 2, "duration_s": 0.002, "fps": 1000.0},
    "ten_minutes": WHOLE | {"duration_s": 719.999, "fps": 0.008},
    "uneven": WHOLE | {"fps": 11.905, "duration_s": 0.503},
    "turned": WHOLE,
    "deep": STILL,
    "deep_alpha": STILL,
    "deep_video": WHOLE,
    "alpha_video": WHOLE,
    "odd_sides": WHOLE | {"width": 399, "height": 447},
    "folder.mp4/inner": STILL,
    "pipe_beside": STILL,
    **dict.fromkeys(NAMES, STILL),
}
"""What ends in ``clips``, and what is found of it."""


# --- the build -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Built:
    """The folder of bad clips, what was built of it, and who asked the server."""

    clips: Path
    out: Path
    code: int
    told: str
    errors: str
    asked: tuple[str, ...]
    obeys_modes: bool

    @property
    def summary(self) -> dict:
        return json.loads(max((self.out / "runs").glob("*.json")).read_text("utf-8"))

    def in_subset(self, name: str) -> dict[str, dict]:
        return {row["clip_id"]: row for row in rows(self.out, name)}

    def refused(self) -> dict[str, tuple[str, str, str]]:
        if self.obeys_modes:
            return REFUSED
        return {name: end for name, end in REFUSED.items() if name not in NEED_MODES}


class Server:
    """Serves a folder, and keeps what it was asked for."""

    def __init__(self, folder: Path) -> None:
        asked: list[str] = []

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, *parts: object) -> None:
                asked.append(" ".join(map(str, parts)))

        self.asked = asked
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def merr(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command, as somebody for whom the modes of files hold."""
    command = [sys.executable, "-m", "merr_pipeline.cli", *map(str, arguments)]
    return subprocess.run(
        command, preexec_fn=obey_modes, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("bad")


@pytest.fixture(scope="module")
def secret(folder) -> Path:
    """What the tricks lead to: a clip beside the input folder."""
    return write_secret(folder / "secret.mp4")


@pytest.fixture(scope="module")
def server(folder) -> Iterator[Server]:
    server = Server(folder)
    yield server
    server.close()


@pytest.fixture(scope="module")
def built(folder, secret, server) -> Iterator[Built]:
    clips, out = folder / "clips", folder / "out"
    fill(clips, secret, server.address)
    done = merr("build", clips, "--out", out, "--set", "engine.workers=2")
    asked = tuple(server.asked)
    yield Built(
        clips, out, done.returncode, done.stdout, done.stderr, asked, modes_are_obeyed(folder)
    )
    (clips / "locked_folder").chmod(0o700)  # so that it can be taken away


@pytest.mark.parametrize("name", REFUSED, ids=ascii)
def test_a_bad_input_is_rejected_with_its_reason(built, name):
    if name in NEED_MODES and not built.obeys_modes:
        pytest.skip("modes of files do not hold here")
    stage, reason, detail = REFUSED[name]
    row = built.in_subset("rejected")[name]

    assert (row["stage"], row["reason"]) == (stage, reason)
    assert (row["detail"] or "").startswith(detail)
    assert row["media_path"].startswith(name)


def test_a_bad_input_that_lies_there_twice_is_named_twice(built):
    assert built.in_subset("rejected")["empty"]["other_paths"] == ["empty_too.mp4"]
    assert built.in_subset("rejected")["text"]["other_paths"] == []
    lines = [line for line in built.summary["failures"] if line.startswith("empty:")]
    assert lines[0].endswith("(the same bytes: empty_too.mp4)")


@pytest.mark.parametrize("name", TAKEN, ids=ascii)
def test_a_good_input_comes_through_however_odd_it_is(built, name):
    row = built.in_subset("clips")[name]

    assert {field: row[field] for field in TAKEN[name]} == TAKEN[name]
    assert row["face_coverage"] == 1.0


def test_every_input_ends_once(built):
    summary, copies = built.summary, 2  # of a good one, and of an empty one
    files = [p for p in built.clips.rglob("*.*") if "no_clips" not in p.name and not p.is_dir()]

    assert set(built.in_subset("rejected")) == set(built.refused())
    assert set(built.in_subset("clips")) - NEED_MODES == set(TAKEN)
    assert summary["inputs"] == summary["accepted"] + summary["rejected"] + summary["copies"]
    assert summary["rejected"] == len(built.refused())
    assert (summary["accepted"], summary["copies"]) == (len(built.in_subset("clips")), copies)
    assert len(files) >= summary["inputs"]


def test_the_exit_code_and_the_last_line_tell_that_some_failed(built):
    failed = set(built.refused()) - SKIPPED | {"pipe_beside"}

    assert built.code == 1
    assert built.summary["failed_clips"] == len(failed)
    assert (
        f"{len(built.refused())} rejected, 2 copies of these; of all, {len(failed)}" in built.told
    )
    assert "Traceback" not in built.told + built.errors


def test_the_summary_names_each_input_that_is_not_there_with_its_reason(built):
    named = {line.partition(": ")[0]: line for line in built.summary["failures"]}
    left_out = {line.partition(": ")[0]: line for line in built.summary["left_out"]}

    assert set(named) == set(built.refused()) - SKIPPED | {"pipe_beside"}
    assert set(left_out) == SKIPPED
    for name, (stage, reason, detail) in built.refused().items():
        assert (named | left_out)[name].startswith(f"{name}: {stage} {reason}")
        assert detail in (named | left_out)[name]
    reasons = built.summary["reasons"]
    assert (reasons["manifest:not_found"], reasons["probe:too_small"]) == (2, 2)


def test_no_name_breaks_a_line_or_colours_the_terminal(built):
    assert "failed: bad\\n\\x1b[31mname: probe not_media: text" in built.told
    assert "\x1b" not in built.told


def test_status_tells_the_same_afterwards(built):
    done = merr("status", built.clips, "--out", built.out)

    assert done.returncode == 0
    assert f"{built.summary['inputs']} inputs" in done.stdout
    assert "0 pending" in done.stdout
    for line in [*built.told.splitlines()]:
        if line.startswith(("failed:", "left out:", "not ok:")):
            assert line in done.stdout.splitlines()


def test_status_names_every_input_that_failed_or_was_left_out(built):
    done = merr("status", built.clips, "--out", built.out, "--all")

    told = [
        line for line in done.stdout.splitlines() if line.startswith(("failed: ", "left out: "))
    ]
    assert len(told) == len(built.summary["failures"]) + len(built.summary["left_out"])
    assert "(--all names them)" not in done.stdout


def test_status_names_what_is_to_be_done(built, tmp_path):
    done = merr("status", built.clips, "--out", tmp_path, "--all")

    pending = [line for line in done.stdout.splitlines() if line.startswith("pending: good_")]
    assert len(pending) == 3
    assert pending[0].startswith("pending: good_1: probe, voice")


def test_a_second_build_has_nothing_to_do_and_says_the_same(built):
    before = keys(built.out)

    done = merr("build", built.clips, "--out", built.out)

    assert done.returncode == 1
    assert "nothing is pending" in done.stdout
    assert keys(built.out) == before


# --- pictures ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["turned", "deep", "deep_alpha", "deep_video", "alpha_video", "half_media", "uneven"]
)
def test_the_picture_that_a_record_carries_is_upright_and_as_bright_as_it_was(built, name):
    row = built.in_subset("clips")[name]
    shown = np.asarray(Image.open(io.BytesIO(row["peak_frame"]["bytes"])).convert("RGB"), float)
    true = faces()[-1 if row["kind"] == "still" else row["peak_frame_index"]]
    small = np.asarray(Image.fromarray(true).resize(shown.shape[1::-1]), float)

    assert np.abs(shown - small).mean() < 4


def test_an_uneven_rate_keeps_its_times(built):
    row = built.in_subset("clips")["uneven"]

    assert row["peak_time_s"] == UNEVEN_MS[row["peak_frame_index"]] / 1000


# --- tricks --------------------------------------------------------------------------------------


def test_nothing_is_fetched_from_an_address(built):
    assert built.asked == ()


def test_nothing_of_a_file_outside_the_folder_appears_anywhere(built, secret):
    found = [rows(built.out, subset.name) for subset in (built.out / "dataset").iterdir()]

    assert SECRET_WORDS in read_subtitles(secret)[0].cues[0].text  # so they could
    assert SECRET_WORDS not in repr(found) + built.told + built.errors
    for part in (built.out / "annotations").glob("transcript/*.parquet"):
        assert SECRET_WORDS not in repr(part_rows(part))


def part_rows(part: Path) -> list[dict]:
    import pyarrow.parquet as pq

    return pq.read_table(part, partitioning=None).to_pylist()


@pytest.mark.parametrize(
    ("name", "demuxer"),
    [
        ("concat_file.mp4", "concat"),
        ("concat_http.mp4", "concat"),
        ("hls_file.mp4", "hls"),
        ("hls_http.mp4", "hls"),
        ("reference_file.mov", "mov"),
    ],
)
def test_the_tricks_are_real_and_work_where_nobody_forbids_them(built, server, name, demuxer):
    """FFmpeg as such, told to be generous: it shows the secret, so what we forbid is worth it."""
    generous = {
        "protocol_whitelist": "file,http,tcp,crypto,data",
        "safe": "0",
        "enable_drefs": "1",
        "use_absolute_path": "1",
        "extension_picky": "0",
        "allowed_extensions": "ALL",
    }
    before = len(server.asked)
    with av.open(str(built.clips / name), format=demuxer, container_options=generous) as container:
        frame = next(container.decode(video=0))

    assert (frame.width, frame.height) == (128, 96)
    assert (len(server.asked) > before) == ("http" in name)
