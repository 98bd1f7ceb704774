"""``merr predict``: from a clip that nobody has described to label, probabilities and reasons."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra train is not installed")
pytest.importorskip("transformers", reason="the extra train is not installed")

from builds import SAMPLES, merr
from made_clips import at_rate, sine, write_clip
from made_emotion_llama import made_model, made_processor
from made_parts import read_parts, write_parts
from small_builds import cut_sample

from merr_pipeline.build import open_build
from merr_pipeline.dataset.instructions import load_questions
from merr_pipeline.predicting import perceiving
from merr_pipeline.predicting.answerer import How
from merr_pipeline.predicting.perceiving import perceive
from merr_pipeline.predicting.predicting import Prediction, as_text, predict
from merr_pipeline.request import Request
from merr_pipeline.schema import MerrError
from merr_pipeline.settings import SettingsError

pytestmark = pytest.mark.extras

MERR9 = {"happy", "sad", "angry", "surprise", "fear", "worried", "contempt", "doubt", "neutral"}


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> dict[str, Path]:
    return write_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def run(parts, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    for one in read_parts(parts):
        one.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """A face with words and no sound, a sound without a face, and a file that is no clip."""
    folder = tmp_path_factory.mktemp("clips")
    cut_sample(folder, "smile")
    (folder / "smile.srt").write_text("1\n00:00:00,000 --> 00:00:00,400\nWe won!\n")
    write_clip(folder / "dark.mp4", at_rate([4 * i + 20 for i in range(12)]), sound=sine(220, 0.5))
    (folder / "broken.mp4").write_text("no clip")
    return folder


@pytest.fixture(scope="module")
def predicted(clips, run, tmp_path_factory) -> tuple[Path, str]:
    """One call for all three, and what it printed."""
    out = tmp_path_factory.mktemp("predicted")
    arguments = ("--run", run, "--out", out, "--longest", "8", "--device", "cpu")
    printed = merr("predict", clips, *arguments, code=1)
    return out, printed


def by_id(out: Path) -> dict[str, dict]:
    found = json.loads((out / "predictions.json").read_text("utf-8"))
    return {one["clip_id"]: one for one in found}


class TestPredict:
    def test_a_clip_gets_a_label_of_the_space_with_probabilities_and_a_text(self, predicted):
        smile = by_id(predicted[0])["smile"]
        weights = smile["probabilities"]

        assert set(weights) == MERR9
        assert sum(weights.values()) == pytest.approx(1, abs=1e-5)
        assert smile["label"] == max(weights, key=weights.get)
        assert smile["question"] in load_questions().pools["reason"]
        assert isinstance(smile["answer"], str)
        assert smile["is_cut"] in (True, False)
        assert smile["refused"] is None

    def test_what_was_seen_is_said_and_what_was_not_with_its_reason(self, predicted):
        found = by_id(predicted[0])
        smile, dark = found["smile"], found["dark"]

        assert smile["transcript"] == "We won!"
        assert 0 < smile["peak_time_s"] < 0.6
        assert smile["shown"] == ["image", "face", "temporal"]
        assert smile["missing"] == {"sound": "no_audio_stream"}
        assert dark["shown"] == ["audio"]
        assert dark["peak_time_s"] is None
        assert dark["missing"] == {
            "picture": "no_face",
            "face": "no_face",
            "words": "no_transcript",
        }

    def test_a_file_that_is_no_clip_ends_with_its_reason(self, predicted):
        broken = by_id(predicted[0])["broken"]

        assert broken["refused"].startswith("probe: not_media")
        assert broken["label"] is None

    def test_people_read_the_same(self, predicted):
        out, printed = predicted
        smile = by_id(out)["smile"]

        assert f"smile: {smile['label']}\n" in printed
        assert "said: “We won!”; shown: image, face, temporal" in printed
        assert "missing: sound (no_audio_stream)" in printed
        assert "broken: refused (probe: not_media" in printed
        assert smile["question"] in printed

    def test_what_was_measured_is_not_measured_again_and_answers_are_the_same(
        self, predicted, clips, run, monkeypatch
    ):
        monkeypatch.setattr(perceiving, "LocalEngine", None)  # nobody may look at a clip again
        found = predict([clips / "smile.mp4"], run, out=predicted[0], how=How(longest=8))

        [one] = found
        smile = by_id(predicted[0])["smile"]
        assert one.probabilities == smile["probabilities"]
        assert one.answer == smile["answer"]

    def test_a_question_of_ones_own_is_asked(self, predicted, clips, run):
        [one] = predict(
            [clips / "smile.mp4"], run, "And why?", predicted[0], how=How(longest=4), device="cpu"
        )
        assert one.question == "And why?"

    def test_words_may_be_said_on_the_command_line(self, clips, tmp_path):
        clip = shutil.copy(clips / "dark.mp4", tmp_path)
        [one] = perceive([Path(clip)], tmp_path / "out", transcript="Oh no.").seen
        assert one.row["transcript"] == "Oh no."
        assert "words" not in one.missing
        with pytest.raises(MerrError, match="one transcript for 3 clips"):
            perceive([clips], tmp_path / "out", transcript="Oh no.")

    def test_a_build_finds_the_rows_done(self, predicted, clips, tmp_path):
        out = tmp_path / "out"
        shutil.copytree(predicted[0], out)
        with open_build(Request(clips, out)) as build:
            assert set(perceiving.STAGES).isdisjoint(
                stage for state in build.pending for stage in state.pending
            )


def test_what_a_model_says_never_moves_the_cursor():
    told = as_text(
        Prediction("a", "a.mp4", None, "sad", {"sad": 1.0}, "Why?", "No.\x1b[2J\b\nYes.", False,
                   1.0, "Well\x07", ("image",), {})
    )  # fmt: skip
    assert told.endswith("No.\\x1b[2J\\x08\nYes.")
    assert "Well\\x07" in told


class TestWhatCannotBeDone:
    def test_a_path_that_is_not_there_and_a_folder_without_clips(self, run, tmp_path):
        with pytest.raises(MerrError, match="is not there"):
            predict([tmp_path / "no.mp4"], run, device="cpu")
        with pytest.raises(MerrError, match="holds no clips"):
            predict([tmp_path], run, device="cpu")

    def test_a_label_space_or_setting_that_is_not_known(self, run):
        with pytest.raises(MerrError, match="there is merr9, mer2023"):
            predict([SAMPLES], run, overrides=["label.space=nine"])
        with pytest.raises(SettingsError):
            predict([SAMPLES], run, overrides=["label.spice=nine"])

    def test_a_model_without_encoders_wants_them_named(self, tmp_path):
        processor = made_processor()
        made_model(processor).save_pretrained(tmp_path)
        processor.save_pretrained(tmp_path)
        with pytest.raises(MerrError, match="--encoder face=FOLDER"):
            predict([SAMPLES], tmp_path, device="cpu")


class TestEncodersOfAModelThatLearnedFromACache:
    def test_with_them_it_is_the_model_that_had_them(self, parts, run, predicted, clips, tmp_path):
        model, processor = read_parts({"language_model": parts["language_model"]})
        del model
        whole, _ = read_parts(parts)
        for name in ("image", "face", "temporal", "audio"):
            setattr(whole.config, f"{name}_config", None)
            del whole.model.encoders[name]
        whole.save_pretrained(tmp_path)
        processor.save_pretrained(tmp_path)
        encoders = {name: path for name, path in parts.items() if name != "language_model"}
        arguments = {"out": predicted[0], "how": How(longest=8), "device": "cpu"}
        [one] = predict([clips / "smile.mp4"], tmp_path, encoders=encoders, **arguments)
        [wanted] = predict([clips / "smile.mp4"], run, **arguments)

        assert one == wanted
        with pytest.raises(MerrError, match="encoder nose: there is image"):
            predict([clips], tmp_path, encoders={"nose": parts["face"]}, **arguments)
        with pytest.raises(MerrError, match="encoder face: the model has it"):
            predict([clips], run, encoders={"face": parts["face"]}, **arguments)
