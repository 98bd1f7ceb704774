"""The published model, as its code has it, held against ours without its weights.

Here: tokens of a picture, the prompt and its labels token by token, which numbers are trained, how
fast they learn. `test_training_model.py` has the shapes of EVA-CLIP-g and how patches are merged.
"""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the extra train is not installed")
pytest.importorskip("transformers", reason="the extra train is not installed")

import torch
from made_emotion_llama import made_tokenizer
from transformers import Blip2VisionConfig, Blip2VisionModel, LlamaConfig

from merr_pipeline.emotion_llama.configuration import EmotionLlamaConfig
from merr_pipeline.emotion_llama.layout import PUBLISHED
from merr_pipeline.emotion_llama.loss import IGNORED
from merr_pipeline.emotion_llama.modeling import EmotionLlamaForConditionalGeneration
from merr_pipeline.emotion_llama.processing import EmotionLlamaProcessor, Question
from merr_pipeline.recipe import LoraRecipe, load_recipe
from merr_pipeline.training.lora import trained_parameters, with_lora
from merr_pipeline.training.optimizer import learning_rate

pytestmark = pytest.mark.extras

IMAGE, STREAM, TEXT = 1408, 1024, 4096
"""Widths of EVA-CLIP-g, of the three streams, of Llama-2-7B."""


class TestImageEncoder:
    def test_a_published_picture_has_1025_tokens(self):
        config = Blip2VisionConfig(image_size=PUBLISHED.picture_px)
        with torch.device("meta"):
            encoder = Blip2VisionModel(config)
            states = encoder(torch.empty(1, 3, 448, 448), interpolate_pos_encoding=True)[0]
        assert states.shape == (1, 1025, IMAGE)


@pytest.fixture(scope="module")
def processor() -> EmotionLlamaProcessor:
    return EmotionLlamaProcessor(made_tokenizer())


def published_ids(tokenizer, line: str, task: str, question: str, answer: str):
    """As ``first_face.py`` and ``minigpt_base.py`` put a training example together.

    The instruction is cut where features go, and each piece is tokenized by itself; labels are
    ignored on the first token and on all of the prompt.
    """
    instruction = (
        f"[INST] <video><VideoHere></video> <feature><FeatureHere></feature> "
        f"The person in video says: {line}.  [{task}] {question}  [/INST]"
    )
    before, rest = instruction.split("<VideoHere>")
    between, after = rest.split("<FeatureHere>")

    def plain(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    prompt = [tokenizer.bos_token_id, *plain(before), *["video"] * 256, *plain(between)]
    prompt += [*["feature"] * 4, *plain(after)]
    reply = [*plain(answer), tokenizer.eos_token_id]
    return [*prompt, *reply], [*[IGNORED] * len(prompt), *reply]


class TestPrompt:
    LINE, TASK = "I told you, twice", "emotion"
    QUESTION = "What is the emotion of the person in the video?"
    ANSWER = "The person frowns, so the emotion is angry."
    ALL = {"image": 1, "face": 1, "temporal": 1, "audio": 1}  # noqa: RUF012

    def example(self, processor, vectors=None):
        asked = Question(self.QUESTION, self.TASK, self.LINE)
        return processor.example(asked, self.ANSWER, self.ALL if vectors is None else vectors)

    def test_every_token_and_label_is_the_published_one(self, processor):
        ids, labels = published_ids(
            made_tokenizer(), self.LINE, self.TASK, self.QUESTION, self.ANSWER
        )
        found = self.example(processor)
        kinds = {number: name for name, number in processor.placeholder_ids.items()}
        told = [
            {"image": "video"}.get(kinds[one], "feature") if one in kinds else one
            for one in found["input_ids"]
        ]

        assert told == ids
        assert found["labels"] == labels

    def test_features_stand_in_the_published_order(self, processor):
        """``first_face.py``: FaceMAE, VideoMAE, HuBERT; ``minigpt_base.py``: the class token."""
        kinds = {number: name for name, number in processor.placeholder_ids.items()}
        found = [kinds[one] for one in self.example(processor)["input_ids"] if one in kinds]

        assert found == ["image"] * 256 + ["face", "temporal", "audio", "cls"]

    def test_the_answer_keeps_its_case_and_points_which_the_published_code_takes_away(
        self, processor
    ):
        found = self.example(processor)
        said = [one for one in found["labels"] if one != IGNORED]
        assert processor.tokenizer.decode(said[:-1]) == self.ANSWER

    def test_inference_has_the_very_prompt_of_training(self, processor):
        """There the published code puts all vectors at the video, and two first tokens."""
        asked = Question(self.QUESTION, self.TASK, self.LINE)
        prompt = processor.prompt_ids(asked, self.ALL)
        found = self.example(processor)

        assert found["input_ids"][: len(prompt)] == prompt
        assert set(found["labels"][: len(prompt)]) == {IGNORED}
        assert found["labels"][len(prompt)] != IGNORED

    def test_what_a_clip_has_not_takes_its_tokens_with_it(self, processor):
        whole, without = self.example(processor), self.example(processor, {"image": 1, "face": 1})
        ids = processor.placeholder_ids
        lost = {ids["temporal"], ids["audio"]}

        assert [one for one in whole["input_ids"] if one not in lost] == without["input_ids"]


@pytest.fixture(scope="module")
def llama() -> EmotionLlamaForConditionalGeneration:
    """With Llama-2-7B, whose sizes are the defaults; without its numbers."""
    with torch.device("meta"):
        return EmotionLlamaForConditionalGeneration(EmotionLlamaConfig(text_config=LlamaConfig()))


class TestWhatIsTrained:
    def test_projectors_are_the_published_ones(self, llama):
        projector = llama.model.projector
        counts = {
            name: sum(one.numel() for one in layer.parameters())
            for name, layer in projector.named_children()
        }
        streams = dict.fromkeys(("face", "temporal", "audio"), STREAM * TEXT + TEXT)
        merged = {"image": 4 * IMAGE * TEXT + TEXT, "cls": IMAGE * TEXT + TEXT}
        assert counts == {**merged, **streams}

    def test_lora_has_33554432_numbers_on_query_and_value(self, llama):
        recipe = LoraRecipe()
        assert (recipe.rank, recipe.alpha, recipe.dropout) == (64, 16, 0.05)
        with torch.device("meta"):
            counts = trained_parameters(with_lora(llama, recipe))

        assert counts["lora"] == 33_554_432  # as its log says


class TestSchedule:
    def test_the_first_stage_rises_and_falls_between_the_published_rates(self):
        learn = load_recipe("stage1").learn
        rates = [learning_rate(step, learn) for step in range(learn.steps + 1)]

        assert rates[0] == 1e-6
        assert max(rates) == pytest.approx(1e-5, rel=0.01)
        assert rates[-1] == pytest.approx(1e-6, rel=1e-3)

    def test_the_second_stage_never_changes(self):
        learn = load_recipe("stage2").learn
        assert {learning_rate(step, learn) for step in range(0, learn.steps, 100)} == {1e-6}
