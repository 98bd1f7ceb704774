"""Features of frozen encoders, made once: the cache, and what a model is shown from it."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra train is not installed")
pytest.importorskip("transformers", reason="the extra train is not installed")

import numpy as np
import torch
from made_clips import at_rate, sine, write_clip
from made_emotion_llama import SMALL, WIDTH, encoder_configs, made_processor, text_config
from made_learning import made_language_model
from made_rows import MadeStore, made_clip, made_identities, not_ok
from PIL import Image
from typer.testing import CliRunner

from merr_pipeline.cli import app
from merr_pipeline.dataset.assemble import assemble
from merr_pipeline.emotion_llama.collate import PaddingCollator
from merr_pipeline.emotion_llama.configuration import EmotionLlamaConfig
from merr_pipeline.emotion_llama.encoders import encode_audio
from merr_pipeline.emotion_llama.layout import MODERN
from merr_pipeline.emotion_llama.modeling import EmotionLlamaForConditionalGeneration
from merr_pipeline.emotion_llama.processing import EmotionLlamaProcessor
from merr_pipeline.exports.source import Source
from merr_pipeline.exports.wanted import Wanted
from merr_pipeline.recipe import EncoderFolders, Recipe, load_recipe
from merr_pipeline.schema import ClipId, MerrError
from merr_pipeline.settings import load_settings
from merr_pipeline.training.loop import train
from merr_pipeline.training.saved import load_run
from merr_pipeline.training_data import caching, encoding
from merr_pipeline.training_data.caching import make_features
from merr_pipeline.training_data.data import Examples
from merr_pipeline.training_data.feature_files import (
    Encoded,
    MadeBy,
    Manifest,
    shard_name,
    write_shard,
)
from merr_pipeline.training_data.features import FeatureCache
from merr_pipeline.training_data.media import ClipMedia, frame_of, frames_over
from merr_pipeline.training_data.records import read_records
from merr_pipeline.training_data.shown import shown, without_lost

pytestmark = pytest.mark.extras

NAMES = ["a", "b", "silent", "in test"]
FRAMES = 25
MADE_BY = MadeBy(
    "peak",
    {
        "audio": Encoded("hubert", "r1", "p1", (2, 8), "bfloat16"),
        "face": Encoded("vit_mae", "r2", "p2", (1, 8), "float32"),
    },
)


def vectors(number: int, name: str) -> torch.Tensor:
    """Others for each clip and encoder."""
    facts = MADE_BY.encoders[name]
    drawn = torch.randn(facts.shape, generator=torch.Generator().manual_seed(number))
    return drawn.to(getattr(torch, facts.dtype))


def row_of(number: int, lacks: tuple[str, ...] = ()) -> dict[str, object]:
    there = [name for name in MADE_BY.encoders if name not in lacks]
    return {
        "clip_id": f"clip{number}",
        "made_from": "made",
        "picture": None if "picture" in lacks else b"\xff\xd8" + bytes([number]) * number,
        **{
            f"{name}_features": vectors(number, name).view(torch.uint8).numpy().tobytes()
            for name in there
        },
    }


def made_cache(folder: Path, failed: dict[str, str] | None = None) -> Path:
    """Two shards of 20 clips; clip 3 has no sound, clip 4 no picture, clip 21 nothing at all."""
    lacks = {3: ("audio",), 4: ("picture",), 21: ("audio", "face", "picture")}
    shards = {}
    for shard in range(2):
        rows = [row_of(n, lacks.get(n, ())) for n in range(20 * shard, 20 * shard + 20)]
        path = folder / shard_name(shard)
        write_shard(path, MADE_BY, rows, failed if failed and shard else {})
        shards[path.name] = {"bytes": path.stat().st_size, "clips": len(rows)}
    Manifest(MADE_BY, shards).write(folder)
    return folder


class TestCache:
    @pytest.mark.parametrize("number", [0, 15, 16, 19, 20, 39])
    def test_a_clip_has_what_was_written_for_it(self, tmp_path, number):
        cache = FeatureCache.open(made_cache(tmp_path))
        clip = {"clip_id": f"clip{number}"}
        found = cache.of_clip(clip)

        assert len(cache) == 40
        assert set(found) == {"audio_features", "face_features"}
        for name in ("audio", "face"):
            assert torch.equal(found[f"{name}_features"], vectors(number, name))
        assert cache.picture(clip) == b"\xff\xd8" + bytes([number]) * number

    def test_what_a_clip_has_not_is_not_there(self, tmp_path):
        cache = FeatureCache.open(made_cache(tmp_path))

        assert set(cache.of_clip({"clip_id": "clip3"})) == {"face_features"}
        assert cache.picture({"clip_id": "clip4"}) is None
        assert cache.of_clip({"clip_id": "clip21"}) == {}
        assert cache.picture({"clip_id": "clip21"}) is None

    def test_it_goes_to_other_processes(self, tmp_path):
        cache = FeatureCache.open(made_cache(tmp_path))
        sent = pickle.dumps(cache)

        assert len(sent) < 20_000  # none of the maps
        found = pickle.loads(sent).of_clip({"clip_id": "clip17"})
        assert torch.equal(found["face_features"], vectors(17, "face"))

    @pytest.mark.parametrize("how", ["fork", "spawn"])
    def test_the_workers_of_a_loader_read_it(self, tmp_path, how):
        cache = FeatureCache.open(made_cache(tmp_path))
        cache.of_clip({"clip_id": "clip1"})  # mapped before the workers start
        clips = [{"clip_id": f"clip{n}"} for n in range(40) if n not in (3, 21)]
        loader = torch.utils.data.DataLoader(
            clips, batch_size=None, num_workers=1, collate_fn=cache.of_clip,
            multiprocessing_context=how,
        )  # fmt: skip
        found = list(loader)

        assert [one["audio_features"][0, 0] for one in found] == [
            vectors(int(clip["clip_id"][4:]), "audio")[0, 0] for clip in clips
        ]

    def test_writing_to_a_tensor_leaves_the_file_as_it_is(self, tmp_path):
        before = (made_cache(tmp_path) / "part-00000.arrow").read_bytes()
        FeatureCache.open(tmp_path).of_clip({"clip_id": "clip1"})["face_features"].zero_()

        assert (tmp_path / "part-00000.arrow").read_bytes() == before
        again = FeatureCache.open(tmp_path).of_clip({"clip_id": "clip1"})["face_features"]
        assert torch.equal(again, vectors(1, "face"))

    def test_a_clip_that_it_has_not_is_named_with_the_reason(self, tmp_path):
        cache = FeatureCache.open(made_cache(tmp_path, {"lost": "no frame", "clip1": "was away"}))

        assert cache.failed == {"lost": "no frame"}  # clip1 was read in a later run
        with pytest.raises(MerrError, match=r"clip lost could not be read .*: no frame"):
            cache.of_clip({"clip_id": "lost"})
        with pytest.raises(MerrError, match=r"clip other is not in it\. Run `merr features`"):
            cache.picture({"clip_id": "other"})

    def test_an_unfinished_or_damaged_cache_is_refused(self, tmp_path):
        made_cache(tmp_path / "cut")
        shard = tmp_path / "cut" / "part-00001.arrow"
        shard.write_bytes(shard.read_bytes()[:-9])
        with pytest.raises(MerrError, match=r"part-00001\.arrow is not there, or not whole"):
            FeatureCache.open(tmp_path / "cut")

        made_cache(tmp_path / "open")
        (tmp_path / "open" / "manifest.json").unlink()
        with pytest.raises(MerrError, match="no finished feature cache"):
            FeatureCache.open(tmp_path / "open")

        made_cache(tmp_path / "mixed")
        other = replace(MADE_BY, frame="first")
        size = (tmp_path / "mixed" / "part-00001.arrow").stat().st_size
        rows = [row_of(number) for number in range(20, 40)]
        write_shard(tmp_path / "mixed" / "part-00001.arrow", other, rows, {})
        manifest = (tmp_path / "mixed" / "manifest.json").read_text("utf-8")
        new = (tmp_path / "mixed" / "part-00001.arrow").stat().st_size
        (tmp_path / "mixed" / "manifest.json").write_text(manifest.replace(str(size), str(new)))
        with pytest.raises(MerrError, match="pictures of the first frame, not of the peak one"):
            FeatureCache.open(tmp_path / "mixed")

    def test_another_width_than_the_models_is_refused(self, tmp_path):
        cache = FeatureCache.open(made_cache(tmp_path))

        cache.check_widths({"audio": 8, "face": 8, "image": 1408})
        with pytest.raises(MerrError, match=r"face features of width 8 \(by vit_mae r2\)"):
            cache.check_widths({"audio": 8, "face": 1024})


def batches(workers: int) -> list[dict[str, torch.Tensor]]:
    """Made examples, some of them without a face, through a loader."""
    examples = [
        {
            "input_ids": [1] * (number + 1),
            "image_features": torch.full((1, 5, 8), float(number)),
            **({"face_features": torch.full((1, 4), float(number))} if number % 3 else {}),
        }
        for number in range(12)
    ]
    collate = PaddingCollator(0)
    return list(
        torch.utils.data.DataLoader(examples, batch_size=3, num_workers=workers, collate_fn=collate)
    )


def test_batches_of_a_loaders_workers_are_those_of_the_process_itself():
    here, there = batches(0), batches(2)

    assert there[0]["image_features"].is_shared()
    assert not here[0]["image_features"].is_shared()
    for one, other in zip(here, there, strict=True):
        assert set(one) == set(other)
        assert all(torch.equal(one[name], other[name]) for name in one)


# --- the real thing: tiny encoders, small clips ---------------------------------------------------

ALL = ("image", "face", "temporal", "audio")


def built(out: Path, names: list[str], picture: str = "") -> Path:
    """A finished dataset of small clips; "silent" has no sound, "faceless" no face and no peak."""
    store, clips = MadeStore(), []
    for number, name in enumerate(names):
        path = out / "input" / f"file{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        tone = None if name == "silent" else sine(200 + 20 * number, 1.0)
        write_clip(path, at_rate([4 * i + 20 for i in range(FRAMES)]), sound=tone)
        made = made_clip(number, split="test" if name == "tested" else "train", source_id=name)
        clip = replace(made, clip_id=ClipId(name), media_path=path.name)
        changes: dict[str, dict[str, object]] = {
            "silent": {
                "probe": {"has_sound": False},
                "voice": not_ok("skipped", "no_audio_stream"),
                "transcript": not_ok("skipped", "no_transcript"),
            },
            "faceless": {"moment": {"face_track": None, "peak_frame": None}},
        }.get(name, {})
        store.add(clip, **changes)
        clips.append(clip)
    assemble(out, clips, store, [], load_settings(environment={}), made_identities())
    return out


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return built(tmp_path_factory.mktemp("built"), ["a", "b", "c", "silent", "faceless", "tested"])


@pytest.fixture(scope="module")
def processor() -> EmotionLlamaProcessor:
    processor = made_processor()
    for name in ("face", "temporal"):
        processor.pixels[name] = {**processor.pixels[name], "size_px": 32}
    return processor


@pytest.fixture(scope="module")
def model(processor) -> EmotionLlamaForConditionalGeneration:
    """With encoders of random weights; the course is read in 16 frames, as published."""
    torch.manual_seed(0)
    configs = encoder_configs()
    configs["temporal_config"].num_frames = 16
    text = text_config("llama", processor.tokenizer)
    config = EmotionLlamaConfig(text_config=text, **configs, **processor.config_fields())
    return EmotionLlamaForConditionalGeneration(config).eval()


@pytest.fixture(scope="module")
def encoders(model, tmp_path_factory) -> Path:
    """Their folders, as somebody would have fetched them."""
    folder = tmp_path_factory.mktemp("encoders")
    for name in ALL:
        model.model.encoders[name].save_pretrained(folder / name)
    config = folder / "face" / "config.json"
    config.write_text(config.read_text().replace('"mask_ratio": 0.0', '"mask_ratio": 0.75'))
    return folder


@pytest.fixture(scope="module")
def recipe(out, encoders) -> Recipe:
    values = {
        "data.out": out,
        "data.clips": out / "input",
        "model.dtype": "float32",
        "batch.workers": 0,
        **{f"model.encoders.{name}": encoders / name for name in ALL},
        **{f"model.layout_changes.{key}": getattr(SMALL, key) for key in ("picture_px", "grid")},
    }
    return load_recipe("stage1", [f"{key}={value}" for key, value in values.items()])


def with_data(recipe: Recipe, **changes: object) -> Recipe:
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=changes)})


@pytest.fixture(scope="module")
def filled(recipe, tmp_path_factory) -> Recipe:
    """The recipe with a cache of everything."""
    found = with_data(recipe, features=tmp_path_factory.mktemp("cache"))
    made = make_features(found, image_features=True)
    assert (made.clips, made.made, made.failed) == (6, 6, {})
    return found


def clips_of(out: Path) -> dict[str, dict[str, object]]:
    found = {**read_records(out, "train").clips, **read_records(out, "test").clips}
    assert found.keys() >= {"a", "silent", "tested"}
    return found


class TestMaking:
    def test_cached_features_are_those_that_the_model_makes_itself(
        self, filled, out, processor, model
    ):
        cache = FeatureCache.open(filled.data.features)
        media = ClipMedia(processor, ALL, out / "input")
        for clip in clips_of(out).values():
            values, features = media.values(clip), cache.of_clip(clip)

            assert {f"{name}_features" for name in ALL if f"{name}_values" in values} == set(
                features
            )
            for name in (key.removesuffix("_features") for key in features):
                online = model.model.encode(name, values[f"{name}_values"])
                assert torch.equal(features[f"{name}_features"], online), name

    def test_the_model_says_the_same_of_both(self, filled, recipe, out, processor, model):
        records = read_records(out, "train")
        losses = []
        for one in (filled, recipe):
            examples = Examples(records, processor, shown(one, processor, ALL))
            batch = PaddingCollator(0)([examples[n] for n in range(0, len(examples), 4)])
            losses.append(model(**batch).loss.item())

        assert losses[0] == pytest.approx(losses[1], abs=1e-6)

    def test_a_modality_that_is_missing_stays_missing(self, filled, out):
        cache, clips = FeatureCache.open(filled.data.features), clips_of(out)

        assert set(cache.of_clip(clips["silent"])) == {f"{n}_features" for n in ALL[:3]}
        assert set(cache.of_clip(clips["faceless"])) == {"audio_features"}
        assert cache.picture(clips["faceless"]) is None

    def test_pictures_are_those_of_the_dataset(self, filled, out):
        cache = FeatureCache.open(filled.data.features)
        for clip in clips_of(out).values():
            assert cache.picture(clip) == (clip["peak_frame"] or {}).get("bytes")

    @pytest.mark.parametrize("batch", [2, 16])
    def test_clips_that_are_encoded_together_differ_in_the_last_bits_at_most(
        self, filled, out, tmp_path, batch
    ):
        make_features(with_data(filled, features=tmp_path), image_features=True, batch=batch)
        one, other = FeatureCache.open(filled.data.features), FeatureCache.open(tmp_path)
        for clip in clips_of(out).values():
            alone, together = one.of_clip(clip), other.of_clip(clip)
            assert set(alone) == set(together)
            for name, value in alone.items():
                assert (together[name] - value).abs().max() <= 1e-5  # of values of about 1

    def test_bfloat16_is_what_a_model_in_bfloat16_makes(
        self, recipe, out, processor, model, tmp_path
    ):
        half = recipe.model.model_copy(update={"dtype": "bfloat16"})
        wanted = with_data(recipe.model_copy(update={"model": half}), features=tmp_path)
        make_features(wanted)
        found = FeatureCache.open(tmp_path).of_clip({"clip_id": "b"})["audio_features"]
        values = ClipMedia(processor, ["audio"], out / "input").values(clips_of(out)["b"])
        encoder = copy.deepcopy(model.model.encoders["audio"]).bfloat16()

        assert found.dtype == torch.bfloat16
        assert torch.equal(found, encode_audio(encoder, values["audio_values"], 1).detach())

    def test_the_workers_of_a_loader_make_the_same(self, filled, tmp_path):
        batch = filled.batch.model_copy(update={"workers": 2})
        wanted = with_data(filled.model_copy(update={"batch": batch}), features=tmp_path)
        make_features(wanted, image_features=True)

        assert bytes_of(tmp_path) == bytes_of(filled.data.features)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name[0] != "."}


class Killed(BaseException):
    """As a signal would end a run: nothing may catch it."""


def stopped_after(monkeypatch: pytest.MonkeyPatch, shards: int) -> None:
    """Let the next run die when so many shards are written and the next is half done."""
    written = []
    whole = caching.write_shard

    def write(path: Path, *rest: object) -> None:
        if len(written) == shards:
            raise Killed
        whole(path, *rest)
        written.append(path)

    monkeypatch.setattr(caching, "write_shard", write)


@pytest.fixture
def sound(recipe) -> Recipe:
    """With the one encoder that is quick."""
    only = recipe.model.encoders.model_copy(update={"image": None, "face": None, "temporal": None})
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"encoders": only})})


class TestRuns:
    @pytest.fixture(autouse=True)
    def _small_shards(self, monkeypatch):
        monkeypatch.setattr(caching, "SHARD_CLIPS", 2)

    @pytest.mark.parametrize("shards", [0, 1, 2])
    def test_a_run_that_was_killed_goes_on_to_the_same_bytes(
        self, sound, tmp_path, monkeypatch, shards
    ):
        wanted = with_data(sound, features=tmp_path / "killed")
        with monkeypatch.context() as patch:
            stopped_after(patch, shards)
            with pytest.raises(Killed):
                make_features(wanted)
        with pytest.raises(MerrError, match="no finished feature cache"):
            FeatureCache.open(tmp_path / "killed")
        made = make_features(wanted).made
        make_features(with_data(sound, features=tmp_path / "whole"))

        assert made == 6 - 2 * shards
        assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")

    def test_a_rerun_has_nothing_to_do_and_changes_nothing(self, sound, tmp_path):
        wanted = with_data(sound, features=tmp_path)
        make_features(wanted)
        before = bytes_of(tmp_path)

        assert make_features(wanted).made == 0
        assert bytes_of(tmp_path) == before

    def test_a_clip_that_cannot_be_read_is_named_and_tried_again(
        self, sound, out, processor, tmp_path
    ):
        clips = shutil.copytree(out / "input", tmp_path / "input")
        (clips / "file1.mp4").rename(tmp_path / "away.mp4")
        wanted = with_data(sound, clips=clips, features=tmp_path / "cache")
        first = make_features(wanted)
        again = make_features(wanted)
        cache = FeatureCache.open(tmp_path / "cache")

        assert first.made == 5
        assert first.failed == again.failed == cache.failed
        assert list(cache.failed) == ["b"]
        assert cache.failed["b"].startswith("file1.mp4 is not there")
        records, lost = without_lost(read_records(out, "train"), shown(wanted, processor, []))
        assert lost == cache.failed
        assert set(records.clips) == {"a", "c", "silent", "faceless"}
        assert {one.clip_id for one in records.records} == set(records.clips)

        (tmp_path / "away.mp4").rename(clips / "file1.mp4")
        before = bytes_of(tmp_path / "cache")
        assert (make_features(wanted).made, make_features(wanted).failed) == (1, {})
        after = bytes_of(tmp_path / "cache")
        assert {name: after[name] for name in before if name.startswith("part")} == {
            name: content for name, content in before.items() if name.startswith("part")
        }
        assert FeatureCache.open(tmp_path / "cache").failed == {}

    def test_clips_that_the_dataset_gained_are_told_and_then_made(
        self, sound, out, processor, tmp_path
    ):
        small = built(tmp_path / "small", ["a", "b"])
        wanted = with_data(sound, out=small, clips=small / "input", features=tmp_path / "cache")
        make_features(wanted)
        of_clip = shown(wanted, processor, [])
        with pytest.raises(MerrError, match=r"3 of 5 clips are not in .*: c, faceless, silent\."):
            without_lost(read_records(out, "train"), of_clip)

        more = make_features(with_data(wanted, out=out, clips=out / "input"))
        assert (more.clips, more.made) == (6, 4)

    def test_clips_that_the_dataset_lost_or_changed_are_not_kept(self, sound, out, tmp_path):
        wanted = with_data(sound, features=tmp_path / "cache")
        make_features(wanted)
        small = built(tmp_path / "small", ["a", "b"])
        shutil.copy(out / "input" / "file2.mp4", small / "input" / "file1.mp4")
        changed = with_data(wanted, out=small, clips=small / "input")
        rows = {clip["clip_id"]: clip for clip in caching._clips(Source(small, Wanted()))}
        rows["b"]["sha256"] = "other"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(caching, "_clips", lambda source: iter(rows.values()))
            found = make_features(changed)
        cache = FeatureCache.open(tmp_path / "cache")

        assert (found.clips, found.made) == (2, 1)  # b alone
        assert len(cache) == 2
        assert "silent" not in b"".join(bytes_of(tmp_path / "cache").values()).decode("latin-1")

    def test_another_encoder_or_preprocessing_is_refused(
        self, sound, encoders, processor, tmp_path
    ):
        wanted = with_data(sound, features=tmp_path / "cache")
        make_features(wanted)
        other = shutil.copytree(encoders / "audio", tmp_path / "other")
        config = json.loads((other / "config.json").read_text())
        (other / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-3}))
        folders = sound.model.encoders.model_copy(update={"audio": other})
        another = sound.model.model_copy(update={"encoders": folders})

        with pytest.raises(MerrError, match=r"audio: revision \w+, not \w+\.\n.* another --to"):
            make_features(wanted.model_copy(update={"model": another}))
        with pytest.raises(MerrError, match="pictures of the peak frame, not of the first one"):
            make_features(with_data(wanted, frame="first"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(encoding, "RATE_HZ", 8000)
            with pytest.raises(MerrError, match="audio: preprocessing"):
                make_features(wanted)
        with pytest.raises(MerrError, match=r"audio features by hubert \w+; .*other is \w+"):
            shown(wanted.model_copy(update={"model": another}), processor, ["audio"])

    def test_two_runs_do_not_fill_one_cache(self, sound, tmp_path):
        with (
            caching._alone(tmp_path),
            pytest.raises(MerrError, match="another run is filling"),
        ):
            make_features(with_data(sound, features=tmp_path))

    def test_what_is_not_said_is_asked_for(self, sound, tmp_path):
        with pytest.raises(MerrError, match=r"data\.features is not set"):
            make_features(sound)
        bare = load_recipe("stage1", [f"data.out={tmp_path}", f"data.features={tmp_path}"])
        with pytest.raises(MerrError, match="no encoder is named"):
            make_features(bare)
        with pytest.raises(MerrError, match="away is no folder"):
            make_features(with_data(sound, features=tmp_path, clips=tmp_path / "away"))

    def test_a_disk_that_is_too_small_is_said_before(self, sound, tmp_path, monkeypatch):
        free = shutil.disk_usage(tmp_path)._replace(free=200_000)
        monkeypatch.setattr(caching.shutil, "disk_usage", lambda folder: free)

        with pytest.raises(MerrError, match=r"of 6 clips take 0\.0 GB, and .* has 0\.0 GB free"):
            make_features(with_data(sound, features=tmp_path))

    def test_the_command_does_it_and_exits_with_1_where_a_clip_is_lost(
        self, sound, out, encoders, tmp_path, capsys
    ):
        clips = shutil.copytree(out / "input", tmp_path / "input")
        (clips / "file0.mp4").write_bytes(b"no clip")
        said = ["features", str(out), "--clips", str(clips), "--to", str(tmp_path / "cache")]
        chosen = [f"model.encoders.audio={encoders / 'audio'}", "batch.workers=0"]
        result = CliRunner().invoke(app, [*said, *(f"--set={one}" for one in chosen)])

        assert result.exit_code == 1, result.output
        assert "6 clips, 5 made now" in result.output
        assert "a: file0.mp4 cannot be read" in result.output
        assert len(FeatureCache.open(tmp_path / "cache")) == 5


class TestShown:
    def test_a_stream_that_is_cached_comes_from_there_and_the_rest_from_the_clips(
        self, filled, recipe, out, processor, tmp_path
    ):
        part = with_data(recipe, features=tmp_path)
        make_features(part)  # the streams, no image features
        clip = clips_of(out)["a"]
        without_clips = with_data(part, clips=None)
        found = shown(without_clips, processor, ALL)({**clip, "peak_frame": None})

        assert set(found) == {"image_values", *(f"{n}_features" for n in ALL[1:])}
        assert torch.equal(
            found["image_values"], ClipMedia(processor, ["image"]).values(clip)["image_values"]
        )
        assert set(shown(filled, processor, [])(clip)) == {f"{n}_features" for n in ALL}
        assert set(shown(recipe, processor, ALL)(clip)) == {f"{n}_values" for n in ALL}
        assert set(shown(recipe, processor, ["audio"])(clip)) == {"audio_values"}

    def test_streams_that_are_not_wanted_are_not_shown(self, filled, out, processor):
        clip = clips_of(out)["a"]
        without = shown(with_data(filled, streams=("face", "audio")), processor, ALL)

        assert set(without(clip)) == {"face_features", "audio_features"}
        assert shown(with_data(filled, streams=()), processor, ALL)(clip) == {}

    def test_nothing_to_show_is_refused(self, recipe, processor):
        with pytest.raises(MerrError, match="nothing gives image, face, temporal, audio"):
            shown(recipe, processor, [])

    def test_features_of_another_width_or_layout_are_refused(self, filled, processor):
        unnamed = filled.model.model_copy(update={"encoders": EncoderFolders()})
        published = filled.model_copy(update={"model": unnamed})

        with pytest.raises(MerrError, match=r"audio features of width 32 .* the model takes 1024"):
            shown(published, processor, [])
        with pytest.raises(MerrError, match=r"image features of width 32 .* the model takes 64"):
            shown(filled, processor, [], widths={"image": 64})
        other = EmotionLlamaProcessor(processor.tokenizer, layout=MODERN.as_dict())
        with pytest.raises(MerrError, match=r"16 patches in a picture; .* layout has 256"):
            shown(filled, other, [])


class TestFrames:
    @pytest.mark.parametrize(("frame", "index"), [("first", 0), ("middle", 12), ("random", None)])
    def test_other_frames_than_the_peak_are_read_from_the_clip(self, out, processor, frame, index):
        clip = clips_of(out)["c"]
        if index is None:
            index = int.from_bytes(hashlib.sha256(b"c").digest()[:8]) % FRAMES
            assert index not in (0, 12)
        media = ClipMedia(processor, ["image"], out / "input", frame=frame)
        picture = Image.open(io.BytesIO(media.picture(clip)))

        assert picture.size == (64, 48)
        assert np.asarray(picture).mean() == pytest.approx(4 * index + 20, abs=4)
        values = media.values(clip)["image_values"]
        assert torch.equal(values, processor.picture_values("image", [picture]))

    def test_a_cache_has_the_frame_that_the_recipe_wants(self, recipe, out, processor, tmp_path):
        middle = with_data(recipe, features=tmp_path, frame="middle")
        make_features(middle, image_features=True)
        clip = clips_of(out)["a"]
        media = ClipMedia(processor, ["image"], out / "input", frame="middle")

        assert FeatureCache.open(tmp_path).picture(clip) == media.picture(clip)
        assert "image_features" in shown(middle, processor, ALL)(clip)
        peak = shown(with_data(middle, frame="peak"), processor, ALL)(clip)
        assert torch.equal(
            peak["image_values"], ClipMedia(processor, ["image"]).values(clip)["image_values"]
        )
        with pytest.raises(MerrError, match="image features of the middle frame"):
            shown(with_data(middle, frame="peak"), processor, ALL[1:])

    def test_several_frames_are_the_peak_and_others_evenly_over_the_clip(self, out, processor):
        clips = clips_of(out)
        media = ClipMedia(processor, ["image"], out / "input", frame="several", pictures=4)
        values = media.values(clips["c"])["image_values"]

        jpegs = [clips["c"]["peak_frame"]["bytes"], *frames_over(out / "input/file2.mp4", 3, None)]
        assert media.picture(clips["c"]) == b"".join(jpegs)
        pictures = [Image.open(io.BytesIO(one)) for one in jpegs]
        means = [np.asarray(one).mean() for one in pictures[1:]]
        assert means == pytest.approx([4 * index + 20 for index in (4, 12, 20)], abs=4)
        assert torch.equal(values, processor.picture_values("image", pictures))
        assert media.values(clips["faceless"]) == {}

    def test_a_clip_of_fewer_frames_has_some_twice(self, tmp_path):
        path = tmp_path / "two.mp4"
        write_clip(path, at_rate([20, 200]))
        first, again, last = frames_over(path, 3, 2)

        assert first != last
        assert again in (first, last)

    def test_a_cache_of_several_frames_shows_what_the_clips_show(
        self, recipe, out, processor, tmp_path
    ):
        changes = {**recipe.model.layout_changes, "pictures": 3}
        several = with_data(recipe, features=tmp_path / "all", frame="several").model_copy(
            update={"model": recipe.model.model_copy(update={"layout_changes": changes})}
        )
        make_features(several, image_features=True)
        streams = with_data(several, features=tmp_path / "streams")
        make_features(streams)
        own = replace(SMALL, pictures=3)
        wide = EmotionLlamaProcessor(processor.tokenizer, layout=own.as_dict())
        clip = clips_of(out)["a"]
        media = ClipMedia(wide, ["image"], out / "input", frame="several", pictures=3)

        features = shown(several, wide, ALL)(clip)["image_features"]
        assert features.shape == (3, 1 + own.grid**2, WIDTH)
        values = shown(streams, wide, ALL)({**clip, "peak_frame": None})["image_values"]
        assert torch.equal(values, media.values(clip)["image_values"])
        four = EmotionLlamaProcessor(processor.tokenizer, layout=replace(own, pictures=4).as_dict())
        with pytest.raises(MerrError, match=r"has image features of the several, 3, frame"):
            shown(several, four, ALL[1:])

    def test_the_modern_recipe_learns_from_several_frames(self, recipe, out, tmp_path):
        values = {
            "to": tmp_path / "run",
            "data.out": out,
            "data.clips": out / "input",
            "data.longest": 512,  # what the tiny language model can count
            "data.granularities": "[coarse]",
            "data.mixture": "{coarse:describe: 0}",
            "model.dtype": "float32",
            "model.language_model": made_language_model(tmp_path / "language_model"),
            **{f"model.encoders.{name}": path for name, path in recipe.model.encoders},
            **{
                f"model.layout_changes.{key}": getattr(SMALL, key) for key in ("picture_px", "grid")
            },
            "learn.steps": 2,
            "learn.warmup_steps": 0,
            "batch.samples": 2,
            "batch.row_tokens": 512,
            "batch.workers": 0,
            "batch.peak_tflops": 0.1,
            "keep.merge": "false",
        }
        wanted = load_recipe("modern", [f"{key}={value}" for key, value in values.items()])
        summary = train(wanted, say=lambda line: None)

        assert summary["steps"] == 2
        _, processor = load_run(tmp_path / "run", "cpu")
        assert processor.layout["pictures"] == 4
        seen = shown(wanted, processor, ALL)(clips_of(out)["a"])
        assert len(seen["image_values"]) == 4

    def test_several_frames_need_a_layout_of_several(self, out, processor):
        with pytest.raises(MerrError, match=r"set model\.layout=modern"):
            ClipMedia(processor, ["image"], out / "input", frame="several")

    def test_a_frame_that_is_not_the_peak_needs_the_clips(self, processor):
        with pytest.raises(MerrError, match="first frames: these are read from the clips"):
            ClipMedia(processor, ["image"], frame="first")

    def test_a_clip_whose_frames_nobody_counted_is_counted(self, out):
        path = out / "input" / "file0.mp4"

        assert frame_of(path, "middle", "a", None) == frame_of(path, "middle", "a", FRAMES)
        with pytest.raises(MerrError, match="has no frame 30: it is not the clip"):
            frame_of(path, "middle", "a", 60)
