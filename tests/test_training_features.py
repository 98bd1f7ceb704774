"""Features of frozen encoders, made once: the cache, and what a model is shown from it."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra train is not installed")
pytest.importorskip("transformers", reason="the extra train is not installed")

import torch

from merr_pipeline.schema import MerrError
from merr_pipeline.training.feature_files import (
    Encoded,
    MadeBy,
    Manifest,
    shard_name,
    write_shard,
)
from merr_pipeline.training.features import FeatureCache

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
            clips, batch_size=None, num_workers=2, collate_fn=cache.of_clip,
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
