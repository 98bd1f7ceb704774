"""Frames, sound and subtitles of media whose truth is known."""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest
from made_clips import at_rate, noise, silence, sine, texture, write_clip, write_sound
from PIL import Image

from merr_pipeline.media import Turn, mix_to_mono, read_frames, read_sound, read_subtitles
from merr_pipeline.schema import Reason, Status
from merr_pipeline.stage import NotOk


def why_not(read, path: Path) -> tuple[Status, Reason]:
    with pytest.raises(NotOk) as ended:
        read(path)
    return ended.value.status, ended.value.reason


def all_frames(path: Path):
    return list(read_frames(path))


# --- frames ----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_frames_keep_their_own_time_when_the_rate_varies(tmp_path, suffix):
    clip = write_clip(tmp_path / f"grey{suffix}", {0: 20, 40: 90, 200: 160, 240: 230})

    frames = list(read_frames(clip))

    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert [frame.time_s for frame in frames] == pytest.approx([0.0, 0.04, 0.2, 0.24])
    assert [frame.image.mean() for frame in frames] == pytest.approx([20, 90, 160, 230], abs=2)


def test_time_is_zero_at_the_first_frame_even_where_the_file_begins_later(tmp_path):
    clip = write_clip(tmp_path / "late.mkv", {5000: 20, 5100: 200})

    assert [frame.time_s for frame in read_frames(clip)] == pytest.approx([0.0, 0.1])


def test_frames_come_in_the_order_they_are_shown_not_the_order_they_are_stored(tmp_path):
    levels = list(range(20, 220, 10))  # H.264 stores them with B frames, out of order
    clip = write_clip(tmp_path / "ramp.mp4", at_rate(levels))

    assert [f.image.mean() for f in read_frames(clip)] == pytest.approx(levels, abs=3)


def test_an_avi_has_times_too(tmp_path):
    clip = write_clip(tmp_path / "old.avi", at_rate([30, 90, 150]))

    assert [frame.time_s for frame in read_frames(clip)] == pytest.approx([0, 0.04, 0.08])


def test_frames_without_any_time_get_one_and_are_counted(tmp_path):
    path = tmp_path / "raw.h264"
    with av.open(write_clip(tmp_path / "clip.mp4", at_rate([30, 90, 150, 210]))) as source:
        stream = source.streams.video[0]
        to_annex_b = av.BitStreamFilterContext("h264_mp4toannexb", stream)
        packets = [p for raw in source.demux(stream) for p in to_annex_b.filter(raw)]
        path.write_bytes(b"".join(bytes(packet) for packet in packets))

    frames = read_frames(path)
    times = [frame.time_s for frame in frames]

    assert len(times) == 4
    assert times[0] == 0
    assert np.all(np.diff(times) > 0)
    assert frames.lost.guessed_times >= 3


def test_reading_stops_at_the_wanted_frame(tmp_path):
    clip = write_clip(tmp_path / "ten.mp4", at_rate([50] * 10))

    assert [frame.index for frame in read_frames(clip, until_frame=3)] == [0, 1, 2, 3]


QUADRANTS = np.zeros((48, 64, 3), np.uint8)
QUADRANTS[:24, :32] = (250, 0, 0)  # red at the top left


