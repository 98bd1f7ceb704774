"""What the probe finds in clips whose cuts, light and borders are known."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow as pa
import pytest
from made_clips import at_rate, sine, texture, write_clip, write_sound
from PIL import Image

from merr_pipeline.clips.probe import ProbeStage
from merr_pipeline.clips.shots import find_cuts
from merr_pipeline.schema import PROBE, Clip, ClipId, Row
from merr_pipeline.settings import ProbeSettings, Settings
from merr_pipeline.stage import NotOk, Work


def probe(path: Path, **settings) -> Row:
    stage = ProbeStage(Settings.model_validate({"probe": settings}))
    (row,) = stage.annotate([Work(Clip(ClipId("clip"), path, path.name, "0" * 64), {})])
    return row


def cuts(row: Row) -> list[int]:
    return [shot["start_frame"] for shot in row["shots"][1:]]


def moving(
    seed: int, count: int, step: int, width: int = 128, height: int = 96
) -> list[np.ndarray]:
    """A scene passing by, ``step`` pixels a frame."""
    wide = cv2.GaussianBlur(texture(seed, 128 + step * count, 96, grain=12), (9, 9), 3)
    return [wide[:, step * i : step * i + 128] for i in range(count)]


# --- facts -----------------------------------------------------------------------------------


def test_the_facts_of_a_clip_are_those_it_was_made_with(tmp_path):
    clip = write_clip(
        tmp_path / "clip.mp4",
        at_rate([texture(1)] * 25),
        sound=np.stack([sine(300, 1.0, rate_hz=44_100)] * 2),
        sound_rate_hz=44_100,
        subtitles=[(100, 900, "Hello")],
    )

    row = probe(clip)

    expected = {
        "status": "ok",
        "kind": "video",
        "container": "mov,mp4,m4a,3gp,3g2,mj2",
        "video_codec": "h264",
        "duration_s": 1.0,
        "fps": 25.0,
        "width": 128,
        "height": 96,
        "rotation_deg": 0,
        "frame_count": 25,
        "broken_frames": 0,
        "has_sound": True,
        "sound_codec": "aac",
        "sound_rate_hz": 44_100,
        "sound_channels": 2,
        "subtitle_streams": 1,
        "shots": [
            {"start_s": 0.0, "end_s": 1.0, "start_frame": 0, "end_frame": 25, "fade_frames": 0}
        ],
        "bars": {"top": 0, "bottom": 0, "left": 0, "right": 0},
    }
    assert {name: row[name] for name in expected} == expected
    assert row["frame_times_s"] == [round(i / 25, 3) for i in range(25)]


def test_the_row_fits_the_schema(tmp_path):
    row = probe(write_clip(tmp_path / "clip.mp4", at_rate([50] * 3)))
    head = {"clip_id": "clip", "input_key": "key", "row_hash": "hash", "sha256": "s"}

    (stored,) = pa.Table.from_pylist([head | row], schema=PROBE).to_pylist()

    assert set(row) == set(PROBE.names) - set(head)
    assert {name: stored[name] for name in row} == row


def test_frame_times_and_mean_rate_of_a_variable_rate_are_true(tmp_path):
    row = probe(write_clip(tmp_path / "vfr.mkv", {0: 50, 40: 50, 80: 50, 500: 50, 540: 50}))

    assert row["frame_times_s"] == [0.0, 0.04, 0.08, 0.5, 0.54]
    assert row["fps"] == round(4 / 0.54, 3)
    assert row["duration_s"] == 0.58


def test_a_clip_filmed_upright_is_measured_upright(tmp_path):
    row = probe(write_clip(tmp_path / "phone.mp4", at_rate([50] * 3), clockwise_deg=90))

    assert (row["width"], row["height"], row["rotation_deg"]) == (48, 64, 90)


def test_a_picture_is_a_still_without_rate_or_motion(tmp_path):
    Image.fromarray(texture(1)).save(tmp_path / "photo.png")

    row = probe(tmp_path / "photo.png")

    assert row["kind"] == "still"
    assert row["frame_times_s"] == [0.0]
    assert (row["duration_s"], row["fps"], row["motion"]) == (0.0, None, None)
    assert row["has_sound"] is False
    assert row["sound_rate_hz"] is None


def test_one_frame_with_sound_is_no_still_and_lasts_as_long_as_the_sound(tmp_path):
    row = probe(write_clip(tmp_path / "talk.mkv", {0: 50}, sound=sine(300, 1.0)))

    assert row["kind"] == "video"
    assert row["duration_s"] == row["shots"][0]["end_s"] == pytest.approx(1.0, abs=0.01)


def test_probing_twice_gives_the_same_row(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", at_rate(moving(3, 20, 4)))

    assert probe(clip) == probe(clip)


def test_every_setting_is_in_the_fingerprint():
    def fingerprint(**settings) -> str:
        return ProbeStage(Settings.model_validate({"probe": settings})).identity().fingerprint()

    assert fingerprint() == fingerprint()
    for name, value in {
        "max_duration_s": 5,
        "min_side_px": 64,
        "max_pixels": 10,
        "cut_ratio": 5,
        "cut_min_change": 0.3,
        "min_shot_s": 1,
    }.items():
        assert fingerprint(**{name: value}) != fingerprint()


# --- what is wrong with a file ---------------------------------------------------------------

SAMPLES = Path(__file__).parents[1] / "data" / "samples" / "clips"


def flags_of_bytes(path: Path, data: bytes) -> Row:
    path.write_bytes(data)
    return probe(path)


def test_a_whole_clip_has_no_flags(tmp_path):
    for suffix in (".mp4", ".mkv", ".avi"):
        clip = write_clip(tmp_path / f"clip{suffix}", at_rate([texture(1)] * 25))
        assert probe(clip)["flags"] == []
    assert probe(SAMPLES / "smile.mp4")["flags"] == []


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_clip_whose_end_is_missing_is_marked_shorter_than_its_header_says(tmp_path, suffix):
    if suffix == ".mp4":
        data = (SAMPLES / "smile.mp4").read_bytes()
    else:
        noisy = [np.random.default_rng(i).integers(0, 255, (96, 128), np.uint8) for i in range(50)]
        data = write_clip(tmp_path / "whole.mkv", at_rate(noisy)).read_bytes()

    row = flags_of_bytes(tmp_path / f"half{suffix}", data[: len(data) // 2])

    assert row["status"] == "ok"
    assert "shorter_than_header" in row["flags"]
    if row["broken_frames"]:
        assert f"broken_frames={row['broken_frames']}" in row["flags"]


def test_frames_that_do_not_decode_are_counted_in_a_flag(tmp_path):
    row = flags_of_bytes(
        tmp_path / "half.mp4", (data := (SAMPLES / "smile.mp4").read_bytes())[: len(data) // 2]
    )

    assert row["broken_frames"] == 1
    assert row["flags"] == ["broken_frames=1", "shorter_than_header"]


def test_a_last_frame_that_stays_long_is_no_missing_end(tmp_path):
    """The header counts how long the last frame is shown; no frame is missing."""
    frames = dict.fromkeys([0, 40, 80, 120, 2000], texture(1))
    row = probe(write_clip(tmp_path / "slides.mp4", frames))

    assert row["flags"] == []


def test_sound_that_goes_on_after_the_picture_is_no_missing_end(tmp_path):
    for suffix in (".mp4", ".mkv"):
        clip = write_clip(tmp_path / f"talk{suffix}", at_rate([50] * 3), sound=sine(300, 2.0))
        assert probe(clip)["flags"] == []


def test_frames_without_times_of_their_own_are_counted_in_a_flag(tmp_path):
    with av.open(tmp_path / "raw.h264", "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.options = 128, 96, {"bf": "0"}
        for index in range(5):
            frame = av.VideoFrame.from_ndarray(np.stack([texture(index)] * 3, axis=2), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    row = probe(tmp_path / "raw.h264")

    assert row["frame_count"] == 5
    assert row["flags"] == ["guessed_times=5"]


def test_pixels_that_are_not_square_are_marked(tmp_path):
    def clip(name: str, numerator: int, denominator: int) -> Path:
        with av.open(tmp_path / name, "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height = 128, 96
            stream.codec_context.sample_aspect_ratio = Fraction(numerator, denominator)
            frame = av.VideoFrame.from_ndarray(np.stack([texture(1)] * 3, axis=2), "rgb24")
            for _ in range(3):
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return tmp_path / name

    assert probe(clip("wide.mp4", 4, 3))["flags"] == ["non_square_pixels"]
    assert probe(clip("nearly.mp4", 1105, 1104))["flags"] == []


# --- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "reason", "detail"),
    [
        ({"max_duration_s": 0.5}, "too_long", "0.961 s or more; probe.max_duration_s is 0.5"),
        ({"min_side_px": 97}, "too_small", "128 x 96; probe.min_side_px is 97"),
        ({"max_pixels": 128 * 96 - 1}, "too_large", "128 x 96; probe.max_pixels is 12287"),
        ({"max_duration_s": 1.0, "min_side_px": 96, "max_pixels": 128 * 96}, None, None),
    ],
)
def test_limits_of_length_and_size_hold_exactly(tmp_path, settings, reason, detail):
    row = probe(write_clip(tmp_path / "clip.mkv", at_rate([texture(1)] * 25)), **settings)

    assert (row["reason"], row["detail"]) == (reason, detail)
    assert row["status"] == ("skipped" if reason else "ok")


def test_a_length_is_compared_as_it_is_stored(tmp_path):
    path = write_clip(tmp_path / "clip.mkv", {0: 50, 40: 50, 80: 50})
    stage = ProbeStage(Settings.model_validate({"probe": {"max_duration_s": 0.3}}))
    stage._refuse_length(0.1 + 0.2)  # 0.30000000000000004
    with pytest.raises(NotOk, match=r"0\.3"):
        stage._refuse_length(0.301)
    assert probe(path, max_duration_s=0.12)["status"] == "ok"


def test_one_pixel_is_too_small(tmp_path):
    Image.new("L", (1, 1), 7).save(tmp_path / "dot.png")

    assert probe(tmp_path / "dot.png")["reason"] == "too_small"


def test_a_header_that_claims_a_huge_picture_costs_nothing(tmp_path):
    Image.new("L", (40, 40), 7).save(tmp_path / "bomb.png")
    data = bytearray((tmp_path / "bomb.png").read_bytes())
    data[16:24] = (30_000).to_bytes(4, "big") * 2  # width and height in IHDR
    (tmp_path / "bomb.png").write_bytes(data)

    row = probe(tmp_path / "bomb.png")

    assert row["status"] != "ok"
    assert row["reason"] in ("too_large", "decode_error")


def test_sound_alone_is_no_video(tmp_path):
    row = probe(write_sound(tmp_path / "song.wav", sine(300, 0.3)))

    assert (row["status"], row["reason"]) == ("skipped", "no_video")


def test_what_cannot_be_read_fails_with_its_reason(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video")

    assert probe(tmp_path / "empty.mp4")["reason"] == "empty_file"
    assert probe(tmp_path / "text.mp4")["reason"] == "not_media"
    assert probe(tmp_path / "none.mp4")["reason"] == "not_found"


# --- shots -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [3, 12, 22])
def test_a_cut_is_found_at_its_frame(tmp_path, cut):
    frames = [texture(1)] * cut + [texture(2)] * (25 - cut)

    row = probe(write_clip(tmp_path / "cut.mp4", at_rate(frames)))

    assert row["shots"] == [
        {
            "start_s": 0.0,
            "end_s": round(cut / 25, 3),
            "start_frame": 0,
            "end_frame": cut,
            "fade_frames": 0,
        },
        {
            "start_s": round(cut / 25, 3),
            "end_s": 1.0,
            "start_frame": cut,
            "end_frame": 25,
            "fade_frames": 0,
        },
    ]


def test_a_cut_at_a_variable_rate_has_its_true_time(tmp_path):
    times = [0, 40, 80, 120, 700, 740, 780, 820]
    frames = dict(zip(times, [texture(1)] * 4 + [texture(2)] * 4, strict=True))

    row = probe(write_clip(tmp_path / "vfr.mkv", frames))

    assert cuts(row) == [4]
    assert row["shots"][1]["start_s"] == 0.7


def test_a_cut_between_moving_scenes_is_found(tmp_path):
    frames = moving(1, 20, 5) + moving(2, 20, 5)

    assert cuts(probe(write_clip(tmp_path / "walk.mp4", at_rate(frames)))) == [20]


def test_a_cut_in_a_dark_letterboxed_film_is_found(tmp_path):
    scenes = [np.zeros((96, 128), np.uint8) for _ in range(2)]
    for seed, scene in enumerate(scenes):
        scene[24:72] = texture(seed, 128, 48) // 3
    frames = [scenes[0]] * 12 + [scenes[1]] * 12

    assert cuts(probe(write_clip(tmp_path / "night.mp4", at_rate(frames)))) == [12]


def test_two_cuts_nearer_than_a_shot_may_be_are_one(tmp_path):
    frames = [texture(1)] * 10 + [texture(2)] * 3 + [texture(3)] * 12
    clip = write_clip(tmp_path / "quick.mp4", at_rate(frames))

    assert len(cuts(probe(clip))) == 1
    assert cuts(probe(clip, min_shot_s=0.1)) == [10, 13]


def test_two_cuts_just_as_far_apart_as_a_shot_may_be_are_two():
    pictures = np.stack([texture(seed, 32, 24) for seed in range(3) for _ in range(8)])
    settings = ProbeSettings(min_shot_s=0.2)
    starts_ms = range(0, 20_000, 37)
    found = [
        find_cuts(pictures, (start_ms + 25 * np.arange(24)) / 1000, settings)
        for start_ms in starts_ms
    ]
    assert found == [[8, 16]] * len(starts_ms)


def flash(length: int) -> list:
    return [texture(1)] * 12 + [np.full((96, 128), 250, np.uint8)] * length + [texture(1)] * 12


def faded(before: list, after: list, steps: int) -> list:
    """The last of some pictures mixed into the first of others, ``steps`` from pure to pure."""
    mixed = [
        np.round((1 - i / steps) * before[-1] + i / steps * after[0].astype(float)).astype(np.uint8)
        for i in range(1, steps)
    ]
    return before + mixed + after


BLACK, WHITE = np.zeros((96, 128), np.uint8), np.full((96, 128), 255, np.uint8)


def lamp_goes_on() -> list:
    return [(texture(1) * (0.4 + 0.03 * min(i, 20))).astype(np.uint8) for i in range(30)]


def whip_pan() -> list:
    return moving(1, 12, 0) + moving(1, 20, 20)[1:]


def brighter_at_once() -> list:
    return [texture(1)] * 12 + [np.clip(texture(1).astype(int) + 18, 0, 255).astype(np.uint8)] * 12


def hand_waves() -> list:
    frames = [texture(4).copy() for _ in range(30)]
    for i, frame in enumerate(frames):
        if 10 <= i < 22:
            x = 10 + 8 * (i - 10)
            frame[30:70, x : x + 30] = 230
    return frames


def snow() -> list:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (96, 128), dtype=np.uint8) for _ in range(20)]


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(flash(1), id="a flash of one frame"),
        pytest.param(flash(2), id="a flash of two frames"),
        pytest.param(lamp_goes_on(), id="a lamp that goes on slowly"),
        pytest.param(moving(1, 30, 6), id="a pan"),
        pytest.param(whip_pan(), id="a whip pan that starts at once"),
        pytest.param(brighter_at_once(), id="a step in exposure"),
        pytest.param(hand_waves(), id="a hand before the camera"),
        pytest.param(snow(), id="snow"),
        pytest.param([texture(1)] * 20, id="nothing"),
        pytest.param([20] * 10, id="one grey"),
    ],
)
def test_no_cut_and_no_fade_is_seen_in(tmp_path, frames):
    assert cuts(probe(write_clip(tmp_path / "one_shot.mp4", at_rate(frames)))) == []


@pytest.mark.parametrize("steps", [5, 8, 12, 18])
def test_a_fast_dissolve_begins_a_shot_and_its_mixed_frames_are_told(tmp_path, steps):
    frames = faded([texture(1)] * 20, [texture(2)] * 20, steps)

    [first, second] = probe(write_clip(tmp_path / "fade.mp4", at_rate(frames)))["shots"]

    assert (first["start_frame"], first["fade_frames"]) == (0, 0)
    end = second["start_frame"] + second["fade_frames"]
    assert abs(second["start_frame"] - 20) <= 2  # a mixture with a twentieth of it tells little
    assert abs(end - (20 + steps - 1)) <= 2


def test_a_fade_through_black_is_two_fades(tmp_path):
    out = faded([texture(1)] * 20, [BLACK] * 6, 10)
    frames = faded(out, [texture(2)] * 20, 10)

    shots = probe(write_clip(tmp_path / "black.mp4", at_rate(frames)))["shots"]

    assert [bool(shot["fade_frames"]) for shot in shots] == [False, True, True]


@pytest.mark.parametrize("empty", [BLACK, WHITE], ids=["black", "white"])
def test_a_picture_that_comes_out_of_nothing_is_a_fade(tmp_path, empty):
    frames = faded([empty], [texture(1)] * 25, 12)

    shots = probe(write_clip(tmp_path / "in.mp4", at_rate(frames)))["shots"]

    assert [(shot["start_frame"], bool(shot["fade_frames"])) for shot in shots] == [
        (0, False),
        (1, True),
    ]


def test_a_dissolve_between_moving_scenes_is_found(tmp_path):
    one, two = ([cv2.blur(p, (15, 15)) for p in moving(seed, 40, 1)] for seed in (1, 2))
    mixed = [
        np.round((1 - i / 10) * one[19 + i] + i / 10 * two[i].astype(float)).astype(np.uint8)
        for i in range(1, 10)
    ]

    shots = probe(write_clip(tmp_path / "f.mp4", at_rate(one[:20] + mixed + two[10:30])))["shots"]

    assert [bool(shot["fade_frames"]) for shot in shots] == [False, True]


def test_motion_does_not_count_the_frames_of_a_fade(tmp_path):
    frames = faded([texture(1)] * 20, [texture(2)] * 20, 8)

    assert probe(write_clip(tmp_path / "still.mp4", at_rate(frames)))["motion"] < 0.002


def test_shots_follow_each_other_without_gap_or_overlap(tmp_path):
    frames = [texture(seed) for seed in range(5) for _ in range(8)]

    row = probe(write_clip(tmp_path / "five.mp4", at_rate(frames)))

    shots = row["shots"]
    assert [shot["start_frame"] for shot in shots] == [0, 8, 16, 24, 32]
    assert [shot["end_frame"] for shot in shots] == [8, 16, 24, 32, 40]
    assert [shot["end_s"] for shot in shots[:-1]] == [shot["start_s"] for shot in shots[1:]]
    assert shots[-1]["end_s"] == row["duration_s"]


# --- light, motion, borders ------------------------------------------------------------------


def test_light_is_measured_on_the_scale_from_black_to_white(tmp_path):
    half = np.zeros((96, 128), np.uint8)
    half[:, 32:96] = 255
    black, grey, split = (
        probe(write_clip(tmp_path / f"{i}.mp4", at_rate([picture] * 5)))
        for i, picture in enumerate([0, 102, half])
    )

    assert (black["brightness"], black["contrast"], black["dark_share"]) == (0.0, 0.0, 1.0)
    assert grey["brightness"] == pytest.approx(0.4, abs=0.005)
    assert grey["dark_share"] == 0.0
    assert split["brightness"] == pytest.approx(0.5, abs=0.01)
    assert split["contrast"] == pytest.approx(0.5, abs=0.02)


def test_the_share_of_dark_frames_counts_frames(tmp_path):
    row = probe(write_clip(tmp_path / "dusk.mp4", at_rate([30] * 5 + [120] * 15)))

    assert row["dark_share"] == 0.25


def test_motion_is_the_mean_change_within_shots(tmp_path):
    steps = [40 + 10 * (i % 2) for i in range(10)]  # each frame changes by 10 of 255
    flicker = probe(write_clip(tmp_path / "flicker.mp4", at_rate(steps)))
    cut_only = probe(write_clip(tmp_path / "c.mp4", at_rate([texture(1)] * 9 + [texture(2)] * 9)))
    fast = probe(write_clip(tmp_path / "fast.mp4", at_rate(moving(1, 20, 8))))
    slow = probe(write_clip(tmp_path / "slow.mp4", at_rate(moving(1, 20, 2))))

    assert flicker["motion"] == pytest.approx(10 / 255, abs=0.003)
    assert cut_only["motion"] < 0.005
    assert fast["motion"] > 2 * slow["motion"] > 0.01


@pytest.mark.parametrize(
    ("top", "bottom", "left", "right"),
    [(0, 0, 0, 0), (24, 30, 0, 0), (0, 0, 40, 38), (20, 20, 32, 32)],
)
def test_black_borders_are_measured_and_left_out_of_the_light(tmp_path, top, bottom, left, right):
    height, width = 180, 320
    picture = np.zeros((height, width), np.uint8)
    inner = texture(1, width - left - right, height - top - bottom)
    picture[top : height - bottom, left : width - right] = inner

    row = probe(write_clip(tmp_path / "film.mp4", at_rate([picture] * 10)))

    found = row["bars"]
    assert [found[side] for side in ("top", "bottom", "left", "right")] == [
        pytest.approx(side, abs=2) for side in (top, bottom, left, right)
    ]
    assert row["brightness"] == pytest.approx(inner.mean() / 255, abs=0.03)


def test_subtitles_burned_into_a_border_do_not_end_it(tmp_path):
    plain = np.zeros((180, 320), np.uint8)
    plain[30:150] = texture(1, 320, 120)
    titled = plain.copy()
    titled[160:172, 110:210:3] = 255

    row = probe(write_clip(tmp_path / "film.mp4", at_rate([titled] * 12 + [plain] * 12)))

    assert row["bars"]["bottom"] == pytest.approx(30, abs=2)


def test_a_black_beginning_is_no_border(tmp_path):
    frames = [np.zeros((96, 128), np.uint8)] * 9 + [texture(1)] * 9

    row = probe(write_clip(tmp_path / "start.mp4", at_rate(frames)))

    assert row["bars"] == {"top": 0, "bottom": 0, "left": 0, "right": 0}


# --- real clips ------------------------------------------------------------------------------

CUTS_SEEN = {
    "WolfgangLanger_Pexels.mp4": [],
    "face_noface.mov": [72],  # a black frame, then a sky with clouds
    "noface_face.mov": [96, 168],  # the sky, a face, one black frame
    "sample_00000167.mp4": [],
    "sample_00000338.mp4": [],
    "sample_00000727.mp4": [],
    "sample_00002422.mp4": [],
    "sample_00003358.mp4": [],
    "sample_00004136.mp4": [],
    "sample_00004671.mp4": [],
    "sample_00005854.mp4": [],
    "samplenew_00004251.mp4": [],
    "samplenew_00051251.mp4": [39],
}


@pytest.mark.shared
def test_cuts_of_real_clips_are_those_that_one_sees(shared):
    found = {name: cuts(probe(shared / "clips" / name)) for name in CUTS_SEEN}

    assert found == CUTS_SEEN


@pytest.mark.shared
def test_a_letterboxed_film_with_subtitles_in_the_border(shared):
    row = probe(shared / "clips" / "sample_00000727.mp4")

    assert row["bars"] == {
        "top": pytest.approx(56, abs=3),
        "bottom": pytest.approx(64, abs=5),
        "left": 0,
        "right": 0,
    }
