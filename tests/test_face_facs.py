import pytest

from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.schema import MerrError

TABLE = load_action_units()


def test_names_are_those_of_facs():
    assert TABLE.units["AU12"].name == "Lip corner puller"
    assert TABLE.units["AU04"].name == "Brow lowerer"


def test_a_blink_is_never_emotion_relevant():
    assert not TABLE.units["AU45"].emotion_relevant
    assert TABLE.units["AU12"].emotion_relevant


def test_the_mesh_tool_reports_eight_units_in_two_tiers():
    tiers = {code: support.reliability for code, support in TABLE.tools["facemesh"].aus.items()}

    moderate = {code for code, tier in tiers.items() if tier == "moderate"}
    assert moderate == {"AU01", "AU07", "AU12", "AU25", "AU45"}
    assert set(tiers) - moderate == {"AU06", "AU15", "AU26"}


def test_openface_reports_its_seventeen_intensities():
    numbers = [1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45]
    assert list(TABLE.tools["openface"].aus) == [f"AU{number:02}" for number in numbers]
    assert TABLE.tools["openface"].scale == "intensity_0_5"


def test_active_is_counted_from_the_threshold_of_the_scale_and_never_for_a_missing_value():
    assert TABLE.is_active(1.0, "intensity_0_5")
    assert not TABLE.is_active(0.999, "intensity_0_5")
    assert not TABLE.is_active(1.0, "proxy_0_5")
    assert not TABLE.is_active(None, "intensity_0_5")


def test_a_unit_that_the_table_does_not_name_is_refused(tmp_path):
    (tmp_path / "action_units.yaml").write_text(
        "units: {AU12: {name: Lip corner puller}}\n"
        "scales: {probability: {active_at: 0.5, max: 1.0}}\n"
        "tools: {pyfeat: {scale: probability, aus: {AU13: {reliability: low}}}}\n"
    )
    with pytest.raises(MerrError, match=r"tools\.pyfeat\.aus: unknown Action Units AU13"):
        load_action_units(tmp_path)


def test_a_misspelt_code_is_refused(tmp_path):
    (tmp_path / "action_units.yaml").write_text(
        "units: {AU1: {name: Inner brow raiser}}\nscales: {}\ntools: {}\n"
    )
    with pytest.raises(MerrError, match="write it as AU12"):
        load_action_units(tmp_path)
