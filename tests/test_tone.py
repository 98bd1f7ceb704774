"""The voice in words: edges, abstention, tempo from text, and what is never said."""

import re
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from made_voice_rows import transcript_row, voice_row

from merr_pipeline.schema import PROSODY, TONE, Clip, ClipId, MerrError
from merr_pipeline.settings import Settings, load_settings
from merr_pipeline.speech.tone import ToneStage, describe_voice, measures_of, tempo
from merr_pipeline.speech.tone_table import read_tone_words
from merr_pipeline.speech.wording import Heard, arousal_value, pitch_level_st, word_for
from merr_pipeline.stage import NotOk, Work, not_ok_row, ok_row
from merr_pipeline.templates import Template, load_template

WORDS = read_tone_words(load_template("tone_words.yaml"))
FLAGS = [
    *("low_snr", "snr_unsure", "clipped_sound", "tonal_background", "pitch_unstable"),
    "broken_sound",
]


def described(**voice):
    row = voice_row(**voice)
    rate, source = tempo(row, None, WORDS)
    return describe_voice(heard(row, rate), rate, source, WORDS)


def heard(voice, rate, **group):
    return Heard(measures_of(voice, rate, WORDS), voice["flags"], group)


def word_of(feature, **voice):
    found = {item["feature"]: item["word"] for item in described(**voice)["words"]}
    return found.get(feature)


def run(voice, transcript=None, *overrides):
    """The row of the stage, as the store would give it."""
    stage = ToneStage(load_settings(overrides=overrides, environment={}))
    seen = {"voice": voice, "transcript": transcript or transcript_row()}
    clip = Clip(ClipId("c"), Path("c.mp4"), "c.mp4", "0")
    (row,) = stage.annotate([Work(clip, seen)])
    heads = {"clip_id": "c", "input_key": "k", "row_hash": "h"}
    (row,) = pa.Table.from_pylist([{**heads, **row}], schema=TONE).to_pylist()
    return row


# --- edges -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("feature", "measure", "edge", "under", "at"),
    [
        ("intonation", "f0_sd_st", 1.3, "monotone", "fairly flat"),
        ("intonation", "f0_sd_st", 2.2, "fairly flat", "moderately varied"),
        ("intonation", "f0_sd_st", 3.2, "moderately varied", "lively"),
        ("intonation", "f0_sd_st", 4.2, "lively", "very wide"),
        ("contour", "contour_st", -2.0, "falls", "stays level"),
        ("contour", "contour_st", 2.0, "stays level", "rises"),
        ("ending", "ending_st", -1.5, "falling", None),
        ("ending", "ending_st", 1.5, None, "rising"),
        ("tempo", "rate_syll_s", 3.0, "very slow", "slow"),
        ("tempo", "rate_syll_s", 4.0, "slow", "moderate"),
        ("tempo", "rate_syll_s", 5.8, "moderate", "fast"),
        ("tempo", "rate_syll_s", 7.0, "fast", "very fast"),
        ("effort", "effort_db", -18.0, "dull, slack", "gentle"),
        ("effort", "effort_db", -14.0, "gentle", "ordinary"),
        ("effort", "effort_db", -8.0, "ordinary", "bright, forceful"),
        ("effort", "effort_db", -4.5, "bright, forceful", "strident, pressed"),
        ("quality", "hnr_db", 7.0, "rough or breathy", "slightly rough or breathy"),
        ("quality", "hnr_db", 10.0, "slightly rough or breathy", "regular"),
        ("quality", "hnr_db", 17.0, "regular", "clear"),
    ],
)
def test_a_word_changes_at_its_edge(feature, measure, edge, under, at):
    quiet = {"effort_db": -13.0}  # keeps arousal low, where no word is refined
    assert word_of(feature, **{**quiet, measure: edge - 0.001}) == under
    assert word_of(feature, **{**quiet, measure: edge}) == at


def test_a_number_is_rounded_before_it_meets_an_edge():
    assert word_of("tempo", rate_syll_s=3.9996) == "moderate"
    assert word_of("tempo", rate_syll_s=3.9994) == "slow"
    assert word_of("intonation", voiced_s=0.5996) is not None


@pytest.mark.parametrize(
    ("semitones", "word"),
    [
        (-4.1, "very low"),
        (-3.9, "low"),
        (-1.6, "low"),
        (-1.4, "mid-range"),
        (1.9, "mid-range"),
        (2.1, "raised"),
        (3.9, "raised"),
        (4.1, "high"),
        (6.9, "high"),
        (7.1, "very high"),
    ],
)
def test_pitch_is_judged_in_its_register(semitones, word):
    hz = {reference: reference * 2 ** (semitones / 12) for reference in (118, 210)}
    if hz[118] < 145:
        assert word_of("pitch_level", f0_median_hz=hz[118]) == word
    if hz[210] >= 180:
        assert word_of("pitch_level", f0_median_hz=hz[210]) == word


