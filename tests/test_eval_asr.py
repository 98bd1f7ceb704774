"""``make eval-asr``: word and character error of a recogniser on clips with transcripts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from measuring.word_errors import error_rates, plain_words

REPO = Path(__file__).parent.parent


def test_case_punctuation_and_apostrophes_do_not_count():
    assert plain_words("Don’t — GO!") == ["dont", "go"]
    assert error_rates(["Don't go!"], ["dont, go"]) == (0.0, 0.0)


def test_errors_are_words_put_in_left_out_and_exchanged_over_those_said():
    words, _ = error_rates(["one two three four"], ["one too three four five"])
    assert words == pytest.approx(2 / 4)


def test_long_texts_count_more_than_short_ones():
    words, characters = error_rates(["a", "b c d e f g h"], ["x", "b c d e f g h"])
    assert words == characters == pytest.approx(1 / 8)


def test_in_a_script_without_blanks_each_sign_is_a_word():
    assert error_rates(["我不想去。"], ["我不像去"]) == (0.25, 0.25)


def test_more_may_be_invented_than_was_said_and_nothing_said_is_no_rate():
    assert error_rates(["yes"], ["no no no"])[0] == 3.0
    assert error_rates(["…"], ["words"]) == (None, None)


@pytest.mark.extras
def test_a_model_is_measured_on_clips_with_transcripts(asr_models):
    done = subprocess.run(
        [
            *("make", "-s", "eval-asr", f"MODEL={asr_models / 'ctranslate2'}"),
            *(f"DATA={REPO / 'data' / 'samples'}", f"BIN={Path(sys.executable).parent}"),
            *("DEV=", "ARGS=--set asr.word_times=false"),
        ],
        cwd=REPO, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("faster-whisper ctranslate2 (")
    heard, passed = done.stdout.splitlines()[-3:-1]
    assert heard.startswith("all that was heard")
    assert float(heard.split()[4].rstrip("%")) > 50  # the made model knows no word
    assert passed.split()[-1] == "0"  # and the gates let none of it through


@pytest.mark.extras
def test_without_clips_that_have_words_it_says_so(asr_models, tmp_path):
    done = subprocess.run(
        ["make", "-s", "eval-asr", f"MODEL={asr_models / 'ctranslate2'}", f"DATA={tmp_path}",
         f"BIN={Path(sys.executable).parent}", "DEV="],
        cwd=REPO, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode != 0
    assert "no clips" in done.stderr
