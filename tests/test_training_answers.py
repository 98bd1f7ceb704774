"""A model's answers and label probabilities, and the file of a whole split."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra train is not installed")
pytest.importorskip("transformers", reason="the extra train is not installed")

import torch
from made_clips import at_rate, sine, write_clip
from made_emotion_llama import (
    CHAT,
    WIDTH,
    made_example,
    made_features,
    made_model,
    made_processor,
    made_prompt,
)
from made_parts import read_parts, write_parts
from made_rows import MadeStore, made_clip, made_identities, not_ok

from merr_pipeline.dataset.assemble import assemble
from merr_pipeline.dataset.instructions import GIVEN, load_questions
from merr_pipeline.emotion_llama.collate import PaddingCollator
from merr_pipeline.emotion_llama.loss import IGNORED
from merr_pipeline.emotion_llama.processing import Question
from merr_pipeline.predicting import answering
from merr_pipeline.predicting.answerer import Answerer, Asked, How
from merr_pipeline.predicting.answering import answer_split
from merr_pipeline.predicting.asking import Pools
from merr_pipeline.schema import ClipId, MerrError
from merr_pipeline.settings import load_settings
from merr_pipeline.training_data.records import read_records

pytestmark = pytest.mark.extras

LABELS = ["happy", "sad", "worried", "worried about it"]


@pytest.fixture(scope="module", autouse=True)
def _few_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def processor():
    return made_processor()


@pytest.fixture(scope="module")
def model(processor):
    return made_model(processor, seed=3)


def questions(count: int = 5) -> list[Asked]:
    """Of different lengths; the third clip has no face, the fourth nothing but words."""
    found = []
    for number in range(count):
        shown = made_features(number)
        if number == 2:
            del shown["face_features"]
        if number == 3:
            shown = {}
        found.append(Asked(Question("Why? " * (1 + number % 3), "reason", "well " * number), shown))
    return found


def alone(model, processor, one: Asked, **how) -> str:
    """What `generate` says of one clip without any padding."""
    prompt = PaddingCollator(0, "left")([made_prompt(processor, one.shown, one.question)])
    written = model.generate(**prompt, do_sample=False, **how)
    return processor.answers(written, prompt["input_ids"].shape[1])[0]


class TestAnswers:
    def test_answers_in_batches_are_those_of_each_clip_alone(self, model, processor):
        asked = questions()
        said = Answerer(model, processor, How(longest=12, batch=3)).answers(asked)

        assert [one.text for one in said] == [
            alone(model, processor, one, max_new_tokens=12) for one in asked
        ]
        assert len({one.text for one in said}) > 1

    def test_beams_are_those_of_generate(self, model, processor):
        asked = questions(3)
        said = Answerer(model, processor, How(beams=3, longest=8, batch=2)).answers(asked)

        assert [one.text for one in said] == [
            alone(model, processor, one, max_new_tokens=8, num_beams=3) for one in asked
        ]

    def test_a_language_model_that_would_draw_does_not(self, model, processor):
        asked = questions(2)
        before = Answerer(model, processor, How(longest=6)).answers(asked)
        own = model.generation_config
        try:
            own.do_sample, own.temperature, own.top_p = True, 5.0, 0.9
            answerer = Answerer(model, processor, How(longest=6))
            assert answerer.answers(asked) == answerer.answers(asked) == before
        finally:
            own.do_sample, own.temperature, own.top_p = False, 1.0, 1.0

    def test_an_answer_that_is_cut_says_so(self, processor):
        model = made_model(processor)
        torch.nn.init.zeros_(model.lm_head.weight)  # the first token, for ever
        assert Answerer(model, processor, How(longest=4)).answers(questions(1))[0].cut

        end = processor.tokenizer.eos_token_id
        with torch.no_grad():  # a head whose every answer is the end
            model.lm_head.weight[end] = 100 * model.model.language_model.norm.weight
            hidden = model.model(
                **PaddingCollator(0)([made_prompt(processor, {}, questions(1)[0].question)])
            ).last_hidden_state[0, -1]
            model.lm_head.weight[end] = hidden
        [said] = Answerer(model, processor, How(longest=4)).answers(
            [Asked(questions(1)[0].question, {})]
        )
        assert (said.text, said.cut) == ("", False)

    def test_the_end_of_a_chat_models_turn_ends_an_answer(self):
        chat = made_processor(chat=CHAT)
        model = made_model(chat)
        model.generation_config.eos_token_id = None
        end = chat.answer_ids("")[-1]
        asked = Asked(Question("Why?", "reason"), {})
        with torch.no_grad():
            hidden = model.model(
                **PaddingCollator(0)([made_prompt(chat, {}, asked.question)])
            ).last_hidden_state[0, -1]
            model.lm_head.weight.zero_()
            model.lm_head.weight[end] = hidden
        [said] = Answerer(model, chat, How(longest=4)).answers([asked])

        assert (said.text, said.cut) == ("", False)


class TestLabelProbabilities:
    def test_they_are_the_likelihoods_of_each_answer_read_alone(self, model, processor):
        asked = questions()
        found = Answerer(model, processor).label_probabilities(asked, LABELS)

        for one, probabilities in zip(asked, found, strict=True):
            wanted = []
            for label in LABELS:
                batch = PaddingCollator(0)(
                    [made_example(processor, dict(one.shown), label, one.question)]
                )
                labelled = int((batch["labels"] != IGNORED).sum())
                with torch.no_grad():
                    wanted.append(-model(**batch).loss.double() * labelled)
            torch.testing.assert_close(
                torch.tensor(probabilities, dtype=torch.float64),
                torch.stack(wanted).softmax(0),
                atol=1e-5,
                rtol=1e-4,
            )
            assert sum(probabilities) == pytest.approx(1, abs=1e-9)

    def test_they_do_not_hang_on_what_else_is_in_the_batch(self, model, processor):
        asked = questions()
        together = Answerer(model, processor, How(batch=8)).label_probabilities(asked, LABELS)
        apart = Answerer(model, processor, How(batch=1)).label_probabilities(asked, LABELS)

        torch.testing.assert_close(torch.tensor(together), torch.tensor(apart), atol=1e-5, rtol=0)

    def test_encoders_see_a_prompt_once(self, processor, monkeypatch):
        model = made_model(processor, encoders=True)
        seen = []
        monkeypatch.setattr(
            type(model.model),
            "encode",
            lambda self, name, values: seen.append(name) or torch.zeros(1, WIDTH),
        )
        shown = {"audio_values": torch.zeros(2000)}
        Answerer(model, processor).label_probabilities(
            [Asked(Question("Why?", "emotion"), shown)], LABELS
        )

        assert seen == ["audio"]


NAMES = ["a", "b", "silent", "undecided"]


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    """Four clips in the split test: one without sound, one without a label; and one to train."""
    out = tmp_path_factory.mktemp("built")
    store, clips = MadeStore(), []
    for number, name in enumerate([*NAMES, "other"]):
        path = out / "input" / f"{name}.mp4"
        path.parent.mkdir(exist_ok=True)
        sound = None if name == "silent" else sine(220, 1.0)
        write_clip(path, at_rate([4 * i + 20 for i in range(25)]), sound=sound)
        split = "train" if name == "other" else "test"
        clip = made_clip(number, split=split, source_id=name)
        clip = replace(clip, clip_id=ClipId(name), media_path=path.name)
        changes: dict[str, dict[str, object]] = {
            "silent": {"probe": {"has_sound": False}},
            "undecided": {"label": not_ok("skipped", "label_undecided") | {"label": None}},
        }
        store.add(clip, **changes.get(name, {}))
        clips.append(clip)
    assemble(out, clips, store, [], load_settings(environment={}), made_identities())
    return out


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A saved model with all encoders, of random weights."""
    folder = tmp_path_factory.mktemp("run")
    for one in read_parts(write_parts(tmp_path_factory.mktemp("parts"))):
        one.save_pretrained(folder)
    return folder