@pytest.mark.parametrize("f0_median_hz", [145.0, 160.0, 179.99])
def test_between_the_registers_there_is_no_word_for_the_pitch_level(f0_median_hz):
    assert pitch_level_st(f0_median_hz, WORDS) is None
    assert word_of("pitch_level", f0_median_hz=f0_median_hz) is None
    assert "tempo" in described(f0_median_hz=f0_median_hz)["tone"]


@pytest.mark.parametrize(
    ("pauses", "word"),
    [
        ([], "no pauses"),
        ([0.3], "one pause"),
        ([0.7], "one pause"),
        ([0.71], "one long pause"),
        ([0.3, 0.9], "several pauses"),
    ],
)
def test_pauses_are_told_by_number_and_length(pauses, word):
    assert word_of("pauses", pauses=pauses) == word


def test_beside_each_word_stands_the_number_it_came_from():
    words = described(pauses=[0.3, 0.4], hnr_db=9.5)["words"]
    numbers = {item["feature"]: (item["value"], item["unit"]) for item in words}
    assert numbers == {
        "pitch_level": (210.0, "Hz"),
        "intonation": (2.5, "st"),
        "contour": (0.0, "st"),
        "tempo": (4.9, "syll/s"),
        "pauses": (2.0, "pauses"),
        "effort": (-11.0, "dB"),
        "quality": (9.5, "dB"),
    }


# --- arousal ---------------------------------------------------------------------------------


def arousal(**prosody):
    return measures_of(voice_row(**prosody), prosody.get("rate_syll_s", 4.9), WORDS)["arousal"]


def test_the_ordinary_voice_has_no_arousal_and_each_term_weighs_what_it_should():
    assert arousal() == 0
    assert arousal(effort_db=-6.0) == pytest.approx(0.3)
    assert arousal(f0_sd_st=4.2) == pytest.approx(0.2)
    assert arousal(rate_syll_s=6.9) == pytest.approx(0.15)
    assert arousal(f0_median_hz=210 * 2 ** (5 / 12)) == pytest.approx(0.35, abs=1e-3)


def test_a_single_measure_cannot_carry_arousal_further_than_its_clip():
    assert arousal(effort_db=30.0) == pytest.approx(0.45)


def test_between_the_registers_the_other_measures_are_scaled_up():
    assert arousal(f0_median_hz=160.0, effort_db=-6.0) == pytest.approx(0.3 / 0.65, abs=1e-3)


def test_the_tempo_of_a_word_or_two_does_not_count_for_arousal():
    assert arousal(speech_s=0.9, rate_syll_s=8.9) == 0


def test_without_enough_measures_there_is_no_arousal():
    measures = {term.measure: None for term in WORDS.arousal.terms} | {
        "speech_s": 2.0,
        "snr_db": 30.0,
    }
    assert arousal_value({**measures, "effort_db": -5.0}, [], WORDS.arousal) is None
    assert arousal(flags=["pitch_unstable"]) is None


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (-0.501, "very low"),
        (-0.5, "low"),
        (-0.2, "medium"),
        (0.199, "medium"),
        (0.2, "high"),
        (0.549, "high"),
        (0.55, "very high"),
        (None, None),
    ],
)
def test_arousal_has_five_words(value, word):
    assert word_for(value, WORDS.arousal.steps) == word


# --- abstention ------------------------------------------------------------------------------


@pytest.mark.parametrize("little", [{"speech_s": 0.29}, {"voiced_s": 0.24}])
def test_too_little_speech_is_not_described(little):
    row = run(voice_row(**little))
    assert (row["status"], row["reason"], row["tone"]) == ("skipped", "little_speech", None)


def test_a_voice_of_which_one_thing_can_be_said_is_not_described():
    """Half a second with a steady pitch is of "ordinary timbre", and that tells nothing."""
    short = {"speech_s": 0.54, "voiced_s": 0.5, "effort_db": -10.0}
    row = run(voice_row(**short))
    assert (row["status"], row["reason"], row["tone"]) == ("skipped", "little_speech", None)
    assert row["detail"] == "too little to describe a voice by: ordinary timbre"

    more = described(**short | {"voiced_s": 0.6})
    assert more["tone"].count(";") >= 1


