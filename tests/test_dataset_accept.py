"""Who is in the dataset: the rules of `accept`, the scores of `quality`, the row of a clip."""

from __future__ import annotations

import pyarrow as pa
import pytest
from made_rows import made_clip, made_identities, made_rows, not_ok

from merr_pipeline.dataset.accept import FIRST_LOOK, flags_of, judge
from merr_pipeline.dataset.clip_row import FULL_LOOK, clip_row, provenance_of
from merr_pipeline.dataset.columns import CLIPS, schema_of
from merr_pipeline.dataset.quality import quality
from merr_pipeline.schema import STAGE_SCHEMAS
from merr_pipeline.settings import DatasetSettings
from merr_pipeline.stage import Identity

CLIP = made_clip(7, source_id="show", licence="CC BY 4.0")
TEXTS = Identity("dataset", 1, "templates")


def judged(settings=None, **changes) -> tuple[str, str] | None:
    """Stage and reason of the rejection, from the columns of the first look alone."""
    rows = made_rows(CLIP, **changes)
    looked = {s: {n: rows[s][n] for n in names} for s, names in FIRST_LOOK.items() if s in rows}
    refusal = judge(CLIP, looked, settings or DatasetSettings())
    return refusal and (refusal.stage, refusal.reason.value)


def row_of(**changes):
    rows = made_rows(CLIP, **changes)
    looked = {s: {n: rows[s][n] for n in names} for s, names in FULL_LOOK.items() if s in rows}
    return clip_row(CLIP, looked, "train", provenance_of(made_identities(), TEXTS))


class TestAccepted:
    def test_a_clip_that_has_everything(self):
        assert judged() is None
        assert row_of()["flags"] == ["music"]

    def test_one_with_a_voice_and_no_words(self):
        assert judged(transcript=not_ok("skipped", "no_transcript")) is None

    def test_one_with_words_and_no_voice(self):
        assert judged(voice=not_ok("skipped", "no_speech")) is None

    def test_one_whose_sound_cannot_be_decoded_but_whose_words_are_known(self):
        failed = not_ok("failed", "audio_decode_error")

        assert judged(voice=failed) is None
        assert "voice:audio_decode_error" in row_of(voice=failed)["flags"]

    def test_one_without_words_whose_sound_may_be_a_voice_and_the_flags_say_so(self):
        maybe = {
            "voice": not_ok("skipped", "speech_uncertain"),
            "tone": not_ok("skipped", "speech_uncertain"),
            "transcript": not_ok("skipped", "no_transcript"),
        }
        row = row_of(**maybe)

        assert judged(**maybe) is None
        assert row["tone_status"] == "speech_uncertain"
        assert "voice:speech_uncertain" in row["flags"]
        assert "visual_only" not in row["flags"]

    def test_one_whose_label_is_undecided(self):
        undecided = {**not_ok("skipped", "label_undecided"), "label": None}
        row = row_of(label=undecided)

        assert judged(label=undecided) is None
        assert (row["label"], row["label_source"], row["label_confidence"]) == (None, None, None)
        assert row["label_candidates"]
        assert "label:label_undecided" in row["flags"]

    @pytest.mark.parametrize("stage", ["tone", "scene", "fine"])
    def test_one_that_lacks_something_not_asked_for(self, stage):
        assert judged(**{stage: not_ok("failed", "stage_error")}) is None
        assert f"{stage}:stage_error" in row_of(**{stage: not_ok("failed", "stage_error")})["flags"]
        assert judged(**{stage: None}) is None
        assert f"{stage}:upstream" in row_of(**{stage: None})["flags"]

    @pytest.mark.parametrize("probe", [{"kind": "still"}, {"has_sound": False}])
    def test_one_with_nothing_to_hear_flagged_visual_only(self, probe):
        silent = {
            "probe": probe,
            "voice": not_ok("skipped", "no_audio_stream"),
            "transcript": not_ok("skipped", "no_transcript"),
        }
        assert judged(**silent) is None
        assert row_of(**silent)["flags"][0] == "visual_only"

    def test_one_whose_coverage_is_just_enough(self):
        assert judged(moment={"face_coverage": 0.3}) is None

    def test_one_without_a_face_when_none_is_asked_for(self):
        settings = DatasetSettings(require_face_coverage=0)
        no_face = not_ok("skipped", "no_face")

        assert judged(settings, face=no_face, moment=not_ok("skipped", "upstream")) is None

    def test_a_silent_one_when_no_sound_is_asked_for(self):
        settings = DatasetSettings(require_words_or_voice=False)
        silent = not_ok("skipped", "no_speech")

        assert judged(settings, voice=silent, transcript=silent) is None