@pytest.mark.parametrize(
    ("clockwise_deg", "mirrored", "row", "column"),
    [
        (0, False, 0, 0),
        (90, False, 0, 1),
        (180, False, 1, 1),
        (270, False, 1, 0),
        (0, True, 0, 1),
        (90, True, 0, 0),
        (180, True, 1, 0),
        (270, True, 1, 1),
    ],
)
def test_a_turned_clip_is_read_upright(tmp_path, clockwise_deg, mirrored, row, column):
    clip = write_clip(
        tmp_path / "turned.mp4",
        {0: QUADRANTS, 40: QUADRANTS},
        clockwise_deg=clockwise_deg,
        mirrored=mirrored,
    )

    frame = next(read_frames(clip, "rgb24"))

    height, width = (48, 64) if clockwise_deg in (0, 180) else (64, 48)
    assert frame.image.shape == (height, width, 3)
    assert frame.turn == Turn(clockwise_deg, mirrored)
    red = frame.image[:, :, 0].astype(int)
    halves = red.reshape(2, height // 2, 2, width // 2).mean(axis=(1, 3))
    assert np.unravel_index(halves.argmax(), (2, 2)) == (row, column)
    assert halves.max() > 220


@pytest.mark.parametrize(("orientation", "clockwise_deg"), [(1, 0), (3, 180), (6, 90), (8, 270)])
def test_a_photo_is_turned_as_its_exif_says(tmp_path, orientation, clockwise_deg):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(QUADRANTS).save(tmp_path / "photo.jpg", exif=exif)

    (frame,) = read_frames(tmp_path / "photo.jpg", "rgb24")

    upright = np.rot90(QUADRANTS, -clockwise_deg // 90)
    assert frame.image.shape == upright.shape
    assert np.abs(frame.image.astype(int) - upright).mean() < 6


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tiff", "gif"])
def test_a_picture_is_a_clip_of_one_frame(tmp_path, suffix):
    path = tmp_path / f"still.{suffix}"
    Image.fromarray(np.full((31, 41, 3), 120, np.uint8)).save(path)  # odd sides

    (frame,) = read_frames(path)

    assert (frame.index, frame.time_s) == (0, 0.0)
    assert frame.image.shape == (31, 41)
    assert frame.image.mean() == pytest.approx(120, abs=2)


@pytest.mark.parametrize(
    ("mode", "level"), [("I;16", 128 * 257), ("L", 128), ("LA", (128, 40)), ("RGBA", (128,) * 4)]
)
def test_sixteen_bit_and_transparent_pictures_are_read_as_bytes(tmp_path, mode, level):
    Image.new(mode, (35, 33), level).save(tmp_path / "odd.png")

    for pixels in ("gray", "luma", "rgb24", "bgr24"):
        (frame,) = read_frames(tmp_path / "odd.png", pixels)
        assert frame.image.dtype == np.uint8
        assert frame.image.shape[:2] == (33, 35)
        assert frame.image.mean() == pytest.approx(128, abs=2)


def test_names_with_patterns_and_protocols_in_them_are_names(tmp_path):
    for name in ["a%03d.png", "b*.png", "c[1]?.png", "concat:d.png", "e\udcff.png"]:
        path = tmp_path / name
        with path.open("wb") as file:
            Image.new("L", (40, 40), 99).save(file, "png")
        assert len(all_frames(path)) == 1


@pytest.mark.parametrize(
    ("level", "gray"), [(0, 0), (255, 255), (128, 128)]
)  # video keeps luma between 16 and 235
def test_luma_is_the_stored_plane_and_says_its_range(tmp_path, level, gray):
    clip = write_clip(tmp_path / "flat.mp4", at_rate([level] * 2))

    luma, stretched = next(read_frames(clip, "luma")), next(read_frames(clip, "gray"))

    black, white = luma.luma_range
    assert (black, white) == (16, 235)
    assert stretched.image.mean() == pytest.approx(gray, abs=1)
    assert (luma.image.mean() - black) / (white - black) * 255 == pytest.approx(gray, abs=2)


@pytest.mark.parametrize("pixel_format", ["yuv420p10le", "yuv422p10le", "yuv444p", "nv12"])
def test_luma_of_any_depth_and_layout_is_bytes(tmp_path, pixel_format):
    ramp = np.tile(np.linspace(10, 240, 66).astype(np.uint8), (50, 1))
    clip = write_clip(tmp_path / "ramp.mp4", {0: ramp, 40: ramp}, pixel_format=pixel_format)

    luma, stretched = next(read_frames(clip, "luma")), next(read_frames(clip, "gray"))

    assert luma.image.dtype == np.uint8
    assert luma.image.shape == stretched.image.shape == ramp.shape
    black, white = luma.luma_range
    assert np.abs((luma.image - float(black)) / (white - black) * 255 - ramp).mean() < 2
    assert np.abs(stretched.image - ramp.astype(float)).mean() < 2


# --- what is no clip -------------------------------------------------------------------------


@pytest.mark.parametrize("read", [all_frames, read_sound, read_subtitles])
@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.mp4", b"", Reason.EMPTY_FILE),
        ("words.mp4", b"only words, and nothing else at all\n" * 50, Reason.NOT_MEDIA),
        ("noise.mp4", bytes(range(256)) * 40, Reason.NOT_MEDIA),
        ("cues.mp4", b"WEBVTT\n\n00:00.000 --> 00:01.000\nHello\n", Reason.NOT_MEDIA),
        ("list.ffconcat", b"ffconcat version 1.0\nfile other.mp4\n", Reason.NOT_MEDIA),
        ("list.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nother.mp4\n", "not_media"),
    ],
)
def test_what_is_no_media_file_is_refused_with_its_reason(tmp_path, read, name, content, reason):
    write_clip(tmp_path / "other.mp4", at_rate([50] * 5))
    (tmp_path / name).write_bytes(content)

    assert why_not(read, tmp_path / name) == (Status.FAILED, reason)


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (bytes(5000), "nothing but zeros; a copy or download was not finished"),
        (b"\0\0\0\x1cftypisom" + bytes(50), "its index (moov) is missing or cut off"),
        (b"#EXTM3U\nother.mp4\n", "a playlist; give the files that it names"),
        (b'<?xml version="1.0"?>\n<MPD type="static">', "a playlist"),
        (b"\n<!DOCTYPE html><title>404</title>", "a web page; a download went wrong"),
        ("404: 找不到".encode("gb18030"), "text"),
        (b"words, " * 9000 + "\n…".encode()[:-1], "text"),  # cut off within a character
        (bytes(range(256)), "no container that is read here"),
    ],
)
def test_what_no_demuxer_takes_is_told_by_its_first_bytes(tmp_path, head, what):
    (tmp_path / "clip.mp4").write_bytes(head)

    with pytest.raises(NotOk) as refused:
        all_frames(tmp_path / "clip.mp4")

    assert refused.value.reason == Reason.NOT_MEDIA
    assert refused.value.detail.startswith(what)


