"""Opening one media file, and reading its packets past what is broken."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import av
from av.error import FFmpegError

from merr_pipeline.media.unknown import HEAD_BYTES, guess_what
from merr_pipeline.schema import Reason
from merr_pipeline.stage import fail

# What we open. Playlists (hls, dash, concat, sdp), file name patterns (image2), devices and
# FFmpeg's readers of plain text are left out on purpose: one clip is one file.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,asf,ogg,mxf,nut,rm,"
    "wtv,dv,gif,apng,ivf,h263,h264,hevc,av1,obu,vc1,mjpeg,yuv4mpegpipe,"
    "wav,w64,mp3,aac,flac,aiff,au,caf,ac3,eac3,amr,wv,ape,tta,"
    "png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe,j2k_pipe,jpegxl_pipe,"
    "pbm_pipe,pgm_pipe,ppm_pipe"
)
MAX_PIXELS = 1 << 27  # a larger picture is not decoded: its header may be a bomb
READ_CHUNK_BYTES = 1 << 16
READ_ERRORS_IN_A_ROW = 16  # then the rest of the file is given up


class _OnlyThisFile:
    """The bytes of one file, without its name.

    FFmpeg cannot follow a reference out of it, and no name can be taken for a pattern or a URL.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


@contextmanager
def open_media(path: Path) -> Iterator[Any]:
    """Open one media file; gives PyAV's input container, its decoders set to one thread.

    Raises:
        NotOk: failed with ``NOT_FOUND``, ``UNREADABLE``, ``EMPTY_FILE``, or with ``NOT_MEDIA`` for
            what is no regular file, no container that we know, or a playlist; with
            ``OUT_OF_MEMORY`` for a header that asks for too much.
    """
    with _open_file(path) as file:
        container = _open_container(file)
        try:
            for stream in container.streams:
                if stream.codec_context is not None:
                    stream.codec_context.thread_count = 1
                    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
            yield container
        finally:
            container.close()


def _open_file(path: Path) -> BinaryIO:
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):  # opening a pipe would wait for ever
            raise fail(Reason.NOT_MEDIA, "not a regular file")
        if facts.st_size == 0:
            raise fail(Reason.EMPTY_FILE)
        return path.open("rb", buffering=0)
    except FileNotFoundError as error:
        raise fail(Reason.NOT_FOUND) from error
    except OSError as error:
        raise fail(Reason.UNREADABLE, str(error.strerror)) from error


def _open_container(file: BinaryIO) -> Any:
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "none"}
    try:
        return av.open(
            _OnlyThisFile(file),
            buffer_size=READ_CHUNK_BYTES,
            options={"max_pixels": str(MAX_PIXELS)},
            container_options=options,
            metadata_errors="replace",
        )
    except MemoryError as error:
        what = "its header asks for more memory than there may be, as a damaged one does"
        raise fail(Reason.OUT_OF_MEMORY, f"{what}; see engine.memory_limit_mb") from error
    except FFmpegError as error:
        file.seek(0)
        what = guess_what(file.read(HEAD_BYTES))
        raise fail(Reason.NOT_MEDIA, f"{what} ({error.strerror})") from error


@dataclass
class Lost:
    """What a reader had to leave out or make up."""

    broken: int = 0  # packets that could not be read or decoded: one frame each, as a rule
    guessed_times: int = 0  # frames without a time of their own


def packets(container: Any, streams: Sequence[Any], lost: Lost) -> Iterator[Any]:
    """Packets in file order, at last an empty one per stream that empties its decoder."""
    errors = 0
    while errors < READ_ERRORS_IN_A_ROW:
        try:
            for packet in container.demux(streams):
                errors = 0
                yield packet
            return
        except MemoryError:
            raise
        except FFmpegError:
            errors += 1
            lost.broken += 1
    for stream in streams:  # the file ends in rubbish: what the decoders hold is still good
        packet = av.Packet()
        packet.stream = stream
        yield packet


def decode(packet: Any, lost: Lost) -> list[Any]:
    """What one packet gives; a broken one gives nothing and is counted."""
    try:
        return list(packet.decode())
    except MemoryError:  # PyAV's is an FFmpegError too, and says nothing of the packet
        raise
    except FFmpegError:
        lost.broken += packet.size > 0
        return []


def video_stream(container: Any) -> Any | None:
    """The stream that shows the clip; None without one. A cover picture is none."""
    shown = [s for s in container.streams.video if not _is_cover(s)]
    best = container.streams.best("video")
    return best if best in shown else next(iter(shown), None)


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & stream.disposition.attached_pic)
