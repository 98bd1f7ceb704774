"""A training run: what it learns, where it goes on, what it leaves."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra train is not installed")
pytest.importorskip("transformers", reason="the extra train is not installed")

import torch
import yaml
from builds import merr
from made_emotion_llama import ANSWERS, ASKED
from made_learning import (
    LABELS,
    features_of,
    made_dataset,
    made_language_model,
    number_of,
    random_features,
    tiny_recipe,
)
from safetensors.torch import load_file
from transformers import LlamaConfig

from merr_pipeline.emotion_llama.collate import PaddingCollator
from merr_pipeline.emotion_llama.configuration import EmotionLlamaConfig
from merr_pipeline.emotion_llama.modeling import EmotionLlamaForConditionalGeneration
from merr_pipeline.emotion_llama.processing import Question
from merr_pipeline.recipe import LearnRecipe, LoraRecipe, load_recipe
from merr_pipeline.schema import MerrError
from merr_pipeline.training.learned import by_task, of_share, training_records, validation_records
from merr_pipeline.training.loop import train
from merr_pipeline.training.lora import trained_parameters, with_lora
from merr_pipeline.training.optimizer import learning_rate, make_optimizer, make_schedule
from merr_pipeline.training.saved import load_run
from merr_pipeline.training.speed import Sizes, Speed, sizes_of
from merr_pipeline.training.start import base_model, completed, trainable, with_adapter
from merr_pipeline.training_data.data import Examples
from merr_pipeline.training_data.order import Order

pytestmark = pytest.mark.extras

ASKED_OF_LABEL = Question(ASKED.question, "emotion")
QUICK = ("learn.learning_rate=0.01", "learn.least_learning_rate=0.001", "lora.rank=32")


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def language_model(tmp_path_factory) -> Path:
    return made_language_model(tmp_path_factory.mktemp("language model"))


@pytest.fixture(scope="module")
def eight(tmp_path_factory) -> Path:
    """Eight clips to learn, each with an answer of its own, and two to validate."""
    folder = tmp_path_factory.mktemp("eight")
    return made_dataset(folder, {"train": 8, "validation": 2}, lambda number: ANSWERS[number % 8])


@pytest.fixture(scope="module")
def memorised(tmp_path_factory, eight, language_model) -> Path:
    """A run that has learned the eight by heart, merged."""
    to = tmp_path_factory.mktemp("runs") / "memorised"
    more = ("learn.steps=40", "keep.merge=true", "keep.log_every=10", "keep.validate_every=20")
    train(tiny_recipe(to, eight, language_model, *QUICK, *more), features_of, said().append)
    return to


def said() -> list[str]:
    return []


def clip(number: int) -> dict[str, str]:
    return {"clip_id": f"clip_{number:04d}"}


def answers(model, processor, clips: list[dict[str, torch.Tensor]]) -> list[str]:
    """Of clips that are asked all the same."""
    counts = dict.fromkeys(("face", "temporal", "audio"), 1)
    ids = processor.prompt_ids(ASKED_OF_LABEL, counts)
    batch = PaddingCollator(0, "left")([{"input_ids": ids, **features} for features in clips])
    written = model.generate(**batch, max_new_tokens=40, do_sample=False)
    return processor.answers(written, len(ids))


class TestItLearns:
    def test_eight_clips_by_heart_and_answers_follow_the_features(self, memorised):
        model, processor = load_run(memorised)
        order = [3, 1, 7, 0, 6, 2, 5, 4]

        assert answers(model, processor, [features_of(clip(n)) for n in range(8)]) == ANSWERS
        permuted = answers(model, processor, [features_of(clip(n)) for n in order])
        assert permuted == [ANSWERS[number] for number in order]

    def test_what_it_says_of_itself(self, memorised):
        found = json.loads((memorised / "summary.json").read_text("utf-8"))

        assert (found["steps"], found["samples"]) == (40, 320)
        assert [step for step, _ in found["losses"]] == [10, 20, 30, 40]
        assert found["loss"] == found["losses"][-1][1] < 0.01 < found["losses"][0][1]
        assert [one["step"] for one in found["validation"]] == [20, 40]
        assert set(found["validation"][0]) == {"step", "loss", "loss_emotion"}
        assert found["steps_measured"] == 39
        assert found["tokens_per_s"] > 0 < found["samples_per_s"]
        assert 0 < found["mfu"] < 1
        assert "P_lora" in found["mfu_formula"]
        assert 0 <= found["data_wait_share"] < 1

    def test_the_folder_is_as_promised(self, memorised):
        names = {path.name for path in memorised.iterdir()}

        assert names == {
            *("adapter", "model", "processor", "recipe.yaml", "summary.json", "checkpoints")
        }
        assert {path.name for path in (memorised / "checkpoints").iterdir()} == {
            *("checkpoint-40", "dataset.json")
        }

    @pytest.mark.long
    def test_a_shuffled_label_is_not_learned_for_clips_that_were_never_seen(
        self, tmp_path, language_model
    ):
        def seen(row):
            """What clips of a label have in common, and what is theirs alone."""
            common = random_features(LABELS[number_of(row) % 4])
            return {name: 2 * common[name] + own for name, own in features_of(row).items()}

        def score(name: str, answer) -> float:
            out = made_dataset(tmp_path / name, {"train": 48}, answer)
            recipe = tiny_recipe(tmp_path / f"{name} run", out, language_model, *QUICK)
            more = {"steps": 30}
            recipe = recipe.model_copy(update={"learn": recipe.learn.model_copy(update=more)})
            train(recipe, seen, said().append)
            model, processor = load_run(tmp_path / f"{name} run")
            held_out = [seen(clip(number)) for number in range(100, 140)]
            given = answers(model, processor, held_out)
            return sum(one == LABELS[n % 4] for n, one in enumerate(given)) / 40

        shuffled = torch.randperm(48, generator=torch.Generator().manual_seed(1)).tolist()
        real = score("real", lambda number: LABELS[number % 4])
        control = score("control", lambda number: LABELS[shuffled[number] % 4])

        assert real > 0.9
        assert control < 0.6


class TestSaving:
    def test_merged_and_unmerged_give_the_same_answers(self, memorised, tmp_path):
        shutil.copytree(memorised, tmp_path / "run")
        shutil.rmtree(tmp_path / "run" / "model")
        merged, processor = load_run(memorised)
        from_adapter, same = load_run(tmp_path / "run")
        base, _ = base_model(load_recipe(str(memorised / "recipe.yaml")))
        unmerged = with_adapter(base, memorised / "adapter").eval()
        clips = [random_features(f"new {number}") for number in range(6)]
        found = [answers(one, processor, clips) for one in (merged, from_adapter, unmerged)]

        assert found[0] == found[1] == found[2]
        assert len(set(found[0])) > 1
        assert same.layout == processor.layout
        for name, weight in merged.state_dict().items():
            torch.testing.assert_close(from_adapter.state_dict()[name], weight)

    def test_a_bf16_run_learns_in_fp32_and_is_read_so(self, tmp_path, eight, language_model):
        more = ("model.dtype=bfloat16", "keep.merge=true", "learn.steps=2", "learn.warmup_steps=0")
        train(
            tiny_recipe(tmp_path / "run", eight, language_model, *more), features_of, said().append
        )
        adapter = load_file(tmp_path / "run" / "adapter" / "adapter_model.safetensors")
        model, _ = load_run(tmp_path / "run")

        assert {one.dtype for one in adapter.values()} == {torch.float32}
        assert {one.dtype for one in model.model.projector.parameters()} == {torch.float32}
        assert model.lm_head.weight.dtype == torch.bfloat16

    def test_a_folder_without_a_model_is_said(self, tmp_path):
        with pytest.raises(MerrError, match="holds no trained model"):
            load_run(tmp_path)

    def test_the_second_stage_goes_on_with_the_adapters_of_the_first(
        self, memorised, eight, tmp_path
    ):
        recipe = load_recipe(
            "stage2",
            [
                *(f"to={tmp_path / 'two'}", f"data.out={eight}", f"model.start={memorised}"),
                *("data.granularities=[coarse]", "learn.steps=2", "batch.samples=8"),
                *("batch.workers=0", "lora.rank=32", "lora.alpha=32", "keep.merge=false"),
                "lora.modules=[q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]",
            ],
        )
        summary = train(recipe, features_of, said().append)
        model, processor = load_run(tmp_path / "two")
        lora = recipe.lora.model_copy(update={"rank": 8})
        with pytest.raises(MerrError, match=r"lora\.rank is 8, and .* was trained with 32"):
            completed(recipe.model_copy(update={"lora": lora}))

        assert [step for step, _ in summary["losses"]] == [2]
        assert answers(model, processor, [features_of(clip(n)) for n in range(8)]) == ANSWERS

    def test_new_adapters_on_a_merged_model(self, memorised, eight, tmp_path):
        recipe = tiny_recipe(tmp_path / "run", eight, memorised / "model", "learn.steps=3")
        start = recipe.model.model_copy(
            update={"start": memorised / "model", "language_model": None}
        )
        found = train(recipe.model_copy(update={"model": start}), features_of, said().append)
        again, _ = load_run(tmp_path / "run")

        assert found["losses"][0][1] < 0.01  # what the merged model knows
        assert found["trained_parameters"]["lora"] == 32_768
        assert again.config.layout["picture_px"] == 56


class PowerError(Exception):
    """The power fails."""


def failing_after(count: int):
    """What shows so many clips, and then no more."""
    left = iter(range(count))

    def of_clip(row):
        if next(left, None) is None:
            raise PowerError
        return features_of(row)

    return of_clip


class TestGoingOn:
    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    def test_a_run_that_was_interrupted_ends_bit_for_bit_as_one_that_was_not(
        self, tmp_path, eight, language_model, dtype
    ):
        more = (
            *("batch.samples=3", "keep.save_every=2", "lora.dropout=0.2", f"model.dtype={dtype}"),
            *("keep.validate_every=2", "batch.row_tokens=256", "keep.checkpoints=1"),
        )
        whole = tiny_recipe(tmp_path / "whole", eight, language_model, *more)
        parts = tiny_recipe(tmp_path / "parts", eight, language_model, *more)
        once = train(whole, features_of, said().append)
        with pytest.raises(PowerError):  # in step 6, in mid epoch: 4 * 3 + 2 * 2 for validation
            train(parts, failing_after(3 * 5 + 2 * 2 + 1), said().append)
        left = sorted(path.name for path in (tmp_path / "parts" / "checkpoints").iterdir())
        lines = said()
        twice = train(parts, features_of, lines.append)

        assert left == ["checkpoint-4", "dataset.json"]
        assert "going on from step 4" in lines
        assert twice["losses"] == once["losses"]
        assert twice["validation"] == once["validation"]
        one, other = (
            load_file(tmp_path / name / "adapter" / "adapter_model.safetensors")
            for name in ("whole", "parts")
        )
        assert one.keys() == other.keys()
        for name, weight in one.items():
            assert torch.equal(weight, other[name]), name
        assert any(weight.any() for name, weight in one.items() if "lora_B" in name)
        assert (once["steps_measured"], twice["steps_measured"]) == (5, 4)  # without first ones

    def test_a_checkpoint_that_was_being_written_is_no_checkpoint(
        self, tmp_path, eight, language_model
    ):
        recipe = tiny_recipe(tmp_path / "run", eight, language_model, "keep.save_every=2")
        with pytest.raises(PowerError):
            train(recipe, failing_after(8 * 3), said().append)
        half = tmp_path / "run" / "checkpoints" / ".tmp-staging" / "checkpoint-4"
        half.mkdir(parents=True)
        (half / "trainer_state.json").write_text("{")
        lines = said()
        train(recipe, features_of, lines.append)

        assert "going on from step 2" in lines
        assert not half.parent.exists()

    def test_a_run_that_died_after_its_last_step_only_writes_what_is_missing(
        self, tmp_path, eight, language_model
    ):
        recipe = tiny_recipe(tmp_path / "run", eight, language_model)
        once = train(recipe, features_of, said().append)
        adapter = tmp_path / "run" / "adapter" / "adapter_model.safetensors"
        before = load_file(adapter)
        (tmp_path / "run" / "summary.json").unlink()
        shutil.rmtree(adapter.parent)
        again = train(recipe, failing_after(2), said().append)

        assert again["losses"] == once["losses"]
        assert again["tokens_per_s"] == pytest.approx(once["tokens_per_s"], rel=0.01)
        assert all(torch.equal(one, before[name]) for name, one in load_file(adapter).items())

    def test_a_finished_run_says_so_and_another_recipe_is_refused(
        self, memorised, eight, language_model
    ):
        before = (memorised / "summary.json").read_bytes()
        more = ("learn.steps=40", "keep.merge=true")
        lines = said()
        same = tiny_recipe(memorised, eight, language_model, *QUICK, *more, "batch.workers=1")
        train(same, failing_after(0), lines.append)

        assert lines == [f"{memorised} is done: 40 steps. For another run set another `to`."]
        assert (memorised / "summary.json").read_bytes() == before
        with pytest.raises(MerrError, match=r"another recipe \(learn.steps 40 -> 50\)"):
            train(
                tiny_recipe(memorised, eight, language_model, *QUICK, "learn.steps=50"),
                features_of,
            )

    def test_another_dataset_in_the_same_place_is_refused(self, tmp_path, eight, language_model):
        shutil.copytree(eight, tmp_path / "out")
        recipe = tiny_recipe(
            tmp_path / "run", tmp_path / "out", language_model, "keep.save_every=1"
        )
        with pytest.raises(PowerError):
            train(recipe, failing_after(8 * 3), said().append)
        manifest = tmp_path / "out" / "dataset" / "manifest.json"
        manifest.write_text(manifest.read_text("utf-8") + "\n")

        with pytest.raises(MerrError, match="has changed since the run"):
            train(recipe, features_of, said().append)

    def test_a_folder_of_something_else_is_not_written_to(self, tmp_path, eight, language_model):
        (tmp_path / "thesis.tex").write_text("")

        with pytest.raises(MerrError, match="holds other files than those of a run"):
            train(tiny_recipe(tmp_path, eight, language_model), features_of)


class TestSteps:
    def test_the_loss_is_that_of_the_published_order_of_the_data(
        self, tmp_path, eight, language_model
    ):
        """The first loss, before anything is learned, by hand."""
        recipe = tiny_recipe(tmp_path / "run", eight, language_model, "batch.samples=5")
        found = train(recipe, features_of, said().append)
        model, processor = trainable(completed(recipe))
        records = training_records(recipe)
        examples = Examples(records, processor, features_of)
        ids, kinds = zip(*((one.record_id, one.kind) for one in records.records), strict=True)
        first = [examples[index] for index in Order(ids, kinds).epoch(0)[:5]]
        with torch.no_grad():
            loss = model(**PaddingCollator(0)(first)).loss.item()

        assert found["losses"][0][1] == pytest.approx(loss, abs=2e-6)

    def test_validation_is_the_mean_over_tokens_of_each_task(self, memorised, eight):
        model, processor = load_run(memorised)
        recipe = load_recipe(str(memorised / "recipe.yaml"))
        records = validation_records(recipe)
        examples = Examples(records, processor, features_of)
        with torch.no_grad():
            batch = PaddingCollator(0)([examples[i] for i in range(len(examples))])
            loss = model(**batch).loss.item()
        found = json.loads((memorised / "summary.json").read_text("utf-8"))["validation"][-1]

        assert found["loss"] == found["loss_emotion"] == pytest.approx(loss, rel=1e-4)
        assert by_task(records, 1) != by_task(records, 9) == {"emotion": [0, 1]}

    def test_a_share_of_the_clips_is_in_every_larger_one(self):
        names = [f"clip {number}" for number in range(400)]
        few, many = ({one for one in names if of_share(one, share)} for share in (0.1, 0.5))

        assert few < many
        assert (20 < len(few) < 60, 160 < len(many) < 240) == (True, True)
        assert all(of_share(one, 1.0) for one in names)

    def test_a_dataset_without_validation_says_that_nothing_is_validated(
        self, tmp_path, language_model
    ):
        out = made_dataset(tmp_path / "out", {"train": 3}, lambda number: ANSWERS[number])
        lines = said()
        more = ("learn.steps=1", "learn.warmup_steps=0")
        found = train(
            tiny_recipe(tmp_path / "run", out, language_model, *more), features_of, lines.append
        )

        assert any("nothing is validated" in line for line in lines)
        assert found["validation"] == []
        assert found["steps_measured"] == 1

    def test_a_loader_process_that_fails_says_why(self, tmp_path, eight, language_model):
        more = ("batch.workers=1", "data.longest=16")
        with pytest.raises(MerrError, match=r"^clip_\d+:coarse:\w+ has \d+ tokens, and 16 is the"):
            train(tiny_recipe(tmp_path / "run", eight, language_model, *more), features_of)

    def test_a_loss_that_is_no_number_ends_the_run(self, tmp_path, eight, language_model):
        def broken(row):
            return {name: one * math.nan for name, one in features_of(row).items()}

        with pytest.raises(MerrError, match="the loss is nan at step 1"):
            train(tiny_recipe(tmp_path / "run", eight, language_model), broken, said().append)

    @pytest.mark.parametrize(
        ("more", "attention"),
        [
            ("batch.checkpointing=true", "varlen"),
            ("batch.attention=sdpa", "sdpa"),
            ("batch.packed=false", "sdpa"),
        ],
    )
    def test_how_it_is_computed_changes_no_loss(
        self, tmp_path, eight, language_model, more, attention
    ):
        plain = tiny_recipe(tmp_path / "plain", eight, language_model, "learn.steps=3")
        other = tiny_recipe(tmp_path / "other", eight, language_model, "learn.steps=3", more)
        one, two = (train(one, features_of, said().append) for one in (plain, other))

        assert (one["attention"], two["attention"]) == ("varlen", attention)
        losses = [[loss for _, loss in run["losses"]] for run in (one, two)]
        assert losses[1] == pytest.approx(losses[0], abs=1e-5)

    def test_liger_that_is_not_installed_is_said(self, tmp_path, eight, language_model):
        with pytest.raises(MerrError, match=r"batch\.liger needs"):
            train(
                tiny_recipe(tmp_path / "run", eight, language_model, "batch.liger=true"),
                features_of,
                said().append,
            )


def published(step: int, learn: LearnRecipe) -> float:
    """As `LinearWarmupCosineLRScheduler` of the published code has it, within its first epoch."""
    if step < learn.warmup_steps:
        begin, peak = learn.warmup_learning_rate, learn.learning_rate
        return min(peak, begin + (peak - begin) * step / max(learn.warmup_steps, 1))
    peak, least = learn.learning_rate, learn.least_learning_rate
    return (peak - least) * 0.5 * (1.0 + math.cos(math.pi * step / learn.steps)) + least


class TestParity:
    @pytest.mark.parametrize("stage", ["stage1", "stage2"])
    def test_the_schedule_is_the_published_one(self, stage):
        learn = load_recipe(stage).learn
        layer = torch.nn.Linear(2, 2)
        optimizer = torch.optim.SGD([{"params": [layer.weight], "lr": learn.learning_rate}])
        schedule = make_schedule(optimizer, learn)
        rates = []
        for _ in range(learn.steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()

        assert rates == pytest.approx([published(s, learn) for s in range(learn.steps)], rel=1e-9)
        assert (stage == "stage2") == (len(set(rates)) == 1)  # which is constant

    def test_the_rate_of_the_first_stage_at_known_steps(self):
        learn = LearnRecipe(steps=30_000, warmup_steps=1000)

        assert learning_rate(0, learn) == 1e-6
        assert learning_rate(500, learn) == pytest.approx(5.5e-6)
        assert learning_rate(15_000, learn) == pytest.approx(5.5e-6)
        assert learning_rate(1000, learn) < 1e-5  # the phase has begun at step 0
        assert learning_rate(29_999, learn) == pytest.approx(1e-6, rel=1e-4)

    def test_lora_of_llama_2_7b_has_33_554_432_parameters(self):
        with torch.device("meta"):
            config = EmotionLlamaConfig(text_config=LlamaConfig())  # defaults of Llama-2-7B
            model = EmotionLlamaForConditionalGeneration(config)
            model.requires_grad_(False)
            adapted = with_lora(model, LoraRecipe())

        assert trained_parameters(adapted) == {"lora": 33_554_432, "projector": 41_439_232}
        assert sizes_of(adapted) == Sizes(
            linear=32 * (4 * 4096 * 4096 + 3 * 4096 * 11008),
            head=32_000 * 4096,
            lora=33_554_432,
            layers=32,
            width=4096,
        )

    def test_three_groups_each_with_its_rate(self, eight, language_model, tmp_path):
        recipe = tiny_recipe(tmp_path, eight, language_model)
        model, _ = trainable(completed(recipe))
        learn = recipe.learn.model_copy(
            update={"projector_learning_rate": 0.01, "learning_rate": 0.002}
        )
        optimizer = make_optimizer(model, learn)
        make_schedule(optimizer, learn)
        found = {
            one["name"]: (one["initial_lr"], one["weight_decay"], len(one["params"]))
            for one in optimizer.param_groups
        }
        ratio = [one["lr"] / one["initial_lr"] for one in optimizer.param_groups]

        assert found == {
            "lora": (0.002, 0.05, 2 * 7 * 2),
            "projector": (0.01, 0.05, 5),
            "projector_biases": (0.01, 0.0, 5),
        }
        assert ratio == pytest.approx([0.0003 / 0.002] * 3)
        assert not [
            name for name, p in model.named_parameters() if p.requires_grad and "enc" in name
        ]


class TestSpeed:
    def test_mfu_by_hand(self):
        sizes = Sizes(linear=100, head=10, lora=5, layers=2, width=4)
        speed = Speed()
        speed.add([3, 4], supervised=2, seconds=2.0, waited_s=0.5)
        operations = 4 * 100 * 7 + 4 * 10 * 2 + 3.5 * 2 * 2 * (9 + 16) * 4 + 6 * 5 * 7
        found = speed.report(sizes, peak_tflops=1e-9, ranks=2)

        assert found["mfu"] == round(operations / 2.0 / 2000, 4)
        assert (found["tokens_per_s"], found["samples_per_s"]) == (3.5, 1.0)
        assert found["data_wait_share"] == 0.25
        assert Speed.of(speed.as_dict()) == speed


class TestCommand:
    def test_what_cannot_be_in_a_recipe_is_told(self):
        for more, told in (
            (["learn.step=3"], "learn.step is not a setting. Did you mean learn.steps?"),
            (["data.longest=9000"], "must be at most batch.row_tokens"),
            (["batch.packed=false", "batch.attention=varlen"], "needs packed rows"),
            (["learn.steps=5"], "warmup_steps must be fewer than steps"),
        ):
            with pytest.raises(MerrError, match=told):
                load_recipe("stage1", more)

    def test_what_a_recipe_lacks_is_told(self, tmp_path, eight):
        for more, told in (
            ([], "to is not set: write it in the recipe"),
            ([f"to={tmp_path}", f"data.out={eight}"], "model.language_model is not set"),
            ([f"to={tmp_path}", f"data.out={eight}", "model.start=/no"], "/no holds neither"),
        ):
            with pytest.raises(MerrError, match=told):
                completed(load_recipe("stage1", more))

    @pytest.mark.long
    def test_the_command_ends_with_0_where_all_is_done_and_with_2_where_it_cannot_run(
        self, tmp_path, eight, language_model, memorised
    ):
        recipe = tmp_path / "mine.yaml"
        values = tiny_recipe(tmp_path / "run", eight, language_model, "learn.steps=3")
        recipe.write_text(yaml.safe_dump(values.model_dump(mode="json")))
        refused = merr("train", recipe, code=2)

        assert "nothing gives image, face, temporal, audio" in refused
        assert "Traceback" not in refused
        assert "is done: 40 steps" in merr("train", memorised / "recipe.yaml")
