"""One label for each clip: what is read, what is counted, and the scores beside scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from merr_pipeline.emotion.spaces import load_label_space
from merr_pipeline.evaluation.bootstrap import Value, differences, with_intervals
from merr_pipeline.evaluation.labels import (
    MISSING,
    OTHER,
    UNREAD,
    WRONG_WAYS,
    by_label,
    headline,
    pair,
)
from merr_pipeline.evaluation.reading import Reader, Way, Why, load_rules

LABELS = ("happy", "sad", "neutral")
SPACE = load_label_space("merr9")
READER = Reader(SPACE, load_rules())


# reading


@pytest.mark.parametrize(
    ("answer", "label", "why"),
    [
        ("happy", "happy", Why.ALONE),
        ("  **Anger.** ", "angry", Why.ALONE),
        ("slightly annoyed", "angry", Why.ALONE),
        ("calm", "neutral", Why.ALONE),
        ("开心", "happy", Why.ALONE),
        ('{"label": "surprise", "why": "wide eyes, no fear"}', "surprise", Why.ALONE),
        ("<think>she looks sad</think>\n<answer>Worried</answer>", "worried", Why.ALONE),
        ("so she is sad</think>happy", "happy", Why.ALONE),
        ("The person is feeling sad.", "sad", Why.ONLY),
        ("not happy, but sad", "sad", Why.ONLY),
        ("She isn’t angry; she seems worried.", "worried", Why.ONLY),
        ("he can't hide his anger", "angry", Why.ONLY),
        ("Neither happy nor sad, he is afraid.", "fear", Why.ONLY),
        ("She smiles happily. Therefore, although she smiles, she is sad.", "sad", Why.CONCLUSION),
        ("Joy at first. Overall it is anger rather than fear.", "angry", Why.CONCLUSION),
        ("Not only sad: therefore her emotion is anger and sadness.", "angry", Why.CONCLUSION),
        ("Which of happy, sad, angry? Answer: sad", "sad", Why.CONCLUSION),
        ("因此，他并不高兴，而是悲伤", "sad", Why.CONCLUSION),
        ("The dominant emotion is worry; there is some sadness too.", "worried", Why.CONCLUSION),
        ("A smile might mean joy. It can be inferred that she is angry.", "angry", Why.ONLY),
        ("Though it might suggest joy, the brow shows that he is worried.", "worried", Why.ONLY),
        ("Is she happy? No. She is sad.", "sad", Why.ONLY),
        ("She seems to be more annoyed than worried.", "angry", Why.ONLY),
        ("Consistent with happiness rather than surprise.", "happy", Why.ONLY),
        ("His mother's anger is feared. Therefore neutral.", "neutral", Why.CONCLUSION),
    ],
)
def test_a_label_is_read_where_one_is_meant(answer, label, why):
    read = READER.read(answer)

    assert (read.label, read.why) == (label, why)


@pytest.mark.parametrize(
    ("answer", "label", "why"),
    [
        ("", UNREAD, Why.EMPTY),
        ("...", UNREAD, Why.EMPTY),
        ("<think>happy, surely", UNREAD, Why.EMPTY),
        ("I cannot tell", UNREAD, Why.NONE),
        ("There is no fear and no doubt in it.", UNREAD, Why.NONE),
        ("The content of the words is plain, the voice tense.", UNREAD, Why.NONE),
        ("happy, sad", UNREAD, Why.SEVERAL),
        ('The clues do not bear out the given label "happy".', UNREAD, Why.NONE),
        ("disgust", OTHER, Why.ALONE),
    ],
)
def test_what_cannot_be_read_is_unread_and_never_neutral(answer, label, why):
    read = READER.read(answer)

    assert (read.label, read.why) == (label, why)


def test_a_label_that_the_space_lacks_is_another_emotion_and_not_neutral():
    six = Reader(load_label_space("mer2023"), load_rules())

    assert [six.read(one).label for one in ("fear", "contempt", "doubt")] == [OTHER] * 3


def test_the_published_way_takes_the_last_word():
    answer = "Therefore she is sad, not happy."

    assert READER.read(answer).label == "sad"
    assert READER.read(answer, Way.LAST_WORD).label == "happy"
    assert READER.read("she is sad today", Way.LAST_WORD).label == UNREAD


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("happy, excited and proud", ["happy", "excited", "proud"]),
        ("1", ["1"]),
        ("['Very sad', 'Anxious']", ["sad", "anxious"]),
        ('{"emotions": ["joy", "awe"]}', ["joy", "awe"]),
        ("She smiles with joy, though not without fear; no anger.", ["joy"]),
        ("", []),
    ],
)
def test_the_words_of_a_list_or_of_a_text_are_found(answer, words):
    assert READER.words(answer) == words


@given(st.text(max_size=200))
def test_whatever_a_model_says_gives_a_label_or_a_way_to_be_wrong(answer):
    read = READER.read(answer)

    assert read.label in (*SPACE.labels, OTHER, UNREAD)
    assert (read.label == UNREAD) == (read.why in (Why.EMPTY, Why.NONE, Why.SEVERAL))
    READER.words(answer)
    READER.read(answer, Way.LAST_WORD)


@given(st.sampled_from(SPACE.labels), st.sampled_from(("{}", "{}.", "**{}**", "It is {}!", '"{}"')))
def test_every_label_of_the_space_is_read_as_itself(label, form):
    assert READER.read(form.format(label)).label == label


# counting, by hand: 3 happy (2 right, 1 sad), 2 sad (1 unread, 1 right), 1 neutral (no answer)

TRUE = dict(zip("abcdef", ("happy", "happy", "happy", "sad", "sad", "neutral"), strict=True))
SAID = {"a": "happy", "b": "happy", "c": "sad", "d": UNREAD, "e": "sad"}


def test_the_matrix_has_the_labels_and_then_the_ways_to_be_wrong():
    counts = pair(LABELS, TRUE, SAID).counts()

    assert WRONG_WAYS == (OTHER, UNREAD, MISSING)
    assert counts.tolist() == [[2, 1, 0, 0, 0, 0], [0, 1, 0, 0, 1, 0], [0, 0, 0, 0, 0, 1]]


def test_the_scores_are_those_of_the_hand_computed_table():
    counts = pair(LABELS, TRUE, SAID).counts()
    precision, recall, f1 = by_label(counts)

    assert precision == pytest.approx([1, 1 / 2, 0])
    assert recall == pytest.approx([2 / 3, 1 / 2, 0])
    assert f1 == pytest.approx([4 / 5, 1 / 2, 0])
    assert headline(counts) == pytest.approx(
        [(3 * 0.8 + 2 * 0.5) / 6, 1.3 / 3, 3 / 6, (2 / 3 + 1 / 2) / 3]
    )


SAYABLE = (*LABELS, *WRONG_WAYS)


@given(st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(SAYABLE)), min_size=1))
def test_the_scores_are_those_of_scikit_learn(answers):
    true = {f"{k:03}": one for k, (one, _) in enumerate(answers)}
    said = {f"{k:03}": one for k, (_, one) in enumerate(answers)}
    counts = pair(LABELS, true, said).counts()
    trues, saids = list(true.values()), list(said.values())
    there = [label for label in LABELS if label in trues]

    def f1(average):
        return f1_score(trues, saids, labels=there, average=average, zero_division=0)

    assert counts.tolist() == confusion_matrix(trues, saids, labels=SAYABLE)[:3].tolist()
    assert headline(counts) == pytest.approx(
        [
            f1("weighted"),
            f1("macro"),
            accuracy_score(trues, saids),
            recall_score(trues, saids, labels=there, average="macro", zero_division=0),
        ]
    )


def test_without_a_clip_there_is_no_score():
    assert np.isnan(headline(pair(LABELS, {}, {}).counts())).all()


# intervals


def mean_of(values):
    array = np.array(values, float)
    return lambda chosen: np.array([array[chosen].mean()])


def test_the_interval_of_a_share_is_that_of_the_binomial():
    (value,) = with_intervals(mean_of([1] * 300 + [0] * 100), 400)

    half = 1.96 * (0.75 * 0.25 / 400) ** 0.5
    assert value.value == 0.75
    assert value.low == pytest.approx(0.75 - half, abs=0.006)
    assert value.high == pytest.approx(0.75 + half, abs=0.006)


def test_the_same_seed_draws_the_same_clips_and_another_draws_others():
    values = mean_of(np.arange(50) % 7)

    assert with_intervals(values, 50, seed=1) == with_intervals(values, 50, seed=1)
    assert with_intervals(values, 50, seed=1) != with_intervals(values, 50, seed=2)


def test_equal_clips_have_no_spread_and_one_clip_no_interval():
    assert with_intervals(mean_of([0.5] * 9), 9) == [Value(0.5, 0.5, 0.5, 9)]
    assert with_intervals(mean_of([0.5]), 1) == [Value(0.5, clips=1)]


def test_a_difference_is_taken_on_the_same_clips():
    """Clips differ much, the two models by the same on each: so the difference is sure."""
    hard = np.linspace(0, 1, 40)

    (value,) = differences(mean_of(hard + 0.1), mean_of(hard), 40)

    assert (value.value, value.low, value.high) == pytest.approx((0.1, 0.1, 0.1))
    assert value.is_clear
    assert not differences(mean_of(hard), mean_of(hard[::-1]), 40)[0].is_clear
