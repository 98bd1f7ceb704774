"""Splits: nothing that belongs together is ever cut, and nobody moves without need."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merr_pipeline.dataset.splits import Member, assign_splits, draw
from merr_pipeline.schema import SPLITS

SHARES = (0.6, 0.2, 0.2)


def member(name: str, source: str | None = None, speaker: str | None = None, given=None) -> Member:
    return Member(name, f"sha of {name}", source, speaker, given)


def split_of(members, earlier=(), shares=SHARES, seed=0):
    return assign_splits(members, dict(earlier), shares, seed).split_of


def splits_of_keys(members, placed) -> dict[str, set[str]]:
    found = defaultdict(set)
    for one in members:
        if one.clip_id in placed:
            for key in one.keys:
                found[key].add(placed[one.clip_id])
    return found


some = st.none() | st.sampled_from(["a", "b", "c", "d"])
members_lists = st.lists(
    st.tuples(some, some, st.none() | st.sampled_from(SPLITS)), max_size=14
).map(lambda rows: [member(f"clip{i}", *row) for i, row in enumerate(rows)])
earlier_maps = st.dictionaries(
    st.integers(0, 13).map(lambda i: f"clip{i}"), st.sampled_from(SPLITS), max_size=6
)


class TestForAnyClips:
    @settings(deadline=None)
    @given(members_lists, earlier_maps)
    def test_no_source_and_no_speaker_lies_in_two_splits(self, members, earlier):
        placed = split_of(members, earlier)

        assert all(len(splits) == 1 for splits in splits_of_keys(members, placed).values())

    @settings(deadline=None)
    @given(members_lists, earlier_maps)
    def test_every_clip_is_placed_or_told_why_not(self, members, earlier):
        result = assign_splits(members, earlier, SHARES, 0)

        assert {m.clip_id for m in members} == result.split_of.keys() ^ result.conflicts.keys()
        assert all(result.conflicts.values())

    @settings(deadline=None)
    @given(members_lists, earlier_maps)
    def test_a_placed_clip_has_its_given_split_or_else_its_earlier_one(self, members, earlier):
        placed = split_of(members, earlier)

        for one in members:
            wanted = one.given or earlier.get(one.clip_id)
            if one.clip_id in placed and wanted:
                assert placed[one.clip_id] == wanted

    @settings(deadline=None)
    @given(members_lists, earlier_maps, st.randoms(use_true_random=False))
    def test_the_order_of_the_input_does_not_matter(self, members, earlier, random):
        shuffled = random.sample(members, len(members))

        assert assign_splits(shuffled, earlier, SHARES, 0) == assign_splits(
            members, earlier, SHARES, 0
        )

    @settings(deadline=None)
    @given(members_lists)
    def test_without_given_or_earlier_splits_every_clip_is_placed(self, members):
        free = [member(m.clip_id, m.source_id, m.speaker_id) for m in members]

        assert assign_splits(free, {}, SHARES, 0).conflicts == {}

    @settings(deadline=None)
    @given(members_lists, members_lists)
    def test_clips_that_come_later_move_nobody(self, first, second):
        placed = split_of(first)
        new = [member(f"new {m.clip_id}", m.source_id, m.speaker_id, m.given) for m in second]
        survivors = [m for m in first if m.clip_id in placed]

        after = split_of([*survivors, *new], placed)

        assert {clip_id: after[clip_id] for clip_id in placed} == placed


def test_clips_joined_through_others_are_one_group():
    chain = [member("x", "s1"), member("y", "s1", "p1"), member("z", "s2", "p1"), member("w", "s2")]

    for seed in range(20):
        assert len(set(split_of(chain, seed=seed).values())) == 1


def test_clips_without_source_and_speaker_stand_alone():
    placed = split_of([member(f"clip{i}") for i in range(300)])

    counts = Counter(placed.values())
    assert counts["train"] == pytest.approx(180, abs=30)
    assert counts["validation"] == pytest.approx(60, abs=25)
    assert counts["test"] == pytest.approx(60, abs=25)


def test_another_seed_draws_other_splits():
    clips = [member(f"clip{i}") for i in range(50)]

    assert split_of(clips, seed=1) != split_of(clips, seed=2)
    assert split_of(clips, seed=1) == split_of(clips, seed=1)


def test_a_share_of_nothing_draws_nothing():
    clips = [member(f"clip{i}") for i in range(50)]

    assert set(split_of(clips, shares=(1.0, 0.0, 0.0)).values()) == {"train"}
    assert set(split_of(clips, shares=(0.0, 0.0, 1.0)).values()) == {"test"}
    assert draw("any", (0.1, 0.2, 0.7), 0) in SPLITS


def test_a_renamed_clip_is_drawn_as_before():
    before = split_of([Member(f"a/{i}", f"sha {i}") for i in range(40)])
    after = split_of([Member(f"b/{i}", f"sha {i}") for i in range(40)])

    assert list(before.values()) == list(after.values())


def test_a_new_clip_goes_where_its_source_is():
    for split in SPLITS:
        placed = split_of([member("old", "s1"), member("new", "s1")], {"old": split})
        assert placed["new"] == split


def test_a_new_clip_that_would_bridge_two_splits_is_left_out_and_the_reason_names_both():
    clips = [member("old1", "s1"), member("old2", None, "p2"), member("new", "s1", "p2")]

    result = assign_splits(clips, {"old1": "train", "old2": "test"}, SHARES, 0)

    assert result.split_of == {"old1": "train", "old2": "test"}
    assert result.conflicts == {"new": "source s1 is in train, speaker p2 is in test"}


def test_of_two_new_clips_that_bridge_only_together_one_stays():
    clips = [
        *(member("old1", "s1"), member("old2", "s2")),
        *(member("new1", "s1", "p"), member("new2", "s2", "p")),
    ]

    result = assign_splits(clips, {"old1": "train", "old2": "test"}, SHARES, 0)

    assert result.split_of["new1"] == "train"
    assert list(result.conflicts) == ["new2"]


def test_where_given_splits_cut_a_speaker_the_evaluation_clips_are_left_out():
    clips = [
        member("a", None, "p", "test"),
        member("b", None, "p", "train"),
        member("c", None, "q", "test"),
    ]

    result = assign_splits(clips, {}, SHARES, 0)

    assert result.split_of == {"b": "train", "c": "test"}
    assert result.conflicts == {"a": "speaker p is in train, the clip is given to test"}


def test_a_given_split_beats_the_earlier_one_of_the_same_clip():
    assert split_of([member("a", "s", given="test")], {"a": "train"}) == {"a": "test"}


def test_clips_with_the_same_footage_lie_in_one_split_and_tie_their_sources():
    members = [
        Member(f"{group}{n}", f"sha {group}{n}", source_id=f"{group}{n}", near_group=group)
        for group in "abcdefgh"
        for n in range(4)
    ]
    found = split_of(members)

    for group in "abcdefgh":
        assert len({found[f"{group}{n}"] for n in range(4)}) == 1
    assert len(set(found.values())) > 1


def test_a_copy_of_a_training_clip_that_is_given_to_test_is_left_out():
    train = replace(member("a", given="train"), near_group="one")
    test = replace(member("b", given="test"), near_group="one")
    found = assign_splits([test, train], {}, SHARES, 0)

    assert found.split_of == {"a": "train"}
    assert found.conflicts == {"b": "footage of one is in train, the clip is given to test"}
