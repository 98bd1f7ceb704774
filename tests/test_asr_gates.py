"""Which texts of a speech recogniser are believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merr_pipeline.speech.asr.contract import Heard
from merr_pipeline.speech.asr.gates import load_gates, repeats
from merr_pipeline.templates import shipped_folder

GATES = load_gates()
SURE = {"avg_logprob": -0.2, "no_speech_prob": 0.01}


def rejected(text: str, speech_s: float = 3.0, **numbers: float | None) -> list[str]:
    return GATES.reject(Heard(text, **{**SURE, **numbers}), speech_s)


@pytest.mark.parametrize(
    "text",
    [
        "Who is there?",
        "I never said that I would come back.",
        "No, no, no, no!",  # people do say so
        "哈哈哈哈，你来啦。",
        "我不知道你在说什么。",
        "Thank you for watching over her while I was away.",
        "你看过字幕吗？",
        "字幕有问题。",
        "Thank you and please subscribe to this idea.",
    ],
)
def test_what_people_say_passes(text):
    assert rejected(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "Thank you for watching!",
        "Thank you. Thank you.",
        "謝謝觀看。",
        "Thanks for watching and please subscribe.",
        "by H.",
    ],
)
@pytest.mark.parametrize(
    "doubt",
    [{"no_speech_prob": 0.4}, {"avg_logprob": -0.8}, {"speech_s": 0.5}],
    ids=lambda doubt: next(iter(doubt)),
)
def test_a_usual_phrase_is_rejected_where_it_is_doubtful_and_only_there(text, doubt):
    assert rejected(text) == []
    assert "phrases" in rejected(text, **doubt)


@pytest.mark.parametrize(
    "text",
    [
        "Subtitles by the Amara.org community",
        "Untertitel im Auftrag des ZDF für funk, 2017",
        "字幕由Amara.org社群提供",
        "字幕：某某翻译",
        "Amara.org",
        "MING PAO CANADA",
        "Transcript Emily Beynon",
        "www.mooji.org",
        "© BF-WATCH TV 2021",
        "Teksting av Nicolai Winther",
        "请不吝点赞 订阅 转发 打赏支持明镜与点点栏目",
    ],
)
def test_a_credit_is_rejected_however_sure_the_model_is(text):
    assert "credits" in rejected(text, avg_logprob=-0.01, no_speech_prob=0.0)


@pytest.mark.parametrize(
    ("text", "loops"),
    [
        ("come on come on come on come on", True),
        ("come on come on come on", False),
        ("oh I see oh I see oh I see oh I see you", True),
        ("no " * 7, False),
        ("no " * 8, True),
        ("不要不要不要不要", True),
    ],
)
def test_a_loop_is_rejected(text, loops):
    assert ("loops" in rejected(text, speech_s=30)) == loops


def test_more_characters_than_anyone_says_are_rejected():
    text = "abcde fghij klmno pqrst uvwxy"  # 25 letters

    assert rejected(text, speech_s=1.0) == []
    assert rejected(text, speech_s=0.99) == ["characters"]


def test_text_that_compresses_too_well_is_rejected():
    text = " ".join(f"and then he said {n % 3}" for n in range(30))

    assert "compression" in rejected(text, speech_s=60)


def test_a_model_that_heard_no_speech_and_is_unsure_is_rejected():
    assert rejected("Good evening.", no_speech_prob=0.61, avg_logprob=-0.9) == []
    assert rejected("Good evening.", no_speech_prob=0.61, avg_logprob=-1.01) == [
        "no_speech",
        "low_confidence",
    ]


def test_an_unsure_text_is_of_low_confidence():
    assert rejected("Good evening.", avg_logprob=-1.001) == ["low_confidence"]
    assert rejected("Good evening.", avg_logprob=-1.0004) == []  # as it is stored: -1.0


def test_what_a_model_does_not_tell_stops_nothing():
    assert rejected("Good evening.", avg_logprob=None, no_speech_prob=None) == []


def test_silence_rejects_nothing():
    assert rejected("") == []


def test_gates_of_the_user_are_taken(tmp_path):
    text = (shipped_folder() / "asr_gates.yaml").read_text("utf-8")
    (tmp_path / "asr_gates.yaml").write_text(
        text.replace("least_avg_logprob: -1.0", "least_avg_logprob: -0.1")
    )

    own = load_gates(tmp_path)

    assert own.sha256 != GATES.sha256
    assert own.reject(Heard("Good evening.", avg_logprob=-0.2), 2.0) == ["low_confidence"]


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=3),
    st.integers(1, 6),
    st.lists(st.sampled_from("xyz"), max_size=4, unique=True),
)
def test_repeats_are_counted_wherever_they_stand(group, times, before):
    units = [*before, *group * times]

    assert repeats(units, len(group)) >= times


@given(st.lists(st.sampled_from("ab"), max_size=12), st.integers(1, 4))
def test_repeats_are_those_found_by_looking_at_every_place(units, size):
    most = 0
    for start in range(len(units) - size + 1):
        times = 1
        while (
            units[start : start + size] == units[start + times * size : start + (times + 1) * size]
        ):
            times += 1
        most = max(most, times)

    assert repeats(units, size) == most
