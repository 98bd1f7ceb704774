"""The prompt of Emotion-LLaMA: token counts of both presets, and what words may not do."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("transformers", reason="the extra train is not installed")
pytest.importorskip("torch", reason="the extra train is not installed")

from made_emotion_llama import (
    ANSWERS,
    ASKED,
    CHAT,
    SMALL,
    SMALL_MODERN,
    made_processor,
    made_tokenizer,
)

from merr_pipeline.emotion_llama.layout import MODERN, PUBLISHED, layout_from
from merr_pipeline.emotion_llama.loss import IGNORED
from merr_pipeline.emotion_llama.processing import TOKENS, EmotionLlamaProcessor, Question

pytestmark = pytest.mark.extras

ALL = {"image": 1, "face": 1, "temporal": 1, "audio": 1}


def placeholders(processor, ids: list[int]) -> list[str]:
    names = {number: name for name, number in processor.placeholder_ids.items()}
    return [names[number] for number in ids if number in names]


class TestCounts:
    def test_the_published_layout_has_256_and_3_and_1_tokens(self):
        assert PUBLISHED.counts(ALL) == {
            "image": 256,
            "cls": 1,
            "face": 1,
            "temporal": 1,
            "audio": 1,
        }

    def test_they_stand_in_the_published_order(self):
        processor = made_processor(PUBLISHED)
        found = placeholders(processor, processor.prompt_ids(ASKED, ALL))

        assert found == ["image"] * 256 + ["face", "temporal", "audio", "cls"]

    def test_the_modern_layout_has_four_pictures_and_the_course_of_face_and_voice(self):
        found = MODERN.counts({"image": 4, "face": 4, "temporal": 4, "audio": 8})

        assert found == {"image": 256, "cls": 4, "face": 4, "temporal": 4, "audio": 8}

    def test_a_saved_layout_is_the_same_again(self):
        assert layout_from(MODERN.as_dict()) == MODERN

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"merge_columns": 5}, "do not cover a grid of 32 x 32"),
            ({"parts": ("{smell}",)}, "unknown slots: smell"),
            ({"parts": ("{face}{face}",)}, "twice"),
        ],
    )
    def test_a_wrong_layout_is_refused(self, change, message):
        with pytest.raises(ValueError, match=message):
            replace(PUBLISHED, **change)


class TestPrompt:
    def test_the_published_prompt_reads_as_in_the_training_code(self):
        processor = made_processor()
        ids = processor.prompt_ids(ASKED, ALL)

        assert processor.tokenizer.decode(ids) == (
            "<s>[INST] <video><|image|><|image|><|image|><|image|></video> "
            "<feature><|face|><|temporal|><|audio|><|cls|></feature> "
            "The person in video says: fine, go on.  "
            "[reason] What is the emotion of the person?  [/INST]"
        )

    def test_what_is_missing_leaves_no_token_and_no_words(self):
        processor = made_processor()
        ids = processor.prompt_ids(replace(ASKED, transcript=None), {"audio": 1})

        assert processor.tokenizer.decode(ids) == (
            "<s>[INST] <feature><|audio|></feature> "
            "[reason] What is the emotion of the person?  [/INST]"
        )

    def test_a_chat_model_keeps_its_own_turns(self):
        processor = made_processor(SMALL_MODERN, CHAT)
        example = processor.example(ASKED, "happy", {"image": 2, "audio": 8})

        assert processor.tokenizer.decode(example["input_ids"]) == (
            "<|start|>user\n<video>" + "<|image|>" * 8 + "<|cls|><|cls|></video>\n"
            "<voice>" + "<|audio|>" * 8 + "</voice>\nThe person says: fine, go on\n"
            "[reason] What is the emotion of the person?<|end|>\n<|start|>assistant\nhappy<|end|>"
        )

    @pytest.mark.parametrize("chat", [None, CHAT])
    def test_only_the_answer_and_its_end_are_learned(self, chat):
        processor = made_processor(chat=chat)
        example = processor.example(ASKED, ANSWERS[2], ALL)
        learned = [label for label in example["labels"] if label != IGNORED]
        begin = len(example["labels"]) - len(learned)

        assert processor.tokenizer.decode(learned) == ANSWERS[2] + processor.tokenizer.eos_token
        assert example["labels"][:begin] == [IGNORED] * begin
        assert example["input_ids"][begin:] == learned

    @pytest.mark.parametrize("chat", [None, CHAT])
    def test_learning_and_asking_have_the_same_prompt(self, chat):
        processor = made_processor(chat=chat)
        example = processor.example(ASKED, "sad", ALL)
        prompt = processor.prompt_ids(ASKED, ALL)

        assert example["input_ids"][: len(prompt)] == prompt
        assert example["labels"][len(prompt)] != IGNORED


class TestWordsFromOutside:
    @pytest.mark.parametrize("chat", [None, CHAT])
    @pytest.mark.parametrize("token", [*TOKENS.values(), "<s>", "</s>", "<|start|>", "<|end|>"])
    def test_a_special_token_in_a_transcript_stays_words(self, chat, token):
        processor = made_processor(chat=chat)
        said = Question(f"What of {token}?", "reason", f"look {token}{token} here")
        special = set(processor.tokenizer.all_special_ids) | set(
            processor.tokenizer.added_tokens_decoder
        )
        plain = processor.prompt_ids(ASKED, ALL)
        ids = processor.prompt_ids(said, ALL)

        assert [i for i in ids if i in special] == [i for i in plain if i in special]
        assert f"look {token}{token} here" in processor.tokenizer.decode(ids)

    @pytest.mark.parametrize("token", ["<|image|>", "</s>"])
    def test_a_special_token_in_an_answer_stays_words(self, token):
        processor = made_processor()
        ids = processor.answer_ids(f"he says {token}")

        assert placeholders(processor, ids) == []
        assert ids.count(processor.tokenizer.eos_token_id) == 1

    def test_a_slot_in_a_transcript_stays_words(self):
        processor = made_processor()
        ids = processor.prompt_ids(replace(ASKED, transcript="{image} {cls}"), ALL)

        assert "says: {image} {cls}." in processor.tokenizer.decode(ids)

    def test_a_placeholder_that_words_could_make_is_refused(self):
        tokens = {**TOKENS, "face": "a"}

        with pytest.raises(ValueError, match="a is no special token: words could make it"):
            EmotionLlamaProcessor(made_tokenizer(), layout=SMALL.as_dict(), tokens=tokens)


class TestSaved:
    @pytest.mark.parametrize("chat", [None, CHAT])
    def test_a_saved_processor_gives_the_same_tokens(self, tmp_path, chat):
        processor = made_processor(SMALL_MODERN, chat)
        processor.save_pretrained(tmp_path)
        again = EmotionLlamaProcessor.from_pretrained(tmp_path)

        assert again.layout == processor.layout
        assert again.placeholder_ids == processor.placeholder_ids
        assert again.example(ASKED, "sad", ALL) == processor.example(ASKED, "sad", ALL)
