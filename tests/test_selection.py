"""The selection of the fine set: quotas by label, neutral top-up, and how stable it is."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merr_pipeline.dataset.agreement import Verdict
from merr_pipeline.dataset.selection import (
    Choice,
    Selection,
    SelectionPlan,
    load_selection,
    select,
)
from merr_pipeline.emotion.spaces import load_label_space
from merr_pipeline.schema import MerrError

MERR9 = load_label_space("merr9")
PAPER = {
    **{"neutral": 1352, "sad": 1091, "angry": 874, "happy": 475, "worried": 310},
    **{"surprise": 213, "fear": 86, "doubt": 45, "contempt": 41},
}


def plan(**changes: Any) -> SelectionPlan:
    usual: dict[str, Any] = {"undecided": False, "verdicts": ["accept"], "order": "hash"}
    return SelectionPlan.model_validate({"name": "own", "sha256": "", **usual, **changes})


def clips(counts: dict[str | None, int], **changes: Any) -> list[Choice]:
    return [choice(f"{label}_{i:04d}", label) for label, n in counts.items() for i in range(n)]


def choice(clip_id: str, label: str | None = "sad", **changes: Any) -> Choice:
    usual: dict[str, Any] = {"verdict": Verdict.ACCEPT, "has_text": True, "quality": 0.5}
    return Choice(clip_id, label, **usual | changes)


def chosen(choices: list[Choice], by: SelectionPlan, seed: int = 0) -> set[str]:
    of = select(choices, by, seed).of
    assert set(of) == {choice.clip_id for choice in choices}
    return {clip_id for clip_id, state in of.items() if state == Selection.CHOSEN}


def counted(choices: list[Choice], by: SelectionPlan) -> Counter:
    taken = chosen(choices, by)
    return Counter(choice.label for choice in choices if choice.clip_id in taken)


class TestShippedPlans:
    def test_all_takes_all(self):
        assert load_selection("all", MERR9) is None

    def test_as_paper_makes_of_a_large_corpus_the_counts_of_the_released_annotations(self):
        plenty = clips(dict.fromkeys(PAPER, 1400))

        assert counted(plenty, load_selection("as_paper", MERR9)) == PAPER

    def test_as_paper_tops_a_small_corpus_up_with_neutral_to_three_tenths(self):
        few = clips({"happy": 40, "sad": 30, "neutral": 500, "disgust": 5, None: 9})

        # 70 others are 69.87 % of 100.2
        assert counted(few, load_selection("as_paper", MERR9)) == {
            **{"happy": 40, "sad": 30, "neutral": 30}
        }

    def test_equal_takes_as_many_of_each_as_the_rarest_has(self):
        some = clips({"happy": 300, "sad": 90, "neutral": 60})

        assert counted(some, load_selection("equal", MERR9)) == {
            **{"happy": 60, "sad": 60, "neutral": 60}
        }

    def test_equal_is_not_pulled_under_its_floor_by_one_stray_clip(self):
        some = clips({"happy": 300, "sad": 90, "doubt": 1})

        assert counted(some, load_selection("equal", MERR9)) == {"happy": 40, "sad": 40, "doubt": 1}


class TestWhatIsLeftOutSaysWhy:
    def test_every_reason(self):
        choices = [
            *(choice(f"sad_{i}") for i in range(3)),
            choice("silent", has_text=False),
            choice("doubted", verdict=Verdict.NEEDS_REVIEW),
            choice("nobody_knows", None),
        ]

        found = select(choices, plan(limits={"sad": 2}), 0)

        assert Counter(found.of.values()) == {
            **{Selection.CHOSEN: 2, Selection.OVER_QUOTA: 1, Selection.NO_TEXT: 1},
            **{Selection.NOT_ACCEPTED: 1, Selection.UNDECIDED: 1},
        }
        assert found.of["silent"] == "no_text"
        assert found.of["doubted"] == "not_accepted"
        assert found.of["nobody_knows"] == "undecided"
        assert found.limits == {"sad": 2}

    def test_undecided_and_reviewed_ones_stay_where_the_plan_says_so(self):
        choices = [choice("a", None), choice("b", verdict=Verdict.NEEDS_REVIEW)]
        broad = plan(limits={}, undecided=True, verdicts=["accept", "needs_review"])

        assert chosen(choices, broad) == {"a", "b"}

    def test_what_cannot_be_chosen_uses_up_no_quota_and_draws_no_neutral(self):
        choices = [
            *(choice(f"doubted_{i}", verdict=Verdict.NEEDS_REVIEW) for i in range(8)),
            *(choice(f"sad_{i}") for i in range(2)),
            *(choice(f"neutral_{i}", "neutral") for i in range(8)),
        ]
        half = plan(limits={"sad": 5}, neutral={"label": "neutral", "share": 0.5})

        assert counted(choices, half) == {"sad": 2, "neutral": 2}

    def test_other_labels_have_their_own_limit_or_none(self):
        choices = clips({"sad": 5, "disgust": 5})

        assert counted(choices, plan(limits={"sad": 1})) == {"sad": 1, "disgust": 5}
        assert counted(choices, plan(limits={"sad": 1}, other_labels=2))["disgust"] == 2


class TestOrder:
    def test_by_quality_the_best_stay_and_equal_ones_are_drawn(self):
        choices = [choice(f"c{i:02d}", quality=0.9 if i < 4 else 0.3) for i in range(40)]
        taken = chosen(choices, plan(limits={"sad": 10}, order="quality"))

        assert {f"c{i:02d}" for i in range(4)} < taken
        drawn = sorted(taken - {f"c{i:02d}" for i in range(4)})
        assert drawn != [f"c{i:02d}" for i in range(4, 10)]  # not by name

    def test_by_hash_quality_does_not_matter_and_the_seed_does(self):
        choices = clips({"sad": 100})
        ten = plan(limits={"sad": 10})
        worse = [choice(c.clip_id, quality=i / 100) for i, c in enumerate(choices)]

        assert chosen(choices, ten) == chosen(worse, ten)
        assert chosen(choices, ten, seed=1) != chosen(choices, ten)

    def test_what_a_hash_draws_does_not_lie_in_the_first_shards(self):
        from merr_pipeline.dataset.shards import shard_index

        taken = chosen(clips({"sad": 4000}), plan(limits={"sad": 400}))

        shards = Counter(shard_index(clip_id, 4) for clip_id in taken)
        assert all(70 < shards[index] < 130 for index in range(4))


counts = st.dictionaries(
    st.sampled_from(["sad", "happy", "fear", "neutral"]), st.integers(0, 12), min_size=1
)
plans = st.sampled_from(
    [
        plan(limits={"sad": 3, "happy": 5}),
        plan(limits={"sad": 3, "happy": 5}, other_labels=2, order="quality"),
        plan(limits={"sad": 4}, neutral={"label": "neutral", "share": 0.3}),
        plan(equal=4, neutral={"label": "neutral", "share": 0.5}),
    ]
)


class TestStable:
    @given(counts, plans, st.randoms(use_true_random=False))
    def test_the_same_clips_in_any_order_give_the_same(self, numbers, by, shuffler):
        choices = clips(numbers)
        shuffled = list(choices)
        shuffler.shuffle(shuffled)

        assert select(shuffled, by, 0).of == select(choices, by, 0).of

    @given(counts, plans, st.sampled_from(["sad", "happy", "fear", "neutral"]), st.floats(0, 1))
    def test_a_clip_that_is_added_pushes_at_most_one_other_out(self, numbers, by, label, quality):
        is_new = label not in numbers or not numbers[label]
        if by.equal is not None and is_new:
            return  # a label that is new may lower the limit of all, down to the floor
        choices = clips(numbers)
        before = chosen(choices, by)

        after = chosen([*choices, choice("added", label, quality=quality)], by)

        assert len(before - after) <= 1
        if before - after:
            assert "added" in after

    @given(counts, plans)
    def test_no_label_is_over_its_limit_and_none_is_left_out_under_it(self, numbers, by):
        choices = clips(numbers)
        found = select(choices, by, 0)
        taken = Counter(c.label for c in choices if found.of[c.clip_id] == Selection.CHOSEN)

        for label, number in numbers.items():
            limit = found.limits.get(label)
            assert taken[label] == (number if limit is None else min(number, limit))

    def test_it_does_not_depend_on_how_python_hashes(self):
        """Pinned: another choice would make datasets again that nobody has changed."""
        taken = chosen(clips({"sad": 30}), plan(limits={"sad": 3}))

        assert sorted(taken) == PINNED


PINNED = ["sad_0001", "sad_0012", "sad_0016"]


class TestFile:
    def test_a_plan_that_is_not_there_is_named_with_those_that_are(self):
        with pytest.raises(MerrError, match="all, as_paper, equal"):
            load_selection("balanced", MERR9)

    def test_a_plan_that_could_choose_nothing_of_the_label_space_is_refused(self):
        with pytest.raises(MerrError, match="takes no label of label space sentiment"):
            load_selection("as_paper", load_label_space("sentiment"))

    def test_the_paper_counts_go_with_the_six_and_the_seven_too(self):
        for name in ("mer2023", "basic7"):
            assert load_selection("as_paper", load_label_space(name))

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({}, "either limits or equal"),
            ({"limits": {"sad": 1}, "equal": 3}, "either limits or equal"),
            ({"equal": 3, "other_labels": 2}, "other_labels goes with limits"),
            ({"limits": {"sad": -1}}, "0 or more"),
            (
                {"limits": {"neutral": 1}, "neutral": {"label": "neutral", "share": 0.3}},
                "cannot have a limit and be topped up with",
            ),
            ({"limits": {}, "order": "random"}, "order"),
        ],
    )
    def test_a_plan_that_contradicts_itself_is_refused(self, wrong, message):
        with pytest.raises(ValueError, match=message):
            plan(**wrong)

    def test_a_plan_of_the_users_own(self, tmp_path):
        (tmp_path / "selection.yaml").write_text(
            "plans: {few: {limits: {sad: 2}, undecided: true, verdicts: [accept], order: hash}}"
        )
        few = load_selection("few", MERR9, tmp_path)
        shuffled = clips({"sad": 9, None: 1})
        random.Random(3).shuffle(shuffled)

        assert counted(shuffled, few) == {"sad": 2, None: 1}
