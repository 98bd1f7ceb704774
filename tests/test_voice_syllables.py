"""Syllables of a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merr_pipeline.speech.syllables import count_syllables


@pytest.mark.parametrize(
    ("text", "language", "count"),
    [
        ("没关系，以后都不重要了。", "zh", 10),
        ("人々は〇", "ja", 4),
        ("きょうはいいてんきですね", "ja", 11),
        ("コーヒー", "ja", 2),
        ("안녕하세요", "ko", 5),
        ("We won the first prize, what a lovely day!", "en", 11),
        ("The houses called wanted little table people times", "en-GB", 13),
        ("I'm sure you don't.", "en", 4),
        ("No me importa lo que digas mañana.", "es", 12),
        ("Der Zug nach Hamburg fährt um zehn Uhr ab.", "de", 10),
        ("Я не знаю, почему мой он ушёл.", "ru", 11),
        ("Καλημέρα", "el", 4),
        ("room 42", "en", 3),
        ("ＯＫ　ＯＫ", None, 2),
        ("Hmm... tsk!", "en", 2),
        ("", None, 0),
        ("...?!", "en", 0),
    ],
)
def test_syllables_are_counted_in_many_scripts(text, language, count):
    assert count_syllables(text, language) == count


def test_a_final_e_is_silent_only_in_languages_where_it_is():
    assert count_syllables("donde", "es") == 2
    assert count_syllables("drive", "en") == 1
    assert count_syllables("drive", None) == 2


def test_a_script_that_cannot_be_counted_gives_no_number():
    assert count_syllables("مرحبا بك", "ar") is None
    assert count_syllables("hello สวัสดี", None) is None


@given(st.text(), st.none() | st.sampled_from(["en", "zh", "fr", ""]))
def test_any_text_has_a_count_or_none(text, language):
    count = count_syllables(text, language)
    assert count is None or 0 <= count <= 20 * len(text)
