"""The same footage is known again; what only looks alike ties nothing."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merr_pipeline.clips.likeness import picture_hash, picture_hashes
from merr_pipeline.dataset.near import (
    LOOKS_ALIKE,
    NO_HASH,
    PICTURES,
    SOUND,
    Footage,
    find_near,
    load_near_rules,
)
from merr_pipeline.speech.fingerprint import SOUND_STEP_S, sound_hashes

RULES = load_near_rules()
RATE_HZ = 16_000


def drawn(seed: int, count: int, bits: int) -> np.ndarray:
    """Hashes of footage that is like no other."""
    numbers = random.Random(seed)
    return np.array([numbers.getrandbits(bits) for _ in range(count)], np.int64)


def with_errors(hashes: np.ndarray, wrong: int, bits: int, seed: int = 0) -> np.ndarray:
    """The same with so many bits of each turned over."""
    numbers = random.Random(seed)
    masks = [sum(1 << bit for bit in numbers.sample(range(bits), wrong)) for _ in hashes]
    return np.where(hashes == NO_HASH, NO_HASH, hashes ^ np.array(masks, np.int64))


def clip(name: str, pictures=(), sound=()) -> Footage:
    return Footage(name, f"sha of {name}", np.array(pictures, np.int64), np.array(sound, np.int64))


def links(*footage: Footage) -> dict[str, list[tuple[str, str]]]:
    return {name: list(others) for name, others in find_near(footage, RULES).links.items()}


# --- comparing -------------------------------------------------------------------------------


def test_a_copy_that_begins_later_is_found_by_its_sound():
    sound = drawn(1, 90, 32)
    copy = with_errors(sound[11:], 3, 32)

    assert links(clip("a", sound=sound), clip("b", sound=copy)) == {
        "a": [("b", SOUND)],
        "b": [("a", SOUND)],
    }


def test_a_copy_without_its_sound_is_found_by_its_pictures():
    pictures = drawn(2, 8, 63)
    copy = clip("b", with_errors(pictures[2:], 9, 63))

    assert links(clip("a", pictures, drawn(3, 90, 32)), copy)["a"] == [("b", PICTURES)]


def test_alike_pictures_with_another_sound_tie_nothing():
    """One camera in one room at two moments, or a dubbed copy."""
    pictures = drawn(2, 8, 63)
    found = find_near(
        [clip("a", pictures, drawn(3, 90, 32)), clip("b", pictures + 0, drawn(4, 90, 32))], RULES
    )

    assert found.links["a"] == [("b", LOOKS_ALIKE)]
    assert found.group_of == {}


@pytest.mark.parametrize(("wrong", "found"), [(14, True), (15, False)])
def test_pictures_are_alike_up_to_fourteen_bits(wrong, found):
    pictures = drawn(5, 20, 63)
    assert (links(clip("a", pictures), clip("b", with_errors(pictures, wrong, 63))) != {}) == found


@pytest.mark.parametrize(("shared", "found"), [(20, True), (19, False)])
def test_half_of_the_shorter_clip_must_agree(shared, found):
    sound, other = drawn(6, 80, 32), drawn(7, 40, 32)
    other[:shared] = sound[-shared:]
    assert (links(clip("a", sound=sound), clip("b", sound=other)) != {}) == found


def test_silence_and_empty_pictures_are_like_nothing():
    nothing = np.full(90, NO_HASH)
    assert links(clip("a", nothing[:8], nothing), clip("b", nothing[:8], nothing)) == {}


def test_one_alike_picture_is_not_enough():
    one = drawn(8, 1, 63)
    assert links(clip("a", one), clip("b", with_errors(one, 1, 63))) == {}


def test_one_equal_picture_is_not_enough_and_two_are():
    one, two = drawn(8, 1, 63), drawn(8, 2, 63)
    assert links(clip("a", one), clip("b", one)) == {}
    assert links(clip("a", two), clip("b", two)) == {
        "a": [("b", PICTURES)],
        "b": [("a", PICTURES)],
    }


def test_equal_sound_ties_clips_of_empty_pictures_if_it_is_long_enough():
    black, long, short = np.full(8, NO_HASH), drawn(9, 20, 32), drawn(9, 19, 32)
    assert links(clip("a", black, long), clip("b", black, long)) == {
        "a": [("b", SOUND)],
        "b": [("a", SOUND)],
    }
    assert links(clip("a", black, short), clip("b", black, short)) == {}


def test_a_still_is_not_compared():
    rows = {"probe": {"kind": "still", "picture_hashes": [1, 2]}}
    assert len(Footage.of("a", "0", rows).pictures) == 0
    assert list(Footage.of("a", "0", {}).sound) == []


def test_copies_of_copies_are_one_group_named_by_its_smallest_hash():
    first, second = drawn(9, 8, 63), drawn(10, 90, 32)
    found = find_near(
        [clip("c", sound=second), clip("b", first, second), clip("a", with_errors(first, 2, 63))],
        RULES,
    )
    assert found.group_of == dict.fromkeys("abc", "sha of a")


@given(st.permutations(range(6)))
def test_the_order_of_the_clips_does_not_matter(order):
    pictures, sound = drawn(11, 8, 63), drawn(12, 90, 32)
    footage = [
        clip("a", pictures, sound),
        clip("b", with_errors(pictures, 3, 63)),
        clip("c", sound=with_errors(sound[5:], 2, 32)),
        clip("d", drawn(13, 8, 63), drawn(14, 90, 32)),
        clip("e", pictures, sound),
        clip("f"),
    ]
    assert find_near([footage[place] for place in order], RULES) == find_near(footage, RULES)


def test_a_thousand_equal_clips_are_one_group_and_name_few():
    pictures = drawn(15, 8, 63)
    found = find_near([clip(f"{n:04}", pictures) for n in range(1000)], RULES)

    assert set(found.group_of.values()) == {"sha of 0000"}
    assert len(found.group_of) == 1000
    assert len(found.rows_of("0000")) == 20
    assert found.rows_of("0999") == [{"clip_id": "0000", "by": PICTURES}]


def test_links_to_clips_that_are_left_out_are_not_told():
    pictures = drawn(16, 8, 63)
    found = find_near([clip(name, pictures) for name in "abc"], RULES)
    assert found.among({"a", "c"}).links == {"a": [("c", PICTURES)], "c": [("a", PICTURES)]}


# --- hashes ----------------------------------------------------------------------------------


def picture(seed: int) -> np.ndarray:
    """Smooth light and shade."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8)).astype(np.uint8)
    return np.kron(coarse, np.ones((8, 8), np.uint8))