class TestRejected:
    def test_a_clip_that_probe_refuses(self):
        assert judged(probe=not_ok("failed", "decode_error"), voice=None, face=None) == (
            "probe",
            "decode_error",
        )

    def test_one_without_a_face(self):
        assert judged(face=not_ok("skipped", "no_face")) == ("face", "no_face")

    def test_one_whose_face_tool_failed(self):
        assert judged(face=not_ok("failed", "tool_crashed")) == ("face", "tool_crashed")

    def test_one_without_a_main_person(self):
        assert judged(moment=not_ok("skipped", "no_face")) == ("moment", "no_face")

    @pytest.mark.parametrize("coverage", [0.299, 0.0, None])
    def test_one_whose_main_person_is_seldom_seen(self, coverage):
        found = judged(moment={"face_coverage": coverage})

        assert found == ("dataset", "low_face_coverage")

    def test_one_with_sound_but_neither_words_nor_voice(self):
        voice, words = not_ok("skipped", "no_speech"), not_ok("skipped", "no_transcript")

        assert judged(voice=voice, transcript=words) == ("dataset", "no_words_no_voice")

    def test_one_without_words_whose_sound_failed_with_that_reason(self):
        voice = not_ok("failed", "audio_decode_error")
        words = not_ok("skipped", "no_transcript")

        assert judged(voice=voice, transcript=words) == ("voice", "audio_decode_error")

    def test_one_without_a_voice_whose_sidecar_is_broken_with_that_reason(self):
        voice, words = not_ok("skipped", "no_speech"), not_ok("failed", "bad_sidecar")

        assert judged(voice=voice, transcript=words) == ("transcript", "bad_sidecar")

    def test_a_voice_too_near_to_its_background_where_that_is_asked(self):
        strict = DatasetSettings(min_snr_db=20.0)
        noisy = {"prosody": {"snr_db": 19.9, "snr_method": "gaps"}}

        assert judged(strict, voice=noisy) == ("dataset", "low_snr")
        assert judged(strict, voice={"prosody": {"snr_db": None}}) == ("dataset", "low_snr")
        assert judged(strict, voice={"prosody": {"snr_db": 20.0}}) is None
        assert judged(DatasetSettings(), voice=noisy) is None
        assert judged(strict, voice=not_ok("skipped", "no_speech")) is None  # no voice to measure

        refusal = judge(CLIP, made_rows(CLIP, voice=noisy), strict)
        assert refusal is not None
        assert refusal.detail == (
            "signal to noise is 19.9 dB (measured in gaps); dataset.min_snr_db asks for 20"
        )

    @pytest.mark.parametrize("stage", ["probe", "face", "moment"])
    def test_one_whose_stage_has_yet_to_run(self, stage):
        assert judged(**{stage: None}) == (stage, "upstream")

    def test_the_detail_says_what_was_found_and_what_was_wanted(self):
        rows = made_rows(CLIP, moment={"face_coverage": 0.124})

        refusal = judge(CLIP, rows, DatasetSettings())

        assert refusal is not None
        assert "12%" in refusal.detail
        assert "30%" in refusal.detail


