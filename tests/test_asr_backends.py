"""What each program for speech recognition promises, shown with models of random weights.

Their words mean nothing; that they come whole, in order, alike every time, and with the numbers
that the gates need, is what counts.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from merr_pipeline.settings import AsrSettings
from merr_pipeline.speech.asr.backends import open_backend
from merr_pipeline.speech.asr.contract import RATE_HZ, Backend, Heard
from merr_pipeline.stage import rounded

pytestmark = pytest.mark.extras

MODELS = {
    "faster-whisper": "ctranslate2",
    "openai-whisper": "whisper.pt",
    "transformers": "whisper",
}
LANGUAGES = ["en", "zh", None]


def sounds(count: int = 6) -> list[np.ndarray]:
    """Hums of other pitch, rhythm and length, each with a hiss of its own."""
    made = []
    for number in range(count):
        time_s = np.arange(int((1 + 0.37 * number) * RATE_HZ)) / RATE_HZ
        hum = np.sin(2 * np.pi * 100 * (number + 1) * time_s) * np.sin(
            2 * np.pi * (number + 1) * time_s
        )
        hiss = np.random.default_rng(number).normal(size=len(time_s))
        made.append((0.3 * hum + 0.01 * hiss).astype(np.float32))
    return made


def languages(count: int = 6) -> list[str | None]:
    return [LANGUAGES[number % len(LANGUAGES)] for number in range(count)]


def opened(models, backend: str, name: str | None = None, **settings) -> Backend:
    path = str(models / (name or MODELS[backend]))
    return open_backend(AsrSettings(backend=backend, model=path, **settings))


@pytest.fixture(scope="module", params=MODELS)
def backend_name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def backend(asr_models, backend_name) -> Backend:
    return opened(asr_models, backend_name)


@pytest.fixture(scope="module")
def heard(backend) -> list[Heard]:
    return backend.hear(sounds(), languages())


def alike(one, other) -> bool:
    """Equal as they are stored."""
    return rounded(asdict(one)) == rounded(asdict(other))


def test_each_sound_gets_its_own_answer_in_order(backend, heard):
    backwards = backend.hear(sounds()[::-1], languages()[::-1])[::-1]
    assert len({answer.text for answer in heard}) == 6  # so that a swap would show
    assert all(map(alike, heard, backwards))


def test_the_same_sound_gives_the_same_bits_again(backend, heard):
    assert backend.hear(sounds(2), languages(2)) == heard[:2]


def test_an_answer_has_the_numbers_that_the_gates_need(heard):
    for answer in heard:
        assert answer.text.strip()
        assert answer.avg_logprob < 0
        assert 0 <= answer.no_speech_prob <= 1
        assert answer.compression_ratio > 0


def test_a_language_that_is_named_is_taken_and_any_other_is_found_with_a_probability(heard):
    english, chinese, unknown, *_ = heard

    assert (english.language, english.language_probability) == ("en", None)
    assert (chinese.language, chinese.language_probability) == ("zh", None)
    assert len(unknown.language) in (2, 3)
    assert 0 < unknown.language_probability <= 1


def test_words_have_times_inside_the_sound_and_make_up_the_text(heard):
    for sound, answer in zip(sounds(), heard, strict=True):
        assert "".join(word.text for word in answer.words).strip() == answer.text.strip()
        times = [time for word in answer.words for time in (word.start_s, word.end_s)]
        assert times == sorted(times)
        assert times[0] >= 0
        assert times[-1] <= len(sound) / RATE_HZ + 0.01
        assert all(0 <= word.probability <= 1 for word in answer.words)


@pytest.mark.parametrize("beam_size", [1, 5])
def test_two_programs_read_the_same_numbers_from_the_same_model(asr_models, beam_size):
    one, other = (
        opened(asr_models, name, beam_size=beam_size).hear(sounds(2), [None] * 2)
        for name in ("openai-whisper", "transformers")
    )

    for a, b in zip(one, other, strict=True):
        assert a.language == b.language
        assert a.language_probability == pytest.approx(b.language_probability, abs=1e-4)
        assert a.avg_logprob == pytest.approx(b.avg_logprob, abs=1e-3)
        assert a.no_speech_prob == pytest.approx(b.no_speech_prob, rel=1e-3)


def test_joined_sounds_give_the_rows_of_each_alone(asr_models):
    alone = opened(asr_models, "faster-whisper", batch_size=1).hear(sounds(), languages())
    joined = opened(asr_models, "faster-whisper", batch_size=4).hear(sounds(), languages())

    assert all(map(alike, alone, joined))


def test_where_a_track_does_not_give_one_segment_per_sound_each_is_heard_alone(
    asr_models, monkeypatch
):
    backend = opened(asr_models, "faster-whisper", batch_size=9)
    whole, asked = backend._segments, []

    def losing_one(track, slots, language):
        asked.append(len(slots))
        segments = whole(track, slots, language)
        return segments[:-1] if len(slots) > 1 else segments

    monkeypatch.setattr(backend, "_segments", losing_one)
    heard = backend.hear(sounds(4), ["en"] * 4)

    assert asked == [4, 1, 1, 1, 1]
    assert heard == opened(asr_models, "faster-whisper").hear(sounds(4), ["en"] * 4)


@pytest.fixture(scope="module")
def qwen(asr_models) -> Backend:
    return opened(asr_models, "transformers", "qwen3_asr", beam_size=1)


def test_qwen3_asr_answers_in_order_and_alike_again(qwen):
    heard = qwen.hear(sounds(3), ["en"] * 3)

    assert len({answer.text for answer in heard}) == 3
    assert qwen.hear(sounds(3)[::-1], ["en"] * 3)[::-1] == heard


@pytest.mark.parametrize("beam_size", [1, 2])
def test_qwen3_asr_tells_how_sure_it_is_and_no_more(asr_models, beam_size):
    backend = opened(asr_models, "transformers", "qwen3_asr", beam_size=beam_size)

    (answer,) = backend.hear(sounds(1), ["zh"])

    assert answer.text
    assert answer.avg_logprob < 0
    assert (answer.language, answer.words, answer.no_speech_prob) == ("zh", (), None)


def test_without_word_times_the_text_is_the_same(asr_models, backend_name, heard):
    plain = opened(asr_models, backend_name, word_times=False).hear(sounds(2), languages(2))

    assert [answer.text for answer in plain] == [answer.text for answer in heard[:2]]
    assert all(answer.words == () for answer in plain)


def test_nothing_to_hear_is_no_error(backend):
    assert backend.hear([], []) == []
