"""How fast cached features come to training, beside the bare reading of their bytes.

::

    OMP_NUM_THREADS=1 python benchmarks/training_loader.py [--clips 2000] [--rounds 5]

Cache and records are made by code: three streams of 1024 numbers in bfloat16, JPEGs of 448 px of
40 kB, and as a second cache image features of 1025 x 1408 (3 MB a clip, so of fewer clips).
Examples go the way of training: in the order of an epoch, tokenised, by a DataLoader with two
workers, in batches of 40. Every way runs in a process of its own, in turns over several rounds, for
they share a machine. Figures are medians; a ratio compares within its round. What workers have read
ahead when the last batch comes is paid for and not counted. ``--profile WAY`` says where the time
of a way goes.
"""

from __future__ import annotations

import argparse
import cProfile
import importlib.util
import json
import os
import pstats
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

WANTED = 1000  # clips a second on two cores
CORES = 2
BATCH = 40
WITH_IMAGE = 10  # one clip in so many has image features too, in a cache of its own
SAID = "I told you that we would not get there in time and now look at what has happened to us"
REASONS = (
    "In the video, the person's brows are drawn together and the lips are pressed, which suggests "
    "tension. The voice is louder than before and its pitch rises towards the end, as if the "
    "person were accusing somebody. Taken together with what is said, a complaint about being "
    "late, these clues point to anger rather than sadness, although the gaze is lowered for a "
    "moment. The person is therefore most likely angry. "
)
QUESTION = "Please determine the emotion of the person in the video and explain your reasons."


# --- ways: each goes over its clips, and gives how many it saw ------------------------------------


def read_bytes(folder: Path) -> int:
    """All bytes of the shards, and nothing done with them."""
    return _bytes_of(folder / "streams")


def cache_alone(folder: Path) -> int:
    """Features and JPEGs in a shuffled order, in this process, without tokens."""
    cache = _cache(folder / "streams")
    clips = [{"clip_id": one} for one in _ids(folder / "streams")]
    random.Random(0).shuffle(clips)
    for clip in clips:
        _touch(cache.of_clip(clip))
        cache.picture(clip)
    return len(clips)


def examples_alone(folder: Path) -> int:
    """Examples in the order of an epoch, in this process, neither collated nor sent."""
    count = len(_ids(folder / "streams"))
    return sum(1 for _ in islice(_stream(folder / "streams"), count))


def loader(folder: Path) -> int:
    """Streams, JPEGs as they are, and tokens, by two workers."""
    return _loaded(folder / "streams", passes=4)


def loader_one_worker(folder: Path) -> int:
    """The same by one."""
    return _loaded(folder / "streams", workers=1)


def loader_decoded(folder: Path) -> int:
    """Streams, tokens and pictures as the image encoder reads them, by two workers."""
    return _loaded(folder / "streams", decoded=True, passes=0.3)


def image_read_bytes(folder: Path) -> int:
    """All bytes of the shards with image features."""
    return _bytes_of(folder / "images")


def image_cache_alone(folder: Path) -> int:
    """Image features and streams in a shuffled order, all copied, in this process."""
    cache = _cache(folder / "images")
    clips = [{"clip_id": one} for one in _ids(folder / "images")]
    random.Random(0).shuffle(clips)
    for clip in clips:
        _touch(cache.of_clip(clip))
    return len(clips)


def image_loader(folder: Path) -> int:
    """Image features, streams and tokens, by two workers."""
    return _loaded(folder / "images", passes=10)


WAYS: dict[str, Callable[[Path], int]] = {
    way.__name__: way
    for way in (
        *(read_bytes, cache_alone, examples_alone, loader, loader_one_worker, loader_decoded),
        *(image_read_bytes, image_cache_alone, image_loader),
    )
}
PROMISED = ("loader",)  # image features are as fast as memory is, and beside the bare bytes


def _touch(tensors) -> None:
    for one in tensors.values():
        one.clone()


def _bytes_of(cache: Path) -> int:
    for path in sorted(cache.glob("*.arrow")):
        path.read_bytes()
    return len(_ids(cache))


def _cache(folder: Path):
    from merr_pipeline.training_data.features import FeatureCache

    return FeatureCache.open(folder)


