from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from merr_pipeline.settings import (
    PROFILES,
    Settings,
    SettingsError,
    describe_keys,
    known_keys,
    load_settings,
    profile_names,
)


def load(*overrides: str, profile: str = "embedded", **environment: str) -> Settings:
    return load_settings(profile, overrides, environment)


def test_override_beats_environment_beats_profile(tmp_path):
    profile = tmp_path / "mine.yaml"
    profile.write_text("moment: {smoothing_s: 0.5, edge_frames: 7, max_peaks: 3}")

    settings = load(
        "moment.max_peaks=9",
        profile=str(profile),
        MERR_MOMENT__EDGE_FRAMES="4",
        MERR_MOMENT__MAX_PEAKS="8",
    )

    assert settings.profile == "mine"
    moment = settings.moment
    assert (moment.smoothing_s, moment.edge_frames, moment.max_peaks) == (0.5, 4, 9)
    assert moment.rule == "emotion_aus"  # the default


@pytest.mark.parametrize(
    ("override", "near"),
    [
        ("face.tol=openface", "face.tool"),
        ("moment.smothing_s=1", "moment.smoothing_s"),
        ("engin.workers=2", "engine"),
        ("voice.pitch_flor_hz=60", "voice.pitch_floor_hz"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(override, near):
    with pytest.raises(SettingsError, match=f"Did you mean {near}\\?"):
        load(override)


def test_a_bad_value_names_the_key_and_what_may_stand_there():
    with pytest.raises(SettingsError, match=r"face\.tool = 'dlib'.*'facemesh', .* or 'openface'"):
        load("face.tool=dlib")


def test_a_misspelt_variable_is_refused_and_a_top_level_one_is_read(tmp_path):
    with pytest.raises(SettingsError, match=r"moment_rule is not a setting.*moment\.rule"):
        load(MERR_MOMENT_RULE="paper")
    assert load(MERR_TEMPLATES=str(tmp_path)).templates == tmp_path


def test_an_override_without_equals_sign_says_how_to_write_it():
    with pytest.raises(SettingsError, match="key=value"):
        load("face.tool")


def test_a_section_cannot_be_overwritten_by_a_value():
    with pytest.raises(SettingsError, match="face is a value, not a section"):
        load("face=1", "face.tool=openface")


def test_an_unknown_profile_names_those_there_are():
    with pytest.raises(SettingsError, match="embedded, local, openface"):
        load(profile="embeded")


def test_split_shares_must_sum_to_one():
    with pytest.raises(SettingsError, match="sum to 1"):
        load("dataset.split_shares=[0.5, 0.1, 0.1]")


@pytest.mark.parametrize("name", profile_names())
def test_every_shipped_profile_loads_and_sets_only_known_keys(name):
    settings = load(profile=name)

    assert settings.profile == name
    values = yaml.safe_load((PROFILES / f"{name}.yaml").read_text())
    assert holds(settings.model_dump(mode="json"), values)


def holds(tree: dict, values: dict) -> bool:
    """Whether a tree has these values, whatever else it has."""
    return all(
        holds(tree[key], value) if isinstance(value, dict) else tree[key] == value
        for key, value in values.items()
    )


def test_every_setting_has_a_meaning_and_is_listed_once():
    rows = describe_keys()

    assert [key for key, _, _ in rows] == known_keys()
    assert len(set(known_keys())) == len(known_keys())
    assert all(meaning.endswith(".") for _, _, meaning in rows)


def test_every_setting_is_read_somewhere_outside_settings():
    package = Path(__file__).parent.parent / "merr_pipeline"
    code = "\n".join(p.read_text() for p in package.rglob("*.py") if p.name != "settings.py")
    names = {key.rpartition(".")[2] for key in known_keys()}

    assert {name for name in names if name not in code} == set()


def test_settings_cannot_be_changed_after_loading():
    settings = load()

    assert isinstance(settings, BaseModel)
    with pytest.raises(ValueError, match="frozen"):
        settings.face.tool = "openface"