HOW = How(longest=6, batch=2)


def ask(out: Path, run: Path, to: Path, **more):
    more = {"clips": out / "input", "device": "cpu", "how": HOW} | more
    return answer_split(out, run, "test", to, **more)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def whole(out, run, tmp_path_factory) -> Path:
    """The answers of a run that nothing disturbed."""
    to = tmp_path_factory.mktemp("answers") / "answers.jsonl"
    result = ask(out, run, to)
    assert (result.failed, result.exit_code) == ([], 0)
    assert result.answers == result.asked == len(lines(to))
    return to


class TestAnswersOfASplit:
    def test_every_record_of_the_split_has_its_answer_in_order(self, out, whole):
        records = read_records(out, "test").records
        found = lines(whole)

        assert [one["record_id"] for one in found] == [one.record_id for one in records]
        assert {one["task"] for one in found} == {"emotion", "sentiment", "describe", "reason"}
        assert all(
            set(one)
            == {"clip_id", "task", "record_id", "question", "answer", "label_probabilities"}
            for one in found
        )
        assert not whole.with_name("answers.jsonl.part").exists()
        assert not whole.with_name("answers.failed.jsonl").exists()

    def test_label_probabilities_are_of_the_clips_label_space(self, whole):
        weights = {one["record_id"]: one["label_probabilities"] for one in lines(whole)}

        assert sum(weights["a:coarse:emotion"].values()) == pytest.approx(1, abs=1e-5)
        assert list(weights["a:coarse:emotion"])[:2] == ["happy", "sad"]
        assert len(weights["a:coarse:emotion"]) == 9
        assert weights["a:fine:reason"] is None
        assert "undecided:coarse:emotion" not in weights
        assert "undecided:coarse:describe" in weights

    def test_no_question_names_the_label(self, out, whole):
        pools = load_questions()
        given = [one.replace("{label}", "happy") for one in pools.pools[GIVEN]]
        recorded = {one.record_id: one.question for one in read_records(out, "test").records}
        asked = {one["record_id"]: one["question"] for one in lines(whole)}
        reasons = {name for name in asked if name.endswith(":reason")}

        assert reasons
        assert all(asked[name] in pools.pools["reason"] for name in reasons)
        assert all(asked[name] == recorded[name] for name in set(asked) - reasons)
        assert Pools(None).names_its_label(given[0], "happy")
        assert not Pools(None).names_its_label(given[0], "sad")

    def test_a_run_that_was_killed_goes_on_and_asks_nothing_twice(
        self, out, run, whole, tmp_path, monkeypatch
    ):
        to = tmp_path / "answers.jsonl"
        part, done = tmp_path / "answers.jsonl.part", []

        class KilledError(Exception):
            pass

        def kill(*arguments):
            if len(done) == 3:
                raise KilledError
            done.append(arguments)
            return real(*arguments)

        real = answering._answer
        monkeypatch.setattr(answering, "_answer", kill)
        with pytest.raises(KilledError):
            ask(out, run, to)
        monkeypatch.undo()
        kept = part.read_bytes()
        assert not to.exists()
        assert kept
        part.write_bytes(kept + b'{"clip_id": "b", "ta')  # a line that the kill has cut
        result = ask(out, run, to)

        assert result.asked == len(lines(whole)) - kept.count(b"\n")
        assert to.read_bytes() == whole.read_bytes()
        assert ask(out, run, to).asked == 0
        assert to.read_bytes() == whole.read_bytes()

    def test_tasks_may_be_asked_one_after_another(self, out, run, whole, tmp_path):
        to = tmp_path / "answers.jsonl"
        ask(out, run, to, tasks=("emotion",))
        assert {one["task"] for one in lines(to)} == {"emotion"}
        ask(out, run, to)
        by_id = {one["record_id"]: one for one in lines(whole)}
        assert {one["record_id"]: one for one in lines(to)} == by_id

    def test_a_clip_that_cannot_be_read_is_named_and_asked_when_it_is_back(
        self, out, run, whole, tmp_path
    ):
        clips = tmp_path / "clips"
        shutil.copytree(out / "input", clips)
        (clips / "b.mp4").unlink()
        to = tmp_path / "answers.jsonl"
        result = ask(out, run, to, clips=clips)
        failed = lines(tmp_path / "answers.failed.jsonl")

        assert result.exit_code == 1
        assert [one["clip_id"] for one in failed] == ["b"]
        assert "b.mp4" in failed[0]["reason"]
        assert "b" not in {one["clip_id"] for one in lines(to)}

        shutil.copy(out / "input" / "b.mp4", clips)
        result = ask(out, run, to, clips=clips)
        assert result.exit_code == 0
        assert result.asked == sum(one["clip_id"] == "b" for one in lines(whole))
        assert not (tmp_path / "answers.failed.jsonl").exists()
        ids = [one["record_id"] for one in lines(whole)]
        assert [one["record_id"] for one in lines(to)] == ids

    def test_answers_of_another_model_are_never_mixed_in(self, out, run, tmp_path):
        to = tmp_path / "answers.jsonl"
        ask(out, run, to, tasks=("emotion",))
        other = tmp_path / "other"
        shutil.copytree(run, other)
        os.utime(other / "model.safetensors", (1, 1))
        with pytest.raises(MerrError, match="answers of another model"):
            ask(out, other, to)
        foreign = tmp_path / "foreign.jsonl"
        foreign.write_text("{}\n")
        with pytest.raises(MerrError, match="not of our making"):
            ask(out, run, foreign)

    def test_unknown_tasks_and_empty_splits_are_said(self, out, run, tmp_path):
        with pytest.raises(MerrError, match="tasks: joy"):
            ask(out, run, tmp_path / "x.jsonl", tasks=("joy",))
        with pytest.raises(MerrError, match="no coarse or fine records in the split validation"):
            answer_split(out, run, "validation", tmp_path / "x.jsonl", device="cpu")
