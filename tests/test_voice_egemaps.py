"""The functionals of eGeMAPS, where they are asked for."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from made_clips import at_rate, noise, silence, write_clip
from made_voices import babble, sing

from merr_pipeline.doctor import check_ready, examine
from merr_pipeline.schema import VOICE, Clip, ClipId, MerrError
from merr_pipeline.settings import load_settings
from merr_pipeline.speech import egemaps
from merr_pipeline.speech.voice import VoiceStage
from merr_pipeline.stage import Work

PITCH = "F0semitoneFrom27.5Hz_sma3nz_percentile50.0"


def stage_with(asked: bool) -> VoiceStage:
    settings = load_settings(overrides=[f"voice.egemaps={asked}"], environment={})
    return VoiceStage(settings)


def row_of(stage: VoiceStage, folder: Path, sound: np.ndarray) -> dict:
    """The row as it comes out of a store."""
    frames = at_rate([90] * round(25 * len(sound) / 16_000))
    path = write_clip(folder / "clip.mov", frames, sound=sound)
    probe = {"status": "ok", "kind": "video", "has_sound": True}
    stage.setup()
    [row] = stage.annotate([Work(Clip(ClipId("a"), path, "a", "a"), {"probe": probe})])
    heads = {"clip_id": "a", "input_key": "k", "row_hash": "h"}
    return pa.Table.from_pylist([{**heads, **row}], schema=VOICE).to_pylist()[0]


def said() -> np.ndarray:
    return np.concatenate([silence(0.4), babble(150, 6, 4.0), silence(0.4)])


def test_unasked_there_are_none_and_opensmile_is_in_no_fingerprint(tmp_path):
    stage = stage_with(False)
    assert row_of(stage, tmp_path, said())["egemaps"] is None
    assert "opensmile" not in stage.identity().tool_version


def test_asked_without_opensmile_a_build_does_not_start_and_the_licence_is_said(monkeypatch):
    monkeypatch.setattr(egemaps, "PACKAGE", "no-such-package")
    settings = load_settings(overrides=["voice.egemaps=true", "face.tool=openface"], environment={})
    with pytest.raises(MerrError, match=r"openSMILE .* is missing: pip install .*\[egemaps\]"):
        check_ready(settings)
    with pytest.raises(MerrError, match="forbids commercial use"):
        VoiceStage(settings).identity()
    [need] = [need for need in examine(settings) if "openSMILE" in need.what]
    assert need.needed
    assert need.found is None


@pytest.mark.extras
def test_the_88_functionals_are_kept_under_their_names(tmp_path):
    found = row_of(stage_with(True), tmp_path, said())["egemaps"]
    values = {item["name"]: item["value"] for item in found}
    assert len(found) == len(values) == 88
    assert 27.5 * 2 ** (values[PITCH] / 12) == pytest.approx(150, rel=0.02)
    assert all(np.isfinite(list(values.values())))
    small = values["slopeUV0-500_sma3nz_amean"]
    assert round(small, 3) != small  # a thousandth is no unit for a slope


@pytest.mark.extras
def test_they_are_the_same_each_time_whatever_was_heard_before():
    smile = egemaps.Egemaps()
    first = smile.measure(said(), 16_000)
    smile.measure(sing(300, 1.0), 16_000)
    assert smile.measure(said(), 16_000) == first == egemaps.Egemaps().measure(said(), 16_000)


@pytest.mark.extras
def test_where_nobody_can_have_spoken_there_are_none(tmp_path):
    assert row_of(stage_with(True), tmp_path, noise(1.0, 0.01))["egemaps"] is None
    assert egemaps.Egemaps().measure(np.zeros(1000, np.float32), 16_000) is None


@pytest.mark.extras
def test_the_fingerprint_and_the_doctor_name_opensmile_and_its_terms():
    found = version("opensmile")
    assert f"opensmile {found} (eGeMAPSv02)" in stage_with(True).identity().tool_version
    settings = load_settings(overrides=["voice.egemaps=true"], environment={})
    [need] = [need for need in examine(settings) if "openSMILE" in need.what]
    assert need.found is not None
    assert found in need.found
    assert "forbids commercial use" in need.found
