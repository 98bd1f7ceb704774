"""Sets of emotions by wheels and groups, and the reward that is made of them."""

from __future__ import annotations

import numpy as np
import pytest
from made_wheels import write_wheels

from merr_pipeline.emotion.spaces import load_label_space
from merr_pipeline.evaluation.rewards import EmotionReward, emotion_reward
from merr_pipeline.evaluation.sets import compare_sets, hit_scores, set_scores
from merr_pipeline.evaluation.wheel import Classes, label_groups, load_wheels
from merr_pipeline.schema import MerrError


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Classes:
    return load_wheels(write_wheels(tmp_path_factory.mktemp("w") / "emotion_wheel"))


# words in classes


def test_a_word_goes_by_base_form_and_synonym_to_the_inner_class_of_each_wheel(wheels):
    assert wheels.of(["Happily"]) == [frozenset({"joy"})] * 5
    assert wheels.of(["gladness"]) == [frozenset({"joy"})] * 5  # glad, a synonym of happy
    assert wheels.of(["proudly"]) == [*[frozenset({"joy"})] * 4, frozenset({"pride"})]
    assert wheels.of(["afraid"]) == [frozenset({"fear"}), *[frozenset()] * 4]


def test_a_word_without_a_form_a_synonym_or_a_wheel_has_no_class(wheels):
    assert wheels.of(["neutral", "cheerful", "unheard", "merry"]) == [frozenset()] * 5
    assert not wheels.knows("neutral")
    assert wheels.knows("sadly")


def test_the_same_tables_as_csv_are_read_alike(wheels, tmp_path):
    assert load_wheels(write_wheels(tmp_path / "w", excel=False)) == wheels


@pytest.mark.parametrize("name", ["format.csv", "synonym.xlsx", "wheel4.xlsx"])
def test_a_missing_file_is_named(tmp_path, name):
    folder = write_wheels(tmp_path / "w")
    (folder / name).unlink()

    with pytest.raises(MerrError, match=name.partition(".")[0]):
        load_wheels(folder)


def test_a_file_that_is_no_table_is_named(tmp_path):
    folder = write_wheels(tmp_path / "w")
    (folder / "wheel2.xlsx").write_bytes(b"no zip")

    with pytest.raises(MerrError, match=r"wheel2\.xlsx cannot be read"):
        load_wheels(folder)
    with pytest.raises(MerrError, match="is not a folder"):
        load_wheels(tmp_path / "nowhere")


def test_a_table_without_its_columns_is_refused(tmp_path):
    folder = write_wheels(tmp_path / "w", excel=False)
    (folder / "wheel1.csv").write_text("level1,level2\nJoy,happy\n")

    with pytest.raises(MerrError, match="no column level3"):
        load_wheels(folder)


def test_by_groups_neutral_is_a_class_and_each_word_is_in_its_labels(wheels):
    groups = label_groups(load_label_space("merr9"))

    assert groups.of(["annoyed", "neutral", "joy"]) == [frozenset({"angry", "neutral", "happy"})]


# scores of sets, by hand

TRUE = {
    "a": ["happy", "sad"],  # said happily: precision 1, recall 1/2 on every wheel
    "b": ["proud"],  # said glad, sad: wheels 1-4 precision 1/2, recall 1; wheel 5 both 0
    "c": ["sadness"],  # no answer: 0 and 0
    "d": ["neutral"],  # no class: skipped
    "e": [],  # no truth: skipped
}
SAID = {"a": ["happily"], "b": ["glad", "sad"], "d": ["happy"], "e": ["sad"]}


def test_the_set_scores_are_those_of_the_hand_computed_table(wheels):
    sets = compare_sets(TRUE, SAID, wheels)

    four, five = (1.5 / 3, 1.5 / 3), (1 / 3, 0.5 / 3)
    f = [2 * p * r / (p + r) for p, r in (four, five)]
    assert sets.measures(np.arange(3)) == pytest.approx(
        [(4 * f[0] + f[1]) / 5, (4 * four[0] + five[0]) / 5, (4 * four[1] + five[1]) / 5]
    )
    assert sets.clip_ids == ("a", "b", "c")
    assert sets.skipped == ("d", "e")
    assert sets.skipped_neutral == 1
    assert sets.unanswered == ("c",)


def test_a_clip_counts_on_those_wheels_that_know_its_truth(wheels):
    sets = compare_sets({"a": ["afraid"], "b": ["sad"]}, {"a": ["afraid"], "b": ["happy"]}, wheels)

    assert sets.hit[0].tolist() == [1, 0]
    assert np.isnan(sets.hit[1:, 0]).all()
    assert sets.measures(np.arange(2))[1:] == pytest.approx([0.1, 0.1])  # 1/2 on one, 0 on four


def test_a_longer_list_hits_more_and_has_a_lower_f():
    groups = label_groups(load_label_space("merr9"))
    true = {"a": ["happy"], "b": ["sad"]}
    short = hit_scores(compare_sets(true, {"a": ["happy"], "b": ["happy"]}, groups))
    everything = ["happy", "sad", "angry", "fear"]
    long = hit_scores(compare_sets(true, {"a": everything, "b": everything}, groups))

    assert [short[key].value for key in ("hit_rate", "f", "mean_length")] == [0.5, 0.5, 1]
    assert [long[key].value for key in ("hit_rate", "f", "mean_length")] == [1, 0.4, 4]
    assert long["hit_rate"].clips == 2


def test_with_nothing_to_score_there_is_no_score(wheels):
    scores = set_scores(compare_sets({"a": ["neutral"]}, {"a": ["neutral"]}, wheels))

    assert {one.value for one in scores.values()} == {None}


# rewards


def test_the_reward_is_f_less_words_too_many_plus_the_form():
    rewards = emotion_reward(
        completions=[
            "<think>a smile</think>\n<answer>joyful</answer>",
            "joyful",
            "<think>a smile</think><answer>happy, sad, angry</answer>",
            [{"role": "assistant", "content": "<think>x</think><answer>sad</answer>"}],
            "",
        ],
        solution=["happy", "happy", ["happy"], "happy", "happy"],
        clip_id=["a", "b", "c", "d", "e"],
    )

    assert rewards == pytest.approx([1.2, 1.0, 2 / 4 - 0.2 + 0.2, 0.2, 0.0])


def test_a_bare_list_is_the_form_where_no_thinking_is_asked_for():
    reward = EmotionReward(thinking=False)

    assert reward.__name__ == "emotion_reward"
    assert reward(["happy, proud", "I think he is happy. Yes."], ["happy, sad"] * 2) == (
        pytest.approx([2 / 4 + 0.2, 2 / 3])
    )


def test_by_wheels_a_neutral_truth_is_met_by_its_word_alone(wheels):
    reward = EmotionReward(wheels, thinking=False, format_reward=0.0)

    assert reward(["neutral", "happy"], ["neutral", "neutral"]) == [1.0, 0.0]
    assert reward(["glad"], ["proud"]) == pytest.approx([0.8])  # one class on four wheels of five
