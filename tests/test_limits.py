"""Media that lie about their size, never come to an end, or are damaged anywhere: each has its row.

The real stages run here, in a real worker with limits; `test_engine.py` has the limits on toys.
"""

import re
import struct
import subprocess
import sys
import time
import zlib
from fractions import Fraction
from functools import partial
from io import StringIO
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from made_clips import at_rate, sine, texture, voice, write_clip
from rich.console import Console
from test_engine import is_running, wait_for

from merr_pipeline.build import look_at
from merr_pipeline.clips.manifest import read_inputs
from merr_pipeline.clips.probe import ProbeStage
from merr_pipeline.engine.local import LocalEngine
from merr_pipeline.engine.watch import Limits
from merr_pipeline.pipeline import Pipeline
from merr_pipeline.request import Request
from merr_pipeline.running import print_state, run_build
from merr_pipeline.settings import load_settings
from merr_pipeline.speech.transcript import TranscriptStage
from merr_pipeline.speech.voice import VoiceStage
from merr_pipeline.store import Entry

REPO = Path(__file__).parent.parent
VARIANTS = 20  # of each clip


def readers(out: Path) -> Pipeline:
    """The stages that read a file by themselves, as a worker opens them."""
    settings = load_settings(environment={})
    pipeline = Pipeline(
        [ProbeStage(settings), VoiceStage(settings), TranscriptStage(settings)], out
    )
    pipeline.store.refresh()
    return pipeline


@pytest.fixture(scope="module")
def entries(tmp_path_factory) -> dict[str, dict[str, Entry]]:
    """Clip -> stage -> row, of all the media below, run with limits in one batch."""
    folder, out = tmp_path_factory.mktemp("hostile"), tmp_path_factory.mktemp("out")
    for suffix in (".mp4", ".mkv"):
        damage(folder, suffix)
    lie(folder)
    clips, parent = read_inputs(folder).clips, readers(out)
    limits = Limits(clip_s=60, memory_mb=1536)
    with LocalEngine(partial(readers, out), 1, parent, limits) as engine:
        engine.run([parent.plan(clip) for clip in clips])
    parent.store.refresh()
    return {clip.clip_id: parent.settled(clip).entries for clip in clips}


def damage(folder: Path, suffix: str) -> None:
    """Variants of a clip with sound and words, each damaged in another way; seeded."""
    frames = at_rate([texture(number // 4) for number in range(12)])
    whole = write_clip(
        folder / f"whole_{suffix[1:]}{suffix}",
        frames,
        sound=voice(180, 0.5),
        subtitles=[(0, 400, "well, well")],
    ).read_bytes()
    header = slice(len(whole) - 1500, len(whole)) if suffix == ".mp4" else slice(0, 600)
    for seed in range(VARIANTS):
        rng = np.random.default_rng(seed)
        where = header if seed % 2 else slice(0, len(whole))
        damaged = damage_bytes(bytearray(whole), where, rng, way=seed // 2 % 4)
        (folder / f"damaged_{suffix[1:]}_{seed:02d}{suffix}").write_bytes(damaged)


def damage_bytes(data: bytearray, where: slice, rng: np.random.Generator, way: int) -> bytearray:
    places = rng.integers(where.start, where.stop, 8).tolist()
    if way == 0:
        for place in places:
            data[place] ^= 1 << int(rng.integers(8))
    elif way == 1:
        data[places[0] : places[0] + 100] = bytes(len(data[places[0] : places[0] + 100]))
    elif way == 2:
        del data[places[0] :]
    else:
        for place in places:
            data[place : place + 4] = rng.bytes(len(data[place : place + 4]))
    return data


def lie(folder: Path) -> None:
    """Headers that claim what is not so."""
    (folder / "huge.png").write_bytes(png(60_000, 60_000))
    jpeg = bytearray(cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8))[1].tobytes())
    sides = jpeg.index(b"\xff\xc0") + 5
    jpeg[sides : sides + 4] = struct.pack(">HH", 65_535, 65_535)
    (folder / "huge.jpg").write_bytes(jpeg)
    clip = write_clip(
        folder / "plain.mkv", at_rate([texture(n) for n in range(10)]), sound=sine(300, 0.4)
    )
    matroska = clip.read_bytes()
    (folder / "no_video_codec.mkv").write_bytes(
        matroska.replace(b"V_MPEG4/ISO/AVC", b"V_MPEG9/ISO/AVC")
    )
    (folder / "no_sound_codec.mkv").write_bytes(
        matroska.replace(b"A_PCM/INT/LIT", b"A_PCM/XXX/LIT")
    )
    one_channel = matroska.index(b"\x9f\x81\x01")
    (folder / "65_channels.mkv").write_bytes(
        matroska[: one_channel + 2] + bytes([65]) + matroska[one_channel + 3 :]
    )
    (folder / "laced.mkv").write_bytes(
        re.sub(
            rb"(\xa3[\x40-\x7f]..[\x00-\x7f].)\x80",
            lambda block: block[1] + b"\x86",  # its flags: EBML lacing, of which there is none
            matroska,
            flags=re.DOTALL,
        )
    )


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000)))