def test_little_voiced_speech_has_no_words_for_pitch_and_says_so():
    row = described(voiced_s=0.59)
    assert {item["feature"] for item in row["words"]}.isdisjoint({"pitch_level", "intonation"})
    assert "quality" not in {item["feature"] for item in row["words"]}
    assert row["cautions"] == ["little voiced speech, so pitch is not described"]


def test_less_than_a_second_of_speech_has_no_tempo():
    assert word_of("tempo", speech_s=0.99) is None
    assert word_of("pauses", speech_s=0.99) is None
    assert word_of("tempo", speech_s=1.0) == "moderate"


@pytest.mark.parametrize("flag", ["low_snr", "snr_unsure", "tonal_background", "clipped_sound"])
def test_voice_quality_is_not_judged_over_noise_music_or_clipping(flag):
    assert word_of("quality") == "regular"
    row = described(flags=[flag])
    assert "quality" not in {item["feature"] for item in row["words"]}
    assert len(row["cautions"]) == 1


def test_unstable_pitch_is_not_described():
    row = described(flags=["pitch_unstable"])
    assert [item["feature"] for item in row["words"]] == ["tempo", "pauses", "effort", "quality"]
    assert row["arousal"] is None
    assert "several people speak" in row["cautions"][0]


def test_a_plain_voice_has_no_cautions():
    assert described()["cautions"] == []


def test_every_flag_has_its_caution():
    assert set(WORDS.cautions) == {*FLAGS, "little_voiced"}


# --- tempo -----------------------------------------------------------------------------------


def test_a_transcript_near_the_rate_heard_gives_the_tempo():
    row = run(
        voice_row(speech_s=2.65, rate_syll_s=4.7), transcript_row("没关系，以后都不重要了。", "zh")
    )
    assert (row["rate_syll_s"], row["rate_source"]) == (
        pytest.approx(10 / 2.65, abs=1e-3),
        "transcript",
    )
    assert "slow tempo" in row["tone"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no", "far fewer syllables than were heard"),
        ("a " * 40, "faster than anybody speaks"),
        ("a " * 16, "far more syllables than were heard"),
        ("مرحبا بك", "a script that is not counted"),
        ("...", "no words"),
    ],
)
def test_a_transcript_that_does_not_fit_the_sound_is_not_counted(text, why):
    row = run(voice_row(speech_s=2.0, rate_syll_s=4.9), transcript_row(text))
    assert (row["rate_syll_s"], row["rate_source"]) == (4.9, "nuclei"), why


def test_the_transcript_may_be_left_out_by_setting():
    text = transcript_row("one two three four five six seven", "en")
    assert run(voice_row(), text)["rate_source"] == "transcript"
    assert run(voice_row(), text, "tone.tempo_from=nuclei")["rate_source"] == "nuclei"


# --- the sentence ----------------------------------------------------------------------------


def test_the_whole_sentence_of_a_voice_of_which_all_is_known():
    row = run(
        voice_row(f0_median_hz=260.0, contour_st=-3.0, ending_st=2.0, hnr_db=18, pauses=[0.4])
    )
    assert row["tone"] == (
        "raised pitch; moderately varied intonation that falls, with a rising end; "
        "moderate tempo with one pause; ordinary timbre; clear voice quality; high vocal arousal"
    )
    assert (row["arousal_word"], row["tone_source"]) == ("high", "prosody_rules")


def test_what_has_no_word_leaves_no_hole_in_the_sentence():
    row = described(contour_st=None, ending_st=-2.0, rate_syll_s=None, hnr_db=None)
    assert row["tone"] == (
        "mid-range pitch; moderately varied intonation, with a falling end; "
        "ordinary timbre; medium vocal arousal"
    )
    assert (row["rate_syll_s"], row["rate_source"]) == (None, None)


FORBIDDEN = re.compile(
    r"\b(loud|quiet|soft|man|woman|male|female|men|women|boy|girl|child|adult|old|young|"
    r"he|she|his|her|him|lady|gentleman|neutral|happy|sad|angry|hesitant|agitated|nervous)\b",
    re.IGNORECASE,
)


def test_no_word_of_the_file_tells_loudness_gender_age_or_emotion():
    data = load_template("tone_words.yaml").data
    for text in strings(data):
        assert not FORBIDDEN.search(text), text


def strings(data):
    if isinstance(data, str):
        yield data
    elif isinstance(data, (dict, list)):
        for item in data.values() if isinstance(data, dict) else data:
            yield from strings(item)


NUMBERS = st.none() | st.floats(-200, 200) | st.floats(allow_nan=False, allow_infinity=False)
MEASURES = [field.name for field in PROSODY if field.name != "snr_method"]


