"""Bad and odd inputs, each made by code: `fill` puts all of them into one folder.

Where a test asks that an odd clip is taken, it shows a face of a sample for some frames, so that
nothing but its oddity can keep it out.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
from builds import SAMPLES
from made_clips import at_rate, sine, texture, write_clip, write_sound

SECRET_WORDS = "Words that nobody but the secret knows."


FRAMES = 6


@cache
def faces(name: str = "smile") -> tuple[np.ndarray, ...]:
    """Some frames of a sample around its apex: RGB, 448 x 400."""
    with av.open(SAMPLES / "clips" / f"{name}.mp4") as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return tuple(frames[36 : 36 + FRAMES])


def fill(folder: Path, secret: Path, address: str) -> None:
    """Every kind of bad input, and three good clips.

    ``secret`` is a clip outside the folder, which ``address`` (http://…) serves too: playlists and
    references lead there.
    """
    folder.mkdir()
    good(folder)
    for make in (damaged, lengths, pixels, names, not_files):
        make(folder)
    tricks(folder, secret, address)


def good(folder: Path) -> None:
    """Three clips without a fault, and a copy of one."""
    write_clip(folder / "good_1.mp4", at_rate(faces()))
    write_clip(folder / "good_2.mkv", at_rate(faces("surprise")), sound=sine(300, 0.5))
    (folder / "good_2.txt").write_text("What a day!", "utf-8")
    write_clip(folder / "good_3.mov", at_rate(faces("neutral")))
    (folder / "good_1_copy.mp4").write_bytes((folder / "good_1.mp4").read_bytes())


# --- files that are not whole ------------------------------------------------------------------


def damaged(folder: Path) -> None:
    """Empty, text, cut off, without picture, without a frame."""
    (folder / "empty.mp4").touch()
    (folder / "empty_too.mp4").touch()
    (folder / "text.mp4").write_text("only words, and nothing else at all\n" * 50)
    (folder / "random.mp4").write_bytes(np.random.default_rng(1).bytes(5000))
    whole = index_first(folder / "good_1.mp4")
    index = place_of(whole, b"moov")
    (folder / "half_index.mp4").write_bytes(whole[: (index.start + index.stop) // 2])
    write_raw(folder / "whole.mp4", "mjpeg", "yuvj420p", faces())  # every frame stands alone
    whole = index_first(folder / "whole.mp4")
    media = place_of(whole, b"mdat")
    (folder / "half_media.mp4").write_bytes(whole[: (media.start + media.stop) // 2])
    (folder / "whole.mp4").unlink()
    at_end = (folder / "good_1.mp4").read_bytes()
    media = place_of(at_end, b"mdat")
    (folder / "no_index.mp4").write_bytes(at_end[: (media.start + media.stop) // 2])
    zeroed = bytearray(at_end)
    zeroed[media.start + 8 : media.stop] = bytes(media.stop - media.start - 8)
    (folder / "no_frame.mp4").write_bytes(zeroed)
    write_sound(folder / "sound_only.mp4", sine(300, 0.5))


def index_first(path: Path) -> bytes:
    """The same clip with ``moov`` before ``mdat``, as films on the web have it."""
    target = path.with_suffix(".index_first")
    with (
        av.open(path) as source,
        av.open(target, "w", "mp4", options={"movflags": "faststart"}) as copy,
    ):
        streams = {s.index: copy.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                copy.mux(packet)
    data = target.read_bytes()
    target.unlink()
    return data


def place_of(data: bytes, kind: bytes) -> slice:
    """Where the top box of this kind lies, its head included (ISO 14496-12)."""
    return next(slice(at, at + len(box) + 8) for at, name, box in boxes(data) if name == kind)


def boxes(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Place, kind and content of each box, one after another."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        yield at, kind, data[at + 8 : at + size]
        at += size


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content) + 8, kind) + content


# --- clips that are odd, and whole ---------------------------------------------------------------


def lengths(folder: Path) -> None:
    """One frame, a thousandth of a second, ten minutes and more, no even rate."""
    write_clip(folder / "one_frame.mp4", {0: faces()[-1]})
    write_clip(folder / "one_ms.mp4", {0: faces()[-2], 1: faces()[-1]})
    write_clip(folder / "ten_minutes.mkv", long(599_999))
    write_clip(folder / "longer.mkv", long(600_000))
    write_clip(folder / "uneven.mp4", dict(zip(UNEVEN_MS, faces(), strict=True)))


UNEVEN_MS = (0, 7, 90, 91, 300, 420)


def long(end_ms: int) -> dict[int, np.ndarray]:
    """A face for some frames at both ends and at even distances between."""
    return dict(zip(np.linspace(0, end_ms, FRAMES, dtype=int).tolist(), faces(), strict=True))


def pixels(folder: Path) -> None:
    """Turned, mirrored, deep, see-through, of odd and of absurd size."""
    turned = [np.ascontiguousarray(np.rot90(frame)) for frame in faces()]
    write_clip(folder / "turned.mp4", at_rate(turned), clockwise_deg=90)
    deep = faces()[-1][:, :, ::-1].astype(np.uint16) * 257
    cv2.imwrite(str(folder / "deep.png"), deep)
    alpha = np.full(deep.shape[:2], 9000, np.uint16)
    cv2.imwrite(str(folder / "deep_alpha.png"), np.dstack([deep, alpha]))
    write_raw(folder / "deep_video.mkv", "ffv1", "gbrp16le", faces())
    write_raw(folder / "alpha_video.mov", "qtrle", "argb", faces())
    write_raw(folder / "odd_sides.mkv", "ffv1", "bgr0", [f[:447, :399] for f in faces()])
    write_raw(folder / "one_pixel.mkv", "ffv1", "bgr0", [np.zeros((1, 1, 3), np.uint8)] * 3)
    write_raw(folder / "thread.mkv", "ffv1", "bgr0", [np.zeros((3, 4097, 3), np.uint8)] * 3)


def write_raw(path: Path, codec: str, pixel_format: str, frames: Sequence[np.ndarray]) -> None:
    """A video in a codec that changes no pixel."""
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixel_format
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame.reformat(format=pixel_format)))
        container.mux(stream.encode(None))


NAMES = {
    "Ünïcödé 表情 😀": "letters of any script",
    "  two  blanks ": "blanks",
    'it\'s "quoted" `$(too)`': "quotes",
    "new\nline": "a newline",
    "-leading": "a leading dash",
    "\x1b[31mred": "a code that colours a terminal",
    "%03d": "a pattern of names",
    "concat:good_1.mp4|good_3.mov": "a list",
    "http:127.0.0.1": "an address",
    "file:good_1": "a protocol",
    "--": "the end of options",
    "[bold]": "markup",
}
"""Names that are names, and what one could take them for."""


def names(folder: Path) -> None:
    """One still under every name, with other bytes each time; text under two names, bad and odd."""
    still = (folder / "one_frame.mp4").read_bytes()
    for number, name in enumerate(NAMES):
        (folder / f"{name}.mp4").write_bytes(still + box(b"free", bytes([number])))
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.mp4")).write_bytes(still + b"\0\0\0\x08free")
    (folder / "bad\n\x1b[31mname.mp4").write_text("text by an odd name")


# --- what is no file -----------------------------------------------------------------------------


def not_files(folder: Path) -> None:
    """Folders, links, pipes, a socket, and what nobody may read."""
    still = (folder / "one_frame.mp4").read_bytes()
    (folder / "folder.mp4").mkdir()
    (folder / "folder.mp4" / "inner.mp4").write_bytes(still + box(b"free", b"inner"))
    (folder / "no_clips.mp4").mkdir()
    (folder / "loop.mp4").symlink_to("loop.mp4")
    (folder / "nowhere.mp4").symlink_to("gone.mp4")
    (folder / "circle").symlink_to(folder, target_is_directory=True)
    os.mkfifo(folder / "pipe.mp4")
    (folder / "pipe_beside.mp4").write_bytes(still + box(b"free", b"pipe beside"))
    os.mkfifo(folder / "pipe_beside.srt")  # which nobody will ever write to
    open_socket(folder / "socket.mp4")
    (folder / "locked.mp4").write_bytes(still + box(b"free", b"locked"))
    (folder / "locked.mp4").chmod(0)
    (folder / "locked_folder").mkdir()
    (folder / "locked_folder" / "inside.mp4").write_bytes(still + box(b"free", b"inside"))
    (folder / "locked_folder").chmod(0)


def open_socket(path: Path) -> None:
    """A socket in the file system; the name of one may have 107 bytes, so it is made from near."""
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{handle}/{path.name}")
    finally:
        os.close(handle)


# --- tricks --------------------------------------------------------------------------------------


def write_secret(path: Path) -> Path:
    """A clip that must never be read: its picture and its words are nowhere else."""
    frames = at_rate([texture(99)] * 12)
    write_clip(path, frames, sound=sine(500, 0.5), subtitles=[(0, 400, SECRET_WORDS)])
    path.write_bytes(index_first(path))
    return path


def tricks(folder: Path, secret: Path, address: str) -> None:
    """Every trick twice: to the file, and to the address."""
    for to, target in (("file", f"file://{secret}"), ("http", f"{address}/{secret.name}")):
        for name, make in TRICKS.items():
            (folder / name.format(to)).write_bytes(make(target, secret))


def hls(target: str, secret: Path) -> bytes:
    del secret
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1", "#EXTINF:1,", target, "#EXT-X-ENDLIST"]
    return "\n".join(lines).encode()


def hls_by_bytes(target: str, secret: Path) -> bytes:
    """The same, asking for a part of the file."""
    size = secret.stat().st_size
    return hls(target, secret).replace(b"#EXTINF", b"#EXT-X-BYTERANGE:%d@0\n#EXTINF" % size)


def ffconcat(target: str, secret: Path) -> bytes:
    del secret
    return f"ffconcat version 1.0\nfile '{target}'\n".encode()


def dash(target: str, secret: Path) -> bytes:
    del secret
    return f"""<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S"
 profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet>
<Representation id="1" mimeType="video/mp4" bandwidth="1"><BaseURL>{target}</BaseURL>
</Representation></AdaptationSet></Period></MPD>""".encode()


def sdp(target: str, secret: Path) -> bytes:
    del secret
    lines = ("v=0", f"o=- 0 0 IN IP4 {target}", "s=-", "c=IN IP4 127.0.0.1", f"a=control:{target}")
    return "\r\n".join([*lines, "m=video 9 RTP/AVP 96", "a=rtpmap:96 H264/90000", ""]).encode()


def smil(target: str, secret: Path) -> bytes:
    del secret
    return f'<smil><body><video src="{target}"/></body></smil>'.encode()


def reference(target: str, secret: Path) -> bytes:
    """The header of the secret, whose media data are said to lie in another file."""
    kind, entry = (b"alis", alias(secret)) if target.startswith("file") else (b"url ", url(target))
    entries = struct.pack(">II", 0, 1) + box(kind, entry)
    data = secret.read_bytes()
    kept = [box(kind, content) for _, kind, content in boxes(data) if kind == b"ftyp"]
    moov = data[place_of(data, b"moov")]
    return b"".join([*kept, with_references(moov, entries)])


def with_references(data: bytes, entries: bytes) -> bytes:
    """Boxes with every ``dref`` in them replaced."""
    made = []
    for _, kind, content in boxes(data):
        inner = content
        if kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
            inner = with_references(content, entries)
        made.append(box(kind, entries if kind == b"dref" else inner))
    return b"".join(made)


def url(target: str) -> bytes:
    return struct.pack(">I", 0) + target.encode() + b"\0"


def alias(secret: Path) -> bytes:
    """A Macintosh alias record as FFmpeg reads it, with the absolute path (tag 2)."""
    path = os.fsencode(secret)
    padded = path + bytes(len(path) % 2)
    name = secret.name.encode()[:63]
    return b"".join(
        [
            bytes(4 + 10),
            bytes(1 + 27),  # volume
            bytes(12),
            bytes([len(name)]) + name.ljust(63, b"\0"),
            bytes(16),
            struct.pack(">hh", -1, -1),
            bytes(16),
            struct.pack(">HH", 2, len(path)) + padded,
            struct.pack(">hH", -1, 0),
        ]
    )


TRICKS: dict[str, Callable[[str, Path], bytes]] = {
    "hls_{}.mp4": hls,
    "hls_{}_bytes.mkv": hls_by_bytes,
    "concat_{}.mp4": ffconcat,
    "dash_{}.mp4": dash,
    "sdp_{}.mp4": sdp,
    "smil_{}.mov": smil,
    "reference_{}.mov": reference,
}
