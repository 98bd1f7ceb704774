"""The voice stage on whole clips."""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_clips import at_rate, noise, silence, sine, voice, write_clip

from merr_pipeline.media import read_sound
from merr_pipeline.schema import VOICE, Clip, ClipId
from merr_pipeline.settings import Settings, SettingsError, load_settings
from merr_pipeline.speech.vad import SpeechDetector
from merr_pipeline.speech.voice import VoiceStage, is_uncertain, measure_voice
from merr_pipeline.stage import Work

SAMPLES = Path(__file__).parents[1] / "data" / "samples"
DETECTOR = SpeechDetector()


def stage_with(*overrides: str) -> VoiceStage:
    stage = VoiceStage(load_settings(overrides=overrides, environment={}))
    stage.setup()
    return stage


@pytest.fixture(scope="module")
def stage():
    return stage_with()


def run(stage, *paths, kind="video", has_sound=True):
    """The rows of the clips, as the store would give them."""
    probe = {"status": "ok", "kind": kind, "has_sound": has_sound}
    batch = [Work(Clip(ClipId(p.stem), p, p.name, p.stem), {"probe": probe}) for p in paths]
    heads = {"clip_id": "c", "input_key": "k", "row_hash": "h"}
    rows = [{**heads, **row} for row in stage.annotate(batch)]
    return pa.Table.from_pylist(rows, schema=VOICE).to_pylist()


def clip_of(folder: Path, sound: np.ndarray, **how) -> Path:
    frames = at_rate([90] * round(25 * len(sound) / 16_000))
    return write_clip(folder / "clip.mov", frames, sound=sound, **how)


def test_a_clip_without_sound_is_skipped_not_failed(stage):
    (row,) = run(stage, Path("/nowhere/mute.mp4"), has_sound=False)
    assert (row["status"], row["reason"]) == ("skipped", "no_audio_stream")


def test_a_still_is_skipped(stage):
    (row,) = run(stage, Path("/nowhere/picture.jpg"), kind="still", has_sound=False)
    assert (row["status"], row["reason"]) == ("skipped", "still")


def test_a_file_that_is_gone_fails_alone(stage, tmp_path):
    sound = np.concatenate([silence(0.5), voice(120, 1.0), silence(0.5)])
    rows = run(stage, tmp_path / "gone.mp4", clip_of(tmp_path, sound))
    assert [row["reason"] for row in rows] == ["not_found", None]


def test_silence_has_no_speech_and_no_doubt(stage, tmp_path):
    (row,) = run(stage, clip_of(tmp_path, silence(1.5)))
    assert (row["status"], row["reason"]) == ("skipped", "no_speech")
    assert row["segments"] == row["pauses"] == []
    assert (row["speech_uncertain"], row["speech_s"]) == (False, 0)
    assert row["prosody"]["loudness_lufs"] is None


def test_noise_has_no_speech_and_keeps_its_level(stage, tmp_path):
    (row,) = run(stage, clip_of(tmp_path, noise(1.5, 0.1)))
    assert (row["reason"], row["speech_uncertain"]) == ("no_speech", False)
    assert row["prosody"]["level_dbfs"] == pytest.approx(-20, abs=0.1)


def test_sound_with_a_pitch_and_no_speech_may_be_a_voice(stage, tmp_path):
    chord = sine(220, 1.5, 0.1) + sine(277, 1.5, 0.1) + sine(330, 1.5, 0.1)
    (row,) = run(stage, clip_of(tmp_path, chord))
    assert (row["reason"], row["speech_uncertain"]) == ("speech_uncertain", True)


@pytest.mark.parametrize(
    ("vad_max", "tonal_s", "doubt"),
    [(0.1996, 0.0, True), (0.1994, 0.0, False), (0.0, 0.2496, True), (0.0, 0.2494, False)],
)
def test_doubt_depends_on_the_values_that_are_stored(vad_max, tonal_s, doubt):
    assert is_uncertain([], vad_max, tonal_s) is doubt


def test_a_voice_is_found_where_it_is_and_measured(stage, tmp_path):
    sound = np.concatenate([silence(0.6), voice(120, 0.8), silence(0.6)])
    (row,) = run(stage, clip_of(tmp_path, sound + noise(2.0, 0.001)))
    assert row["status"] == "ok"
    assert row["segments"][0]["start_s"] == pytest.approx(0.6, abs=0.05)
    assert row["segments"][-1]["end_s"] == pytest.approx(1.4, abs=0.05)
    assert row["prosody"]["f0_median_hz"] == pytest.approx(120, rel=0.01)
    assert row["duration_s"] == pytest.approx(2.0, abs=0.01)
    assert not row["speech_uncertain"]


def test_speech_is_on_the_clock_of_the_picture(stage, tmp_path):
    sound = np.concatenate([silence(0.3), voice(120, 0.8), silence(0.4)])
    (row,) = run(stage, clip_of(tmp_path, sound, sound_start_ms=500))
    assert row["segments"][0]["start_s"] == pytest.approx(0.8, abs=0.05)


def test_a_row_does_not_depend_on_the_batch(stage, tmp_path):
    path = clip_of(tmp_path, np.concatenate([silence(0.3), voice(150, 0.9), silence(0.3)]))
    (alone,) = run(stage, path)
    first, _, last = run(stage, path, SAMPLES / "clips" / "smile.mp4", path)
    assert alone == first == last


# --- real speech -----------------------------------------------------------------------------


