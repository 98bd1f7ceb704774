import pytest

from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.schema import MerrError
from merr_pipeline.templates import load_template

TABLE = load_action_units()


def test_names_are_those_of_facs():
    assert TABLE.units["AU12"].name == "Lip corner puller"
    assert TABLE.units["AU04"].name == "Brow lowerer"


def test_a_blink_is_never_emotion_relevant():
    assert not TABLE.units["AU45"].emotion_relevant
    assert TABLE.units["AU12"].emotion_relevant


def tiers(tool):
    return {code: support.reliability for code, support in TABLE.tools[tool].aus.items()}


def test_the_mesh_tools_report_the_units_that_were_measured_to_beat_chance():
    five = ("AU01", "AU07", "AU12", "AU25", "AU45")
    assert tiers("facemesh") == {**dict.fromkeys(five, "moderate"), "AU15": "low"}
    assert tiers("blendshapes") == {
        **dict.fromkeys(("AU01", "AU04", "AU07", "AU12", "AU15", "AU25"), "low"),
        "AU45": "moderate",
    }
    for tool in ("facemesh", "blendshapes"):
        units = TABLE.tools[tool].aus
        assert all(unit.r is not None for unit in units.values())
        assert {code for code, unit in units.items() if (unit.r or 0) < 0.2} == {"AU15"}


@pytest.mark.parametrize(
    ("values", "scale", "warned"),
    [
        ({"AU24": 1.0, "AU25": 1.0}, "intensity_0_5", [("AU24", "AU25")]),
        ({"AU24": 0.9, "AU25": 4.0}, "intensity_0_5", []),
        ({"AU25": 0.5, "AU28": 0.5}, "probability", [("AU25", "AU28")]),
        ({"AU05": 0.6, "AU43": 0.7}, "probability", [("AU05", "AU43")]),
        ({"AU05": 1.5, "AU45": 1.4}, "intensity_0_5", [("AU05", "AU45")]),
        ({"AU05": 1.5, "AU45": 1.4}, "proxy_0_5", []),
        # slightly both is a smile held back; strongly both is a fault of the tool
        ({"AU12": 2.9, "AU15": 4.0}, "intensity_0_5", []),
        ({"AU12": 3.0, "AU15": 4.0}, "intensity_0_5", [("AU12", "AU15")]),
        # grief, fear and anger look so
        ({"AU01": 4.0, "AU02": 4.0, "AU04": 4.0, "AU05": 4.0, "AU07": 4.0}, "intensity_0_5", []),
    ],
)
def test_units_that_one_face_hardly_shows_at_once_are_named(values, scale, warned):
    assert [pair.units for pair in TABLE.unlikely(values, scale)] == warned


def test_a_unit_that_was_not_seen_is_in_no_unlikely_pair():
    assert TABLE.unlikely({"AU24": 5.0}, "intensity_0_5") == []
    assert TABLE.unlikely({"AU24": 5.0, "AU25": None}, "intensity_0_5") == []


def test_each_unlikely_pair_says_why():
    assert all(pair.why for pair in TABLE.unlikely_together)


def test_an_unlikely_pair_of_an_unknown_unit_is_refused(tmp_path):
    text = load_template("action_units.yaml").text
    (tmp_path / "action_units.yaml").write_text(text.replace("[AU24, AU25]", "[AU24, AU99]"))
    with pytest.raises(MerrError, match="unlikely_together: unknown Action Units AU99"):
        load_action_units(tmp_path)


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
        "scales: {probability: {active_at: 0.5, strong_at: 0.9, max: 1.0}}\n"
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