def bits_between(one: int, other: int) -> int:
    return (one ^ other).bit_count()


def test_a_darker_noisy_picture_keeps_its_hash_and_another_has_another():
    noise = np.random.default_rng(9).normal(0, 6, (48, 64))
    changed = np.clip(picture(0) * 0.7 + noise, 0, 255).astype(np.uint8)
    hashed = picture_hash(picture(0))

    assert bits_between(hashed, picture_hash(changed)) <= 4
    assert min(bits_between(hashed, picture_hash(picture(seed))) for seed in range(1, 20)) >= 18


def test_an_empty_picture_has_no_hash():
    assert picture_hash(np.full((48, 64), 90, np.uint8)) is None


def test_there_is_one_hash_for_each_half_second():
    times_s = np.arange(0, 1.72, 0.04)
    pictures = np.stack([picture(int(time_s // 0.5)) for time_s in times_s])

    assert picture_hashes(pictures, times_s) == [picture_hash(picture(n)) for n in range(4)]
    assert len(picture_hashes(pictures[:1], times_s[:1])) == 1


def melody(seconds: float, seed: int = 0) -> np.ndarray:
    """A tone that jumps every 90 ms, with overtones."""
    tones = np.random.default_rng(seed).uniform(200, 700, round(seconds / 0.09) + 1)
    pitch_hz = np.repeat(tones, round(0.09 * RATE_HZ))[: round(seconds * RATE_HZ)]
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
    return sum(np.sin(k * phase) / k for k in (1, 2, 3)) * 0.2


def error(one: list[int | None], other: list[int | None]) -> float:
    """Share of bits that differ."""
    return float(np.mean([bits_between(a, b) / 32 for a, b in zip(one, other, strict=False)]))


def test_a_cut_and_noisy_sound_keeps_its_hashes():
    sound = melody(4.0)
    cut = sound[round((5 * SOUND_STEP_S + 0.012) * RATE_HZ) :]
    noisy = cut + np.random.default_rng(1).normal(0, 0.02, len(cut))

    assert error(sound_hashes(sound, RATE_HZ)[5:], sound_hashes(noisy, RATE_HZ)) < 0.25
    assert error(sound_hashes(sound, RATE_HZ), sound_hashes(melody(4.0, 1), RATE_HZ)) > 0.4


def test_silence_has_no_hash_and_a_moment_has_none_at_all():
    sound = np.concatenate([melody(1.0), np.zeros(RATE_HZ)])
    found = sound_hashes(sound, RATE_HZ)

    assert None not in found[:10]
    assert set(found[-10:]) == {None}
    assert sound_hashes(melody(0.4), RATE_HZ) == []
    assert all(0 <= one < 1 << 32 for one in found if one is not None)