def _ids(folder: Path) -> list[str]:
    facts = json.loads((folder / "manifest.json").read_text("utf-8"))["shards"]
    count = sum(one["clips"] for one in facts.values())
    return [f"clip{number:06}" for number in range(count)]


def _loaded(folder: Path, workers: int = CORES, decoded: bool = False, passes: float = 1) -> int:
    from torch.utils.data import DataLoader

    from merr_pipeline.emotion_llama.collate import PaddingCollator

    count = int(passes * len(_ids(folder)) / BATCH)
    batches = DataLoader(
        _stream(folder, decoded),
        batch_size=BATCH,
        num_workers=workers,
        collate_fn=PaddingCollator(0),
    )
    return sum(len(batch["input_ids"]) for batch in islice(batches, count))


def _stream(folder: Path, decoded: bool = False):
    from merr_pipeline.training_data.data import Examples, Stream
    from merr_pipeline.training_data.order import Order

    records = _records(_ids(folder))
    cache = _cache(folder)
    processor = _processor(folder.parent)

    def of_clip(clip):
        found = cache.of_clip(clip)
        if "image_features" not in found:
            picture = cache.picture(clip)
            if decoded:
                found["image_values"] = _decoded(processor, picture)
        return found

    order = Order([one.record_id for one in records.records], [""] * len(records.records))
    return Stream(Examples(records, processor, of_clip), order, BATCH)


def _decoded(processor, jpeg: bytes):
    import io

    from PIL import Image

    return processor.picture_values("image", [Image.open(io.BytesIO(jpeg))])


def _records(clip_ids: list[str]):
    """One record of each clip, half of them short answers, half of them reasons."""
    from merr_pipeline.training_data.records import Record, Records

    found = []
    for number, clip_id in enumerate(clip_ids):
        reasons = number % 2
        words = random.Random(clip_id)
        said = " ".join(words.sample(SAID.split(), 12))
        answer = f"{REASONS}{said}." if reasons else "angry"
        task, kind = ("reason", "fine:reason") if reasons else ("emotion", "coarse:emotion")
        found.append(Record(f"{clip_id}:{kind}", clip_id, kind, task, QUESTION, answer, said, None))
    return Records(found, {one: {"clip_id": one} for one in clip_ids})


