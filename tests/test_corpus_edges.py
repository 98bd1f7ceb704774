"""Edges between words from a corpus: quantiles per group, written once, never changed silently."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from builds import SAMPLES, build, hashes, made, merr, rows
from made_rows import MadeStore, made_identities

from merr_pipeline.dataset.assemble import assemble
from merr_pipeline.schema import Clip, ClipId, MerrError
from merr_pipeline.settings import load_settings
from merr_pipeline.speech.corpus_edges import edges_of, with_edges
from merr_pipeline.speech.tone import ToneStage, group_of
from merr_pipeline.speech.tone_table import ToneWords, read_tone_words
from merr_pipeline.speech.wording import Heard
from merr_pipeline.templates import Template, load_template, shipped_folder

SHIPPED = load_template("tone_words.yaml")
WORDS = read_tone_words(SHIPPED)
MEASURES = {
    "pitch_st": 0.0,
    "f0_median_hz": 210.0,
    "f0_sd_st": 2.5,
    "contour_st": 0.0,
    "ending_st": 0.0,
    "voiced_s": 1.5,
    "effort_db": -11.0,
    "hnr_db": 12.0,
    "snr_db": 25.0,
    "speech_s": 2.0,
    "rate_syll_s": 5.0,
    "pause_count": 0.0,
    "longest_pause_s": None,
    "arousal": 0.0,
}


def voices(rates, **group) -> list[Heard]:
    return [Heard(MEASURES | {"rate_syll_s": float(rate)}, (), group) for rate in rates]


def words_with(voices: list[Heard], words: ToneWords = WORDS) -> ToneWords:
    return read_tone_words(Template("tone_words.yaml", with_edges(SHIPPED, voices, words), "0"))


def tempo_of(words: ToneWords, rate: float, **group) -> str | None:
    steps = words.steps("tempo", group)
    return next(step.word for step in steps if rate < step.below)


def test_edges_are_the_quantiles_of_the_corpus():
    rates = np.linspace(1, 3, 401)  # slow talkers, all of them

    words = words_with(voices(rates))

    (row,) = words.edges["tempo"]
    assert row.clips == 401
    assert row.below == pytest.approx([1.1, 1.4, 2.6, 2.9])
    assert tempo_of(WORDS, 2.0) == "very slow"
    assert tempo_of(words, 2.0) == "moderate"
    assert tempo_of(words, 2.95) == "very fast"


def test_the_own_language_comes_before_everybody_and_the_speaker_before_both():
    corpus = [
        *voices(np.linspace(2, 4, 300), language="zh"),
        *voices(np.linspace(6, 8, 300), language="ja"),
        *voices(np.linspace(4, 5, 250), language="ja", speaker="s1"),
    ]

    words = words_with(corpus)

    assert [row.named() for row in words.edges["tempo"]] == [
        "speaker=s1",
        "language=ja",
        "language=zh",
        "everybody",
    ]
    assert tempo_of(words, 3.95, language="zh") == "very fast"
    assert tempo_of(words, 4.3, language="ja", speaker="s1") == "moderate"
    assert tempo_of(words, 4.3, language="ja", speaker="s2") == "slow"
    assert tempo_of(words, 4.95, language="en") == "moderate"


def test_a_group_of_199_keeps_the_fixed_edges():
    assert edges_of(voices(np.linspace(1, 3, 199)), WORDS) == {}
    with pytest.raises(MerrError, match="199 described voices are too few"):
        words_with(voices(np.linspace(1, 3, 199)))


def test_voices_in_which_a_feature_was_not_measured_do_not_count():
    short = [Heard(v.measures | {"speech_s": 0.5}, (), {}) for v in voices(np.linspace(1, 3, 400))]
    unstable = [
        Heard(MEASURES | {"f0_sd_st": n / 100}, ("pitch_unstable",), {}) for n in range(400)
    ]

    assert "tempo" not in edges_of(short, WORDS)
    assert "intonation" not in edges_of(unstable, WORDS)


def test_values_that_are_all_alike_give_no_edges():
    assert "tempo" not in edges_of(voices([5.0] * 400), WORDS)


def test_edges_are_not_made_from_edges():
    again = words_with(voices(np.linspace(1, 3, 300)))

    with pytest.raises(MerrError, match="has edges from a corpus already"):
        with_edges(SHIPPED, voices(np.linspace(1, 3, 300)), again)


@pytest.mark.parametrize(
    ("edges", "fault"),
    [
        ([1.0, 2.0], "tempo has 5 words; its edges are one less, and rise"),
        ([1.0, 3.0, 2.0, 4.0], "tempo has 5 words; its edges are one less, and rise"),
    ],
)
def test_edges_that_do_not_fit_the_words_are_refused(edges, fault):
    table = yaml.safe_dump({"edges": {"tempo": [{"group": {}, "clips": 300, "below": edges}]}})
    with pytest.raises(MerrError, match=fault):
        read_tone_words(Template("tone_words.yaml", SHIPPED.text + table, "0"))


def test_the_spoken_language_is_the_manifests_and_the_pitch_class_is_measured():
    clip = Clip(ClipId("c"), Path("c.mp4"), "c.mp4", "0", language="zh-CN", speaker_id="s1")
    voice = {"prosody": {"f0_median_hz": 120.0}}
    translation = {"text_language": "en", "spoken_language": None}

    assert group_of(voice, clip, translation, WORDS) == {
        "speaker": "s1",
        "register": "lower",
        "language": "zh",
    }


def test_the_edges_in_use_are_saved_with_the_dataset(tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    changed = SHIPPED.text.replace("below: 4.0, word: raised", "below: 3.5, word: raised")
    (own / "tone_words.yaml").write_text(changed)
    settings = load_settings(overrides=[f"templates={own}"], environment={})

    assemble(tmp_path, [], MadeStore(), [], settings, made_identities())

    saved = tmp_path / "dataset" / "templates"
    assert (saved / "tone_words.yaml").read_text() == changed
    assert {path.name for path in saved.iterdir()} == {
        path.name for path in shipped_folder().iterdir()
    }


def test_who_speaks_is_in_the_row_key_only_where_edges_differ_by_it(tmp_path):
    clip = Clip(ClipId("c"), Path("c.mp4"), "c.mp4", "0", language="zh", speaker_id="s1")
    corpus = voices(np.linspace(1, 3, 300), speaker="s1")
    (tmp_path / "tone_words.yaml").write_text(with_edges(SHIPPED, corpus, WORDS), "utf-8")
    own = load_settings(overrides=[f"templates={tmp_path}"], environment={})

    assert ToneStage(load_settings(environment={})).facts(clip) == {}
    assert ToneStage(own).facts(clip) == {"speaker": "s1"}


@pytest.mark.long
def test_a_small_build_is_told_that_its_voices_are_too_few(samples_build, tmp_path):
    told = merr("tone-words", samples_build, "--to", tmp_path / "own", code=2)

    assert "described voices are too few" in told
    assert not (tmp_path / "own").exists()


@pytest.mark.long
def test_a_build_with_edges_of_its_own_makes_tone_and_texts_anew_and_nothing_twice(tmp_path):
    base, own, out = tmp_path / "base", tmp_path / "own", tmp_path / "out"
    base.mkdir()
    text = SHIPPED.text.replace("least_clips: 200", "least_clips: 3")
    (base / "tone_words.yaml").write_text(text, "utf-8")
    shutil.copytree(SAMPLES, tmp_path / "samples")
    build(out, "--set", f"templates={base}", clips=tmp_path / "samples")
    before = {row["clip_id"]: row["tone"] for row in rows(out, "clips")}

    told = merr("tone-words", out, "--to", own)
    build(out, "--set", f"templates={own}", clips=tmp_path / "samples")

    assert "tempo: speaker=portrait_a" in told
    assert made(out) == {"tone": 8, "fine": 8}
    after = {row["clip_id"]: row["tone"] for row in rows(out, "clips")}
    assert before.keys() == after.keys()
    assert before != after
    published = hashes(out)
    build(out, "--set", f"templates={own}", clips=tmp_path / "samples")
    assert made(out) == {}
    assert hashes(out) == published
    assert "is there already" in merr("tone-words", out, "--to", own, code=2)
