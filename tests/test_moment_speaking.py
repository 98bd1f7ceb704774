from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_faces import make_probe, make_track, make_voice, times

from merr_pipeline.moment.others import describe_others
from merr_pipeline.moment.person import choose_person
from merr_pipeline.moment.rules import load_moment_rules
from merr_pipeline.moment.speaking import may_talk, speaking

RULES = load_moment_rules()
AT = times(100)  # 4 s at 25 frames a second
SMALL, LARGE = (60.0, 200.0, 60.0, 80.0), (350.0, 120.0, 180.0, 240.0)


def speech(seed: int, length_s: float = 4.0) -> tuple[list[float], list[float]]:
    """A level that goes up and down like syllables, and a mouth that moves .16 s ahead of it."""
    step_s = 0.04
    at = np.arange(0, length_s, step_s)
    syllables = np.random.default_rng(seed).uniform(0, length_s, 9)
    level = sum(np.exp(-(((at - when) / 0.06) ** 2)) for when in syllables)
    envelope_db = 40 * np.log10(np.clip(level, 0.02, None))
    frames = np.array(AT) + 0.16
    moving = sum(np.exp(-(((frames - when) / 0.06) ** 2)) for when in syllables)
    mouth = 0.1 + 0.05 * np.cumsum(moving * np.where(np.arange(len(AT)) % 2, 1.0, -1.0))
    return envelope_db.tolist(), mouth.tolist()


def track(number, mouth, **changes):
    return make_track(AT, {"AU12": [0.0] * 100}, track=number, mouth_open=mouth, **changes)


def test_a_mouth_that_follows_the_sound_speaks_and_one_that_follows_another_does_not():
    envelope_db, mouth = speech(1)
    voice = make_voice(envelope_db, [(0.0, 4.0)])

    own = speaking(track(0, mouth), voice, RULES.speaking)
    other = speaking(track(0, speech(2)[1]), voice, RULES.speaking)

    assert own > RULES.speaking.sure
    assert other < RULES.speaking.chance


def test_a_still_mouth_does_not_speak():
    voice = make_voice(speech(1)[0], [(0.0, 4.0)])

    assert speaking(track(0, [0.02] * 100), voice, RULES.speaking) == 0.0


def test_nobody_speaks_where_the_speech_is_elsewhere():
    envelope_db, mouth = speech(1)
    first = make_track(AT[:50], {"AU12": [0.0] * 50}, mouth_open=mouth[:50])

    assert speaking(first, make_voice(envelope_db, [(2.5, 3.9)]), RULES.speaking) == 0.0


@pytest.mark.parametrize("why", ["no sound", "no mouth", "too short"])
def test_what_cannot_be_told_is_null(why):
    envelope_db, mouth = speech(1)
    voice = make_voice() if why == "no sound" else make_voice(envelope_db, [(0.0, 4.0)])
    seen = make_track(AT[:10], {"AU12": [0.0] * 10}, mouth_open=mouth[:10])
    if why != "too short":
        seen = track(0, None if why == "no mouth" else mouth)

    assert speaking(seen, voice, RULES.speaking) is None


def choose(sound: int, wanted: str = "main"):
    """Two faces: the small one's mouth follows sound 1, the large one's sound 2."""
    envelope_db, _ = speech(sound)
    voice = make_voice(envelope_db, [(0.0, 4.0)])
    tracks = [track(0, speech(1)[1], box=SMALL), track(1, speech(2)[1], box=LARGE)]
    spoken = [speaking(one, voice, RULES.speaking) for one in tracks]
    return choose_person(tracks, make_probe(AT), RULES, speaking=spoken, wanted=wanted)


def test_the_smaller_face_that_speaks_is_the_main_person_and_another_sound_swaps_the_answer():
    assert choose(1).track["track"] == 0
    assert choose(1).speaking > RULES.speaking.sure
    assert choose(2).track["track"] == 1


def test_the_setting_can_ask_for_the_largest_or_for_the_speaker():
    assert choose(1, "largest").track["track"] == 1
    assert choose(1, "speaker").track["track"] == 0
    assert choose(3, "speaker").track["track"] == 1  # nobody's mouth follows: size decides


def test_chance_alone_does_not_make_a_speaker():
    tracks = [track(0, None, box=SMALL), track(1, None, box=LARGE)]
    just_chance = [RULES.speaking.chance, 0.0]

    person = choose_person(tracks, make_probe(AT), RULES, speaking=just_chance)

    assert person.track["track"] == 1


def test_a_face_seen_too_briefly_to_tell_does_not_beat_one_that_speaks():
    tracks = [track(0, None, box=SMALL), track(1, None, box=LARGE)]

    person = choose_person(tracks, make_probe(AT), RULES, speaking=[0.8, None])

    assert person.track["track"] == 0


def test_the_other_faces_are_kept_with_where_they_look_and_what_they_show():
    left = track(3, None, box=SMALL, yaw_deg=[30.0] * 100)
    main, silent = track(1, None, box=LARGE), track(2, None, box=LARGE)
    silent["action_units"][0]["value"][7] = 2.0

    first, second = describe_others([left, main, silent], [0.1, 0.9, None], {1}, make_probe(AT))

    assert (first["track"], first["speaking"], first["face_height"]) == (2, None, 0.5)
    assert first["action_units"] == [
        {"au": "AU12", "mean": pytest.approx(0.02), "max": 2.0, "reliability": "moderate"}
    ]
    assert (second["track"], second["yaw_deg"], second["speaking"]) == (3, 30.0, 0.1)
    assert (second["start_s"], second["end_s"]) == (AT[0], AT[-1])


def test_speech_may_move_the_mouth_where_somebody_speaks_or_where_nobody_knows():
    at = np.array([0.0, 0.5, 0.8, 1.0, 2.0])
    voice = make_voice([], [(1.0, 1.5)])

    silent = {**make_voice(), "reason": "no_speech"}

    assert may_talk(at, voice, None, RULES.speaking).tolist() == [False, False, True, True, False]
    assert may_talk(at, make_voice(), None, RULES.speaking).all()
    assert not may_talk(at, silent, None, RULES.speaking).any()
    uncertain = {**silent, "speech_uncertain": True}
    assert may_talk(at, uncertain, None, RULES.speaking).all()


@pytest.mark.parametrize(("spoken", "heard"), [(0.0, 0), (0.4, 0), (0.41, 2), (None, 2)])
def test_a_mouth_that_does_not_follow_the_sound_listens(spoken, heard):
    at = np.array([0.0, 0.5, 0.8, 1.0, 2.0])
    speech = make_voice([], [(1.0, 1.5)])

    assert may_talk(at, speech, spoken, RULES.speaking).sum() == heard
    assert may_talk(at, {**speech, "speech_uncertain": True}, spoken, RULES.speaking).all()


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=100, max_size=100))
def test_the_measure_lies_between_0_and_1_whatever_the_mouth_does(mouth):
    voice = make_voice(speech(1)[0], [(0.0, 4.0)])

    found = speaking(track(0, mouth), voice, RULES.speaking)

    assert found is None or 0.0 <= found <= 1.0
