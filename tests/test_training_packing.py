"""Several clips in one row: none reads another, and nothing else changes either."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the extra train is not installed")
pytest.importorskip("transformers", reason="the extra train is not installed")

import torch
from hypothesis import given
from hypothesis import strategies as some
from made_emotion_llama import (
    ANSWERS,
    WIDTH,
    made_example,
    made_features,
    made_model,
    made_processor,
)

from merr_pipeline.emotion_llama.collate import PaddingCollator
from merr_pipeline.emotion_llama.loss import IGNORED
from merr_pipeline.training import attention
from merr_pipeline.training.packing import (
    Step,
    StepCollator,
    best_fit_decreasing,
    of_like_length,
    packed_row,
    supervised_tokens,
    unlearned,
)

pytestmark = pytest.mark.extras

KERNELS = ["sdpa", "eager", attention.VARLEN]


@pytest.fixture(scope="module")
def processor():
    return made_processor()


@pytest.fixture(scope="module")
def examples(processor):
    """Five clips; the second has no sound, the last nothing at all."""
    clips = [made_features(number) for number in range(4)]
    del clips[1]["audio_features"]
    return [
        made_example(processor, features, ANSWERS[number])
        for number, features in enumerate([*clips, {}])
    ]


def model_with(processor, kernel: str, family: str = "llama"):
    model = made_model(processor, family)
    model.model.language_model.set_attn_implementation(kernel)
    return model


def without_labels(batch):
    return {name: value for name, value in batch.items() if name != "labels"}


class TestRows:
    def test_the_longest_go_first_each_to_the_fullest_row_that_has_room(self):
        assert best_fit_decreasing([3, 7, 5, 2, 6], 10) == [[0, 1], [3, 4], [2]]

    @given(some.lists(some.integers(1, 100), min_size=1, max_size=40), some.integers(100, 300))
    def test_every_example_is_in_one_row_and_no_row_is_too_long(self, lengths, capacity):
        rows = best_fit_decreasing(lengths, capacity)

        assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
        assert all(sum(lengths[index] for index in row) <= capacity for row in rows)
        assert len(rows) <= 1 + 2 * sum(lengths) // capacity  # at most one is half empty

    @given(some.lists(some.integers(1, 100), min_size=1, max_size=40), some.integers(100, 300))
    def test_padded_rows_fit_with_their_padding(self, lengths, capacity):
        batches = of_like_length(lengths, capacity)

        assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
        assert all(len(one) * max(lengths[i] for i in one) <= capacity for one in batches)

    def test_a_mix_of_lengths_as_records_have_wastes_little(self):
        random = torch.Generator().manual_seed(0)
        lengths = torch.randint(300, 600, (40,), generator=random).tolist()
        rows = best_fit_decreasing(lengths, 4096)

        assert sum(lengths) / (len(rows) * 4096) > 0.85
        assert len(rows) == -(-sum(lengths) // 4096)  # none fewer would do

    def test_an_example_longer_than_a_row_is_refused(self):
        with pytest.raises(ValueError, match="an example of 11 tokens in rows of 10"):
            best_fit_decreasing([3, 11], 10)

    def test_a_row_says_where_clips_begin(self):
        row = packed_row(
            [
                {"input_ids": [5, 6, 7], "labels": [IGNORED, 6, 7]},
                {"input_ids": [8, 9], "labels": [IGNORED, 9]},
            ]
        )

        assert row["input_ids"].tolist() == [[5, 6, 7, 8, 9]]
        assert row["labels"].tolist() == [[IGNORED, 6, 7, IGNORED, 9]]
        assert row["position_ids"].tolist() == [[0, 1, 2, 0, 1]]
        assert row["cu_seq_lens_q"].tolist() == row["cu_seq_lens_k"].tolist() == [0, 3, 5]
        assert row["cu_seq_lens_q"].dtype == torch.int32
        assert row["max_length_q"] == 3
        assert "attention_mask" not in row


class TestNothingLeaks:
    @pytest.mark.parametrize("kernel", KERNELS)
    @pytest.mark.parametrize("family", ["llama", "qwen3"])
    def test_later_clips_do_not_change_when_the_first_one_does(
        self, processor, examples, kernel, family
    ):
        model = model_with(processor, kernel, family).train()
        row = packed_row(examples)
        changed = {**row, "image_features": row["image_features"].clone()}
        changed["image_features"][0] += 5
        first = int(row["cu_seq_lens_q"][1])
        heard: list[torch.Tensor] = []  # what the head would, with all that training gives
        hook = model.model.language_model.register_forward_hook(
            lambda _, given, output: heard.append(output.last_hidden_state)
        )
        with torch.no_grad():
            model(**row)
            model(**changed)
        hook.remove()
        before, after = (model.lm_head(hidden) for hidden in heard)

        assert not torch.allclose(before[:, :first], after[:, :first], atol=1e-3)
        assert torch.equal(before[:, first:], after[:, first:])

    @pytest.mark.parametrize("kernel", KERNELS)
    def test_a_packed_row_has_the_loss_and_gradients_of_padded_rows(
        self, processor, examples, kernel
    ):
        packed_model, padded_model = model_with(processor, kernel), model_with(processor, "sdpa")
        packed = packed_model(**packed_row(examples)).loss
        padded = padded_model(**PaddingCollator(0)(examples)).loss
        packed.backward()
        padded.backward()

        torch.testing.assert_close(packed, padded, atol=2e-6, rtol=1e-6)
        for name, weight in padded_model.named_parameters():
            other = packed_model.get_parameter(name).grad
            if weight.grad is not None:
                torch.testing.assert_close(other, weight.grad, atol=1e-6, rtol=1e-4)

    def test_varlen_attention_refuses_what_it_cannot_do(self, processor, examples):
        model = model_with(processor, attention.VARLEN)
        with pytest.raises(ValueError, match="packed rows alone"):
            model(**without_labels(PaddingCollator(0)(examples)))

    @pytest.mark.parametrize("more", [{"sliding_window": 16}, {"softcap": 30.0}])
    def test_varlen_attention_refuses_models_whose_attention_is_another(self, more):
        query = torch.randn(1, 4, 17, 16)
        begins = torch.tensor([0, 17], dtype=torch.int32)
        with pytest.raises(ValueError, match="no sliding window"):
            attention.varlen_attention(
                torch.nn.Module(),
                *(query, query, query),
                cu_seq_lens_q=begins,
                max_length_q=17,
                **more,
            )

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_varlen_is_chosen_where_it_says_what_sdpa_says(self, processor, dtype, monkeypatch):
        config, cpu = made_model(processor).config.text_config, torch.device("cpu")
        assert attention.why_not_varlen(config, dtype, cpu) is None

        right = attention._one_by_one
        answers = iter([lambda *given: right(*given) + 0.1, right])
        monkeypatch.setattr(attention, "_one_by_one", lambda *given: next(answers)(*given))
        assert "off" in str(attention.why_not_varlen(config, dtype, cpu))

    def test_varlen_is_not_chosen_for_a_model_that_drops_out_attention(self, processor):
        config = made_model(processor).config.text_config
        config.attention_dropout = 0.1
        why = attention.why_not_varlen(config, torch.float32, torch.device("cpu"))
        assert why == "the language model drops out attention"


class TestSteps:
    @pytest.mark.parametrize(("packed", "row_tokens"), [(True, 150), (True, 800), (False, 300)])
    def test_the_parts_of_a_step_have_the_loss_of_the_whole(
        self, processor, examples, packed, row_tokens
    ):
        model = made_model(processor).train()
        step = StepCollator(model.config, 0, row_tokens, packed)(examples)
        whole = model(**packed_row(examples)).loss
        parts = [model(**batch, num_items_in_batch=step.supervised).loss for batch in step.batches]

        assert (len(parts) == 1) == (row_tokens == 800)
        assert all(one["input_ids"].numel() <= row_tokens for one in step.batches)
        assert step.lengths == [len(one["input_ids"]) for one in examples]
        assert step.supervised == sum(map(supervised_tokens, examples))
        torch.testing.assert_close(sum(parts), whole, atol=2e-6, rtol=1e-6)

    def test_every_projector_has_a_gradient_whatever_clips_lack(self, processor, examples):
        model = made_model(processor).train()
        (batch,) = StepCollator(model.config, 0, 150)(examples[-1:]).batches
        model(**batch).loss.backward()
        gradients = {name: one.grad for name, one in model.model.projector.named_parameters()}

        assert batch["audio_features"].shape == (1, 0, WIDTH)
        assert all(one is not None and not one.any() for one in gradients.values())

    def test_a_forward_with_nothing_to_learn_adds_nothing(self, processor, examples):
        model = made_model(processor).train()
        (batch,) = StepCollator(model.config, 0, 800)(examples).batches
        loss = model(**unlearned(batch), num_items_in_batch=7).loss
        loss.backward()

        assert loss.item() == 0
        assert not any(one.grad.any() for one in model.parameters() if one.grad is not None)

    def test_a_step_goes_through_a_loader(self, processor, examples):
        collate = StepCollator(made_model(processor).config, 0, 800)
        loader = torch.utils.data.DataLoader(examples, batch_size=2, collate_fn=collate)
        steps = list(loader)

        assert [type(one) for one in steps] == [Step] * 3
        assert [len(one.lengths) for one in steps] == [2, 2, 1]
