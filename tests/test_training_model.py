"""Emotion-LLaMA as a model, shown with random weights: shapes, parity, saving, answers."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("torch", reason="the extra train is not installed")
pytest.importorskip("transformers", reason="the extra train is not installed")

import torch
from made_emotion_llama import (
    ANSWERS,
    ASKED,
    SMALL,
    SMALL_MODERN,
    WIDTH,
    encoder_configs,
    made_example,
    made_features,
    made_model,
    made_processor,
    made_prompt,
    made_tokenizer,
    text_config,
)
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    Blip2VisionConfig,
    Blip2VisionModel,
    CLIPVisionConfig,
    LlamaConfig,
)

from merr_pipeline.emotion_llama.collate import PaddingCollator
from merr_pipeline.emotion_llama.configuration import EmotionLlamaConfig
from merr_pipeline.emotion_llama.encoders import encode_pictures, over_time
from merr_pipeline.emotion_llama.layout import PUBLISHED
from merr_pipeline.emotion_llama.loss import IGNORED, supervised_loss
from merr_pipeline.emotion_llama.modeling import EmotionLlamaForConditionalGeneration, Projector
from merr_pipeline.emotion_llama.parts import from_parts
from merr_pipeline.emotion_llama.processing import TOKENS, EmotionLlamaProcessor

pytestmark = [
    pytest.mark.extras,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),  # by peft
]

LORA = r"model\.language_model\..*\.(q_proj|v_proj)"


@pytest.fixture(scope="module", autouse=True)
def _few_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def processor() -> EmotionLlamaProcessor:
    return made_processor()


@pytest.fixture(scope="module")
def model(processor) -> EmotionLlamaForConditionalGeneration:
    return made_model(processor)


@pytest.fixture(scope="module")
def seeing(processor) -> EmotionLlamaForConditionalGeneration:
    """The model with all four encoders."""
    return made_model(processor, encoders=True)


def batch_of(processor, clips: int = 3) -> dict[str, torch.Tensor]:
    examples = [made_example(processor, made_features(i), ANSWERS[i]) for i in range(clips)]
    return PaddingCollator(0)(examples)


def without_labels(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in batch.items() if name != "labels"}


def prompts(processor, seeds: list[int], **missing: list[str]) -> dict[str, torch.Tensor]:
    collate = PaddingCollator(processor.tokenizer.pad_token_id, "left")
    return collate([made_prompt(processor, made_features(seed)) for seed in seeds])


class TestParity:
    """With the published model, in facts that need none of its weights."""

    def test_the_default_image_encoder_is_eva_clip_g(self):
        config = Blip2VisionConfig()
        with torch.device("meta"):
            tower = Blip2VisionModel(config)
        block = tower.encoder.layers[0]

        assert (config.hidden_size, config.num_hidden_layers) == (1408, 39)
        assert (config.num_attention_heads, config.patch_size) == (16, 14)
        assert (block.mlp.fc1.out_features, config.qkv_bias) == (6144, True)
        assert len(tower.encoder.layers) == 39
        width, mlp = 1408, 6144
        attention = 4 * width * width + 4 * width  # q, k, v and their one bias; the output
        norms, perceptron = 4 * width, 2 * width * mlp + mlp + width
        patches, positions = 3 * 14 * 14 * width + width, 257 * width
        expected = 39 * (attention + norms + perceptron) + patches + positions + width + 2 * width
        assert sum(p.numel() for p in tower.parameters()) == expected

    def test_lora_of_llama_2_7b_has_33_554_432_parameters(self):
        peft = pytest.importorskip("peft", reason="the extra train is not installed")
        with torch.device("meta"):
            model = EmotionLlamaForConditionalGeneration(
                EmotionLlamaConfig(text_config=LlamaConfig())  # its defaults are Llama-2-7B's
            )
            adapted = peft.get_peft_model(model, peft.LoraConfig(r=64, target_modules=LORA))
        trained = {name: p.numel() for name, p in adapted.named_parameters() if p.requires_grad}

        assert sum(trained.values()) == 33_554_432
        assert len(trained) == 32 * 2 * 2
        projectors = sum(p.numel() for p in model.model.projector.parameters())
        assert projectors == 41_439_232  # 5632, 1408 and three times 1024, to 4096
        language = sum(p.numel() for n, p in model.named_parameters() if "lora" not in n)
        assert language - projectors == 6_738_415_616

    def test_lora_leaves_encoders_alone(self, processor):
        peft = pytest.importorskip("peft", reason="the extra train is not installed")
        adapted = peft.get_peft_model(
            made_model(processor, encoders=True),
            peft.LoraConfig(r=2, target_modules=LORA, modules_to_save=["projector"]),
        )
        trained = {name for name, p in adapted.named_parameters() if p.requires_grad}

        assert not [name for name in trained if ".encoders." in name]
        assert len([name for name in trained if ".projector.modules_to_save." in name]) == 5 * 2
        assert len([name for name in trained if ".lora_" in name]) == 2 * 2 * 2

    def test_four_patches_beside_each_other_are_one_token(self):
        config = EmotionLlamaConfig(text_config=LlamaConfig(hidden_size=32, vocab_size=8))
        with torch.device("meta"):
            projector = Projector(config)
        patches = torch.arange(1024.0).reshape(1, 1024, 1).expand(1, 1024, 1408)
        merged = projector.merged(patches)

        assert merged.shape == (1, 256, 5632)
        assert torch.equal(merged, patches.reshape(1, 256, 5632))  # the published `view`
        assert merged[0, 9, ::1408].tolist() == [36, 37, 38, 39]

    def test_the_modern_layout_merges_squares(self):
        processor = made_processor(SMALL_MODERN)
        patches = torch.arange(16.0).reshape(1, 16, 1)
        merged = made_model(processor).model.projector.merged(patches)

        assert merged.tolist() == [[[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]]

    def test_image_features_have_a_plain_norm_over_the_last_block(self):
        torch.manual_seed(0)
        config = Blip2VisionConfig(**encoder_configs()["image_config"].to_dict())
        tower = Blip2VisionModel(config).eval()
        torch.nn.init.normal_(tower.post_layernorm.weight)
        pixels = torch.randn(2, 3, 56, 56)
        seen: list[torch.Tensor] = []
        hook = tower.post_layernorm.register_forward_pre_hook(
            lambda _, given: seen.append(given[0])
        )
        with torch.no_grad():
            plain = encode_pictures(tower, pixels, affine_norm=False)
            affine = encode_pictures(tower, pixels, affine_norm=True)
        hook.remove()

        torch.testing.assert_close(plain, functional.layer_norm(seen[0], (WIDTH,)))
        torch.testing.assert_close(
            affine,
            functional.layer_norm(
                seen[0],
                (WIDTH,),
                tower.post_layernorm.weight,
                tower.post_layernorm.bias,
                tower.post_layernorm.eps,
            ),
        )
        assert not torch.allclose(plain, affine, atol=0.1)


class TestFeatures:
    def test_each_encoder_gives_what_the_layout_says(self, seeing):
        random = torch.Generator().manual_seed(3)
        values = {
            "image": torch.randn(1, 3, 56, 56, generator=random),
            "face": torch.randn(5, 3, 32, 32, generator=random),
            "temporal": torch.randn(8, 3, 32, 32, generator=random),
            "audio": torch.randn(4000, generator=random),
        }
        shapes = {name: tuple(seeing.model.encode(name, one).shape) for name, one in values.items()}

        assert shapes == {
            "image": (1, 17, 32),
            "face": (1, 32),
            "temporal": (1, 32),
            "audio": (1, 32),
        }

    def test_the_same_face_gives_the_same_vector(self, seeing):
        crops = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(4))

        assert torch.equal(seeing.model.encode("face", crops), seeing.model.encode("face", crops))
        assert seeing.config.face_config.mask_ratio == 0

    def test_pictures_may_be_larger_than_those_the_encoder_learned_from(self, seeing):
        pixels = torch.randn(1, 3, 112, 112, generator=torch.Generator().manual_seed(5))

        assert seeing.model.encode("image", pixels).shape == (1, 65, WIDTH)

    def test_the_course_in_two_vectors_is_the_means_of_both_halves(self):
        states = torch.tensor([[0.0], [2.0], [4.0], [6.0]])

        assert over_time(states, 2).tolist() == [[1.0], [5.0]]
        assert over_time(states, 1).tolist() == [[3.0]]
        assert over_time(states[:1], 3).tolist() == [[0.0]] * 3

    def test_features_made_before_and_features_made_now_are_the_same(self, seeing, processor):
        random = torch.Generator().manual_seed(6)
        values = [
            {
                "image_values": torch.randn(1, 3, 56, 56, generator=random),
                "audio_values": torch.randn(length, generator=random),
            }
            for length in (3000, 4000)
        ]
        counts = {"image": 1, "audio": 1}
        tokens = [processor.example(ASKED, ANSWERS[i], counts) for i in range(2)]
        now = PaddingCollator(0)([{**t, **v} for t, v in zip(tokens, values, strict=True)])
        cached = [
            {
                name.replace("values", "features"): seeing.model.encode(name.split("_")[0], value)
                for name, value in one.items()
            }
            for one in values
        ]
        before = PaddingCollator(0)([{**t, **c} for t, c in zip(tokens, cached, strict=True)])

        with torch.no_grad():
            torch.testing.assert_close(seeing(**now).logits, seeing(**before).logits)

    def test_encoders_are_never_trained(self, seeing):
        assert not [p for p in seeing.model.encoders.parameters() if p.requires_grad]
        seeing.train()
        assert seeing.training
        assert not [one for one in seeing.model.encoders.modules() if one.training]
        seeing.eval()

    def test_a_wrong_number_of_frames_is_said(self, seeing):
        with pytest.raises(ValueError, match="3 frames; the encoder reads 8"):
            seeing.model.encode("temporal", torch.zeros(3, 3, 32, 32))

    def test_an_encoder_that_is_not_there_is_named(self, model):
        with pytest.raises(ValueError, match="no audio encoder: give audio_features"):
            model.model.encode("audio", torch.zeros(4000))

    def test_any_vision_tower_may_see(self, processor):
        tower = CLIPVisionConfig(
            hidden_size=48,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=56,
            patch_size=14,
        )
        config = EmotionLlamaConfig(
            text_config=made_model(processor).config.text_config,
            image_config=tower,
            **processor.config_fields(),
        )
        model = EmotionLlamaForConditionalGeneration(config).eval()
        tokens = {"input_ids": processor.prompt_ids(ASKED, {"image": 1})}
        batch = PaddingCollator(0)([{**tokens, "image_values": torch.zeros(1, 3, 56, 56)}])

        assert config.image_width == 48
        with torch.no_grad():
            assert model(**batch).logits.shape[1] == batch["input_ids"].shape[1]


class TestForward:
    def test_the_loss_is_that_of_all_logits(self, model, processor):
        batch = batch_of(processor)
        with torch.no_grad():
            logits = model(**without_labels(batch)).logits
            loss = model(**batch).loss
        expected = functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=IGNORED
        )

        torch.testing.assert_close(loss, expected)

    def test_chunks_and_items_of_a_larger_batch_count(self, model):
        torch.manual_seed(1)
        hidden = torch.randn(2, 6, 64, requires_grad=True)
        labels = torch.tensor([[IGNORED, 1, 2, 3, 4, 5], [IGNORED] * 4 + [6, 7]])
        whole = supervised_loss(hidden, model.lm_head, labels)

        torch.testing.assert_close(supervised_loss(hidden, model.lm_head, labels, chunk=2), whole)
        of_more = supervised_loss(hidden, model.lm_head, labels, items=14)
        torch.testing.assert_close(of_more, whole / 2)

    def test_a_batch_without_labels_has_a_loss_of_zero_with_a_gradient(self, model):
        hidden = torch.randn(1, 4, 64, requires_grad=True)
        loss = supervised_loss(hidden, model.lm_head, torch.full((1, 4), IGNORED))
        loss.backward()

        assert loss.item() == 0
        assert hidden.grad is not None

    def test_clips_may_lack_what_others_have(self, model, processor):
        whole, no_sound, words = made_features(0), made_features(1), {}
        del no_sound["audio_features"], no_sound["image_features"]
        examples = [made_example(processor, f, "sad") for f in (whole, no_sound, words)]
        batch = PaddingCollator(0)(examples)
        with torch.no_grad():
            together = model(**without_labels(batch)).logits
            alone = [model(**without_labels(PaddingCollator(0)([one]))).logits for one in examples]

        assert batch["image_mask"].tolist() == [[True], [False], [False]]
        assert batch["face_mask"].tolist() == [[True], [True], [False]]
        for row, one in zip(together, alone, strict=True):
            torch.testing.assert_close(row[: one.shape[1]], one[0], atol=1e-5, rtol=1e-4)

    @pytest.mark.parametrize("name", ["image", "face", "temporal", "audio"])
    def test_vectors_without_tokens_and_tokens_without_vectors_are_refused(
        self, model, processor, name
    ):
        batch = without_labels(batch_of(processor, 2))
        for lacking in ({f"{name}_features": None}, {"input_ids": batch["input_ids"][:, :1]}):
            with pytest.raises(ValueError, match="placeholder tokens for"):
                model(**{**batch, "attention_mask": None, **lacking})

    def test_vectors_of_one_clip_never_fill_the_tokens_of_another(self, model, processor):
        batch = without_labels(batch_of(processor, 2))
        batch["face_features"] = torch.randn(2, 2, WIDTH)
        batch["face_mask"] = torch.tensor([[True, True], [False, False]])

        with pytest.raises(
            ValueError, match=re.escape("face: [1, 1] placeholder tokens for [2, 0]")
        ):
            model(**batch)

    @pytest.mark.parametrize("family", ["llama", "qwen3"])
    def test_clips_that_share_a_row_know_nothing_of_each_other(self, processor, family):
        model = made_model(processor, family)
        examples = [made_example(processor, made_features(i), ANSWERS[i]) for i in range(3)]
        media = {k: v for k, v in batch_of(processor).items() if "features" in k or "mask" in k}
        del media["attention_mask"]
        lengths = [len(one["input_ids"]) for one in examples]
        packed = {
            name: torch.tensor([[number for one in examples for number in one[name]]])
            for name in ("input_ids", "labels")
        }
        packed["position_ids"] = torch.cat([torch.arange(length) for length in lengths])[None]
        changed = {**media, "image_features": media["image_features"].clone()}
        changed["image_features"][0] += 5
        with torch.no_grad():
            loss, logits = (getattr(model(**packed, **media), name) for name in ("loss", "logits"))
            other = model(**packed, **changed).logits
            padded = model(**batch_of(processor)).loss

        torch.testing.assert_close(loss, padded)
        assert not torch.allclose(logits[:, : lengths[0]], other[:, : lengths[0]])
        assert torch.equal(logits[:, lengths[0] :], other[:, lengths[0] :])


class TestSaving:
    @pytest.mark.parametrize("family", ["llama", "qwen3", "qwen3-tied"])
    def test_a_saved_model_gives_the_same_logits(self, tmp_path, processor, family):
        model = made_model(processor, family)
        model.save_pretrained(tmp_path)
        again = EmotionLlamaForConditionalGeneration.from_pretrained(tmp_path).eval()
        batch = without_labels(batch_of(processor))

        with torch.no_grad():
            torch.testing.assert_close(again(**batch).logits, model(**batch).logits)
        for name, weight in model.state_dict().items():
            assert torch.equal(weight, again.state_dict()[name]), name

    def test_the_auto_classes_know_it_with_its_encoders(self, tmp_path, seeing, processor):
        seeing.save_pretrained(tmp_path)
        processor.save_pretrained(tmp_path)
        again = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
        config = AutoConfig.from_pretrained(tmp_path)

        assert type(again) is EmotionLlamaForConditionalGeneration
        assert type(AutoProcessor.from_pretrained(tmp_path)) is EmotionLlamaProcessor
        assert config.layout == SMALL.as_dict()
        kinds = [getattr(config, f"{name}_config").model_type for name in seeing.model.encoders]
        assert kinds == ["blip_2_vision_model", "vit_mae", "videomae", "hubert"]
        for name, weight in seeing.state_dict().items():
            assert torch.equal(weight, again.state_dict()[name]), name

    def test_a_configuration_without_encoders_has_none(self):
        config = EmotionLlamaConfig(text_config=LlamaConfig(hidden_size=32, vocab_size=8))

        assert config.image_config is None
        assert (config.image_width, config.audio_width) == (1408, 1024)
        assert config.layout == PUBLISHED.as_dict()


class TestParts:
    @pytest.fixture(scope="class")
    @classmethod
    def folders(cls, tmp_path_factory, processor):
        """A language model and two encoders as somebody published them."""
        folder = tmp_path_factory.mktemp("parts")
        torch.manual_seed(1)
        configs = encoder_configs()
        made = {
            "text": AutoModelForCausalLM.from_config(
                text_config("qwen3-tied", processor.tokenizer)
            ),
            "image": Blip2VisionModel(configs["image_config"]),
            "face": AutoModel.from_config(configs["face_config"]),
        }
        for name, part in made.items():
            part.save_pretrained(folder / name)
        return folder

    @pytest.fixture(scope="class")
    @classmethod
    def whole(cls, folders, processor):
        encoders = {name: folders / name for name in ("image", "face")}
        widths = {"temporal": WIDTH, "audio": WIDTH}
        return from_parts(folders / "text", processor, encoders, widths)

    def test_without_a_clip_it_speaks_as_its_language_model(self, whole, folders, processor):
        text = AutoModelForCausalLM.from_pretrained(folders / "text").eval()
        ids = torch.tensor([processor.prompt_ids(ASKED, {})])

        with torch.no_grad():
            torch.testing.assert_close(whole(input_ids=ids).logits, text(input_ids=ids).logits)
        assert whole.config.text_config.vocab_size == text.config.vocab_size
        assert not [name for name, one in whole.named_parameters() if one.is_meta]

    def test_all_patches_of_a_face_are_seen_also_after_it_was_saved(self, whole, tmp_path):
        crops = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        changed = crops.clone()
        changed[:, :, -1, -1] += 9  # in the last patch
        whole.save_pretrained(tmp_path)
        again = EmotionLlamaForConditionalGeneration.from_pretrained(tmp_path).eval()
        vector = whole.model.encode("face", crops)

        torch.testing.assert_close(again.model.encode("face", crops), vector)
        assert not torch.allclose(whole.model.encode("face", changed), vector, atol=1e-4)
        assert again.lm_head.weight is again.model.language_model.embed_tokens.weight

    def test_projectors_stay_fp32_beside_a_bf16_model(self, folders, processor):
        widths = dict.fromkeys(("image", "face", "temporal", "audio"), WIDTH)
        model = from_parts(folders / "text", processor, widths=widths, dtype=torch.bfloat16)
        model.train()
        batch = batch_of(processor)
        batch["audio_features"] = batch["audio_features"].bfloat16()  # as a cache may have them
        model(**batch).loss.backward()

        assert model.lm_head.weight.dtype == torch.bfloat16
        assert {one.dtype for one in model.model.projector.parameters()} == {torch.float32}
        assert model.model.projector.audio.weight.grad.abs().sum() > 0


class TestGenerate:
    def test_it_writes_the_likeliest_token_each_time(self, model, processor):
        batch = prompts(processor, [0])
        written = model.generate(**batch, max_new_tokens=8, do_sample=False, eos_token_id=None)
        never = list(model.config.placeholder_ids.values())
        ids, media = batch["input_ids"], {k: v for k, v in batch.items() if "_ids" not in k}
        del media["attention_mask"]
        for _ in range(8):
            with torch.no_grad():
                logits = model(input_ids=ids, **media, use_cache=False).logits[:, -1]
            logits[:, [i for i in never if i < logits.shape[1]]] = -torch.inf
            ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], 1)

        assert torch.equal(written, ids)

    def test_a_clip_gets_the_same_answer_beside_others(self, model, processor):
        together = prompts(processor, [0, 1, 2])
        del together["face_features"], together["face_mask"]
        collate = PaddingCollator(0, "left")
        clips = [made_features(0), {}, made_features(2)]
        batch = collate([made_prompt(processor, clip) for clip in clips])
        how = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None}
        length = batch["input_ids"].shape[1]
        written = model.generate(**batch, **how)[:, length:]
        for clip, answer in zip(clips, written, strict=True):
            alone = collate([made_prompt(processor, clip)])
            one = model.generate(**alone, **how)[:, alone["input_ids"].shape[1] :]
            assert torch.equal(one[0], answer)

    def test_it_never_says_a_placeholder_that_is_in_its_vocabulary(self):
        tokens = {**TOKENS, "audio": "<|start|>"}  # as a reserved token of a vocabulary
        processor = EmotionLlamaProcessor(made_tokenizer(), layout=SMALL.as_dict(), tokens=tokens)
        model, token = made_model(processor), processor.placeholder_ids["audio"]
        best = 100 * functional.one_hot(torch.tensor(token), model.lm_head.out_features)
        model.lm_head.register_forward_hook(lambda _, given, logits: logits + best)
        batch = prompts(processor, [0])
        written = model.generate(**batch, max_new_tokens=4, do_sample=False, eos_token_id=None)

        assert token < model.lm_head.out_features
        assert token not in written[0, batch["input_ids"].shape[1] :]

    def test_beams_keep_their_features(self, model, processor):
        how = {"max_new_tokens": 5, "do_sample": False, "num_beams": 3}
        one = model.generate(**prompts(processor, [4]), **how)
        both = model.generate(**prompts(processor, [3, 4]), **how)

        assert torch.equal(one[0], both[1][: len(one[0])])


class TestLearning:
    def test_eight_clips_that_differ_in_features_alone_are_memorised(self, processor):
        model = made_model(processor).train()
        examples = [made_example(processor, made_features(i), ANSWERS[i]) for i in range(8)]
        batch = PaddingCollator(0)(examples)
        optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
        for _ in range(45):
            loss = model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        model.eval()
        shifted = [*range(1, 8), 0]
        asked = prompts(processor, shifted)
        length = asked["input_ids"].shape[1]
        written = model.generate(**asked, max_new_tokens=40, do_sample=False)

        assert loss.item() < 0.1
        assert processor.answers(written, length) == [ANSWERS[i] for i in shifted]
