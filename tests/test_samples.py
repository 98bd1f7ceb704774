from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

SAMPLES = Path(__file__).parents[1] / "data" / "samples"
CLIP_IDS = sorted(path.stem for path in (SAMPLES / "truth").glob("*.json"))
COLUMNS = [
    *("clip_id", "path", "label", "transcript", "language"),
    *("speaker_id", "source_id", "licence"),
]


def read_truth(clip_id: str) -> dict[str, Any]:
    return json.loads((SAMPLES / "truth" / f"{clip_id}.json").read_text("utf-8"))


def read_manifest() -> dict[str, dict[str, str]]:
    with (SAMPLES / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return {row["clip_id"]: row for row in csv.DictReader(file)}


def media(clip_id: str) -> Path:
    return SAMPLES / read_manifest()[clip_id]["path"]


def read_luma(clip_id: str) -> tuple[list[float], np.ndarray]:
    """Times in seconds, and the frames as grey values (frames x height x width)."""
    with av.open(media(clip_id)) as container:
        frames = list(container.decode(video=0))
    return [f.time for f in frames], np.stack([f.to_ndarray(format="gray") for f in frames])


def read_sound(clip_id: str) -> tuple[int, np.ndarray]:
    """Samples a second, and the mono samples in -1..1."""
    with av.open(media(clip_id)) as container:
        frames = list(container.decode(audio=0))
    assert frames[0].time == 0
    return frames[0].sample_rate, np.concatenate([f.to_ndarray()[0] for f in frames])


def clips_with(**wanted: Any) -> list[str]:
    """Clips whose truth (or whose speech) has all of these values."""
    truths = {clip_id: read_truth(clip_id) for clip_id in CLIP_IDS}
    flat = {clip_id: {**(truth["speech"] or {}), **truth} for clip_id, truth in truths.items()}
    return [
        clip_id
        for clip_id, facts in flat.items()
        if all(facts.get(key) == value for key, value in wanted.items())
    ]


def test_all_samples_together_stay_under_one_and_a_half_megabytes():
    sizes = {path.name: path.stat().st_size for path in (SAMPLES / "clips").iterdir()}

    assert sum(sizes.values()) < 1_500_000
    assert max(sizes.values()) < 250_000


def test_manifest_truth_and_media_name_the_same_eight_clips():
    manifest = read_manifest()

    assert len(CLIP_IDS) == 8
    assert sorted(manifest) == CLIP_IDS
    assert all(list(row) == COLUMNS for row in manifest.values())
    assert {media(clip_id).name for clip_id in CLIP_IDS} == {
        path.name for path in (SAMPLES / "clips").glob("*.mp4")
    }


def test_every_clip_has_a_licence_a_source_and_a_speaker_of_that_source():
    rows = read_manifest().values()

    assert {row["licence"] for row in rows} == {"public-domain"}
    assert {(row["speaker_id"], row["source_id"]) for row in rows} == {
        ("portrait_a", "nasa_astronaut"),
        ("portrait_b", "navy_grace_hopper"),
    }


def test_the_samples_show_every_case_that_the_pipeline_must_tell_apart():
    assert clips_with(words_in="embedded") == ["anger_subtitled"]
    assert clips_with(words_in="sidecar") == ["smile"]
    assert clips_with(words_in="nowhere") == ["blink_then_smile"]
    assert len(clips_with(words_in="manifest")) == 4
    assert clips_with(has_sound=False) == ["sadness_silent"]
    assert clips_with(label=None) == ["unlabelled"]
    assert clips_with(apex_frame=None) == ["neutral"]
    assert len(clips_with(cut_frame=None)) == 7
    assert len(clips_with(blink_frame=None)) == 7
    labels = {row["label"] for row in read_manifest().values()}
    assert labels == {"happy", "surprise", "angry", "sad", "neutral", ""}


@pytest.mark.parametrize("clip_id", CLIP_IDS)
def test_truth_and_manifest_agree_on_label_words_and_language(clip_id):
    truth, row = read_truth(clip_id), read_manifest()[clip_id]
    speech = truth["speech"] or {"text": "", "language": "", "words_in": "nowhere"}

    assert truth["clip_id"] == clip_id
    assert row["label"] == (truth["label"] or "")
    assert row["language"] == speech["language"]
    assert row["transcript"] == (speech["text"] if speech["words_in"] == "manifest" else "")


@pytest.mark.parametrize("clip_id", CLIP_IDS)
def test_frames_are_as_many_and_as_even_as_the_truth_says(clip_id):
    truth = read_truth(clip_id)

    times_s, luma = read_luma(clip_id)

    assert len(times_s) == truth["frame_count"]
    assert times_s == pytest.approx([index / truth["fps"] for index in range(len(times_s))])
    assert luma.shape[1:] == (448, 400)


@pytest.mark.parametrize("clip_id", CLIP_IDS)
def test_no_two_neighbouring_frames_are_equal(clip_id):
    _, luma = read_luma(clip_id)

    changes = np.abs(np.diff(luma.astype(np.int16), axis=0)).mean(axis=(1, 2))

    assert changes.min() > 0.05


@pytest.mark.parametrize("clip_id", CLIP_IDS)
def test_the_picture_jumps_at_the_cut_and_nowhere_else(clip_id):
    cut_frame = read_truth(clip_id)["cut_frame"]
    _, luma = read_luma(clip_id)

    changes = np.abs(np.diff(luma.astype(np.int16), axis=0)).mean(axis=(1, 2))

    assert np.flatnonzero(changes > 15).tolist() == ([] if cut_frame is None else [cut_frame - 1])


@pytest.mark.parametrize("clip_id", [c for c in CLIP_IDS if c != "neutral"])
def test_the_apex_lies_in_its_shot_between_onset_and_offset_while_somebody_speaks(clip_id):
    truth = read_truth(clip_id)

    order = [truth["onset_frame"], truth["apex_frame"], truth["offset_frame"]]

    assert (truth["cut_frame"] or 0) + 10 < order[0] < order[1] < order[2]
    assert order[2] < truth["frame_count"] - 5
    if truth["speech"]:
        apex_s = truth["apex_frame"] / truth["fps"]
        assert truth["speech"]["start_s"] < apex_s < truth["speech"]["end_s"]


def test_the_lids_cover_the_eyes_at_the_blink():
    truth = read_truth("blink_then_smile")
    _, luma = read_luma("blink_then_smile")
    eye = luma[: truth["onset_frame"], 175:205, 130:180].astype(float)

    # The iris and pupil are the dark pixels of the eye; the lid hides most of them.
    dark_pixels = (eye < 70).sum(axis=(1, 2))

    assert abs(int(dark_pixels.argmin()) - truth["blink_frame"]) <= 1
    assert dark_pixels.min() < 0.4 * np.median(dark_pixels)


@pytest.mark.parametrize("clip_id", clips_with(has_sound=True))
def test_the_voice_begins_and_ends_when_the_truth_says_over_a_faint_floor(clip_id):
    speech = read_truth(clip_id)["speech"]
    rate, sound = read_sound(clip_id)
    start, end = round(speech["start_s"] * rate), round(speech["end_s"] * rate)

    heard = np.flatnonzero(np.abs(sound) > 0.02 * np.abs(sound).max()) / rate
    margin = round(0.05 * rate)
    silence = np.concatenate([sound[margin : start - margin], sound[end + margin : -margin]])
    voice_to_noise_db = 10 * np.log10(np.mean(sound[start:end] ** 2) / np.mean(silence**2))

    assert rate == 44_100
    assert heard[0] == pytest.approx(speech["start_s"], abs=0.02)
    assert heard[-1] == pytest.approx(speech["end_s"], abs=0.02)
    assert min(start, len(sound) - end) / rate > 0.2
    assert voice_to_noise_db == pytest.approx(51, abs=3)


@pytest.mark.parametrize("clip_id", CLIP_IDS)
def test_a_clip_has_the_streams_its_truth_asks_for_and_no_more(clip_id):
    truth = read_truth(clip_id)
    embedded = bool(truth["speech"]) and truth["speech"]["words_in"] == "embedded"

    with av.open(media(clip_id)) as container:
        found = [(stream.type, stream.codec_context.name) for stream in container.streams]

    assert found == [
        ("video", "h264"),
        *([("audio", "aac")] if truth["has_sound"] else []),
        *([("subtitle", "mov_text")] if embedded else []),
    ]


def test_the_subtitle_track_reads_back_with_its_language_and_times():
    speech = read_truth("anger_subtitled")["speech"]

    with av.open(media("anger_subtitled")) as container:
        stream = container.streams.subtitles[0]
        language = stream.language
        lines = [
            (float(packet.pts * packet.time_base), float(packet.duration * packet.time_base), line)
            for packet in container.demux(stream)
            for line in (packet.decode() if packet.size else [])
        ]

    [(start_s, duration_s, line)] = lines
    assert language == "eng"
    assert line.dialogue.decode() == speech["text"]
    assert start_s == pytest.approx(speech["start_s"], abs=1e-3)
    assert start_s + duration_s == pytest.approx(speech["end_s"], abs=1e-3)


def test_the_sidecar_reads_back_with_its_times():
    speech = read_truth("smile")["speech"]

    number, times, text = media("smile").with_suffix(".srt").read_text("utf-8").splitlines()
    start, end = times.split(" --> ")

    assert (number, text) == ("1", speech["text"])
    assert start == f"00:00:{speech['start_s']:06.3f}".replace(".", ",")
    assert end == f"00:00:{speech['end_s']:06.3f}".replace(".", ",")


def test_the_readme_has_a_row_for_every_clip():
    readme = (SAMPLES / "README.md").read_text("utf-8")

    assert [clip_id for clip_id in CLIP_IDS if f"| `{clip_id}` |" not in readme] == []