def _processor(folder: Path):
    from transformers import PreTrainedTokenizerFast

    from merr_pipeline.emotion_llama.processing import EmotionLlamaProcessor

    return EmotionLlamaProcessor(PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer"))


# --- what is read ---------------------------------------------------------------------------------


def write_all(folder: Path, clips: int) -> None:
    """Both caches and a tokenizer."""
    from merr_pipeline.training_data.feature_files import Encoded

    streams = {
        name: Encoded("made", "made", "made", (1, 1024), "bfloat16")
        for name in ("face", "temporal", "audio")
    }
    image = Encoded("made", "made", "made", (1, 1025, 1408), "bfloat16")
    write_cache(folder / "streams", streams, clips)
    write_cache(folder / "images", {**streams, "image": image}, clips // WITH_IMAGE)
    write_tokenizer(folder / "tokenizer")


def write_cache(folder: Path, encoders, clips: int) -> None:
    """Random bytes, as many as features have."""
    from merr_pipeline.training_data.caching import SHARD_CLIPS
    from merr_pipeline.training_data.feature_files import MadeBy, Manifest, shard_name, write_shard

    folder.mkdir(parents=True)
    made_by, shards, drawn = MadeBy("peak", encoders), {}, random.Random(0)
    jpeg = made_jpeg()
    for shard, start in enumerate(range(0, clips, SHARD_CLIPS)):
        rows = [
            {
                "clip_id": f"clip{number:06}",
                "made_from": "made",
                "picture": jpeg,
                **{
                    f"{name}_features": drawn.randbytes(facts.size_bytes)
                    for name, facts in encoders.items()
                },
            }
            for number in range(start, min(start + SHARD_CLIPS, clips))
        ]
        path = folder / shard_name(shard)
        write_shard(path, made_by, rows, {})
        shards[path.name] = {"bytes": path.stat().st_size, "clips": len(rows)}
    Manifest(made_by, shards).write(folder)


def made_jpeg() -> bytes:
    """Soft shapes and a little noise, which is about as long as a picture of a person."""
    import cv2
    import numpy as np

    drawn = np.random.default_rng(0)
    coarse = drawn.integers(0, 255, (6, 8, 3)).astype(np.uint8)
    picture = cv2.resize(coarse, (448, 336), interpolation=cv2.INTER_CUBIC)
    noisy = picture + drawn.normal(0, 6, picture.shape)
    return bytes(cv2.imencode(".jpg", np.clip(noisy, 0, 255).astype(np.uint8), (1, 90))[1])


def write_tokenizer(folder: Path) -> None:
    """Byte-level BPE; its pieces come from the texts themselves."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=800,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([REASONS, SAID, QUESTION], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    fast.save_pretrained(folder)


# --- measuring ------------------------------------------------------------------------------------


def run_one(way: str, folder: Path) -> None:
    """In a process of its own: go over it once for what is imported, then measure."""
    WAYS[way](folder)
    before = time.perf_counter(), _cpu_s()
    clips = WAYS[way](folder)
    print(json.dumps([clips, time.perf_counter() - before[0], _cpu_s() - before[1]]))


def _cpu_s() -> float:
    """Of this process and of those that it has seen end."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = [resource.getrusage(kind) for kind in kinds]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measured(way: str, folder: Path) -> tuple[float, float]:
    """Clips a second by the clock, and CPU milliseconds a clip, workers' too."""
    done = subprocess.run(
        [sys.executable, __file__, "--way", way, "--folder", folder],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    clips, wall_s, cpu_s = json.loads(done.stdout.splitlines()[-1])
    return clips / wall_s, 1000 * cpu_s / clips


def rounds(folder: Path, count: int) -> Iterator[dict[str, tuple[float, float]]]:
    """All ways in turns."""
    for _ in range(count):
        yield {way: measured(way, folder) for way in WAYS}


def report(every: list[dict[str, tuple[float, float]]]) -> None:
    """Medians, and whether what was promised holds."""
    print(f"{'':20}{'clips/s':>10}{'of reading bytes':>18}{'CPU ms a clip':>15}")
    for way in every[0]:
        bare = "image_read_bytes" if way.startswith("image") else "read_bytes"
        ratio = statistics.median(found[way][0] / found[bare][0] for found in every)
        cpu_ms = statistics.median(found[way][1] for found in every)
        print(f"{way:20}{_by_clock(every, way):10.0f}{ratio:17.2%} {cpu_ms:14.3f}")
    for way in PROMISED:
        for name, what in (("by CPU time", _by_cpu), ("by the clock", _by_clock)):
            met = "yes" if what(every, way) >= WANTED else "NO"
            print(f"{way} at {WANTED} clips/s on {CORES} cores, {name}: ", end="")
            print(f"{met} ({what(every, way):.0f})")
    print(f"(load {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores)")


def _by_clock(every: list[dict[str, tuple[float, float]]], way: str) -> float:
    return statistics.median(found[way][0] for found in every)


def _by_cpu(every: list[dict[str, tuple[float, float]]], way: str) -> float:
    """Clips a second if both cores were free for it alone."""
    return 1000 * CORES / statistics.median(found[way][1] for found in every)


def profile(way: str, folder: Path) -> None:
    """Where its time goes, in this process."""
    WAYS[way](folder)
    with cProfile.Profile() as found:
        WAYS[way](folder)
    pstats.Stats(found).sort_stats("tottime").print_stats(25)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", choices=WAYS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if importlib.util.find_spec("torch") is None:
        print("torch is not installed: extra train")
        return
    if given.way:
        run_one(given.way, given.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_all(folder, given.clips)
        if given.profile:
            profile(given.profile, folder)
            return
        for cache, clips in (("streams", given.clips), ("images", given.clips // WITH_IMAGE)):
            size_kb = sum(p.stat().st_size for p in (folder / cache).iterdir()) / clips / 1000
            print(f"{cache}: {clips} clips of {size_kb:.0f} kB")
        report(list(rounds(folder, given.rounds)))


if __name__ == "__main__":
    main()