def test_missing_files_folders_and_pipes_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")

    assert why_not(all_frames, tmp_path / "none.mp4") == (Status.FAILED, Reason.NOT_FOUND)
    assert why_not(all_frames, tmp_path) == (Status.FAILED, Reason.NOT_MEDIA)
    assert why_not(all_frames, tmp_path / "pipe.mp4") == (Status.FAILED, Reason.NOT_MEDIA)


def test_a_file_that_may_not_be_read_is_unreadable(tmp_path):
    loop = tmp_path / "loop.mp4"
    loop.symlink_to(loop)  # refused to root as well

    assert why_not(all_frames, loop) == (Status.FAILED, Reason.UNREADABLE)


def test_sound_alone_is_no_video_also_with_a_cover_picture(tmp_path):
    plain = write_sound(tmp_path / "song.m4a", sine(440, 0.5))
    covered = _with_cover(tmp_path / "cover.mp3", sine(440, 0.5))

    assert why_not(all_frames, plain) == (Status.SKIPPED, Reason.NO_VIDEO)
    assert why_not(all_frames, covered) == (Status.SKIPPED, Reason.NO_VIDEO)


def _with_cover(path: Path, sound: np.ndarray) -> Path:
    """An MP3 with an ID3 picture, as shops sell them (ID3v2.3 APIC)."""
    write_sound(path, sound)
    picture = path.with_suffix(".png")
    Image.new("RGB", (64, 64), (200, 30, 30)).save(picture)
    body = b"\x00image/png\x00\x03\x00" + picture.read_bytes()
    frame = b"APIC" + len(body).to_bytes(4, "big") + b"\x00\x00" + body
    size = bytes((len(frame) >> shift) & 0x7F for shift in (21, 14, 7, 0))
    audio = path.read_bytes()
    start = audio.index(b"\xff\xfb") if b"\xff\xfb" in audio else audio.index(b"\xff\xf3")
    path.write_bytes(b"ID3\x03\x00\x00" + size + frame + audio[start:])
    return path


def test_a_truncated_clip_gives_the_frames_that_are_there(tmp_path):
    clip = write_clip(tmp_path / "whole.mkv", at_rate([texture(seed) for seed in range(20)]))
    short = tmp_path / "short.mkv"
    short.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])

    frames = all_frames(short)

    assert 4 <= len(frames) <= 16
    assert np.abs(frames[3].image.astype(int) - texture(3)).mean() < 6