class TestQuality:
    def test_is_the_mean_of_named_parts(self):
        assert quality(made_rows(CLIP)) == {
            "face": pytest.approx((0.8 + 0.9 + 1.0) / 3, abs=5e-4),
            "voice": pytest.approx((0.8 + 0.75 + 0.9) / 3, abs=5e-4),
            "words": 1.0,
            "agreement": pytest.approx((other_source_agrees() + 1.0) / 2),
            "grounding": 1.0,
            "overall": pytest.approx(quality_mean(made_rows(CLIP)), abs=5e-4),
        }

    @pytest.mark.parametrize(
        ("changes", "score"),
        [
            ({"moment": {"face_coverage": None}}, "face"),
            ({"moment": {"peak_verdict": None}}, "face"),
            ({"moment": {"face_track": []}}, "face"),
            ({"voice": {"prosody": None}}, "voice"),
            ({"voice": {"speech_s": None}}, "voice"),
            ({"transcript": {"segments": None}}, "words"),
            ({"transcript": {"transcript_source": "asr"}}, "words"),
            ({"transcript": {"flags": ["times_from_voice"]}}, "words"),
            ({"fine": {"conflicts": ["a"]}}, "agreement"),
        ],
    )
    def test_what_is_missing_lowers_a_score_and_the_whole(self, changes, score):
        full, less = quality(made_rows(CLIP)), quality(made_rows(CLIP, **changes))

        assert less[score] < full[score]
        assert less["overall"] < full["overall"]

    @pytest.mark.parametrize(
        ("stage", "score"),
        [("moment", "face"), ("voice", "voice"), ("transcript", "words"), ("fine", "grounding")],
    )
    def test_a_modality_that_is_not_there_has_no_score_and_lowers_the_whole(self, stage, score):
        full = quality(made_rows(CLIP))
        without = quality(made_rows(CLIP, **{stage: not_ok("skipped", "no_speech")}))

        assert without[score] is None
        assert without["overall"] <= full["overall"] - full[score] / 5 + 1e-3

    def test_where_nothing_can_be_compared_agreement_is_unknown_and_not_nought(self):
        alone = {"label_candidates": [{"label": "sad", "score": 1.0, "source": "manifest"}]}
        rows = made_rows(CLIP, label=alone, fine=not_ok("skipped", "no_evidence"))

        assert quality(rows)["agreement"] is None

    def test_two_sources_of_one_mind_agree_and_of_two_do_not(self):
        def agreement(label: str, other: str) -> float:
            candidates = [
                {"label": label, "score": 1.0, "source": "manifest"},
                {"label": "fear", "score": 0.2, "source": "au_rules"},
                {"label": other, "score": 0.6, "source": "au_rules"},
            ]
            rows = made_rows(CLIP, label={"label": label, "label_candidates": candidates})
            return quality(rows)["agreement"]

        assert agreement("sad", "sad") == 1.0
        assert agreement("sad", "angry") == 0.5

    def test_a_recogniser_is_believed_as_far_as_it_believes_itself(self):
        segments = [
            {"start_s": 0.0, "end_s": 1.0, "text": "a", "speaker": None, "confidence": 0.4},
            {"start_s": 1.0, "end_s": 2.0, "text": "b", "speaker": None, "confidence": 0.8},
        ]
        words = {"transcript_source": "asr", "segments": segments}

        assert quality(made_rows(CLIP, transcript=words))["words"] == 0.8

    def test_scores_stay_between_0_and_1(self):
        loud = {"speech_s": 90.0, "prosody": {"snr_db": -40.0, "octave_outlier_share": 0.0}}

        assert quality(made_rows(CLIP, voice=loud))["voice"] == pytest.approx(2 / 3, abs=1e-3)


