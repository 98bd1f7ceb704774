"""A model's answers and label probabilities, and the file of a whole split."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the extra train is not installed")
pytest.importorskip("transformers", reason="the extra train is not installed")

import torch
from made_emotion_llama import (
    CHAT,
    WIDTH,
    made_example,
    made_features,
    made_model,
    made_processor,
    made_prompt,
)

from merr_pipeline.training.answerer import Answerer, Asked, How
from merr_pipeline.training.collate import PaddingCollator
from merr_pipeline.training.loss import IGNORED
from merr_pipeline.training.processing import Question

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