def test_broken_packets_are_counted_and_the_rest_is_read(tmp_path):
    clip = write_clip(tmp_path / "whole.avi", at_rate([texture(seed) for seed in range(12)]))
    data = bytearray(clip.read_bytes())
    chunk = [at for at in range(len(data)) if data[at : at + 4] == b"00dc"][5]
    data[chunk + 8 : chunk + 60] = bytes(52)  # the head of the sixth frame
    clip.write_bytes(data)

    frames = read_frames(clip)
    count = len(list(frames))

    assert 9 <= count <= 11
    assert frames.broken_frames >= 1


def test_a_clip_without_one_good_frame_is_a_decode_error(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", at_rate([texture(1)] * 3))
    data = bytearray(clip.read_bytes())
    start = data.index(b"mdat") + 4
    end = data.index(b"moov") - 4
    data[start:end] = bytes(end - start)
    clip.write_bytes(data)

    assert why_not(all_frames, clip) == (Status.FAILED, Reason.DECODE_ERROR)


# --- sound -----------------------------------------------------------------------------------


def onset_s(samples: np.ndarray, rate_hz: int = 16_000) -> float:
    return float(np.flatnonzero(np.abs(samples) > 0.1)[0] / rate_hz)


def beep(at_s: float, duration_s: float, rate_hz: int) -> np.ndarray:
    tone = sine(1000, 0.2, rate_hz=rate_hz)
    after = silence(duration_s - at_s - 0.2, rate_hz)
    return np.concatenate([silence(at_s, rate_hz), tone, after])


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_is_on_the_clock_of_the_picture_at_any_rate(tmp_path, suffix, rate_hz):
    clip = write_clip(
        tmp_path / f"beep{suffix}",
        at_rate([50] * 25),
        sound=beep(0.4, 1.0, rate_hz),
        sound_rate_hz=rate_hz,
    )

    sound = read_sound(clip)

    assert sound.samples.dtype == np.float32
    assert sound.rate_hz == 16_000
    assert onset_s(sound.samples) == pytest.approx(0.4, abs=0.005)
    assert sound.duration_s == pytest.approx(1.0, abs=0.06)
    loud = sound.samples[int(0.45 * 16_000) : int(0.55 * 16_000)]
    assert loud.std() == pytest.approx(0.3 / np.sqrt(2), rel=0.05)


def test_sound_that_begins_late_is_padded(tmp_path):
    clip = write_clip(
        tmp_path / "late.mkv", at_rate([50] * 25), sound=sine(1000, 0.5), sound_start_ms=300
    )

    sound = read_sound(clip)

    assert sound.start_s == pytest.approx(0.3, abs=0.002)
    assert np.all(sound.samples[: int(0.298 * 16_000)] == 0)
    assert onset_s(sound.samples) == pytest.approx(0.3, abs=0.003)


def test_sound_before_the_first_frame_is_cut_off(tmp_path):
    clip = write_clip(
        tmp_path / "early.mkv", at_rate([50] * 20, start_ms=300), sound=beep(0.5, 1.0, 16_000)
    )

    sound = read_sound(clip)

    assert sound.start_s == 0
    assert onset_s(sound.samples) == pytest.approx(0.2, abs=0.003)
    assert sound.duration_s == pytest.approx(0.7, abs=0.003)


def sound_with_gap(folder: Path, gap_s: float) -> Path:
    """0.3 s of a tone, and again ``gap_s`` after its beginning."""
    first = write_sound(folder / "tone.wav", sine(1000, 0.3))
    path = folder / "gap.mkv"
    with av.open(first) as source, av.open(path, "w") as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        packets = [packet for packet in source.demux() if packet.size]
        for shift in (0, round(gap_s * 16_000)):
            for packet in packets:
                copy = av.Packet(bytes(packet))
                copy.pts = copy.dts = packet.pts + shift
                copy.time_base, copy.stream = packet.time_base, stream
                target.mux(copy)
    return path


def test_a_gap_in_the_sound_stays_a_gap(tmp_path):
    samples = read_sound(sound_with_gap(tmp_path, 1.0)).samples

    assert len(samples) / 16_000 == pytest.approx(1.3, abs=0.01)
    assert np.abs(samples[int(0.35 * 16_000) : int(0.95 * 16_000)]).max() == 0
    assert np.abs(samples[int(1.1 * 16_000) : int(1.2 * 16_000)]).max() > 0.25


def test_sound_whose_times_jump_by_hours_is_an_error(tmp_path):
    path = sound_with_gap(tmp_path, 7200)

    assert why_not(read_sound, path) == (Status.FAILED, Reason.AUDIO_DECODE_ERROR)


def test_stereo_is_mixed_by_mean_unless_it_cancels_out(tmp_path):
    left, right = sine(500, 0.5, 0.4), sine(700, 0.5, 0.2)
    ordinary = write_clip(tmp_path / "a.mkv", at_rate([9] * 3), sound=np.stack([left, right]))
    cancelling = write_clip(
        tmp_path / "b.mkv", at_rate([9] * 3), sound=np.stack([0.5 * left, -left])
    )

    assert read_sound(ordinary).samples == pytest.approx((left + right) / 2, abs=1e-3)
    assert read_sound(cancelling).samples == pytest.approx(-left, abs=1e-3)


def test_the_mix_of_many_channels_is_their_mean():
    six = np.stack([noise(0.1, seed=seed) for seed in range(6)])

    assert mix_to_mono(six) == pytest.approx(six.mean(axis=0), abs=1e-7)


def test_a_clip_without_sound_is_skipped_not_failed(tmp_path):
    clip = write_clip(tmp_path / "mute.mp4", at_rate([50] * 3))

    assert why_not(read_sound, clip) == (Status.SKIPPED, Reason.NO_AUDIO_STREAM)


def test_sound_that_cannot_be_decoded_is_an_error(tmp_path):
    clip = write_clip(tmp_path / "hiss.mp4", at_rate([50] * 3), sound=noise(0.3, 0.1))
    data = bytearray(clip.read_bytes())
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[start:end] = b"\xff" * (end - start)
    clip.write_bytes(data)

    assert why_not(read_sound, clip) == (Status.FAILED, Reason.AUDIO_DECODE_ERROR)


def test_the_same_file_gives_the_same_bytes(tmp_path):
    clip = write_clip(
        tmp_path / "clip.mp4",
        at_rate([texture(seed) for seed in range(8)]),
        sound=noise(0.3, 0.1, rate_hz=44_100),
        sound_rate_hz=44_100,
    )

    once, twice = all_frames(clip), all_frames(clip)

    assert [f.image.tobytes() for f in once] == [f.image.tobytes() for f in twice]
    assert read_sound(clip).samples.tobytes() == read_sound(clip).samples.tobytes()


# --- subtitles -------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_embedded_subtitles_are_read_with_times_and_language(tmp_path, suffix):
    clip = write_clip(
        tmp_path / f"spoken{suffix}",
        at_rate([50] * 50),
        subtitles=[(200, 900, "Wait, wait"), (1000, 1600, "for me")],
        subtitle_language="ger",
    )

    (track,) = read_subtitles(clip)

    assert track.language == "ger"
    assert [(cue.start_s, cue.end_s) for cue in track.cues] == [
        pytest.approx((0.2, 0.9)),
        pytest.approx((1.0, 1.6)),
    ]
    assert "Wait, wait" in track.cues[0].text
    assert "for me" in track.cues[1].text


def test_subtitles_are_on_the_clock_of_the_picture(tmp_path):
    clip = write_clip(
        tmp_path / "late.mkv",
        at_rate([50] * 25, start_ms=500),
        subtitles=[(700, 900, "Now")],
    )

    (track,) = read_subtitles(clip)

    assert track.cues[0].start_s == pytest.approx(0.2)


def test_a_clip_without_subtitles_has_no_tracks(tmp_path):
    assert read_subtitles(write_clip(tmp_path / "mute.mp4", at_rate([50] * 3))) == []


# --- real clips ------------------------------------------------------------------------------


@pytest.mark.shared
def test_a_real_clip_with_a_variable_rate_has_its_true_times(shared):
    frames = read_frames(shared / "clips" / "face_noface.mov", "luma")
    times = np.array([frame.time_s for frame in frames])

    assert len(times) == 169
    assert np.abs(times - np.arange(169) * times[-1] / 168).max() > 0.2  # index / rate is wrong
    assert read_sound(shared / "clips" / "face_noface.mov").start_s == pytest.approx(2.43, abs=0.01)