class TestRow:
    def test_has_every_column_but_those_of_the_assembly(self):
        assert set(CLIPS) - set(row_of()) == {
            *("visual_expression", "coarse_caption", "coarse_form", "coarse_language"),
            *("review", "fine_selection", "open_label_groups", "near_duplicates"),
        }
        pa.Table.from_pylist([row_of()], schema=schema_of("clips", ""))

    def test_joins_what_the_stages_found(self):
        row = row_of()

        assert row["sha256"] == CLIP.sha256
        assert row["source_id"] == "show"
        assert row["licence"] == "CC BY 4.0"
        assert row["split"] == "train"
        assert row["transcript"] == "words of clip_0007"
        assert row["fine_caption"].endswith('The words are "words of clip_0007".')
        assert row["peak_frame"]["bytes"][:2] == b"\xff\xd8"
        assert row["peak_frame"]["path"] == "clip_0007/peak_frame.jpg"
        assert (row["transcript_status"], row["tone_status"]) == ("ok", "ok")

    def test_says_why_words_and_tone_are_missing(self):
        row = row_of(transcript=not_ok("skipped", "no_transcript"), tone=None)

        assert (row["transcript"], row["transcript_status"]) == (None, "no_transcript")
        assert (row["tone"], row["tone_status"]) == (None, "upstream")

    def test_keeps_what_was_measured_in_a_clip_without_speech(self):
        silent = {**not_ok("skipped", "no_speech"), "prosody": {"loudness_lufs": -31.0}}

        assert row_of(voice=silent, tone=None)["prosody"]["loudness_lufs"] == -31.0

    def test_takes_the_tempo_of_the_words_and_says_so(self):
        assert row_of()["prosody"]["rate_syll_s"] == 4.4
        assert row_of()["prosody"]["rate_source"] == "transcript"
        counted = row_of(tone=not_ok("skipped", "little_speech") | {"rate_syll_s": None})
        assert counted["prosody"]["rate_syll_s"] == 4.0
        assert counted["prosody"]["rate_source"] == "nuclei"

    def test_takes_no_text_from_a_stage_that_failed(self):
        failed = not_ok("failed", "ungrounded")

        assert row_of(fine=failed)["fine_caption"] is None
        assert row_of(fine=failed)["evidence"]

    def test_takes_what_a_model_concludes_and_nothing_that_was_refused(self):
        said = {"text_source": "llm_blind", "llm_label": "sad", "llm_confidence": 0.4}
        said |= {"llm_agrees": False, "llm_votes": [{"label": "sad", "count": 3}]}
        said |= {"second_label": "fear", "second_agrees": False, "rejected_text": "he beams"}
        label = {"open_labels": ["moody"]}
        fine = {**said, "open_labels": ["low", "moody"]}

        row = row_of(fine=fine, label=label)

        assert {name: row[name] for name in said if name != "rejected_text"} == {
            name: value for name, value in said.items() if name != "rejected_text"
        }
        assert row["open_labels"] == ["moody", "low"]
        assert "he beams" not in str(row)
        refused = row_of(fine=fine | not_ok("failed", "ungrounded"), label=label)
        assert (refused["llm_label"], refused["open_labels"]) == (None, ["moody"])

    def test_names_the_tool_of_every_stage_that_has_a_row(self):
        entries = row_of(tone=None)["provenance"]

        stages = [stage for stage in STAGE_SCHEMAS if stage != "tone"]
        assert [entry["stage"] for entry in entries] == [*stages, "dataset"]
        assert entries[0]["tool"] == "probe tool"
        assert entries[0]["version"] == "1.2"
        assert entries[0]["fingerprint"] == made_identities()["probe"].fingerprint()


def test_every_column_that_assembly_asks_for_exists():
    for look in (FIRST_LOOK, FULL_LOOK):
        for stage, names in look.items():
            assert set(names) <= set(STAGE_SCHEMAS[stage].names)


def test_the_first_look_asks_for_no_picture_and_no_series():
    heavy = {"peak_frame", "face_crop", "au_series", "face_track", "tracks", "frame_times_s"}

    assert not heavy & {name for names in FIRST_LOOK.values() for name in names}


def test_flags_name_each_thing_once():
    rows = made_rows(CLIP, voice={"flags": ["music", "music"]}, face={"flags": ["music"]})

    assert flags_of(rows) == ["music"]


def other_source_agrees() -> float:
    label = made_rows(CLIP)["label"]
    return float(label["label"] == "happy")


def quality_mean(rows) -> float:
    scores = quality(rows)
    return sum(value for name, value in scores.items() if name != "overall") / 5