@given(
    st.fixed_dictionaries(dict.fromkeys(MEASURES, NUMBERS)),
    st.integers(0, 600_000).map(lambda ms: ms / 1000),
    st.lists(st.floats(0.25, 10), max_size=4),
    st.sets(st.sampled_from(FLAGS)),
    st.none() | st.text(max_size=30),
)
def test_any_voice_is_described_or_refused_with_a_reason(prosody, speech_s, pauses, flags, text):
    if prosody["f0_median_hz"] is not None:
        prosody["f0_median_hz"] = abs(prosody["f0_median_hz"])
    voice = voice_row(speech_s, pauses, sorted(flags), **prosody)
    try:
        rate, source = tempo(voice, transcript_row(text), WORDS)
        row = ok_row(describe_voice(heard(voice, rate), rate, source, WORDS))
    except NotOk as ended:
        row = not_ok_row(ended)
    if row["status"] == "skipped":
        assert row["reason"] == "little_speech"
        return
    assert row["tone"]
    assert not FORBIDDEN.search(row["tone"])
    assert "{" not in row["tone"]
    assert "[" not in row["tone"]
    pa.Table.from_pylist([row], schema=pa.schema([f for f in TONE if f.name in row]))


# --- upstream --------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["no_audio_stream", "still", "no_speech"])
def test_where_there_is_no_voice_the_tone_is_skipped_for_the_same_reason(reason):
    row = run(voice_row(status="skipped", reason=reason))
    assert (row["status"], row["reason"], row["tone"]) == ("skipped", reason, None)


def test_no_speech_that_may_be_crying_is_not_called_silence():
    voice = voice_row(status="skipped", reason="speech_uncertain") | {"speech_uncertain": True}
    assert "crying" in run(voice)["detail"]


def test_a_failed_voice_leaves_nothing_to_describe():
    row = run(voice_row(status="failed", reason="audio_decode_error"))
    assert (row["status"], row["reason"]) == ("skipped", "upstream")
    assert row["detail"] == "voice: audio_decode_error"


# --- the file --------------------------------------------------------------------------------


def changed(**changes):
    data = load_template("tone_words.yaml").data
    for path, value in changes.items():
        *sections, last = path.split("__")
        place = data
        for name in sections:
            place = place[name]
        place[last] = value
    return Template("tone_words.yaml", yaml.safe_dump(data), "0")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"features__tempo__measure": "speed"}, "speed: no measure of the voice"),
        ({"sentence__parts": ["{tmpo} tempo"]}, "tmpo: no feature"),
        ({"features__tempo__steps": [{"below": 3, "word": "a"}]}, "the last must have no edge"),
        (
            {"arousal__steps": [{"below": 3, "word": "a"}, {"below": 1, "word": "b"}]},
            "steps of arousal must rise",
        ),
        ({"features__effort__not_with": ["wind"]}, "wind: a flag without a caution"),
        ({"features__effort__colour": "red"}, "features.effort.colour"),
        ({"arousal__terms": [{"measure": "pitch"}]}, "arousal.terms.0.weight"),
    ],
)
def test_a_fault_in_the_file_is_named(changes, fault):
    with pytest.raises(MerrError, match=r"tone_words\.yaml") as caught:
        read_tone_words(changed(**changes))
    assert fault in str(caught.value)


def test_own_words_change_the_fingerprint_and_the_text(tmp_path):
    own = load_template("tone_words.yaml").text.replace("word: mid-range", "word: middling")
    (tmp_path / "tone_words.yaml").write_text(own, "utf-8")
    overrides = (f"templates={tmp_path}",)
    assert run(voice_row(), None, *overrides)["tone"].startswith("middling pitch")
    shipped = ToneStage(Settings()).identity()
    changed_stage = ToneStage(load_settings(overrides=overrides, environment={}))
    assert changed_stage.identity().fingerprint() != shipped.fingerprint()
    nuclei = ToneStage(load_settings(overrides=["tone.tempo_from=nuclei"], environment={}))
    assert nuclei.identity().fingerprint() != shipped.fingerprint()


def test_a_translation_does_not_tell_the_tempo_and_its_original_does():
    voice = voice_row(speech_s=2.0, rate_syll_s=5.0)
    words = "one two three four five six seven eight nine ten"  # 11 syllables in 2 s
    translation = transcript_row(words, "en", is_translation=True, spoken_language="zh")
    beside = {**translation, "original_transcript": "一二三四五六七八九"}

    assert tempo(voice, transcript_row(words, "en"), WORDS) == (5.5, "transcript")
    assert tempo(voice, translation, WORDS) == (5.0, "nuclei")
    assert tempo(voice, beside, WORDS) == (4.5, "transcript")
