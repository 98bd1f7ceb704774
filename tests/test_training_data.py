"""What Emotion-LLaMA learns from a finished dataset: which examples, in which order."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra train is not installed")
pytest.importorskip("transformers", reason="the extra train is not installed")

import numpy as np
import pyarrow.parquet as pq
import torch
from made_clips import at_rate, sine, write_clip
from made_emotion_llama import made_features, made_model, made_processor
from made_rows import MadeStore, made_clip, made_identities, not_ok
from PIL import Image

from merr_pipeline.dataset.assemble import assemble
from merr_pipeline.emotion_llama.collate import PaddingCollator
from merr_pipeline.emotion_llama.loss import IGNORED
from merr_pipeline.emotion_llama.processing import EmotionLlamaProcessor
from merr_pipeline.schema import ClipId, MerrError
from merr_pipeline.settings import load_settings
from merr_pipeline.training_data import data
from merr_pipeline.training_data.data import Examples, Stream
from merr_pipeline.training_data.media import ClipMedia, face_crops
from merr_pipeline.training_data.order import Order, Position
from merr_pipeline.training_data.records import Records, read_records

pytestmark = pytest.mark.extras

NAMES = ["a", "b", "c", "silent", "undecided", "in test"]
FRAMES = 25


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    """Six clips: one without sound, one without a label, one in the test split."""
    out = tmp_path_factory.mktemp("built")
    store, clips = MadeStore(), []
    for number, name in enumerate(NAMES):
        path = out / "input" / "media" / f"file{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        tone = None if name == "silent" else sine(220, 1.0)
        write_clip(path, at_rate([4 * i + 20 for i in range(FRAMES)]), sound=tone)
        clip = replace(
            made_clip(number, split="test" if name == "in test" else "train", source_id=name),
            clip_id=ClipId(name),
            media_path=f"media/{path.name}",
        )
        changes: dict[str, dict[str, object]] = {
            "silent": {
                "probe": {"has_sound": False},
                "voice": not_ok("skipped", "no_audio_stream"),
                "transcript": not_ok("skipped", "no_transcript"),
            },
            "undecided": {"label": not_ok("skipped", "label_undecided") | {"label": None}},
        }.get(name, {})
        store.add(clip, **changes)
        clips.append(clip)
    assemble(out, clips, store, [], load_settings(environment={}), made_identities())
    return out


@pytest.fixture(scope="module")
def records(out) -> Records:
    return read_records(out, "train")


@pytest.fixture(scope="module")
def processor() -> EmotionLlamaProcessor:
    return made_processor()


def features_of(clip) -> dict[str, torch.Tensor]:
    """As a cache would give them: others for each clip."""
    return made_features(NAMES.index(clip["clip_id"]))


class TestRecords:
    def test_both_granularities_come_joined_with_their_clips(self, records, out):
        rows = {
            row["record_id"]: row
            for subset in ("coarse", "fine")
            for path in (out / "dataset" / subset).glob("train-*.parquet")
            for row in pq.read_table(path, partitioning=None).to_pylist()
        }
        found = {one.record_id: one for one in records.records}
        record, row = found["a:fine:reason"], rows["a:fine:reason"]

        assert set(records.clips) == {"a", "b", "c", "silent", "undecided"}
        assert set(found) == set(rows)
        assert Counter(one.clip_id for one in found.values())["undecided"] == 2  # it describes
        assert record.question == row["messages"][0]["content"]
        assert record.answer == row["messages"][1]["content"]
        assert (record.clip_id, record.kind, record.task) == ("a", "fine:reason", "reason")
        assert (record.transcript, record.label) == ("words of a", row["label"])

    def test_one_granularity_alone(self, out):
        kinds = {one.kind for one in read_records(out, "train", ("fine",)).records}

        assert kinds == {"fine:reason", "fine:describe"}

    def test_pictures_are_read_only_where_they_are_wanted(self, out, records):
        without = read_records(out, "train", pictures=False)

        assert records.clips["a"]["peak_frame"]["bytes"].startswith(b"\xff\xd8")
        assert "peak_frame" not in without.clips["a"]

    def test_a_split_without_records_and_a_folder_without_dataset_are_said(self, out, tmp_path):
        with pytest.raises(MerrError, match="no coarse or fine records in the split validation"):
            read_records(out, "validation")
        with pytest.raises(MerrError, match="no finished dataset"):
            read_records(tmp_path, "train")


IDS = [f"r{number}" for number in range(40)]
KINDS = ["coarse:emotion"] * 30 + ["fine:reason"] * 10


class TestOrder:
    def test_an_epoch_has_every_record_once(self):
        order = Order(IDS, KINDS, seed=1)

        assert order.epoch_length == 40
        assert sorted(order.epoch(0)) == list(range(40))

    def test_the_same_seed_gives_the_same_order_and_others_another(self):
        order = Order(IDS, KINDS, seed=1)

        assert order.epoch(3) == Order(IDS, KINDS, seed=1).epoch(3)
        assert order.epoch(3) != order.epoch(4)
        assert order.epoch(3) != Order(IDS, KINDS, seed=2).epoch(3)
        assert order.epoch(0)[:6] == [19, 33, 6, 36, 9, 13]  # on every machine

    def test_a_record_that_is_added_moves_no_other(self):
        more = Order([*IDS, "new"], [*KINDS, "fine:reason"], seed=1).epoch(0)

        assert [i for i in more if i < 40] == Order(IDS, KINDS, seed=1).epoch(0)

    def test_the_mixture_says_how_often_each_kind_comes(self):
        mixture = {"fine:reason": 2.5, "coarse:emotion": 0.5}
        order = Order(IDS, KINDS, mixture)
        epochs = [Counter(order.epoch(number)) for number in range(2)]

        assert order.epoch_length == 15 + 25
        for counted in epochs:
            assert sum(counted[i] for i in range(30)) == 15
            assert sorted(counted[i] for i in range(30, 40)) == [2] * 5 + [3] * 5
        assert epochs[0] != epochs[1]  # another half each time

    def test_a_kind_may_be_left_out(self):
        order = Order(IDS, KINDS, {"coarse:emotion": 0})

        assert sorted(order.epoch(0)) == list(range(30, 40))

    @pytest.mark.parametrize(
        ("mixture", "message"),
        [
            ({"fine:dance": 1}, "names fine:dance; there is coarse:emotion, fine:reason"),
            ({"fine:reason": -1}, "fine:reason is negative"),
            ({"fine:reason": 0, "coarse:emotion": 0}, "nothing to learn"),
        ],
    )
    def test_a_wrong_mixture_is_refused(self, mixture, message):
        with pytest.raises(MerrError, match=message):
            Order(IDS, KINDS, mixture)

    @pytest.mark.parametrize("stopped", [0, 1, 17, 39, 40, 41, 95])
    def test_a_run_that_goes_on_sees_what_it_would_have_seen(self, stopped):
        order = Order(IDS, KINDS, seed=5)
        whole = list(islice(order.from_position(Position()), 120))
        position = Position().after(stopped, order.epoch_length)

        assert whole == order.epoch(0) + order.epoch(1) + order.epoch(2)
        assert position == Position(stopped // 40, stopped % 40)
        assert list(islice(order.from_position(position), 120 - stopped)) == whole[stopped:]

    @pytest.mark.parametrize("ranks", [2, 3, 7, 64])
    def test_ranks_take_turns_also_over_the_end_of_an_epoch(self, ranks):
        order = Order(IDS, KINDS, seed=5)
        start = Position(1, 11)
        alone = list(islice(order.from_position(start), 6 * ranks))
        each = [list(islice(order.from_position(start, r, ranks), 6)) for r in range(ranks)]

        assert [i for turn in zip(*each, strict=True) for i in turn] == alone


class TestExamples:
    def test_an_example_is_the_record_and_the_features_of_its_clip(self, records, processor):
        examples = Examples(records, processor, features_of)
        index = [one.record_id for one in records.records].index("b:coarse:emotion")
        example = examples[index]
        record = records.records[index]
        learned = [label for label in example["labels"] if label != IGNORED]
        text = processor.tokenizer.decode(example["input_ids"])

        assert len(examples) == len(records.records)
        assert processor.tokenizer.decode(learned) == f"{record.label}</s>"
        assert f"says: words of b.  [emotion] {record.question}  [/INST]" in text
        assert torch.equal(example["audio_features"], made_features(1)["audio_features"])

    def test_an_example_that_is_too_long_is_refused_and_never_cut(self, records, processor):
        with pytest.raises(
            MerrError, match=r"^a:coarse:describe has \d+ tokens, and 50 is the most"
        ):
            Examples(records, processor, features_of, longest=50)[0]

    @pytest.mark.parametrize("workers", [1, 2, 3])
    def test_a_stream_is_the_same_whatever_the_workers(
        self, records, processor, monkeypatch, workers
    ):
        examples = Examples(records, processor, features_of)
        kinds = [one.kind for one in records.records]
        order = Order([one.record_id for one in records.records], kinds, seed=3)
        start = Position(0, 7)

        class Worker:
            def __init__(self, number: int) -> None:
                self.id, self.num_workers = number, workers

        streams = []
        for number in range(workers):
            monkeypatch.setattr(data, "get_worker_info", lambda n=number: Worker(n))
            stream = iter(Stream(examples, order, batch=2, start=start))
            streams.append(list(islice(stream, 6)))
        batches = [
            streams[number][2 * turn + item]
            for turn in range(3)
            for number in range(workers)
            for item in range(2)
        ]
        expected = islice(order.from_position(start), 6 * workers)

        assert [one["input_ids"] for one in batches] == [examples[i]["input_ids"] for i in expected]

    def test_a_loader_gives_batches_that_the_model_takes(self, records, processor):
        examples = Examples(records, processor, features_of)
        order = Order([r.record_id for r in records.records], [r.kind for r in records.records])
        loader = torch.utils.data.DataLoader(
            Stream(examples, order, batch=4), batch_size=4, collate_fn=PaddingCollator(0)
        )
        batch = next(iter(loader))

        assert batch["input_ids"].shape[0] == 4
        with torch.no_grad():
            assert torch.isfinite(made_model(processor)(**batch).loss)


ALL = ("image", "face", "temporal", "audio")


@pytest.fixture(scope="module")
def small() -> EmotionLlamaProcessor:
    """With pixels as the small encoders read them."""
    processor = made_processor()
    for name in ("face", "temporal"):
        processor.pixels[name] = {**processor.pixels[name], "size_px": 32}
    return processor


class TestMedia:
    def test_the_picture_is_the_peak_frame_of_the_record(self, records, small):
        clip = records.clips["a"]
        picture = Image.open(io.BytesIO(clip["peak_frame"]["bytes"]))
        values = ClipMedia(small, ["image"]).values(clip)

        assert list(values) == ["image_values"]
        assert torch.equal(values["image_values"], small.picture_values("image", [picture]))

    def test_pixels_are_normalised_as_the_encoder_reads_them(self, small):
        white = Image.new("RGB", (10, 4), (255, 255, 255))
        values = small.picture_values("image", [white])

        assert values.shape == (1, 3, 56, 56)
        expected = [(1 - 0.48145466) / 0.26862954, (1 - 0.4578275) / 0.26130258]
        assert values[0, :2, 5, 5].tolist() == pytest.approx(expected)

    def test_faces_are_cut_where_and_when_they_were_tracked(self, records, out):
        clip = records.clips["a"]
        crops = face_crops(out / "input" / clip["media_path"], clip["face_track"], 4)

        assert [crop.size for crop in crops] == [(54, 54)] * 4  # 1.5 times the longer side
        grey = [np.asarray(crop)[27, 27].mean() for crop in crops]
        assert grey == pytest.approx([20, 52, 84, 116], abs=4)  # frames 0, 8, 16 and 24

    def test_a_short_track_has_crops_twice(self, records, out):
        clip = records.clips["a"]
        crops = face_crops(out / "input" / clip["media_path"], clip["face_track"][:2], 4)

        assert [crop.tobytes() == crops[0].tobytes() for crop in crops] == [
            True,
            True,
            False,
            False,
        ]

    def test_another_file_under_the_name_of_the_clip_is_found_out(self, records, tmp_path):
        short = write_clip(tmp_path / "short.mp4", at_rate([90] * 3))

        with pytest.raises(MerrError, match=r"no frame at \d+ ms: it is not the clip"):
            face_crops(short, records.clips["a"]["face_track"], 4)

    def test_a_clip_without_sound_has_no_sound_values(self, records, out, small):
        media = ClipMedia(small, ALL, out / "input", crops=8)

        assert set(media.values(records.clips["silent"])) == {
            "image_values",
            "face_values",
            "temporal_values",
        }
        sound = media.values(records.clips["a"])["audio_values"]
        assert sound.mean().item() == pytest.approx(0, abs=1e-4)
        assert sound.std().item() == pytest.approx(1, abs=1e-3)

    def test_a_sound_that_cannot_be_decoded_is_no_sound(self, records, small, tmp_path):
        clip = {**records.clips["a"], "media_path": "short.mp4"}
        write_clip(tmp_path / "short.mp4", at_rate([90] * 3))  # it has no sound at all
        assert ClipMedia(small, ["audio"], tmp_path).values(clip) == {}

        write_clip(tmp_path / "short.mp4", at_rate([90]), sound=sine(220, 0.03))
        assert ClipMedia(small, ["audio"], tmp_path).values(clip) == {}

    def test_a_model_with_its_encoders_learns_from_the_clips_themselves(self, records, out, small):
        media = ClipMedia(small, ALL, out / "input", crops=8)
        examples = Examples(records, small, media.values)
        wanted = [
            index
            for index, one in enumerate(records.records)
            if one.kind == "coarse:emotion" and one.clip_id in ("a", "silent")
        ]
        batch = PaddingCollator(0)([examples[index] for index in wanted])
        model = made_model(small, encoders=True).train()
        model(**batch).loss.backward()
        learned = {name for name, p in model.named_parameters() if p.grad is not None}

        assert batch["audio_mask"].any(1).tolist() == [True, False]
        assert {f"model.projector.{name}.weight" for name in ("cls", *ALL)} <= learned
        assert not [name for name in learned if ".encoders." in name]

    def test_faces_and_sounds_need_the_clips(self, small, records, tmp_path):
        with pytest.raises(MerrError, match="nothing says where they are"):
            ClipMedia(small, ["audio"])
        with pytest.raises(MerrError, match=r"file0\.mp4 is not there"):
            ClipMedia(small, ["audio"], tmp_path).values(records.clips["a"])