def truths_with_speech():
    for path in sorted((SAMPLES / "truth").glob("*.json")):
        truth = json.loads(path.read_text("utf-8"))
        if truth["speech"]:
            yield pytest.param(truth["clip_id"], truth["speech"], id=truth["clip_id"])


@pytest.mark.parametrize(("clip_id", "speech"), list(truths_with_speech()))
def test_the_speech_of_a_sample_begins_and_ends_as_its_truth_says(stage, clip_id, speech):
    (row,) = run(stage, SAMPLES / "clips" / f"{clip_id}.mp4")
    assert row["segments"][0]["start_s"] == pytest.approx(speech["start_s"], abs=0.05)
    assert row["segments"][-1]["end_s"] == pytest.approx(speech["end_s"], abs=0.05)
    assert row["speech_s"] == pytest.approx(
        sum(s["end_s"] - s["start_s"] for s in row["segments"]), abs=2e-3
    )


def spoken(clip_id: str) -> np.ndarray:
    """The speech of a sample alone, without what is before and after."""
    speech = json.loads((SAMPLES / "truth" / f"{clip_id}.json").read_text("utf-8"))["speech"]
    samples = read_sound(SAMPLES / "clips" / f"{clip_id}.mp4").samples
    return samples[round(speech["start_s"] * 16_000) : round(speech["end_s"] * 16_000)]


@pytest.mark.parametrize("pause_s", [0.3, 0.45, 0.8, 1.2])
@pytest.mark.parametrize("noise_level", [0.0005, 0.003])
def test_a_pause_is_as_long_as_it_was_made(pause_s, noise_level):
    parts = [silence(0.5), spoken("blink_then_smile"), silence(pause_s), spoken("two_people_cut")]
    sound = np.concatenate([*parts, silence(0.5)])
    sound = sound + noise(len(sound) / 16_000, noise_level)[: len(sound)]
    row = measure_voice(sound, DETECTOR, Settings().voice)
    assert row["pauses"] == pytest.approx([pause_s], abs=0.05)


def test_a_gap_shorter_than_a_pause_is_none():
    parts = [spoken("blink_then_smile"), silence(0.12), spoken("two_people_cut")]
    row = measure_voice(np.concatenate(parts), DETECTOR, Settings().voice)
    assert row["pauses"] == []


# --- the contract ----------------------------------------------------------------------------


@given(arrays(np.float32, st.integers(0, 3000), elements=st.floats(-4, 4, width=32)))
@settings(max_examples=30, deadline=None)
def test_any_sound_gives_a_row_that_fits_the_schema(samples):
    row = measure_voice(samples, DETECTOR, Settings().voice)
    table = pa.Table.from_pylist([row], schema=pa.schema(list(VOICE)[7:]))
    assert list(row) == table.column_names


def test_the_fingerprint_changes_with_each_setting_of_the_voice():
    changes = [
        *("vad_on=0.6", "vad_off=0.3", "min_speech_s=0.2", "bridge_gap_s=0.3"),
        *("min_pause_s=0.5", "pitch_floor_hz=60", "pitch_ceiling_hz=500", "low_snr_db=20"),
    ]
    stages = [VoiceStage(Settings()), *(stage_with(f"voice.{change}") for change in changes)]
    assert len({stage.identity().fingerprint() for stage in stages}) == len(stages)
    other = VoiceStage(load_settings(overrides=["engine.workers=3"], environment={}))
    assert other.identity().fingerprint() == stages[0].identity().fingerprint()


def test_the_fingerprint_names_every_library_that_makes_a_number():
    named = VoiceStage(Settings()).identity().tool_version
    for name in ("av", "numpy", "scipy", "librosa", "pyloudnorm"):
        assert f"{name} {version(name)}" in named


@pytest.mark.parametrize("override", ["voice.vad_off=0.9", "voice.pitch_floor_hz=700"])
def test_thresholds_in_the_wrong_order_are_refused(override):
    with pytest.raises(SettingsError, match="vad_off must be <= vad_on"):
        load_settings(overrides=[override], environment={})


# --- real clips ------------------------------------------------------------------------------


@pytest.mark.shared
def test_crying_under_music_is_not_called_silence(stage, shared):
    (row,) = run(stage, shared / "clips" / "sample_00000727.mp4")
    assert (row["reason"], row["speech_uncertain"]) == ("speech_uncertain", True)
    assert "crying" in row["detail"]
    assert "tonal_background" in row["flags"]
    assert row["prosody"]["f0_median_hz"] is None
    assert row["prosody"]["loudness_lufs"] == pytest.approx(-25.0, abs=0.2)


@pytest.mark.shared
def test_a_silent_sound_stream_is_no_speech_without_doubt(stage, shared):
    (row,) = run(stage, shared / "clips" / "WolfgangLanger_Pexels.mp4")
    assert (row["reason"], row["speech_uncertain"]) == ("no_speech", False)


@pytest.mark.shared
def test_a_shout_has_the_highest_effort_of_the_real_clips(stage, shared):
    names = ("00000338", "00003358", "00004136", "00005854")
    paths = [shared / "clips" / f"sample_{name}.mp4" for name in names]
    efforts = {
        path.stem: row["prosody"]["effort_db"]
        for path, row in zip(paths, run(stage, *paths), strict=True)
        if row["status"] == "ok"
    }
    assert max(efforts, key=efforts.get) == "sample_00005854"
    assert efforts["sample_00005854"] > -4.5