@pytest.mark.long
def test_no_damage_is_a_fault_of_ours_or_costs_a_worker(entries):
    reasons = {
        (clip, stage): entry.reason
        for clip, rows in entries.items()
        for stage, entry in rows.items()
    }
    ours = {"stage_error", "worker_crashed", "decode_timeout"}

    assert {key: reason for key, reason in reasons.items() if reason in ours} == {}
    assert all("probe" in rows for rows in entries.values())
    found = {reason for (clip, _), reason in reasons.items() if clip.startswith("damaged")}
    assert {None, "not_media", "decode_error"} <= found  # the damage was damage, and not all of it


@pytest.mark.parametrize("clip", ["whole_mp4", "whole_mkv"])
def test_the_clip_before_the_damage_is_good(entries, clip):
    assert {stage: entry.status for stage, entry in entries[clip].items()} == {
        "probe": "ok",
        "voice": "ok",
        "transcript": "ok",
    }


@pytest.mark.parametrize(
    ("clip", "stage", "reason"),
    [
        ("huge.png", "probe", "decode_error"),
        ("huge.jpg", "probe", "decode_error"),
        ("no_video_codec", "probe", "decode_error"),
        ("no_sound_codec", "probe", None),
        ("no_sound_codec", "voice", "audio_decode_error"),
        ("65_channels", "probe", None),
        ("65_channels", "voice", "audio_decode_error"),
        ("laced", "probe", "decode_error"),
    ],
)
def test_a_header_that_lies_has_its_reason(entries, clip, stage, reason):
    assert entries[clip][stage].reason == reason


def write_time_bomb(path: Path) -> None:
    """Minutes of work in half a megabyte: 8K frames that each only say "as the last one"."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libvpx", rate=25)
        stream.width, stream.height = 7680, 4320
        stream.options = {"deadline": "realtime", "cpu-used": "8"}
        frame = av.VideoFrame(7680, 4320, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes([128]) * plane.buffer_size)
        encoded = []
        for number in range(2):
            frame.pts = number
            encoded += [bytes(packet) for packet in stream.encode(frame)]
        encoded += [bytes(packet) for packet in stream.encode(None)]
        for number in range(1500):
            packet = av.Packet(encoded[min(number, 1)])
            packet.stream, packet.is_keyframe = stream, number == 0
            packet.time_base = Fraction(1, 25)
            packet.pts = packet.dts = number
            container.mux(packet)


@pytest.mark.long
def test_a_clip_that_takes_too_long_is_named_and_the_others_are_in_the_dataset(tmp_path):
    clips, out = tmp_path / "clips", tmp_path / "out"
    clips.mkdir()
    write_time_bomb(clips / "bomb.mkv")
    write_clip(clips / "good.mp4", at_rate([texture(1)] * 5))
    wanted = ("engine.workers=1", "engine.clip_limit_s=4", "dataset.require_face_coverage=0")
    request = Request(clips, out, overrides=wanted)
    console = Console(file=StringIO(), soft_wrap=True)
    line = "failed: bomb: probe decode_timeout: took longer than engine.clip_limit_s = 4"

    summary = run_build(request, console)

    assert summary.exit_code == 1
    assert (summary.failed_clips, summary.unfinished_clips) == (1, 0)
    assert summary.accepted == 1
    assert line in console.file.getvalue()
    console.file.truncate(0)
    print_state(look_at(request), console)
    assert line in console.file.getvalue()


def test_the_limit_of_memory_holds_for_what_a_worker_starts():
    program = """
import subprocess, sys
from merr_pipeline.engine.watch import limit_memory
limit_memory(700)
inner = "import resource; print(resource.getrlimit(resource.RLIMIT_DATA)[0] >> 20)"
subprocess.run([sys.executable, "-c", inner])
"""
    assert subprocess.check_output([sys.executable, "-c", program], cwd=REPO) == b"700\n"


HUNG_TOOL = """
import os, re
import pyarrow as pa
from merr_pipeline.face.tools import program

def measure(request):
    open(request["note"], "w").write(str(os.getpid()))
    re.match("(a+)+$", "a" * 60 + "b")  # gives no other thread a turn

program.GRACE_S = 0.2
program.serve(measure, pa.schema({"n": pa.int64()}), "1")
"""
ASKER = """
import os, sys
from merr_pipeline.face.tools.process import ToolProcess
ToolProcess([sys.executable, "-c", sys.argv[1]], os.environ).ask({"note": sys.argv[2]}, 3.0)
"""


def test_a_tool_that_hangs_in_c_ends_by_itself_when_its_worker_is_gone(tmp_path):
    note = tmp_path / "pid"
    worker = subprocess.Popen([sys.executable, "-c", ASKER, HUNG_TOOL, note], cwd=REPO)
    assert wait_for(lambda: note.exists() and note.read_text(), 60)
    time.sleep(0.2)  # so that it is in the hang
    worker.kill()
    worker.wait()

    assert wait_for(lambda: not is_running(int(note.read_text())), 30)
